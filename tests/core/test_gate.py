"""The one decision: its order, what it remembers, what is free, and what is left when the store is silent."""

from __future__ import annotations

import gc
import weakref
from contextlib import nullcontext
from typing import TYPE_CHECKING

import jwt
import pytest
from core.scripted import START, ScriptedClock, Time

from jwtgate.core.effects import Looked, LookUp
from jwtgate.core.followed import Followed
from jwtgate.core.gate import Decision
from jwtgate.core.handles import digest_of
from jwtgate.core.history import Entry, Epoch, Facts, LogEnd
from jwtgate.core.http.exemption import Exemption
from jwtgate.core.http.extraction import Extraction
from jwtgate.core.rules import Rules
from jwtgate.core.rulings import CutOff, Ruling, Toggle
from jwtgate.core.tally import Tally
from jwtgate.core.view import View
from jwtgate.errors import (
    BadSignature,
    CrossSiteRequest,
    Expired,
    InvalidToken,
    MalformedToken,
    MissingToken,
    NotYetValid,
    Revoked,
    StoreUnavailable,
    UnknownKey,
    WrongAudience,
    WrongType,
)
from jwtgate.messages import Request
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from typing import Any

SECRET = "a-secret-of-at-least-thirty-two-bytes"
OTHER = "another-secret-of-thirty-two-bytes-or-so"
CURRENT, EARLIER, LATER = "currentepoc", "earlierepoc", "laterrepoch"
POLICIES = Settings(secret=SECRET, version_claim="ver").policies
POLICY = POLICIES[None]
JTI = digest_of("", "jti", "7")
SUB = digest_of("", "sub", "alice")
REVOKED = Ruling(Toggle(True, CURRENT, 3, START))
DOWN = StoreUnavailable("down")


def minted(secret: str = SECRET, *, stamp: tuple[str, int] | None = (CURRENT, 5), headers=None, **claims: Any) -> bytes:
    base = {"sub": "alice", "jti": "7", "iat": START - 60, "exp": START + 600}
    if stamp is not None:
        base["jgp"] = f"{stamp[0]}:{stamp[1]}"
    return jwt.encode({**base, **claims}, secret, "HS256", headers=headers).encode()


TOKEN = minted()
FORGED = minted(OTHER)


def cut(epoch: str, position: int = 9, at: float = START - 30) -> Ruling:
    return Ruling(not_before=CutOff(epoch, position, at))


class Gate:
    """A decision over a view; a test answers its look-ups."""

    def __init__(
        self,
        *,
        live: bool = False,
        order: str = "store-first",
        on_store_down: str = "refuse",
        csrf: str = "fetch-metadata",
        **known: Ruling,
    ) -> None:
        self.time = Time()
        self.clock = ScriptedClock(self.time)
        self.view = View(
            nullcontext(),
            lease_seconds=1.0,
            grace_seconds=3.0 if on_store_down == "cached" else 0.0,
            admitted_limit=9,
            rulings_limit=9,
            wide_handles=POLICY.wide_handles,
        )
        snapshot = {
            {"jti": JTI, "sub": SUB, "everything": POLICY.everything}[name]: ruling.encode() for name, ruling in known.items()
        }
        Followed(self.view).load(snapshot, CURRENT, LogEnd(7, "l7", "7"))
        if live:
            Followed(self.view).grant(0.0)
        rules = Rules(
            policies=POLICIES,
            extraction=Extraction(("header", "cookie"), "access", 8192),
            exemption=Exemption(("/open",)),
            csrf=csrf,  # type: ignore[arg-type]
            origins=frozenset(),
            is_optional=on_store_down == "optional",
            verifies_first=order == "verify-first",
            max_token_bytes=8192,
            on_store_down=on_store_down,  # type: ignore[arg-type]
        )
        self.is_down = False
        self.decision = Decision(rules, self.view, self.clock, lambda: self.is_down, Tally())

    def facts(self, *, epoch: str = CURRENT, position: int = 7, healed: bool = True, **rulings: Ruling) -> Facts:
        asked = {"jti": 0, "sub": 1, "everything": 2}
        texts: list[bytes | None] = [None, None, None, None]
        for name, ruling in rulings.items():
            texts[asked[name]] = ruling.encode()
        return Facts(Epoch(epoch, 1.0, 1.0, healed, True), LogEnd(position, "l", "c"), tuple(texts))

    def decide(
        self, token: bytes = TOKEN, answer: Facts | Exception | None = None, *, late: float = 0.0, sent_at: float | None = None
    ):
        """The decision. Without ``answer`` it must not ask; with one it must, once, for all handles."""
        plan = self.decision.decide(token, "header")
        try:
            effect = next(plan)
            assert isinstance(effect, LookUp)
            assert answer is not None, "the store was asked"
            sent = self.clock.boot() if sent_at is None else sent_at
            self.time.now += late
            if isinstance(answer, Exception):
                plan.throw(answer)
            else:
                plan.send(Looked(answer, sent))
        except StopIteration as end:
            assert answer is None or "effect" in locals(), "the store was not asked"
            return end.value
        raise AssertionError("asked twice")

    @property
    def remembered(self) -> int:
        return len(self.view.admitted)


