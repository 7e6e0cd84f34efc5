"""Fetches the JWK Sets of issuers, one thread each, never in a request's way.

Whatever comes that is no usable set is a failure, and the last good set stays. When to fetch stands in ``core.key_fetching``,
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

from jwtgate.core.key_fetching import KeyFetching, lifetime_of
from jwtgate.core.keyring import build
from jwtgate.core.keys import KeyRing, KeysAwaited
from jwtgate.errors import KeysUnavailable, SettingsError

if TYPE_CHECKING:
    from jwtgate.core.effects import Clock
    from jwtgate.core.keys import Key
    from jwtgate.core.policy import IssuerPolicy, Published
    from jwtgate.runtime.documents import Client
    from jwtgate.runtime.key_desk import KeyDesk

__all__ = ["Fetcher"]

logger = logging.getLogger("jwtgate")

FETCH_SECONDS = 5.0
"""For the whole of it, metadata included."""

LIMIT_BYTES = 512 * 1024
"""The largest sets in use have twenty keys with a chain of certificates each."""

FETCHABLE = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"))
"""A secret is never published."""

RESTART_SECONDS = 1.0


class Fetcher:
    """Starts and stops the threads. The caller sees to it that nobody starts while another stops."""

    def __init__(self, desk: KeyDesk, clock: Clock) -> None:
        """Raises: SettingsError: there are keys to fetch, and nothing to fetch them with."""
        self._desk = desk
        self._clock = clock
        self._runs: tuple[_Run, ...] = ()
        self._made = self._planned()
        if self._made and find_spec("httpx") is None:
            raise SettingsError("JWTGATE_JWKS_URL, and an issuer that is asked for its keys, need: pip install 'jwtgate[jwks]'")

    def _planned(self) -> tuple[_Run, ...]:
        """From here on requests find that these keys are still to come."""
        policies = self._desk.policies.values()
        return tuple(_Run(policy, policy.published, self._desk, self._clock) for policy in policies if policy.published)

    @property
    def is_started(self) -> bool:
        """Whether there is nothing left to start."""
        return bool(self._runs) or not self._made

    def start(self) -> None:
        """Starts the threads; where none can be had, nothing is fetched and the log says so."""
        try:
            for run in self._made:
                run.thread.start()
        except RuntimeError as error:
            logger.warning("no thread to fetch keys (%s): tokens under published keys get 503", error)
            return
        self._runs = self._made

    def stop(self) -> None:
        """Waits for nobody: a fetch that is under way changes nothing any more."""
        runs, self._runs = self._runs, ()
        for run in runs:
            run.stop()
        if runs:
            self._made = self._planned()


class _Run:
    """One issuer's thread."""

    def __init__(self, policy: IssuerPolicy, published: Published, desk: KeyDesk, clock: Clock) -> None:
        self._policy = policy
        self._published = published
        self._desk = desk
        self._clock = clock
        self._algorithms = FETCHABLE if published.algorithms is None else FETCHABLE.intersection(published.algorithms)
        self._fetching = KeyFetching(published.stale_seconds, random.random)
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._is_stopped = False
        self._has_keys = False
        self._said = ""
        self.thread = threading.Thread(target=self._live, name="jwtgate-keys", daemon=True)
        self._install(())

    def stop(self) -> None:
        """At the next step."""
        self._is_stopped = True
        self._woken.set()

    def _install(self, keys: tuple[Key, ...]) -> None:
        """These from now on, with our doubts about those that are not there."""
        self._has_keys = bool(keys)
        self._desk.fetch(self._policy.issuer, KeyRing(keys, doubts=self._doubt, is_whole=self._has_keys))

    def _doubt(self, alg: str) -> KeysUnavailable | None:
        """On a request, which anybody can send: costs a lock, and never waits for a fetch."""
        if alg not in self._algorithms:
            return None
        with self._lock:
            fetching = self._fetching
            is_awaited = not fetching.failures and fetching.fetched_at == -inf
            is_due = fetching.due_at
            is_in_doubt = fetching.doubts(self._clock.boot())
            is_sooner = fetching.due_at != is_due
        if not is_in_doubt:
            return None
        if is_sooner:
            self._woken.set()
        if is_awaited:
            return KeysAwaited("the issuer's keys are being fetched")
        return KeysUnavailable("no key that was fetched fits, and what the issuer publishes now is not known")

    def _live(self) -> None:
        while not self._is_stopped:
            try:
                self._step()
            except Exception:
                logger.exception("fetching keys failed, and goes on")
                self._woken.wait(RESTART_SECONDS)

    def _step(self) -> None:
        now = self._clock.boot()
        with self._lock:
            due_at = self._fetching.due_at
            ends_at = self._fetching.usable_until if self._has_keys else inf
        if now >= ends_at:
            self._install(())
            self._say("too old to be used: its tokens get 503 until new ones come", logging.ERROR)
        elif now >= due_at:
            self._fetch(now, FETCH_SECONDS if ends_at == inf else min(FETCH_SECONDS, ends_at - now))
        else:
            self._woken.wait(min(due_at, ends_at) - now)
            self._woken.clear()

    def _fetch(self, now: float, seconds: float) -> None:
        from jwtgate.runtime.documents import Client, Unusable  # here, since httpx takes 0.1 s, and comes with an extra

        with self._lock:
            self._fetching.began(now)
        try:
            with Client(seconds, LIMIT_BYTES) as client:
                keys, lifetime = self._fetched(client)
        except Unusable as unusable:
            with self._lock:
                self._fetching.failed(self._clock.boot())
            goes_on = "the last ones go on" if self._has_keys else "its tokens get 503"
            self._say(f"not fetched, {goes_on}: {unusable}", logging.WARNING)
            return
        if self._is_stopped:
            return
        self._install(keys)
        with self._lock:
            self._fetching.succeeded(self._clock.boot(), lifetime)
        self._say(f"fetched: {', '.join(sorted({str(key.kid) for key in keys}))}", logging.INFO)

    def _fetched(self, client: Client) -> tuple[tuple[Key, ...], float]:
        """The keys and for how many seconds they are fresh. Raises: Unusable."""
        from jwtgate.runtime.documents import Unusable

        url = self._published.url
        if self._published.is_discovered:
            url = self._discovered(client.get(url).members)
        document = client.get(url)
        built = build(
            jwks=document.text,
            algorithms=self._published.algorithms,
            namespace=self._policy.namespace,
            label=self._published.label,
            is_fetched=True,
        )
        if built.ring is None:
            raise Unusable("; ".join(built.mistakes))
        for warning in built.warnings:
            logger.debug("%s", warning)
        return built.ring.keys, lifetime_of(document.cache_control)

    def _discovered(self, metadata: dict[str, object]) -> str:
        """OpenID Connect Discovery 1.0 §4.3: the metadata are the issuer's own. Raises: Unusable."""
        from jwtgate.runtime.documents import Unusable

        url = metadata.get("jwks_uri")
        if metadata.get("issuer") != self._policy.issuer:
            raise Unusable("the metadata are of another issuer")
        schemes = ("https://", "http://") if self._published.is_plain else ("https://",)
        if not isinstance(url, str) or not url.startswith(schemes):
            raise Unusable("the metadata name no jwks_uri that begins with https://")
        return url

    def _say(self, text: str, level: int) -> None:
        """Once per change."""
        if text != self._said:
            self._said = text
            logger.log(level, "keys of %s: %s", self._policy.issuer or "JWTGATE_JWKS_URL", text)
