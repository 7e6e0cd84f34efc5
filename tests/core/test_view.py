"""The view: what one process knows, until when it may trust it, and what it forgets at once (F1, F3, F4, R1, R3, W4)."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jwtgate.core.view as view_module
from jwtgate.core.followed import Followed
from jwtgate.core.history import Entry, Epoch, LogEnd, Written
from jwtgate.core.known import Known, Place, Rulings
from jwtgate.core.lru import Admitted
from jwtgate.core.rulings import Change, Ruling, Toggle, supersede
from jwtgate.core.view import View

ALICE, BOB, EVERYBODY = b"alice" * 3, b"bob" * 5, b"everybody"
KEY = b"key"


def ruled(position: int = 1, *, epoch: str = "E", until: float | None = None, on: bool = True) -> bytes:
    return Ruling(Toggle(on, epoch, position, float(position)), until=until).encode()


def entry(position: int, digest: bytes = ALICE, text: bytes | None = None) -> Entry:
    return Entry(position, f"l{position}", f"l{position - 1}", str(position), digest, text or ruled(position))


def end(position: int) -> LogEnd:
    return LogEnd(position, f"l{position}", str(position))


def written(position: int, *texts: bytes, epoch: str = "E") -> Written:
    return Written(Epoch(epoch, 1.0, 1.0, True, True), end(position), 0.0, texts, ())


def facts(position: int, epoch: str = "E") -> Known:
    return Known((Place(0, epoch, position),), [None])


def admitted(*handles: bytes) -> Admitted:
    return Admitted(None, 1e9, handles)  # type: ignore[arg-type]


def empty(**options) -> View:
    bounds = {"lease_seconds": 1.0, "grace_seconds": 3.0, "admitted_limit": 9, "rulings_limit": 9}
    return View(threading.Lock(), **{"wide_handles": frozenset({EVERYBODY}), **bounds, **options})


def live(position: int = 5, **options) -> View:
    """Loaded at ``position``, granted a lease from 100.0 on."""
    view = empty(**options)
    Followed(view).load({}, "E", end(position))
    Followed(view).grant(100.0)
    return view


def remember(view: View, *handles: bytes, position: int = 5, key: bytes = KEY) -> bool:
    return view.admit(key, admitted(*handles), facts(position), (*handles, EVERYBODY), 100.5)


# --- the lease --------------------------------------------------------------------------------------------------------


def test_new_view_is_not_live() -> None:
    """F1: an empty view never means that nothing is revoked."""
    view = empty()
    assert not view.is_live(0.0)
    assert view.known([ALICE]) == Known((Place(0, "", -1),), [None])
    assert not remember(view, ALICE)


def test_lease_counts_from_the_sending() -> None:
    """F3: live up to, and not at, one lease after."""
    view = live()
    assert view.is_live(100.999)
    assert not view.is_live(101.0)
    assert view.grace_until == 104.0
    assert view.parts[0].granted_at == 100.0


def test_older_grant_shortens_nothing() -> None:
    """F3: answers may come in any order."""
    view = live()
    Followed(view).grant(99.0)
    assert view.lease_until == 101.0


def test_fence_ends_the_lease_and_keeps_what_is_known() -> None:
    """R1: what is known goes on refusing."""
    view = live()
    Followed(view).apply([entry(6)])
    Followed(view).fence()
    assert not view.is_live(100.1)
    assert view.known([ALICE]).rulings == [ruled(6)]
    assert view.grace_until == 104.0


def test_giving_up_leaves_nothing_to_act_on() -> None:
    """W4: neither lease nor grace, nothing admitted."""
    view = live()
    assert remember(view, ALICE)
    view.give_up()
    assert not view.is_live(100.1)
    assert view.grace_until < 0
    assert view.parts[0].granted_at is None
    assert len(view.admitted) == 0


def test_forgetting_the_admitted_keeps_the_lease() -> None:
    """A step of the wall clock makes deadlines meaningless, not rulings."""
    view = live()
    remember(view, ALICE)
    view.forget_admitted()
    assert len(view.admitted) == 0
    assert view.is_live(100.5)


# --- loading and applying ---------------------------------------------------------------------------------------------


def test_load_ends_the_lease_and_clears_the_admitted() -> None:
    """F1: a reload starts over; only a read that reaches the end makes it live again."""
    view = live()
    remember(view, ALICE)
    Followed(view).load({BOB: ruled(3)}, "F", end(3))
    assert not view.is_live(100.5)
    assert len(view.admitted) == 0
    assert (view.parts[0].epoch, view.parts[0].end) == ("F", end(3))


def test_load_merges_with_what_is_known() -> None:
    """F1: knowledge is never given up; after lost history this process may be the only one that has it."""
    view = live()
    Followed(view).apply([entry(6)])
    Followed(view).load({BOB: ruled(3), ALICE: ruled(7, on=False)}, "E", end(7))
    known = [Ruling.decode(text) for text in view.known([ALICE, BOB]).rulings]
    assert [ruling.toggle.is_revoked for ruling in known] == [False, True]


def test_apply_evicts_and_moves_the_position() -> None:
    """F4: under every handle, then the position."""
    view = live()
    remember(view, ALICE, key=b"1")
    remember(view, BOB, key=b"2")
    Followed(view).apply([entry(6, ALICE), entry(7, b"carol")])
    assert view.admitted.get(b"1") is None
    assert view.admitted.get(b"2") is not None
    assert view.parts[0].end == end(7)


def test_ruling_on_a_wide_handle_clears_everything() -> None:
    """The issuer-wide handle is in no entry's list: all of them carry it."""
    view = live()
    remember(view, ALICE, key=b"1")
    remember(view, BOB, key=b"2")
    Followed(view).apply([entry(6, EVERYBODY)])
    assert len(view.admitted) == 0


