"""What follows from what a provider tells: which tokens and sessions are dead from then on, and which live."""

from __future__ import annotations

from typing import Any

import pytest
from core.hearing_world import NOW, OWN, PROVIDER, HearingWorld
from core.sessions.session_world import claims_of
from provider_tokens import (
    CAEP,
    CREDENTIAL_CHANGE,
    LACKING,
    PAIRS,
    SESSION_REVOKED,
    SSF,
    TRANSMITTER,
    access,
    event,
    issuers,
    logout,
    subject,
)

from jwtgate.core.effects import LookUp, Pause, Write
from jwtgate.core.history import NotDurable, Worker
from jwtgate.core.keys.ring import KeyRing, KeysDue
from jwtgate.core.partitioning import partition_of
from jwtgate.core.providers.hearing import ANSWER_SECONDS, KEYS_SECONDS
from jwtgate.core.rulings import Ruling
from jwtgate.core.view import View
from jwtgate.errors import (
    GrantError,
    InvalidToken,
    KeysUnavailable,
    StoreUnavailable,
    SubjectSuspended,
    UnavailableError,
    UnknownKey,
)
from jwtgate.settings import Settings


@pytest.fixture
def world() -> HearingWorld:
    """One, fresh."""
    return HearingWorld()


def sent(world: HearingWorld, kind: type) -> int:
    """Effects of a kind since the world began."""
    return sum(isinstance(effect, kind) for effect in world.effects)


# --- logout: whose tokens die


def test_sid_kills_the_session_and_no_other(world: HearingWorld) -> None:
    """OpenID Connect Back-Channel Logout §2.7: that session; without sub not even tokens that name none."""
    own, other, none = (access(sid=sid, jti=f"j{sid}") for sid in ("s1", "s2", LACKING))
    world.later(1)
    receipt = world.logout(logout(sub=LACKING))
    assert receipt.effective_everywhere
    assert [world.is_live(token) for token in (own, other, none)] == [False, True, True]


def test_sid_kills_tokens_that_were_issued_after(world: HearingWorld) -> None:
    """A session that is over gives no tokens: what comes late carries its name."""
    world.logout(logout())
    world.later(100)
    assert not world.is_live(world.provider_token(100, sid="s1"))


def test_sub_and_sid_kill_the_session_and_tokens_that_name_none(world: HearingWorld) -> None:
    """Many providers put no sid into access tokens; the subject's other sessions live, and other subjects."""
    dead = [access(sid="s1"), access(), access(sub="u1", jti=LACKING)]
    live = [access(sid="s2"), access(sub="u2"), access(sub=LACKING, sid=LACKING)]
    world.logout(logout())
    assert [world.is_live(token) for token in dead] == [False] * 3
    assert [world.is_live(token) for token in live] == [True] * 3


def test_sub_alone_kills_all_that_the_subject_had(world: HearingWorld) -> None:
    """§2.7: every session of the subject; nobody else's."""
    dead = [access(sid="s1"), access(sid="s2"), access()]
    world.logout(logout(sid=LACKING))
    assert [world.is_live(token) for token in dead] == [False] * 3
    assert world.is_live(access(sub="u2"))


@pytest.mark.parametrize("how", [{}, {"sid": LACKING}])
def test_what_began_after_the_logout_lives(world: HearingWorld, how: dict[str, Any]) -> None:
    """By the provider's time, however late it is told; the second of the logout itself is refused."""
    world.later(60)
    world.logout(logout(**how))  # told a minute late
    for issued, is_live in ((-5, False), (0, False), (1, True), (30, True)):
        assert world.is_live(world.provider_token(issued, jti=f"j{issued}")) is is_live


def test_time_to_come_counts_as_now(world: HearingWorld) -> None:
    """A provider whose clock is a minute ahead does not lock its users out for a minute."""
    world.logout(logout(sid=LACKING, iat=NOW + 59, exp=NOW + 200))
    assert not world.is_live(world.provider_token(0))
    world.later(3)
    assert world.is_live(world.provider_token(2))


def test_leeway_widens_the_ambiguous_second() -> None:
    """JWTGATE_LEEWAY is how far the provider's clocks may be apart."""
    world = HearingWorld(leeway=5.0)
    world.later(10)
    world.logout(logout(sid=LACKING))
    assert not world.is_live(world.provider_token(5)) and world.is_live(world.provider_token(6))


def test_earlier_logout_never_takes_a_later_one_back(world: HearingWorld) -> None:
    """Told in any order: the strictest stands (threat 15)."""
    world.later(50)
    world.logout(logout(sid=LACKING, iat=NOW + 40, exp=NOW + 160, jti="later"))
    world.logout(logout(sid=LACKING, iat=NOW + 10, exp=NOW + 130, jti="earlier"))
    assert not world.is_live(world.provider_token(40)) and world.is_live(world.provider_token(41))


