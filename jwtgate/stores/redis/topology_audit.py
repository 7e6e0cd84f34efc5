"""What about Sentinels, a cluster, replicas and disks would break the promise, or the durability that was asked for.

Each is a ``Weakness`` with the line that mends it. A question that the server refuses is passed over: that a user lacks the
right to ask is told elsewhere, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from jwtgate.stores.contract import Weakness
from jwtgate.stores.redis import answers
from jwtgate.stores.redis.cluster import ClusterPlace
from jwtgate.stores.redis.sentinel import SentinelPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jwtgate.stores.contract import Durability
    from jwtgate.stores.redis.places import Place

__all__ = ["topology_weaknesses"]

FEWEST_GUIDES = 3
"""The first number of which one may fail and the others still are a majority."""

LAG_MARGIN_SECONDS = 3
"""A master that was cut off refuses up to two seconds after its replicas' lag is too long: it counts whole seconds, once a
second. Sentinels, who ask once a second too, may count from a second before the cut."""


class _Inquire(Protocol):
    def __call__(self, command: str, decode: Callable[[Any], dict[str, str]], *arguments: str) -> dict[str, str] | None: ...


def topology_weaknesses(place: Place, durability: Durability, inquire: _Inquire) -> Iterator[Weakness]:
    """Args: inquire: asks the primary; None where it refuses. Raises: StoreUnavailable."""
    replication = inquire("INFO", answers.info, "replication") or {}
    if isinstance(place, SentinelPlace):
        yield from _of_sentinels(place, inquire)
    elif isinstance(place, ClusterPlace):
        yield from _of_cluster(replication, inquire)
    elif (inquire("INFO", answers.info, "cluster") or {}).get("cluster_enabled") == "1":
        yield Weakness(
            "The server is a node of a cluster: when its slots move it answers nothing any more.",
            "JWTGATE_STORE=redis+cluster://host:port,host:port",
        )
    yield from _of_durability(durability, replication, inquire)


def _of_sentinels(place: SentinelPlace, inquire: _Inquire) -> Iterator[Weakness]:
    told = place.inquire()
    settings = inquire("CONFIG", answers.pairs, "GET", "min-replicas-*") or {}
    if settings.get("min-replicas-to-write") == "0":
        yield Weakness(
            "min-replicas-to-write is 0: a master that is cut off and replaced goes on answering, and who asks it does not "
            "hear of new rulings.",
            "CONFIG SET min-replicas-to-write 1 (on every server)",
        )
    elif settings and told and _is_too_late(int(settings["min-replicas-max-lag"]), int(told["down-after-milliseconds"])):
        least = 1000 * (int(settings["min-replicas-max-lag"]) + LAG_MARGIN_SECONDS)
        yield Weakness(
            f"min-replicas-max-lag is {settings['min-replicas-max-lag']} s and down-after-milliseconds "
            f"{told['down-after-milliseconds']}: a master that is cut off can still answer when its successor is elected.",
            f"SENTINEL SET {place.service} down-after-milliseconds {least} (on every Sentinel), or a shorter lag",
        )
    if told and int(told["num-other-sentinels"]) + 1 < FEWEST_GUIDES:
        yield Weakness(
            f"{int(told['num-other-sentinels']) + 1} Sentinels know each other: when one fails there may be no majority.",
            "three Sentinels or more, on machines of their own",
        )
    if told and told["quorum"] == "1":
        yield Weakness(
            "The quorum is 1: a single Sentinel that is cut off can start a failover.",
            f"SENTINEL SET {place.service} quorum 2 (on every Sentinel)",
        )


def _is_too_late(lag_seconds: int, down_after_milliseconds: int) -> bool:
    return lag_seconds == 0 or 1000 * (lag_seconds + LAG_MARGIN_SECONDS) > down_after_milliseconds


def _of_cluster(replication: dict[str, str], inquire: _Inquire) -> Iterator[Weakness]:
    state = inquire("CLUSTER", answers.info, "INFO") or {}
    settings = inquire("CONFIG", answers.pairs, "GET", "cluster-*", "min-replicas-*") or {}
    if state and int(state["cluster_size"]) < FEWEST_GUIDES:
        yield Weakness(
            f"The cluster has {state['cluster_size']} masters with slots: when one fails there is no majority to replace it.",
            "three masters or more, on machines of their own",
        )
    if replication.get("connected_slaves") == "0":
        yield Weakness(
            "The master of our slot has no replica: nobody can take its place.",
            "CLUSTER REPLICATE <the master's id> (on a new node)",
        )
    if settings.get("cluster-allow-reads-when-down") == "yes":
        yield Weakness(
            "cluster-allow-reads-when-down is yes: a node that has lost its cluster goes on answering.",
            "CONFIG SET cluster-allow-reads-when-down no (on every node)",
        )
    lag, patience = settings.get("min-replicas-max-lag"), settings.get("cluster-node-timeout")
    is_refusing = settings.get("min-replicas-to-write", "0") != "0"
    if is_refusing and lag and patience and _is_too_late(int(lag), int(patience)):
        yield Weakness(
            f"min-replicas-max-lag is {lag} s and cluster-node-timeout {patience} ms: a master that is cut off can still "
            "answer when its successor is elected.",
            f"CONFIG SET cluster-node-timeout {1000 * (int(lag) + LAG_MARGIN_SECONDS)} (on every node), or a shorter lag",
        )


def _of_durability(durability: Durability, replication: dict[str, str], inquire: _Inquire) -> Iterator[Weakness]:
    connected = int(replication.get("connected_slaves", durability.replicas))
    if durability.replicas > connected:
        yield Weakness(
            f"JWTGATE_DURABILITY asks for {durability.replicas} replicas, and {connected} follow: every revocation will fail.",
            f"JWTGATE_DURABILITY=replicas:{connected}" if connected else "JWTGATE_DURABILITY=0, or replicas",
        )
    if not durability.is_synced:
        return
    if (inquire("CONFIG", answers.pairs, "GET", "appendonly") or {}).get("appendonly") == "no":
        yield Weakness("JWTGATE_DURABILITY is fsync, and the server keeps no append-only file.", "CONFIG SET appendonly yes")
    version = (inquire("INFO", answers.info, "server") or {}).get("redis_version", "8.0").split(".")
    if (int(version[0]), int(version[1])) < (7, 2):
        yield Weakness(
            f"JWTGATE_DURABILITY is fsync, and Redis {'.'.join(version)} cannot tell when a write is on disk.",
            "Redis 7.2 or later, or Valkey; else JWTGATE_DURABILITY=0",
        )
