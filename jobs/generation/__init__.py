"""Generating: jobs are dispatched to providers, followed, and their files become assets.

    kind.py        jobs as work of the queue
    dispatching.py free slots first, then as many jobs: the records of intent
    pump.py        one thread per worker process that keeps calls going and settles what came back
    calling.py     the coroutines: submit, check, cancel, find, fetch; they know no database
    settling.py    what an outcome does to submission, job, account and credits; one transaction each
    callbacks.py   what a provider's webhook does
    late.py        results of what was given up
    files.py       a file that was made: checked, measured, stored, an asset
    inputs.py      assets, uploads and addresses as inputs of a job
    waiting.py     why a job is not sent now, for people

Lock order: account, then job, then submission, then credits.
"""