@pytest.mark.parametrize(("own", "theirs"), [(0, 30), (30, 30), (60, 30)])
def test_linked_session_forgives_the_clock_of_its_provider(own: float, theirs: float) -> None:
    """Within the leeway it is ambiguous, so it ends, as the provider's token of that second does; and no sooner."""
    leeways = (own, theirs, 0)
    world = HearingWorld(issuers=[{**entry, "leeway": each} for entry, each in zip(issuers(), leeways, strict=True)])
    world.later(100)
    began = int(world.clock.wall())
    pair = world.start("u1", link=world.targets.link((PROVIDER, "s1", "u1")))
    earlier, ago = began - int(max(own, theirs)) - 2, began - int(theirs)
    world.logout(logout(sid=LACKING, iat=earlier, exp=began + 120, jti="long before"))
    pair = world.refresh(pair)
    assert world.is_live(pair.access_token)
    world.logout(logout(sid=LACKING, iat=ago, exp=began + 120, jti="by a clock that is behind"))
    assert not world.is_live(pair.access_token) and not world.is_live(access(began, iat=began))
    with pytest.raises(GrantError):
        world.refresh(pair)


def test_subject_of_one_issuer_is_nobody_at_another(world: HearingWorld) -> None:
    """Handles belong to a configured issuer; u1 of ours lives."""
    pair = world.start("u1")
    world.logout(logout(sid=LACKING))
    world.later(1)
    assert world.is_live(pair.access_token) and world.refresh(pair)


def test_who_issues_its_own_tokens_alone_has_no_further_handle() -> None:
    """Only where a provider may tell of the end of a session; of its tokens wherever they are shown, since others may hear."""
    entries = [
        {name: value for name, value in entry.items() if "_audience" not in name and name != "admits"} for entry in issuers()
    ]
    policies = HearingWorld(issuers=entries).policies
    marks = {issuer: policy.marks_sessionless for issuer, policy in policies.items()}
    assert marks == {OWN: False, PROVIDER: True, TRANSMITTER: True}
    assert not Settings(secret="s" * 40, issuer=OWN).policies[OWN].marks_sessionless
    assert all(policy.marks_sessionless for policy in HearingWorld().policies.values())


def test_unknown_session_is_fine(world: HearingWorld) -> None:
    """Whether there was one is nobody's business."""
    assert world.logout(logout(sid="never-seen", sub="nobody")) is not None


# --- one write, heard once


def test_all_of_it_is_one_write(world: HearingWorld) -> None:
    """With the memory of having heard it: what failed is never taken for done."""
    world.logout(logout())
    (write,) = world.writes()
    assert len(write.changes) == 3 and sent(world, LookUp) == 1


@pytest.mark.parametrize("how", [{}, {"sid": LACKING}, {"sub": LACKING}])
def test_told_again_it_is_acknowledged_and_does_nothing(world: HearingWorld, how: dict[str, Any]) -> None:
    """A provider that had no answer tells again, or somebody replays what he saw."""
    token = logout(**how)
    assert world.logout(token) is not None
    end = world.server.end
    fresh = HearingWorld()
    fresh.server = world.server  # another process that knows nothing
    fresh.store.server = world.server
    for each in (world, fresh):
        assert each.logout(token) is None
    assert world.server.end == end and len(world.writes()) == 1 and fresh.writes() == []


def test_replay_spares_who_logged_in_meanwhile(world: HearingWorld) -> None:
    """Also where the memory of it was lost with the store."""
    token = logout(sid=LACKING)
    world.logout(token)
    world.later(5)
    fresh = world.provider_token(5)
    assert world.logout(token) is None and world.is_live(fresh)
    world.server.rulings.clear()
    world.view.rulings.clear()
    world.logout(token)
    assert world.is_live(fresh)


def test_failed_write_is_not_remembered_as_done(world: HearingWorld) -> None:
    """The same token told again does it."""
    token = logout()
    world.store.is_down = True
    with pytest.raises(StoreUnavailable):
        world.logout(token)
    world.store.is_down = False
    assert world.logout(token) is not None and not world.is_live(access(sid="s1"))


@pytest.mark.parametrize("is_store_up", [True, False])
def test_write_that_is_not_durable_is_done_again_when_it_is_told_again(world: HearingWorld, is_store_up: bool) -> None:
    """JWTGATE_DURABILITY, and a journal that does not answer: 503, and then not the success that it was not."""
    token = logout()
    plan = world.hearing.logout(token)
    effect = plan.send(world.answer(next(plan)))
    assert isinstance(effect, Write)
    written = world.answer(effect)
    lifting = plan.throw(NotDurable(written, "no replica has it"))
    assert isinstance(lifting, Write)
    with pytest.raises(NotDurable):
        if is_store_up:
            plan.send(world.answer(lifting))
        else:
            plan.throw(StoreUnavailable("gone"))
    assert not world.is_live(access(sid="s1"))
    assert (world.logout(token) is not None) is is_store_up


