"""Rotation: one use a refresh token, the same pair for racers, and a second use after the grace is theft (RFC 9700 §4.14)."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from core.sessions.session_world import START, World, claims_of
from hypothesis import given, settings
from hypothesis import strategies as st

from jwtgate.core.effects import AskClaims, LookUp, Write
from jwtgate.core.history import JournalUnavailable
from jwtgate.core.rulings import Ruling
from jwtgate.core.sessions.record import REMEMBERED, REMEMBERED_IN_GRACE
from jwtgate.core.sessions.refresh_tokens import RefreshToken
from jwtgate.errors import (
    CrossSiteRequest,
    GrantError,
    ReusedRefreshToken,
    StoreUnavailable,
    SubjectSuspended,
)
from jwtgate.messages import Session, TokenPair


def test_each_use_gives_a_new_pair_of_the_same_session() -> None:
    """The claims stay, jti and times are new."""
    world = World()
    pair = world.start(scope="read", claims={"roles": ["a"], "auth_time": 1000})
    world.time.now += 100
    fresh = world.refresh(pair)
    assert fresh.session_id == pair.session_id
    assert {fresh.refresh_token, fresh.access_token}.isdisjoint({pair.refresh_token, pair.access_token})
    old, new = claims_of(pair), claims_of(fresh)
    changed = {name for name in old if old[name] != new[name]}
    assert changed == {"jti", "iat", "exp"}
    assert new["iat"] == old["iat"] + 100


def test_stamp_is_of_after_the_call_began() -> None:
    """What was cut off before the call kills no token of it, whatever the clocks say."""
    world = World()
    pair = world.start()
    world.revoke(sub="alice", access_only=True)
    world.revoke(sub="bob")
    fresh = world.refresh(pair)
    assert world.server.end is not None and world.server.record is not None
    assert claims_of(fresh)["jgp"] == f"{world.server.record.epoch.name}:{world.server.end.position}"


def test_refresh_is_two_steps() -> None:
    """One look, one write."""
    world = World()
    pair = world.start()
    world.effects.clear()
    world.refresh(pair)
    assert [type(effect) for effect in world.effects] == [LookUp, Write]


# Racers


def test_racers_get_the_same_pair() -> None:
    """Whoever asks with the same token within the grace: byte for byte."""
    world = World()
    pair = world.start()
    fresh = world.refresh(pair)
    world.time.now += 29.9
    assert world.refresh(pair) == fresh
    assert World(world.server, seed=2).refresh(pair) == fresh, "and from any process"
    assert len(world.writes()) == 2, "a login and one rotation"


def test_racers_in_the_same_instant_get_the_same_pair() -> None:
    """Both saw the token current; one wrote, the other reads what it left."""
    world = World()
    rival = World(world.server, seed=2)
    pair = world.start()
    theirs: list[TokenPair] = []
    world.once_before(Write, lambda: theirs.append(rival.refresh(pair)))
    assert [world.refresh(pair)] == theirs


def test_racer_behind_a_later_rotation_gets_the_current_pair() -> None:
    """A spent one would be taken for theft when it is next used, and would overwrite the current one in a cookie jar."""
    world = World()
    pair = world.start()
    second = world.refresh(pair)
    third = world.refresh(second)
    assert world.refresh(pair) == third
    assert world.refresh(second) == third
    world.time.now += 3600
    assert world.refresh(third)


def test_chain_of_racers_ends_with_the_first_grace() -> None:
    """Each token's grace counts from its own first use."""
    world = World()
    pair = world.start()
    second = world.refresh(pair)
    world.time.now += 20
    third = world.refresh(second)
    world.time.now += 15
    with pytest.raises(ReusedRefreshToken):
        world.refresh(pair)
    with pytest.raises(GrantError):
        world.refresh(third)


def test_racer_gets_its_pair_only_once_the_journal_has_heard_of_it() -> None:
    """The rotation may have reached the store alone: the same record is written once more, and nothing else changes."""
    world = World(is_journaled=True)
    pair = world.start()
    fresh = world.refresh(pair)
    stored = world.store.look_up((), (pair.session_id,)).sessions[0]
    world.time.now += 1.0
    world.effects.clear()
    assert world.refresh(pair) == fresh
    (write,) = world.writes()
    (change,) = write.sessions
    assert stored is not None
    assert (change.record, change.expected, change.turn) == (stored.record, stored.record, 1)
    again = world.store.look_up((), (pair.session_id,)).sessions[0]
    assert again is not None and (again.record, again.successors) == (stored.record, stored.successors)
    assert world.refresh(fresh).session_id == pair.session_id


