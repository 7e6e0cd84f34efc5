"""Endings: a ruling and the end of the session in one step, and whatever the list says the ruling holds."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from core.sessions.session_world import DAY, START, World
from cryptography.hazmat.primitives.asymmetric import ec
from keymaking import pair_of

from jwtgate.core.effects import ListSessions, LookUp, Pause, Write
from jwtgate.core.followed import Followed
from jwtgate.core.following import Following
from jwtgate.core.handles import digest_of
from jwtgate.core.rulings import Change, Ruling
from jwtgate.core.sessions.endings import Endings
from jwtgate.core.sessions.stored import MOST_LISTED
from jwtgate.errors import GrantError, StoreUnavailable


def ruling_on(world: World, sid: str) -> Ruling | None:
    """The ruling on a session's handle."""
    text = world.server.rulings.get(digest_of("", "sid", sid))
    return None if text is None else Ruling.decode(text)


def test_end_of_a_session_is_one_step() -> None:
    """Ruling, log entry and the session's own end."""
    world = World()
    pair, other = world.start(), world.start()
    world.effects.clear()
    receipt = world.end(pair.session_id)
    (write,) = world.writes()
    assert ([change.revoked for change in write.changes], [end.sid for end in write.sessions]) == ([True], [pair.session_id])
    assert receipt.position.endswith(":1")
    assert [session.sid for session in world.list()] == [other.session_id]
    with pytest.raises(GrantError):
        world.refresh(pair)
    assert world.refresh(other)


def test_ruling_is_remembered_as_long_as_an_access_token_lives() -> None:
    """Not as long as the session would have: a view holds so many rulings and no more."""
    world = World()
    pair = world.start()
    world.time.now += 10
    world.end(pair.session_id)
    ruling = ruling_on(world, pair.session_id)
    assert ruling is not None and ruling.until == START + 10 + 900 + 3600


def test_given_end_is_kept() -> None:
    """An operator who names a sid may mean tokens that nobody here has made."""
    world = World()
    pair = world.start()
    change = Change(digest_of("", "sid", pair.session_id), revoked=True, until=START + 50_000)
    world.run(world.endings.by_sid(world.standing.policy, change, pair.session_id, is_end_known=False, wait=False))
    ruling = ruling_on(world, pair.session_id)
    assert ruling is not None and ruling.until == START + 50_000
    assert world.list() == []


@pytest.mark.parametrize("sid", ["unknown", "A" * 22, "x" * 5000, "é"])
def test_unknown_session_is_fine(sid: str) -> None:
    """Interface §2: the ruling is written all the same, and kept as long as anything could be under it."""
    world = World()
    world.end(sid)
    ruling = ruling_on(world, sid)
    assert ruling is not None and ruling.toggle is not None and ruling.toggle.is_revoked
    assert ruling.until == START + 30 * 86400 + 3600


def test_other_issuers_sid_ends_no_session_of_ours() -> None:
    """A handle belongs to its issuer."""
    world = World()
    pair = world.start()
    foreign = World(issuer="https://other.example").standing.policy
    change = Change(digest_of(foreign.namespace, "sid", pair.session_id), revoked=True)
    world.run(world.endings.by_sid(foreign, change, pair.session_id, is_end_known=True, wait=False))
    world.run(world.endings.by_subject(foreign, (change,), "alice", wait=False))
    assert world.refresh(pair)


def test_logout_everywhere_ends_every_session() -> None:
    """And only this subject's."""
    world = World()
    pairs = [world.start() for _ in range(3)]
    bob = world.start("bob")
    world.revoke(sub="alice")
    assert world.list() == []
    for pair in pairs:
        with pytest.raises(GrantError):
            world.refresh(pair)
    assert world.refresh(bob)
    marks = world.store.look_up((), tuple(pair.session_id for pair in pairs)).sessions
    assert all(mark is not None and mark.is_ended for mark in marks)


def test_everywhere_but_here() -> None:
    """The kept one lives with its tokens; one that began meanwhile lives, too."""
    world = World()
    late = World(world.server, seed=2)
    kept, gone = world.start(), world.start()
    new: list[Any] = []
    world.once_before(Write, lambda: new.append(late.start()))
    world.run(world.endings.all_but("alice", kept.session_id, wait=False))
    assert {session.sid for session in world.list()} == {kept.session_id, new[0].session_id}
    with pytest.raises(GrantError):
        world.refresh(gone)
    assert ruling_on(world, kept.session_id) is None
    assert digest_of("", "sub", "alice") not in world.server.rulings, "no cut-off: the kept one's tokens live"
    assert world.refresh(kept)


def test_everywhere_but_here_with_nothing_else() -> None:
    """A receipt all the same, of the log as it is."""
    world = World()
    kept = world.start()
    receipt = world.run(world.endings.all_but("alice", kept.session_id, wait=False))
    assert receipt.position.endswith(":0")
    assert world.refresh(kept)


def test_more_sessions_than_one_look_tells_all_end() -> None:
    """In batches."""
    world = World()
    kept = world.start()
    for _ in range(1100):
        world.time.now += 0.001
        world.start()
    world.run(world.endings.all_but("alice", kept.session_id, wait=False))
    assert [session.sid for session in world.list()] == [kept.session_id]