def test_two_at_once_come_to_the_same(world: HearingWorld) -> None:
    """Both may look before either has written."""
    token = logout(sid=LACKING)
    first, second = world.hearing.logout(token), world.hearing.logout(token)
    effects = [next(first), next(second)]
    assert all(isinstance(effect, LookUp) for effect in effects)
    answers = [world.answer(effect) for effect in effects]
    for plan, answered in zip((first, second), answers, strict=True):
        effect = plan.send(answered)
        assert isinstance(effect, Write)
        with pytest.raises(StopIteration) as end:
            effect = plan.send(world.answer(effect))
            while True:
                effect = plan.send(world.answer(effect))
        assert end.value.value.effective_everywhere
    world.later(5)
    assert not world.is_live(access()) and world.is_live(world.provider_token(1))


def test_jti_of_a_logout_is_not_that_of_an_event_nor_of_another_issuer() -> None:
    """Each provider draws its own, and each kind of statement."""
    entries = issuers()
    entries[1] |= {"events_audience": "shop-api"}
    entries.append({"issuer": "https://b.example", "public_key": PAIRS["p384"].public_pem, "logout_audience": "shop-web"})
    world = HearingWorld(issuers=entries)
    assert world.logout(logout(jti="same")) is not None
    assert world.logout(logout(jti="same", iss="https://b.example", key="p384", alg="ES384")) is not None
    assert world.events(event(jti="same", iss=PROVIDER, key="p256", alg="ES256")) is not None
    assert world.logout(logout(jti="same")) is None


def test_memory_of_it_stands_in_the_last_step_of_several_partitions() -> None:
    """Where a write takes several steps a failure between them must not look like success."""
    for number in range(40):
        world = HearingWorld()
        world.view = View(world.view.lock, lease_seconds=1.0, grace_seconds=0.0, admitted_limit=9, rulings_limit=99,
                          wide_handles=frozenset(), partitions=8)  # fmt: skip
        world.hearing.view = world.view
        plan = world.hearing.logout(logout(sid=f"s{number}"))
        plan.send(world.answer(next(plan)))
        changes = _written(world, number)
        places = [partition_of(change.digest, 8) for change in changes]
        assert places[-1] == max(places)


def _written(world: HearingWorld, number: int) -> Any:
    plan = world.hearing.logout(logout(sid=f"s{number}"))
    effect = plan.send(world.answer(next(plan)))
    assert isinstance(effect, Write)
    return effect.changes


# --- costs, keys, failures


@pytest.mark.parametrize("forged", [logout(key="p384", alg="ES384"), logout({"alg": "ES384"}), b"x", logout(aud="x"), access()])
def test_forged_ones_cost_no_call_to_the_store(world: HearingWorld, forged: bytes) -> None:
    """Threat 9: the signature comes before any look-up."""
    with pytest.raises(InvalidToken):
        world.logout(forged)
    with pytest.raises(InvalidToken):
        world.events(forged)
    assert world.effects == []


def test_key_that_was_retired_speaks_for_nobody(world: HearingWorld) -> None:
    """Whoever has stolen it may not log anybody out."""
    key = world.policies[PROVIDER].keys.keys[0]
    world.run(world.revoker.revoke(world.targets.keys((key.handle,)), events=(), wait=False))
    with pytest.raises(UnknownKey):
        world.logout(logout())
    world.view.rulings.clear()
    with pytest.raises(UnknownKey):
        world.logout(logout())
    assert world.is_live(world.start().access_token)


def test_new_key_of_a_provider_is_waited_for(world: HearingWorld) -> None:
    """It tells once: 503 would lose the logout for the sake of a fetch that is under way."""
    policy = world.policies[PROVIDER]
    whole = policy.keys
    policy.turn_to(KeyRing((), doubts=lambda _: KeysDue("on its way"), is_whole=False))
    plan = world.hearing.logout(logout())
    assert isinstance(next(plan), Pause)
    policy.turn_to(whole)
    world.later(0.02)
    assert isinstance(plan.send(None), LookUp)


def test_key_that_does_not_come_is_503(world: HearingWorld) -> None:
    """Within a second or so, and without a call to the store."""
    policy = world.policies[PROVIDER]
    policy.turn_to(KeyRing((), doubts=lambda _: KeysUnavailable("not there"), is_whole=False))
    with pytest.raises(KeysUnavailable):
        world.logout(logout())
    assert world.time.now == 0, "the provider does not answer: nobody waits for it"
    policy.turn_to(KeyRing((), doubts=lambda _: KeysDue("on its way"), is_whole=False))
    with pytest.raises(KeysUnavailable):
        world.logout(logout())
    assert KEYS_SECONDS <= world.time.now < KEYS_SECONDS + 0.1
    assert sent(world, LookUp) == sent(world, Write) == 0