def bearer(token: bytes | None = TOKEN, path: str = "/", method: str = "GET", *more: tuple[bytes, bytes]) -> Request:
    headers = () if token is None else ((b"authorization", b"Bearer " + token),)
    return Request(method, path, path.encode(), (*headers, *more))


# --- the way of a token -----------------------------------------------------------------------------------------------


def test_live_view_decides_without_the_store() -> None:
    """No round trip; the second time no parse either."""
    gate = Gate(live=True)
    first = gate.decide()
    assert first.token.subject == "alice"
    assert gate.decide() is first
    assert (gate.decision.tally.misses, gate.decision.tally.hits, gate.decision.tally.look_ups) == (1, 1, 0)


def test_lapsed_view_asks_each_time_and_remembers_nothing() -> None:
    """R1, R3: admitted on the store's word alone."""
    gate = Gate()
    for _ in range(2):
        gate.decide(answer=gate.facts())
    assert gate.remembered == 0


def test_incomplete_view_asks_for_misses_and_hits_stay_local() -> None:
    """Hits of an incomplete view stay local."""
    gate = Gate(live=True)
    gate.view.rulings.is_complete = False
    gate.decide(answer=gate.facts())
    gate.decide()


def test_hit_ends_with_the_lease_and_with_the_deadline() -> None:
    """One clock read, two comparisons: at the very moment it is over."""
    gate = Gate(live=True)
    gate.decide()
    gate.time.now = 1.0
    assert gate.decision.hit(b"Bearer " + TOKEN) is None
    Followed(gate.view).grant(599.5)
    gate.time.now = 599.9
    assert gate.decision.hit(b"Bearer " + TOKEN) is not None
    gate.time.now = 600.0
    assert gate.decision.hit(b"Bearer " + TOKEN) is None


def test_token_is_remembered_for_where_it_was_found() -> None:
    """A token shown in a cookie is never served to a header."""
    gate = Gate(live=True)
    gate.decide()
    assert gate.decision.hit(b"Bearer " + TOKEN) is not None
    assert gate.decision.hit(TOKEN) is None
    assert len({gate.decision.key_of(TOKEN, source) for source in ("header", "cookie", "subprotocol", None)}) == 4
    assert gate.decision.key_of(TOKEN, "header") != gate.decision.key_of(TOKEN, "cookie")


@pytest.mark.parametrize("handle", ["jti", "sub", "everything"])
@pytest.mark.parametrize("live", [True, False])
def test_known_ruling_refuses_live_or_not(handle: str, live: bool) -> None:
    """R1: and without a look-up."""
    with pytest.raises(Revoked):
        Gate(live=live, **{handle: REVOKED}).decide()


@pytest.mark.parametrize("handle", ["jti", "sub", "everything"])
def test_told_ruling_refuses(handle: str) -> None:
    """What the store says counts, whatever the view did not know."""
    gate = Gate()
    with pytest.raises(Revoked):
        gate.decide(answer=gate.facts(**{handle: REVOKED}))


