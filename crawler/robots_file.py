"""What a robots.txt says to one crawler (RFC 9309), in time linear in its length.

`parse` needs neither Django nor the network, and its answer is small: it runs where a file may do no
harm. `PathRules` matches paths with that answer.
"""

import codecs
import math
from collections.abc import Iterable
from typing import NamedTuple

from pixsim.core.inflate import GZIP_MAGIC, CutOff, Damaged, blocks, inflate
from pixsim.core.patterns import Match, pattern

# RFC 9309 asks for at least 500 KiB to be parsed.
PARSED_BYTES = 500 * 1024
MAX_RULES = 2000
LONGEST_PATTERN = 2000
LONGEST_NUMBER = 20
MAX_DELAY_SECONDS = 300.0

# Uses named in Content-Usage and Content-Signal that include making a dataset.
DATASET_USES = frozenset(
    {"train-ai", "train-genai", "genai", "ai", "tdm", "bots", "ai-train", "all"}
)

# As they are also written, by mistake.
_FIELDS = {
    "useragent": "user-agent", "user agent": "user-agent", "crawl delay": "crawl-delay",
    "request rate": "request-rate", "sitemaps": "sitemap", "site-map": "sitemap",
    **dict.fromkeys(("dissallow", "dissalow", "disalow", "diasllow", "disallaw"), "disallow"),
}  # fmt: skip
# They concern the whole site, so they do not end a list of user agents.
_OF_SITE = ("sitemap", "host")
_WITHOUT_COLON = ("user-agent", "disallow", "allow", "crawl-delay")

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_MAX_BYTES = 16 * 1024
_respell = pattern(
    rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9._~!&'()+,;=:@/?-]", longest=_MAX_BYTES, method="sub"
)

Rule = tuple[bool, str]
"""Whether paths are allowed, and the pattern of them: * is any text, $ at the end the path's end."""


class Parsed(NamedTuple):
    """What one robots.txt says to us.

    `signals` are the rules of Content-Usage and Content-Signal lines, and `signal` is the first of them
    that denies making datasets; both are empty if none does.
    """

    rules: list[Rule]
    delay: float
    signals: list[Rule]
    signal: str


def parse(body: bytes, token: str) -> Parsed:
    """Return what `body` says to the crawler called `token` (in lower case), else to all.

    At most MAX_RULES rules are returned of each sort. What is cut makes them stricter, never laxer: too
    long an Allow is left out, too long a Disallow is shortened, and so are too many of them.
    """
    if body.startswith(GZIP_MAGIC):
        body = _unpacked(body)
    if len(body) > PARSED_BYTES:
        body = body[: body.rfind(b"\n", 0, PARSED_BYTES) + 1]
    text = _text(body).replace("\r", "\n")
    groups: dict[str, _Group] = {}
    open_groups: dict[str, _Group] = {}
    is_list_open = False
    for line in text.split("\n"):
        field, value = _field(line)
        if field == "user-agent":
            if not is_list_open:
                open_groups = {}
            name = value.partition("/")[0].strip().lower()
            name = "*" if name == "*" else name.replace("*", "")
            if name in ("*", token):
                open_groups[name] = groups.setdefault(name, _Group())
        elif value:
            for group in open_groups.values():
                group.take(field, value)
        if field and field not in _OF_SITE:
            is_list_open = field == "user-agent"
    group = groups.get(token) or groups.get("*") or _Group()
    signals = _limited(group.signals) if group.signal else []
    return Parsed(_limited(group.rules), group.delay(), signals, group.signal)


def _unpacked(body: bytes) -> bytes:
    """Return the beginning of a file that is packed although nothing said so."""
    unpacked = bytearray()
    try:
        for piece in inflate(blocks(body)):
            unpacked += piece
            if len(unpacked) > PARSED_BYTES:
                break
    except CutOff:
        pass  # as what follows PARSED_BYTES
    except Damaged:
        return b"User-agent: *\nDisallow: /\n"
    return bytes(unpacked)


def _text(body: bytes) -> str:
    """Return a file's text. It should be UTF-8; other bytes are compared as the bytes they are."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace")
    return body.decode("utf-8-sig", "surrogateescape")


class PathRules:
    """Decides about paths: the longest pattern that matches wins, and of equal ones Allow."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        ordered = sorted(rules, key=lambda rule: (len(rule[1]), rule[0]), reverse=True)
        self._rules = [(allow, *_parts(pattern)) for allow, pattern in ordered]

    def allow(self, url: str) -> bool:
        """Return whether the path and query of a URL may be fetched."""
        path = normal("/" + (*url.split("/", 3), "")[3])
        for allow, first, others, is_whole in self._rules:
            if path.startswith(first) and _fits(first, others, is_whole, path):
                return allow
        return True


