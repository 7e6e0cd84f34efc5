"""Which entry of which list a token gets: never one that another has, never in a list that lost something."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from core.scripted import START, ScriptedClock, Time
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.effects import Mark
from jwtgate.core.handles import digest_of
from jwtgate.core.history import Epoch, Marked
from jwtgate.core.partitioning import partition_of_mark
from jwtgate.core.providers.upstream import CLAIM, Link
from jwtgate.core.rulings import Issued
from jwtgate.core.statuses.registry import (
    ATTEMPTS,
    SIZE,
    ListName,
    Registered,
    Registry,
    UnreadableMark,
    group_of,
    index_of,
    mark_of,
)
from jwtgate.core.tokens.verification import handles_of
from jwtgate.errors import StoreUnavailable
from jwtgate.settings import Settings

EPOCH = "AbC-_123xyz"
BIRTH = START - 86400.0
POLICY = Settings(secret="a-secret-of-at-least-thirty-two-bytes", handles=("tenant",), version_claim="ver").policies[None]
URL = "https://api.example/auth/status"
HOUR = int(START // 3600) * 3600


class Store:
    """Keeps names of marks; what it is, a test says."""

    def __init__(self, **epoch: Any) -> None:
        self.epoch = Epoch(**{"name": EPOCH, "lease_seconds": 1.0, "reach_seconds": 1.0, "is_healed": True, "is_settled": True, "birth": BIRTH, **epoch})  # fmt: skip
        self.kept: dict[tuple[str, bytes], Mark] = {}
        self.since: dict[str, float] = {}
        self.asked = 0

    def mark(self, effect: Mark) -> Marked:
        self.asked += 1
        key = (effect.group, effect.name)
        is_new = key not in self.kept
        self.kept.setdefault(key, effect)
        return Marked(is_new, self.epoch, START, self.since.get(effect.group, self.epoch.birth))


class Issuing:
    """One process that issues."""

    def __init__(self, store: Store, draws: Any = None, partitions: int = 1) -> None:
        self.store = store
        self.time = Time()
        drawn = count(100) if draws is None else iter(draws)
        self.registry = Registry(URL, ScriptedClock(self.time), partitions, lambda size: next(drawn) % size)

    def claim(self, seconds: float = 900.0, *, stamp: str = f"{EPOCH}:5", **claims: Any) -> tuple[ListName, int]:
        now = int(self.registry.clock.wall())
        payload = {"sub": "alice", "jti": "7", "iat": now, "exp": now + int(seconds), **claims}
        plan = self.registry.claim(POLICY, payload, stamp)
        try:
            effect = next(plan)
            while True:
                effect = plan.send(self.store.mark(effect))
        except StopIteration as end:
            entry = end.value["status_list"]
        assert set(entry) == {"idx", "uri"} and entry["uri"].startswith(f"{URL}/")
        name = ListName.read(entry["uri"].removeprefix(f"{URL}/"))
        assert name is not None
        return name, entry["idx"]


def test_entry_is_kept_before_it_is_told() -> None:
    """One round trip; what is kept outlives the token by an hour, and the list's own time."""
    store = Store()
    name, index = Issuing(store).claim()
    assert (name, index) == (ListName(EPOCH, "h", HOUR, 0), 100)
    (((group, mark), kept),) = store.kept.items()
    assert (group, mark) == (group_of("", name), mark_of(name, 100, 1))
    assert kept.until >= max(START + 900 + 3600, name.ends_at) and kept.now == START
    assert store.asked == 1 and Registered.decode(kept.value).issued == Issued((EPOCH, 5), START)


def test_entry_is_never_given_twice() -> None:
    """Whoever draws what another has draws again, whichever process it is."""
    store = Store()
    one, other = Issuing(store, [7, 8]), Issuing(store, [7, 7, 9])
    assert [one.claim()[1], other.claim()[1], one.claim()[1]] == [7, 9, 8]
    assert len(store.kept) == 3


def test_long_lived_tokens_have_lists_of_their_own() -> None:
    """So that those of short ones end soon."""
    store = Store()
    issuing = Issuing(store)
    assert [issuing.claim(seconds)[0].span for seconds in (60, 3600, 3601, 86400, 86401)] == list("hhddl")


