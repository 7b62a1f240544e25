"""Lists of addresses: txt, csv, tsv, jsonl and parquet files, local or from the web."""

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from crawler.errors import SourceRefused
from crawler.labels import LabelTooLong
from crawler.sources.base import (
    MAX_CAPTION,
    Cursor,
    Found,
    Option,
    Page,
    Source,
    label_of,
    provenance,
    rejection,
)
from crawler.sources.roots import inside_roots, local_file
from crawler.sources.urls import list_files
from crawler.sources.urls.confined_list import ConfinedList, Look
from crawler.sources.urls.rows import (
    PROVENANCE_COLUMNS,
    URL_COLUMNS,
    Row,
    named_column,
    plain_name,
    required_column,
)
from crawler.sources.urls.text import looks_like_an_address
from crawler.sources.urls.values import number_text_of, text_of
from crawler.sources.web import is_web, web_location
from crawler.urls import file_url, path_of
from pixsim.core.text import text_encoding
from pixsim.core.urls import BadUrl, sendable

SUFFIXES = {
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
FORMATS = ("txt", "csv", "tsv", "jsonl", "parquet")
OTHER_DELIMITERS = ";\t|,"
# A list that has changed each time it is looked at is read again from the start so often.
MAX_RESTARTS = 3


class UrlsSource(Source):
    """A list of picture addresses, with licence, title, creator and the like as provenance.

    Text lists may be packed with gzip. Local lists may name local files inside CRAWL_FOLDER_ROOTS.
    Cursors are those of the reader with `list` (which contents they belong to) and `restarts`.
    """

    kind = "urls"
    title = "list of URLs"
    place = "a list of URLs (txt, csv, tsv, jsonl, parquet; also .gz; a path or URL)"
    takes_path = True
    known_options = (
        Option(
            "url_column", str, "the column with the addresses (url, image_url, or the only one)"
        ),
        Option("label_column", str, "the column with the class labels"),
        Option("encoding", str, "the encoding of the list", default="utf-8"),
        Option("delimiter", str, "one character, instead of the comma or tab", default=""),
        Option(
            "format",
            str,
            "the format, when the name does not tell it",
            choices=FORMATS,
            aliases={suffix[1:]: format for suffix, format in SUFFIXES.items()},
        ),
    )

    @classmethod
    def fit(cls, location: str) -> int:
        return 3 if _suffix(location) in SUFFIXES else 0

    def check(self) -> None:
        self._check_options()
        if is_web(self.location):
            web_location(self.location)
            return
        with local_file(self.location) as path, self._list(path) as opened:
            self._wanted(opened.look().columns)

    def _check_options(self) -> None:
        self._format()
        self._named_encoding()
        delimiter = self.options["delimiter"]
        if delimiter and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise SourceRefused("options.delimiter", "must be one character that is no quote")

    def walk(self, cursor: Cursor | None) -> Iterator[Page]:
        self._check_options()
        with self._fetched(cursor) as (path, contents):
            opened, columns, broken = self._opened(path)
        with opened:
            for page in self._pages(opened, columns, cursor, contents):
                cursor = page.cursor
                yield page
        if broken:
            rows = cursor["row"] - 1 if cursor else 0
            raise SourceRefused("location", f"{broken}; its rows up to {rows:,} were read")

    def _pages(
        self, opened: ConfinedList, columns: Sequence[str], cursor: Cursor | None, contents: str
    ) -> Iterator[Page]:
        wanted = self._wanted(columns)
        restarts = cursor["restarts"] if cursor else 0
        if cursor and cursor["list"] != contents:
            cursor = None
            restarts += 1
            if restarts > MAX_RESTARTS:
                raise SourceRefused("location", "the list keeps changing while it is read")
        for row in opened.rows(cursor, list(dict.fromkeys(wanted.values()))):
            after = {**row.cursor, "list": contents, "restarts": restarts}
            seen = f"row {row.number}: {row.seen}"
            yield self.step(seen, after, partial(self._page, row, after, wanted))

    def _page(self, row: Row, after: Cursor, wanted: dict[str, str]) -> Page:
        if row.problem:
            return Page(after, rejected=[rejection(f"row {row.number}: {row.seen}", row.problem)])
        if row.values is None:
            return Page(after)
        values = {name: row.values.get(column) for name, column in wanted.items()}
        address = values.pop("url")
        label, source_id = (
            number_text_of(values.pop(name, None)) for name in ("label", "source_id")
        )
        texts = {name: text_of(value) for name, value in values.items()}
        caption = texts.pop("caption", "")
        try:
            url, label = self._address(address), label_of(label)
            if len(caption) > MAX_CAPTION:
                raise BadUrl(f"its caption has more than {MAX_CAPTION:,} characters")
        except (BadUrl, LabelTooLong) as error:
            seen = "" if address is None else address
            return Page(after, rejected=[rejection(f"row {row.number}: {seen}", error)])
        said = provenance(source=self.kind, source_id=source_id, caption=caption, **texts)
        return Page(after, [Found(url=url, label=label, provenance=said)])

    def _address(self, value: object) -> str:
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if value is None or value == "":
            raise BadUrl("there is no address in this row")
        if not isinstance(value, str):
            raise BadUrl("the address is no text")
        text = value.strip()
        if text[:8].lower() != "file:///" and (text[:1] != "/" or text[:2] == "//"):
            return sendable(text)
        path = path_of(text) if text[0] != "/" else Path(text)
        if is_web(self.location):
            raise BadUrl("a list from the web may not name files of this machine")
        if "\0" in str(path) or not inside_roots(path):
            raise BadUrl("the file is outside CRAWL_FOLDER_ROOTS")
        return file_url(path.resolve())

    def _wanted(self, columns: Sequence[str]) -> dict[str, str]:
        """Return the columns to read, by what they mean. Raise SourceRefused for a missing one."""
        wanted = {"url": self._url_column(columns)}
        if label_column := self.options["label_column"]:
            wanted["label"] = required_column(columns, label_column, "label_column")
        for field, names in PROVENANCE_COLUMNS.items():
            there = (named_column(columns, name) for name in names)
            column = next((name for name in there if name and name not in wanted.values()), None)
            if column:
                wanted[field] = column
        return wanted

    def _url_column(self, columns: Sequence[str]) -> str:
        named = self.options["url_column"]
        if named is None and len(columns) == 1:
            _refuse_joined(columns[0])
            return columns[0]
        try:
            if named is None:
                known = (named_column(columns, name) for name in URL_COLUMNS)
                named = next(filter(None, known), "url")
            return required_column(columns, named, "url_column")
        except SourceRefused as refused:
            if any(map(looks_like_an_address, columns)):
                hint = "; the first row holds an address: does the list lack a row of column names?"
                raise SourceRefused(refused.field, refused.message + hint) from None
            raise

    def _format(self) -> str:
        format = self.options["format"] or SUFFIXES.get(_suffix(self.location))
        if format is None:
            raise SourceRefused(
                "options.format",
                f"the name of the list does not tell its format; say one of {', '.join(FORMATS)}",
            )
        if format == "parquet" and self.location.partition("?")[0].lower().endswith(".gz"):
            raise SourceRefused("location", "Parquet files are not packed again; unpack it")
        return str(format)

    def _named_encoding(self) -> str:
        name = self.options["encoding"]
        known = text_encoding(name)
        if known is None:
            raise SourceRefused("options.encoding", f"{name!r:.50} is no text encoding we know")
        return "utf-8" if known == "utf_8_sig" else codecs.lookup(known).name

    @contextmanager
    def _fetched(self, cursor: Cursor | None) -> Iterator[tuple[Path, str]]:
        """Yield the list on this machine, and a key that changes with its contents."""
        if not is_web(self.location):
            with local_file(self.location) as path:
                yield path, f"{path.stat().st_size} bytes"
        elif cursor and (kept := list_files.kept(cursor["list"])):
            yield kept, cursor["list"]
        else:
            yield list_files.download(web_location(self.location), progress=self.progress)

    def _opened(self, path: Path) -> tuple[ConfinedList, Sequence[str], str]:
        """Return the list in a state in which its rows can be read, its columns, and why it breaks off."""
        opened = self._list(path)
        try:
            look = opened.look()
            if look.is_plain:
                return opened, look.columns, ""
            self._wanted(look.columns)  # before all is unpacked
            plain, broken = list_files.plain(
                opened.file,
                opened.blocks(),
                encoding=self._named_encoding(),
                progress=self.progress,
            )
            opened.close()
            opened = self._list(plain, unpacked=look)
            return opened, opened.look().columns, broken
        except BaseException:
            opened.close()
            raise

    def _list(self, path: Path, *, unpacked: Look | None = None) -> ConfinedList:
        return ConfinedList(
            path,
            format=self._format(),
            encoding="utf-8" if unpacked and unpacked.is_recoded else self._named_encoding(),
            delimiter=self.options["delimiter"],
            is_plain=unpacked is not None,
        )


def _refuse_joined(column: str) -> None:
    """Raise SourceRefused if the only column is several ones, separated by another mark."""
    for mark in OTHER_DELIMITERS:
        first, *others = map(plain_name, column.split(mark))
        if others and not {first, *others}.isdisjoint(("sep=", *URL_COLUMNS)):
            why = "say what separates its columns (if tabs do, the format tsv)"
            raise SourceRefused("options.delimiter", f"its only column is {column!r:.60}; {why}")


def _suffix(location: str) -> str:
    path = location.partition("?")[0] if is_web(location) else location
    name = PurePosixPath(path.lower())
    return name.with_suffix("").suffix if name.suffix == ".gz" else name.suffix
