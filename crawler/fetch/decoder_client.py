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

    `seconds` is how long a picture may take by the clock; the process limits its processor time
    itself.
    """

    def __init__(
        self,
        *,
        max_pixels: int,
        seconds: float = 60.0,
        cpu_seconds: float = decoder.CPU_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._process = Confined(
            "crawler.fetch.decoder",
            memory_bytes=max_pixels * BYTES_PER_PIXEL + SPARE_BYTES,
            options={"cpu_seconds": cpu_seconds},
        )

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def examine(
        self, pictures: Sequence[tuple[bytes, Checks]], meanwhile: Callable[[], None] = lambda: None
    ) -> list[Verdict]:
        """Return the verdicts of a batch, in order. Call `meanwhile` while the decoder works.

        A picture that ends the decoder is a decoder_crash, and is not tried again, except once and
        alone if the decoder may have been killed by somebody else. Raise Unavailable.
        """
        verdicts: list[Verdict] = []
        while len(verdicts) < len(pictures):
            try:
                self._ask(pictures[len(verdicts) :], verdicts, meanwhile)
            except Died as died:
                picture = pictures[len(verdicts)]
                verdicts.append(self._crash(died) if died.is_certain else self._again(picture))
            meanwhile = _nothing
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
            self._ask([picture], verdicts, _nothing)
        except Died as died:
            return self._crash(died)
        return verdicts[0]

    def _crash(self, died: Died) -> Verdict:
        return Verdict("decoder_crash", f"the decoder died: {died}")


def _nothing() -> None:
    pass
