"""Adoption: a plug-in of the schema tool that takes over databases that Alembic made for older systems.

    plugin.py       what the schema tool needs of it; verb.py is `db adopt`
    systems.py      the older systems: revisions as points of our history, tables, special columns
    recognising.py  which revision a database is at
    conversions.py  a column of an older system as one of ours
    users.py        log-ins from the older systems' people
    copies.py       every table of ours as a SELECT over an older one
    quarantine.py   rows that break a rule of ours, up to the head of our history
    changes.py      values that are changed so that adopted work is safe
    comparing.py    each difference: equal, harmless, converted, or in need of a decision
    surveying.py    all of these read together: what adoption would do
    building.py     statements that make tables from a catalogue
    dependent_objects.py  a site's own columns, indexes, triggers, views and grants on our tables
    notes.py        what the operator should know besides
    credentials.py  secrets, which SQL cannot encrypt
    checksums.py    the proof: counts and a checksum of every column, before and after
    adopting.py     the adoption, in one transaction
    undoing.py      restoring the older database

The older tables move, unchanged, into the schema `pixsim_adopted`; ours are built in their place as the
migrations make them, and filled from them. So undoing is exact. Drop that schema when it is not needed.
"""
