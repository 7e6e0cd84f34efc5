"""The operator's page: ``app.mount("/ops", Console())`` behind the gate, or ``jwtgate console``."""

from jwtgate.console.application import Console

__all__ = ["Console"]
