"""Exporting datasets: archives that say what they are, and contact sheets."""

from crawler.export.dataset import Export, export_job
from crawler.export.errors import ExportFailed
from crawler.export.sheet import contact_sheet

__all__ = ["Export", "ExportFailed", "contact_sheet", "export_job"]
