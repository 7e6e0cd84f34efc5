"""The admitted tokens: bounded, least recently used out first, and gone at once under any of their handles."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jwtgate.core.lru import Admitted, AdmittedTokens

KEYS = st.sampled_from([b"key%d" % number for number in range(6)])
HANDLES = st.sampled_from([b"h%d" % number for number in range(5)])


def admitted(*handles: bytes) -> Admitted:
    return Admitted(None, 0.0, handles)  # type: ignore[arg-type]


class LeastRecentlyUsed(RuleBasedStateMachine):
    """Against a list of (key, entry), the least recent first."""

    @initialize(size=st.integers(1, 4))
    def begin(self, size: int) -> None:
        self.tokens = AdmittedTokens(size)
        self.size = size
        self.naive: list[tuple[bytes, Admitted]] = []

    @rule(key=KEYS, handles=st.sets(HANDLES, max_size=3))
    def insert(self, key: bytes, handles: set[bytes]) -> None:
        entry = admitted(*handles)
        self.tokens.insert(key, entry)
        self.naive = [pair for pair in self.naive if pair[0] != key]
        self.naive = [*self.naive[max(0, len(self.naive) - self.size + 1) :], (key, entry)]

    @rule(key=KEYS)
    def use(self, key: bytes) -> None:
        known = dict(self.naive).get(key)
        assert self.tokens.get(key) is known
        if known is None:
            with pytest.raises(KeyError):
                self.tokens.touch(key)
        else:
            self.tokens.touch(key)
            self.naive = [*(pair for pair in self.naive if pair[0] != key), (key, known)]

    @rule(handle=HANDLES)
    def evict(self, handle: bytes) -> None:
        self.tokens.evict(handle)
        self.naive = [pair for pair in self.naive if handle not in pair[1].handles]

    @rule()
    def clear(self) -> None:
        self.tokens.clear()
        self.naive = []

    @invariant()
    def both_hold_the_same(self) -> None:
        if not hasattr(self, "tokens"):
            return
        assert list(self.tokens._entries.items()) == self.naive
        assert len(self.tokens) == len(self.naive) <= self.size

    @invariant()
    def index_is_exact(self) -> None:
        if not hasattr(self, "tokens"):
            return
        expected: dict[bytes, set[bytes]] = {}
        for key, entry in self.naive:
            for handle in entry.handles:
                expected.setdefault(handle, set()).add(key)
        index = self.tokens._index
        assert {handle: {keys} if isinstance(keys, bytes) else keys for handle, keys in index.items()} == expected


TestLeastRecentlyUsed = LeastRecentlyUsed.TestCase
TestLeastRecentlyUsed.settings = settings(max_examples=100)


def test_evicting_a_handle_leaves_nothing_that_carries_it() -> None:
    """Every entry under the handle goes, and no other."""
    tokens = AdmittedTokens(9)
    for key, handles in ((b"1", (b"alice", b"a")), (b"2", (b"alice", b"b")), (b"3", (b"bob", b"c"))):
        tokens.insert(key, admitted(*handles))
    tokens.evict(b"alice")
    assert (tokens.get(b"1"), tokens.get(b"2")) == (None, None)
    assert tokens.get(b"3") is not None
    assert set(tokens._index) == {b"bob", b"c"}


def test_unknown_handle_evicts_nothing() -> None:
    """Most rulings are on tokens that this process never saw."""
    tokens = AdmittedTokens(1)
    tokens.insert(b"1", admitted(b"a"))
    tokens.evict(b"z")
    assert len(tokens) == 1


def test_replaced_entry_leaves_no_handle_behind() -> None:
    """The index belongs to what is there now."""
    tokens = AdmittedTokens(2)
    tokens.insert(b"1", admitted(b"a"))
    tokens.insert(b"1", admitted(b"b"))
    tokens.evict(b"a")
    assert tokens.get(b"1") is not None


def test_entries_are_told_by_handle_and_removed_one_by_one() -> None:
    """Only the very entry that was told: one that took its place under the same key stays."""
    tokens = AdmittedTokens(9)
    one, other, later = (admitted(b"list") for _ in range(3))
    tokens.insert(b"1", one)
    assert tokens.under(b"list") == [(b"1", one)] and tokens.under(b"none") == []
    tokens.insert(b"2", other)
    assert sorted(key for key, _ in tokens.under(b"list")) == [b"1", b"2"]
    tokens.insert(b"2", later)
    tokens.remove(b"2", other)
    tokens.remove(b"3", other)
    tokens.remove(b"1", one)
    assert tokens.under(b"list") == [(b"2", later)]
