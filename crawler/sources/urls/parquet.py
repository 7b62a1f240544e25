"""Rows of Parquet files, one batch of a row group at a time. Runs in a confined process."""

import io
import os
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from crawler.errors import SourceRefused
from crawler.sources.base import MAX_CAPTION, Cursor
from crawler.sources.urls.rows import Row
from pixsim.core.formats import first_line

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 1000
SLICE_ROWS = 50
"""So many rows are made into Python's values at once: captions are long."""
MAX_CELL_BYTES = 4 * MAX_CAPTION
CODECS = ("snappy", "gzip", "brotli", "zstd", "lz4")


def warm_up() -> None:
    """Import all that is needed, without a second thread."""
    # Read when the library is loaded: its allocator would start a thread of its own.
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    import pyarrow
    from pyarrow import parquet

    pyarrow.set_cpu_count(1)
    moment = pyarrow.scalar(0, pyarrow.timestamp("ns", "UTC"))
    values = ["a", b"a", 1, 1.5, True, ["a"], {"a": 1}, moment]
    table = pyarrow.table({str(n): [value] for n, value in enumerate(values)})
    table = table.append_column("words", pyarrow.array(["a"]).dictionary_encode())
    for codec in CODECS:
        file = io.BytesIO()
        parquet.write_table(table, file, compression=codec)
        reader = ParquetList(file)
        list(reader.rows(None, reader.columns))


class ParquetList:
    """A list in a Parquet file. Cursors have a row group, `group`, and the `row` in it."""

    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow
        from pyarrow import parquet

        self._damaged = (pyarrow.ArrowException, OSError)
        try:
            # A small buffer streams the pages of a row group instead of loading it whole.
            self._file = parquet.ParquetFile(file, buffer_size=BATCH_ROWS * 1024, pre_buffer=False)
            self.columns: list[str] = list(self._file.schema_arrow.names)
        except MemoryError:
            raise
        except self._damaged as error:
            raise SourceRefused("location", f"is no sound Parquet file: {error}") from None

    def rows(self, cursor: Cursor | None, wanted: Sequence[str]) -> Iterator[Row]:
        """Yield rows as RowReader does. Raise SourceRefused where the file is damaged."""
        begin_group, begin_row = (cursor["group"], cursor["row"]) if cursor else (0, 0)
        metadata = self._file.metadata
        before = sum(metadata.row_group(g).num_rows for g in range(begin_group))
        for group in range(begin_group, metadata.num_row_groups):
            number = before + begin_row
            try:
                for row, values, problem in self._group(group, begin_row, wanted):
                    number = before + row + 1
                    after = {"group": group, "row": row + 1}
                    yield Row(number, after, None if problem else values, problem)
            except self._damaged as error:
                why = f"damaged in row group {group}, after row {number:,}: {first_line(error)}"
                raise SourceRefused("location", why) from None
            before += metadata.row_group(group).num_rows
            begin_row = 0

    def _group(
        self, group: int, begin: int, wanted: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, object], str]]:
        try:
            batches = self._file.iter_batches(
                BATCH_ROWS, row_groups=[group], columns=list(wanted), use_threads=False
            )
            row = 0
            for batch in batches:
                behind = row + batch.num_rows
                if behind > begin:
                    for at in range(max(0, begin - row), batch.num_rows, SLICE_ROWS):
                        for number, cells in enumerate(
                            _rows(batch.slice(at, SLICE_ROWS)), row + at
                        ):
                            problem = next((str(one) for one in cells if type(one) is _Problem), "")
                            # Of two columns of one name the first counts, as in texts.
                            pairs = zip(batch.schema.names[::-1], cells[::-1], strict=True)
                            yield number, dict(pairs), problem
                row = behind
        except MemoryError:
            raise SourceRefused(
                "location", f"rows of row group {group} are too large: a cell has a cap"
            ) from None


class _Problem(str):
    """Stands for a value, and says why it is none."""


_LONG = _Problem(f"a cell of more than {MAX_CELL_BYTES // 1000} kB")
_UNREADABLE = _Problem(
    "a cell that is no value of its type, such as a text that is not valid utf-8"
)


def _rows(batch: "pyarrow.RecordBatch") -> list[list[object]]:
    columns = [_cells(column) for column in batch.columns]
    return [[column[row] for column in columns] for row in range(batch.num_rows)]


def _cells(column: "pyarrow.Array") -> list[object]:
    """Return a column's values; _LONG for those of more than MAX_CELL_BYTES, which are not unpacked."""
    import pyarrow
    from pyarrow import compute, types

    if isinstance(column, pyarrow.DictionaryArray):
        column = column.dictionary_decode()
    if types.is_float32(column.type) or types.is_float16(column.type):
        # The shortest number that means the same: 0.1, not 0.10000000149011612.
        texts = column.cast(pyarrow.float32()).cast(pyarrow.string()).to_pylist()
        return [None if text is None else float(text) for text in texts]
    is_long = _is_long(column)
    if is_long is None or not compute.any(is_long).as_py():
        return _values(column)
    shown = _values(compute.if_else(is_long, None, column))
    longs = is_long.to_pylist()
    return [_LONG if long else cell for cell, long in zip(shown, longs, strict=True)]


def _values(column: "pyarrow.Array") -> list[object]:
    """Return a column's values; _UNREADABLE for those that are none of their type."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return [_value(cell) for cell in column]


def _value(cell: "pyarrow.Scalar") -> object:
    try:
        return cell.as_py()
    except (ValueError, OverflowError):
        return _UNREADABLE


def _is_long(column: "pyarrow.Array") -> "pyarrow.Array | None":
    """Return for each value of texts or bytes whether it is too long; None for other columns."""
    from pyarrow import compute, types

    kinds = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    if not any(is_kind(column.type) for is_kind in kinds):
        return None
    return compute.greater(compute.binary_length(column), MAX_CELL_BYTES)
