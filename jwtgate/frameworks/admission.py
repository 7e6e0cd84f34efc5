"""What the middleware has decided about a request, and how a handler may insist on more of it.

Every admission is the middleware's: nothing here reads a credential, asks a store or verifies. Without a middleware in front
there is no admission, and asking for one is an error, never an anonymous request.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jwtgate.errors import JWTGateError, MissingToken, RefusedByCheck, SettingsError
from jwtgate.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jwtgate.checks import PlainCheck
    from jwtgate.messages import Response, Token

__all__ = ["Admission", "admission_of"]

logger = logging.getLogger("jwtgate")


@dataclass(frozen=True, slots=True)
class Admission:
    """One admitted request.

    Attributes:
        gate: that admitted it.
        token: None: it is anonymous.
    """

    gate: Gate
    token: Token | None

    def insist(self, checks: Iterable[PlainCheck] = ()) -> Token:
        """The token, if there is one and all of these let it pass.

        Raises: MissingToken. Whatever ``JWTGateError`` a check refuses with.
        """
        if self.token is None:
            raise self._counted(MissingToken("the request is anonymous, and what it asks for is not"))
        self.check(self.token, checks)
        return self.token

    def check(self, token: Token, checks: Iterable[PlainCheck]) -> None:
        """Raises: whatever ``JWTGateError`` a check refuses with."""
        try:
            for check in checks:
                if check(token, None) is not True:
                    raise RefusedByCheck("a check of the application does not let it pass")
        except JWTGateError as error:
            error.is_dpop = _is_dpop(token)
            raise self._counted(error) from None

    def _counted(self, error: JWTGateError) -> JWTGateError:
        self.gate.tally.count(error)
        return error

    def answer(self, error: JWTGateError) -> Response:
        """The gate's own, which is logged. The nonce of the next proof is left to the shell: it tells it on every response."""
        level = logging.ERROR if isinstance(error, SettingsError) else logging.INFO
        logger.log(level, "refused: %s (%s)", error.reason, error)
        rendered = self.gate.answer(error)
        return replace(rendered, headers=tuple(pair for pair in rendered.headers if pair[0] != "dpop-nonce"))


def admission_of(scope_or_environ: Mapping[str, object], line: str) -> Admission:
    """Of the request that an application received.

    Args: scope_or_environ: the ASGI scope or WSGI environ. line: that puts the middleware in front.
    Raises: LookupError: it is not there.
    """
    gate = scope_or_environ.get("jwtgate.gate")
    if not isinstance(gate, Gate):
        raise LookupError(f"no jwtgate middleware has seen this request; what is missing is: {line}")  # noqa: TRY004 - as token_of
    token: Token | None = scope_or_environ["jwtgate.token"]  # type: ignore[assignment] # pyright: ignore[reportAssignmentType] - the shell's own, set with the gate
    return Admission(gate, token)


def _is_dpop(token: Token) -> bool:
    """A token that is bound to a key is admitted under the scheme DPoP alone (RFC 9449 §7.1)."""
    confirmation = token.claims.get("cnf")
    return isinstance(confirmation, dict) and "jkt" in confirmation
