"""Mureka: songs from lyrics or from a description. Its API has no field for our reference."""

from collections.abc import Mapping
from typing import Any

from providers.adapters.base import (
    Credentials,
    Failed,
    Output,
    Request,
    Running,
    State,
    Submitted,
    Succeeded,
)
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.mureka import errors, rules
from providers.adapters.operations import read_operations
from providers.adapters.rest import RestAdapter, accepted, check_id, path_of


class Mureka(RestAdapter):
    """The song API."""

    name = "mureka"
    title = "Mureka"
    base_url = "https://api.mureka.ai/v1"
    classify = staticmethod(errors.classify)
    operations = read_operations(__file__, {"song": rules.Song})

    async def submit(self, http: Http, credentials: Credentials, request: Request) -> Submitted:
        body = {name: value for name, value in request.params.canonical().items() if value}
        path = "song/generate" if "lyrics" in body else "song/easy-generate"
        body["model"] = request.model
        task = await self.create(http, credentials, request, path, body)
        return accepted(task, "task")

    async def check(self, http: Http, credentials: Credentials, provider_job_id: str) -> State:
        path = path_of("song/query", provider_job_id)
        task = await self.call(http, credentials, "GET", path)
        check_id(task, provider_job_id)
        match task.get("status"):
            case "preparing" | "queued" | "running" | "streaming" | "reviewing":
                return Running(response=task)
            case "succeeded":
                return Succeeded(_songs(task), task, provider_job_id)
            case "failed":
                return Failed(errors.of_song(task.get("failed_reason")), task)
            case "timeouted":
                error = ProviderError(ErrorClass.TIMEOUT, "The song ran out of its time.")
                return Failed(error, task)
            case "cancelled":
                error = ProviderError(ErrorClass.UNKNOWN, "The song was cancelled.")
                return Failed(error, task, cancelled=True)
            case status:
                raise ProviderError(ErrorClass.UNKNOWN, f"The song is {status!r}.")

    async def credits(self, http: Http, credentials: Credentials) -> Mapping[str, int]:
        billing = await self.call(http, credentials, "GET", "account/billing")
        try:
            return {"cents": int(billing["balance"])}
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderError(ErrorClass.UNKNOWN, "The answer tells no balance.") from error


def _songs(task: Mapping[str, Any]) -> list[Output]:
    """Return the songs of a task, as MP3."""
    try:
        songs = [
            Output(url=song["url"], provider_asset_id=song.get("id")) for song in task["choices"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ProviderError(ErrorClass.UNKNOWN, "The answer names no songs.") from error
    if not songs:
        raise ProviderError(ErrorClass.UNKNOWN, "The answer has no songs.")
    return songs
