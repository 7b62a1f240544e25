"""The limit of the database: the queue's own statements from psycopg, without Django or Celery.

    raw_sql.py DSN STATEMENTS_FILE BATCH

Claims and completes until nothing is ready; prints the items and the seconds.
"""

import json
import sys
import time
from pathlib import Path

import psycopg

dsn, file, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
claim, complete, count_ended, params = json.loads(file.read_text())
items, begun = 0, time.perf_counter()
with psycopg.connect(dsn, autocommit=True) as connection, connection.cursor() as cursor:
    while rows := cursor.execute(claim, {**params, "limit": batch}).fetchall():
        ended = {**params, "ids": [row[0] for row in rows], "leases": [rows[0][1]]}
        with connection.transaction():
            left = cursor.execute(complete, ended).fetchall()
            cursor.execute(count_ended, {"job": left[0][2], "completed": len(left), "failed": 0})
        items += len(rows)
print(items, time.perf_counter() - begun)
