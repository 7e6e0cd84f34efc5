"""The record of a session: comes back as it was, of constant size, and junk is told from it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.sessions.record import (
    MOST_ROTATIONS,
    REMEMBERED,
    REMEMBERED_IN_GRACE,
    Joined,
    Record,
    Spent,
    UnreadableRecord,
)

TIMES = st.floats(0, 4e9)
TEXTS = st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
RECORDS = st.builds(
    Record,
    subject=st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30),
    created_at=TIMES,
    absolute_end=TIMES,
    idle_seconds=st.none() | TIMES,
    access_seconds=TIMES,
    claims=st.dictionaries(st.text("abc", max_size=5), st.integers() | st.text("xyz") | st.lists(st.booleans()), max_size=4),
    device=TEXTS,
    ip=TEXTS,
    user_agent=TEXTS,
    current=st.text("abc", max_size=5),
    generation=st.integers(0, MOST_ROTATIONS - 1),
    spent=st.lists(st.builds(Spent, st.text("abc", max_size=5), TIMES), max_size=REMEMBERED).map(tuple),
    joined=st.dictionaries(st.text("0123456789abcdef", max_size=4), st.builds(Joined, st.text("abc:", max_size=5), TIMES)),
)
RECORD = Record("alice", 1000.0, 5000.0, None, 900.0, {"roles": ["a"]}, "phone", "::1", "Agent/1", "digest0")


@given(RECORDS)
def test_record_comes_back_as_it_was(record: Record) -> None:
    """To the last digit: the store compares texts."""
    assert Record.decode(record.encode()) == record
    assert Record.decode(record.encode()).encode() == record.encode()


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"null", b"5", b"\xff", b"{" * 100000, RECORD.encode()[:-1], RECORD.encode().replace(b'"alice"', b"5"),
     RECORD.encode().replace(b'"end":5000.0', b'"end":"x"'), RECORD.encode().replace(b'"spent":[]', b'"spent":[1]')],
)  # fmt: skip
def test_junk_is_told(text: bytes) -> None:
    """Whatever another program put there."""
    with pytest.raises(UnreadableRecord):
        Record.decode(text)


@pytest.mark.parametrize("generation", [-1, MOST_ROTATIONS, 2**64, 1.5, True, "1"])
def test_generation_is_what_a_refresh_token_can_count(generation: object) -> None:
    """The next one must still fit its field of 32 bits; anything else was not written here."""
    shape = {**json.loads(RECORD.encode()), "generation": generation}
    with pytest.raises(UnreadableRecord):
        Record.decode(json.dumps(shape).encode())
    assert Record.decode(json.dumps({**shape, "generation": MOST_ROTATIONS - 1}).encode()).generation == MOST_ROTATIONS - 1


def rotated(record: Record, digest: str, now: float, claims: dict[str, object] | None = None) -> Record:
    """Under a grace of ten seconds."""
    return record.rotated(digest, now, 10.0, record.claims if claims is None else claims, {})


@pytest.mark.parametrize(("gap_seconds", "kept"), [(60.0, REMEMBERED), (1.0, 10), (0.01, REMEMBERED_IN_GRACE)])
def test_size_does_not_grow_with_rotations(gap_seconds: float, kept: int) -> None:
    """State per lineage is bounded however often it rotates, and small where it rotates seldom."""
    record = RECORD
    sizes = []
    for number in range(1000):
        record = rotated(record, f"digest{number % 10}", 1000.0 + number * gap_seconds)
        sizes.append(len(record.encode()))
    assert len(record.spent) == kept
    assert max(sizes[100:]) - min(sizes[100:]) < 12 * kept
    assert record.generation == 1000


def test_rotation_remembers_the_last_few_and_all_within_their_grace() -> None:
    """Oldest first, each with the time at which it was used."""
    record = RECORD
    for number in range(1, 21):
        record = rotated(record, f"digest{number}", float(number), {"n": number})
    assert [spent.digest for spent in record.spent] == [f"digest{number}" for number in range(10, 20)]
    assert record.spent[-1].at == 20
    assert (record.current, record.claims) == ("digest20", {"n": 20})
    later = rotated(record, "late", 1000.0)
    assert [spent.digest for spent in later.spent] == ["digest17", "digest18", "digest19", "digest20"]


def test_session_ends_at_the_earlier_of_both_ends() -> None:
    """Absolute, and idle counted from now."""
    assert RECORD.ends_at(1000.0) == 5000.0
    idle = Record.decode(RECORD.encode().replace(b'"idle":null', b'"idle":600'))
    assert idle.ends_at(1000.0) == 1600.0
    assert idle.ends_at(4900.0) == 5000.0


def test_nan_is_never_written() -> None:
    """What JSON has no word for would not come back."""
    with pytest.raises(ValueError, match="JSON"):
        rotated(Record.decode(RECORD.encode()), "x", float("nan"), {}).encode()


def test_repr_shows_nothing() -> None:
    """Threat 29."""
    assert repr(RECORD) == "<Record>"
    assert "alice" in json.loads(RECORD.encode())["sub"]
