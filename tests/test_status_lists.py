"""Our own status lists: what stands in them is what the gate itself would say (draft-ietf-oauth-status-list §13)."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from jwtgate import Gate, Settings
from jwtgate.core.effects import Looked, LookUp, Mark, Marks, Pause
from jwtgate.core.statuses import published, strangers
from jwtgate.core.statuses.registry import ListName
from jwtgate.core.statuses.status_list import INVALID, SUSPENDED, VALID, StatusList
from jwtgate.errors import JWTGateError, StoreUnavailable, UnavailableError
from jwtgate.runtime import blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "https://api.example/auth/status"


def gate_of(**settings: Any) -> Gate:
    """That publishes."""
    given = {
        "secret": "a-secret-for-tests-of-the-lists-0123",
        "endpoints": "/auth",
        "status_lists": URL,
        "status_ttl": 1,
        **settings,
    }
    return Gate(Settings(**{"lease": 0.25, **given}))


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Live."""
    with closing(gate_of(handles=("tenant",), version_claim="ver")) as made:
        assert made.ready()
        yield made


def claims_of(token: str) -> dict[str, Any]:
    """Unverified."""
    return jwt.decode(token, options={"verify_signature": False, "verify_aud": False})


def place_of(token: str) -> tuple[str, int]:
    """List and entry."""
    entry = claims_of(token)["status"]["status_list"]
    assert entry["uri"].startswith(f"{URL}/")
    return entry["uri"].removeprefix(f"{URL}/"), entry["idx"]


def list_of(gate: Gate, name: str) -> dict[str, Any] | None:
    """Its claims, made anew."""
    gate.plans.lists._made.clear()
    made = blocking.run(gate.plans.status_list(name), gate.performer)
    return None if made is None else claims_of(made.token)


def status_of(gate: Gate, token: str) -> int:
    """The value of its entry now."""
    name, index = place_of(token)
    told = list_of(gate, name)
    assert told is not None and told["sub"] == f"{URL}/{name}"
    return StatusList.decode(told["status_list"]).value(index)


def is_admitted(gate: Gate, token: str) -> bool:
    """By the gate itself."""
    try:
        gate.verify(token)
    except JWTGateError:
        return False
    return True


RULINGS: dict[str, tuple[Callable[[Gate, dict[str, Any]], object], int]] = {
    "jti": (lambda gate, claims: gate.revoke(jti=claims["jti"], wait=True), INVALID),
    "sub": (lambda gate, _: gate.revoke(sub="alice", wait=True), INVALID),
    "sub, its access tokens": (lambda gate, _: gate.revoke(sub="alice", access_only=True, wait=True), INVALID),
    "tenant": (lambda gate, _: gate.revoke(claim=("tenant", "acme"), wait=True), INVALID),
    "everything": (lambda gate, _: gate.revoke(everything=True, wait=True), INVALID),
    "version": (lambda gate, _: gate.require_version("alice", 4, wait=True), INVALID),
    "suspended": (lambda gate, _: gate.suspend("alice", wait=True), SUSPENDED),
    "nobody's": (lambda gate, _: gate.revoke(jti="another", wait=True), VALID),
    "another tenant": (lambda gate, _: gate.revoke(claim=("tenant", "other"), wait=True), VALID),
    "version it has": (lambda gate, _: gate.require_version("alice", 3, wait=True), VALID),
}


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize("name", RULINGS)
def test_entry_says_what_the_gate_says(gate: Gate, name: str, is_live: bool) -> None:  # noqa: FBT001
    """Every kind of ruling; from memory, and from the store where memory may not be trusted."""
    token = gate.issue("alice", claims={"tenant": ["acme", "x"], "ver": 3})
    assert status_of(gate, token) == VALID
    rule, wanted = RULINGS[name]
    rule(gate, claims_of(token))
    if not is_live:
        gate.follower.stop()
        gate.view.rulings.clear()
    assert status_of(gate, token) == wanted
    assert is_admitted(gate, token) is (wanted == VALID)


