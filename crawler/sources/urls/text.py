"""Rows of txt, csv, tsv and jsonl files, from any byte on, in bounded memory."""

import codecs
import csv
import os
from collections.abc import Iterator, Sequence
from typing import IO

from crawler.errors import SourceRefused
from crawler.sources.base import Cursor
from crawler.sources.urls.rows import Row, named_column
from pixsim.core.text import read_json

MAX_LINE_BYTES = 1024**2
MAX_COLUMNS = 1000
MAX_LOOKED_AT = 256 * 1024
"""Bytes at the beginning by which the columns of JSON lines, and the quotes of TSV, are judged."""
# A list has another encoding if more than a tenth of its rows, and at least so many, do not decode.
MIN_UNDECODABLE = 10

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DELIMITERS = {"csv": ",", "tsv": "\t"}


class LineTooLong(Exception):
    """A line, or a quoted record, that is longer than MAX_LINE_BYTES."""


class TextList:
    """A list in a file that is not packed, in an encoding whose line feed is the byte 10.

    Cursors have `byte` and `row` (where the next row begins, and its number) and `bad` (how many
    rows did not decode so far).
    """

    def __init__(self, file: IO[bytes], *, format: str, encoding: str, delimiter: str = "") -> None:
        self.file = file
        self.format = format
        self.encoding = encoding
        self.delimiter = delimiter or DELIMITERS.get(format, "")
        # Tab-separated text has no quotes by its definition, and captions have stray ones.
        self._has_quotes = format != "tsv"
        self._has_spaces = False  # after delimiters, so a quote may come after one
        file.seek(0)
        bom = file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8
        self._begin: Cursor = {"byte": len(codecs.BOM_UTF8) if bom else 0, "row": 1, "bad": 0}
        self.columns = self._columns()

    def rows(self, cursor: Cursor | None, wanted: Sequence[str]) -> Iterator[Row]:
        """Yield rows as RowReader does. Raise SourceRefused if too many do not decode."""
        begin = cursor or self._begin
        bad = begin["bad"]
        lines = Lines(self.file, begin["byte"], self.encoding, has_paths=self.format == "txt")
        records = {"txt": self._txt, "jsonl": self._jsonl}.get(self.format, self._separated)
        for number, (values, problem) in enumerate(records(lines, wanted), begin["row"]):
            if lines.undecodable:
                bad += 1
                where = f"not valid {self.encoding} at byte {lines.undecodable}"
                if bad >= MIN_UNDECODABLE and bad * 10 > number:
                    raise wrong_encoding(f"row {number} is {where}, like {bad} of {number} rows")
                values, problem = None, where
            after = {"byte": lines.end, "row": number + 1, "bad": bad}
            yield Row(number, after, values, problem, lines.first if problem else "")

    def _columns(self) -> list[str]:
        """Return the names in the first record, which a list of one column may lack."""
        if self.format == "txt":
            return ["url"]
        lines = Lines(self.file, self._begin["byte"], self.encoding)
        if self.format == "jsonl":
            return _json_columns(lines)
        header = self._header(lines)
        self._has_spaces = any(name[:1] == " " for name in header[1:])
        self._has_quotes = self._has_quotes or self._begins_with_sound_quotes(len(header))
        lines = Lines(self.file, self._begin["byte"], self.encoding)
        header = self._header(lines)
        if lines.undecodable:
            raise wrong_encoding(
                f"the first row is not valid {self.encoding} at byte {lines.undecodable}"
            )
        if len(header) > MAX_COLUMNS:
            raise SourceRefused("location", f"it has more than {MAX_COLUMNS:,} columns")
        if len(header) == 1 and looks_like_an_address(header[0]):
            return ["url"]
        self._begin = {"byte": lines.end, "row": 2, "bad": 0}
        return header

    def _begins_with_sound_quotes(self, width: int) -> bool:
        """Return whether some cells are quoted, and no row is wrong by that; pandas writes TSV so."""
        is_quoted = False

        def noted(lines: Lines) -> Iterator[str]:
            nonlocal is_quoted
            for line in lines:
                is_quoted = is_quoted or line[:1] == '"' or f'{self.delimiter}"' in line
                yield line

        lines = Lines(self.file, self._begin["byte"], self.encoding)
        try:
            for cells in csv.reader(noted(lines), delimiter=self.delimiter, strict=True):
                if cells and len(cells) != width:
                    return False
                if lines.end - self._begin["byte"] > MAX_LOOKED_AT:
                    break
                lines.begin_record()
        except (csv.Error, LineTooLong):
            return False
        return is_quoted

    def _header(self, lines: "Lines") -> list[str]:
        try:
            names = next(self._reader(lines), [])
            return [name[1:-1] if name[:1] == name[-1:] == '"' else name for name in names]
        except (csv.Error, LineTooLong) as error:
            raise SourceRefused("location", f"its first row cannot be read: {error}") from None

    def _reader(self, lines: "Lines") -> "Iterator[list[str]]":
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self._has_quotes else csv.QUOTE_NONE,
            skipinitialspace=self._has_spaces,
        )

    def _separated(self, lines: "Lines", wanted: Sequence[str]) -> "Records":
        places = [(name, self.columns.index(name)) for name in wanted]
        reader = self._reader(lines)
        while True:
            lines.begin_record()
            try:
                cells = next(reader)
                if lines.ended:
                    raise csv.Error("a quote is opened and never closed")
            except StopIteration:
                return
            except (csv.Error, LineTooLong) as error:
                # Only this line is lost: its stray quote must not take the rows after it along.
                lines.back_to_second_line()
                reader = self._reader(lines)
                yield None, str(error)
                continue
            if len(cells) > MAX_COLUMNS:
                yield None, f"more than {MAX_COLUMNS:,} columns"
                continue
            if not cells:
                yield None, ""
                continue
            yield {name: cells[place] for name, place in places if place < len(cells)}, ""

    def _txt(self, lines: "Lines", wanted: Sequence[str]) -> "Records":
        for line, problem in _one_by_one(lines):
            text = line.partition("\t")[0].strip()
            if problem or not text or text.startswith("#"):
                yield None, problem
            else:
                yield {"url": text}, ""

    def _jsonl(self, lines: "Lines", wanted: Sequence[str]) -> "Records":
        for line, problem in _one_by_one(lines):
            if problem or not line.strip():
                yield None, problem
                continue
            value = _json(line)
            if isinstance(value, str):
                yield {"url": value}, ""
            elif isinstance(value, dict):
                found = ((name, named_column([*value], name)) for name in wanted)
                yield {name: value[key] for name, key in found if key is not None}, ""
            else:
                yield None, "not a JSON object or text"


