"""Reads one list in a confined process, for `confined_list`.

A request is one of these, with one answer: `look` (the columns, and whether the list must be
unpacked first), `block` and a number (so many blocks into the unpacked list), `rows` after a cursor with
the wanted columns (a batch; see `crawler.parsing.batches`).
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, Protocol

from crawler.errors import SourceRefused
from crawler.parsing.batches import MAX_BATCH_BYTES, Batches, cell, refused
from crawler.sources.base import Cursor
from crawler.sources.urls import unpacking
from crawler.sources.urls.rows import Row, RowReader, longest_value
from crawler.sources.urls.text import BOMS, TextList, check_text, encoding_of, must_be_recoded
from crawler.sources.urls.values import text_of
from pixsim.core.confined.sandbox import allow_cpu

PARQUET_MAGIC = b"PAR1"
MAX_NAME = 1000
MAX_SEEN = 1000
CPU_SECONDS = 5.0
BYTES_PER_CPU_SECOND = 64 * 1024**2
"""A batch of a large file may cost more: reading goes on within a row group by reading its beginning."""
MAX_CPU_SECONDS = 40.0


class OpenList(Protocol):
    """A list of some format."""

    def look(self) -> dict[str, Any]: ...
    def blocks(self) -> Iterator[bytes]: ...
    def reader(self) -> RowReader: ...


def prepare(
    file: int, format: str, encoding: str, delimiter: str, is_plain: bool
) -> Callable[..., Iterator[tuple[Any, bytes]]]:
    """Import and warm up everything; return what reads the list in the descriptor `file`."""
    raw = open(file, "rb", 1 << 20, closefd=False)  # noqa: SIM115 - for the life of the process
    opened: OpenList
    if format == "parquet":
        from crawler.sources.urls import parquet

        parquet.warm_up()
        opened = _Parquet(raw)
    else:
        for name in (encoding, *(known for _, known in BOMS)):
            f"\n{unpacking.recode(b'', name)!r}".encode(name).decode(name)
        opened = _Text(raw, format=format, encoding=encoding, delimiter=delimiter, plain=is_plain)
    size = raw.seek(0, io.SEEK_END)
    seconds = min(CPU_SECONDS + size / BYTES_PER_CPU_SECOND, MAX_CPU_SECONDS)
    serving = _Serving(opened)

    def serve(header: Sequence[Any], read: Callable[[int], bytes]) -> Iterator[tuple[Any, bytes]]:
        allow_cpu(seconds)
        try:
            yield serving.answer(*header)
        except SourceRefused as error:
            yield refused(error.field, error.message), b""
        except MemoryError:
            yield (
                refused("location", "its rows are too large: reading them needs too much memory"),
                b"",
            )

    return serve


class _Serving:
    """Answers requests, and keeps where the last one ended."""

    def __init__(self, opened: OpenList) -> None:
        self._list = opened
        self._reader: RowReader | None = None
        self._batches: tuple[object, Batches] | None = None
        self._blocks: tuple[int, Iterator[bytes]] | None = None

    def answer(self, name: str, *arguments: Any) -> tuple[Any, bytes]:
        match name:
            case "look":
                looked = self._list.look()
                return {**looked, "columns": _shown(looked["columns"])}, b""
            case "block":
                return self._block(*arguments)
            case _:
                return self._rows(*arguments), b""

    def _block(self, number: int) -> tuple[Any, bytes]:
        if self._blocks is None or self._blocks[0] != number:
            self._blocks = number, islice(self._list.blocks(), number, None)
        blocks = self._blocks[1]
        block = next(blocks, None)
        self._blocks = number + 1, blocks
        return {"end": block is None}, block or b""

    def _rows(self, cursor: Cursor | None, wanted: list[str]) -> dict[str, Any]:
        if self._reader is None:
            self._reader = self._list.reader()
        if self._batches is None or self._batches[0] != (cursor, wanted):
            rows = map(_sent, self._reader.rows(cursor, wanted))
            self._batches = (cursor, wanted), Batches(rows)
        batches = self._batches[1]
        self._batches = None
        answer = batches.next()
        if answer["rows"]:
            self._batches = (answer["rows"][-1][1], wanted), batches
        return answer


class _Parquet:
    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw

    def look(self) -> dict[str, Any]:
        return {"columns": self.reader().columns, "plain": True, "recoded": False}

    def blocks(self) -> Iterator[bytes]:
        return iter(())

    def reader(self) -> RowReader:
        from crawler.sources.urls.parquet import ParquetList

        return ParquetList(self._raw)


class _Text:
    def __init__(
        self, raw: IO[bytes], *, format: str, encoding: str, delimiter: str, plain: bool
    ) -> None:
        self._raw = raw
        self._format = format
        self._named = encoding
        self._delimiter = delimiter
        self._is_plain = plain
        self._known: tuple[bytes, str, str | None] | None = None

    def look(self) -> dict[str, Any]:
        head, encoding, recode_from = self._sample()
        packed = not self._is_plain and unpacking.is_packed(self._raw)
        return {
            "columns": self._open(io.BytesIO(head), encoding).columns,
            "plain": not packed and recode_from is None,
            "recoded": recode_from is not None,
        }

    def blocks(self) -> Iterator[bytes]:
        _, _, recode_from = self._sample()
        blocks = unpacking.unpacked(self._raw)
        return unpacking.recoded(blocks, recode_from) if recode_from else blocks

    def reader(self) -> RowReader:
        return self._open(self._raw, self._sample()[1])

    def _open(self, file: IO[bytes], encoding: str) -> TextList:
        return TextList(file, format=self._format, encoding=encoding, delimiter=self._delimiter)

    def _sample(self) -> tuple[bytes, str, str | None]:
        """Return the first bytes, unpacked, their encoding, and the one to recode from."""
        if self._known is None:
            self._known = self._looked_at()
        return self._known

    def _looked_at(self) -> tuple[bytes, str, str | None]:
        if self._is_plain:
            self._raw.seek(0)
            head = self._raw.read(unpacking.SAMPLE_BYTES)
        else:
            head = unpacking.sample(self._raw)
        if head.startswith(PARQUET_MAGIC):
            raise SourceRefused("options.format", 'it is a Parquet file; say "parquet"')
        encoding, recode_from = encoding_of(head, self._named), None
        if must_be_recoded(head, encoding):
            head, encoding, recode_from = unpacking.recode(head, encoding), "utf-8", encoding
        check_text(head, encoding, has_paths=self._format == "txt")
        return head, encoding, recode_from


def _shown(columns: Sequence[str]) -> list[str]:
    """Return the names that fit into an answer; a longer one cannot be asked for."""
    shown: list[str] = []
    size = 0
    for name in columns:
        size += len(json.dumps(name))
        if size > MAX_BATCH_BYTES:
            break
        if len(name) <= MAX_NAME:
            shown.append(name)
    return shown


def _sent(row: Row) -> list[Any]:
    values = row.values and {name: _cell(name, value) for name, value in row.values.items()}
    return [row.number, row.cursor, values, row.problem[:MAX_SEEN], str(row.seen)[:MAX_SEEN]]


def _cell(column: str, value: object) -> object:
    is_plain = value is None or isinstance(value, (str, int, float))
    return cell(value if is_plain else text_of(value), longest_value(column))
