"""The test servers themselves: a group that does not fail over, or a slot that does not move, would prove nothing."""

from __future__ import annotations

import pytest
from servers import binary_of
from topologies import ClusterGroup, SentinelGroup, slot_of, wait_for

pytestmark = [pytest.mark.server]

KINDS = ["valkey", "redis"]
KEY = "{jwtgate:0}:rulings"


@pytest.mark.parametrize("kind", KINDS)
def test_sentinels_replace_a_killed_master(kind: str) -> None:
    """The old one comes back as a replica."""
    with SentinelGroup(binary_of(kind)) as group:
        old = group.kill_master()
        new = group.wait_for_master(other_than=old)
        assert new is not old
        old.start()
        master = wait_for(lambda: group.followed(old), "the old master follows")
        assert master is not old  # on a slow machine it may be yet another than the new one


@pytest.mark.parametrize("kind", KINDS)
def test_cluster_moves_slots_and_fails_over(kind: str) -> None:
    """A slot moves with its keys; a replica takes over, asked or not."""
    with ClusterGroup(binary_of(kind)) as group:
        source = group.master(KEY)
        target = next(master for master in group.masters() if master is not source)
        with source.client() as client:
            client.hset(KEY, "a", "b")
        group.move_slot(KEY, target)
        assert group.master(KEY) is target
        with target.client() as client:
            assert client.hget(KEY, "a") == b"b"
        new = group.failover(KEY)
        assert new is not target
        group.wait_until_whole()
        assert group.kill_master(KEY) is new
        wait_for(lambda: group.wait_for_master(KEY, other_than=new) is target, "the replica took over")
        new.start()
        group.wait_until_whole()


def test_slot_is_that_of_the_hash_tag() -> None:
    """As the servers count it."""
    assert slot_of("{jwtgate:0}:log") == slot_of("jwtgate:0")
    assert slot_of("foo") == 12182
