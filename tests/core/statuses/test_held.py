"""What a decision does with a status list: it asks last, it waits once, and what it remembers dies with a newer list."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from core.scripted import START, ScriptedClock, Time
from core.statuses.listing import ISSUER, OTHER, URI, policy_of, token
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.effects import Looked, LookUp, Pause
from jwtgate.core.followed import Followed
from jwtgate.core.gate import Decision
from jwtgate.core.history import Epoch, Facts, LogEnd
from jwtgate.core.http.exemption import Exemption
from jwtgate.core.http.extraction import Extraction
from jwtgate.core.keys.fetching import COOL_DOWN_SECONDS
from jwtgate.core.keys.ring import AWAITED_SECONDS
from jwtgate.core.live import LiveConnection
from jwtgate.core.rules import Rules
from jwtgate.core.statuses import held as held_module
from jwtgate.core.statuses.held import FetchedList, HeldList, Statuses, StatusUnavailable
from jwtgate.core.statuses.status_list import StatusList
from jwtgate.core.tally import Tally
from jwtgate.core.view import View
from jwtgate.errors import BadSignature, Expired, InvalidToken, JWTGateError, MalformedToken, Revoked, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.lru import Admitted

EPOCH = "currentepoc"
STALE = 3600.0


class Clock(ScriptedClock):
    """Does something in the middle of a decision, when the boot clock is read for the nth time from now."""

    def __init__(self, time: Time) -> None:
        super().__init__(time)
        self.in_reads = 0
        self.then: Callable[[], object] = lambda: None

    def boot(self) -> float:
        self.in_reads -= 1
        if self.in_reads == 0:
            self.then()
        return super().boot()


class Gate:
    """One decision over one view and the lists of one issuer; the test is the thread that fetches."""

    def __init__(self, *, live: bool = True, **rules: Any) -> None:
        self.time = Time()
        self.clock = Clock(self.time)
        self.policy = replace(policy_of())
        self.view = View(
            threading.Lock(),
            lease_seconds=1.0,
            grace_seconds=0.0,
            admitted_limit=99,
            rulings_limit=9,
            wide_handles=self.policy.wide_handles,
        )
        self.followed = Followed(self.view)
        self.followed.load({}, EPOCH, LogEnd(7, "l7", "7"))
        if live:
            self.live()
        self.woken = 0
        self.statuses = Statuses(self.policy.lists, "", nullcontext(), self.clock.boot, lambda: 0.5, self.wake)
        self.policy.follow(self.statuses)
        given: dict[str, Any] = {"verifies_first": False, "on_store_down": "refuse", **rules}
        known = Rules(
            policies={ISSUER: self.policy},
            extraction=Extraction(("header",), "access", 8192),
            exemption=Exemption(()),
            csrf="off",
            origins=frozenset(),
            is_optional=False,
            max_token_bytes=8192,
            **given,
        )
        self.decision = Decision(known, self.view, self.clock, lambda: False, Tally())

    def live(self) -> None:
        self.followed.grant(self.time.now)

    def wake(self) -> None:
        self.woken += 1

    def plan(self, text: bytes) -> Any:
        return self.decision.decide(text, "header")

    def decide(self, text: bytes, facts: Facts | Exception | None = None) -> str:
        """``admitted``, or the reason; time passes while it waits."""
        plan = self.plan(text)
        try:
            effect = next(plan)
            while True:
                if isinstance(effect, Pause):
                    self.time.now += effect.seconds
                    effect = plan.send(None)
                elif isinstance(facts, Exception):
                    effect = plan.throw(facts)
                else:
                    assert isinstance(effect, LookUp) and facts is not None, "the store was asked"
                    effect = plan.send(Looked(facts, self.clock.boot()))
        except StopIteration:
            return "admitted"
        except JWTGateError as error:
            return error.reason

    def install(self, *dead: int, ttl: float = 60, ends_in: float | None = None, uri: str = URI, iat: float = START) -> None:
        """As the thread that fetches does it."""
        followed, now = self.statuses.followed[uri], self.time.now
        self.statuses.begin(followed, now)
        ends_at = None if ends_in is None else self.clock.wall() + ends_in
        fetched = FetchedList(StatusList.of(64, ((index, 1) for index in dead), 1), iat, ttl, ends_at)
        before = self.statuses.install(followed, fetched, now, self.clock.wall())
        if before is not None:
            self.view.turn_list(before, followed.held)

    def ready(self, *dead: int, **more: Any) -> None:
        """Has heard of the list, and has it."""
        assert self.decide(token(63)) == "status_unavailable"
        self.live()
        self.install(*dead, **more)

    @property
    def remembered(self) -> int:
        return len(self.view.admitted)


def facts(*, rulings: tuple[bytes | None, ...] = (None,) * 4) -> Facts:
    """Nothing is ruled."""
    return Facts(Epoch(EPOCH, 1.0, 1.0, is_healed=True, is_settled=True), LogEnd(7, "l7", "7"), rulings)


# --- the order


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (token(secret=OTHER), BadSignature),
        (token(exp=START - 1), Expired),
        (token(aud="somebody-else"), InvalidToken),
        (token(exp=None, iat=None), MalformedToken),
    ],
)
def test_nothing_unverified_causes_a_fetch(order: bool, text: bytes, refusal: type[JWTGateError]) -> None:  # noqa: FBT001
    """§8.3: the token itself entirely first; neither a forged nor an expired one names a list to anybody."""
    gate = Gate(verifies_first=order)
    with pytest.raises(refusal):
        gate.plan(text).send(None)
    assert gate.statuses.followed == {} and gate.woken == 0


def test_list_under_an_address_that_is_not_allowed_is_never_asked_for() -> None:
    """Not even by a token that verifies."""
    gate = Gate()
    assert gate.decide(token(uri="https://evil.example/1")) == "malformed"
    assert gate.statuses.followed == {}


def test_token_without_status_needs_no_list() -> None:
    """It is decided without one, and remembered."""
    gate = Gate()
    assert gate.decide(token(status=None)) == "admitted" and gate.remembered == 1
    assert gate.statuses.followed == {}


# --- the first sight


def test_first_request_waits_for_the_list() -> None:
    """As for first keys; and what was looked up before the wait is looked up again (R2)."""
    gate = Gate(live=False)
    plan = gate.plan(token())
    assert isinstance(next(plan), LookUp)
    assert isinstance(plan.send(Looked(facts(), gate.clock.boot())), Pause)
    assert gate.woken == 1
    gate.time.now += 1.5
    gate.install()
    assert isinstance(plan.send(None), LookUp), "the look-up from before is older than a lease"
    with pytest.raises(StopIteration):
        plan.send(Looked(facts(), gate.clock.boot()))


def test_list_that_does_not_come_is_503() -> None:
    """After one wait, and from then on at once."""
    gate = Gate()
    assert gate.decide(token()) == "status_unavailable"
    assert gate.time.now == pytest.approx(AWAITED_SECONDS, abs=0.1)
    waited = gate.time.now
    gate.live()
    assert gate.decide(token(8)) == "status_unavailable"
    assert gate.time.now == waited and gate.woken == 1


def test_failed_fetch_is_not_waited_for() -> None:
    """Whoever failed once may fail for long."""
    gate = Gate()
    plan = gate.plan(token())
    assert isinstance(next(plan), Pause)
    followed, _ = gate.statuses.next_due(gate.time.now)
    assert followed is not None
    gate.statuses.begin(followed, gate.time.now)
    gate.statuses.fail(followed, gate.time.now)
    with pytest.raises(StatusUnavailable):
        plan.send(None)


# --- what a list says


def test_value_decides() -> None:
    """0 is valid; all else refuses, and an index beyond the end as well."""
    gate = Gate()
    gate.ready(7)
    assert gate.decide(token(6)) == "admitted"
    assert gate.decide(token(7)) == "revoked"
    assert gate.decide(token(64)) == "invalid_token"
    assert gate.remembered == 1


def test_two_tokens_of_one_entry_share_its_fate() -> None:
    """Whatever else they say."""
    gate = Gate()
    gate.ready()
    assert gate.decide(token(7, jti="a")) == gate.decide(token(7, jti="b")) == "admitted"
    gate.install(7)
    assert gate.remembered == 0


@pytest.mark.parametrize("on_store_down", ["admit"])
def test_store_down_opens_no_way_around_the_list(on_store_down: str) -> None:
    """``admit`` is about our store: what the issuer says of its token still holds."""
    gate = Gate(live=False, on_store_down=on_store_down)
    assert gate.decide(token(63), facts()) == "status_unavailable"
    gate.install(7)
    assert gate.decide(token(6), StoreUnavailable("down")) == "admitted"
    assert gate.decide(token(7), StoreUnavailable("down")) == "revoked"


# --- what is remembered


def test_newer_list_takes_its_dead_along_and_no_others() -> None:
    """The remembered ones that it is against, at once; the rest go on being hits."""
    gate = Gate()
    gate.ready()
    for index in range(10):
        assert gate.decide(token(index)) == "admitted"
    assert gate.decide(token(status=None, jti="plain")) == "admitted"
    gate.install(3, 7)
    assert gate.remembered == 9
    assert [gate.decide(token(index)) for index in (2, 3, 7, 8)] == ["admitted", "revoked", "revoked", "admitted"]
    gate.install()
    assert gate.decide(token(7)) == "admitted", "a suspension was lifted"


def test_shorter_list_takes_those_beyond_its_end_along() -> None:
    """An entry that is no more vouches for nobody."""
    gate = Gate()
    gate.ready()
    assert gate.decide(token(40)) == gate.decide(token(7)) == "admitted"
    followed = gate.statuses.followed[URI]
    before = gate.statuses.install(followed, FetchedList(StatusList(1, b"\0\0"), START, 60, None), 0.0, START)
    assert before is not None
    gate.view.turn_list(before, followed.held)
    assert gate.remembered == 1 and gate.decide(token(40)) == "invalid_token"


def test_connection_that_opens_while_the_tokens_are_looked_through_is_not_overlooked() -> None:
    """What it was opened with is remembered until then, and vouches for it."""
    gate = Gate()
    gate.ready()
    assert gate.decide(token(7)) == "admitted"
    followed = gate.statuses.followed[URI]
    before = gate.statuses.install(followed, FetchedList(StatusList(1, bytes([0x80] * 9)), START, 60, None), 0.0, START)
    (_, entry), *_ = gate.view.admitted.under(followed.handle)
    live = LiveConnection(token(7), "header", entry, lambda: None)

    class Looking(HeldList):
        """At whose first look somebody connects."""

        def is_against(self, entry: Admitted) -> bool:
            if not len(gate.view.live):
                gate.view.live.watch(live)
                assert list(gate.decision.again(live)) == [] and gate.decision.vouches(live)
            return super().is_against(entry)

    held = followed.held
    assert before is not None and held is not None
    gate.view.turn_list(before, Looking(held.status_list, held.issued_at, held.usable_until, held.handle))
    assert not gate.decision.vouches(live)
    with pytest.raises(Revoked):
        list(gate.decision.again(live))


@pytest.mark.parametrize("read", range(1, 12))
def test_decision_that_read_the_old_list_is_not_remembered(read: int) -> None:
    """Wherever in the decision the new one comes: from the next request on the token is dead."""
    gate = Gate()
    gate.ready()
    gate.clock.in_reads, gate.clock.then = read, lambda: gate.install(7)
    first = gate.decide(token(7))
    happened = gate.clock.in_reads <= 0
    assert first in ("admitted", "revoked")
    if happened:
        assert gate.remembered == 0
        assert gate.decide(token(7)) == "revoked"


def test_reads_of_the_clock_cover_the_decision() -> None:
    """The test above meets every one of them: before the list is read, after it, and before the token is remembered."""
    outcomes = set()
    for read in range(1, 12):
        gate = Gate()
        gate.ready()
        gate.clock.in_reads, gate.clock.then = read, lambda gate=gate: gate.install(7)
        outcomes.add((gate.decide(token(7)), gate.clock.in_reads <= 0))
    assert outcomes == {("admitted", True), ("revoked", True), ("admitted", False)}


def test_late_decision_finds_the_mark() -> None:
    """The step itself: read, then another list, then the attempt to remember."""
    gate = Gate()
    gate.ready()
    held = gate.statuses.read({"status": {"status_list": {"idx": 7, "uri": URI}}})
    assert held is not None and not held.is_over
    gate.install()
    assert held.is_over, "even where the new one says the same"
    assert gate.decide(token(7)) == "admitted"
    key, entry = gate.view.admitted.under(held.handle)[0]
    assert not gate.view.admit(key, entry, gate.view.known(()), (self_key(gate),), gate.time.now, held)


def self_key(gate: Gate) -> bytes:
    """The handle of the issuer's key."""
    handle: bytes = gate.policy.keys.keys[0].handle
    return handle


