"""Fetches the JWK Sets of issuers, one thread each, never in a request's way; their status lists likewise.

Whatever comes that is no usable set is a failure, and the last good set stays. When to fetch stands in ``core.keys.fetching``,
how a document comes in ``documents``, what is done with keys in ``key_desk``. An issuer alone is enough: its metadata name the
set (OpenID Connect Discovery 1.0 §4, RFC 8414 §3), and must name the issuer exactly.
"""

from __future__ import annotations

import logging
import random
import threading
from importlib.util import find_spec
from math import inf
from typing import TYPE_CHECKING

from jwtgate.core.keys.building import build
from jwtgate.core.keys.fetching import KeyFetching, lifetime_of
from jwtgate.core.keys.material import ALGORITHMS, HMAC_BYTES
from jwtgate.core.keys.ring import AWAITED_SECONDS, KeyRing, KeysAwaited, KeysDue, named
from jwtgate.errors import KeysUnavailable, SettingsError
from jwtgate.runtime.list_fetching import ListRun

if TYPE_CHECKING:
    from jwtgate.core.effects import Clock
    from jwtgate.core.keys.ring import Key
    from jwtgate.core.tokens.policy import IssuerPolicy, Published
    from jwtgate.runtime.documents import Client
    from jwtgate.runtime.key_desk import KeyDesk

__all__ = ["Fetcher"]

logger = logging.getLogger("jwtgate")

FETCH_SECONDS = 5.0
"""For the whole of it, metadata included."""

LIMIT_BYTES = 512 * 1024
"""The largest sets in use have twenty keys with a chain of certificates each."""

FETCHABLE = ALGORITHMS.keys() - HMAC_BYTES.keys()
"""A secret is never published."""

LONGEST_WAIT_SECONDS = 60.0

AGAIN_SECONDS = 1.0
"""After a fault of our own."""

LONGEST_ISSUER = 256
"""Characters that a log is shown of what the metadata say."""


class Fetcher:
    """Starts and stops the threads. The caller sees to it that nobody starts while another stops."""

    def __init__(self, desk: KeyDesk, clock: Clock) -> None:
        """Raises: SettingsError: there are keys to fetch, and nothing to fetch them with."""
        self._desk = desk
        self._clock = clock
        self._runs: tuple[_Run | ListRun, ...] = ()
        self._made = self._planned()
        if self._made and find_spec("httpx") is None:
            wanting = "JWTGATE_JWKS_URL, JWTGATE_STATUS_FROM, and an issuer that is asked for its keys,"
            raise SettingsError(f"{wanting} need: pip install 'jwtgate[jwks]'")

    def _planned(self) -> tuple[_Run | ListRun, ...]:
        """From here on requests find that these keys and lists are still to come."""
        policies = self._desk.policies.values()
        runs = [_Run(policy, policy.published, self._desk, self._clock) for policy in policies if policy.published]
        lists = [ListRun(policy, policy.lists, self._desk.view, self._clock) for policy in policies if policy.lists]
        return (*runs, *lists)

    @property
    def is_started(self) -> bool:
        """Whether there is nothing left to start."""
        return bool(self._runs) or not self._made

    def missing(self) -> tuple[tuple[Published, str], ...]:
        """Where keys should have come from and none have, each with what went wrong last; empty: nothing yet."""
        runs = (run for run in self._runs if isinstance(run, _Run) and not run.has_keys)
        return tuple((run.published, run.reason) for run in runs)

    def start(self) -> None:
        """Starts the threads; where none can be had, nothing is fetched and the log says so, once."""
        self._runs = self._made
        try:
            for run in self._made:
                run.start()
        except RuntimeError as error:
            logger.warning("no thread to fetch keys (%s): tokens under published keys, or with a status list, get 503", error)

    def stop(self) -> None:
        """Waits for nobody: a fetch that is under way changes nothing any more."""
        runs = self._runs
        self.let_go()
        for run in runs:
            run.wake()
        if runs:
            self._made = self._planned()

    def let_go(self) -> None:
        """As ``stop``, and takes no lock: the collector may call it in any thread, wherever that is."""
        runs, self._runs = self._runs, ()
        for run in runs:
            run.is_stopped = True


