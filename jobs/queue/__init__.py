"""The one engine by which work rows are claimed.

What it promises, whatever dies: an item that was accepted is finished or visibly failed, and its
effect is recorded once; among admitted items the more urgent is claimed first, then the older;
no owner has more items ready or processing than their window.

The row is the truth; a Celery message is a doorbell. Read `items` (the row), `statements` (every
state change, as SQL), `kinds` (what a kind of work is), `drain` (what a worker does), `sweeper`
(what repairs) in this order.
"""
