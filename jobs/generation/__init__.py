"""Generation: jobs are sent to providers and polled, and their files become assets.

    kind.py             jobs as a kind of work of the queue
    allocation.py       a free slot first, then a job for it
    dispatcher.py       one thread per worker process that keeps the calls going
    calling.py          the calls: submit, check, cancel, find, fetch; no database
    result_handling.py  what an outcome changes in submission, job, account and credits
    late_results.py     results of submissions that were given up
    files.py            a file is recognised, measured, stored and recorded as an asset
    inputs.py           assets, uploads and addresses as inputs of a job
    wait_reason.py      why a job is not sent now, for people

Lock order: account, then job, then submission, then credits.
"""