def test_racer_whose_journal_does_not_answer_gets_nothing_and_may_ask_again() -> None:
    """A pair that a restored journal does not know would leave the spent token before it good."""
    world = World(is_journaled=True)
    pair = world.start()
    fresh = world.refresh(pair)
    plan = world.rotation.refresh(pair.refresh_token)
    effect = next(plan)
    while not isinstance(effect, Write):
        effect = plan.send(world.answer(effect))
    with pytest.raises(JournalUnavailable):
        plan.throw(JournalUnavailable("a simulation"))
    assert world.refresh(pair) == fresh


def test_racer_whom_a_rotation_overtakes_gets_the_current_pair() -> None:
    """Its own writing finds another record, and it looks again."""
    world = World(is_journaled=True)
    pair = world.start()
    fresh = world.refresh(pair)
    later: list[TokenPair] = []
    world.once_before(Write, lambda: later.append(world.refresh(fresh)))
    assert world.refresh(pair) == later[0]


def test_rotations_are_counted_for_whoever_keeps_them() -> None:
    """Of two records of a session that of the higher turn is the later one."""
    world = World()
    pair = world.start()
    for _ in range(3):
        pair = world.refresh(pair)
    assert [change.turn for write in world.writes() for change in write.sessions] == [0, 1, 2, 3]


def test_successor_is_sealed() -> None:
    """The store alone cannot read it, nor can the holder of another token of the lineage."""
    world = World()
    pair = world.start()
    fresh = world.refresh(pair)
    stored = world.store.look_up((), (pair.session_id,)).sessions[0]
    assert stored is not None
    shown = RefreshToken.decode(fresh.refresh_token)
    kept = stored.record + stored.successors
    for secret in (fresh.refresh_token[4:60], fresh.access_token.rpartition(".")[2], shown.secret.hex()):
        assert secret.encode() not in kept
    assert list(json.loads(stored.successors)) == [RefreshToken.decode(pair.refresh_token).digest]


def test_successors_of_a_fast_lineage_are_few() -> None:
    """Bounded, however often it rotates within one grace."""
    world = World()
    pair = world.start()
    sizes = []
    for _ in range(3 * REMEMBERED_IN_GRACE):
        pair = world.refresh(pair)
        stored = world.store.look_up((), (pair.session_id,)).sessions[0]
        assert stored is not None
        sizes.append(len(stored.record) + len(stored.successors))
    assert max(sizes[REMEMBERED_IN_GRACE + 1 :]) - min(sizes[REMEMBERED_IN_GRACE + 1 :]) < 200


def test_successor_lost_by_the_store_is_an_outage() -> None:
    """The racer did nothing wrong: 503, and the session lives."""
    world = World()
    pair = world.start()
    fresh = world.refresh(pair)
    row = world.server.sessions._rows[pair.session_id]
    row.successors = b""
    with pytest.raises(StoreUnavailable):
        world.refresh(pair)
    row.successors = b"[junk"
    with pytest.raises(StoreUnavailable):
        world.refresh(pair)
    assert world.refresh(fresh)


# Theft


@pytest.mark.parametrize("thief_first", [True, False])
def test_second_use_after_the_grace_ends_the_session(thief_first: bool) -> None:
    """In both orders: used by the thief and then by the owner, or the other way round; all access tokens die with it."""
    world, thief = World(), None
    thief = World(world.server, seed=2)
    pair = world.start()
    first, second = (thief, world) if thief_first else (world, thief)
    fresh = first.refresh(pair)
    world.time.now += 30
    with pytest.raises(ReusedRefreshToken) as caught:
        second.refresh(pair)
    assert caught.value.lineage == "recent predecessor"
    for process in (world, thief):
        with pytest.raises(GrantError):
            process.refresh(fresh)
    assert world.list() == []
    ruling = Ruling.decode(world.server.rulings[world.standing.sid_handle(pair.session_id)])
    assert ruling.toggle is not None and ruling.toggle.is_revoked


