"""PixSim: crawl pictures into datasets, generate pictures through providers."""

from pixsim.celery import app as celery_app

__all__ = ["celery_app"]
