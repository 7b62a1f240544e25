"""The databases of the rows: one that they share, copies of it, and an empty one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import get_commands

from tests import databases
from tests.schema.packages import Packages
from tests.schema.packages import packages as packages
from tests.seeds import sample
from tests.seeds.place import Place
from tests.seeds.table import On

Server = psycopg.Connection[Any]
Open = Callable[[On], AbstractContextManager[Place]]


@pytest.fixture(scope="session")
def _filled(database_server: Server, database_template: str, django_db_blocker: Any) -> str:
    """The name of a database at the head with the sample rows, to be copied."""
    name = f"{database_template}_seeds_{sample.digest()}"
    with django_db_blocker.unblock():
        return databases.template(database_server, name, sample.fill, source=database_template)


@pytest.fixture(scope="session")
def _shared(database_server: Server, _filled: str) -> Iterator[str]:
    """A copy of it that refuses to be written to."""
    name = f"{databases.own_database_name()}_seeds"
    with databases.database(database_server, name, template=_filled):
        database_server.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        yield name


@pytest.fixture
def place(
    database_server: Server,
    _filled: str,
    _shared: str,
    one_head: None,
    packages: Packages,
    tmp_path: Path,
    django_db_blocker: Any,
) -> Open:
    """Open the database that a check needs, as Django's default one."""
    get_commands()  # cached, so it must not be asked first while a check has apps of its own
    folder = tmp_path / "folder"
    folder.mkdir()

    @contextmanager
    def opened(on: On) -> Iterator[Place]:
        with django_db_blocker.unblock():
            if on is On.HEAD:
                with databases.default_database(_shared):
                    yield Place(folder, packages)
                return
            name = f"{databases.own_database_name()}_row"
            template = _filled if on is On.COPY else "template1"
            with (
                databases.database(database_server, name, template=template),
                databases.default_database(name),
            ):
                yield Place(folder, packages)

    return opened
