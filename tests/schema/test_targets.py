"""Words become plans."""

import pytest
from django.db.migrations.loader import MigrationLoader

from pixsim.adoption.systems import REVISIONS
from pixsim.schema.errors import SchemaError, UsageError
from pixsim.schema.targets import SeveralHeads, plan_between, plan_for, state_at
from tests.schema.packages import Packages, creates, migration

OLDER = {"abcd01": (("shop", "0002_more"),), "abcd02": (("shop", "0003_last"),)}


@pytest.fixture
def shop(packages: Packages) -> MigrationLoader:
    """Two apps: shop 0001-0003, and mail 0001-0002, where mail 0002 needs shop 0002."""
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_more": migration(depends=[("shop", "0001_initial")]),
            "0003_last": migration(depends=[("shop", "0002_more")]),
        },
    )
    packages.add(
        "mail",
        {
            "0001_initial": creates("Letter"),
            "0002_books": migration(depends=[("mail", "0001_initial"), ("shop", "0002_more")]),
        },
    )
    return MigrationLoader(None)


ALL = [
    ("shop", "0001_initial"),
    ("mail", "0001_initial"),
    ("shop", "0002_more"),
    ("mail", "0002_books"),
    ("shop", "0003_last"),
]


def up(loader: MigrationLoader, words: str, applied=(), **options) -> list[str]:
    plan = plan_for(loader, applied, words.split(), **options)
    assert not any(step.backwards for step in plan.steps)
    return [shown(step) for step in plan.steps]


def down(loader: MigrationLoader, words: str, applied=ALL, **options) -> list[str]:
    plan = plan_for(loader, applied, words.split(), backwards=True, **options)
    assert all(step.backwards for step in plan.steps)
    return [shown(step) for step in plan.steps]


def shown(step) -> str:
    return f"{step.app} {step.name[:4]}" + ("" if step.asked else "*")


@pytest.mark.parametrize("words", ["", "head", "heads"])
def test_head_is_everything_in_plan_order(shop: MigrationLoader, words: str) -> None:
    assert up(shop, words) == ["shop 0001", "shop 0002", "mail 0001", "mail 0002", "shop 0003"]
    assert up(shop, words, ALL) == []


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ("mail", ["shop 0001*", "shop 0002*", "mail 0001", "mail 0002"]),
        ("mail head", ["shop 0001*", "shop 0002*", "mail 0001", "mail 0002"]),
        ("shop 0002", ["shop 0001", "shop 0002"]),
        ("shop 2", ["shop 0001", "shop 0002"]),
        ("shop.0002_more", ["shop 0001", "shop 0002"]),
        ("abcd01", ["shop 0001", "shop 0002"]),
        ("+3", ["shop 0001", "shop 0002", "mail 0001"]),
        ("mail +2", ["mail 0001", "shop 0001*", "shop 0002*", "mail 0002"]),
    ],
)
def test_going_up_brings_what_the_target_needs(
    shop: MigrationLoader, words: str, steps: list[str]
) -> None:
    assert up(shop, words, revisions=OLDER) == steps


def test_a_target_that_is_reached_needs_no_step(shop: MigrationLoader) -> None:
    assert up(shop, "shop 0001", ALL) == []
    assert down(shop, "shop 0003") == []


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ("-1", ["shop 0003"]),
        ("-2", ["shop 0003", "mail 0002"]),
        ("-3", ["shop 0003", "mail 0002", "shop 0002"]),
        ("mail -1", ["mail 0002"]),
        ("shop -2", ["shop 0003", "mail 0002*", "shop 0002"]),
        ("shop 0001", ["shop 0003", "mail 0002*", "shop 0002"]),
        ("abcd01", ["shop 0003"]),
        ("shop zero", ["shop 0003", "mail 0002*", "shop 0002", "shop 0001"]),
        ("base", ["shop 0003", "mail 0002", "shop 0002", "mail 0001", "shop 0001"]),
    ],
)
def test_going_down_takes_what_depends_on_it_along(
    shop: MigrationLoader, words: str, steps: list[str]
) -> None:
    assert down(shop, words, revisions=OLDER) == steps


def test_the_last_is_the_last_applied_and_not_the_last_of_the_graph(shop: MigrationLoader) -> None:
    applied = [*ALL[:3], ("shop", "0003_last"), ("mail", "0002_books")]

    assert down(shop, "-1", applied) == ["mail 0002"]
    assert down(shop, "-2", applied) == ["mail 0002", "shop 0003"]


def test_rows_out_of_order_still_unwind_dependents_first(shop: MigrationLoader) -> None:
    applied = [("mail", "0002_books"), *ALL[:3]]

    assert down(shop, "-1", applied) == ["mail 0002*", "shop 0002"]


