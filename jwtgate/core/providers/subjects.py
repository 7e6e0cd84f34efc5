"""Whom a security event is about: subject identifiers (RFC 9493, Shared Signals Framework §3), as names of ours.

``iss_sub`` is a subject of a configured issuer, ``jwt_id`` a token, ``opaque`` a session of the transmitter's by agreement,
``complex`` a user, a session, or both, ``aliases`` several names of one. Whatever else there is, and issuers that are not
configured, the application is asked about (``Gate.subjects``). What nobody knows names nothing.

Of a complex subject only ``user`` and ``session`` are read: a session is the narrower, so it is what ends; a user whose other
parts (device, tenant, group, …) would leave some sessions out loses them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jwtgate.claims import Claims, ClaimsList
from jwtgate.core.effects import AskSubject, Plan
from jwtgate.core.tokens.policy import spelt_otherwise
from jwtgate.errors import MalformedToken, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.core.effects import SubjectMapper
    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = ["MAX_ALIASES", "Named", "named"]

MAX_ALIASES = 16


@dataclass(frozen=True, slots=True)
class Named:
    """What an identifier names: of an issuer a subject, a session, a session of a subject, or a token."""

    policy: IssuerPolicy
    sub: str | None = None
    sid: str | None = None
    jti: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is needed to tell.

    Attributes:
        policies: by issuer.
        home: of the transmitter.
        mapper: the application's, if it gave one.
    """

    policies: Mapping[str | None, IssuerPolicy]
    home: IssuerPolicy
    mapper: SubjectMapper | None

    def policy(self, issuer: str) -> IssuerPolicy | None:
        """The configured issuer of that name, or that spells itself so, too, if the transmitter may speak of it.

        Who issues tokens speaks of its own alone: a partner may log out its users, and nobody else's. An issuer of which no
        token is admitted was configured for nothing but to speak of others, and has no subjects itself.
        """
        found = self.policies.get(issuer) or spelt_otherwise(issuer, self.policies)
        return found if (found is self.home) is not self.home.admits_nothing else None


def named(identifier: object, asked: Asked) -> Plan[tuple[Named, ...]]:
    """Everything that an identifier names; empty: nobody knows it.

    Raises: MalformedToken: it lacks what its format has. UnavailableError: the application's mapper failed.
    """
    if not isinstance(identifier, Claims):
        raise MalformedToken("a subject identifier is no object")
    match _format(identifier):
        case "complex":
            return (yield from _complex(identifier, asked))
        case "aliases":
            found: tuple[Named, ...] = ()
            for each in _aliases(identifier):
                found += yield from _simple(each, asked)
            return found
        case _:
            return (yield from _simple(identifier, asked))


def _format(identifier: Claims) -> str:
    """Older drafts call it ``subject_type`` and write it with a hyphen, and tell a complex one by its parts."""
    found = identifier.get("format", identifier.get("subject_type"))
    if found is None and ("user" in identifier or "session" in identifier):
        return "complex"
    if not isinstance(found, str) or not found:
        raise MalformedToken("a subject identifier has no format")
    return found.replace("-", "_")


def _simple(identifier: Claims, asked: Asked) -> Plan[tuple[Named, ...]]:
    match _format(identifier):
        case "iss_sub":
            issuer, sub = _text(identifier, "iss"), _text(identifier, "sub")
            policy = asked.policy(issuer)
            if policy is not None:
                return (Named(policy, sub=sub),)
        case "jwt_id":
            issuer, jti = _text(identifier, "iss"), _text(identifier, "jti")
            policy = asked.policy(issuer)
            return () if policy is None else (Named(policy, jti=jti),)
        case "opaque":
            return (Named(asked.home, sid=_text(identifier, "id")),)
        case "email":
            _text(identifier, "email")
        case "complex" | "aliases":
            raise MalformedToken("a subject identifier within another one may be neither complex nor aliases")
        case _:
            pass
    return (yield from _mapped(identifier, asked))


def _complex(identifier: Claims, asked: Asked) -> Plan[tuple[Named, ...]]:
    user, session = _part(identifier, "user"), _part(identifier, "session")
    if user is None and session is None:
        return ()
    users = () if user is None else (yield from _simple(user, asked))
    if session is None:
        return users
    owner = users[0] if users else None
    home = asked.home if owner is None else owner.policy
    sessions = yield from _simple(session, Asked(asked.policies, home, asked.mapper))
    if owner is None or owner.sub is None:
        return sessions
    return tuple(
        Named(each.policy, owner.sub, each.sid, each.jti) if each.policy is owner.policy else each for each in sessions
    )


def _part(identifier: Claims, name: str) -> Claims | None:
    part: Any = identifier.get(name)
    if part is not None and not isinstance(part, Claims):
        raise MalformedToken("a part of a complex subject is no object")
    return part


def _aliases(identifier: Claims) -> list[Claims]:
    listed: Any = identifier.get("identifiers")
    if not isinstance(listed, ClaimsList) or not 0 < len(listed) <= MAX_ALIASES:
        raise MalformedToken(f"aliases are a list of 1 to {MAX_ALIASES} subject identifiers")
    if not all(isinstance(each, Claims) for each in listed):
        raise MalformedToken("an alias is no object")
    return list(listed)


def _mapped(identifier: Claims, asked: Asked) -> Plan[tuple[Named, ...]]:
    if asked.mapper is None:
        return ()
    told: tuple[str | None, str] | None = yield AskSubject(asked.mapper, identifier)
    if told is None:
        return ()
    issuer, sub = told
    policy = asked.policies.get(issuer)
    if policy is None:
        raise UnavailableError("the application's mapper of subjects names an issuer that is not configured")
    return (Named(policy, sub=sub),)


def _text(identifier: Claims, name: str) -> str:
    value = identifier.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedToken(f"a subject identifier lacks {name}")
    return value