def test_store_that_only_answers_writes_is_enough(world: HearingWorld) -> None:
    """A logout is not lost for want of a look."""
    plan = world.hearing.logout(logout())
    assert isinstance(next(plan), LookUp)
    assert isinstance(plan.throw(StoreUnavailable("circuit open")), Write)


def test_store_down_is_503(world: HearingWorld) -> None:
    """Never a success that is none (threat 14)."""
    world.store.is_down = True
    with pytest.raises(StoreUnavailable):
        world.logout(logout())


def test_answer_comes_before_a_provider_gives_up(world: HearingWorld) -> None:
    """A worker that is silent for a long reach is not waited out: the receipt says what is not known yet."""
    world.store.renew(Worker("silent", 30.0, -1, 0, is_healing=False), None)
    receipt = world.logout(logout())
    assert ANSWER_SECONDS <= world.time.now < ANSWER_SECONDS + 0.2
    assert not receipt.effective_everywhere
    assert receipt.effective_by == pytest.approx(NOW + 30, abs=0.5)


# --- sessions of ours that hang on the provider's


def linked(world: HearingWorld, sid: str | None = "s1", sub: str | None = "u1", **more: Any) -> Any:
    """A session of ours after a login at the provider."""
    return world.start("alice", link=world.targets.link((PROVIDER, sid, sub)), **more)


HOW = {"sid and sub": {}, "sid": {"sub": LACKING}, "sub": {"sid": LACKING}}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("sid", "sub"), [("s1", "u1"), ("s1", None), (None, "u1")])
def test_one_ruling_ends_both(world: HearingWorld, how: str, sid: str | None, sub: str | None) -> None:
    """The access token, the refresh and the list: as far as the link names what is told."""
    pair = linked(world, sid, sub)
    other = world.start("alice", link=world.targets.link((PROVIDER, "s2", None if sub is None else "u2")))
    plain = world.start("alice")
    world.later(1)
    world.logout(logout(**HOW[how], iat=NOW + 1))
    is_named = (how, sid, sub) not in {("sub", "s1", None), ("sid", None, "u1")}
    assert world.is_live(pair.access_token) is not is_named
    assert world.is_live(other.access_token) and world.is_live(plain.access_token)
    assert (pair.session_id in {session.sid for session in world.list()}) is not is_named
    if is_named:
        with pytest.raises(GrantError):
            world.refresh(pair)
    else:
        world.refresh(pair)


def test_refreshed_tokens_hang_on_it_as_well(world: HearingWorld) -> None:
    """The beginning of the session counts, not the iat of a token refreshed since; ROTATE_AFTER keeps the claim too."""
    pair = linked(world)
    world.later(100)
    fresh = world.refresh(pair)
    assert claims_of(fresh)["jgu"] == claims_of(pair)["jgu"]
    world.logout(logout(sid=LACKING, iat=NOW + 50, exp=NOW + 170))
    assert not world.is_live(fresh.access_token)
    with pytest.raises(GrantError):
        world.refresh(fresh)


@pytest.mark.parametrize("how", [{"sid": LACKING}, {"sid": "s0"}])
def test_session_that_began_after_the_logout_lives(world: HearingWorld, how: dict[str, Any]) -> None:
    """Though the logout is told later; and one of the same second does not."""
    early = linked(world, None)
    world.later(2)
    late = linked(world, None)
    world.later(30)
    world.logout(logout(**how, iat=NOW))
    assert not world.is_live(early.access_token)
    assert world.is_live(late.access_token) and world.refresh(late)


def test_token_names_nobody_at_the_provider(world: HearingWorld) -> None:
    """Digests only; and what an application passes for claims may not set it."""
    claims = claims_of(linked(world))
    assert claims["jgu"]["at"] == NOW and set(claims["jgu"]) == {"at", "sid", "sub", "sessions"}
    assert "u1" not in str(claims) and "s1" not in str(claims["jgu"])
    with pytest.raises(ValueError, match="jgu"):
        world.start(claims={"jgu": {}})


def test_providers_token_cannot_claim_a_link(world: HearingWorld) -> None:
    """Believed under our own key alone; there a malformed one is refused."""
    assert world.is_live(access(jgu={"at": 0, "sub": "x"}))
    assert world.is_live(access(jgu=7))
    for wrong in (7, {}, {"at": 1}, {"at": "1", "sid": "A" * 22}, {"at": 1, "sid": "A"}, {"at": 1, "jti": "A" * 22}, [1]):
        made = world.issuer.payload(world.standing.policy, "alice", {"jgu": wrong}, NOW + 900.0)
        assert world.verdict(world.issuer.sign(world.standing.policy, made, "AAAAAAAAAAA:1")) == "malformed"


def test_link_to_a_session_that_has_ended_starts_nothing(world: HearingWorld) -> None:
    """The logout overtook the login."""
    world.logout(logout(sub=LACKING))
    with pytest.raises(GrantError):
        linked(world)
    assert world.list() == []


