"""The older databases that the tests of adoption start from are what their catalogue says."""

import pytest
from django.db import connections

from tests.adoption.legacy import STATES, State
from tests.scratch import ALIAS
from tests.tables import describe_table


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_state_has_exactly_the_tables_of_its_system_with_rows_in_all_of_them(
    database, sql, state: State
):
    state.build(sql)
    for name, expected in state.tables.items():
        found = describe_table(connections[ALIAS], name)
        assert found.columns == expected.columns
        assert found.indexes == expected.indexes
        assert found.constraints == expected.constraints
    state.fill(sql, jobs=100)
    assert all(sql(f"SELECT EXISTS (SELECT FROM {name})") == [(True,)] for name in state.tables)
