"""The gate's operations on what providers tell it, as plans: a part of ``Plans``. Says in the log what was heard."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from jwtgate.core.providers.hearing import Hearing
from jwtgate.core.providers.statements import NoAudience
from jwtgate.errors import Expired, InvalidToken, NotYetValid, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.effects import Clock, Plan, SubjectMapper
    from jwtgate.core.receipts import Revoker
    from jwtgate.core.revocation import Targets
    from jwtgate.core.view import View
    from jwtgate.messages import Receipt

__all__ = ["HearingPlans"]

T = TypeVar("T")

logger = logging.getLogger("jwtgate")


class HearingPlans:
    """Of one gate in one process."""

    def __init__(
        self,
        targets: Targets,
        revoker: Revoker,
        view: View,
        clock: Clock,
        subjects: Callable[[], SubjectMapper | None],
        *,
        is_journaled: bool,
    ) -> None:
        """Args: subjects: who is asked whom an identifier means, if anybody. is_journaled: as of ``Hearing``."""
        self._hearing = Hearing(targets, revoker, view, clock, subjects, is_journaled=is_journaled)
        self._told: set[str] = set()

    def hear_logout(self, token: str) -> Plan[Receipt | None]:
        """A logout token. Raises: InvalidToken and its kin. UnavailableError."""
        return self._heard("a logout token", self._hearing.logout(token.encode("utf-8", "replace")))

    def hear_events(self, token: bytes) -> Plan[Receipt | None]:
        """A security event token. Raises: as ``hear_logout``."""
        return self._heard("a security event token", self._hearing.events(token))

    def _heard(self, what: str, plan: Plan[T]) -> Plan[T]:
        """One warning of each kind that nobody has configured: everybody can ask for more."""
        try:
            return (yield from plan)
        except NoAudience as error:
            if what not in self._told:
                self._told.add(what)
                logger.warning("%s was refused: %s", what, error)
            raise
        except (Expired, NotYetValid) as error:  # a genuine one: only the provider, or who saw what it sent, can ask for more
            logger.warning("%s was refused: %s; are the clocks apart?", what, error)
            raise
        except InvalidToken as error:
            logger.info("%s was refused: %s (%s)", what, error.reason, error)
            raise
        except UnavailableError as error:
            logger.warning("%s could not be acted on, and was answered with 503: %s", what, error)
            raise
