"""Ten changes to the toy's models that people write unsafely, and what code of the release before and
of the new one says to the database while their migrations run."""

from dataclasses import dataclass, field

from tests.schema.packages import Packages

MODELS = """
class Shelf(models.Model):
    id = models.BigAutoField(primary_key=True)


class Toy(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50, default="")
    code = models.TextField()
    price = models.IntegerField(null=True)
    weight = models.IntegerField(default=1, db_default=1)
"""
META = "\n    class Meta:\n        {}\n"
INSERT = (
    "INSERT INTO toys_toy (name, code, price, weight) VALUES ('new', 'n' || nextval('n'), 5, 2)"
)
UPDATE = "UPDATE toys_toy SET price = 6, weight = weight + 1, name = 'changed' WHERE id = %s"


@dataclass(frozen=True)
class Change:
    """A change to the models."""

    after: str
    """The models after it."""
    files: tuple[str, ...]
    """The files that `db revision -m change` writes for it."""
    old_code: tuple[str, str] = (INSERT, UPDATE)
    """What code of the release before goes on to say; the second gets the id of a row."""
    new_code: tuple[str, str] | None = None
    """What code of the new release says, if it is something else."""
    contains: tuple[str, ...] = field(default=())
    """What the files say, among other things."""

    @property
    def waits(self) -> bool:
        """Whether the last file waits for the release after."""
        return self.files[-1].endswith("_contract.py")


def _replaced(old: str, new: str) -> str:
    assert old in MODELS
    return MODELS.replace(old, new)


CHANGES = {
    "an index": Change(
        MODELS + META.format('indexes = [models.Index(fields=["name"], name="ix_toy_name")]'),
        ("0002_change.py",),
        contains=("SaferAddIndexConcurrently", "SHARE UPDATE EXCLUSIVE on toys_toy"),
    ),
    "a required column with a default in Python": Change(
        MODELS + "    stock = models.IntegerField(default=3)\n",
        ("0002_change.py",),
        contains=("db_default=3", "models.IntegerField(default=3)"),
    ),
    "a foreign key": Change(
        MODELS + "    shelf = models.ForeignKey(Shelf, models.CASCADE, null=True)\n",
        ("0002_change.py", "0003_change_constraints.py"),
        contains=("CREATE INDEX CONCURRENTLY", "AddForeignKey", "deferrable=True"),
    ),
    "a unique constraint": Change(
        MODELS
        + META.format(
            'constraints = [models.UniqueConstraint(fields=["code"], name="uq_toy_code")]'
        ),
        ("0002_change.py",),
        contains=("CREATE UNIQUE INDEX CONCURRENTLY", "UNIQUE USING INDEX", "Breaks:"),
    ),
    "a check": Change(
        MODELS
        + META.format(
            "constraints = [models.CheckConstraint("
            'condition=models.Q(weight__gt=0), name="ck_toy_weight")]'
        ),
        ("0002_change.py",),
        contains=("SaferAddCheckConstraint", "Breaks:"),
    ),
    "a column that becomes required": Change(
        _replaced(
            "price = models.IntegerField(null=True)", "price = models.IntegerField(default=7)"
        ),
        ("0002_change.py",),
        contains=("NOT VALID", "RunBackfill", "VALIDATE CONSTRAINT", "SET DEFAULT 7", "Breaks:"),
    ),
    "a renamed column": Change(
        _replaced("name =", "title ="),
        ("0002_change.py", "0003_change_contract.py"),
        new_code=(INSERT.replace("(name", "(title"), UPDATE.replace("name =", "title =")),
        contains=("CopyColumn", "RenameField", "DropColumnCopy", "Breaks:"),
    ),
    "a renamed table": Change(
        _replaced("class Toy", "class Plaything"),
        ("0002_change.py", "0003_change_contract.py"),
        new_code=(
            INSERT.replace("toys_toy", "toys_plaything"),
            UPDATE.replace("toys_toy", "toys_plaything"),
        ),
        contains=("RenameModel", 'CREATE VIEW "toys_toy"', "Breaks:"),
    ),
    "a wider type": Change(
        _replaced("weight = models.IntegerField", "weight = models.BigIntegerField"),
        ("0002_change.py",),
        contains=("ReplaceColumn", 'type="bigint"', 'type="integer"'),
    ),
    "a column that goes": Change(
        _replaced('    name = models.CharField(max_length=50, default="")\n', ""),
        ("0002_change.py", "0003_change_contract.py"),
        new_code=(
            "INSERT INTO toys_toy (code, price, weight) VALUES ('n' || nextval('n'), 5, 2)",
            "UPDATE toys_toy SET price = 6, weight = weight + 1 WHERE id = %s",
        ),
        contains=("SET DEFAULT", 'DROP COLUMN IF EXISTS "name"', "Breaks:"),
    ),
}


def written(packages: Packages) -> dict[str, str]:
    """Return the files after the first, with their text."""
    files = sorted((packages.folder / "toys" / "migrations").glob("0*.py"))[1:]
    return {each.name: each.read_text() for each in files}
