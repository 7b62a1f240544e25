"""Projects, crawl jobs, chunks, candidates and images in the admin."""

from crawler.admin import chunks, images, jobs, profiles  # noqa: F401  registered by import