def test_next_hour_has_another_list() -> None:
    """A token lives in the list of the hour in which it was issued."""
    issuing = Issuing(Store())
    first, _ = issuing.claim()
    issuing.time.now += first.ends_at - START
    second, _ = issuing.claim()
    assert (second.begins_at, second.serial) == (first.ends_at, 0)


def test_list_that_fills_up_is_followed_by_another() -> None:
    """Its draws meet taken entries, every fourth or so: nobody counts, and no draw takes long."""
    store = Store()
    full = ListName(EPOCH, "h", HOUR, 0)
    for index in range(0, SIZE, 3):
        store.kept[group_of("", full), mark_of(full, index, 1)] = Mark("", b"", b"", 0.0, 0.0)
    issuing = Issuing(store, (index * 7919 for index in count()))
    serials = [issuing.claim()[0].serial for _ in range(60)]
    assert serials == sorted(serials) and set(serials) == {0, 1}
    assert store.asked < 60 * 1.5


def test_history_that_is_lost_meanwhile_begins_another_list() -> None:
    """The old one is unknown already, so an entry in it would refuse its token."""
    store = Store()
    issuing = Issuing(store)
    issuing.claim()
    store.epoch = replace(store.epoch, name="laterrepoch", birth=START - 1)
    name, _ = issuing.claim()
    assert name.epoch == "laterrepoch"
    assert Registered.decode(list(store.kept.values())[-1].value).issued.stamp == (EPOCH, 5), "the token's own stamp stays"


def test_marks_that_are_lost_end_the_list() -> None:
    """The store tells since when it has all: a list that began before is left, by every process alike."""
    store = Store()
    issuing, other = Issuing(store), Issuing(store, count(500))
    lost, _ = issuing.claim()
    store.since[group_of("", lost)] = START - 10
    name, _ = issuing.claim()
    assert name.begins_at == START + 50 and name.ends_at == lost.ends_at
    assert other.claim()[0] == name == issuing.claim()[0]


def test_no_entry_to_be_had_is_no_token() -> None:
    """Rather than one that nobody could revoke."""

    class Taken(Store):
        def mark(self, effect: Mark) -> Marked:
            return replace(super().mark(effect), is_new=False)

    issuing = Issuing(Taken())
    with pytest.raises(StoreUnavailable):
        issuing.claim()
    assert issuing.store.asked == ATTEMPTS


@pytest.mark.parametrize("partitions", [1, 2, 16, 1024])
def test_marks_stand_with_the_history_that_the_list_is_of(partitions: int) -> None:
    """All in partition 0, and each leads back to its entry."""
    name = ListName(EPOCH, "h", HOUR, 0)
    for index in (0, 1, 255, SIZE - 1, SIZE):
        mark = mark_of(name, index, partitions)
        assert partition_of_mark(mark, partitions) == 0 and index_of(mark) == index and mark.startswith(name.tag)


def test_groups_take_turns() -> None:
    """A bounded number, so that whoever marks in one forgets what has passed there; other issuers have others."""
    hours = {group_of("", ListName(EPOCH, "h", HOUR + 3600 * step, serial)) for step in range(500) for serial in range(20)}
    days = {group_of("", ListName(EPOCH, "d", HOUR + 86400 * step, 0)) for step in range(500)}
    longer = {group_of("", ListName(EPOCH, "l", HOUR + 86400 * step, 0)) for step in range(500)}
    assert (len(hours), len(days), len(longer)) == (32, 4, 64) and all(len(each) <= 32 for each in hours | days | longer)
    assert hours.isdisjoint({group_of("https://other", ListName(EPOCH, "h", HOUR, serial)) for serial in range(20)})


@pytest.mark.parametrize(("seconds", "most_days"), [(60, 0.2), (3600, 0.2), (3601, 4), (86400, 4)])
def test_what_has_passed_is_met_again_soon(seconds: float, most_days: float) -> None:
    """A Redis forgets it then: tokens of a day or less do not lie there for as long as the longest might."""
    store = Store()
    name = Issuing(store).claim(seconds)[0]
    (mark,) = store.kept.values()
    step = 86400 if name.span == "d" else 3600
    turns = next(
        turn for turn in range(1, 500) if group_of("", name._replace(begins_at=name.begins_at + step * turn)) == mark.group
    )
    again = name.begins_at + step * turns
    assert mark.until <= again <= name.begins_at + 86400 * most_days