def test_ruling_learned_during_the_look_up_refuses() -> None:
    """The later of both counts."""
    gate = Gate()
    plan = gate.decision.decide(TOKEN, "header")
    next(plan)
    gate.view.rulings[JTI] = REVOKED.encode()
    with pytest.raises(Revoked):
        plan.send(Looked(gate.facts(), 0.0))


# --- the order --------------------------------------------------------------------------------------------------------


def test_validity_comes_before_the_signature() -> None:
    """Store-first: a ruled-out token with a bad signature is refused before any signature work."""
    with pytest.raises(Revoked):
        Gate(jti=REVOKED).decide(FORGED)
    gate = Gate()
    with pytest.raises(Revoked):
        gate.decide(FORGED, gate.facts(jti=REVOKED))


def test_verify_first_swaps_the_two() -> None:
    """For whoever faces floods of forged tokens: they buy no look-up."""
    with pytest.raises(BadSignature):
        Gate(order="verify-first", jti=REVOKED).decide(FORGED)
    with pytest.raises(BadSignature):
        Gate(order="verify-first").decide(FORGED)
    with pytest.raises(Revoked):
        Gate(order="verify-first", jti=REVOKED).decide()


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("token", [FORGED, minted(aud="other"), minted(nbf=START + 99), minted(exp=START + 10**9)])
def test_nothing_unverified_is_remembered(live: bool, token: bytes) -> None:
    """An answer for a token that fails afterwards changes nothing for anyone."""
    gate = Gate(live=live)
    with pytest.raises(InvalidToken):
        gate.decide(token, None if live else gate.facts())
    assert gate.remembered == 0


def test_forged_token_with_a_victims_jti_changes_nothing() -> None:
    """It neither enters the memory nor drives the victim's token out of it."""
    gate = Gate(live=True)
    victim = gate.decide()
    for _ in range(3):
        with pytest.raises(BadSignature):
            gate.decide(FORGED)
    assert gate.decide() is victim
    assert gate.remembered == 1
    assert not gate.view.rulings


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (b"nonsense", MalformedToken),
        (b"x" * 9000, InvalidToken),
        (minted(exp=START), Expired),
        (minted(exp=START - 1), Expired),
        (minted(headers={"typ": "refresh+jwt"}), WrongType),
        (jwt.encode({"sub": "a", "exp": START + 9}, SECRET * 2, "HS512").encode(), UnknownKey),
        (minted(ver="1"), MalformedToken),
    ],
    ids=["malformed", "too long", "at exp", "past exp", "type", "algorithm", "version"],
)
@pytest.mark.parametrize("order", ["store-first", "verify-first"])
def test_free_refusals_ask_nobody(token: bytes, error: type[InvalidToken], order: str) -> None:
    """Refused before any store call, though the view is not live."""
    with pytest.raises(error):
        Gate(order=order).decide(token)


def test_claims_are_checked_after_the_store() -> None:
    """Audience and nbf are the issuer's word, believed once the signature has verified."""
    gate = Gate()
    with pytest.raises(WrongAudience):
        gate.decide(minted(aud="other"), gate.facts())
    with pytest.raises(NotYetValid):
        gate.decide(minted(nbf=START + 99), gate.facts())


def test_stamp_of_a_foreign_key_is_not_believed() -> None:
    """Only our own key may say at which position a token was issued; a forged one does not survive its signature."""
    gate = Gate(live=True, sub=cut(CURRENT))
    with pytest.raises(BadSignature):
        gate.decide(minted(OTHER, stamp=(CURRENT, 99)))


# --- the look-up ------------------------------------------------------------------------------------------------------


def test_unhealed_history_is_no_answer() -> None:
    """L2: 503, also for what only the store says: it may have lost the lift. What this process knows refuses."""
    gate = Gate()
    with pytest.raises(StoreUnavailable):
        gate.decide(answer=gate.facts(healed=False))
    with pytest.raises(StoreUnavailable):
        gate.decide(answer=gate.facts(healed=False, jti=REVOKED))


