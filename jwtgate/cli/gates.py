"""The gate that a command opens: by the environment, for one errand, closed at its end."""

from __future__ import annotations

import getpass
import logging
import socket
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from jwtgate.cli.answering import Misuse
from jwtgate.cli.printing import complain
from jwtgate.core.history import NotDurable, NotWritten
from jwtgate.errors import StoreUnavailable
from jwtgate.gate import Gate
from jwtgate.settings import Settings
from jwtgate.settings.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["HEALING_LEASES", "Visitor", "opened", "operator", "quiet", "telling"]

T = TypeVar("T")

HEALING_LEASES = 4
"""An epoch is healed after two leases of watching (L2); a slow machine may need twice that."""


class Visitor(Gate):
    """A gate without a follower (R4): it asks the store each time and registers nowhere, so that no receipt waits for it."""

    def start(self) -> None:
        """Follows nothing, whatever is decided. Keys that are published are fetched."""
        if not self.fetcher.is_started:
            self.fetcher.start()

    def wait_for_history(self) -> bool:
        """Follows after all, until the store's history is healed (L2): where no worker runs, nobody else sees to it."""
        super().start()
        return self.ready(HEALING_LEASES * self.settings.lease)

    def unfetched(self) -> str:
        """From where no keys have come, and why, as the end of a sentence; empty: from nowhere."""
        told = (f"{mask_url(published.url)}: {reason or 'no answer yet'}" for published, reason in self.fetcher.missing())
        return "; ".join(told)

    def once_healed(self, ask: Callable[[], T]) -> T:
        """What is asked for; where the store's history is healing and nobody else sees to it, later."""
        try:
            return ask()
        except StoreUnavailable:
            if self.status().store != "healing":
                raise
            complain("the store is new or has lost its history: waiting until it can be believed")
            self.wait_for_history()
            return ask()


@contextmanager
def opened(errand: str = "", *, is_audited: bool = True) -> Generator[Visitor]:
    """A gate, closed in the end.

    Args: errand: what it is for, where other processes must be reached: then ``memory://`` is refused.
        is_audited: ``STRICT`` holds.
    Raises: SettingsError. Misuse.
    """
    settings = Settings.from_env()
    if errand and settings.store == "memory://":
        raise Misuse(f"JWTGATE_STORE is memory://, the memory of one process: there is nothing to {errand} from another one.")
    gate = Visitor(settings if is_audited else replace(settings, strict=False))
    gate.onlookers.actor = operator()
    with quiet():
        try:
            yield gate
        finally:
            gate.close()


def operator() -> str:
    """The user of this machine's, in words."""
    try:
        return f"{getpass.getuser()} on {socket.gethostname()}"
    except (OSError, KeyError, ImportError):
        return "the operator of this machine"


@contextmanager
def quiet() -> Generator[None]:
    """A store that does not answer is told once, by the command.

    Whoever keeps an audit log, as by sitecustomize, keeps one of this command, too.
    """
    logger, audit = logging.getLogger("jwtgate"), logging.getLogger("jwtgate.audit")
    levels = logger.level, audit.level
    if audit.hasHandlers():
        audit.setLevel(audit.getEffectiveLevel())
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(levels[0])
        audit.setLevel(levels[1])


@contextmanager
def telling(*, unwritten: str, unknown: str) -> Generator[None]:
    """Around what writes rulings: a failure says what stands. Args: what it says of its own words otherwise."""
    try:
        yield
    except NotDurable:  # says itself that the ruling stands
        raise
    except StoreUnavailable as error:
        error.add_note(unwritten if isinstance(error, NotWritten) else unknown)
        raise
