"""Datasets: a project's crawl jobs, their sources, chunks, candidates and images."""

from crawler.models.candidates import Candidate, Outcome
from crawler.models.chunks import JobChunk
from crawler.models.images import Image
from crawler.models.jobs import CrawlJob, JobStatus
from crawler.models.projects import Project
from crawler.models.sources import CrawlSource

__all__ = [
    "Candidate",
    "CrawlJob",
    "CrawlSource",
    "Image",
    "JobChunk",
    "JobStatus",
    "Outcome",
    "Project",
]
