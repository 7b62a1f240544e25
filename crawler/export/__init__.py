"""Exporting datasets: one file in the folder `formats` is a format, found by its name."""

from crawler.export.dataset import Dataset, ExportFailed, Picture
from crawler.export.exporting import DEFAULT_FORMAT, Export, Exporter, all_formats, export_job
from crawler.export.sheet import contact_sheet

__all__ = [
    "DEFAULT_FORMAT",
    "Dataset",
    "Export",
    "ExportFailed",
    "Exporter",
    "Picture",
    "all_formats",
    "contact_sheet",
    "export_job",
]