def test_older_lineage_ends_the_session() -> None:
    """A token from further back than the store remembers: it was once one of this session's, so somebody kept it."""
    world = World(grace_seconds=5.0)
    first = pair = world.start()
    for _ in range(REMEMBERED + 1):
        world.time.now += 6
        pair = world.refresh(pair)
    with pytest.raises(ReusedRefreshToken) as caught:
        world.refresh(first)
    assert caught.value.lineage == "older lineage"
    with pytest.raises(GrantError):
        world.refresh(pair)


def test_knowing_the_sid_ends_nothing() -> None:
    """A sid stands in every access token: who knows it cannot make a token of the lineage, and nobody is logged out."""
    world = World()
    pair = world.start()
    for number in range(50):
        forged = RefreshToken(number.to_bytes(16, "big"), bytes(32), "AAAAAAAAAAA", number, 4_000_000_000)
        with pytest.raises((GrantError, StoreUnavailable)):
            world.run(world.rotation.refresh(forged.encode()))
    assert world.refresh(pair)


def test_without_grace_a_second_use_is_theft_at_once() -> None:
    """REFRESH_GRACE=0 turns it off; nothing is sealed."""
    world = World(grace_seconds=0.0)
    pair = world.start()
    world.refresh(pair)
    stored = world.store.look_up((), (pair.session_id,)).sessions[0]
    assert stored is not None and stored.successors == b""
    with pytest.raises(ReusedRefreshToken):
        world.refresh(pair)


def test_ruling_of_a_theft_is_remembered_as_long_as_access_tokens_live() -> None:
    """And no longer: a view holds so many rulings and no more."""
    world = World()
    pair = world.start()
    world.refresh(pair)
    world.time.now += 100
    with pytest.raises(ReusedRefreshToken):
        world.refresh(pair)
    ruling = Ruling.decode(world.server.rulings[world.standing.sid_handle(pair.session_id)])
    assert ruling.until == START + 100 + 900 + 3600


def test_grace_is_counted_on_the_stores_clock() -> None:
    """Two workers a minute apart agree on who is a racer."""
    world = World()
    ahead = World(world.server, seed=2, wall=START + 50)
    pair = world.start()
    fresh = world.refresh(pair)
    assert ahead.refresh(pair) == fresh
    world.time.now += 31
    behind = World(world.server, seed=3, wall=START - 50)
    with pytest.raises(ReusedRefreshToken):
        behind.refresh(pair)


def test_token_newer_than_the_stores_state_is_not_theft() -> None:
    """A store that came back with an older state of the session: 503, and nobody is logged out."""
    world = World()
    pair = world.start()
    row = world.server.sessions._rows[pair.session_id]
    before = row.record
    second = world.refresh(pair)
    third = world.refresh(second)
    world.server.sessions._rows[pair.session_id].record = before
    world.server.restart()
    world.server.open_epoch(world.store.watch, is_own=True)
    with pytest.raises(StoreUnavailable):
        world.refresh(third)
    assert len(world.list()) == 1


# A refresh that races something else


@pytest.mark.parametrize("first", [LookUp, Write])
@pytest.mark.parametrize("ending", ["end", "revoke", "theft"])
def test_refresh_that_races_a_logout_never_outlives_it(first: type, ending: str) -> None:
    """Whatever comes first: no pair is given, or a dead one; the session is over."""
    world = World()
    other = World(world.server, seed=2)
    pair = world.start()
    act = {
        "end": lambda: other.end(pair.session_id),
        "revoke": lambda: other.revoke(sub="alice"),
        "theft": lambda: other.run(other.rotation._end_stolen(other.run(other.standing.found(RefreshToken.decode(pair.refresh_token))))),
    }[ending]  # fmt: skip
    world.once_before(first, act)
    with pytest.raises(GrantError):
        world.refresh(pair)
    assert world.list() == []


@pytest.mark.parametrize("cut", [{"everything": True}, {"claim": ("tenant", "acme")}])
def test_refresh_that_races_a_cut_off_gives_nothing_that_lives(cut: dict[str, Any]) -> None:
    """The pair's stamp lies before the cut-off, and so does the session's."""
    world = World(handles=["tenant"])
    other = World(world.server, seed=2, handles=["tenant"])
    pair = world.start(claims={"tenant": "acme"})
    receipts: list[Any] = []
    world.once_before(Write, lambda: receipts.append(other.revoke(**cut)))
    fresh = world.refresh(pair)
    stamp = int(claims_of(fresh)["jgp"].partition(":")[2])
    assert stamp < int(receipts[0].position.partition(":")[2])
    with pytest.raises(GrantError):
        world.refresh(fresh)


