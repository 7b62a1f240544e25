"""Inputs of a job: `asset:ID` and `parent` are replaced by the file, as a data URI (RFC 2397).

The adapter decides whether its provider gets an address or bytes. No provider can fetch our assets,
so their bytes are sent.
"""

import base64
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from django.contrib.auth.models import User

from jobs.models import Asset, Job
from pixsim.core import blobs
from pixsim.core.net import address_refusal
from providers.adapters.params import Params

ASSET = "asset:"
PARENT = "parent"
"""The asset that the parent job made."""


class BadInput(Exception):
    """An input that does not exist; `field` names the parameter."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@cache
def media_fields(schema: type[Params]) -> tuple[str, ...]:
    """Return the names of the parameters that take media, alone or in a list."""
    properties = schema.model_json_schema()["properties"]
    return tuple(name for name, spec in properties.items() if _is_media(spec))


def check(schema: type[Params], values: dict[str, Any], *, user: User, has_parent: bool) -> None:
    """Raise BadInput for an input that the user may not use, that nobody may fetch, or that will
    never exist."""
    for field, value in _references(schema, values):
        if value == PARENT and not has_parent:
            raise BadInput(field, "there is no parent job whose asset could be used.")
        if value.startswith(ASSET):
            _asset(field, value, user_id=user.pk)
    for bad in bad_addresses(schema, values):
        raise bad


def bad_addresses(schema: type[Params], values: Mapping[str, Any]) -> Iterator[BadInput]:
    """Yield each input among `values` that is an address which nobody may fetch.

    The one rule of the form, the commands, and the worker before it sends anything.
    """
    for field, value in _references(schema, values):
        is_ours = value == PARENT or value.startswith((ASSET, "data:"))
        if not is_ours and (refusal := address_refusal(value)):
            yield BadInput(field, f"it may not be fetched: {refusal}")


def placed(
    schema: type[Params], params: Mapping[str, Any], files: Mapping[str, str]
) -> dict[str, Any]:
    """Return the params with each file under its name.

    A name that the schema does not have goes into its object of media, where there is one.
    """
    values = dict(params)
    for name, file in files.items():
        if name in schema.model_fields or not _object_fields(schema):
            values[name] = file
        else:
            place = _object_fields(schema)[0]
            given = values.setdefault(place, {})
            if isinstance(given, dict):  # else the schema refuses it
                values[place] = {**given, name: file}
    return values


def resolved(schema: type[Params], values: dict[str, Any], *, job: Job) -> dict[str, Any]:
    """Return the media among `values` with our files filled in.

    Raise BadInput for a missing file, or an address that nobody may fetch.
    """
    for bad in bad_addresses(schema, values):
        raise bad
    found = {}
    for field, value in _references(schema, values):
        if value == PARENT:
            parent = job.parent_job
            if parent is None or parent.asset is None:
                raise BadInput(field, "the parent job has made no asset.")
            found[value] = data_uri(parent.asset)
        elif value.startswith(ASSET):
            found[value] = data_uri(_asset(field, value, user_id=job.user_id))
    fields = (*media_fields(schema), *_object_fields(schema))
    return {name: _replaced(values[name], found) for name in fields if values.get(name)}


def data_uri(asset: Asset) -> str:
    """Return the asset's file. Raise BadInput if it is not stored here."""
    try:
        with blobs.open_blob(asset.local_path or "") as file:
            encoded = base64.b64encode(file.read()).decode()
    except (FileNotFoundError, ValueError) as error:
        raise BadInput(f"{ASSET}{asset.pk}", "its file is not here.") from error
    return f"data:{asset.mime_type or 'application/octet-stream'};base64,{encoded}"


def _asset(field: str, value: str, *, user_id: int) -> Asset:
    number = value.removeprefix(ASSET)
    asset = None
    if number.isascii() and number.isdigit() and len(number) < 10:
        asset = Asset.objects.filter(pk=int(number), user_id=user_id).first()
    if asset is None:
        raise BadInput(field, f"there is no {value}.")
    return asset


@cache
def _object_fields(schema: type[Params]) -> tuple[str, ...]:
    """Return the names of the parameters that are objects of media, such as `files`."""
    properties = schema.model_json_schema()["properties"]
    return tuple(
        name
        for name, spec in properties.items()
        if _is_media(spec.get("additionalProperties") or {})
    )


def _references(schema: type[Params], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each text that is given for a file, after the place where it stands."""
    places = [(name, values.get(name)) for name in media_fields(schema)]
    for name in _object_fields(schema):
        places += [(f"{name}.{key}", value) for key, value in (values.get(name) or {}).items()]
    for place, value in places:
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, str):
                yield place, one


def _replaced(value: Any, found: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(one, found) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [found.get(one, one) for one in value]
    return found.get(value, value) if isinstance(value, str) else value


def _is_media(spec: dict[str, Any]) -> bool:
    nested = [spec, *spec.get("anyOf", [])]
    nested += [one.get("items", {}) for one in nested]
    return any(one.get("format") == "media" for one in nested)