@pytest.mark.parametrize(
    "text",
    ["", "1", EPOCH, f"{EPOCH}.h{HOUR}", f"{EPOCH}.m{HOUR}.0", f"{EPOCH}.h{HOUR}.01", f"{EPOCH}.h0{HOUR}.1", f"{EPOCH}.h-1.0",
     f"{EPOCH}.h{HOUR}.0\n", f"{EPOCH}.h{HOUR}.0.0", f"{EPOCH[:-1]}.h{HOUR}.0", f"{EPOCH}.h{10**13}.0", f"{EPOCH}.h٣.0"],
)  # fmt: skip
def test_other_texts_name_no_list(text: str) -> None:
    """So nobody asks the store about them; and no list has two names."""
    assert ListName.read(text) is None


def test_name_is_read_back() -> None:
    """As it is written."""
    name = ListName(EPOCH, "d", 86400 * 20000, 12)
    assert ListName.read(str(name)) == name


@given(
    st.none() | st.tuples(st.from_regex(r"[A-Za-z0-9_-]{11}", fullmatch=True), st.integers(0, 10**14 - 1)),
    st.integers(0, 253402300799),
    st.none() | st.integers(-(2**62), 2**62),
    st.none() | st.integers(0, 253402300799),
    st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=140),
)
def test_what_is_kept_is_read_back(
    stamp: Any, at: int, version: int | None, began_at: int | None, handles: list[bytes]
) -> None:
    """All that a ruling can ask."""
    kept = Registered(Issued(stamp, at, version, began_at), tuple(handles))
    assert Registered.decode(kept.encode()) == kept


@given(st.binary(max_size=80))
def test_what_no_jwtgate_wrote_is_not_read(value: bytes) -> None:
    """Or it is something that could have been."""
    try:
        assert Registered.decode(value).handles
    except UnreadableMark:
        assert True


def test_rulings_name_it_as_they_name_the_token() -> None:
    """The handles of the decision itself, and no claim in clear."""
    gate_claims = {
        "sub": "alice",
        "jti": "7",
        "sid": "s1",
        "client_id": "web",
        "tenant": ["a", "b"],
        "iat": 5,
        "exp": 9,
        "ver": 3,
    }
    kept = Registered.of(POLICY, gate_claims, f"{EPOCH}:5")
    from jwtgate.core.tokens.issuance import Issuer
    from jwtgate.core.tokens.parsing import parse

    text = Issuer({None: POLICY}, ScriptedClock(Time()), default_ttl=9, max_token_bytes=8192, draw_token_id=str).sign(
        POLICY, gate_claims, f"{EPOCH}:5"
    )
    wanted = {*handles_of(parse(text.encode(), 8192), POLICY), POLICY.keys.keys[0].handle} - {POLICY.everything}
    assert set(kept.handles) == wanted and kept.handles[0] == digest_of("", "sub", "alice")
    assert kept.issued.version == 3 and b"alice" not in kept.encode()


def test_session_at_a_provider_names_it_too() -> None:
    """What ends it there ends it here: by the provider's handles, and dated by its own beginning."""
    link = Link.to("https://idp.example", "their-sid", "their-sub")
    payload = {"sub": "alice", "jti": "7", "sid": "s1", "iat": 500, "exp": 900, CLAIM: link.claim(100.0)}
    kept = Registered.decode(Registered.of(POLICY, payload, f"{EPOCH}:5").encode())
    assert set(link.handles.values()) <= set(kept.handles) and kept.issued.began_at == 100


def test_version_beyond_any_bound_compares_alike() -> None:
    """A number of twenty digits fits into no field of the store."""
    for version, kept in ((10**19, 2**62), (-(10**19), -(2**62)), (True, None), ("3", None)):
        payload = {"sub": "a", "jti": "7", "iat": 5, "exp": 9, "ver": version}
        assert Registered.decode(Registered.of(POLICY, payload, f"{EPOCH}:5").encode()).issued.version == kept
