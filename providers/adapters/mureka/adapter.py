"""Mureka: songs from lyrics or from a description. Its API has no field for our reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from providers.adapters.base import (
    Accepted,
    Adapter,
    Credentials,
    Deadlines,
    Failed,
    Operation,
    Output,
    Request,
    Running,
    State,
    Succeeded,
)
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.mureka import errors, schemas

ASK_TIMEOUT = 30.0


class Mureka(Adapter):
    """The song API."""

    name = "mureka"
    title = "Mureka"
    base_url = "https://api.mureka.ai/v1"
    operations = {
        "song": Operation(
            "song",
            dict.fromkeys(schemas.MODELS, schemas.Song),
            expected_seconds=90.0,
            deadlines=Deadlines(submit=60.0, run=1800.0, total=7200.0),
        )
    }

    async def submit(
        self, http: Http, credentials: Credentials, request: Request
    ) -> Accepted | Succeeded:
        body = {name: value for name, value in request.params.canonical().items() if value}
        path = "song/generate" if "lyrics" in body else "song/easy-generate"
        task = await self._call(
            http,
            credentials,
            "POST",
            path,
            body | {"model": request.model},
            timeout=self.operations[request.operation].deadlines.submit,
        )
        if not isinstance(task.get("id"), str):
            raise ProviderError(ErrorClass.UNKNOWN, "The answer names no task.")
        return Accepted(task["id"], task)

    async def check(self, http: Http, credentials: Credentials, provider_job_id: str) -> State:
        path = f"song/query/{quote(provider_job_id, safe='')}"
        task = await self._call(http, credentials, "GET", path)
        if task.get("id") != provider_job_id:
            raise ProviderError(
                ErrorClass.UNKNOWN, f"Asked for {provider_job_id}, told of {task.get('id')}."
            )
        match task.get("status"):
            case "preparing" | "queued" | "running" | "streaming" | "reviewing":
                return Running(response=task)
            case "succeeded":
                return Succeeded(_songs(task), task, provider_job_id)
            case "failed":
                return Failed(errors.of_song(task.get("failed_reason")), task)
            case "timeouted":
                error = ProviderError(ErrorClass.TIMEOUT, "The song ran out of its time.")
                return Failed(error, task)
            case "cancelled":
                error = ProviderError(ErrorClass.UNKNOWN, "The song was cancelled.")
                return Failed(error, task, cancelled=True)
            case status:
                raise ProviderError(ErrorClass.UNKNOWN, f"The song is {status!r}.")

    async def credits(self, http: Http, credentials: Credentials) -> Mapping[str, int]:
        billing = await self._call(http, credentials, "GET", "account/billing")
        try:
            return {"cents": int(billing["balance"])}
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderError(ErrorClass.UNKNOWN, "The answer tells no balance.") from error

    async def _call(
        self,
        http: Http,
        credentials: Credentials,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout: float = ASK_TIMEOUT,
    ) -> dict[str, Any]:
        answer = await http.call(
            method,
            path,
            headers={"Authorization": f"Bearer {credentials.api_key}"},
            classify=errors.classify,
            timeout=timeout,
            body=body,
        )
        return answer.body


def _songs(task: Mapping[str, Any]) -> list[Output]:
    """Return the songs of a task, as MP3."""
    try:
        songs = [
            Output(url=song["url"], provider_asset_id=song.get("id")) for song in task["choices"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ProviderError(ErrorClass.UNKNOWN, "The answer names no songs.") from error
    if not songs:
        raise ProviderError(ErrorClass.UNKNOWN, "The answer has no songs.")
    return songs
