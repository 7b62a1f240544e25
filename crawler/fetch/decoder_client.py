"""The worker's end of the decoder: sends it batches, and says which picture ended it."""

from collections.abc import Callable, Sequence

from crawler.fetch import decoder
from crawler.fetch.examine import Verdict
from crawler.fetch.rules import Checks
from pixsim.core.confined import Confined, Died

# What a decoder may use beyond its libraries: the widest picture several times over, and its file.
BYTES_PER_PIXEL = 12
SPARE_BYTES = 256 * 1024**2


class Decoder:
    """One decoder process, started when first needed. For one thread.

    A `quick` one answers LATER for a picture that may take long.

    `seconds` is how long a picture may take by the clock, twice at most, which is no stall yet
    (QUEUE_STALL_SECONDS); the process limits its processor time itself.
    """

    def __init__(
        self,
        *,
        max_pixels: int,
        seconds: float = 30.0,
        cpu_seconds: float | None = None,
        quick: bool = False,
    ) -> None:
        self._seconds = seconds
        usual = decoder.QUICK_CPU_SECONDS if quick else decoder.CPU_SECONDS
        options = {"cpu_seconds": cpu_seconds or usual, "quick": quick}
        self._process = Confined(
            "crawler.fetch.decoder",
            memory_bytes=max_pixels * BYTES_PER_PIXEL + SPARE_BYTES,
            options=options,
        )

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def examine(
        self, pictures: Sequence[tuple[bytes, Checks]], meanwhile: Callable[[], None] = lambda: None
    ) -> list[Verdict]:
        """Return the verdicts of the first pictures of a batch. Call `meanwhile` during that.

        All have one, unless a picture ends the decoder: that one is the last, a decoder_crash. It
        is not tried again, except once and alone if somebody else may have killed the decoder.
        Raise Unavailable.
        """
        verdicts: list[Verdict] = []
        try:
            self._ask(pictures, verdicts, meanwhile)
        except Died as died:
            place = died.in_hand(received=len(verdicts), asked=len(pictures))
            if place > len(verdicts):
                verdicts += self.examine(
                    pictures[len(verdicts) : place]
                )  # theirs were lost with it
            if len(verdicts) == place:
                picture = pictures[place]
                verdicts.append(self._crash(died) if died.is_certain else self._again(picture))
        return verdicts

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _ask(
        self,
        pictures: Sequence[tuple[bytes, Checks]],
        verdicts: list[Verdict],
        meanwhile: Callable[[], None],
    ) -> None:
        for verdict in self._process.ask(
            decoder.encode_checks(pictures),
            [data for data, _ in pictures],
            answers=len(pictures),
            seconds=self._seconds,
            check=decoder.checked,
            meanwhile=meanwhile,
        ):
            verdicts.append(verdict)  # those before an error are kept

    def _again(self, picture: tuple[bytes, Checks]) -> Verdict:
        verdicts: list[Verdict] = []
        try:
            self._ask([picture], verdicts, lambda: None)
        except Died as died:
            return self._crash(died)
        return verdicts[0]

    def _crash(self, died: Died) -> Verdict:
        return Verdict("decoder_crash", f"the decoder died: {died}")
