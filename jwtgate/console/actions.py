"""What an operator may do: a page that asks, by GET, and the deed itself, by POST. All of them at one glance.

A page may be out of date when its button is pressed: what has happened meanwhile is told, and nothing is done twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.console.receipts import Kept
from jwtgate.console.visiting import Problem
from jwtgate.core.acting import acting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jwtgate.console.receipts import Receipts
    from jwtgate.console.visiting import Visit
    from jwtgate.core.effects import Plan
    from jwtgate.messages import Receipt, Response

__all__ = ["ACTIONS", "Action", "confirm", "do"]

EVERYTHING = "revoke everything"
"""What is typed before everybody is logged out."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an action is about, from the fields of a form."""

    issuer: str | None
    value: str
    kind: str = ""

    def named(self, action: Action) -> str:
        """What kind of thing it is, in words."""
        return {"sid": "Session", "sub": "Subject"}.get(action.names, self.kind)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        names: the field that names its target; empty: everything.
        title: of its page.
        done: what was done, for the receipt.
        explained: what will happen.
        button: its words.
        plan: does it.
        moot: why there is nothing to do any more, if so.
        is_grave: it takes something away.
        is_gated: only where the issuer's sessions are here.
        typed: what must be typed first.
    """

    names: str
    title: str
    done: str
    explained: str
    button: str
    plan: Callable[[Visit, Target], Plan[Receipt]]
    moot: Callable[[Visit, Target], Awaitable[str | None]] | None = None
    is_grave: bool = True
    is_gated: bool = False
    typed: str = ""


async def _is_over(visit: Visit, target: Target) -> str | None:
    found = await visit.run(visit.gate.plans.session_named(target.value))
    return "There is no such session any more: it has ended, or it was never here." if found is None else None


async def _is_suspended(visit: Visit, target: Target) -> bool:
    (ruling,) = await visit.run(visit.gate.plans.ruled_on(target.issuer, (("sub", target.value),)))
    return ruling is not None and ruling.toggle is not None and ruling.toggle.is_revoked


async def _is_suspended_already(visit: Visit, target: Target) -> str | None:
    return "The subject is suspended already." if await _is_suspended(visit, target) else None


async def _is_free_already(visit: Visit, target: Target) -> str | None:
    return (
        None
        if await _is_suspended(visit, target)
        else "The subject is not suspended: somebody has reinstated it, or nobody suspended it."
    )


def _revoke(visit: Visit, target: Target, **what: object) -> Plan[Receipt]:
    nothing: dict[str, object] = {
        "token": None, "jti": None, "sid": None, "sub": None, "claim": None, "everything": False,
        "access_only": False, "issuer": target.issuer, "expires_at": None,
    }  # fmt: skip
    return visit.gate.plans.revoke(wait=False, **{**nothing, **what})


def _named(target: Target) -> dict[str, object]:
    """What ``Gate.revoke`` is to be told. Raises: ValueError: by it, for a kind that is none."""
    if target.kind in ("jti", "sid"):
        return {target.kind: target.value}
    return {"claim": (target.kind, target.value)}


ACTIONS: dict[str, Action] = {
    "end": Action(
        "sid",
        "End this session",
        "Session ended",
        "The session ends, and every access token that it gave dies at once, everywhere. Other sessions of the subject go on.",
        "End the session",
        lambda visit, target: visit.gate.plans.end_session(target.value, wait=False),
        _is_over,
        is_gated=True,
    ),
    "end-all": Action(
        "sub",
        "End all sessions",
        "All sessions ended",
        "Every session of the subject ends, and every token that was issued to it before now dies. It can log in again.",
        "End all sessions",
        lambda visit, target: visit.gate.plans.end_all(target.value, None, wait=False),
        is_gated=True,
    ),
    "renew": Action(
        "sub",
        "Revoke access tokens",
        "Access tokens revoked",
        "Every access token that was issued to the subject before now dies. Sessions go on: their next refresh gives a token "
        "with the claims of today.",
        "Revoke access tokens",
        lambda visit, target: _revoke(visit, target, sub=target.value, access_only=True),
    ),
    "revoke": Action(
        "sub",
        "Revoke all tokens",
        "Tokens revoked",
        "Every token that was issued to the subject before now dies. It can log in again.",
        "Revoke all tokens",
        lambda visit, target: _revoke(visit, target, sub=target.value),
    ),
    "suspend": Action(
        "sub",
        "Suspend the subject",
        "Subject suspended",
        "Every token of the subject is refused, and so is every new login, until somebody reinstates it. Sessions are kept.",
        "Suspend",
        lambda visit, target: visit.gate.plans.suspend(target.value, target.issuer, wait=False),
        _is_suspended_already,
    ),
    "reinstate": Action(
        "sub",
        "Reinstate the subject",
        "Subject reinstated",
        "The suspension is lifted: tokens and sessions that nothing else has ended are good again, and logins work.",
        "Reinstate",
        lambda visit, target: visit.gate.plans.reinstate(target.value, target.issuer, wait=False),
        _is_free_already,
        is_grave=False,
    ),
    "handle": Action(
        "value",
        "Revoke this handle",
        "Handle revoked",
        "Every token that carries it and was issued before now dies; of a token or a session that is named so, for good.",
        "Revoke",
        lambda visit, target: _revoke(visit, target, **_named(target)),
    ),
    "everything": Action(
        "",
        "Revoke everything",
        "Everything revoked",
        "Every token and every session that began before now dies, for everybody. You will have to log in again, too.",
        "Revoke everything",
        lambda visit, target: _revoke(visit, target, everything=True),
        typed=EVERYTHING,
    ),
}


async def confirm(visit: Visit) -> Response:
    """Asks. Raises: Problem. StoreUnavailable."""
    name, action, target = _chosen(visit)
    if (reason := await _mootness(visit, action, target)) is not None:
        return _moot(visit, action, target, reason)
    # In the address, since browsers rewrite the ends of lines in a form's fields (HTML §4.10.21.7).
    named = {action.names: target.value} if action.names else {}
    address = visit.url("do", action=name, kind=target.kind, **named, issuer=target.issuer)
    return visit.page(
        "confirm", action=action, target=target, address=address, named=target.named(action), back=_back(visit, action, target)
    )


async def do(visit: Visit, receipts: Receipts) -> Response:
    """Does it, once it is known that it is still to be done. Raises: Problem. StoreUnavailable."""
    _, action, target = _chosen(visit)
    if action.typed and visit.form.get("typed", "").strip().lower() != action.typed:
        raise Problem(400, "Nothing was done", f"To go on, the words “{action.typed}” must be typed.")
    if (reason := await _mootness(visit, action, target)) is not None:
        return _moot(visit, action, target, reason)
    plans, back = visit.gate.plans, await _onward(visit, action, target)
    try:
        receipt, pursuit = await visit.run(plans.pursued(acting(visit.operator.subject, action.plan(visit, target))))
    except ValueError as error:
        raise Problem(400, "Nothing was done", f"{error}.") from None
    kept = Kept(action.done, target.named(action), target.value, visit.by, *back, receipt, pursuit)
    return visit.to("receipt", id=receipts.keep(kept), told=kept.told(visit))


async def _mootness(visit: Visit, action: Action, target: Target) -> str | None:
    """Why there is nothing to do. Raises: Problem: no such target can be. StoreUnavailable."""
    try:
        return None if action.moot is None else await action.moot(visit, target)
    except ValueError as error:
        raise Problem(400, "Nothing was done", f"{error}.") from None


def _chosen(visit: Visit) -> tuple[str, Action, Target]:
    fields = visit.query
    name = fields.get("action", "")
    action = ACTIONS.get(name)
    if action is None:
        raise Problem(400, "Do what?", "There is no such button here. Nothing was done.")
    value = fields.get(action.names, "") if action.names else ""
    if action.names and not value:
        raise Problem(400, "To whom?", "The form names nobody. Nothing was done.")
    issuer = visit.issuer(fields)
    if action.is_gated and not visit.gate.plans.has_sessions(issuer):
        raise Problem(400, "No sessions here", "Sessions of this issuer are not kept here. Nothing was done.")
    return name, action, Target(issuer, value, fields.get("kind", "") if action.names == "value" else "")


def _back(visit: Visit, action: Action, target: Target) -> tuple[str, str]:
    """Where to go on from here, and what that is."""
    match action.names:
        case "sub":
            return visit.url("subject", sub=target.value, issuer=target.issuer), "Back to the subject"
        case "sid":
            return visit.url("session", sid=target.value), "Back to the session"
        case "value":
            return visit.url("rulings", kind=target.kind, value=target.value, issuer=target.issuer), "Back to the rulings"
        case _:
            return visit.url(""), "Back to the overview"


async def _onward(visit: Visit, action: Action, target: Target) -> tuple[str, str]:
    """Where to go on from the receipt: of a session that is over, to whose it was."""
    if action.names == "sid":
        found = await visit.run(visit.gate.plans.session_named(target.value))
        if found is not None:
            return visit.url("subject", sub=found.subject, issuer=target.issuer), "Back to the subject"
    return _back(visit, action, target)


def _moot(visit: Visit, action: Action, target: Target, reason: str) -> Response:
    return visit.page("moot", action=action, target=target, reason=reason, back=_back(visit, action, target))