class _Run:
    """One issuer's thread."""

    def __init__(self, policy: IssuerPolicy, published: Published, desk: KeyDesk, clock: Clock) -> None:
        self._policy = policy
        self.published = published
        self._desk = desk
        self._clock = clock
        self._algorithms = FETCHABLE if published.algorithms is None else FETCHABLE.intersection(published.algorithms)
        self._fetching = KeyFetching(published.stale_seconds, random.SystemRandom().random)
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._fetch_thread: threading.Thread | None = None
        self._awaited_until = inf
        self.is_stopped = False
        self.has_keys = False
        self.reason = ""
        self._said = ""
        self._thread = threading.Thread(target=self._live, name="jwtgate-keys", daemon=True)
        self._install(())

    def start(self) -> None:
        """Raises: RuntimeError: there is no thread to be had."""
        self._awaited_until = self._clock.boot() + AWAITED_SECONDS
        self._thread.start()

    def wake(self) -> None:
        """Looks again at what there is to do."""
        self._woken.set()

    def _install(self, keys: tuple[Key, ...]) -> None:
        """These from now on, with our doubts about those that are not there."""
        self._desk.fetch(self._policy.issuer, KeyRing(keys, doubts=self._doubt, is_whole=bool(keys)))
        self.has_keys = bool(keys)  # not before: what was to go, and did not, must go next time

    def _doubt(self, alg: str) -> KeysUnavailable | None:
        """On a request, which anybody can send: costs a lock, and never waits for a fetch."""
        if alg not in self._algorithms:
            return None
        with self._lock:
            fetching = self._fetching
            now, due_at = self._clock.boot(), fetching.due_at
            is_awaited = not fetching.failures and fetching.fetched_at == -inf and now < self._awaited_until
            is_in_doubt = fetching.doubts(now)
            is_sooner = fetching.due_at != due_at
            is_coming = fetching.is_coming(now)
        if not is_in_doubt:
            return None
        if is_sooner:
            self._woken.set()
        if is_awaited:
            return KeysAwaited("the issuer's keys are being fetched")
        return (KeysDue if is_coming else KeysUnavailable)(
            "no key that was fetched fits, and what the issuer publishes now is not known"
        )

    def _live(self) -> None:
        """A fault of our own must not end it: nobody else sees to it that keys grow too old to be used."""
        while not self.is_stopped:
            try:
                self._step()
            except Exception:
                logger.exception("fetching keys failed, and goes on")
                self._woken.clear()  # or who woke it before would leave no pause
                self._woken.wait(AGAIN_SECONDS)

    def _step(self) -> None:
        now = self._clock.boot()
        with self._lock:
            due_at = self._fetching.due_at
            ends_at = self._fetching.usable_until if self.has_keys else inf
        if now >= ends_at:
            self._install(())
            self._say("too old to be used: its tokens get 503 until new ones come", logging.ERROR)
        elif now >= due_at:
            self._fetch(now, min(FETCH_SECONDS, ends_at - now))
        else:
            self._woken.wait(min(due_at - now, ends_at - now, LONGEST_WAIT_SECONDS))
            self._woken.clear()

    def _fetch(self, now: float, seconds: float) -> None:
        """In a thread of its own, which may be left: name servers and headers that drip have no bound that could be set."""
        with self._lock:
            self._fetching.began(now)
        found: list[tuple[tuple[Key, ...], float]] = []
        reasons = ["no whole answer in time"]
        if self._fetch_thread is None or not self._fetch_thread.is_alive():
            self._fetch_thread = threading.Thread(target=self._try, args=(seconds, found, reasons), daemon=True)
            try:
                self._fetch_thread.start()
                self._fetch_thread.join(seconds)
            except RuntimeError as error:
                reasons.append(str(error))
        else:
            reasons.append("the fetch before this one has not ended")
        if self.is_stopped:
            return
        if not found:
            with self._lock:
                self._fetching.failed(self._clock.boot())
            self.reason = reasons[-1]
            goes_on = "the last ones go on" if self.has_keys else "its tokens get 503"
            self._say(f"not fetched, {goes_on}: {self.reason}", logging.WARNING)
            return
        keys, lifetime = found[0]
        try:
            self._install(keys)
            with self._lock:
                self._fetching.succeeded(self._clock.boot(), lifetime)
        except Exception:
            with self._lock:
                self._fetching.failed(self._clock.boot())  # or it would be under way for ever
            raise
        self._say(f"fetched: {named(keys)}", logging.INFO)

    def _try(self, seconds: float, found: list[tuple[tuple[Key, ...], float]], reasons: list[str]) -> None:
        from jwtgate.runtime.documents import Client, Unusable  # here, since httpx takes 0.1 s, and comes with an extra

        try:
            with Client(seconds, LIMIT_BYTES) as client:
                found.append(self._fetched(client))
        except Unusable as unusable:
            reasons.append(str(unusable))
        except Exception as error:  # noqa: BLE001 - of the library, of TLS, of a proxy's settings: whatever it is, no keys came
            reasons.append(f"no answer: {type(error).__name__}")

    def _fetched(self, client: Client) -> tuple[tuple[Key, ...], float]:
        """The keys and for how many seconds they are fresh. Raises: Unusable."""
        from jwtgate.runtime.documents import Unusable

        url = self.published.url
        if self.published.is_discovered:
            url = self._discovered(client.get(url).members)
        document = client.get(url)
        built = build(
            jwks=document.text,
            algorithms=self.published.algorithms,
            namespace=self._policy.namespace,
            label=self.published.label,
            is_fetched=True,
            key_issuers=self.published.key_issuers,
        )
        if built.ring is None:
            raise Unusable("; ".join(built.mistakes))
        for warning in built.warnings:
            logger.debug("%s", warning)
        return built.ring.keys, lifetime_of(document.cache_control)

    def _discovered(self, metadata: dict[str, object]) -> str:
        """OpenID Connect Discovery 1.0 §4.3: the metadata are the issuer's own. Raises: Unusable."""
        from jwtgate.runtime.documents import Unusable

        url, issuer = metadata.get("jwks_uri"), metadata.get("issuer")
        if issuer != self._policy.issuer:  # mostly a slash too many or too few, or the name by which others reach the host
            told = f", {issuer!a}" if isinstance(issuer, str) and len(issuer) <= LONGEST_ISSUER else ""
            raise Unusable(f"the metadata are of another issuer{told}")
        schemes = ("https://", "http://") if self.published.is_plain else ("https://",)
        if not isinstance(url, str) or not url.startswith(schemes):
            raise Unusable("the metadata name no jwks_uri that begins with https://")
        return url

    def _say(self, text: str, level: int) -> None:
        """Once per change."""
        if text != self._said:
            self._said = text
            logger.log(level, "keys of %s: %s", self._policy.issuer or "JWTGATE_JWKS_URL", text)
