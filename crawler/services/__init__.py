"""Use cases that write: accept, plan, change and end crawl jobs."""
