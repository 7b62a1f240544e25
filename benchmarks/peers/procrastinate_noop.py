"""Procrastinate with a task that does nothing, as its documentation shows it.

procrastinate_noop.py DSN schema | defer N | batch N | work CONCURRENCY
"""

import asyncio
import sys
import time

import procrastinate

DSN, VERB = sys.argv[1], sys.argv[2]
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DSN))


@app.task(name="noop")
async def noop(number: int) -> None:
    """Nothing."""


async def main() -> None:
    async with app.open_async():
        if VERB == "schema":
            await app.schema_manager.apply_schema_async()
        elif VERB == "work":
            await app.run_worker_async(concurrency=int(sys.argv[3]), wait=False)
        else:
            count = int(sys.argv[3])
            begun = time.perf_counter()
            if VERB == "batch":
                for start in range(0, count, 1000):
                    await noop.batch_defer_async(
                        *({"number": number} for number in range(start, start + 1000))
                    )
            else:
                for number in range(count):
                    await noop.defer_async(number=number)
            print(time.perf_counter() - begun)


asyncio.run(main())
