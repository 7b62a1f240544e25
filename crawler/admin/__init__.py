"""Projects, crawl jobs, chunks, candidates and images in the admin."""

from crawler.admin import chunks, images, jobs, profiles

__all__ = ["chunks", "images", "jobs", "profiles"]
