"""When a published set is fetched, and for how long it serves: by a clock that moves when told."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.keys.fetching import (
    COOL_DOWN_SECONDS,
    DEFAULT_LIFETIME_SECONDS,
    LEAST_LIFETIME_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MOST_LIFETIME_SECONDS,
    KeyFetching,
    lifetime_of,
)

STALE = 3600.0


def fetched(at: float = 100.0, lifetime: float = 300.0) -> KeyFetching:
    """A set that came at once."""
    fetching = KeyFetching(STALE, lambda: 0.5)
    fetching.began(at)
    fetching.succeeded(at, lifetime)
    return fetching


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, DEFAULT_LIFETIME_SECONDS),
        ("no-store", DEFAULT_LIFETIME_SECONDS),
        ("public, max-age=900", 900),
        ('Max-Age="600"', 600),
        ("s-maxage=700", DEFAULT_LIFETIME_SECONDS),
        ("max-age=0", LEAST_LIFETIME_SECONDS),
        ("max-age=31536000", MOST_LIFETIME_SECONDS),
        ("max-age=x", DEFAULT_LIFETIME_SECONDS),
        ("max-age=99999999999999999999", MOST_LIFETIME_SECONDS),
    ],
)
def test_lifetime_is_the_providers_within_bounds(said: str | None, seconds: float) -> None:
    """RFC 9111 §5.2.2.1."""
    assert lifetime_of(said) == seconds


def test_nothing_known_is_due_at_once() -> None:
    """And not usable."""
    fetching = KeyFetching(STALE, lambda: 0.0)
    assert fetching.due_at == -inf and not fetching.is_usable(0.0)


def test_set_is_fetched_again_before_its_lifetime_ends() -> None:
    """Ahead of need, and not by all processes at once."""
    dues = set()
    for drawn in (0.0, 0.999):
        fetching = KeyFetching(STALE, lambda drawn=drawn: drawn)
        fetching.began(100.0)
        fetching.succeeded(100.0, 300.0)
        dues.add(fetching.due_at)
    assert len(dues) == 2 and all(100 + 200 < due < 100 + 250 for due in dues)


def test_last_good_set_serves_until_the_stale_bound_and_no_longer() -> None:
    """Whatever the endpoint does."""
    fetching = fetched()
    end = 100.0 + 300.0 + STALE
    now = 400.0
    while now < end:
        fetching.began(now)
        fetching.failed(now)
        assert fetching.is_usable(now)
        now = fetching.due_at
    assert not fetching.is_usable(end)


def test_pauses_grow_while_nothing_is_known() -> None:
    """From a second to a minute, with jitter."""
    fetching = KeyFetching(STALE, lambda: 1.0)
    pauses = []
    for _ in range(10):
        fetching.began(0.0)
        fetching.failed(0.0)
        pauses.append(fetching.due_at)
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0] and pauses[-1] == LONGEST_PAUSE_SECONDS


def test_kid_is_unknown_only_by_a_set_that_is_new() -> None:
    """Older than the cool-down: the provider may have rotated, so nobody can know, and a fetch is due at once."""
    fetching = fetched(at=100.0)
    planned = fetching.due_at
    assert not fetching.doubts(100.0 + COOL_DOWN_SECONDS - 0.1) and fetching.due_at == planned
    now = 100.0 + COOL_DOWN_SECONDS
    assert fetching.doubts(now) and fetching.due_at == now


def test_knowledge_is_as_old_as_the_question() -> None:
    """A slow answer is no newer for it."""
    fetching = KeyFetching(STALE, lambda: 0.5)
    fetching.began(100.0)
    fetching.succeeded(104.0, 300.0)
    assert fetching.fetched_at == 100.0


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.sampled_from(["succeeds", "fails"]), st.floats(0.0, 5.0)), max_size=60))
def test_while_a_set_is_in_use_there_is_one_fetch_per_cool_down(steps: list[tuple[float, str, float]]) -> None:
    """However many unknown kids come, and however the fetches end and however long they take."""
    fetching = fetched(at=100.0)
    now = last = 100.0
    for pause, how, takes in steps:
        now += pause
        assert fetching.is_usable(now)
        fetching.doubts(now)
        if now >= fetching.due_at:
            assert now - last >= COOL_DOWN_SECONDS
            last = now
            fetching.began(now)
            for _ in range(3):
                fetching.doubts(now)
            now += takes
            if how == "succeeds":
                fetching.succeeded(now, 300.0)
            else:
                fetching.failed(now)


def test_set_is_coming_while_it_is_fetched_and_nothing_has_failed() -> None:
    """Whoever is told something once may wait a moment for the key that it is signed with."""
    fetching = KeyFetching(3600.0, lambda: 0.0)
    assert fetching.is_coming(0.0)
    fetching.began(0.0)
    assert fetching.doubts(0.1) and fetching.is_coming(0.1)
    fetching.succeeded(0.2, 300.0)
    assert not fetching.is_coming(1.0)
    assert fetching.doubts(40.0) and fetching.is_coming(40.0)
    fetching.began(40.0)
    fetching.failed(41.0)
    assert fetching.doubts(80.0) and not fetching.is_coming(80.0)
    fetching.began(80.0)
    assert not fetching.is_coming(80.1), "a provider that does not answer is not waited for"