@pytest.mark.parametrize(("ttl", "ends_in", "seconds"), [(60, None, 3660.0), (60, 100.0, 100.0), (10**6, None, 7200.0)])
def test_nothing_is_remembered_longer_than_its_list_is_usable(ttl: float, ends_in: float | None, seconds: float) -> None:
    """Its lifetime and the stale bound, never past its exp: then 503, also for what was remembered."""
    gate = Gate()
    gate.ready(ttl=ttl, ends_in=ends_in)
    began = gate.time.now
    assert gate.decide(token(7, exp=START + 9000)) == "admitted"
    ((_, entry),) = gate.view.admitted.under(gate.statuses.handle_of(URI))
    assert entry.deadline == pytest.approx(began + seconds)
    gate.time.now = began + seconds - 0.5
    gate.live()
    assert gate.decide(token(7, exp=START + 9000)) == "admitted"
    gate.time.now = began + seconds
    gate.live()
    assert gate.decide(token(7, exp=START + 9000)) == "status_unavailable"


def test_list_that_is_lost_vouches_for_nobody() -> None:
    """Its publisher knows of none: what it once said holds no longer, remembered or not."""
    gate = Gate()
    gate.ready()
    assert gate.decide(token(7)) == "admitted"
    followed = gate.statuses.followed[URI]
    (_, entry), *_ = gate.view.admitted.under(followed.handle)
    live = LiveConnection(token(7), "header", entry, lambda: None)
    gate.view.live.watch(live)
    assert list(gate.decision.again(live)) == [] and gate.decision.vouches(live)
    before = gate.statuses.lose(followed, gate.time.now)
    assert before is not None
    gate.view.turn_list(before, None)
    assert not gate.decision.vouches(live)
    assert gate.remembered == 0
    assert gate.decide(token(7)) == "status_unavailable"
    gate.install()
    assert gate.decide(token(7)) == "admitted"