def test_own_write_is_applied_at_once() -> None:
    """The follower will meet it again; the position is the follower's."""
    view = live()
    remember(view, ALICE, key=b"1")
    remember(view, BOB, key=b"2")
    view.learn(written(7, ruled(6), ruled(7)), [ALICE, BOB])
    assert len(view.admitted) == 0
    assert view.parts[0].end == end(5)
    Followed(view).apply([entry(6, ALICE), entry(7, BOB)])
    assert view.known([ALICE, BOB]).rulings == [ruled(6), ruled(7)]


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), max_size=8), st.randoms())
def test_any_order_and_repetition_ends_in_the_same_knowledge(writes, random) -> None:
    """Merging is a join: entries, own writes and snapshots may overlap in any way."""
    handles, states, entries = (ALICE, BOB, b"carol"), {}, []
    for position, (handle, on, cuts_off) in enumerate(writes, 1):
        digest = handles[handle]
        states[digest] = supersede(states.get(digest), Change(digest, on, cuts_off), "E", position, float(position))
        entries.append(entry(position, digest, states[digest].encode()))
    straight, shuffled = empty(), empty()
    Followed(straight).load({}, "E", end(0))
    Followed(straight).apply(entries)
    mixed = [*entries, *random.sample(entries, len(entries) // 2)]
    random.shuffle(mixed)
    for each in mixed:
        shuffled.learn(written(each.position, each.ruling), [each.digest])
    Followed(shuffled).load({digest: ruling.encode() for digest, ruling in states.items()}, "E", end(len(writes)))
    assert shuffled.rulings == straight.rulings == {digest: ruling.encode() for digest, ruling in states.items()}


def test_full_view_is_incomplete_and_still_merges() -> None:
    """Beyond the limit misses ask the store; what is known goes on growing stricter, and evictions go on."""
    view = live(rulings_limit=1)
    remember(view, BOB)
    Followed(view).apply([entry(6, ALICE), entry(7, BOB), entry(8, ALICE, ruled(8, on=False))])
    assert not view.is_complete
    assert view.known([ALICE, BOB]).rulings == [ruled(8, on=False), None]
    assert view.admitted.get(KEY) is None
    Followed(view).load({}, "E", end(8))
    assert view.is_complete


# --- late fills -------------------------------------------------------------------------------------------------------


def test_current_facts_are_remembered() -> None:
    """R3, the usual case."""
    view = live()
    assert remember(view, ALICE)
    assert view.admitted.get(KEY) is not None


@pytest.mark.parametrize(
    ("known", "now"),
    [(facts(5, "F"), 100.5), (facts(4), 100.5), (facts(5), 101.0)],
    ids=["another epoch", "older than the load", "lapsed lease"],
)
def test_late_fill_is_refused(known: Known, now: float) -> None:
    """R3: same epoch, not older than what is remembered of rulings, under a live lease."""
    view = live()
    assert not view.admit(KEY, admitted(ALICE), known, (ALICE, EVERYBODY), now)
    assert len(view.admitted) == 0


@pytest.mark.parametrize("handle", [ALICE, EVERYBODY])
@pytest.mark.parametrize(("position", "is_remembered"), [(5, False), (6, True)])
def test_fill_is_refused_if_ruled_on_since(handle: bytes, position: int, is_remembered: bool) -> None:
    """R3: facts from before the ruling are refused, facts from after it carry it."""
    view = live()
    Followed(view).apply([entry(6, handle)])
    assert remember(view, ALICE, position=position) is is_remembered


def test_own_write_refuses_fills_before_the_follower_has_met_it() -> None:
    """R3: a look-up sent before this process's own write may answer after it."""
    view = live()
    view.learn(written(6, ruled(6)), [ALICE])
    assert not remember(view, ALICE, position=5)
    assert remember(view, BOB, position=5)


def test_each_ruling_of_a_write_has_a_place_of_its_own() -> None:
    """R3: facts from between two of them are late for the second alone."""
    view = live()
    view.learn(written(7, ruled(6), ruled(7)), [ALICE, BOB])
    assert not remember(view, ALICE, position=5)
    assert remember(view, ALICE, position=6)
    assert not remember(view, BOB, position=6)
    assert remember(view, BOB, position=7)


def test_latest_write_is_the_furthest_of_the_latest_history() -> None:
    """Of two threads that write at once either may be told of first; another history counts anew."""
    view = live()
    followed = Followed(view)
    for position, epoch, latest in ((7, "E", 7), (6, "E", 7), (2, "F", 2), (3, "F", 3)):
        view.learn(written(position, ruled(position, epoch=epoch), epoch=epoch), [ALICE])
        assert followed.written == (epoch, latest)


def test_forgotten_recent_rulings_refuse_older_facts(monkeypatch) -> None:
    """R3: when recent rulings are forgotten, so are the fills that they would have refused."""
    monkeypatch.setattr(view_module, "RECENT_LIMIT", 2)
    view = live()
    Followed(view).apply([entry(6, ALICE), entry(7, b"x"), entry(8, b"y"), entry(9, b"x")])
    assert len(view.recent) == 2
    assert not remember(view, ALICE, position=5)
    assert remember(view, BOB, position=6)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_key_that_is_taken_away_takes_its_tokens_with_it() -> None:
    """Those that are remembered, and a fill that began before."""
    view = empty(wide_handles=frozenset({EVERYBODY, BOB}))
    Followed(view).load({}, "E", end(5))
    Followed(view).grant(100.0)
    assert view.admit(KEY, admitted(ALICE), facts(5), (ALICE, BOB), 100.5)
    view.turn_to(frozenset({EVERYBODY, b"new"}))
    assert len(view.admitted) == 0
    assert not view.admit(KEY, admitted(ALICE), facts(5), (ALICE, BOB), 100.5)
    assert view.admit(KEY, admitted(ALICE), facts(5), (ALICE, b"new"), 100.5)


def test_key_that_is_added_takes_nothing_away() -> None:
    """A rotation begins with a new key, and costs nobody a miss."""
    view = live()
    assert remember(view, ALICE)
    view.turn_to(frozenset({EVERYBODY, BOB}))
    assert len(view.admitted) == 1


# --- purging ----------------------------------------------------------------------------------------------------------


def test_purge_forgets_what_no_token_can_be_under() -> None:
    """Slice by slice; a ruling at its end and one without stay."""
    view = live()
    texts = {b"a": ruled(1, until=9.0), b"b": ruled(2, until=10.0), b"c": ruled(3), b"d": ruled(4, until=1.0)}
    Followed(view).load(texts, "E", end(5))
    assert view.purge(10.0, 3)
    assert set(view.rulings) == {b"b", b"c", b"d"}
    assert not view.purge(10.0, 3)
    assert set(view.rulings) == {b"b", b"c"}


def test_purge_spares_what_was_renewed_meanwhile() -> None:
    """A slice is judged by what stands there now."""
    view = live()
    Followed(view).load({b"a": ruled(1, until=1.0), b"b": ruled(2, until=1.0)}, "E", end(5))
    assert view.purge(10.0, 1)
    Followed(view).apply([entry(6, b"b", ruled(6, until=99.0))])
    view.purge(10.0, 9)
    assert set(view.rulings) == {b"b"}


def test_what_is_known_says_itself_whether_it_is_all() -> None:
    """R1: a reader without the lock never joins the rulings of one load with the completeness of another."""
    before = Rulings()
    before.is_complete = False
    view = View(
        nullcontext(), lease_seconds=1.0, grace_seconds=0.0, admitted_limit=9, rulings_limit=1, wide_handles=frozenset()
    )
    view.rulings = before
    assert not view.known([b"a" * 16]).is_complete
    Followed(view).load({b"a" * 16: b"{}"}, "epoch", LogEnd(1, "link", "1"))
    assert view.known([b"a" * 16]).is_complete
    Followed(view).load({b"b" * 16: b"{}"}, "epoch", LogEnd(2, "link", "2"))
    assert not view.known([b"b" * 16]).is_complete
