"""Fetching: candidate addresses in, checked, hashed and stored pictures out.

    session = Engine.shared().session(Rules.from_options(job.options))
    session.submit(tasks)
    while session.in_flight:
        for result in session.collect(timeout=0.1):
            ...

Nothing is imported here: the decoder process, which must stay small, imports this package too.
"""
