"""A world of processes around one store: the package's own plans under a scheduler of our own. No threads, no sleeping.

Every effect of a plan is *sent*, then carried out by the server in one atomic step, then *answered*; between the three
anything may happen. The world knows the truth that no process can see: the true time, what each receipt promised and
from when, and which request was admitted against it. ``broken`` holds every broken promise.

What the promise excludes is left out here too: history is lost only while an ``anchor``, a process that is never paused,
killed or cut off, knows all that receipts speak of (``may_lose``).
"""

from __future__ import annotations

import random
from contextlib import nullcontext
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING

from core.scripted import START, ScriptedClock, ScriptedServer, ScriptedStore, Time, perform

from jwtgate.core.effects import Looked, LookUp, Pause, Read, Renew, Roster, Write
from jwtgate.core.followed import Followed
from jwtgate.core.following import Following
from jwtgate.core.gate import Decision
from jwtgate.core.handles import digest_of
from jwtgate.core.history import Watch
from jwtgate.core.http.exemption import Exemption
from jwtgate.core.http.extraction import Extraction
from jwtgate.core.receipts import Revoker
from jwtgate.core.revocation import Targets
from jwtgate.core.rules import Rules
from jwtgate.core.rulings import Issued, Ruling, merge
from jwtgate.core.tally import Tally
from jwtgate.core.tokens.issuance import Issuer
from jwtgate.core.view import View
from jwtgate.errors import JWTGateError, Revoked, StoreUnavailable
from jwtgate.runtime.health import Health
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jwtgate.core.rulings import Change
    from jwtgate.messages import Receipt

LEASE = 1.0
TIMEOUT = 0.25
POLICIES = Settings(
    secret="simulated-secret-of-thirty-two-bytes!", handles=("tenant",), version_claim="ver", max_ttl=86400.0
).policies
POLICY = next(iter(POLICIES.values()))
TARGETS = Targets(POLICIES, 8192)
WIDE = POLICY.wide_handles
KINDS = ("jti", "sub", "claim", "everything", "suspend", "version")


@dataclass(eq=False)
class Held:
    """A token in a client's hands. ``dead_from``: the true time from which some receipt promised its death."""

    text: bytes
    handles: tuple[bytes, ...]
    claims: dict[str, Any]
    issued_at: float
    mishaps: int
    dead_from: float = inf
    operations: list[Operation] = field(default_factory=list)

    def issued(self) -> Issued:
        epoch, _, position = self.claims["jgp"].partition(":")
        return Issued((epoch, int(position)), self.claims["iat"], self.claims.get("ver"))


@dataclass(eq=False)
class Operation:
    """One revocation, from its call to its receipt and after."""

    changes: tuple[Change, ...]
    wait: bool
    began_at: float
    victims: tuple[Held, ...]
    written: Any = None
    ended_at: float = inf
    receipt: Receipt | None = None
    error: Exception | None = None
    is_claimed: bool = False


