"""The one engine by which work rows are claimed.

What it promises, whatever dies: an item that was accepted is finished or visibly failed, and its
effect is recorded once; among admitted items the more urgent is claimed first, then the older;
no owner has more items ready or processing than their window.

The row is the truth; a Celery message is only a notification. Read in this order: `items` (the
row), `sql` (every statement that changes one), `kinds` (what a kind of work is), `api` (what other
apps may call), `worker.loop` (what a worker does), `worker.sweeper` (what repairs).
"""
