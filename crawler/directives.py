"""Directives of robots meta tags and X-Robots-Tag, and the name by which they address us."""

from collections.abc import Iterable

# Directives of robots meta tags and X-Robots-Tag that exclude a picture from a dataset.
EXCLUDING = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
# So begins the reason when a site's robots.txt cannot be had, which may pass.
ROBOTS_UNANSWERED = "robots.txt does not answer"
ROBOTS_UNREADABLE = "robots.txt cannot be read"
_AGENT_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_*-")
_DIRECTIVES_WITH_VALUE = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)


def product_token(user_agent: str) -> str:
    """Return the name by which sites address us: "pixsim" for "PixSim/0.1 (+https://…)"."""
    return next(iter(user_agent.replace("/", " ").lower().split(None, 1)), "")


def robots_directives(values: Iterable[str], user_agent_token: str) -> set[str]:
    """Return the directives of X-Robots-Tag values (or a robots meta tag) that are meant for us.

    In `otherbot: noai, noindex` the prefix covers what follows, up to the next prefix.
    """
    ours = product_token(user_agent_token)
    meant: set[str] = set()
    for value in values:
        for_us = True
        for part in value.lower().split(","):
            directive = part.strip()
            prefix, colon, rest = directive.partition(":")
            prefix = prefix.strip()
            is_agent = colon and prefix and _AGENT_CHARACTERS.issuperset(prefix)
            if is_agent and prefix not in _DIRECTIVES_WITH_VALUE:
                for_us = prefix in (ours, "*")
                directive = rest.strip()
            if for_us and directive:
                meant.add(directive)
    return meant
