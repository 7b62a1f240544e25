"""Rows of Parquet files, one batch of a row group at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from crawler.errors import SourceRefused
from crawler.sources.base import Cursor
from crawler.sources.urls.rows import Row

BATCH_ROWS = 1000


class ParquetList:
    """A list in a Parquet file. Cursors have a row group, `group`, and the `row` in it."""

    def __init__(self, path: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        self._damaged = (pyarrow.ArrowException, OSError)
        try:
            # A small buffer streams the pages of a row group instead of loading it whole.
            self._file = parquet.ParquetFile(path, buffer_size=BATCH_ROWS * 1024, pre_buffer=False)
            self.columns: list[str] = list(self._file.schema_arrow.names)
        except self._damaged as error:
            raise SourceRefused("location", f"is no sound Parquet file: {error}") from None

    def rows(self, cursor: Cursor | None, wanted: Sequence[str]) -> Iterator[Row]:
        """Yield rows as RowReader does. Raise SourceRefused where the file is damaged."""
        begin_group, begin_row = (cursor["group"], cursor["row"]) if cursor else (0, 0)
        metadata = self._file.metadata
        before = sum(metadata.row_group(g).num_rows for g in range(begin_group))
        for group in range(begin_group, metadata.num_row_groups):
            for row, values in self._group(group, begin_row, wanted):
                yield Row(before + row + 1, {"group": group, "row": row + 1}, values)
            before += metadata.row_group(group).num_rows
            begin_row = 0

    def _group(
        self, group: int, begin: int, wanted: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, object]]]:
        try:
            batches = self._file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(wanted))
            row = 0
            for batch in batches:
                behind = row + batch.num_rows
                if behind > begin:
                    rest = batch.slice(max(0, begin - row)).to_pylist()
                    yield from enumerate(rest, behind - len(rest))
                row = behind
        except self._damaged as error:
            raise SourceRefused("location", f"damaged in row group {group}: {error}") from None
