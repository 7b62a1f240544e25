"""Kombu's Redis transports, which drop a message that cannot be handled, and for which a Redis that
answers with an error (read-only, out of memory, no permission) is away.
"""

from queue import Empty
from typing import Any

from kombu.transport import redis

from pixsim.core.broker import dropping


class QoS(redis.QoS):
    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        try:
            with dropping(self.channel.connection):
                super().restore_by_tag(tag, client, leftmost)
        except Empty:  # else it would be tried again and again
            self._remove_from_indices(tag).execute()


class Dropping:
    """The three places where a channel reads messages."""

    connection: Any

    def _brpop_read(self, **options: Any) -> Any:
        with dropping(self.connection):
            return super()._brpop_read(**options)  # type: ignore[misc]

    def _receive_one(self, client: Any) -> Any:
        with dropping(self.connection):
            return super()._receive_one(client)  # type: ignore[misc]

    def _get(self, queue: Any, timeout: Any = None) -> Any:
        with dropping(self.connection):
            return super()._get(queue)  # type: ignore[misc]


class Channel(Dropping, redis.Channel):
    QoS = QoS


class SentinelChannel(Dropping, redis.SentinelChannel):
    QoS = QoS


class Transport(redis.Transport):
    Channel = Channel
    connection_errors = redis.Transport.connection_errors + redis.Transport.channel_errors


class SentinelTransport(redis.SentinelTransport):
    Channel = SentinelChannel
    connection_errors = Transport.connection_errors
