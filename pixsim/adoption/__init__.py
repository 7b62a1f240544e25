"""Taking over a database that Alembic made. PixSim's tables, and the older systems', are data here.

    revisions.py    where each revision of the older systems stands in our history
    systems.py      their tables, and what is special in them
    recognising.py  which of the revisions a database is at
    conversions.py  one column of theirs as one of ours: SQL, or none
    users.py        log-ins made of the older systems' people
    copies.py       every table of ours as a SELECT over theirs
    quarantine.py   rows that break a rule of ours, up to the head of our history
    changes.py      values that do not stay as they were, for adopted work to be safe
    comparing.py    each difference as equal, harmless, converted, or in need of a decision
    surveying.py    all of the above read together: what adoption would do
    building.py     tables made from a catalogue
    carrying.py     what a site has beside ours on a table: columns, indexes, triggers, grants
    notes.py        what the operator should know besides
    credentials.py  secrets, the one thing that SQL cannot convert
    checksums.py    the proof: counts, and a checksum for every column, before and after
    adopting.py     doing it, in one transaction
    undoing.py      giving the older database back

How it is done: the older tables move, untouched, into the schema `pixsim_adopted`; ours are built
in their place as the migrations make them and filled from them. So undoing is exact, and whoever
needs no way back drops that schema.
"""
