"""Audit events: what was changed in the store, about whom, when, in which position of the change log; never a token.

Each goes to the logger ``jwtgate.audit``, as a line and with ``extra={"audit": {…}}`` for whoever writes JSON, and to what the
application gave (``Gate(settings, audit=…)``, ``@gate.audit``). It is told by the process that made the change, whichever way
it was asked: a call, an endpoint, a provider, the command line. The level is INFO, so whoever wants no names in a log has none
unless he asks for them. What ends nothing is not told: a refresh, an access token renewed by ``ROTATE_AFTER``.

A subject may be any text that a token carries, so in the line every value is JSON in ASCII, cut at 256 characters: nobody can
write a line of his own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["AuditEvent"]

Kind = Literal[
    "login",
    "logout",
    "session_evicted",
    "refresh_token_reuse",
    "revocation",
    "suspension",
    "reinstatement",
    "version_requirement",
    "key_retirement",
    "key_renewal",
    "provider_logout",
    "security_event",
]

Target = Literal["token", "jti", "sid", "sub", "access_tokens", "claim", "everything", "key"]

Outcome = Literal["done", "repeated", "unconfirmed", "unknown"]

MOST_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that was done.

    Attributes:
        kind: ``login``; ``logout``, of one session, or of all that a subject has; ``session_evicted``, by a login over
            ``MAX_SESSIONS``; ``refresh_token_reuse``, a stolen one, whose session has ended; ``revocation``; ``suspension`` and
            ``reinstatement``; ``version_requirement``; ``key_retirement``; ``key_renewal``, of a subject's own key;
            ``provider_logout``, a logout token of a provider; ``security_event``, one of its security event tokens.
        target: what it is about. ``access_tokens``: those of a subject, and not its sessions.
        outcome: ``done``: the store has it. ``repeated``: it had lost it while a receipt was waited for, and has it again.
            ``unconfirmed``: it stands, but fewer replicas, disks or journals are known to have it than were asked for.
            ``unknown``: the store did not answer, so it may stand or not.
        at: NumericDate in seconds: the time in the ruling; of this process where the outcome is unknown.
        issuer: of what it is about; None: the one that is configured has no name.
        subject, session_id, token_id: ``sub``, ``sid``, ``jti``; None: not named, or not known.
        claim: of a revocation by claim, name and value.
        version: the lowest that lives.
        key_id: ``kid``.
        actor: who asked for it: the subject of the token that an endpoint was shown, one of ``CLIENTS``, the issuer of a
            provider's token, or, of the command line, the user of its machine. None: the application.
        position: as in the ``Receipt``; None where the outcome is unknown.
    """

    kind: Kind
    target: Target
    outcome: Outcome = "done"
    at: float = 0.0
    issuer: str | None = None
    subject: str | None = None
    session_id: str | None = None
    token_id: str | None = None
    claim: tuple[str, str] | None = None
    version: int | None = None
    key_id: str | None = None
    actor: str | None = None
    position: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """What is known of it, as JSON has it: for a log that is written as such."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.claim is not None:
            told["claim"] = list(self.claim)
        return {name: value for name, value in told.items() if value is not None}

    def __str__(self) -> str:
        """One line."""
        told = self.as_dict()
        if self.claim is not None:
            told["claim"] = "=".join(self.claim)
        values = (f"{name}={_plain(value)}" for name, value in told.items() if name not in {"kind", "outcome"})
        return f"{self.kind} {self.outcome}: {' '.join(values)}"


Auditor = Callable[[AuditEvent], object]
"""What an application gives to be told."""


def _plain(value: object) -> str:
    """In ASCII, without a control character."""
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        return json.dumps(value[:MOST_CHARACTERS]) + "..."
    return json.dumps(value)
