"""Less usual changes that `db revision` writes: each goes up, agrees with the models, and goes back."""

import pytest
from django.db import connections

from pixsim.schema.destructive_changes import walk
from pixsim.schema.history import load_migrations
from pixsim.schema.unsafe import review
from tests.scratch import ALIAS

pytestmark = pytest.mark.long

HEAD = """
import uuid, datetime, decimal
from django.contrib.postgres.functions import RandomUUID
from django.db.models import Q
from django.utils import timezone

class Box(models.Model):
    id = models.BigAutoField(primary_key=True)

class Tag(models.Model):
    id = models.BigAutoField(primary_key=True)

class Pen(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=20, default="")
    number = models.IntegerField(default=0)
"""
META = "\n    class Meta:\n        "
LINE = "    {}\n".format
SHELF = LINE("box = models.ForeignKey(Box, models.CASCADE, null=True)")

PAIRS = {
    "a many-to-many field": ("", LINE("tags = models.ManyToManyField(Tag)")),
    "a many-to-many field that goes": (LINE("tags = models.ManyToManyField(Tag)"), ""),
    "a required foreign key": (
        "",
        LINE("box = models.ForeignKey(Box, models.CASCADE, default=1)"),
    ),
    "a required foreign key that goes": (
        LINE("box = models.ForeignKey(Box, models.CASCADE, default=1)"),
        "",
    ),
    "a one-to-one": (
        "",
        LINE("box = models.OneToOneField(Box, models.CASCADE, null=True)"),
    ),
    "a foreign key that goes": (SHELF, ""),
    "a foreign key that becomes required": (
        SHELF,
        LINE("box = models.ForeignKey(Box, models.CASCADE, default=1)"),
    ),
    "a foreign key that may be null": (
        LINE("box = models.ForeignKey(Box, models.CASCADE, default=1)"),
        SHELF,
    ),
    "a foreign key without an index": (
        SHELF,
        LINE("box = models.ForeignKey(Box, models.CASCADE, null=True, db_index=False)"),
    ),
    "a renamed foreign key": (SHELF, SHELF.replace("box =", "case =")),
    "a renamed unique column": (
        LINE("code = models.TextField(unique=True, null=True)"),
        LINE("label = models.TextField(unique=True, null=True)"),
    ),
    "a renamed column with a default in the database": (
        LINE("code = models.TextField(db_default='x')"),
        LINE("label = models.TextField(db_default='x')"),
    ),
    "another name of a column": (
        LINE("code = models.TextField(null=True)"),
        LINE("code = models.TextField(null=True, db_column='label')"),
    ),
    "a renamed positive number": (
        LINE("size = models.PositiveIntegerField(default=1)"),
        LINE("extent = models.PositiveIntegerField(default=1)"),
    ),
    "two columns that are unique together": (
        "",
        META + "unique_together = [('id', 'name')]\n",
    ),
    "a unique constraint with a condition": (
        "",
        META
        + "constraints = [models.UniqueConstraint(fields=['id'], condition=Q(number=0), name='uq')]\n",
    ),
    "a unique constraint that includes a column": (
        "",
        META
        + "constraints = [models.UniqueConstraint(fields=['id'], include=['name'], name='uq')]\n",
    ),
    "a unique constraint that waits for the end": (
        "",
        META + "constraints = [models.UniqueConstraint("
        "fields=['id'], deferrable=models.Deferrable.IMMEDIATE, name='uq')]\n",
    ),
    "a constraint that goes": (
        META + "constraints = [models.UniqueConstraint(fields=['id', 'name'], name='uq')]\n",
        "",
    ),
    "a check that goes": (
        META + "constraints = [models.CheckConstraint(condition=Q(number__gte=0), name='ck')]\n",
        "",
    ),
    "an index that goes": (
        META + "indexes = [models.Index(fields=['name'], name='ix')]\n",
        "",
    ),
    "another name of a table": ("", META + "db_table = 'pencils'\n"),
    "a slug": ("", LINE("slug = models.SlugField(null=True, unique=True)")),
    "a JSON column": ("", LINE("data = models.JSONField(default=dict)")),
    "a list of values": ("", LINE("data = models.JSONField(default=list, blank=True)")),
    "a decimal": (
        "",
        LINE(
            "cost = models.DecimalField(max_digits=6, decimal_places=2, default=decimal.Decimal('1.5'))"
        ),
    ),
    "more digits": (
        LINE("cost = models.DecimalField(max_digits=6, decimal_places=2, null=True)"),
        LINE("cost = models.DecimalField(max_digits=9, decimal_places=2, null=True)"),
    ),
    "a time": ("", LINE("at = models.DateTimeField(default=timezone.now)")),
    "a date": ("", LINE("day = models.DateField(default=datetime.date(2026, 1, 2))")),
    "a truth": ("", LINE("is_new = models.BooleanField(default=True)")),
    "a text that may be blank": (
        "",
        LINE("note = models.TextField(blank=True, default='it\\'s 100 %')"),
    ),
    "a positive number": ("", LINE("size = models.PositiveSmallIntegerField(default=1)")),
    "a number that becomes positive": (
        LINE("size = models.IntegerField(default=1)"),
        LINE("size = models.PositiveIntegerField(default=1)"),
    ),
    "a positive number that goes": (LINE("size = models.PositiveIntegerField(default=1)"), ""),
    "a unique column that goes": (LINE("code = models.IntegerField(unique=True, null=True)"), ""),
    "a value for each row, or none": (
        "",
        LINE("key = models.UUIDField(db_default=RandomUUID(), null=True)"),
    ),
    "a wider column with an index": (
        LINE("count = models.IntegerField(db_index=True, db_default=4)"),
        LINE("count = models.BigIntegerField(db_index=True, db_default=4)"),
    ),
    "a wider unique column": (
        LINE("count = models.IntegerField(unique=True, null=True)"),
        LINE("count = models.BigIntegerField(unique=True, null=True)"),
    ),
    "double precision": (
        LINE("count = models.SmallIntegerField(default=1)"),
        LINE("count = models.BigIntegerField(default=1)"),
    ),
    "text for varchar with an index": (
        LINE("code = models.CharField(max_length=9, db_index=True, default='')"),
        LINE("code = models.TextField(db_index=True, default='')"),
    ),
    "another default": (
        LINE("code = models.TextField(db_default='a')"),
        LINE("code = models.TextField(db_default='b')"),
    ),
    "a required column with a default in the database": (
        LINE("code = models.TextField(null=True)"),
        LINE("code = models.TextField(db_default='b')"),
    ),
    "required and unique at once": (
        LINE("count = models.IntegerField(null=True)"),
        LINE("count = models.IntegerField(unique=True, default=0)"),
    ),
    "another table behind a foreign key": (
        LINE("box = models.ForeignKey(Box, models.CASCADE, null=True)"),
        LINE("box = models.ForeignKey(Tag, models.CASCADE, null=True)"),
    ),
    "words for people": (
        LINE("code = models.TextField(null=True)"),
        LINE("code = models.TextField(null=True, help_text='A code.')"),
    ),
}
MAY_BLOCK = {"text for varchar with an index"}
"""Django drops and builds the index of LIKE in the same operation; that is announced."""
ONE_ROW = {"required and unique at once"}


