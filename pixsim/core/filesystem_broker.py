"""Kombu's filesystem transport with whole messages.

Kombu gives a message's file its name before it writes it, so a worker may read half a message, and
ends. Here the file gets its name when it is written. What cannot be read all the same is dropped:
messages only notify.
"""

import uuid
from pathlib import Path
from time import monotonic
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps

from pixsim.core import private
from pixsim.core.broker import dropping, log_dropped


class Channel(filesystem.Channel):
    def _put(self, queue: Any, message: Any, **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{round(monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        unfinished = Path(self.data_folder_out) / f"{name}.unfinished"
        try:
            with open(unfinished, "w", opener=private.opener) as file:
                file.write(dumps(message))
            unfinished.replace(unfinished.with_name(name))
        except OSError as error:
            raise ChannelError(f"Cannot add the message {name}: {error}") from error

    def _get(self, queue: Any, timeout: Any = None) -> Any:
        while True:
            try:
                return super()._get(queue)
            except (ValueError, RecursionError) as error:
                log_dropped(error)


class Transport(filesystem.Transport):
    Channel = Channel

    def _deliver(self, message: Any, queue: Any) -> None:
        with dropping(self):
            super()._deliver(message, queue)
