"""The SQL that converts a column of an older system into one of ours; none where a person must decide."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pixsim.schema.catalog import Column

ENCRYPTED = "encrypted with CREDENTIALS_KEYS"
"""Where the value is encrypted, which SQL cannot do; see `secrets`."""

SUSPICIOUS = r"\\u(0000|[dD][89a-fA-F])"
"""What jsonb may refuse in a text of json: the character NUL, and halves of surrogate pairs."""

MENDINGS = (
    r"(?<!\\)((?:\\\\)*)\\u0000",
    r"(?<!\\)((?:\\\\)*)\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])",
    r"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})(?<!\\)((?:\\\\)*)\\u[dD][c-fC-F][0-9a-fA-F]{2}",
)
"""Each becomes U+FFFD, the character for what cannot be shown."""

TEXTS = re.compile(r"text|character varying(\((\d+)\))?|character\(\d+\)")
INTEGERS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
NUMBERS = {*INTEGERS, "real", "double precision", "numeric"}
ZONELESS, WITH_ZONE = "timestamp without time zone", "timestamp with time zone"


@dataclass(frozen=True)
class Conversion:
    """How a value of the older column `o.<name>` becomes one of ours."""

    sql: str
    """The value, an expression over `o`."""
    why: str = ""
    """Empty: it stays as it is."""
    unfit: str = ""
    """A condition over `o`: values that ours cannot hold. Empty: it holds all."""
    raw: str = ""
    """A condition over `o`: values that cannot be kept as they are written, and are mended."""
    shown: str = ""
    """What the SQL does with all other values, for people; empty: the SQL itself."""

    def never_null(self, instead: str) -> Conversion:
        """Return the same conversion, with `instead` for NULL and for the null of json."""
        value = f"NULLIF({self.sql}, 'null'::jsonb)"
        raw = " OR ".join(filter(None, [self.raw, f"{value} IS NULL"]))
        why = self.why or "empty as it is without params"
        shown = f"coalesce({self.shown or self.sql}, {instead})"
        return Conversion(f"coalesce({value}, {instead})", why, self.unfit, f"({raw})", shown)


def conversion(
    found: Column, wanted: Column, *, enumeration: bool, turned: bool, secret: bool
) -> Conversion | None:
    """Return the conversion from `found` to `wanted`; None if each would lose something."""
    value = f'o."{found.name}"'
    type_ = without_precision(found.type)
    if secret:
        return Conversion(f"{value}::text", ENCRYPTED)
    if turned and found.type in INTEGERS:
        reach = INTEGERS[wanted.type]
        return Conversion(
            f"10 - {value}",
            "turned round: ours are higher for more urgent",
            unfit=f"{value} NOT BETWEEN {11 - reach} AND {10 + reach}",
        )
    if turned:
        return None
    if enumeration:
        return Conversion(f"lower({value}::text)", "an enumeration as text in lower case")
    if wanted.type in (found.type, type_):
        return Conversion(value, unfit=out_of_time(value, type_))
    if (found.type, wanted.type) == ("json", "jsonb"):
        return _json(value)
    if (type_, wanted.type) == (ZONELESS, WITH_ZONE):
        return Conversion(
            f"{value} AT TIME ZONE 'UTC'",
            "a time without zone, read as UTC",
            unfit=out_of_time(value, type_),
        )
    if TEXTS.fullmatch(found.type) and TEXTS.fullmatch(wanted.type):
        return Conversion(value, "another text type", unfit=_too_long(value, wanted.type))
    if found.type in INTEGERS and wanted.type in INTEGERS:
        reach = INTEGERS[wanted.type]
        return Conversion(
            value, "another size of integer", unfit=f"{value} NOT BETWEEN {-reach} AND {reach - 1}"
        )
    if found.type.split("(")[0] in NUMBERS and wanted.type.split("(")[0] in NUMBERS:
        unfit = _not_the_same_number(value, found.type, wanted.type)
        return Conversion(f"{value}::{wanted.type}", "another type of number", unfit=unfit)
    return None


def _not_the_same_number(value: str, found: str, wanted: str) -> str:
    """Return a condition for numbers that change; no cast in it can fail."""
    exact = f"{value}::numeric"
    if scale := re.fullmatch(r"numeric\((\d+),(\d+)\)", wanted):
        whole, places = int(scale[1]) - int(scale[2]), int(scale[2])
        return f"abs({exact}) >= 1e{whole} OR round({exact}, {places}) <> {exact}"
    if wanted in INTEGERS:
        reach = INTEGERS[wanted]
        return f"{exact} NOT BETWEEN {-reach} AND {reach - 1} OR round({exact}) <> {exact}"
    if wanted == "numeric" or found == "real":
        return ""
    return (
        f"CASE WHEN abs({exact}) < 1e300 THEN {value}::{wanted}::numeric <> {exact} ELSE true END"
    )


def out_of_time(value: str, type_: str = WITH_ZONE) -> str:
    """Return a condition for times that Python cannot hold: infinity, before Christ, from the year
    10000."""
    if type_ not in (ZONELESS, WITH_ZONE, "date"):
        return ""
    return f"{value} NOT BETWEEN '0001-01-02' AND '9999-12-30'"


def without_precision(type_: str) -> str:
    """Return the type of a time without its precision."""
    return re.sub(r"^(timestamp|time)\(\d\)", r"\1", type_)


def mended(value: str) -> str:
    """Return the text of json with what jsonb refuses replaced."""
    text = f"{value}::text"
    for pattern in MENDINGS:
        text = rf"regexp_replace({text}, '{pattern}', '\1\\ufffd', 'g')"
    return text


def _json(value: str) -> Conversion:
    suspicious = f"{value}::text ~ '{SUSPICIOUS}'"
    return Conversion(
        f"CASE WHEN {suspicious} THEN {mended(value)}::jsonb ELSE {value}::jsonb END",
        "json as jsonb",
        raw=f"({suspicious} AND {mended(value)} <> {value}::text)",
        shown=f"{value}::jsonb",
    )


def _too_long(value: str, wanted: str) -> str:
    limit = TEXTS.fullmatch(wanted)
    return f"length({value}) > {limit[2]}" if limit and limit[2] else ""
