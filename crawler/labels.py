"""How long class labels and names may be. A longer one is refused and never cut: two could become one."""

from crawler.errors import CrawlError, JobRefused
from pixsim.core.text import unfit

MAX_LABEL = 100
MAX_NAME = 100
"""Of projects and crawl jobs."""


class LabelTooLong(CrawlError, ValueError):
    """A class label that no column holds."""


def check_label(label: str) -> str:
    """Return the label. Raise LabelTooLong."""
    if why := unfit(label, MAX_LABEL):
        raise LabelTooLong(f"a label {why}")
    return label


def check_keywords(keywords: object) -> None:
    """Raise JobRefused if one of a job's class labels is too long."""
    for keyword in keywords if isinstance(keywords, list | tuple) else ():
        try:
            check_label(str(keyword))
        except LabelTooLong as error:
            raise JobRefused("keywords", f"{error}: {keyword!s:.40}…") from None


def check_name(name: str, *, field: str = "name") -> None:
    """Raise JobRefused, naming the field, if the name of a project or a job is too long."""
    if why := unfit(name, MAX_NAME):
        raise JobRefused(field, f"{why}.")