@pytest.mark.parametrize(("late", "is_admitted"), [(1.0, True), (1.001, False)])
def test_answer_older_than_a_lease_is_no_answer(late: float, is_admitted: bool) -> None:
    """R2."""
    gate = Gate()
    if is_admitted:
        gate.decide(answer=gate.facts(), late=late)
        return
    with pytest.raises(StoreUnavailable):
        gate.decide(answer=gate.facts(), late=late)


def test_answer_of_another_epoch_is_not_remembered() -> None:
    """R3: the view has not seen that history."""
    gate = Gate(live=True)
    gate.view.rulings.is_complete = False
    gate.decide(answer=gate.facts(epoch=LATER))
    assert gate.remembered == 0


# --- stamps and cut-offs of different epochs --------------------------------------------------------------------------


@pytest.mark.parametrize(("position", "is_dead"), [(8, True), (9, False)])
def test_same_epoch_is_decided_here(position: int, is_dead: bool) -> None:
    """By position, without the store; the iat takes no part."""
    gate = Gate(live=True, sub=cut(CURRENT))
    if is_dead:
        with pytest.raises(Revoked):
            gate.decide(minted(stamp=(CURRENT, position), iat=START))
    else:
        gate.decide(minted(stamp=(CURRENT, position), iat=START - 3600))


@pytest.mark.parametrize("stamp", [(LATER, 0), (EARLIER, 99), (CURRENT, 5)])
@pytest.mark.parametrize("epoch", [EARLIER, CURRENT, LATER])
def test_store_is_asked_where_two_epochs_meet(stamp: tuple[str, int], epoch: str) -> None:
    """Which one is older the view cannot tell: its own epoch may be over."""
    if stamp[0] == epoch:
        return
    gate = Gate(live=True, sub=cut(epoch))
    token = minted(stamp=stamp)
    gate.decide(token, gate.facts(epoch=stamp[0]))
    with pytest.raises(Revoked):
        Gate(live=True, sub=cut(epoch)).decide(token, gate.facts(epoch=epoch))


def test_forged_stamp_buys_no_look_up() -> None:
    """Where a stamp decides whether to ask, its signature is verified first."""
    with pytest.raises(BadSignature):
        Gate(live=True, sub=cut(CURRENT)).decide(minted(OTHER, stamp=(LATER, 9)))


def test_token_without_a_stamp_goes_by_time() -> None:
    """The ambiguous second is refused."""
    with pytest.raises(Revoked):
        Gate(live=True, sub=cut(CURRENT)).decide(minted(stamp=None, iat=START - 30))
    Gate(live=True, sub=cut(CURRENT)).decide(minted(stamp=None, iat=START - 29))


# --- without the store ------------------------------------------------------------------------------------------------


def lapsed(mode: str, **known: Ruling) -> Gate:
    """A token was admitted; the lease has lapsed; the store is down."""
    gate = Gate(live=True, on_store_down=mode, **known)
    gate.decide()
    gate.time.now = 2.0
    gate.is_down = True
    return gate


def test_refuse_is_503() -> None:
    """The default: never 401 for the store's fault."""
    with pytest.raises(StoreUnavailable):
        lapsed("refuse").decide(answer=DOWN)


def test_503_for_the_stores_fault_leaves_nothing_to_the_collector() -> None:
    """While a store is down every request gets one: what it held is free at once, and no pause of the collector follows."""

    class Held:
        """What the frame of a request holds."""

    def request() -> weakref.ref[Held]:
        held, plan = Held(), lapsed("refuse").decision.decide(TOKEN, "header")
        next(plan)
        try:
            plan.throw(StoreUnavailable("down"))
        except StoreUnavailable:
            return weakref.ref(held)
        raise AssertionError("admitted")

    gc.disable()
    try:
        assert request()() is None
    finally:
        gc.enable()


def test_cached_goes_on_with_what_was_admitted() -> None:
    """Within the grace that was registered, without asking; not for others, not after, not while the store is up."""
    gate = lapsed("cached")
    gate.decide()
    with pytest.raises(StoreUnavailable):
        gate.decide(minted(jti="8"), DOWN)
    gate.is_down = False
    gate.decide(answer=gate.facts())
    gate.is_down = True
    gate.time.now = 4.0
    with pytest.raises(StoreUnavailable):
        gate.decide(answer=DOWN)


