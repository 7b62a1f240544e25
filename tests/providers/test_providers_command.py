"""`manage.py providers`: what an operator learns of the providers."""

import json
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from providers.adapters import all_adapters


def test_list_shows_every_provider_with_operations_models_and_abilities(capsys: Any) -> None:
    call_command("providers", "list")
    text = capsys.readouterr().out
    for adapter in all_adapters().values():
        part = text[text.index(f"{adapter.name}: {adapter.title}") :].partition("\n\n")[0]
        for operation in adapter.operations.values():
            assert operation.name in part
            assert ", ".join(operation.models) in part
        assert f"{'yes' if adapter.can_find else 'no '}  finds" in part
        assert f"{'yes' if adapter.can_cancel else 'no '}  cancels" in part


def test_list_as_json_has_the_same_and_the_base_url_of_the_settings(
    capsys: Any, settings: Any
) -> None:
    settings.PROVIDER_BASE_URLS = {"openai": "http://127.0.0.1:8099/v1"}
    call_command("providers", "list", "--json")
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == set(all_adapters())
    assert listed["openai"]["base_url"] == "http://127.0.0.1:8099/v1"
    assert listed["local"]["operations"]["song"] == ["band"]
    assert listed["local"]["credential"] is None
    assert listed["local"]["has_webhooks"] is False


def test_schema_is_the_json_schema_of_the_first_or_the_named_model(capsys: Any) -> None:
    for adapter in all_adapters().values():
        for operation in adapter.operations.values():
            call_command("providers", "schema", adapter.name, operation.name)
            default = json.loads(capsys.readouterr().out)
            assert default == operation.models[operation.default_model].model_json_schema()
            last = list(operation.models)[-1]
            call_command("providers", "schema", adapter.name, operation.name, "--model", last)
            named = json.loads(capsys.readouterr().out)
            assert named == operation.models[last].model_json_schema()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["locla", "song"], "There is no provider 'locla'. Did you mean local?"),
        (["zzz", "song"], "There is no provider 'zzz'. There is: local,"),
        (["local", "sogn"], "local has no operation 'sogn'. Did you mean song?"),
        (
            ["local", "song", "--model", "bend"],
            "local has no model for song 'bend'. Did you mean band?",
        ),
    ],
)
def test_a_wrong_name_is_exit_code_2_with_the_names_near_it(
    arguments: list[str], message: str
) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("providers", "schema", *arguments)
    assert refused.value.returncode == 2
    assert str(refused.value).startswith(message.rstrip(","))


def test_neither_a_database_nor_what_only_workers_have_is_needed() -> None:
    program = (
        "import sys; from django.core.management import execute_from_command_line as run; "
        "run(['manage.py', 'providers', 'list']); "
        "sys.exit(3 if {'numpy', 'PIL.ImageDraw', 'cv2'} & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=settings.BASE_DIR,
        env={
            "DJANGO_SETTINGS_MODULE": "pixsim.settings",
            "DATABASE_URL": "postgres://nobody@127.0.0.1:9/none",
            "CELERY_BROKER_URL": "redis://127.0.0.1:9/0",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "text_to_image" in done.stdout
