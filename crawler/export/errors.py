"""Why a dataset could not be exported."""

from crawler.errors import CrawlError


class ExportFailed(CrawlError):
    """Nothing was published; an earlier export in the same place is as it was."""
