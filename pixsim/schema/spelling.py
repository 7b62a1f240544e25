"""Words of other tools, and slips: each refusal names the word that is right here."""

import re
from collections.abc import Collection
from difflib import get_close_matches

VERBS = {
    # Alembic's
    "edit": "`show`, which names the file",
    "init": "`revision`, which makes an app's folder of migrations too",
    "ensure_version": "`upgrade`, which makes what it needs",
    "list_templates": "`revision`",
    # Django's and Flask-Migrate's
    "migrate": "`upgrade`",
    "makemigrations": "`revision`",
    "showmigrations": "`history`",
    "sqlmigrate": "`sql`",
    "squashmigrations": "`manage.py squashmigrations`",
    "inspectdb": "`schema`",
    # What people try
    **dict.fromkeys(("up", "apply", "update", "deploy"), "`upgrade`"),
    **dict.fromkeys(("down", "rollback", "revert", "undo", "back"), "`downgrade`"),
    **dict.fromkeys(("new", "create", "make", "generate", "autogenerate"), "`revision`"),
    **dict.fromkeys(("log", "list", "pending", "applied"), "`history`"),
    **dict.fromkeys(("version", "info", "where"), "`status`"),
    **dict.fromkeys(("diff", "drift", "compare"), "`verify`"),
    **dict.fromkeys(("reset", "drop", "flush"), "`wipe`"),
    **dict.fromkeys(("dump", "export"), "`backup`"),
    **dict.fromkeys(("mark", "fake"), "`stamp`"),
    **dict.fromkeys(("allow", "approve", "acknowledge", "ignore"), "`accept`"),
    "preview": "`upgrade --plan`",
    "lint": "`check`",
    "help": "`--help`",
}
"""What takes the place of a verb."""

OPTIONS = {
    "--dry-run": "`--plan`",
    "--check-heads": "`db heads`, whose exit code says it",
    "--fake": "`db stamp`",
    "--fake-initial": "`db stamp`",
    "--indicate-current": "`db history`, which shows what is pending",
    "-i": "`db history`, which shows what is pending",
    "--rev-range": "`db history`, which shows everything",
    "-r": "`db history`, which shows everything",
    "--purge": "`db stamp TARGET`, which leaves no other row",
    "--sql": "`db upgrade --sql`, `db downgrade --sql` or `db sql`",
    "--splice": "`dependencies` in the file",
    "--depends-on": "`dependencies` in the file",
    "--head": "`dependencies` in the file",
    "--branch-label": "the app: each has a history of its own",
    "--rev-id": "`-m MESSAGE`: the number and the name are made from it",
    "--version-path": "the app, after the message",
    "--name": "`-m MESSAGE`",
    "--force": "`--yes`",
    "--noinput": "`--yes`",
    "--no-input": "`--yes`",
    "-y": "`--yes`",
    "-c": "the environment or .env, where settings are read from",
    "--config": "the environment or .env, where settings are read from",
    "-x": "the environment or .env, where settings are read from",
}
"""What takes the place of an option that the verb has not."""

NO_VERB = re.compile(r"invalid choice: '([^']*)' \(choose from")
UNRECOGNIZED = re.compile(r"unrecognized arguments: (\S+)")
COUNTED = re.compile(r"--(\d+)")


def with_right_word(error: str, *, verbs: Collection[str], options: Collection[str]) -> str:
    """Return what argparse says of a command that it does not understand, with the right word."""
    if found := NO_VERB.search(error):
        right = _verb(found[1], verbs)
        return f"There is no verb {found[1]}. {_say(right) or 'See `manage.py db --help`.'}"
    if found := UNRECOGNIZED.search(error):
        right = _option(found[1].partition("=")[0], options)
        return f"{found[0]}. {_say(right) or 'See --help of the verb.'}"
    return error


def _say(right: str) -> str:
    return f"Say {right}." if right else ""


def _verb(word: str, verbs: Collection[str]) -> str:
    if word == "alembic":
        return "the verb alone, as in `manage.py db upgrade head`"
    near = get_close_matches(word.lower().replace("-", "_"), [*verbs, *VERBS], n=1)
    return VERBS.get(near[0], f"`{near[0]}`") if near else ""


def _option(word: str, options: Collection[str]) -> str:
    if counted := COUNTED.fullmatch(word):
        return f"`-{counted[1]}`"
    known = [*options, *(option for option in OPTIONS if option.startswith("--"))]
    if word in OPTIONS:
        return OPTIONS[word]
    near = get_close_matches(word, known, n=1, cutoff=0.7)
    return OPTIONS.get(near[0], f"`{near[0]}`") if near and word.startswith("--") else ""
