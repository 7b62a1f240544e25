"""Where untrusted documents are parsed: in confined processes, never in a worker or the web process.

    parser.Parser    the parent's end: one process for one source, asked again and again
    batches          the process's end: what it found, in answers of bounded size

What a process answers is checked by who asks, like untrusted input: types, lengths,
and each address by `crawler.urls`. See `pixsim.core.confined` for what the processes cannot do.
"""