def test_refresh_that_races_a_suspension_gives_nothing_more() -> None:
    """The next one is refused."""
    world = World()
    other = World(world.server, seed=2)
    pair = world.start()
    world.once_before(Write, other.suspend)
    fresh = world.refresh(pair)
    with pytest.raises(SubjectSuspended):
        world.refresh(fresh)


def test_endless_rivals_are_no_endless_wait() -> None:
    """Somebody always comes first: unavailable in the end."""
    world = World()
    pair = world.start()

    def between(effect: object) -> None:
        if isinstance(effect, Write):
            world.server.sessions._rows[pair.session_id].record += b" "

    world.between = between
    with pytest.raises(StoreUnavailable):
        world.refresh(pair)


# Fresh claims


def test_application_is_asked_for_the_claims_of_today() -> None:
    """Laid over the session's; None takes one away; they stay for the next refresh."""
    world = World()
    asked: list[Session] = []
    pair = world.start(claims={"roles": ["user"], "team": "red"}, scope="read", device="phone")

    def provider(session: Session) -> dict[str, Any]:
        asked.append(session)
        return {"roles": ["admin"], "team": None, "scope": "read write"}

    world.provider = provider
    claims = claims_of(world.refresh(pair))
    assert (claims["roles"], claims["scope"], "team" in claims) == (["admin"], "read write", False)
    assert (asked[0].subject, asked[0].device, asked[0].sid) == ("alice", "phone", pair.session_id)
    assert world.record(pair).claims["roles"] == ["admin"]


@pytest.mark.parametrize("scope", [None, [], ""])
def test_scope_that_is_gone_today_leaves_the_token(scope: Any) -> None:
    """However the application says so."""
    world = World()
    pair = world.start(scope="read")
    world.provider = lambda session: {"scope": scope}
    assert "scope" not in claims_of(world.refresh(pair))


def test_racer_asks_nobody() -> None:
    """The pair was made already."""
    world = World()
    world.provider = lambda session: {}
    pair = world.start()
    world.refresh(pair)
    world.effects.clear()
    world.refresh(pair)
    assert not any(isinstance(effect, AskClaims) for effect in world.effects)


@pytest.mark.parametrize("told", [{"sub": "bob"}, {"exp": 5}, {"sid": "x"}, {"a": object()}, {"scope": 'a"'}])
def test_claims_that_cannot_be_change_nothing(told: Any) -> None:
    """The application's mistake is told to the application, and the refresh token is still good."""
    world = World()
    pair = world.start()
    world.provider = lambda session: told
    with pytest.raises(ValueError):  # noqa: PT011
        world.refresh(pair)
    world.provider = lambda session: None
    assert world.refresh(pair)


def test_version_too_low_gives_no_pair() -> None:
    """What is issued the same gate admits: a bumped version wants a claim of today."""
    world = World(version_claim="ver")
    pair = world.start(claims={"ver": 1})
    world.require_version(2)
    with pytest.raises(GrantError):
        world.refresh(pair)
    world.provider = lambda session: {"ver": 2}
    assert claims_of(world.refresh(pair))["ver"] == 2


def test_new_tenant_is_judged_too() -> None:
    """A handle that the session did not have is looked up."""
    world = World(handles=["tenant"])
    pair = world.start(claims={"tenant": "old"})
    world.provider = lambda session: {"tenant": "new"}
    fresh = world.refresh(pair)
    assert claims_of(fresh)["tenant"] == "new"
    world.revoke(claim=("tenant", "new"))
    with pytest.raises(GrantError):
        world.refresh(fresh)


def test_tenant_cut_off_before_the_session_came_to_it_is_none_of_its_concern() -> None:
    """Moved after the cut-off, it goes on, however often it refreshes; cut off again, it ends."""
    world = World(handles=["tenant"])
    pair = world.start(claims={"tenant": "old"})
    world.revoke(claim=("tenant", "new"))
    world.provider = lambda session: {"tenant": "new"}
    pair = world.refresh(pair)
    pair = world.refresh(pair)
    assert claims_of(pair)["tenant"] == "new"
    world.revoke(claim=("tenant", "new"))
    with pytest.raises(GrantError):
        world.refresh(pair)


