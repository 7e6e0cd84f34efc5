"""Refusals in the log: at INFO, so that nobody can fill it, but for the first of each kind that a setting often causes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jwtgate.errors import CrossSiteRequest, MissingToken, WrongAudience, WrongIssuer

if TYPE_CHECKING:
    from jwtgate.errors import JWTGateError

__all__ = ["Refusals"]

logger = logging.getLogger("jwtgate")

OFTEN_A_SETTING = (CrossSiteRequest, MissingToken, WrongAudience, WrongIssuer)
"""What the first requests of a new deployment meet: a login that is not exempt, an origin that nobody named. Most programs
show what is at least a warning."""


class Refusals:
    """Of one gate. Two threads that race may both tell the first, which harms nobody."""

    def __init__(self) -> None:
        self._told: set[type[JWTGateError]] = set()

    def tell(self, error: JWTGateError) -> None:
        """One line, with the precise reason."""
        kind = type(error)
        if kind in OFTEN_A_SETTING and kind not in self._told:
            self._told.add(kind)
            logger.warning("refused: %s (%s); from now on told at INFO", error.reason, error)
            return
        logger.info("refused: %s (%s)", error.reason, error)
