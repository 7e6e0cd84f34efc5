"""What a PostgreSQL server, or a pooler before it, says of itself that would break the promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jwtgate.stores.contract import Weakness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["fewest", "weaknesses_of"]

LOSSES = {
    "fsync": "a crash of the machine may leave a broken database",
    "full_page_writes": "a crash of the machine may leave a broken database",
    "synchronous_commit": "a crash takes revocations that were confirmed",
}


def weaknesses_of(ask: Callable[[str], list[tuple[Any, ...]] | None], *, is_pooled: bool) -> Iterator[Weakness]:
    """Args: ask: a question, None where it has no answer. is_pooled: a pooler was met on the way."""
    if ask("SELECT pg_is_in_recovery()") == [(True,)]:
        yield Weakness(
            "The server is a standby: it takes no writes and can be behind.", "JWTGATE_STORE with the primary's address"
        )
    found = {name: (setting, source) for name, setting, source in ask("SELECT name, setting, source FROM pg_settings") or []}
    for name, loss in LOSSES.items():
        setting, source = found.get(name, ("", ""))
        if setting == "off":
            yield Weakness(f"{name} is off: {loss}.", _mended(name, "on", source))
    if found.get("default_transaction_read_only", ("off", ""))[0] == "on":
        yield Weakness(
            "default_transaction_read_only is on for the gate's user: nothing can be revoked.",
            _mended("default_transaction_read_only", "off", found["default_transaction_read_only"][1]),
        )
    isolation, source = found.get("default_transaction_isolation", ("", ""))
    if is_pooled and isolation not in ("", "read committed"):
        yield Weakness(
            f"default_transaction_isolation is {isolation}: steps that meet others are refused, and a pooler stands between, "
            "so that the gate cannot ask for another.",
            _mended("default_transaction_isolation", "'read committed'", source),
        )
    digits, source = found.get("extra_float_digits", ("1", ""))
    if is_pooled and int(digits) < 1:
        yield Weakness(
            f"extra_float_digits is {digits}: times come back rounded, and a pooler stands between, so that the gate cannot "
            "ask for all of them.",
            _mended("extra_float_digits", "1", source),
        )
    if is_pooled:
        yield Weakness(
            "A pooler stands between the gate and PostgreSQL: nobody is woken by a revocation, processes hear of it every "
            "JWTGATE_POLL seconds.",
            "JWTGATE_STORE with the server's own address",
            "hint",
        )


def fewest(ask: Callable[[str], list[tuple[Any, ...]] | None]) -> int | None:
    """Connections, by whichever limit is the least."""
    reserved = "current_setting('superuser_reserved_connections')::int"
    found = ask(
        f"SELECT rolconnlimit, datconnlimit, current_setting('max_connections')::int - {reserved} "  # noqa: S608 - no input
        "FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
    )
    return min((int(limit) for limit in (found or [()])[0] if limit >= 0), default=None)


def _mended(name: str, value: str, source: str) -> str:
    """Where it was set: what is said of a user or a database outweighs what the server says."""
    if source in ("user", "database", "database user"):
        whose = {"user": "ROLE", "database": "DATABASE"}.get(source, "ROLE … IN DATABASE")
        return f"ALTER {whose} <the gate's> SET {name} = {value}"
    return f"ALTER SYSTEM SET {name} = {value}; SELECT pg_reload_conf()"
