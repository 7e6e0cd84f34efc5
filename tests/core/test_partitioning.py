"""Which partition holds what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.handles import BUILT_IN_KINDS, DIGEST_BYTES, digest_of
from jwtgate.core.partitioning import partition_of, partition_of_session, partition_of_user

COUNTS = st.integers(1, 1024)


@given(st.text(), st.sampled_from([*BUILT_IN_KINDS, "tenant"]), st.text(), COUNTS)
def test_every_handle_has_one_partition(namespace: str, kind: str, value: str, partitions: int) -> None:
    """Whatever its parts hold."""
    digest = digest_of(namespace, kind, value)
    assert len(digest) == DIGEST_BYTES
    assert 0 <= partition_of(digest, partitions) < partitions


@given(st.text(), COUNTS, st.text())
def test_session_stands_with_the_ruling_on_its_sid(sid: str, partitions: int, namespace: str) -> None:
    """They change in one step, whoever the issuer is."""
    assert partition_of_session(sid, partitions) == partition_of(digest_of(namespace, "sid", sid), partitions)


@pytest.mark.parametrize("kind", ["sub", "sessions", "client_id", "all", "tenant"])
@given(value=st.text(), partitions=COUNTS)
def test_all_that_a_stamp_is_compared_with_stands_in_partition_0(kind: str, value: str, partitions: int) -> None:
    """Cut-offs and stamps are positions of one log."""
    assert partition_of(digest_of("", kind, value), partitions) == 0


@pytest.mark.parametrize("kind", ["jti", "sid", "signing_input"])
def test_what_is_spread_is_spread_evenly(kind: str) -> None:
    """No partition holds more than twice its share of a thousand."""
    found = [partition_of(digest_of("", kind, str(number)), 8) for number in range(1000)]
    assert set(found) == set(range(8)) and max(map(found.count, range(8))) < 250


def test_lists_of_users_are_spread() -> None:
    """Though the digests of their handles all stand in partition 0."""
    found = {partition_of_user(digest_of("", "sessions", str(number)), 8) for number in range(200)}
    assert found == set(range(8))
