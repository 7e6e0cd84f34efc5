"""What both shells' applications share: the password check, the claims of a login, and the checks that a row switches on.

``APP_DATABASE`` names the users' file, ``APP_CHECKS`` the checks, ``APP_RELATIONS`` an SQL database where sessions are related
to users. Everything about tokens is told by ``JWTGATE_*``.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy.exc import IntegrityError
from strategies.database import FRESH_SECONDS, PASSWORD, Database, key_of
from strategies.relations import Relations

from jwtgate import Gate, checks
from jwtgate.messages import Receipt, Request, Session, Token

DATABASE = Database(os.environ["APP_DATABASE"])
CHECKS = tuple(filter(None, os.environ.get("APP_CHECKS", "").split(",")))


RELATIONS = Relations(os.environ["APP_RELATIONS"]) if "APP_RELATIONS" in os.environ else None


def is_related(sid: str, form: Mapping[str, Any]) -> bool:
    """Relates a new session to its user, before anybody has its tokens. False: the user was deleted meanwhile."""
    try:
        if RELATIONS is not None:
            RELATIONS.relate(sid, form["user"])
    except IntegrityError:
        return False
    return True


def login_of(form: Mapping[str, Any], address: str | None) -> dict[str, Any] | None:
    """The arguments of ``sessions.start``; None: the password is wrong."""
    user = DATABASE.row(form["user"])
    if user is None or not hmac.compare_digest(form["password"], PASSWORD):
        return None
    claims = dict(user.get("claims", {}))
    if "secret" in user:
        claims["user_key"] = key_of(user["secret"])
    if "client_address" in CHECKS:
        claims["client_ip"] = address
    return {"sub": form["user"], "claims": claims, "scope": user.get("scope"), "device": form.get("device"), "ip": address}


def claims_of_today(session: Session) -> dict[str, Any]:
    """The provider: what the database says of a user when a session is refreshed."""
    user = DATABASE.row(session.subject) or {}
    return {**user.get("claims", {}), "scope": user.get("scope")}


def closed_tenant(token: Token, request: Request | None) -> bool:
    """Asked before verification: tenants that were closed are turned away unread."""
    row = DATABASE.row(f"tenant {token.claims.get('tenant')}") or {}
    return not row.get("is_closed", False)


def at_work(token: Token, request: Request | None) -> bool:
    """Asked after verification: who is on leave reads, and does nothing else."""
    row = DATABASE.row(str(token.subject)) or {}
    return not row.get("is_on_leave", False) or (request is not None and request.path == "/me")


def furnish(gate: Gate, *, is_awaited: bool = False) -> None:
    """Hands the gate what only the application knows."""
    gate.claims(claims_of_today)
    if RELATIONS is not None:
        RELATIONS.furnish(gate, is_awaited=is_awaited)
    offered: dict[str, Callable[[], object]] = {
        "fresh_login": lambda: gate.check(checks.fresh_login(FRESH_SECONDS, paths=["/account"])),
        "client_address": lambda: gate.check(checks.client_address()),
        "before": lambda: gate.check(closed_tenant, before=True),
        "after": lambda: gate.check(at_work),
    }
    for name in CHECKS:
        offered[name]()


def operation_of(call: Mapping[str, Any]) -> tuple[list[str], list[Any], dict[str, Any]]:
    """The path to a method of the gate, and its arguments; JSON has no pairs."""
    named = {"wait": True, **call.get("named", {})}
    if "claim" in named:
        named["claim"] = tuple(named["claim"])
    return call["call"].split("."), call.get("arguments", []), named


def told(receipt: Receipt) -> dict[str, Any]:
    """As JSON."""
    return asdict(receipt)


def status_of(gate: Gate) -> dict[str, Any]:
    """Of the worker that answers, named by its process."""
    status = gate.status()
    return {
        "process": os.getpid(),
        "live": status.live,
        "complete": status.complete,
        "store": status.store,
        "rulings": status.rulings,
        "look_ups": status.look_ups,
        "hits": status.hits,
        "refused": dict(status.refused),
    }


def me_of(token: Token | None) -> dict[str, Any]:
    """What a page says of its visitor."""
    assert token is not None
    return {
        "process": os.getpid(),
        "subject": token.subject,
        "source": token.source,
        "scopes": sorted(token.scopes),
        "claims": dict(token.claims),
    }
