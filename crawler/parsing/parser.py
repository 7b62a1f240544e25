"""Asks a confined process to parse documents."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from crawler.errors import CrawlError, SourceRefused, SourceUnavailable
from pixsim.core.confined import Confined, Died, Unavailable

ANSWER_SECONDS = 55.0
"""By the clock; the processes limit their processor time themselves. Two together are no stall yet."""
SPARE_BYTES = 256 * 1024**2
MAX_MESSAGE = 1000

Answer = TypeVar("Answer")


class Unreadable(CrawlError):
    """What was asked for cannot be parsed. The message says why."""


class Parser:
    """A confined process that parses, started when first needed. For one thread.

    Each request has one answer, from whatever process: one that may have been ended by somebody else is
    replaced and asked once more.
    """

    def __init__(
        self,
        module: str,
        *,
        memory_bytes: int = SPARE_BYTES,
        options: Mapping[str, Any] | None = None,
        files: Sequence[int] = (),
    ) -> None:
        self._process = Confined(module, memory_bytes=memory_bytes, options=options, files=files)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def ask(
        self, name: str, *arguments: Any, body: bytes = b"", check: Callable[[Any, bytes], Answer]
    ) -> Answer:
        """Return what `check` makes of the answer: it raises anything for a wrong one.

        Raise SourceRefused if the process refuses the document, Unreadable if it ends over it, and
        SourceUnavailable if no process can be started.
        """
        try:
            return self._ask([name, *arguments], body, check)
        except Died as died:
            if died.is_certain:
                raise _unreadable(died) from None
        try:
            return self._ask([name, *arguments], body, check)
        except Died as died:
            raise _unreadable(died) from None

    def ask_each(
        self,
        name: str,
        *arguments: Any,
        bodies: Sequence[bytes],
        check: Callable[[Any, bytes], Answer],
    ) -> list[Answer | Unreadable]:
        """Return what `check` makes of the answer to each body, or why there is none.

        All travel at once. One that ends the process is not tried again, except once and alone if
        the process may have been ended by somebody else. Raise SourceUnavailable.
        """
        found: list[Answer | Unreadable] = []
        while len(found) < len(bodies):
            rest, before = bodies[len(found) :], len(found)
            header = [name, [*map(len, rest)], *arguments]
            try:
                for answer in self._answers(header, rest, check):
                    found.append(answer)  # those before an error are kept
            except Died as died:
                place = died.in_hand(received=len(found) - before, asked=len(rest))
                if lost := rest[len(found) - before : place]:
                    found += self.ask_each(name, *arguments, bodies=lost, check=check)
                if died.is_certain:
                    found.append(_unreadable(died))
                else:
                    found.append(
                        self._once_more([name, [len(rest[place])], *arguments], rest[place], check)
                    )
        return found

    def _once_more(
        self, header: Any, body: bytes, check: Callable[[Any, bytes], Answer]
    ) -> Answer | Unreadable:
        try:
            [answer] = self._answers(header, [body], check)
        except Died as died:
            return _unreadable(died)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _ask(self, header: Any, body: bytes, check: Callable[[Any, bytes], Answer]) -> Answer:
        def checked(answer: Any, data: bytes) -> Answer | SourceRefused:
            return _refusal(answer["refused"]) if "refused" in answer else check(answer, data)

        (answer,) = self._answers(header, [body], checked, answers=1)
        if isinstance(answer, SourceRefused):
            raise answer
        return answer

    def _answers(
        self,
        header: Any,
        bodies: Sequence[bytes],
        check: Callable[[Any, bytes], Answer],
        answers: int | None = None,
    ) -> Iterator[Answer]:
        def checked(answer: Any, data: bytes) -> Answer:
            try:
                return check(answer, data)
            except Exception as error:  # whatever shape it has
                raise ValueError(f"{type(error).__name__}: {error}") from None

        try:
            yield from self._process.ask(
                header,
                bodies,
                answers=answers or len(bodies),
                seconds=ANSWER_SECONDS,
                check=checked,
            )
        except Unavailable as error:
            raise SourceUnavailable(str(error)) from error


def text(value: object, longest: int) -> str:
    """Return `value`, which must be a text of at most that length. Raise ValueError."""
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError("not a text of this length")
    return value


def whole(value: object) -> int:
    """Return `value`, which must be a number of things. Raise ValueError."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not a number of things")
    return value


def _refusal(refused: Any) -> SourceRefused:
    field, message = refused
    return SourceRefused(text(field, 100), text(message, MAX_MESSAGE))


def _unreadable(died: Died) -> Unreadable:
    return Unreadable(f"its parser died: {died}")
