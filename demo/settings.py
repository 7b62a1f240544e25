"""The demo's settings: loopback may be crawled, and hopeless servers are given up soon."""

from pixsim.settings import *  # noqa: F403

CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
CRAWL_READ_TIMEOUT = 3.0
CRAWL_RETRY_SECONDS = 0.5