def test_subject_suspended_at_the_provider_is_so_here(world: HearingWorld) -> None:
    """And lifted with it: the session lives on."""
    pair = linked(world)
    world.run(world.revoker.revoke(world.targets.suspended("u1", PROVIDER), events=(), wait=False))
    assert not world.is_live(pair.access_token)
    with pytest.raises(SubjectSuspended):
        world.refresh(pair)
    with pytest.raises(SubjectSuspended):
        linked(world, "s3")
    assert len(world.list()) == 1
    world.run(world.revoker.revoke(world.targets.reinstated("u1", PROVIDER, world.clock.wall()), events=(), wait=False))
    assert world.is_live(pair.access_token) and world.refresh(pair)


def test_operators_revocation_at_the_provider_reaches_it_too(world: HearingWorld) -> None:
    """By position, as any cut-off: a login right after it lives. access_only leaves the session."""
    pair, narrow = linked(world), linked(world)
    world.revoke(sub="u1", issuer=PROVIDER, access_only=True)
    assert not world.is_live(narrow.access_token)
    assert world.is_live(world.refresh(narrow).access_token)
    world.revoke(sub="u1", issuer=PROVIDER)
    assert not world.is_live(pair.access_token)
    with pytest.raises(GrantError):
        world.refresh(pair)
    assert world.is_live(linked(world).access_token)


@pytest.mark.parametrize(
    "upstream",
    [
        (PROVIDER,), [PROVIDER, "s", "u"], (PROVIDER, None, None), ("https://x.example", "s", "u"), (None, "s", "u"),
        (PROVIDER, "", "u"), (PROVIDER, 7, "u"), (PROVIDER, "s", "\ud800"), (7, "s", "u"), "abc", (PROVIDER, "s" * 9000, None),
    ],
)  # fmt: skip
def test_link_that_cannot_be_is_a_value_error(world: HearingWorld, upstream: Any) -> None:
    """Before anything is written."""
    with pytest.raises(ValueError, match="issuer|upstream|sid|sub"):
        world.targets.link(upstream)


def test_own_issuer_may_be_the_provider() -> None:
    """One namespace: keys of both under one ISSUER. All sessions of the subject end, linked or not, by their beginning."""
    given = {
        "issuers": None,
        "issuer": PROVIDER,
        "private_key": PAIRS["rsa"].private_pem,
        "public_key": PAIRS["p256"].public_pem,
    }
    world = HearingWorld(**given, logout_audience=["shop-web"])
    policy_of_both = world.targets.link((PROVIDER, "s1", "alice"))
    pair, plain, other = world.start(link=policy_of_both), world.start(), world.start("bob")
    world.later(10)
    late = world.start()
    pair, plain = world.refresh(pair), world.refresh(plain)  # after the logout, which is not told yet
    world.logout(logout(sub="alice", sid=LACKING, iat=NOW + 5, exp=NOW + 99))
    assert [world.is_live(each.access_token) for each in (pair, plain, late, other)] == [False, False, True, True]
    for each in (pair, plain):
        with pytest.raises(GrantError):
            world.refresh(each)
    assert world.refresh(late) and world.refresh(other)


# --- events


def test_session_revoked_acts_as_a_logout(world: HearingWorld) -> None:
    """CAEP 1.0 §3.1, of a subject at a configured issuer, by the time of the event."""
    pair = linked(world)
    world.later(100)
    world.events(event(iat=NOW + 90, events={SESSION_REVOKED: {"event_timestamp": NOW + 20.5}}))
    assert not world.is_live(pair.access_token)
    assert not world.is_live(world.provider_token(21)) and world.is_live(world.provider_token(22))


def test_without_a_time_of_its_own_an_event_has_that_of_its_token(world: HearingWorld) -> None:
    """CAEP 1.0 §2."""
    world.later(100)
    world.events(event(iat=NOW + 40))
    assert not world.is_live(world.provider_token(40)) and world.is_live(world.provider_token(41))


def complex_subject(**parts: Any) -> dict[str, Any]:
    """Shared Signals Framework §3.3."""
    return {"format": "complex", **parts}


def opaque(name: str) -> dict[str, str]:
    """RFC 9493 §3.2.5."""
    return {"format": "opaque", "id": name}


def test_session_of_a_subject_is_the_narrower(world: HearingWorld) -> None:
    """Of the subject's issuer, with tokens that name no session; others of the subject live."""
    world.events(event(sub_id=complex_subject(user=subject(), session=opaque("s1"), device=opaque("d"))))
    assert [world.is_live(access(**each)) for each in ({"sid": "s1"}, {}, {"sid": "s2"})] == [False, False, True]


def test_user_alone_of_a_complex_subject_loses_all(world: HearingWorld) -> None:
    """Parts that cannot be told apart here leave no session out."""
    world.events(event(sub_id=complex_subject(user=subject(), device=opaque("d"))))
    assert [world.is_live(access(**each)) for each in ({"sid": "s1"}, {})] == [False, False]


