"""What a Redis does on bad days; `heal` ends it."""

import redis

from pixsim.embedded.redis import SOCKET_NAME
from tests.world import World


def connect(world: World) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(world.paths.sockets / SOCKET_NAME))


def replica(server: redis.Redis) -> None:
    """It was the primary before a failover, and is read-only now."""
    server.execute_command("REPLICAOF", "127.0.0.1", "1")


def full(server: redis.Redis) -> None:
    server.config_set("maxmemory", 1)


def without_replicas(server: redis.Redis) -> None:
    server.config_set("min-replicas-to-write", 1)


def forbidden(server: redis.Redis) -> None:
    server.acl_setuser("default", enabled=True, nopass=True, commands=["-brpop", "-lpush", "-sadd"])


def heal(server: redis.Redis) -> None:
    server.execute_command("REPLICAOF", "NO", "ONE")
    server.config_set("maxmemory", 0)
    server.config_set("min-replicas-to-write", 0)
    server.acl_setuser("default", enabled=True, nopass=True, categories=["+@all"])