# --- which list is fetched next


def test_list_is_fetched_again_before_its_lifetime_ends() -> None:
    """At about three quarters; a hanging thread comes late, so everything counts from when it asked."""
    gate = Gate()
    gate.ready(ttl=100)
    began = gate.time.now
    assert gate.statuses.next_due(began) == (None, pytest.approx(75.0))
    followed, seconds = gate.statuses.next_due(began + 76)
    assert followed is gate.statuses.followed[URI] and seconds == 0.0


@pytest.mark.parametrize(("ttl", "due"), [(0.001, 0.75), (None, 225.0), (10**9, 2700.0)])
def test_lifetime_has_own_bounds(ttl: float | None, due: float) -> None:
    """A ttl of a millisecond asks nobody a thousand times a second, and one of a year is not believed."""
    gate = Gate()
    gate.ready(ttl=ttl)
    assert gate.statuses.next_due(gate.time.now)[1] == pytest.approx(due)


def test_failures_cool_down() -> None:
    """While a good list is there, and with growing pauses where there is none."""
    gate = Gate()
    gate.ready(ttl=10)
    followed = gate.statuses.followed[URI]
    now = gate.time.now + 8
    gate.statuses.begin(followed, now)
    gate.statuses.fail(followed, now)
    assert gate.statuses.next_due(now)[1] == pytest.approx(COOL_DOWN_SECONDS)
    gate.statuses.lose(followed, now)
    first = gate.statuses.next_due(now)[1]
    for _ in range(5):
        gate.statuses.begin(followed, now)
        gate.statuses.lose(followed, now)
    assert 0 < first < gate.statuses.next_due(now)[1] <= 60.0


