"""The interface of an adapter: the operations of one provider, and its calls.

An adapter contains its provider's API and nothing else: no database, no accounts, no retries. Its
methods are coroutines that make one or few HTTP calls and raise ProviderError. What they return is
brought into the bounds of our columns here, whatever the provider said. One folder each:
`adapter.py`, `models.toml` (`operations.py` reads it), `rules.py` and `errors.py`; its fake server is
`tests/providers/adapters/<name>_fake.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeGuard

from pixsim.core.redaction import declare
from pixsim.core.text import storable
from providers.adapters.errors import ErrorClass, ProviderError, WebhookRefused
from providers.adapters.http import Http
from providers.adapters.models import Dates
from providers.adapters.params import Params

LONGEST_ID = 200
LONGEST_ASSET_ID = 128
LARGEST_COST = 1e9
"""A provider that reports a higher cost of one generation reports none."""


@dataclass(frozen=True)
class Deadlines:
    """Seconds. `submit`: for the call; `run`: from acceptance; `total`: from the job's start."""

    submit: float = 60.0
    run: float = 600.0
    total: float = 3600.0


@dataclass(frozen=True)
class Operation:
    """One kind of generation that a provider offers, with one schema per model."""

    name: str
    """One of jobs.OperationType: text_to_image, image_to_video, song, …"""
    models: Mapping[str, type[Params]]
    """Schema by model; the first model is the default."""
    expected_seconds: float = 30.0
    """Expected duration, until enough real durations are known."""
    deadlines: Deadlines = field(default_factory=Deadlines)

    @property
    def default_model(self) -> str:
        return next(iter(self.models))


@dataclass(frozen=True)
class Credentials:
    """An account's secrets, decrypted. Not shown by repr."""

    api_key: str | None = field(default=None, repr=False)
    email: str | None = None
    password: str | None = field(default=None, repr=False)
    jwt_token: str | None = field(default=None, repr=False)
    cookies: Mapping[str, Any] | None = field(default=None, repr=False)


declare(*(each.name for each in fields(Credentials) if not each.repr))


@dataclass(frozen=True)
class Request:
    """One generation to be submitted."""

    operation: str
    model: str
    params: Params
    reference: str
    """Our unique id of the submission; sent along where the API has a field for it."""
    webhook_url: str | None = None


@dataclass(frozen=True)
class Output:
    """A file of a generation: its address, or its bytes."""

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers for fetching the file, such as the account's key."""
    provider_asset_id: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.url, str | None):
            raise ProviderError(ErrorClass.UNKNOWN, "The address of a file is no text.")
        named = self.provider_asset_id
        id = (
            storable(str(named), longest=LONGEST_ASSET_ID) if isinstance(named, str | int) else None
        )
        object.__setattr__(self, "provider_asset_id", id)


@dataclass(frozen=True)
class Accepted:
    """The provider accepted the generation and is working on it."""

    provider_job_id: str
    response: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not is_usable_id(self.provider_job_id):
            message = "The provider's id of the generation is empty, too long or unreadable."
            raise ProviderError(ErrorClass.UNKNOWN, message)


@dataclass(frozen=True)
class Running:
    """Not finished. `progress` is 0 to 1; None if the provider does not report it."""

    progress: float | None = None
    response: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        progress = self.progress if is_amount(self.progress) else None
        object.__setattr__(self, "progress", progress and float(min(progress, 1)))


@dataclass(frozen=True)
class Succeeded:
    """Finished. `cost` is in the provider's credits; None if it is not reported."""

    outputs: Sequence[Output]
    response: Mapping[str, Any]
    provider_job_id: str | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        if not is_usable_id(self.provider_job_id):
            object.__setattr__(self, "provider_job_id", None)
        if not (is_amount(self.cost) and self.cost <= LARGEST_COST):
            object.__setattr__(self, "cost", None)


@dataclass(frozen=True)
class Failed:
    """Ended without a result, or cancelled at the provider."""

    error: ProviderError
    response: Mapping[str, Any]
    cancelled: bool = False


State = Running | Succeeded | Failed
Submitted = Accepted | Succeeded


@dataclass(frozen=True)
class WebhookEvent:
    """A webhook's content about one generation. `event_id` is the same when it is sent again."""

    event_id: str
    provider_job_id: str
    state: State


def is_usable_id(id: object) -> TypeGuard[str]:
    """Return whether a provider's id of a generation can be stored, and sent to it again."""
    return isinstance(id, str) and 0 < len(id) <= LONGEST_ID and id.isprintable()


def is_amount(value: object) -> TypeGuard[float]:
    """Return whether a value of an answer is a number that is not negative; NaN is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


class Adapter(ABC):
    """One provider. Created once per process; stores no state of an account or a job."""

    name: ClassVar[str]
    title: ClassVar[str]
    base_url: ClassVar[str]
    """The published API. PROVIDER_BASE_URLS[name] replaces it."""
    operations: ClassVar[Mapping[str, Operation]]
    dates: ClassVar[Mapping[str, Dates]] = {}
    """When models were or will be offered, by model."""
    can_list_models: ClassVar[bool] = False
    can_find: ClassVar[bool] = False
    """Whether `find` is certain about whether our reference was accepted."""
    can_cancel: ClassVar[bool] = False
    credential: ClassVar[str | None] = "api_key"
    """The field of Credentials that an account needs; None: no secret is needed."""
    calls_at_once: ClassVar[int | None] = None
    """Most calls under way in one worker process, for adapters that compute in that process."""

    @abstractmethod
    async def submit(self, http: Http, credentials: Credentials, request: Request) -> Submitted:
        """Submit a generation, once. Raise ProviderError; its class says if it may have been accepted."""

    @abstractmethod
    async def check(self, http: Http, credentials: Credentials, provider_job_id: str) -> State:
        """Return the state of a generation. Raise ProviderError if it cannot be fetched now."""

    async def cancel(self, http: Http, credentials: Credentials, provider_job_id: str) -> None:
        """Request cancellation, where `can_cancel`; `check` returns the resulting state."""
        raise NotImplementedError(f"{self.name} cannot cancel")

    async def find(self, http: Http, credentials: Credentials, reference: str) -> Submitted | None:
        """Look up a submission by our reference, where `can_find`.

        Return None if the provider never accepted it. Raise ProviderError.
        """
        raise NotImplementedError(f"{self.name} cannot look up references")

    async def credits(self, http: Http, credentials: Credentials) -> Mapping[str, int]:
        """Return the account's credits by type; empty where the provider does not report them."""
        return {}

    async def models(self, http: Http, credentials: Credentials) -> Sequence[str]:
        """Return the names of the models that the account may use, where `can_list_models`."""
        raise NotImplementedError(f"{self.name} does not list its models")

    async def test(self, http: Http, credentials: Credentials) -> None:
        """Return if the credentials work, at no cost. Raise ProviderError if they do not."""
        await self.credits(http, credentials)

    def webhook(
        self, headers: Mapping[str, str], body: bytes, *, secret: str, now: float
    ) -> WebhookEvent:
        """Return the event of a webhook. Raise WebhookRefused for a wrong signature or age."""
        raise WebhookRefused(f"{self.name} sends no webhooks")