def matches(pattern: str, path: str) -> bool:
    """Return whether a path begins as a pattern says, or, with $, is as it says."""
    first, others, is_whole = _parts(pattern)
    return path.startswith(first) and _fits(first, others, is_whole, path)


def _parts(pattern: str) -> tuple[str, list[str], bool]:
    """Return the texts between the * of a pattern, the first one apart, and whether it ends with $."""
    first, *others = pattern.removesuffix("$").split("*")
    return first, others, pattern.endswith("$")


def _fits(first: str, others: list[str], is_whole: bool, path: str) -> bool:
    """Return whether a path that begins with `first` has the other texts, each after the one before."""
    if not others:
        return not is_whole or path == first
    place = len(first)
    for part in others[:-1]:
        found = path.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    if is_whole:
        return path.endswith(others[-1]) and len(path) - len(others[-1]) >= place
    return path.find(others[-1], place) >= 0


def normal(path: str) -> str:
    """Return a path as it is compared: escaped only where it must be, in upper case."""
    return _respell(_spell, path.encode("utf-8", "surrogateescape")).decode("ascii")


def denied_use(preferences: str) -> str | None:
    """Return the first preference, as in `train-ai=n, search=y`, that denies making datasets."""
    for part in preferences.lower().split(","):
        use, _, value = part.partition(";")[0].partition("=")
        if use.strip() in DATASET_USES and value.strip() in ("n", "no", "?0"):
            return f"{use.strip()}={value.strip()}"
    return None


class _Group:
    """What stands under the user agents of one name."""

    def __init__(self) -> None:
        self.rules: dict[Rule, None] = {}
        self.signals: dict[Rule, None] = {}
        self.signal = ""
        self._crawl_delay = 0.0
        self._between = 0.0

    def take(self, field: str, value: str) -> None:
        match field:
            case "allow" | "disallow":
                _add(self.rules, field == "allow", value)
            case "crawl-delay":
                self._crawl_delay = _number(value, self._crawl_delay)
            case "request-rate":
                self._between = _between(value, self._between)
            case "content-usage" | "content-signal":
                self._take_signal(field, value)

    def delay(self) -> float:
        return min(MAX_DELAY_SECONDS, max(self._crawl_delay, self._between))

    def _take_signal(self, field: str, value: str) -> None:
        path, _, preferences = value.partition(" ")
        if not value.startswith("/"):
            path, preferences = "/", value
        if denied := denied_use(preferences):
            _add(self.signals, False, path)
            self.signal = self.signal or f"{field.title()}: {denied}"
        elif path != "/":
            _add(self.signals, True, path)


def _field(line: str) -> tuple[str, str]:
    """Return the field of a line, by its usual name, and its value; empty if it has none."""
    line = line.partition("#")[0].strip()
    field, colon, value = line.partition(":")
    field = field.strip().lower()
    if not colon or (field not in _FIELDS and " " in field):
        first, *rest = line.split(None, 1) or [""]
        if first.lower() in _WITHOUT_COLON:
            field, value = first.lower(), "".join(rest)
    return _FIELDS.get(field, field), value.strip()


def _add(rules: dict[Rule, None], allow: bool, value: str) -> None:
    is_cut = len(value) > LONGEST_PATTERN
    if not value.startswith(("/", "*")) or (is_cut and allow):
        return
    value = value[:LONGEST_PATTERN]
    anchor = "$" if value.endswith("$") and not is_cut else ""
    rules[allow, "*".join(map(normal, value.removesuffix(anchor).split("*"))) + anchor] = None


def _limited(rules: Iterable[Rule]) -> list[Rule]:
    kept = list(rules)
    if len(kept) <= MAX_RULES:
        return kept
    denied = {pattern for allow, pattern in kept if not allow}
    longest = max(map(len, denied), default=0)
    while len(denied) > MAX_RULES:
        longest //= 2
        denied = {pattern[:longest] if len(pattern) > longest else pattern for pattern in denied}
    return [(False, pattern) for pattern in sorted(denied)]


def _number(text: str, default: float) -> float:
    try:
        number = float(text[:LONGEST_NUMBER])
    except ValueError:
        return default
    return number if math.isfinite(number) and number >= 0 else default


def _between(text: str, default: float) -> float:
    """Return the seconds between requests at a rate such as 1/5 or 10/1m."""
    requests, _, period = text.partition(" ")[0].partition("/")
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(period[-1:].lower())
    count, seconds = _number(requests, 0), _number(period[:-1] if unit else period, 0)
    return seconds * (unit or 1) / count if count and seconds else default


def _spell(match: Match[bytes]) -> bytes:
    byte = int(match[1], 16) if match[1] else match[0][0]
    return bytes([byte]) if byte in _UNRESERVED else b"%%%02X" % byte
