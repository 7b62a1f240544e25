"""The schema as a product: `manage.py db`, Alembic's words over Django's migrations.

    verbs/          one module a verb of the command; everything else here knows no command line
    console.py      what a verb says to people (tables) and to machines (one JSON object)
    errors.py       refusals, each one clear message with an exit code
    connecting.py   whether the database answers, as what, and where its URL came from
    locking.py      one advisory lock around everything that writes
    ownership.py    whether the database is ours, or another system's to take over
    history.py      what was applied, in its order; heads; rows without a file
    words.py        what `head`, `-1`, `crawler 0002` and older revision ids mean
    targets.py      words and what is applied become a plan
    running.py      applying a plan: all or nothing, or step by step and resumed
    waiting.py      lock timeout, retry, who blocked
    files.py        hashes of the files that were applied, and how far an interrupted one came
    stamping.py     recording without running, after a look at the schema
    revising.py     new migrations from what changed in the models, and what to look at in them
    losses.py       what going back deletes
    reporting.py    how a run is told
    unsafe.py       operations that lock or rewrite, and the safe way to write them
    paper.py        the SQL of an operation, without a server
    offline.py      the SQL of a plan, without a database
    catalog.py      a schema read from `pg_catalog`
    reference.py    the schema as the migrations make it, in a scratch database or schema
    drift.py        the difference of two schemas, in words
    promises.py     what always holds of the rows
    checking.py     what continuous integration asks before a deployment
    writing.py      a schema as SQL to read and to run; picture.py, as SVG
    backfills.py    registered backfills: cursor, pause, resume
    contents.py     the tables of a database and their rows; emptying it
    programs.py     pg_dump, pg_restore and psql: where they are; loading.py feeds psql
    dumps.py        backups that were checked; restoring.py puts one into an empty database
    rehearsal.py    a plan applied to a copy (copying.py), and what it did there (watching.py)
    adoption/       taking over databases that Alembic made; PixSim's own tables are data there

Nothing but adoption/ and promises.py knows PixSim's tables: apps and models come from Django.
"""
