"""A subject with its sessions and what is ruled on it, and one session by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.console.visiting import PAGE_SIZE, Problem

if TYPE_CHECKING:
    from jwtgate.console.visiting import Visit
    from jwtgate.core.rulings import Ruling
    from jwtgate.messages import Response, Session

__all__ = ["Standing", "session", "standing_of", "subject"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is ruled on one handle, in the words of the page.

    Attributes:
        what: the handle, in words.
    """

    what: str
    ruling: Ruling

    @property
    def is_suspended(self) -> bool:
        return self.ruling.toggle is not None and self.ruling.toggle.is_revoked


async def standing_of(visit: Visit, issuer: str | None, named: dict[tuple[str, str], str]) -> list[Standing]:
    """What stands on these handles, each kind and value with its words. Raises: Problem. StoreUnavailable."""
    try:
        rulings = await visit.run(visit.gate.plans.ruled_on(issuer, tuple(named)))
    except ValueError as error:
        raise Problem(400, "That cannot be searched for", f"{error}.") from None
    return [Standing(what, ruling) for what, ruling in zip(named.values(), rulings, strict=True) if ruling is not None]


async def subject(visit: Visit) -> Response:
    """The search, and what it finds. Raises: Problem. StoreUnavailable."""
    sub = visit.query.get("sub")
    if sub is None:
        return visit.page("subject", sub=None, issuer=None)
    issuer, number = visit.issuer(visit.query), visit.page_number()
    named = {
        ("sub", sub): "Access tokens of the subject",
        ("sessions", sub): "Sessions of the subject",
        ("all", ""): "Everybody's tokens and sessions",
    }
    standing = await standing_of(visit, issuer, named)
    plans, page = visit.gate.plans, (list["Session"](), False)
    has_sessions = plans.has_sessions(issuer)
    if has_sessions:
        page = await visit.run(plans.session_page(sub, (number - 1) * PAGE_SIZE, PAGE_SIZE))
    return visit.page(
        "subject",
        sub=sub,
        issuer=issuer,
        standing=standing,
        is_suspended=any(each.is_suspended and each.what == named[("sub", sub)] for each in standing),
        has_sessions=has_sessions,
        sessions=page[0],
        number=number,
        has_more=page[1],
    )


async def session(visit: Visit) -> Response:
    """One session. Raises: Problem. StoreUnavailable."""
    sid = visit.query.get("sid")
    if sid is None:
        raise Problem(400, "Which session?", "Give the session's name, its sid.", back="subject", back_to="Search")
    found = await visit.run(visit.gate.plans.session_named(sid))
    issuer = _issuer_of_sessions(visit)
    named = {("sid", sid): "The session"}
    if found is not None:
        named |= {
            ("sub", found.subject): "Access tokens of the subject",
            ("sessions", found.subject): "Sessions of the subject",
        }
    standing = await standing_of(visit, issuer, named)
    return visit.page("session", sid=sid, session=found, issuer=issuer, standing=standing)


def _issuer_of_sessions(visit: Visit) -> str | None:
    policies = visit.gate.settings.policies
    found = [issuer for issuer in policies if visit.gate.plans.has_sessions(issuer)]
    if not found:
        raise Problem(
            404, "No sessions here", "No key of this gate signs, so it keeps no sessions.", back="", back_to="Overview"
        )
    return found[0]