def test_opaque_alone_is_a_session_of_the_transmitters(world: HearingWorld) -> None:
    """By agreement."""
    entries = issuers()
    entries[1] |= {"events_audience": "shop-api"}
    world = HearingWorld(issuers=entries)
    world.events(event(iss=PROVIDER, key="p256", alg="ES256", sub_id=opaque("s1")))
    assert not world.is_live(access(sid="s1")) and world.is_live(access(sid="s2"))


def test_jwt_id_is_one_token(world: HearingWorld) -> None:
    """Shared Signals Framework §3.5.1."""
    world.events(event(sub_id={"format": "jwt_id", "iss": PROVIDER, "jti": "a1"}))
    assert not world.is_live(access()) and world.is_live(access(jti="a2"))


def test_aliases_are_all_acted_on(world: HearingWorld) -> None:
    """RFC 9493 §3.2.8: several names of one subject."""
    world.events(
        event(sub_id={"format": "aliases", "identifiers": [subject(), subject("u2"), {"format": "uri", "uri": "x:y"}]})
    )
    assert [world.is_live(access(sub=sub)) for sub in ("u1", "u2", "u3")] == [False, False, True]


def test_old_style_subjects_are_understood(world: HearingWorld) -> None:
    """Drafts before 1.0 put it into the event, and called the format otherwise; both the same are one."""
    old = {"subject_type": "iss-sub", "iss": PROVIDER, "sub": "u1"}
    world.events(event(sub_id=LACKING, events={SESSION_REVOKED: {"subject": old}}))
    assert not world.is_live(access())
    both = event(jti="e2", sub_id=subject("u2"), events={SESSION_REVOKED: {"subject": subject("u2")}})
    assert world.events(both) is not None and not world.is_live(access(sub="u2"))
    bare = {"user": {"subject_type": "iss_sub", "iss": PROVIDER, "sub": "u3"}}
    assert world.events(event(jti="e3", sub_id=LACKING, events={SESSION_REVOKED: {"subject": bare}})) is not None
    assert not world.is_live(access(sub="u3"))


def test_partner_that_issues_tokens_speaks_of_its_own_alone() -> None:
    """It may log out its users; ours and those of other issuers are none of its business. An application may say otherwise."""
    entries = issuers()
    entries[1] |= {"events_audience": "shop-api"}
    world = HearingWorld(issuers=entries)
    pair = world.start("u1")
    told = {"iss": PROVIDER, "key": "p256", "alg": "ES256"}
    for number, who in enumerate((subject("u1", OWN), {"format": "jwt_id", "iss": OWN, "jti": claims_of(pair)["jti"]})):
        assert world.events(event(jti=f"e{number}", sub_id=who, **told)) is None
    assert world.writes()[1:] == [] and world.is_live(pair.access_token)
    assert world.events(event(jti="own", **told)) is not None and not world.is_live(access())
    world.mapper = lambda _: (OWN, "u1")
    world.later(2)
    world.events(event(jti="mapped", iat=NOW + 2, sub_id=subject("u1", OWN), **told))
    assert not world.is_live(pair.access_token)


def test_transmitter_without_tokens_has_no_subjects_itself(world: HearingWorld) -> None:
    """What it calls its own only the application can tell, as with Google's events."""
    own = subject("g1", "https://ssf.example/")
    assert world.events(event(sub_id=own)) is None
    world.mapper = lambda _: (PROVIDER, "u1")
    world.events(event(jti="e2", sub_id=own))
    assert not world.is_live(access())


@pytest.mark.parametrize("format_", ["email", "phone_number", "account", "did", "uri", "something_new", "iss_sub"])
def test_application_is_asked_whom_other_names_mean(world: HearingWorld, format_: str) -> None:
    """RFC 9493 has more formats than we have names; an issuer that is not configured is one more."""
    identifier = {"format": format_, "email": "a@x.example", "iss": "https://elsewhere.example", "sub": "x"}
    world.mapper = lambda _: (PROVIDER, "u1")
    world.events(event(sub_id=identifier))
    assert world.asked == [identifier] and not world.is_live(access())


def test_nobody_of_ours_is_acknowledged_without_a_write(world: HearingWorld) -> None:
    """Without a mapper, with one that knows nobody, and for parts that are no names."""
    email = {"format": "email", "email": "a@x.example"}
    assert world.events(event(sub_id=email)) is None
    world.mapper = lambda _: None
    assert world.events(event(sub_id=email)) is None
    assert world.events(event(sub_id=complex_subject(tenant=opaque("t")))) is None
    assert world.events(event(sub_id=subject(issuer="https://elsewhere.example"))) is None
    assert world.events(event(sub_id={"format": "jwt_id", "iss": "https://elsewhere.example", "jti": "j"})) is None
    assert sent(world, Write) == sent(world, LookUp) == 0