@pytest.mark.parametrize(
    ("words", "backwards", "message"),
    [
        ("+0", False, "+0 goes nowhere. Say +1 or more to go up, -1 or more to go down."),
        ("shop -0", True, "-0 goes nowhere."),
        ("-1", False, "-1 is down: say `downgrade -1`."),
        ("shop zero", False, "shop zero is down: say `downgrade shop zero`."),
        ("+1", True, "+1 is up: say `upgrade +1`."),
        ("head", True, "head is up: say `upgrade head`."),
        ("", True, "Say how far down: `downgrade -1`, `downgrade APP 0001`, or `downgrade zero`."),
        ("shop", True, "Say how far down: `downgrade shop -1`, `downgrade shop 0001`"),
        ("+6", False, "+6 goes too far: 5 migrations are waiting. Say `head` for all."),
        ("shop +4", False, "shop +4 goes too far: 3 migrations of shop are waiting."),
        ("-6", True, "-6 goes too far: 5 migrations are applied. Say `zero` for all."),
        ("shpo 0001", False, "There is no app shpo with migrations. Near: shop."),
        ("shpo", False, "shpo is no app, no migration, no revision and none of head"),
        ("shop 0009", False, "shop has no migration 0009. Near: "),
        ("shop 0002_mroe", False, "shop has no migration 0002_mroe. Near: 0002_more"),
        ("0001", False, "0001 needs its app. Say which: mail 0001_initial, shop 0001_initial."),
        ("abcd", False, "More than one revision begins with abcd: abcd01, abcd02."),
        ("abcd03", False, "Near: abcd02, abcd01."),
        ("a b c", False, "Too many words: a b c."),
    ],
)
def test_words_that_mean_nothing_are_refused(
    shop: MigrationLoader, words: str, backwards: bool, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        plan_for(
            shop, ALL if backwards else [], words.split(), backwards=backwards, revisions=OLDER
        )
    assert message in str(caught.value)


def test_going_down_to_what_was_never_applied_is_refused(shop: MigrationLoader) -> None:
    with pytest.raises(UsageError, match="shop 0003_last is not applied, so there is no going"):
        down(shop, "shop 0003", ALL[:4])


def test_a_migration_without_its_file_is_not_taken_back(shop: MigrationLoader) -> None:
    with pytest.raises(SchemaError, match="shop 0004_gone was applied, but its file is gone"):
        down(shop, "-1", [*ALL, ("shop", "0004_gone")])


def test_head_is_refused_while_there_are_several(packages: Packages, shop: MigrationLoader) -> None:
    packages.write("shop", "0003_other", migration(depends=[("shop", "0002_more")]))
    loader = MigrationLoader(None)

    for words in ("head", "shop", "+1"):
        with pytest.raises(SeveralHeads, match=r"shop \(0003_last, 0003_other\)"):
            up(loader, words)
    assert up(loader, "mail", ALL[:3]) == ["mail 0002"]
    assert up(loader, "shop 0003_other", ALL) == ["shop 0003"]
    with pytest.raises(UsageError, match="begins with 0003: 0003_last, 0003_other"):
        up(loader, "shop 0003")


def test_a_squashed_migration_counts_once(packages: Packages, shop: MigrationLoader) -> None:
    squashed = "0001_squashed_0002_more"
    replaces = [("shop", "0001_initial"), ("shop", "0002_more")]
    packages.write("shop", squashed, creates("Book", more=f"replaces = {replaces!r}"))
    loader = MigrationLoader(None)

    assert up(loader, "shop 0001") == ["shop 0001"]
    assert up(loader, "shop", ALL[:3]) == ["shop 0003"]
    assert down(loader, "-2", [*ALL[:3], ALL[4]]) == ["shop 0003", "shop 0001"]
    with pytest.raises(UsageError, match="shop 0002_more is part of shop 0001_squashed_0002_more"):
        up(loader, "shop 0002_more")


def test_from_either_side_a_point_is_reached_exactly(shop: MigrationLoader) -> None:
    points = {"both": (("shop", "0001_initial"), ("mail", "0001_initial"))}
    plan = plan_between(shop, [("shop", "0001_initial"), ALL[2]], ["both"], revisions=points)

    assert [(step.app, step.name, step.backwards) for step in plan.steps] == [
        ("shop", "0002_more", True),
        ("mail", "0001_initial", False),
    ]
    assert (
        plan_between(shop, ALL, ["zero"]).steps
        == plan_for(shop, ALL, ["zero"], backwards=True).steps
    )
    assert plan_between(shop, ALL, ["head"]).steps == ()


def test_the_state_at_a_point_needs_no_database(shop: MigrationLoader) -> None:
    assert state_at(shop, ["shop", "0002"]) == [("shop", "0001_initial"), ("shop", "0002_more")]
    assert state_at(shop, ["zero"]) == []
    with pytest.raises(UsageError, match="-1 needs a database to count from"):
        state_at(shop, ["-1"])


def test_every_older_revision_names_migrations_that_exist() -> None:
    loader = MigrationLoader(None)
    for revision in REVISIONS:
        assert state_at(loader, [revision], revisions=REVISIONS)
    at = state_at(loader, ["daa977"], revisions=REVISIONS)
    assert ("providers", "0005_submission_account_required") in at
    assert ("providers", "0006_generation_time") not in at
