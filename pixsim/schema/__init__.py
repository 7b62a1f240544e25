"""The schema of a database as a product: `manage.py db`, Alembic's verbs over Django's migrations.

The tool knows no app of the project around it, so another Django project on PostgreSQL uses it so:

    INSTALLED_APPS = ["pixsim.schema", …]      the commands `db` and `migrate`
    SCHEMA_LOCK_TIMEOUT_SECONDS, SCHEMA_LOCK_TRIES, SCHEMA_UNSAFE_ROWS      settings, if 2 seconds,
                                               8 tries and 100,000 rows are not what is wanted
    plugins.register(…) in an AppConfig.ready  names for points of the history, invariants of the
                                               rows, more verbs, databases of another system, tables
                                               to leave alone, lines of `db status` (see plugins.py)
    <app>/backfills.py                         objects of the class Backfill, found by `db backfill`

It needs Django, psycopg 3, django-pg-migration-tools, sqlparse and rich, and of PixSim `pixsim.core`.

    verbs/          one module for each verb of the command; no other module knows a command line
    plugins.py      what a project adds
    console.py      output for people (tables) and for machines (one JSON object)
    errors.py       refusals: one message each, with an exit code
    connecting.py   the server, and a message for each kind of database error; refusals.py has the
                    code of a refused connection
    locking.py      one advisory lock around everything that writes
    ownership.py    whether the database is the project's, or another system's
    history.py      what was applied, in its order; heads; rows without a file
    spelling.py     words of other tools, each with the word that is right here
    target_parsing.py  what `head`, `-1`, `crawler 0002` and revision ids mean
    targets.py      a target and what is applied become a plan
    standing.py     where a history ends, in one line
    running.py      applying a plan: all or nothing, or resumed step by step
    lock_retry.py   lock timeout, retry, and which session holds the lock
    files.py        hashes of applied files, and the journal of interrupted migrations
    stamping.py     recording migrations without running them
    revising.py     new migrations from what changed in the models
    destructive_changes.py  which tables and columns going back drops
    reporting.py    the output of a run
    unsafe.py       operations that block or break, and the safe way to write them
    sql_collector.py  the SQL of an operation and of a plan, without a database
    catalog.py      a schema read from `pg_catalog`
    reference.py    the schema as the migrations make it, in a scratch schema
    drift.py        the difference of two schemas; expression_equivalence.py compares expressions
    accepting.py    which differences were accepted; accepted.py is the table of them
    invariants.py   the invariants of foreign keys
    checking.py     what continuous integration asks before a deployment
    schema_sql.py   a schema as SQL; diagram.py as Mermaid
    backfills.py    registered backfills: progress, pause, resume
    contents.py     the tables and rows of a database; emptying it
    programs.py     where pg_dump, pg_restore and psql are; loading.py feeds psql
    dumps.py        backups that were checked; restoring.py puts one into an empty database
    rehearsal.py    a plan applied to a copy (copying.py), measured there (lock_monitor.py)
"""