def test_user_known_by_the_application_has_his_session_at_that_issuer(world: HearingWorld) -> None:
    """An email and a session together."""
    world.mapper = lambda _: (PROVIDER, "u1")
    world.events(event(sub_id=complex_subject(user={"format": "email", "email": "a@x.example"}, session=opaque("s1"))))
    assert not world.is_live(access(sid="s1")) and world.is_live(access(sid="s2"))


def test_mapper_that_names_no_issuer_of_ours_is_503(world: HearingWorld) -> None:
    """The application's mistake: the transmitter tells again."""
    world.mapper = lambda _: ("https://elsewhere.example", "u1")
    with pytest.raises(UnavailableError):
        world.events(event(sub_id={"format": "email", "email": "a@x.example"}))


@pytest.mark.parametrize("identifier", [SESSION_REVOKED, CREDENTIAL_CHANGE])
@pytest.mark.parametrize("sub", ["x" * 9000, "\ud800"], ids=["too long", "half a pair"])
def test_mapper_that_names_what_no_token_carries_is_503(world: HearingWorld, sub: str, identifier: str) -> None:
    """The application's mistake again, and no exception of ours that a server would answer with 500."""
    world.mapper = lambda _: (PROVIDER, sub)
    told = {identifier: {"credential_type": "password", "change_type": "update"}}
    with pytest.raises(UnavailableError, match="no token can carry"):
        world.events(event(sub_id={"format": "email", "email": "a@x.example"}, events=told))


BAD_SUBJECTS: dict[str, Any] = {
    "none": LACKING,
    "null": None,
    "a text": "u1",
    "no format": {"iss": PROVIDER, "sub": "u1"},
    "format null": {"format": None},
    "iss_sub without sub": {"format": "iss_sub", "iss": PROVIDER},
    "iss_sub without iss": {"format": "iss_sub", "sub": "u1"},
    "sub a number": {"format": "iss_sub", "iss": PROVIDER, "sub": 7},
    "sub empty": {"format": "iss_sub", "iss": PROVIDER, "sub": ""},
    "opaque without id": {"format": "opaque"},
    "email without email": {"format": "email"},
    "jwt_id without jti": {"format": "jwt_id", "iss": PROVIDER},
    "aliases without any": {"format": "aliases", "identifiers": []},
    "aliases no list": {"format": "aliases", "identifiers": {}},
    "an alias a text": {"format": "aliases", "identifiers": ["u1"]},
    "alias in an alias": {"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": []}]},
    "complex in an alias": {"format": "aliases", "identifiers": [{"format": "complex", "user": {}}]},
    "too many aliases": {"format": "aliases", "identifiers": [{"format": "opaque", "id": "x"}] * 17},
    "user a text": {"format": "complex", "user": "u1"},
    "complex in complex": {"format": "complex", "user": {"format": "complex", "user": {}}},
    "session without id": {"format": "complex", "user": {"format": "iss_sub", "iss": PROVIDER, "sub": "u1"}, "session": {"format": "opaque"}},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SUBJECTS)
def test_malformed_subject_is_refused_and_nothing_written(world: HearingWorld, name: str) -> None:
    """RFC 9493 §3: each format has its members."""
    with pytest.raises(InvalidToken):
        world.events(event(sub_id=BAD_SUBJECTS[name]))
    assert world.writes() == []


def test_subjects_that_differ_are_refused(world: HearingWorld) -> None:
    """In the token and in the event: nobody knows who is meant."""
    with pytest.raises(InvalidToken):
        world.events(event(events={SESSION_REVOKED: {"subject": subject("u2")}}))


@pytest.mark.parametrize("wrong", [-1, "1700000000", True, None, [], {}])
def test_time_that_is_none_is_refused(world: HearingWorld, wrong: Any) -> None:
    """CAEP 1.0 §2: a number of seconds."""
    with pytest.raises(InvalidToken):
        world.events(event(events={SESSION_REVOKED: {"event_timestamp": wrong}}))


@pytest.mark.parametrize("ahead", [NOW + 10**6, NOW * 1000, 1e300])
def test_time_to_come_of_an_event_counts_as_now(world: HearingWorld, ahead: float) -> None:
    """Some send milliseconds: all is over that began by now, and nothing else."""
    world.events(event(events={SESSION_REVOKED: {"event_timestamp": ahead}}))
    assert not world.is_live(access())
    world.later(5)
    assert world.is_live(world.provider_token(5))


@pytest.mark.parametrize("change", ["update", "revoke", "delete"])
def test_changed_password_ends_all_sessions(world: HearingWorld, change: str) -> None:
    """CAEP 1.0 §3.3: of the user, also where a session is named."""
    pair = linked(world, "s2")
    world.later(1)
    who = complex_subject(user=subject(), session=opaque("s1"))
    payload = {"credential_type": "password", "change_type": change, "event_timestamp": NOW + 1}
    world.events(event(sub_id=who, events={CREDENTIAL_CHANGE: payload}))
    assert [world.is_live(access(**each)) for each in ({"sid": "s1"}, {"sid": "s3"}, {})] == [False] * 3
    assert not world.is_live(pair.access_token)