def fine(ran):
    assert ran.code == 0, ran.out + ran.err
    return ran


@pytest.mark.parametrize("name", PAIRS)
def test_it_goes_up_and_back(packages, database, db, sql, name):
    before, after = PAIRS[name]
    packages.add("shop", {}, models=HEAD + before)
    fine(db("revision", "shop"))
    fine(db("upgrade"))
    sql("INSERT INTO shop_box DEFAULT VALUES")
    for number in range(1 if name in ONE_ROW else 9):
        sql(insert_of(before), str(number))

    packages.models("shop", HEAD + after)
    fine(db("revision", "-m", "change", "--yes"))
    assert db("revision").out == "Nothing changed in the models.\n"
    fine(db("check"))
    loader = load_migrations(None)
    new = [each for key, each in loader.disk_migrations.items() if key[0] == "shop"][1:]
    if name not in MAY_BLOCK:
        assert [
            str(finding)
            for migration, state in walk(loader, new)
            for finding in review(migration, state, connections[ALIAS])
            if finding.kind == "blocks"
        ] == []
    fine(db("upgrade"))
    assert "Clean: " in fine(db("verify")).out
    fine(db("downgrade", "shop", "0001", "--yes"))
    assert "Clean: " in fine(db("verify")).out
    fine(db("upgrade"))
    assert "Clean: " in fine(db("verify")).out


def insert_of(before):
    """A row that leaves the other columns to their defaults; those in Python alone are given."""
    extra = ""
    for column, value in (("box", "1"), ("size", "1"), ("count", "1")):
        if f"{column} = " in before and "null=True" not in before and "db_default" not in before:
            extra = f"{column}_id" if column == "box" else column
            return f"INSERT INTO shop_pen (name, number, {extra}) VALUES (%s, 0, {value})"
    if "max_length=9" in before:
        return "INSERT INTO shop_pen (name, number, code) VALUES (%s, 0, 'a')"
    return "INSERT INTO shop_pen (name, number) VALUES (%s, 0)"


def test_apps_that_depend_on_each_other(packages, database, db):
    box = "class Box(models.Model):\n    id = models.BigAutoField(primary_key=True)\n"
    pen = (
        "class Pen(models.Model):\n    id = models.BigAutoField(primary_key=True)\n"
        "    box = models.ForeignKey('shelves.Box', models.CASCADE, null=True)\n"
    )
    packages.add("shop", {}, models=pen.replace("    box", "    # box"))
    packages.add("shelves", {}, models="")
    fine(db("revision", "shop"))
    fine(db("upgrade"))
    packages.models("shelves", box)
    packages.models("shop", pen)

    fine(db("revision", "-m", "boxes", "shop"))

    text = (packages.folder / "shop/migrations/0002_boxes.py").read_text()
    assert '("shelves", "0001_boxes")' in text
    fine(db("check"))
    fine(db("upgrade"))
    assert "Clean: " in fine(db("verify")).out

    packages.models("shop", "")
    packages.models("shelves", "")
    fine(db("revision", "-m", "all gone"))
    last = sorted((packages.folder / "shelves/migrations").glob("0*_contract.py"))
    assert len(last) == 1
    fine(db("upgrade"))
    assert "Clean: " in fine(db("verify")).out
    fine(db("downgrade", "shelves", "0001", "--yes"))
    assert "Clean: " in fine(db("verify")).out