def test_receipt_of_several_batches_is_of_all_of_them() -> None:
    """Where the last look finds nothing left, a receipt of no change would be of another partition, and true at once."""
    world = World()
    kept = world.start()
    for _ in range(MOST_LISTED - 1):
        world.time.now += 0.001
        world.start()
    world.effects.clear()
    receipt = world.run(world.endings.all_but("alice", kept.session_id, wait=False))
    first, last = world.writes()
    assert (len(first.changes), last.changes, last.events) == (MOST_LISTED - 1, first.changes[:1], ())
    assert receipt.position.endswith(f":{MOST_LISTED}")


def test_more_sessions_than_one_look_tells_are_dead_by_the_cut_off() -> None:
    """Logout everywhere does not depend on a list."""
    world = World()
    first = world.start()
    for _ in range(1100):
        world.time.now += 0.001
        world.start()
    world.revoke(sub="alice")
    stored = world.store.look_up((), (first.session_id,)).sessions[0]
    assert stored is not None and not stored.is_ended, "it was not on the list"
    assert world.list() == []
    with pytest.raises(GrantError):
        world.refresh(first)


@pytest.mark.parametrize("kind", [LookUp, ListSessions])
def test_logout_is_not_lost_for_want_of_a_list(kind: type) -> None:
    """The question failed, the write went through: the ruling alone ends the session."""
    world = World()
    pair = world.start()
    answer = world.answer

    def fails(effect: Any) -> Any:
        if isinstance(effect, kind):
            raise StoreUnavailable("no answer")
        return answer(effect)

    def run(plan: Any) -> Any:
        try:
            effect = next(plan)
            while True:
                try:
                    found = fails(effect)
                except StoreUnavailable as error:
                    effect = plan.throw(error)
                else:
                    effect = plan.send(found)
        except StopIteration as end:
            return end.value

    policy = world.standing.policy
    if kind is LookUp:
        change = world.targets.session(policy, pair.session_id, world.clock.wall())
        run(world.endings.by_sid(policy, change, pair.session_id, is_end_known=True, wait=False))
    else:
        run(world.endings.by_subject(policy, world.targets.subject(policy, "alice", world.clock.wall()), "alice", wait=False))
    with pytest.raises(GrantError):
        world.refresh(pair)
    assert world.list() == []


def test_cut_off_outlives_every_session() -> None:
    """REFRESH_TTL beyond MAX_TTL: no session comes back to life when the ruling on its subject is forgotten."""
    world = World(max_ttl=1000.0, access_ttl=900.0)
    for changes in (
        world.targets.subject(world.standing.policy, "alice", START),
        world.targets.revoked(
            START, token=None, jti=None, sid=None, sub=None, claim=None, everything=True, access_only=False, issuer=None,
            expires_at=None,
        ),
    ):  # fmt: skip
        assert all(change.until is not None and change.until >= START + 30 * 86400 for change in changes)


def test_session_of_a_refresh_token_ends_used_or_not() -> None:
    """RFC 7009 §2.1: with its access tokens. Who shows a spent one, or an older one, has held one."""
    world = World()
    pair = world.start()
    fresh = world.refresh(pair)
    assert world.run(world.endings.by_refresh_token(pair.refresh_token, wait=False)) is not None
    assert world.list() == []
    assert ruling_on(world, pair.session_id) is not None
    assert world.run(world.endings.by_refresh_token(fresh.refresh_token, wait=False)) is None
    assert world.run(world.endings.by_refresh_token("junk", wait=False)) is None


def test_process_that_only_verifies_ends_sessions_too() -> None:
    """One issuer, and its public key alone: a logout is the same there."""
    pair_of_keys = pair_of(ec.generate_private_key(ec.SECP256R1()))
    world = World(secret=None, private_key=pair_of_keys.private_pem)
    verifier = World(world.server, seed=2, secret=None, public_key=pair_of_keys.public_pem)
    pair = world.start()
    verifier.end(pair.session_id)
    assert world.list() == []


def test_without_sessions_there_are_rulings() -> None:
    """Several issuers of which none signs."""
    world = World()
    endings = Endings(None, world.revoker)
    change = Change(digest_of("", "sid", "x"), revoked=True)
    assert world.run(endings.by_sid(world.standing.policy, change, "x", is_end_known=True, wait=False)).position
    assert world.run(endings.by_subject(world.standing.policy, (change,), "alice", wait=False)).position
    with pytest.raises(GrantError):
        world.run(endings.all_but("alice", "x", wait=False))


def heal(world: World) -> None:
    """This process's follower writes back what the store lacks."""
    following = Following(Followed(world.view), world.clock, name="healer", reach_seconds=1.0, draw=lambda: 0.5)
    plan = following.follow()
    effect = next(plan)
    while following.condition != "following":
        world.time.now += effect.seconds if isinstance(effect, Pause) else 0.001
        effect = plan.send(None if isinstance(effect, Pause) else world.answer(effect))


def test_logout_that_a_failover_lost_outlives_the_session_that_came_back() -> None:
    """L1: the ruling is written back, and the session came back with the older data: its end is lost, so the ruling must stay."""
    world = World()
    heal(world)
    pair, other = world.start(), world.start()
    older = deepcopy(world.server.sessions)
    world.end(pair.session_id)
    world.server.rulings.clear()
    world.server.sessions = older
    world.server.open_epoch(world.store.watch, is_own=True)
    heal(world)
    for _ in range(29):
        world.time.now += DAY
        for known in (world.server.rulings, world.view.rulings):
            for digest, text in list(known.items()):
                if (Ruling.decode(text).until or world.server.now()) < world.server.now():
                    del known[digest]  # as the next write sweeps it, and each view purges it
        with pytest.raises(GrantError):
            world.refresh(pair)
        other = world.refresh(other)