@pytest.mark.parametrize("is_complete", [True, False])
def test_view_that_lacks_rulings_is_not_believed(is_complete: bool) -> None:  # noqa: FBT001
    """``VIEW_LIMIT=0``: the store is asked."""
    with closing(gate_of(view_limit=1000 if is_complete else 0)) as gate:
        assert gate.ready()
        token = gate.issue("alice")
        gate.suspend("bob", wait=True)
        gate.revoke(jti=claims_of(token)["jti"], wait=True)
        assert gate.view.is_complete is is_complete
        assert status_of(gate, token) == INVALID


def test_suspension_that_is_lifted_is_valid_again(gate: Gate) -> None:
    """SUSPENDED may be lifted; INVALID stays, suspended or not (§7.1)."""
    token, dead = gate.issue("alice"), gate.issue("alice")
    gate.revoke(jti=claims_of(dead)["jti"], wait=True)
    gate.suspend("alice", wait=True)
    assert (status_of(gate, token), status_of(gate, dead)) == (SUSPENDED, INVALID)
    gate.revoke(sub="alice", wait=True)
    assert status_of(gate, token) == INVALID
    gate.reinstate("alice", wait=True)
    assert (status_of(gate, token), status_of(gate, dead)) == (INVALID, INVALID)


def test_tokens_of_sessions_have_entries(gate: Gate) -> None:
    """Login and refresh, each its own; the end of the session is told of both."""
    pair = gate.sessions.start("alice")
    again = gate.sessions.refresh(pair.refresh_token)
    assert place_of(pair.access_token) != place_of(again.access_token)
    assert status_of(gate, pair.access_token) == status_of(gate, again.access_token) == VALID
    gate.sessions.end(pair.session_id, wait=True)
    assert status_of(gate, pair.access_token) == status_of(gate, again.access_token) == INVALID


@pytest.mark.parametrize("is_live", [True, False])
def test_session_that_ends_at_its_provider_is_told(is_live: bool) -> None:  # noqa: FBT001
    """Its tokens are judged by the provider's handles, too, and dated by the login there."""
    provider = "https://idp.example"
    issuers = [
        {"issuer": "https://api.example", "secret": "a-secret-for-tests-of-the-lists-0123"},
        {"issuer": provider, "secret": "another-secret-for-tests-of-the-lists"},
    ]
    with closing(gate_of(secret=None, issuers=issuers)) as gate:
        assert gate.ready()
        pair = gate.sessions.start("alice", upstream=(provider, "their-sid", "their-sub"))
        other = gate.sessions.start("alice", upstream=(provider, "another", "their-sub"))
        assert status_of(gate, pair.access_token) == VALID
        gate.revoke(sid="their-sid", issuer=provider, wait=True)
        if not is_live:
            gate.follower.stop()
            gate.view.rulings.clear()
        assert not is_admitted(gate, pair.access_token) and is_admitted(gate, other.access_token)
        assert (status_of(gate, pair.access_token), status_of(gate, other.access_token)) == (INVALID, VALID)


def test_renewed_token_has_an_entry_of_its_own() -> None:
    """``ROTATE_AFTER``: the old one's dies, and must not take the new one along."""
    from shells import Sent, asgi_application, ask_asgi

    from jwtgate.asgi import JWTGateMiddleware

    with closing(gate_of(rotate_after=1)) as gate:
        assert gate.ready()
        pair = gate.sessions.start("alice")
        app: Any = JWTGateMiddleware(asgi_application, gate=gate)
        told = ask_asgi(app, Sent("GET", "/", (("authorization", f"Bearer {pair.access_token}"),)))
        renewed = told.header("x-access-token")
        assert renewed is not None and place_of(renewed) != place_of(pair.access_token)
        assert (status_of(gate, pair.access_token), status_of(gate, renewed)) == (INVALID, VALID)