def test_cached_is_served_on_the_hot_path() -> None:
    """Nobody pays for a plan while the store is down; before it is, after the grace, and elsewhere there is no such hit."""
    gate, refusing = lapsed("cached"), lapsed("refuse")
    assert gate.decision.hit(b"Bearer " + TOKEN) is not None
    assert refusing.decision.hit(b"Bearer " + TOKEN) is None
    gate.is_down = False
    assert gate.decision.hit(b"Bearer " + TOKEN) is None
    gate.is_down = True
    gate.time.now = 4.0
    assert gate.decision.hit(b"Bearer " + TOKEN) is None


def test_cached_token_that_was_ruled_on_is_gone() -> None:
    """R1: a ruling known here refuses in the grace as well."""
    gate = lapsed("cached")
    gate.view.rulings[JTI] = REVOKED.encode()
    gate.view.admitted.evict(JTI)
    with pytest.raises(Revoked):
        gate.decide()


def test_failing_look_up_falls_back_on_the_grace() -> None:
    """The first request that finds the store down is served as the next ones."""
    gate = lapsed("cached")
    gate.is_down = False
    plan = gate.decision.decide(TOKEN, "header")
    next(plan)
    gate.is_down = True
    with pytest.raises(StopIteration):
        plan.throw(DOWN)


@pytest.mark.parametrize("order", ["store-first", "verify-first"])
def test_admit_takes_signature_and_expiry(order: str) -> None:
    """Nothing more, and it remembers nothing; a forged token never."""
    gate = Gate(order=order, on_store_down="admit")
    assert gate.decide(answer=DOWN).token.subject == "alice"
    assert gate.remembered == 0
    with pytest.raises(BadSignature):
        gate.decide(FORGED, None if order == "verify-first" else DOWN)


def test_admit_refuses_what_is_known() -> None:
    """R1, and what was learned while the store was asked."""
    with pytest.raises(Revoked):
        Gate(on_store_down="admit", jti=REVOKED).decide()
    gate = Gate(on_store_down="admit")
    plan = gate.decision.decide(TOKEN, "header")
    next(plan)
    gate.view.rulings[JTI] = REVOKED.encode()
    with pytest.raises(Revoked):
        plan.throw(DOWN)


@pytest.mark.parametrize(("iat", "is_admitted"), [(START - 31, False), (START - 30, False), (START - 29, True)])
def test_admit_goes_by_time_where_two_epochs_meet(iat: float, is_admitted: bool) -> None:
    """Nobody can tell the older epoch: the time may refuse, and that is 503, since the token may well be alive."""
    gate = Gate(on_store_down="admit", sub=cut(CURRENT))
    token = minted(stamp=(EARLIER, 99), iat=iat)
    if is_admitted:
        gate.decide(token, DOWN)
        return
    with pytest.raises(StoreUnavailable):
        gate.decide(token, DOWN)
    with pytest.raises(StoreUnavailable):
        Gate(on_store_down="admit", sub=cut(CURRENT), jti=REVOKED).decide(minted(stamp=(EARLIER, 99), iat=START), DOWN)


# --- the way of a request ---------------------------------------------------------------------------------------------


def examined(gate: Gate, request: Request):
    plan = gate.decision.examine(request)
    with pytest.raises(StopIteration) as end:
        next(plan)
    return end.value.value


def test_request_is_decided_by_its_token() -> None:
    """Extraction, then the one decision."""
    assert examined(Gate(live=True), bearer()).token.source == "header"


def test_exempt_path_and_preflight_go_on_anonymously() -> None:
    """Whatever token they show."""
    gate = Gate(live=True)
    assert examined(gate, bearer(FORGED, "/open")) is None
    preflight = ((b"origin", b"https://a.example"), (b"access-control-request-method", b"GET"))
    assert examined(gate, bearer(None, "/", "OPTIONS", *preflight)) is None