class Process:
    """One process: real view, decision, revoker, follower; scripted clock and store."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        on_store_down: str = "refuse",
        grace: float = 3.0,
        is_anchor: bool = False,
        lease: float = LEASE,
    ) -> None:
        draw = world.random
        self.world, self.name, self.is_anchor = world, name, is_anchor
        self.has_grace = on_store_down == "cached"
        self.clock = ScriptedClock(world.time, boot=float(draw.randrange(1000)), wall=START + draw.uniform(-0.4, 0.4))
        self.paused_until = -inf
        self.cut_off_until = -inf
        self.is_dead = False
        reach = {"refuse": lease, "cached": lease + grace, "admit": inf}[on_store_down]
        self.store = ScriptedStore(world.server, Watch(lease, reach))
        self.view = world.view_class(
            nullcontext(),
            lease_seconds=lease,
            grace_seconds=grace if on_store_down == "cached" else 0.0,
            admitted_limit=64,
            rulings_limit=1000,
            wide_handles=WIDE,
        )
        self.health = Health(self.clock, lease)
        rules = Rules(
            policies=POLICIES,
            extraction=Extraction(("header",), "__Host-access_token", 8192),
            exemption=Exemption(()),
            csrf="off",
            origins=frozenset(),
            is_optional=False,
            verifies_first=False,
            max_token_bytes=8192,
            on_store_down=on_store_down,  # type: ignore[arg-type]
        )
        self.decision = Decision(rules, self.view, self.clock, self.health.is_down, Tally())
        self.following: Following | None = None
        self.follower: Actor | None = None
        self.reach = reach
        self.revoker = world.revoker_class(
            self.view, self.clock, reach, lambda _: self.following.worker.name if self.following else None
        )
        self.issuer = Issuer(
            POLICIES, self.clock, default_ttl=3600.0, max_token_bytes=8192, draw_token_id=lambda: f"jti-{next(world.serial)}"
        )

    def follow(self) -> Process:
        """Starts the follower."""
        world = self.world
        self.following = world.following_class(
            world.followed_class(self.view),
            self.clock,
            name=f"{self.name}.{next(world.serial)}",
            reach_seconds=self.reach,
            draw=world.random.random,
        )
        self.follower = Actor(world, self, self.following.follow(), is_follower=True).start()
        return self

    def close(self) -> None:
        """W4, as ``runtime.follower`` does it: the lease goes first, then the registration."""
        self.view.give_up()
        following, self.following = self.following, None
        if self.follower is not None:
            self.follower.stop()
        if following is not None:
            Actor(self.world, self, _forget(following.worker)).start()

    def kill(self) -> None:
        self.is_dead = True

    def is_reachable(self) -> bool:
        return self.world.time.now >= max(self.cut_off_until, self.world.down_until)

    def could_act_on_memory(self) -> bool:
        """Whether a request now, or once it is resumed, could be admitted from what this process remembers."""
        until = max(self.view.lease_until, self.view.grace_until) if self.has_grace else self.view.lease_until
        return not self.is_dead and self.clock.boot() < until


def _forget(worker):
    from jwtgate.core.effects import Forget

    yield Forget(worker)


class Actor:
    """One plan under way in a process."""

    def __init__(
        self,
        world: World,
        process: Process,
        plan: Any,
        *,
        done: Callable[[Any], None] = lambda _: None,
        failed: Callable[[JWTGateError], None] = lambda _: None,
        operation: Operation | None = None,
        is_follower: bool = False,
    ) -> None:
        self.world, self.process, self.plan = world, process, plan
        self.done, self.failed, self.operation, self.is_follower = done, failed, operation, is_follower
        self.event: list[Any] | None = None
        self.effect: Any = None
        self.stage = "new"

    def start(self) -> Actor:
        self.world.actors.add(self)
        self._go(lambda: next(self.plan))
        return self

    def stop(self) -> None:
        self.world.actors.discard(self)
        self.stage = "stopped"
        self.plan.close()

    def _go(self, step: Callable[[], Any]) -> None:
        try:
            self.effect = step()
        except StopIteration as end:
            self._leave(self.done, end.value)
        except JWTGateError as error:
            self._leave(self.failed, error)
        else:
            self._send()

    def _leave(self, tell: Callable[[Any], None], value: Any) -> None:
        self.world.actors.discard(self)
        self.stage = "stopped"
        tell(value)

    def _send(self) -> None:
        world, process, effect = self.world, self.process, self.effect
        self.stage = "sent"
        if isinstance(effect, Pause):
            self._at(effect.seconds + world.jitter(), lambda: self._go(lambda: self.plan.send(None)))
            return
        if isinstance(effect, LookUp):
            try:
                process.health.check()
            except StoreUnavailable as error:
                self._answer(error)
                return
        if isinstance(effect, Renew):
            world.on_renew(process, effect)
        sent_at, sent = process.clock.boot(), world.time.now
        fate = world.fate(process)
        if fate == "unheard":
            self._at(TIMEOUT, lambda: self._answer(StoreUnavailable("no answer in time")))
            return
        self._at(world.delay(process), lambda: self._perform(sent_at, sent, fate), is_servers=True)

    def _perform(self, sent_at: float, sent: float, fate: str) -> None:
        world, process, effect = self.world, self.process, self.effect
        if self.stage == "stopped" or (process.is_dead and self.is_follower):
            return
        store = process.store
        store.is_down = not process.is_reachable()
        if isinstance(effect, Read) and not store.has_news(effect.cursor) and world.time.now < sent + effect.block_seconds:
            self._at(
                min(0.03, sent + effect.block_seconds - world.time.now),
                lambda: self._perform(sent_at, sent, fate),
                is_servers=True,
            )
            return
        try:
            answer = perform(store, effect)
        except StoreUnavailable as error:
            answer = error
        else:
            if self.operation is not None:
                world.on_operation(self.operation, effect, answer)
            if isinstance(effect, LookUp):
                answer = Looked(answer, sent_at)
        if fate == "unanswered":
            self._at(max(0.0, sent + TIMEOUT - world.time.now), lambda: self._answer(StoreUnavailable("no answer in time")))
        else:
            self._at(world.delay(process), lambda: self._answer(answer))

    def _answer(self, answer: Any) -> None:
        health, effect = self.process.health, self.effect
        if self.stage == "stopped":
            return
        if isinstance(answer, StoreUnavailable):
            if isinstance(effect, LookUp) or self.is_follower:
                health.failed(answer, of_follower=0 if self.is_follower else None)
            self._go(lambda: self.plan.throw(answer))
            return
        if isinstance(effect, LookUp):
            health.answered(is_healed=answer.facts.epoch.is_healed)
        elif isinstance(effect, Renew):
            health.answered(is_healed=answer.epoch.is_healed, of_follower=0)
        self._go(lambda: self.plan.send(answer))

    def _at(self, delay: float, action: Callable[[], None], *, is_servers: bool = False) -> None:
        self.event = self.world.after(delay, action, None if is_servers else self.process)


class World:
    """The scheduler, the server, the processes, and the truth. A test takes a rule away by handing in other classes."""

    def __init__(
        self,
        seed: int = 0,
        *,
        is_rough: bool = False,
        is_old: bool = True,
        server_class: type[ScriptedServer] = ScriptedServer,
        view_class: type[View] = View,
        followed_class: type[Followed] = Followed,
        following_class: type[Following] = Following,
        revoker_class: type[Revoker] = Revoker,
    ) -> None:
        """Args: is_rough: delays vary and answers get lost. is_old: the first epoch is healed and settled already."""
        self.random = random.Random(seed)
        self.is_rough = is_rough
        self.time = Time()
        self.serial = count(1)
        self.server = server_class(self.time, is_own=is_old)
        self.view_class, self.followed_class = view_class, followed_class
        self.following_class, self.revoker_class = following_class, revoker_class
        self.queue: list[list[Any]] = []
        self.actors: set[Actor] = set()
        self.processes: list[Process] = []
        self.tokens: list[Held] = []
        self.operations: list[Operation] = []
        self.broken: list[str] = []
        self.down_until = -inf
        self.mishaps = 0
        self.admitted = 0
        self.receipts = 0

    # --- time

    def after(self, delay: float, action: Callable[[], None], owner: Process | None = None) -> list[Any]:
        event = [self.time.now + delay, next(self.serial), action, owner]
        heappush(self.queue, event)
        return event

    def run(self, seconds: float) -> None:
        """Lets ``seconds`` of true time pass."""
        until = self.time.now + seconds
        while self.queue and self.queue[0][0] <= until:
            at, _, action, owner = heappop(self.queue)
            self.time.now = max(self.time.now, at)
            if owner is not None and owner.is_dead:
                continue
            if owner is not None and owner.paused_until > self.time.now:
                heappush(self.queue, [owner.paused_until, next(self.serial), action, owner])
                continue
            action()
        self.time.now = until

    def run_until(self, is_so: Callable[[], bool], limit: float = 30.0) -> bool:
        until = self.time.now + limit
        while not is_so() and self.time.now < until:
            self.run(0.01)
        return is_so()

    def shift(self, actor: Actor, delay: float) -> None:
        """One effect of one plan is faster or slower than all others."""
        event = actor.event
        if event is not None and event in self.queue:
            self.queue.remove(event)
            event[0] = max(self.time.now, event[0] + delay)
            self.queue.sort()
            heappush(self.queue, event)

    def jitter(self) -> float:
        return self.random.uniform(0.0, 0.002) if self.is_rough else 0.0

    def delay(self, process: Process) -> float:
        if not self.is_rough:
            return 0.001
        if process.is_anchor or self.random.random() < 0.95:
            return self.random.choice((0.0005, 0.001, 0.002, 0.005, 0.01))
        return self.random.uniform(0.05, 0.5)

    def fate(self, process: Process) -> str:
        if not self.is_rough or process.is_anchor or self.random.random() < 0.985:
            return "answered"
        return self.random.choice(("unheard", "unanswered"))

    # --- who is there

    def process(self, name: str, **options: Any) -> Process:
        """A new process, not yet following."""
        process = Process(self, name, **options)
        self.processes.append(process)
        return process

    def anchor(self) -> Process | None:
        return next((process for process in self.processes if process.is_anchor), None)

    def issue(self, process: Process, sub: str, **claims: Any) -> Held:
        """A token, by the real plan; the world stands still for the look-up."""
        process.store.is_down = False
        plan = process.issuer.issue(sub, claims=claims or None, scope=None, ttl=None)
        effect = next(plan)
        try:
            plan.send(Looked(perform(process.store, effect), process.clock.boot()))
        except StopIteration as end:
            return self.hold(end.value)
        raise AssertionError("issue asks once")

    def hold(self, text: str) -> Held:
        from jwtgate.core.tokens.parsing import parse
        from jwtgate.core.tokens.verification import handles_of

        parsed = parse(text.encode(), 8192)
        held = Held(text.encode(), handles_of(parsed, POLICY), dict(parsed.claims), self.time.now, self.mishaps)
        self.tokens.append(held)
        return held

    # --- what happens

    def request(self, process: Process, token: Held, tell: Callable[[str], None] = lambda _: None) -> None:
        """A request that begins now."""
        must_be_refused = token.dead_from <= self.time.now
        began_at = self.time.now

        def admitted(_: Any) -> None:
            self.admitted += 1
            if must_be_refused:
                late = began_at - token.dead_from
                self.broken.append(f"{process.name} admitted {token.claims['sub']} {late:.3f} s after the promise")
            tell("admitted")

        def refused(error: JWTGateError) -> None:
            if isinstance(error, Revoked) and self.is_innocent(token):
                self.broken.append(f"{process.name} called an innocent token revoked")
            tell(error.reason)

        Actor(self, process, process.decision.decide(token.text, "header"), done=admitted, failed=refused).start()

    def ask(self, process: Process, token: Held, seconds: float = 2.0) -> str:
        """A request that begins now, and its outcome."""
        heard: list[str] = []
        self.request(process, token, heard.append)
        self.run_until(lambda: bool(heard), seconds)
        return heard[0] if heard else "pending"

    def is_innocent(self, token: Held) -> bool:
        """Never ruled on; or issued after every cut-off, in a history without mishap."""
        for operation in self.operations:
            for change in operation.changes:
                if change.digest not in token.handles:
                    continue
                is_later = operation.ended_at < token.issued_at and operation.error is None and self.mishaps == 0
                if not (change.cuts_off and is_later):
                    return False
        return True

    def revoke(self, process: Process, token: Held, kind: str = "jti", *, wait: bool = True) -> Operation:
        """Begins to kill what ``kind`` names in ``token``, and every token issued before that carries it."""
        changes = changes_of(process, token, kind)
        digests = {change.digest for change in changes}
        victims = tuple(held for held in self.tokens if digests.intersection(held.handles))
        operation = Operation(changes, wait, self.time.now, victims)
        self.operations.append(operation)

        def done(receipt: Receipt) -> None:
            operation.receipt, operation.ended_at = receipt, self.time.now
            self.on_receipt(process, operation, receipt)

        def failed(error: JWTGateError) -> None:
            operation.error, operation.ended_at, operation.is_claimed = error, self.time.now, False

        plan = process.revoker.revoke(changes, events=(), wait=wait)
        Actor(self, process, plan, done=done, failed=failed, operation=operation).start()
        return operation

    def finish(self, operation: Operation, limit: float = 30.0) -> Receipt:
        """Lets time pass until the receipt is there."""
        self.run_until(lambda: operation.ended_at < inf, limit)
        assert operation.receipt is not None, operation.error
        return operation.receipt

    def on_operation(self, operation: Operation, effect: Any, answer: Any) -> None:
        if isinstance(effect, Write):
            operation.written = answer
            operation.is_claimed = not operation.wait
        elif isinstance(effect, Roster):
            operation.is_claimed = True

    def on_receipt(self, process: Process, operation: Operation, receipt: Receipt) -> None:
        self.receipts += 1
        operation.is_claimed = True
        now = self.time.now
        if receipt.effective_everywhere:
            promised = now
            self.check_members(operation)
        elif receipt.effective_by is not None:
            promised = now + (receipt.effective_by - process.clock.wall())
        else:
            return
        for token in operation.victims:
            token.dead_from = min(token.dead_from, promised)

    def check_members(self, operation: Operation) -> None:
        """Nobody who could still act on memory lacks what an effective receipt speaks of."""
        for process in self.processes:
            if not process.could_act_on_memory() or process.follower is None:
                continue
            remembered = any(
                process.view.admitted.get(process.decision.key_of(token.text, "header")) for token in operation.victims
            )
            if remembered or (process.view.is_complete and not knows(process.view, operation)):
                self.broken.append(f"a receipt is effective, and {process.name} has not applied it")

    def on_renew(self, process: Process, effect: Renew) -> None:
        """An acknowledged position is one that no remembered token contradicts."""
        view = process.view
        if effect.worker.acknowledged < 0:
            return
        for token in self.tokens:
            if view.admitted.get(process.decision.key_of(token.text, "header")) is None:
                continue
            for handle in token.handles:
                text = view.rulings.get(handle)
                if text is not None and Ruling.decode(text).kills(
                    token.issued(), view.parts[0].epoch or "", POLICY.leeway_seconds
                ):
                    self.broken.append(f"{process.name} acknowledged, and remembers a dead token")

    # --- mishaps of the server

    def may_lose(self) -> bool:
        """Whether losing history now is within the promise: an anchor knows all that was claimed."""
        anchor = self.anchor()
        claimed = [operation for operation in self.operations if operation.is_claimed]
        return not claimed or (anchor is not None and all(knows(anchor.view, operation) for operation in claimed))

    def lose(self, mishap: Callable[[], None]) -> bool:
        if not self.may_lose():
            return False
        self.mishaps += 1
        mishap()
        return True


def changes_of(process: Process, token: Held, kind: str) -> tuple[Change, ...]:
    """What the gate would write; ``Targets`` decides."""
    now, claims = process.clock.wall(), token.claims
    if kind == "suspend":
        return TARGETS.suspended(claims["sub"], None)
    if kind == "version":
        return TARGETS.versioned(claims["sub"], 10**6, None, now)
    target = {
        "jti": {"jti": claims["jti"]},
        "sub": {"sub": claims["sub"]},
        "claim": {"claim": ("tenant", claims.get("tenant", "nobody"))},
        "everything": {"everything": True},
    }[kind]
    nothing = dict.fromkeys(("token", "jti", "sid", "sub", "claim", "issuer", "expires_at"))
    return TARGETS.revoked(now, **{**nothing, "everything": False, "access_only": False, **target})  # type: ignore[arg-type]


def knows(view: View, operation: Operation) -> bool:
    """Whether a view holds at least what the operation wrote."""
    if operation.written is None:
        return True
    for change, text in zip(operation.changes, operation.written.rulings, strict=True):
        known = view.rulings.get(change.digest)
        if known is None:
            return False
        have, want = Ruling.decode(known), Ruling.decode(text)
        if merge(have, want) != have:
            return False
    return True


def handle(kind: str, value: str) -> bytes:
    return digest_of(POLICY.namespace, kind, value)