def test_application_sets_no_status_where_lists_are_published(gate: Gate) -> None:
    """It would name another entry; without lists the claim is its own, as before."""
    for make in (
        lambda: gate.issue("alice", claims={"status": "x"}),
        lambda: gate.sessions.start("alice", claims={"status": "x"}),
    ):
        with pytest.raises(ValueError, match="status"):
            make()
    with closing(Gate(Settings(secret="a-secret-for-tests-of-the-lists-0123"))) as plain:
        assert claims_of(plain.issue("alice", claims={"status": "x"}))["status"] == "x"
        assert "status" not in claims_of(plain.issue("alice"))


def test_claims_that_cannot_be_are_no_fault_of_a_token(gate: Gate) -> None:
    """As without lists: the application's mistake at an issue; at a refresh 503, and the refresh token is still good."""
    with pytest.raises(ValueError, match="would not admit"):
        gate.issue("alice", claims={"tenant": {"a": 1}})
    pair = gate.sessions.start("alice")
    gate.claims(lambda _: {"tenant": {"a": 1}})
    with pytest.raises(UnavailableError):
        gate.sessions.refresh(pair.refresh_token)
    gate.claims(lambda _: None)
    assert gate.sessions.refresh(pair.refresh_token)


def test_claim_counts_for_the_size_of_a_cookie() -> None:
    """Better refused at login than by a browser."""

    def fits(size: int, **settings: Any) -> bool:
        with closing(gate_of(locations=("cookie",), **settings)) as gate:
            try:
                gate.sessions.start("alice", claims={"x": "y" * size})
            except ValueError:
                return False
            return True

    most = max(size for size in range(2400, 3200, 20) if fits(size, status_lists=None))
    assert not fits(most) and fits(most - 400)


def test_one_more_round_trip_and_no_more(gate: Gate) -> None:
    """Of a token that is issued."""
    asked: list[str] = []
    perform = gate.performer.perform
    gate.performer.perform = lambda effect: (asked.append(type(effect).__name__), perform(effect))[1]  # type: ignore[method-assign]
    gate.issue("alice")
    assert asked == ["LookUp", "Mark"]


@pytest.mark.parametrize("shell", ["asgi", "wsgi"])
def test_list_comes_through_both_shells(gate: Gate, shell: str) -> None:
    """Without a token, however the application is exempt; and it is no token itself."""
    from shells import Sent, asgi_application, ask_asgi, ask_wsgi, wsgi_application

    from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
    from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

    asgi: Any = ASGIMiddleware(asgi_application, gate=gate)
    wsgi: Any = WSGIMiddleware(wsgi_application, gate=gate)

    def ask(sent: Sent) -> Any:
        return ask_asgi(asgi, sent) if shell == "asgi" else ask_wsgi(wsgi, sent)

    name, _ = place_of(gate.issue("alice"))
    told = ask(Sent("GET", f"/auth/status/{name}"))
    assert told.status == 200 and told.header("content-type") == "application/statuslist+jwt"
    assert claims_of(told.body.decode())["sub"] == f"{URL}/{name}"
    again = ask(Sent("GET", f"/auth/status/{name}", (("if-none-match", str(told.header("etag"))),)))
    assert again.status in (200, 304)
    assert ask(Sent("HEAD", f"/auth/status/{name}")).status == 200
    assert ask(Sent("GET", f"/auth/status/{name}x")).status == 404
    assert ask(Sent("GET", "/", (("authorization", f"Bearer {told.body.decode()}"),))).status == 401


# --- unknown lists


