"""Celery entry points of the crawler."""

from typing import Any

from celery import shared_task

from crawler.services import chunks


@shared_task(bind=True, ignore_result=True)
def process_chunk(self: Any, chunk_id: int) -> bool:
    """Claim and fill one named chunk; return False if it may not run now."""
    return chunks.process_chunk(chunk_id=chunk_id, task_id=self.request.id or "by hand")
