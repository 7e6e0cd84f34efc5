"""The application's own checks: asked about every request that shows a token, and nothing they say is remembered.

The request differs where the token does not (its address, its path), so a token that was admitted before is asked about
like any other. Invariant: only True lets a request pass; what else a check may return or raise the runtime makes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.core.effects import Ask
from jwtgate.errors import RefusedByCheck

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.core.effects import Check, Plan
    from jwtgate.messages import Request, Token

__all__ = ["Checks", "ask"]


class Checks:
    """Those of one gate, in the order they were given. Adding one is a single step: no lock, also across a fork.

    Attributes:
        before: asked about unverified claims, where the token is not remembered.
        after: asked about verified claims only.
    """

    __slots__ = ("after", "before")

    def __init__(self) -> None:
        self.before: list[Check] = []
        self.after: list[Check] = []

    def __bool__(self) -> bool:
        return bool(self.before or self.after)

    def add(self, check: Check, *, before: bool) -> None:
        """Asks it, too, about every request that begins from now on."""
        (self.before if before else self.after).append(check)


def ask(checks: Iterable[Check], token: Token, request: Request | None) -> Plan[None]:
    """Asks one after the other; the first that refuses ends it.

    Raises: RefusedByCheck, or whatever ``JWTGateError`` a check refuses with; UnavailableError: a check failed.
    """
    for check in checks:
        if (yield Ask(check, token, request)) is not True:
            raise RefusedByCheck("a check of the application does not let it pass")
