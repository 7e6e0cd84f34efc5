"""What a login makes, and which sessions there are (core.sessions, core.sessions.standing)."""

from __future__ import annotations

import math
from typing import Any

import jwt
import pytest
from core.sessions.session_world import DAY, SECRET, START, World, claims_of
from cryptography.hazmat.primitives.asymmetric import ec
from keymaking import pair_of

from jwtgate.core.effects import ListSessions, Write
from jwtgate.core.sessions.refresh_tokens import RefreshToken
from jwtgate.errors import GrantError, SettingsError, StoreUnavailable, SubjectSuspended


def test_login_gives_a_session_and_its_tokens() -> None:
    """RFC 9068 §2.2: the access token carries what the issue lists, and no more."""
    world = World(client_id="app")
    pair = world.start(scope="read write", claims={"roles": ["admin"]})
    claims = claims_of(pair)
    end = world.server.end
    assert world.server.record is not None and end is not None
    assert claims == {
        "sub": "alice",
        "sid": pair.session_id,
        "jti": claims["jti"],
        "iat": int(START),
        "exp": int(START) + 900,
        "auth_time": int(START),
        "client_id": "app",
        "scope": "read write",
        "roles": ["admin"],
        "jgp": f"{world.server.record.epoch.name}:{end.position}",
    }
    assert jwt.get_unverified_header(pair.access_token)["typ"] == "at+jwt"
    jwt.decode(pair.access_token, SECRET, ["HS256"], options={"verify_exp": False, "verify_iat": False})
    assert (pair.token_type, pair.expires_in) == ("Bearer", 900)


def test_store_keeps_no_token() -> None:
    """Digests alone: whoever reads the store cannot refresh."""
    world = World()
    pair = world.start()
    shown = RefreshToken.decode(pair.refresh_token)
    stored = world.store.look_up((), (pair.session_id,)).sessions[0]
    assert stored is not None
    kept = stored.record + stored.successors
    assert shown.digest.encode() in kept
    for secret in (pair.refresh_token[4:60], pair.access_token, shown.secret.hex(), shown.lineage.hex()):
        assert secret.encode() not in kept


def test_refresh_token_tells_its_session_and_its_end() -> None:
    """The hints that tell a lost session from one that never was."""
    world = World()
    shown = RefreshToken.decode(world.start().refresh_token)
    assert world.server.record is not None
    assert (shown.epoch, shown.generation, shown.expires_at) == (world.server.record.epoch.name, 0, int(START + 30 * DAY))


def test_login_is_one_step() -> None:
    """One round trip: the subject is judged in the very step that makes the session."""
    world = World()
    world.start()
    assert [type(effect) for effect in world.effects] == [Write]


def test_list_shows_what_was_given_at_login() -> None:
    """Newest first, with times in seconds."""
    world = World()
    old = world.start(device="laptop", ip="192.0.2.1", user_agent="Agent/1")
    world.time.now += 10
    new = world.start()
    world.start("bob")
    first, second = world.list()
    assert [first.sid, second.sid] == [new.session_id, old.session_id]
    assert (second.device, second.ip, second.user_agent, second.subject) == ("laptop", "192.0.2.1", "Agent/1", "alice")
    assert (second.created_at, second.last_seen_at, second.expires_at) == (START, START, START + 30 * DAY)
    assert (first.device, first.created_at) == (None, START + 10)
    assert world.list("nobody") == []


def test_session_ends_by_its_absolute_and_its_idle_end() -> None:
    """The list and the tokens know the earlier one; an access token never outlives it."""
    world = World(idle_seconds=600.0, session_seconds=1000.0)
    pair = world.start()
    assert pair.expires_in == 600
    assert world.list()[0].expires_at == START + 600
    world.time.now += 599
    fresh = world.refresh(pair)
    assert world.list()[0].expires_at == START + 1000
    assert fresh.expires_in == 401
    world.time.now += 401.5
    assert world.list() == []
    with pytest.raises(GrantError):
        world.refresh(fresh)