def test_handle_that_the_settings_made_one_is_of_the_login() -> None:
    """HANDLES came after the login: the claim was there all the time, and a cut-off after the login ends the session."""
    before = World()
    pair = before.start(claims={"tenant": "acme"})
    world = World(before.server, seed=2, handles=["tenant"])
    other = world.start("bob", claims={"tenant": "acme"})
    world.revoke(claim=("tenant", "acme"))
    for shown in (pair, other):
        with pytest.raises(GrantError):
            world.refresh(shown)
    later = world.start("carol", claims={"tenant": "acme"})
    assert world.refresh(world.refresh(later))


def test_claim_of_a_shape_that_names_nothing_ends_no_refresh() -> None:
    """HANDLES came later, and the claim was an object then: what the application says today counts."""
    before = World()
    pair = before.start(claims={"tenant": {"odd": 1}})
    world = World(before.server, seed=2, handles=["tenant"])
    world.provider = lambda session: {"tenant": "acme"}
    assert claims_of(world.refresh(pair))["tenant"] == "acme"


def test_what_joined_is_forgotten_with_the_claim() -> None:
    """The record holds only what the session has now."""
    world = World(handles=["tenant"])
    pair = world.start(claims={"tenant": "old"})
    world.provider = lambda session: {"tenant": "new"}
    pair = world.refresh(pair)
    assert len(world.record(pair).joined) == 1
    world.provider = lambda session: {"tenant": None}
    pair = world.refresh(pair)
    assert world.record(pair).joined == {}


def test_check_comes_before_any_change() -> None:
    """A cookie sent by another site rotates nothing and ends nothing."""
    world = World(has_csrf=True)
    pair = world.start()
    value = claims_of(pair)["csrf"]

    def check(csrf: str | None) -> None:
        assert csrf == value
        raise CrossSiteRequest("x")

    with pytest.raises(CrossSiteRequest):
        world.refresh(pair, check=check)
    assert len(world.writes()) == 1


@pytest.mark.parametrize("text", ["", "x", None, 5, b"jgr_", "jgr_" + "A" * 86, "Bearer x"])
def test_junk_is_no_grant(text: Any) -> None:
    """RFC 6749 §5.2: invalid_grant, whatever is shown; 503 only where it could have been lost."""
    with pytest.raises(GrantError):
        World().run(World().rotation.refresh(text))


# Any order of things


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.floats(0, 40)), min_size=1, max_size=25))
def test_no_history_of_uses_forks_a_session(steps: list[tuple[int, int, float]]) -> None:
    """Three processes use any token they ever got, at any time.

    At most one refresh token is good, as long as nobody used one twice after its grace; from then on none is.
    """
    world = World(grace_seconds=10.0)
    processes = [world, World(world.server, seed=2, grace_seconds=10.0), World(world.server, seed=3, grace_seconds=10.0)]
    pairs = [world.start()]
    used_at: dict[str, float] = {}
    is_stolen = False
    for process, back, seconds in steps:
        world.time.now += seconds
        pair = pairs[max(0, len(pairs) - 1 - back)]
        first = used_at.get(pair.refresh_token)
        try:
            fresh = processes[process].refresh(pair)
        except ReusedRefreshToken:
            assert first is not None and world.time.now - first >= 10.0 - 1e-6 and not is_stolen
            is_stolen = True
        except GrantError:
            assert is_stolen
        else:
            assert not is_stolen and (first is None or world.time.now - first < 10.0)
            used_at.setdefault(pair.refresh_token, world.time.now)
            if fresh not in pairs:
                pairs.append(fresh)
            assert fresh == pairs[-1], "everybody has the newest"
    assert len(world.list()) == (0 if is_stolen else 1)


def test_older_rows_under_the_same_epoch_are_no_theft() -> None:
    """H2: a backup put back into a running store is noticed a moment later; who shows what it lacks meanwhile gets 503."""
    world = World()
    first = world.start()
    older = deepcopy(world.server.sessions)
    second = world.refresh(first)
    world.server.sessions = older
    with pytest.raises(StoreUnavailable):
        world.refresh(second)
    assert [session.sid for session in world.list()] == [first.session_id]