def test_list_that_nobody_came_to_is_unknown(gate: Gate) -> None:
    """A right name of the right history and hour: it would call all valid."""
    name = ListName.read(place_of(gate.issue("alice"))[0])
    assert name is not None
    assert list_of(gate, str(name)) is not None
    for other in (
        name._replace(serial=1),
        name._replace(span="d", begins_at=name.begins_at // 86400 * 86400),
        name._replace(begins_at=name.begins_at - 3600),
        name._replace(begins_at=name.begins_at - 3600 * 24 * 365),
        name._replace(begins_at=name.begins_at + 3600 * 24),
        name._replace(epoch="anotherepoc"),
    ):
        assert list_of(gate, str(other)) is None


def test_list_out_of_its_time_costs_no_round_trip(gate: Gate) -> None:
    """Nor does a text that names none."""
    name = ListName.read(place_of(gate.issue("alice"))[0])
    assert name is not None
    for text in (
        "x",
        str(name._replace(begins_at=name.begins_at - 10**7)),
        str(name._replace(begins_at=name.begins_at + 10**7)),
    ):
        with pytest.raises(StopIteration):
            next(gate.plans.status_list(text))


def test_list_of_an_epoch_that_is_over_is_unknown(gate: Gate) -> None:
    """Whatever marks are still there."""
    token = gate.issue("alice")
    gate.store.reset_after_fork()
    assert list_of(gate, place_of(token)[0]) is None
    assert place_of(gate.issue("alice"))[0] != place_of(token)[0]


class Made:
    """One list in the making, step by step; answers come from the gate's own store unless a test changes them."""

    def __init__(self, gate: Gate, name: str, change: Callable[[Any, Any], Any]) -> None:
        self.gate = gate
        self.plan = gate.plans.lists.published(name)
        self.change = change

    def run(self) -> Any:
        try:
            effect = next(self.plan)
            while True:
                try:
                    answer = self.change(effect, self.gate.performer.perform(effect))
                except JWTGateError as error:  # into the plan, as every driver does
                    answer = error
                effect = self.plan.throw(answer) if isinstance(answer, Exception) else self.plan.send(answer)
        except StopIteration as end:
            return end.value


def unhealed(effect: Any, answer: Any) -> Any:
    if not isinstance(effect, LookUp):
        return answer
    return Looked(replace(answer.facts, epoch=replace(answer.facts.epoch, is_healed=False)), answer.sent_at)


def unreadable(effect: Any, answer: Any) -> Any:
    if not isinstance(effect, Marks):
        return answer
    return replace(answer, marks=tuple((name, b"?" + value[1:], until) for name, value, until in answer.marks))


def failing(kind: type) -> Callable[[Any, Any], Any]:
    return lambda effect, answer: StoreUnavailable("down") if isinstance(effect, kind) else answer


@pytest.mark.parametrize(
    "change",
    [unhealed, unreadable, failing(LookUp), failing(Marks), failing(Mark)],
    ids=["unhealed", "unreadable", "1", "2", "3"],
)
def test_what_cannot_be_known_is_503(gate: Gate, change: Callable[[Any, Any], Any]) -> None:
    """A history that heals, a mark that nobody wrote, a store that is silent in any step: no list, and none is kept."""
    name, _ = place_of(gate.issue("alice"))
    with pytest.raises(StoreUnavailable):
        Made(gate, name, change).run()
    assert list_of(gate, name) is not None, "and the next one is made"


def test_ruling_that_cannot_be_read_is_503(gate: Gate) -> None:
    """As for the decision itself."""
    token = gate.issue("alice")
    gate.revoke(sub="alice", wait=True)
    for digest in list(gate.view.rulings):
        gate.view.rulings[digest] = b"?"
    with pytest.raises(StoreUnavailable):
        list_of(gate, place_of(token)[0])


def test_history_that_is_lost_in_the_making_makes_no_list(gate: Gate) -> None:
    """Compared at its first step, at each page and at its last."""
    name, _ = place_of(gate.issue("alice"))

    def last(effect: Any, answer: Any) -> Any:
        if isinstance(effect, Mark):
            gate.store.reset_after_fork()
        return answer

    assert Made(gate, name, last).run() is None


def test_marks_that_were_lost_make_no_list(gate: Gate) -> None:
    """The store tells since when it has all."""
    name, _ = place_of(gate.issue("alice"))

    def lossy(effect: Any, answer: Any) -> Any:
        return replace(answer, since=time.time()) if isinstance(effect, Mark) else answer

    assert Made(gate, name, lossy).run() is None


def test_page_of_another_history_makes_no_list(gate: Gate) -> None:
    """Whatever the look-ups around it say."""
    name, _ = place_of(gate.issue("alice"))

    def other(effect: Any, answer: Any) -> Any:
        return replace(answer, epoch=replace(answer.epoch, name="anotherepoc")) if isinstance(effect, Marks) else answer

    assert Made(gate, name, other).run() is None


def test_look_up_of_another_history_is_503(gate: Gate) -> None:
    """Rulings of two histories are not mixed."""
    name, _ = place_of(gate.issue("alice"))
    gate.follower.stop()
    seen = []

    def second(effect: Any, answer: Any) -> Any:
        seen.extend([effect] * isinstance(effect, LookUp))
        if len(seen) != 2 or not isinstance(effect, LookUp):
            return answer
        return Looked(replace(answer.facts, epoch=replace(answer.facts.epoch, name="anotherepoc")), answer.sent_at)

    with pytest.raises(StoreUnavailable):
        Made(gate, name, second).run()


def test_memory_that_fills_up_in_the_making_is_503(gate: Gate) -> None:
    """Between the look at the view and the judgement something may have been left out."""
    gate.issue("alice")
    judge = published._Judge(gate.plans.issuer.policy(), gate.view, str(gate.view.parts[0].epoch))
    with pytest.raises(StopIteration):
        next(judge.prepare((), is_live=True))
    assert judge.judged(()) == {}
    gate.view.rulings.is_complete = False
    with pytest.raises(StoreUnavailable):
        judge.judged(())


# --- the cost


def test_list_of_many_pages_is_one(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """From memory and by look-ups, which are cut into pieces, too."""
    monkeypatch.setattr(published, "PAGE", 2)
    monkeypatch.setattr(published, "CHUNK", 3)
    tokens = [gate.issue(f"user{number}") for number in range(7)]
    gate.revoke(sub="user3", wait=True)
    assert [status_of(gate, token) for token in tokens] == [0, 0, 0, 1, 0, 0, 0]
    gate.follower.stop()
    gate.view.rulings.clear()
    assert [status_of(gate, token) for token in tokens] == [0, 0, 0, 1, 0, 0, 0]


def test_list_that_takes_too_long_is_503(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """For who makes it and for who waits."""
    monkeypatch.setattr(published, "PAGE", 1)
    name = {place_of(gate.issue("alice"))[0] for _ in range(3)}.pop()
    monkeypatch.setattr(published, "MAKING_SECONDS", 0.0)
    with pytest.raises(StoreUnavailable):
        list_of(gate, name)
    plan = gate.plans.lists.published(name)
    next(plan)
    with pytest.raises(StoreUnavailable):
        next(gate.plans.lists.published(name))


def test_list_that_was_slow_to_make_is_fresh_for_longer(gate: Gate) -> None:
    """So that no number of tokens keeps a process busy with lists alone."""
    name, _ = place_of(gate.issue("alice"))
    began = gate.clock.boot()

    def slow(effect: Any, answer: Any) -> Any:
        if isinstance(effect, Marks):
            time.sleep(0.2)
        return answer

    made = Made(gate, name, slow).run()
    assert made.fresh_until - began >= 0.2 * strangers.COST_SHARE


def test_list_is_made_once_for_all_who_ask(gate: Gate) -> None:
    """While it is made others wait, and while it is fresh nobody makes it."""
    name, _ = place_of(gate.issue("alice"))
    first, second = gate.plans.lists.published(name), gate.plans.lists.published(name)
    effect = next(first)
    assert isinstance(effect, LookUp) and isinstance(next(second), Pause)
    with pytest.raises(StopIteration) as one:
        while True:
            effect = first.send(gate.performer.perform(effect))
    with pytest.raises(StopIteration) as other:
        second.send(None)
    assert one.value.value.token == other.value.value.token
    with pytest.raises(StopIteration):
        next(gate.plans.lists.published(name))


def test_maker_that_gives_up_holds_up_nobody(gate: Gate) -> None:
    """A request that is cancelled leaves nothing behind."""
    name, _ = place_of(gate.issue("alice"))
    plan = gate.plans.lists.published(name)
    next(plan)
    plan.close()
    assert isinstance(next(gate.plans.lists.published(name)), LookUp)


def test_list_goes_stale(gate: Gate) -> None:
    """After a sixth of its ttl at the latest: what is served is never older."""
    token = gate.issue("alice")
    name, index = place_of(token)
    lists = gate.plans.lists
    made = blocking.run(lists.published(name), gate.performer)
    assert made is not None and made.fresh_until - gate.clock.boot() <= 1 / published.TTL_SHARE
    gate.revoke(jti=claims_of(token)["jti"], wait=True)
    while gate.clock.boot() < made.fresh_until:
        time.sleep(0.01)
    later = blocking.run(lists.published(name), gate.performer)
    assert later is not None and later.tag != made.tag
    assert StatusList.decode(claims_of(later.token)["status_list"]).value(index) == INVALID


def test_lists_that_are_kept_are_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes."""
    monkeypatch.setattr(published, "MAX_MADE", 1)
    short, long = gate.issue("alice"), gate.issue("alice", ttl=7200)
    for token in (short, long):
        blocking.run(gate.plans.lists.published(place_of(token)[0]), gate.performer)
    assert list(gate.plans.lists._made) == [place_of(long)[0]]


class Later:
    """The gate's clock, so much later."""

    def __init__(self, clock: Any, seconds: float) -> None:
        self.boot = lambda: clock.boot() + seconds
        self.wall = clock.wall


def test_invented_names_are_not_sought_one_after_the_other(gate: Gate) -> None:
    """Each would cost the reading of all marks that lie where its own would; who asks for a list that is there gets it."""
    name, _ = place_of(gate.issue("alice"))
    gate.plans.lists._made.clear()
    start, _, _ = name.rpartition(".")

    def takes_long(effect: Any, answer: Any) -> Any:
        if isinstance(effect, Marks):
            gate.plans.lists.clock = Later(gate.clock, 3.0)
        return answer

    assert Made(gate, f"{start}.8", takes_long).run() is None
    with pytest.raises(StoreUnavailable, match="in vain"):
        Made(gate, f"{start}.16", takes_long).run()
    assert blocking.run(gate.plans.status_list(name), gate.performer) is not None
    gate.plans.lists.clock = Later(gate.clock, 30.0)
    assert Made(gate, f"{start}.16", lambda _, answer: answer).run() is None


def test_invented_names_are_sought_one_at_a_time(gate: Gate) -> None:
    """A flood of them waits, and asks nothing of the store."""
    name, _ = place_of(gate.issue("alice"))
    start, _, _ = name.rpartition(".")
    first = gate.plans.status_list(f"{start}.8")
    assert isinstance(next(first), LookUp)
    assert isinstance(next(gate.plans.status_list(f"{start}.16")), Pause)
    assert isinstance(next(gate.plans.status_list(f"{start}.9")), LookUp), "its marks would lie elsewhere"


def test_list_is_of_issuer_where_one_is_set() -> None:
    """And its exp outlives its ttl by an hour."""
    with closing(gate_of(issuer="https://api.example", audience=["api"])) as gate:
        assert gate.ready()
        told = list_of(gate, place_of(gate.issue("alice"))[0])
        assert told is not None and told["iss"] == "https://api.example"
        assert told["exp"] == told["iat"] + 1 + 3600 and told["ttl"] == 1