# For each record its wanted values, or None with the problem ("" for an empty line).
Records = Iterator[tuple[dict[str, object] | None, str]]


class Lines:
    """Iterates over the decoded lines of a file from `offset` on, and keeps the position.

    `end` is the byte after the last line. Of the current record, `first` is the first line and
    `undecodable` the position of a byte that is wrong in the encoding. `ended` is set at the end.
    With `has_paths` a line that is a path of this machine may have any bytes.
    """

    def __init__(
        self, file: IO[bytes], offset: int, encoding: str, *, has_paths: bool = False
    ) -> None:
        self.file = file
        self.encoding = encoding
        self.end = offset
        self.ended = False
        self._has_paths = has_paths
        file.seek(offset)
        self.begin_record()

    def begin_record(self) -> None:
        self.start = self.end
        self.second = self.end
        self.first = ""
        self.undecodable = ""

    def back_to_second_line(self) -> None:
        """Continue after the first line of the current record."""
        self.end = self.second
        self.ended = False
        self.file.seek(self.end)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self.file.readline(MAX_LINE_BYTES)
        if not raw:
            self.ended = True
            raise StopIteration
        begin = self.end
        self.end += len(raw)
        whole = raw.endswith(b"\n") or len(raw) < MAX_LINE_BYTES
        if not whole:
            self._skip_line()
        if begin == self.start:
            self.second = self.end
            self.first = raw[:1000].decode(self.encoding, "replace")
        if not whole or self.end - self.start > MAX_LINE_BYTES:
            raise LineTooLong(f"longer than {MAX_LINE_BYTES // 1024} KiB")
        try:
            return raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            if self._has_paths and raw.startswith(b"/"):
                return os.fsdecode(raw)
            self.undecodable = f"{begin + error.start} (0x{raw[error.start]:02X})"
            return raw.decode(self.encoding, "replace")

    def _skip_line(self) -> None:
        while part := self.file.readline(MAX_LINE_BYTES):
            self.end += len(part)
            if part.endswith(b"\n"):
                return


def check_text(sample: bytes, encoding: str, *, has_paths: bool = False) -> None:
    """Raise SourceRefused if the first bytes of a list are no text, or not in this encoding.

    With `has_paths` lines that are paths of this machine may have any bytes.
    """
    if not sample.strip():
        raise SourceRefused("location", "the list is empty")
    lines = sample.split(b"\n")[:-1] or [sample]
    zeros = sum(b"\0" in line for line in lines)
    if zeros * 10 > len(lines) and (zeros > 1 or len(lines) == 1):
        raise SourceRefused(
            "location",
            f"binary data (a zero at byte {sample.index(0)}), not a list of addresses; "
            "if it is UTF-16 or UTF-32, say so in the option encoding",
        )
    wrong = [
        n
        for n, line in enumerate(lines, 1)
        if not (_decodes(line, encoding) or (has_paths and line.startswith(b"/")))
    ]
    if len(wrong) > 1 and len(wrong) * 10 > len(lines):
        raise wrong_encoding(
            f"row {wrong[0]} is not valid {encoding}, like {len(wrong)} of the first "
            f"{len(lines)} rows"
        )


def wrong_encoding(what: str) -> SourceRefused:
    return SourceRefused(
        "options.encoding", f"{what}; name the list's encoding, such as latin-1 or cp1252"
    )


def encoding_of(sample: bytes, named: str) -> str:
    """Return the encoding that a byte order mark says, else the one that was named."""
    return next((encoding for bom, encoding in BOMS if sample.startswith(bom)), named)


def must_be_recoded(sample: bytes, encoding: str) -> bool:
    """Return whether lines do not end with the byte 10, as in UTF-16 or in old Mac files."""
    return "\n".encode(encoding) != b"\n" or (b"\r" in sample and b"\n" not in sample)


def looks_like_an_address(text: str) -> bool:
    return text.strip().lower().startswith(("http://", "https://", "file:///"))


def _one_by_one(lines: Lines) -> Iterator[tuple[str, str]]:
    """Yield each line, or an empty one and why it cannot be read."""
    while True:
        lines.begin_record()
        try:
            yield next(lines), ""
        except StopIteration:
            return
        except LineTooLong as error:
            yield "", str(error)


def _json_columns(lines: Lines) -> list[str]:
    """Return the keys of the first objects: any of them may lack some."""
    columns: dict[str, None] = {}
    for line, _problem in _one_by_one(lines):
        value = _json(line)
        if isinstance(value, dict):
            columns |= dict.fromkeys(value)
        if lines.end > MAX_LOOKED_AT or len(columns) > MAX_COLUMNS:
            break
    return list(columns) or ["url"]


def _json(line: str) -> object:
    try:
        return read_json(line)
    except ValueError:
        return None


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