def test_missing_token_is_refused_unless_optional() -> None:
    """A bad token never passes as anonymous."""
    with pytest.raises(MissingToken):
        next(Gate(live=True).decision.examine(bearer(None)))
    gate = Gate(live=True, on_store_down="optional")
    assert examined(gate, bearer(None)) is None
    with pytest.raises(BadSignature):
        next(gate.decision.examine(bearer(FORGED)))


def test_cookie_of_another_site_is_refused_before_its_token() -> None:
    """CSRF: for cookies only."""
    request = Request("POST", "/", b"/", ((b"cookie", b"access=" + TOKEN), (b"sec-fetch-site", b"cross-site")))
    with pytest.raises(CrossSiteRequest):
        next(Gate(live=True).decision.examine(request))


def submitting(token: bytes, *headers: tuple[bytes, bytes], method: str = "POST") -> Request:
    """A request with the token in the cookie."""
    return Request(method, "/", b"/", ((b"cookie", b"access=" + token), *headers))


PROVED = minted(csrf="random-text")
VALUE = (b"x-csrf-token", b"random-text")


def test_double_submit_compares_with_the_token_that_was_verified() -> None:
    """First met and met again; a safe method needs no value, nor does a header, which no other site can send."""
    gate = Gate(live=True, csrf="double-submit")
    for _ in range(2):
        assert examined(gate, submitting(PROVED, VALUE)).token.source == "cookie"
        assert examined(gate, submitting(PROVED, method="GET")).token.source == "cookie"
        both = (b"authorization", b"Bearer " + PROVED)
        assert examined(gate, submitting(PROVED, both)).token.source == "header"
        with pytest.raises(CrossSiteRequest):
            next(gate.decision.examine(submitting(PROVED, (b"x-csrf-token", b"another"))))
        with pytest.raises(CrossSiteRequest):
            next(gate.decision.examine(submitting(TOKEN, VALUE)))


def test_double_submit_without_a_value_asks_nobody_about_the_token() -> None:
    """Whatever the token: the same refusal, no look-up, and nothing remembered, so that no other site learns of it."""
    gate = Gate(csrf="double-submit")
    for token in (PROVED, TOKEN, FORGED, b"abc", minted(exp=START - 1)):
        with pytest.raises(CrossSiteRequest):
            next(gate.decision.examine(submitting(token, (b"sec-fetch-site", b"same-origin"))))
    assert gate.decision.tally.misses == 0


def test_double_submit_with_a_value_never_admits_a_bad_token() -> None:
    """The token's own fault comes first: the forged claim is never compared with."""
    gate = Gate(live=True, csrf="double-submit")
    with pytest.raises(BadSignature):
        next(gate.decision.examine(submitting(minted(OTHER, csrf="random-text"), VALUE)))
    with pytest.raises(Revoked):
        next(Gate(live=True, csrf="double-submit", jti=REVOKED).decision.examine(submitting(PROVED, VALUE)))


def test_refusals_are_counted_by_reason() -> None:
    """For status and metrics."""
    tally = Tally()
    for error in (Revoked("x"), Revoked("x"), Expired("x")):
        tally.count(error)
    assert tally.refused == {"revoked": 2, "expired": 1}


# --- keys -------------------------------------------------------------------------------------------------------------


def test_ruling_on_a_key_refuses_its_tokens_and_forgets_them() -> None:
    """A key is retired by a ruling like any other, so a receipt says from when it holds."""
    gate = Gate(live=True)
    gate.decide()
    (key,) = POLICY.keys.keys
    Followed(gate.view).apply([Entry(8, "l8", "l7", "8", key.handle, REVOKED.encode())])
    assert gate.remembered == 0
    with pytest.raises(Revoked):
        gate.decide()


def test_handle_of_a_key_goes_by_what_it_is_and_by_its_issuer() -> None:
    """Another kid is no other key; the same key of another issuer is."""
    (one,) = POLICY.keys.keys
    (again,) = Settings(secret=SECRET, leeway=5).policies[None].keys.keys
    issuers = [{"issuer": name, "secret": SECRET} for name in ("one", "two")]
    first, second = (policy.keys.keys[0] for policy in Settings(issuers=issuers).policies.values())
    assert one.handle == again.handle
    assert len({one.handle, first.handle, second.handle}) == 3
