"""One gate's sessions over a scripted store: times move when told, nothing waits, and others can come between any two steps."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from core.scripted import START, ScriptedClock, ScriptedServer, ScriptedStore, Time, perform

from jwtgate.core.effects import AskClaims, ListSessions, Looked, LookUp, Write
from jwtgate.core.history import Watch
from jwtgate.core.receipts import Revoker
from jwtgate.core.revocation import Targets
from jwtgate.core.sessions.endings import Endings
from jwtgate.core.sessions.login import Login, SessionRules
from jwtgate.core.sessions.record import Record
from jwtgate.core.sessions.rotation import Rotation
from jwtgate.core.sessions.standing import Standing
from jwtgate.core.tokens.issuance import Issuer
from jwtgate.core.tokens.parsing import parse
from jwtgate.core.view import View
from jwtgate.settings import Settings

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from jwtgate.messages import Receipt, Session, TokenPair

SECRET = "a-secret-of-at-least-thirty-two-bytes"
DAY = 86400.0


class NoLock:
    """Nobody else is here."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


class World:
    """A server and one process on it. ``processes`` more of them share the server."""

    def __init__(self, server: ScriptedServer | None = None, *, seed: int = 1, wall: float = START, **settings: Any) -> None:
        rules = {
            name: settings.pop(name)
            for name in (
                "access_seconds",
                "idle_seconds",
                "grace_seconds",
                "most",
                "client_id",
                "has_csrf",
                "session_seconds",
                "is_journaled",
            )
            if name in settings
        }
        self.settings = Settings(**{"secret": SECRET, **settings})
        self.server = server or ScriptedServer(Time(), is_own=True)
        self.time = self.server.time
        self.clock = ScriptedClock(self.time, wall=wall)
        self.store = ScriptedStore(self.server, Watch(1.0, 1.0))
        policy = next(iter(self.settings.policies.values()))
        lock: threading.Lock = NoLock()  # type: ignore[assignment]
        self.view = View(
            lock,
            lease_seconds=1.0,
            grace_seconds=0.0,
            admitted_limit=100,
            rulings_limit=1000,
            wide_handles=policy.wide_handles,
            session_seconds=rules.get("session_seconds", 30 * DAY),
        )
        self.random = Random(seed)
        self.standing = Standing(policy, self.view, self.clock)
        self.issuer = Issuer(
            self.settings.policies, self.clock, default_ttl=900.0, max_token_bytes=8192, draw_token_id=self.draw_text
        )
        self.rules = SessionRules(
            **{
                "access_seconds": 900.0,
                "session_seconds": 30 * DAY,
                "idle_seconds": None,
                "grace_seconds": 30.0,
                "most": None,
                "client_id": None,
                "has_csrf": False,
                **rules,
            }
        )
        self.revoker = Revoker(self.view, self.clock, 1.0, lambda _: None)
        self.provider: Callable[[Session], Any] | None = None
        self.sizes: list[TokenPair] = []
        self.login = Login(
            self.rules,
            self.issuer,
            self.standing,
            draw=self.random.randbytes,
            draw_text=self.draw_text,
            check_size=self.sizes.append,
        )
        self.rotation = Rotation(self.login, self.revoker, lambda: self.provider)
        self.endings = Endings(self.standing, self.revoker)
        self.targets = Targets(self.settings.policies, 8192, 30 * DAY)
        self.effects: list[Any] = []
        self.between: Callable[[Any], None] | None = None

    def draw_text(self) -> str:
        return self.random.randbytes(16).hex()

    def run(self, plan: Any) -> Any:
        """Drives a plan to its end. ``between`` is called before each effect, and not for what it does itself."""
        try:
            effect = next(plan)
            while True:
                self.effects.append(effect)
                between, self.between = self.between, None
                if between is not None:
                    between(effect)
                    self.between = between
                effect = plan.send(self.answer(effect))
        except StopIteration as end:
            return end.value

    def answer(self, effect: Any) -> Any:
        if isinstance(effect, AskClaims):
            return effect.provider(effect.session)
        sent_at = self.clock.boot()
        found = perform(self.store, effect)
        return Looked(found, sent_at) if isinstance(effect, LookUp | ListSessions) else found

    def once_before(self, kind: type, act: Callable[[], Any]) -> None:
        """Somebody acts right before the next effect of a kind."""

        def between(effect: Any) -> None:
            if isinstance(effect, kind) and self.pending is not None:
                pending, self.pending = self.pending, None
                pending()

        self.pending: Callable[[], Any] | None = act
        self.between = between

    # --- what a gate does

    def start(self, sub: str = "alice", **more: Any) -> TokenPair:
        given = {"claims": None, "scope": None, "device": None, "ip": None, "user_agent": None, **more}
        pair: TokenPair = self.run(self.login.start(sub, **given))
        return pair

    def refresh(self, pair: TokenPair, **more: Any) -> TokenPair:
        fresh: TokenPair = self.run(self.rotation.refresh(pair.refresh_token, **more))
        return fresh

    def list(self, sub: str = "alice") -> list[Session]:
        sessions: list[Session] = self.run(self.standing.sessions_of(sub))
        return sessions

    def end(self, sid: str) -> Receipt:
        policy = self.standing.policy
        change = self.targets.session(policy, sid, self.clock.wall())
        receipt: Receipt = self.run(self.endings.by_sid(policy, change, sid, is_end_known=True, wait=False))
        return receipt

    def revoke(self, **target: Any) -> Receipt:
        """As ``Plans.revoke``, for a subject, a claim and everything."""
        given = {
            "token": None, "jti": None, "sid": None, "sub": None, "claim": None, "everything": False,
            "access_only": False, "issuer": None, "expires_at": None, **target,
        }  # fmt: skip
        changes = self.targets.revoked(self.clock.wall(), **given)
        if given["sub"] is not None and not given["access_only"]:
            plan = self.endings.by_subject(self.standing.policy, changes, given["sub"], wait=False)
        else:
            plan = self.revoker.revoke(changes, events=(), wait=False)
        receipt: Receipt = self.run(plan)
        return receipt

    def suspend(self, sub: str = "alice") -> None:
        self.run(self.revoker.revoke(self.targets.suspended(sub, None), events=(), wait=False))

    def reinstate(self, sub: str = "alice") -> None:
        self.run(self.revoker.revoke(self.targets.reinstated(sub, None, self.clock.wall()), events=(), wait=False))

    def require_version(self, version: int, sub: str = "alice") -> None:
        self.run(self.revoker.revoke(self.targets.versioned(sub, version, None, self.clock.wall()), events=(), wait=False))

    def record(self, pair: TokenPair) -> Record:
        stored = self.store.look_up((), (pair.session_id,)).sessions[0]
        assert stored is not None
        return Record.decode(stored.record)

    def writes(self) -> list[Write]:
        return [effect for effect in self.effects if isinstance(effect, Write)]


def claims_of(pair: TokenPair) -> dict[str, Any]:
    """Of the access token."""
    return dict(parse(pair.access_token.encode(), 8192).claims)
