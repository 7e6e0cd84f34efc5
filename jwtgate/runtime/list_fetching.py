"""Fetches the status lists of one issuer in a thread of its own, never in a request's way.

Whatever comes that is no good list is a failure, and the last good one stays; only where its publisher says that there is no
such list it is given up at once: after a lost history nobody knows what it said. When to fetch, and what holds meanwhile,
stands in ``core.statuses.held``, what a good list is in ``core.statuses.list_token``, how a document comes in ``documents``.
No address is ever logged: it comes from a claim.
"""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING

from jwtgate.core.statuses.held import FollowedList, Statuses
from jwtgate.core.statuses.list_token import LIMIT_BYTES, read_list_token
from jwtgate.core.statuses.status_list import UnreadableList

if TYPE_CHECKING:
    from jwtgate.core.effects import Clock
    from jwtgate.core.statuses.claim import ListRules
    from jwtgate.core.statuses.held import FetchedList, HeldList
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.core.view import View

__all__ = ["ListRun"]

logger = logging.getLogger("jwtgate")

FETCH_SECONDS = 5.0
"""For the whole of one list."""

MEDIA_TYPE = "application/statuslist+jwt"
"""draft-ietf-oauth-status-list §8.2: exactly that."""

LONGEST_WAIT_SECONDS = 60.0

AGAIN_SECONDS = 1.0
"""After a fault of our own."""


class ListRun:
    """One issuer's thread, and what it is told."""

    def __init__(self, policy: IssuerPolicy, rules: ListRules, view: View, clock: Clock) -> None:
        self._policy = policy
        self._view = view
        self._clock = clock
        self._woken = threading.Event()
        self._fetch_threads: dict[str, threading.Thread] = {}
        self.is_stopped = False
        before = policy.statuses
        self.statuses = Statuses(
            rules, policy.namespace, threading.Lock(), clock.boot, random.SystemRandom().random, self._woken.set
        )
        policy.follow(self.statuses)
        if before is not None:  # of a gate that was closed, and is used again
            for followed in tuple(before.followed.values()):
                self._give_up(followed.held)
        self._thread = threading.Thread(target=self._live, name="jwtgate-lists", daemon=True)

    def start(self) -> None:
        """Raises: RuntimeError: there is no thread to be had."""
        self._thread.start()

    def wake(self) -> None:
        """Looks again at what there is to do."""
        self._woken.set()

    def _live(self) -> None:
        """A fault of our own must not end it: nobody else sees to it that lists grow too old to be used."""
        while not self.is_stopped:
            try:
                self._step()
            except Exception:
                logger.exception("fetching lists failed, and goes on")
                self._woken.clear()  # or who woke it before would leave no pause
                self._woken.wait(AGAIN_SECONDS)

    def _step(self) -> None:
        now = self._clock.boot()
        for unwanted in self.statuses.unwanted(now):
            self._give_up(unwanted.held)
        followed, seconds = self.statuses.next_due(now)
        if followed is not None:
            self._fetch(followed, now)
        else:
            self._woken.wait(min(seconds, LONGEST_WAIT_SECONDS))
            self._woken.clear()

    def _fetch(self, followed: FollowedList, now: float) -> None:
        """In a thread of its own, which may be left: name servers and headers that drip have no bound that could be set."""
        wall = self._clock.wall()
        self.statuses.begin(followed, now)
        found: list[FetchedList | None] = []
        reasons = ["no whole answer in time"]
        left = self._fetch_threads = {uri: thread for uri, thread in self._fetch_threads.items() if thread.is_alive()}
        if followed.uri in left:  # that one alone, or an address that hangs would keep all others from being fetched
            reasons.append("the fetch before this one has not ended")
        else:
            thread = threading.Thread(target=self._try, args=(followed.uri, found, reasons), daemon=True)
            try:
                thread.start()
                left[followed.uri] = thread
                thread.join(FETCH_SECONDS)
            except RuntimeError as error:
                reasons.append(str(error))
        if self.is_stopped:
            return
        try:
            self._conclude(followed, tuple(found), reasons[-1], now, wall)
        except Exception:
            self.statuses.fail(followed, self._clock.boot())  # or it would be under way for ever
            raise

    def _conclude(
        self, followed: FollowedList, found: tuple[FetchedList | None, ...], reason: str, began_at: float, wall: float
    ) -> None:
        held = followed.held
        if not found:
            self.statuses.fail(followed, self._clock.boot())
            self._say(followed, f"not fetched, {self._meanwhile(followed)}: {reason}", logging.WARNING)
            return
        fetched = found[0]
        if fetched is None:
            self._give_up(self.statuses.lose(followed, self._clock.boot()))
            self._say(followed, "there is no such list: its tokens get 503", logging.ERROR)
        elif held is not None and fetched.issued_at < held.issued_at:
            self.statuses.pass_over(followed, fetched, began_at)
            self._say(followed, "an older one came than the one in use, which goes on", logging.INFO)
        else:
            before = self.statuses.install(followed, fetched, began_at, wall)
            if before is not None:
                self._view.turn_list(before, followed.held)
            self._say(followed, f"fetched: {len(fetched.status_list)} entries", logging.INFO)

    def _meanwhile(self, followed: FollowedList) -> str:
        held = followed.held
        is_usable = held is not None and self._clock.boot() < held.usable_until
        return "the last one goes on" if is_usable else "its tokens get 503"

    def _give_up(self, held: HeldList | None) -> None:
        """Nothing is remembered any more that depends on it."""
        if held is not None:
            self._view.turn_list(held, None)

    def _try(self, uri: str, found: list[FetchedList | None], reasons: list[str]) -> None:
        """Leaves the list, None where there is none any more, or why nothing came."""
        from jwtgate.runtime.documents import Client, Gone, Unusable  # here, since httpx takes 0.1 s, and comes with an extra

        try:
            with Client(FETCH_SECONDS, LIMIT_BYTES, MEDIA_TYPE) as client:
                body, headers = client.fetch(uri)
            if headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
                raise Unusable(f"the answer's content type is not {MEDIA_TYPE}")
            found.append(read_list_token(body.strip(), uri, self._policy, self._clock.wall(), self._view.rulings.get))
        except Gone:
            found.append(None)
        except (Unusable, UnreadableList) as unusable:
            reasons.append(str(unusable))
        except Exception as error:  # noqa: BLE001 - of the library, of TLS, of a proxy's settings: whatever it is, no list came
            reasons.append(f"no answer: {type(error).__name__}")

    def _say(self, followed: FollowedList, text: str, level: int) -> None:
        """Once per change."""
        if text != followed.said:
            followed.said = text
            logger.log(level, "a status list of %s: %s", self._policy.issuer or "our issuer", text)