def test_session_that_was_not_refreshed_in_time_is_over() -> None:
    """IDLE_TTL."""
    world = World(idle_seconds=600.0)
    pair = world.start()
    world.time.now += 600.5
    with pytest.raises(GrantError):
        world.refresh(pair)


@pytest.mark.parametrize(
    "claims", [{"sid": "x"}, {"jti": "x"}, {"sub": "x"}, {"exp": 5}, {"jgp": "x"}, {"scope": "x"}, {"iss": "x"}]
)
def test_claims_that_are_the_gates_are_refused(claims: dict[str, Any]) -> None:
    """Interface §2: nothing is written then."""
    world = World()
    with pytest.raises(ValueError, match="claims may not set"):
        world.start(claims=claims)
    assert world.effects == []


@pytest.mark.parametrize(
    "given",
    [
        {"sub": ""}, {"sub": None}, {"sub": 5}, {"sub": "\ud800"}, {"scope": 'a"b'}, {"scope": " "}, {"claims": {"a": math.nan}},
        {"claims": {"a": object()}}, {"device": "x" * 1025}, {"ip": 5}, {"user_agent": "\ud800"}, {"claims": {"pad": "x" * 9000}},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_written(given: dict[str, Any]) -> None:
    """A ValueError names it; no session is left behind."""
    world = World()
    with pytest.raises(ValueError):  # noqa: PT011
        world.start(**given)
    assert world.effects == []


def test_pair_that_no_cookie_holds_is_refused_before_anything_is_written() -> None:
    """A pair that does not fit fails at issue time, with the size."""
    world = World()

    def check(pair: object) -> None:
        raise ValueError("5000 bytes")

    world.login.check_size = check
    with pytest.raises(ValueError, match="5000"):
        world.start()
    assert world.effects == []


def test_size_is_judged_by_a_token_as_long_as_the_real_one() -> None:
    """What the check is shown is never shorter than what is given out."""
    world = World()
    pair = world.start(claims={"pad": "x" * 500})
    (shown,) = world.sizes
    assert len(pair.access_token) <= len(shown.access_token) < len(pair.access_token) + 24
    assert shown.access_token.rpartition(".")[2].strip("A") == "", "and carries no signature"


def test_suspended_subject_gets_no_session() -> None:
    """New logins too; reinstated: new logins work."""
    world = World()
    world.suspend()
    with pytest.raises(SubjectSuspended):
        world.start()
    assert world.list() == []
    world.start("bob")
    world.reinstate()
    assert world.start()


def test_csrf_value_stays_with_the_session() -> None:
    """Double-submit is bound to the session: drawn at login, kept through refreshes."""
    world = World(has_csrf=True)
    pair = world.start()
    value = claims_of(pair)["csrf"]
    assert isinstance(value, str) and len(value) >= 16
    assert claims_of(world.refresh(pair))["csrf"] == value
    assert claims_of(world.start())["csrf"] != value
    with pytest.raises(ValueError, match="csrf"):
        world.start(claims={"csrf": "mine"})


def test_application_may_say_when_the_user_logged_in() -> None:
    """A login by an identity provider brings its own auth_time."""
    assert claims_of(World().start(claims={"auth_time": 1000}))["auth_time"] == 1000


# MAX_SESSIONS


def test_second_login_ends_the_first() -> None:
    """One login at a time; the ended one is refused everywhere by a ruling on its sid."""
    world = World(most=1)
    first, second = world.start(), world.start()
    assert [session.sid for session in world.list()] == [second.session_id]
    with pytest.raises(GrantError):
        world.refresh(first)
    handle = world.standing.sid_handle(first.session_id)
    assert world.view.rulings[handle] == world.server.rulings[handle], "known here at once"
    assert world.refresh(second)


def test_oldest_ends() -> None:
    """MAX_SESSIONS=3, five logins: the last three live."""
    world = World(most=3)
    pairs = []
    for _ in range(5):
        world.time.now += 1
        pairs.append(world.start())
    assert [session.sid for session in world.list()] == [pair.session_id for pair in pairs[:1:-1]]


def test_refresh_does_not_make_a_session_younger() -> None:
    """Oldest is by login."""
    world = World(most=2)
    first = world.start()
    world.time.now += 1
    world.start()
    world.time.now += 1
    world.refresh(first)
    third = world.start()
    assert first.session_id not in [session.sid for session in world.list()]
    assert third.session_id in [session.sid for session in world.list()]


def test_logins_at_once_leave_one() -> None:
    """Whoever has not seen the other's session looks again."""
    world = World(most=1)
    other = World(world.server, seed=2, most=1)
    pairs = []
    world.once_before(Write, lambda: pairs.append(other.start()))
    pairs.append(world.start())
    assert [session.sid for session in world.list()] == [pairs[1].session_id]
    with pytest.raises(GrantError):
        other.refresh(pairs[0])


def test_subject_with_more_sessions_than_one_look_tells_can_log_in() -> None:
    """MAX_SESSIONS came later than the sessions: they end in batches."""
    server = World().server
    crowd = World(server)
    for _ in range(1003):
        crowd.time.now += 0.001
        crowd.start()
    world = World(server, seed=2, most=2)
    world.time.now += 1
    pair = world.start()
    live = world.list()
    assert len(live) == 2
    assert pair.session_id == live[0].sid


def test_endless_rivals_are_no_endless_wait() -> None:
    """After so many tries the store is called unavailable, and nothing is left behind."""
    world = World(most=1)
    rival = World(world.server, seed=2)

    def between(effect: object) -> None:
        if isinstance(effect, Write):
            rival.start()

    world.between = between
    with pytest.raises(StoreUnavailable):
        world.start()
    assert sum(isinstance(effect, ListSessions) for effect in world.effects) == 32


# Which one is live


@pytest.mark.parametrize(
    "target",
    [{"sub": "alice"}, {"everything": True}, {"claim": ("tenant", "acme")}, {"claim": ("client_id", "app")}],
)
def test_cut_off_ends_the_sessions_before_it(target: dict[str, Any]) -> None:
    """By position: a login right after it lives, in the same second and on another process whose clock is off."""
    world = World(handles=["tenant"], client_id="app")
    old = world.start(claims={"tenant": "acme"})
    world.revoke(**target)
    late = World(world.server, seed=2, wall=START - 50, handles=["tenant"], client_id="app")
    new = late.start(claims={"tenant": "acme"})
    for process in (world, late):
        with pytest.raises(GrantError):
            process.refresh(old)
    assert [session.sid for session in world.list()] == [new.session_id]
    assert late.refresh(new)


def test_cut_off_of_somebody_else_ends_nothing() -> None:
    """Another subject, another tenant."""
    world = World(handles=["tenant"])
    pair = world.start(claims={"tenant": "acme"})
    world.revoke(sub="bob")
    world.revoke(claim=("tenant", "other"))
    assert world.refresh(pair)


def test_access_only_leaves_the_session() -> None:
    """Roles changed: the next refresh carries fresh ones."""
    world = World()
    pair = world.start()
    world.revoke(sub="alice", access_only=True)
    fresh = world.refresh(pair)
    assert claims_of(fresh)["jgp"] == f"{world.server.record.epoch.name}:1"  # type: ignore[union-attr]


def test_suspension_refuses_the_refresh_until_it_is_lifted() -> None:
    """The session is still there; the subject is refused."""
    world = World()
    pair = world.start()
    world.suspend()
    with pytest.raises(SubjectSuspended):
        world.refresh(pair)
    assert len(world.list()) == 1
    world.reinstate()
    assert world.refresh(pair)


def test_what_this_process_knows_refuses() -> None:
    """R1: a ruling that the store has lost with its history still ends the session."""
    world = World()
    pair = world.start()
    world.revoke(everything=True)
    digest = world.standing.policy.everything
    del world.server.rulings[digest]
    with pytest.raises(GrantError):
        world.refresh(pair)
    other = World(world.server, seed=2)
    assert other.refresh(pair), "nobody else knows"


def test_unreadable_ruling_or_record_is_an_outage() -> None:
    """What it would say cannot be known: 503, never 400 and never a pair."""
    world = World()
    pair = world.start()
    world.server.rulings[world.standing.sid_handle(pair.session_id)] = b"junk"
    with pytest.raises(StoreUnavailable):
        world.refresh(pair)


# Lost history (L3)


def test_session_lost_with_the_history_is_not_called_ended() -> None:
    """503, so that clients keep their refresh token, until somebody says that all is over."""
    world = World()
    pair = world.start()
    world.server.flush()
    world.server.open_epoch(world.store.watch, is_own=True)
    with pytest.raises(StoreUnavailable, match="lost"):
        world.refresh(pair)
    assert world.start(), "new logins work"
    world.revoke(everything=True)
    with pytest.raises(GrantError):
        world.refresh(pair)


def test_session_past_its_end_is_ended_in_any_history() -> None:
    """Whoever comes back after a month is told to log in."""
    world = World()
    pair = world.start()
    world.server.flush()
    world.server.open_epoch(world.store.watch, is_own=True)
    world.time.now += 30 * DAY + 1
    with pytest.raises(GrantError):
        world.refresh(pair)


def test_idle_session_is_ended_in_any_history() -> None:
    """The token itself tells when it would end unused: whoever comes back later is told to log in, restart or not."""
    world = World(idle_seconds=600.0)
    pair = world.refresh(world.start())
    assert RefreshToken.decode(pair.refresh_token).expires_at == int(START) + 600
    world.time.now += 601
    world.server.restart()
    world.server.open_epoch(world.store.watch, is_own=True)
    with pytest.raises(GrantError):
        world.refresh(pair)


def test_absent_session_of_this_history_is_ended() -> None:
    """Expired, or never there: 400."""
    world = World()
    pair = world.start()
    shown = RefreshToken.decode(pair.refresh_token)
    forged = RefreshToken(b"x" * 16, shown.secret, shown.epoch, 0, shown.expires_at)
    with pytest.raises(GrantError):
        world.run(world.rotation.refresh(forged.encode()))


def test_ended_session_is_ended_in_any_history() -> None:
    """Its mark outlives a restart with data, and is no lost session."""
    world = World()
    pair = world.start()
    world.end(pair.session_id)
    world.server.restart()
    world.server.open_epoch(world.store.watch, is_own=True)
    other = World(world.server, seed=2)
    with pytest.raises(GrantError):
        other.refresh(pair)


def test_nothing_is_granted_while_the_history_heals() -> None:
    """L2: 503 until healed; a known ruling refuses all the while, and logins are accepted."""
    world = World()
    pair, ended = world.start(), world.start()
    world.end(ended.session_id)
    world.server.restart()
    with pytest.raises(StoreUnavailable, match="healing"):
        world.refresh(pair)
    assert world.start("carol")
    with pytest.raises(StoreUnavailable):
        world.run(world.rotation.session_of(pair.refresh_token))
    with pytest.raises((GrantError, StoreUnavailable)):
        world.refresh(ended)


def test_answer_older_than_a_lease_is_not_used() -> None:
    """R2."""
    world = World()
    pair = world.start()
    answer = world.answer

    def slow(effect: Any) -> Any:
        found = answer(effect)
        world.time.now += 1.1
        return found

    world.answer = slow  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="lease"):
        world.refresh(pair)


def test_refresh_token_that_could_be_used_tells_its_session() -> None:
    """Introspection changes nothing; a spent one is of no use."""
    world = World()
    pair = world.start(device="phone")
    assert world.run(world.rotation.session_of(pair.refresh_token)).device == "phone"
    fresh = world.refresh(pair)
    assert world.run(world.rotation.session_of(pair.refresh_token)).sid == pair.session_id, "a racer's is taken, too"
    world.time.now += 31
    with pytest.raises(GrantError):
        world.run(world.rotation.session_of(pair.refresh_token))
    assert world.run(world.rotation.session_of(fresh.refresh_token)).sid == pair.session_id
    assert len(world.writes()) == 2


def test_process_that_only_verifies_cannot_log_in() -> None:
    """No key signs."""
    world = World(secret=None, public_key=pair_of(ec.generate_private_key(ec.SECP256R1())).public_pem)
    with pytest.raises(SettingsError):
        world.start()