@pytest.mark.parametrize(
    ("kind", "change"), [("password", "create"), ("fido2-roaming", "create"), ("fido2-roaming", "delete"), ("app", "update")]
)
def test_other_credentials_end_nothing(world: HearingWorld, kind: str, change: str) -> None:
    """Somebody who adds a key is still who logged in."""
    assert world.events(event(events={CREDENTIAL_CHANGE: {"credential_type": kind, "change_type": change}})) is None
    assert world.is_live(access()) and world.writes() == []


@pytest.mark.parametrize(
    "payload", [{}, {"credential_type": "password"}, {"change_type": "update"}, {"credential_type": 7, "change_type": "update"}]
)
def test_credential_change_has_its_members(world: HearingWorld, payload: dict[str, Any]) -> None:
    """CAEP 1.0 §3.3.1: both are required."""
    with pytest.raises(InvalidToken):
        world.events(event(events={CREDENTIAL_CHANGE: payload}))


@pytest.mark.parametrize(
    ("uri", "payload"),
    [
        (SSF + "verification", {"state": "x"}),
        (SSF + "verification", {}),
        (SSF + "stream-updated", {"status": "paused", "reason": "x"}),
        (CAEP + "token-claims-change", {"claims": {"role": "x"}}),
        (CAEP + "device-compliance-change", {}),
        ("https://schemas.openid.net/secevent/risc/event-type/account-disabled", {}),
        ("urn:x", {}),
    ],
)
def test_what_nothing_follows_from_is_acknowledged(world: HearingWorld, uri: str, payload: dict[str, Any]) -> None:
    """Whatever its subject looks like: it is not read."""
    for who in (opaque("stream"), LACKING, "nonsense"):
        assert world.events(event(sub_id=who, events={uri: payload})) is None
    assert sent(world, Write) == sent(world, LookUp) == 0 and world.is_live(access())


def test_several_events_are_one_write_or_none(world: HearingWorld) -> None:
    """All of one token, or nothing; the later time counts where two name one."""
    both = {
        SESSION_REVOKED: {"event_timestamp": NOW + 5},
        CREDENTIAL_CHANGE: {"credential_type": "password", "change_type": "update", "event_timestamp": NOW + 9},
        "urn:x": {},
    }
    world.later(60)
    world.events(event(events=both))
    (write,) = world.writes()
    assert [change.cut_at for change in write.changes] == [NOW + 9.0, NOW + 9.0, None]
    assert not world.is_live(world.provider_token(9)) and world.is_live(world.provider_token(10))
    bad = {SESSION_REVOKED: {}, CREDENTIAL_CHANGE: {}}
    with pytest.raises(InvalidToken):
        world.events(event(jti="e2", sub_id=subject("u2"), events=bad))
    assert len(world.writes()) == 1 and world.is_live(access(sub="u2"))


def test_logout_told_again_is_written_again_where_a_journal_must_have_it(world: HearingWorld) -> None:
    """Who heard it first may have ended between the store and the journal; who wrote it for certain writes it once."""
    token, other = logout(), HearingWorld()
    other.server = other.store.server = world.server
    world.hearing.is_journaled = other.hearing.is_journaled = True
    assert world.logout(token) is not None
    assert world.logout(token) is None and len(world.writes()) == 1
    assert other.logout(token) is not None and len(other.writes()) == 1
    assert other.logout(token) is None and len(other.writes()) == 1


def test_statements_that_are_known_to_be_kept_are_bounded(world: HearingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes, and costs one write more if it is told again."""
    monkeypatch.setattr("jwtgate.core.providers.hearing.MOST_KEPT", 2)
    world.hearing.is_journaled = True
    for jti in ("1", "2", "3"):
        assert world.logout(logout(jti=jti)) is not None
    assert [world.logout(logout(jti=jti)) is None for jti in ("3", "1", "3")] == [True, False, True]


def test_event_told_again_does_nothing_again(world: HearingWorld) -> None:
    """RFC 8935 §2: a transmitter tells until it is acknowledged."""
    assert world.events(event()) is not None
    assert world.events(event()) is None
    assert len(world.writes()) == 1


def test_rulings_are_remembered_as_long_as_what_they_end_may_live(world: HearingWorld) -> None:
    """The longest token or session, and an hour's margin; the memory of a statement as long as it could be told again."""
    world.logout(logout())
    untils = sorted(Ruling.decode(text).until or 0 for text in world.server.rulings.values())
    assert untils == [NOW + 120 + 3600, *[NOW + 30 * 86400 + 3600] * 2]
    assert OWN in world.policies