def test_older_list_is_passed_over() -> None:
    """It neither replaces the one that is held nor lets it live longer; the next look comes as it would have."""
    gate = Gate()
    gate.ready(7, ttl=10)
    followed = gate.statuses.followed[URI]
    held = followed.held
    assert held is not None
    usable_until, now = held.usable_until, gate.time.now + 8
    gate.statuses.begin(followed, now)
    gate.statuses.pass_over(followed, FetchedList(StatusList(1, bytes(8)), START - 100, 10, None), now)
    assert followed.held is held and held.usable_until == usable_until and not held.is_over
    assert gate.statuses.next_due(now)[1] == pytest.approx(7.5)
    gate.live()
    assert gate.decide(token(7)) == "revoked"


def test_most_urgent_comes_first() -> None:
    """One thread, one list at a time."""
    gate = Gate()
    gate.ready(ttl=100)
    other = f"{ISSUER}/status/2"
    assert gate.decide(token(1, uri=other)) == "status_unavailable"
    followed, _ = gate.statuses.next_due(gate.time.now)
    assert followed is not None and followed.uri == other


def test_number_of_lists_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer at fault gets 503 for the tokens beyond, and nobody else does."""
    monkeypatch.setattr(held_module, "MOST_LISTS", 3)
    gate = Gate()
    for number in range(6):
        gate.live()
        assert gate.decide(token(7, uri=f"{ISSUER}/status/{number}")) == "status_unavailable"
    assert len(gate.statuses.followed) == 3
    gate.live()
    gate.install(uri=f"{ISSUER}/status/0")
    assert gate.decide(token(7, uri=f"{ISSUER}/status/0")) == "admitted"


def test_list_that_nobody_names_is_forgotten_once_nothing_depends_on_it() -> None:
    """Not before the last remembered token that it vouched for is dead by its deadline."""
    gate = Gate()
    gate.ready(ttl=60)
    assert gate.decide(token(7)) == "admitted"
    held = gate.statuses.followed[URI].held
    assert held is not None
    assert gate.statuses.unwanted(held.usable_until - 1) == ()
    (followed,) = gate.statuses.unwanted(held.usable_until)
    assert followed.held is held and gate.statuses.followed == {}
    assert gate.statuses.next_due(0.0) == (None, inf)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("decide"), st.integers(0, 7), st.integers(1, 8)),
            st.tuples(st.just("install"), st.frozensets(st.integers(0, 7)), st.just(0)),
            st.tuples(st.just("lose"), st.none(), st.just(0)),
        ),
        max_size=30,
    ),
    st.frozensets(st.integers(0, 7)),
)
def test_nothing_remembered_is_against_the_latest_list(steps: list[tuple[str, Any, int]], next_dead: frozenset[int]) -> None:
    """In any order, and with a new list in the middle of any decision: what is remembered its list calls valid."""
    gate = Gate()
    gate.ready()
    dead: frozenset[int] | None = frozenset()
    for step, what, read in steps:
        gate.live()
        if step == "decide":
            gate.clock.in_reads, gate.clock.then = read, lambda: gate.install(*next_dead)
            verdict = gate.decide(token(what))
            if gate.clock.in_reads <= 0:
                dead = next_dead
            else:
                assert verdict == ("status_unavailable" if dead is None else "revoked" if what in dead else "admitted")
            gate.clock.in_reads = 0
        elif step == "install":
            dead = what
            gate.install(*what)
        else:
            dead = None
            before = gate.statuses.lose(gate.statuses.followed[URI], gate.time.now)
            if before is not None:
                gate.view.turn_list(before, None)
        found = gate.view.admitted.under(gate.statuses.handle_of(URI))
        indices = {entry.token.claims["status"]["status_list"]["idx"] for _, entry in found}
        assert indices.isdisjoint(range(8) if dead is None else dead)
