"""A new access token after so many requests: never two from one, never none from one, and no longer a life than the old one's."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import jwt
import pytest
from core.scripted import START, ScriptedClock, Time

from jwtgate.core.effects import Write
from jwtgate.core.followed import Followed
from jwtgate.core.handles import digest_of
from jwtgate.core.history import Epoch, LogEnd, Written
from jwtgate.core.http.cookies import CookieRules
from jwtgate.core.lru import Admitted
from jwtgate.core.rulings import MAX_SKEW_SECONDS, Change, Ruling, Toggle
from jwtgate.core.sessions.renewal import Renewal, Renewed
from jwtgate.core.sessions.stored import Guard
from jwtgate.core.tokens.issuance import Issuer
from jwtgate.core.tokens.parsing import parse
from jwtgate.core.tokens.shown import to_token
from jwtgate.core.view import View
from jwtgate.errors import StoreUnavailable
from jwtgate.messages import Request
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from typing import Any

SECRET = "a-secret-of-at-least-thirty-two-bytes"
EPOCH = "abcdefghijk"
END = int(START) + 600
CLAIMS: dict[str, Any] = {
    "sub": "alice", "jti": "old", "sid": "s", "iat": int(START) - 300, "exp": END, "auth_time": int(START) - 900,
    "jgp": f"{EPOCH}:5", "scope": "a b", "csrf": "x", "roles": ["r", {"deep": 1.5}],
}  # fmt: skip
JTI = digest_of("", "jti", "old")
GET = Request("GET", "/", b"/", ())


class Gate:
    """A renewal over a view that holds one admitted token."""

    def __init__(self, after: int = 1, *, source: Any = "header", limit: int = 8192, signed_with: str = SECRET, **claims: Any):
        self.clock = ScriptedClock(Time())
        self.view = View(
            nullcontext(), lease_seconds=1.0, grace_seconds=0.0, admitted_limit=9, rulings_limit=9, wide_handles=frozenset()
        )
        Followed(self.view).load({}, EPOCH, LogEnd(7, "l", "7"))
        self.is_down = False
        policies = Settings(secret=SECRET, public_key=claims.pop("public_key", None)).policies
        issuer = Issuer(policies, self.clock, default_ttl=900.0, max_token_bytes=limit, draw_token_id=lambda: "new")
        cookies = CookieRules("access", "refresh", is_secure=True, refresh_path="/", has_csrf=False)
        self.renewal = Renewal(after, issuer, self.view, cookies, lambda: self.is_down)
        present = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
        text = jwt.encode(present, signed_with, "HS256", headers={"typ": "at+jwt"})
        self.entry = Admitted(to_token(parse(text.encode(), 9999), source), 600.0, (JTI,))
        self.view.admitted.insert(b"key", self.entry)

    def written(self) -> Written:
        ruling = Ruling(Toggle(True, EPOCH, 8, START), until=END + 3600.0)
        return Written(Epoch(EPOCH, 1.0, 1.0, True, True), LogEnd(8, "m", "8"), START, (ruling.encode(),), ())

    def renew(self, answer: Any = ..., headers: Any = ()) -> Renewed | None:
        """Without ``answer`` it must not write; ``...`` stands for a write that is accepted."""
        plan = self.renewal.renew(self.entry, list(headers))
        try:
            self.effect = next(plan)
            assert isinstance(self.effect, Write)
            if isinstance(answer, Exception):
                plan.throw(answer)
            else:
                plan.send(self.written() if answer is ... else answer)
        except StopIteration as end:
            return end.value
        raise AssertionError("a second effect")

    def refuses(self, **how: Any) -> bool:
        """Whether nothing is written at all."""
        self.effect = None
        return self.renew(**how) is None and self.effect is None


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False, "verify_iat": False})


# --- when


def test_due_from_the_nth_request_on() -> None:
    """And at every later one, until it has been done."""
    gate = Gate(3)
    assert [gate.renewal.is_due(gate.entry, GET) for _ in range(5)] == [False, False, True, True, True]


def test_due_at_every_request_with_one() -> None:
    """The smallest number there is."""
    gate = Gate(1)
    assert gate.renewal.is_due(gate.entry, GET)


def test_handshakes_are_not_counted() -> None:
    """No script can read their response's headers."""
    gate = Gate(1)
    assert not gate.renewal.is_due(gate.entry, Request("GET", "/", b"/", (), is_websocket=True))
    assert gate.entry.served == 0


@pytest.mark.parametrize("source", [None, "subprotocol"])
def test_token_of_another_place_is_not_renewed(source: Any) -> None:
    """There is nowhere to put the new one."""
    gate = Gate(1, source=source)
    assert not gate.renewal.is_due(gate.entry, GET)


@pytest.mark.parametrize("missing", ["sid", "jti", "jgp", "exp"])
def test_only_a_token_of_a_session_of_ours_is_renewed(missing: str) -> None:
    """``issue`` makes tokens of no session; others may share our secret and make tokens without our stamp."""
    gate = Gate(1, **{missing: None}, **({"iat": int(START)} if missing == "exp" else {}))
    assert not gate.renewal.is_due(gate.entry, GET)
    assert gate.refuses()


def test_token_of_a_foreign_key_is_not_renewed() -> None:
    """What another party signed we do not sign again."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    gate = Gate(1, public_key=public)
    text = jwt.encode(CLAIMS, private, "ES256", headers={"typ": "at+jwt"})
    gate.entry = Admitted(to_token(parse(text.encode(), 9999), "header"), 600.0, (JTI,))
    assert not gate.renewal.is_due(gate.entry, GET)
    assert gate.refuses()


# --- what is written


def test_old_jti_is_revoked_only_while_it_is_not() -> None:
    """One write, guarded; remembered as long as any token under it, with the margin for clocks; it says that it was replaced."""
    gate = Gate()
    gate.renew()
    assert gate.effect == Write(
        (Change(JTI, revoked=True, until=END + 3600.0, cut_at=START + MAX_SKEW_SECONDS),),
        START,
        guard=Guard(not_revoked=(JTI,)),
    )


def test_this_process_applies_its_own_ruling_at_once() -> None:
    """The old token is not admitted here even once more."""
    gate = Gate()
    gate.renew()
    assert len(gate.view.admitted) == 0
    assert Ruling.decode(gate.view.rulings[JTI]).toggle.is_revoked


def test_loser_of_a_race_gets_none() -> None:
    """The guard does not hold: somebody else has the new token, or the old one was revoked."""
    gate = Gate()
    assert gate.renew(answer=None) is None
    assert JTI not in gate.view.rulings


def test_store_that_fails_costs_the_client_nothing() -> None:
    """Nobody knows whether the old one was revoked: the new one is given, and the next request with the old tries again."""
    gate = Gate(2)
    gate.entry.served = 1
    assert gate.renewal.is_due(gate.entry, GET)
    assert gate.renew(answer=StoreUnavailable("down")) is not None
    assert len(gate.view.admitted) == 1
    assert gate.renewal.is_due(gate.entry, GET)
    assert gate.renew() is not None


def test_store_that_is_known_to_be_down_is_not_asked() -> None:
    """No request waits for a second timeout."""
    gate = Gate()
    gate.is_down = True
    assert gate.refuses()


# --- what comes back


def test_new_token_is_the_old_one_under_another_jti() -> None:
    """The same end, the same claims, and the same stamp and time: no cut-off that kills the old one spares the new one."""
    renewed = Gate().renew()
    assert renewed is not None
    assert claims_of(renewed.value) == {**CLAIMS, "jti": "new"}
    assert jwt.get_unverified_header(renewed.value)["typ"] == "at+jwt"


@pytest.mark.parametrize("position", [6, 7, 8, 9])
def test_no_cut_off_that_kills_the_old_token_spares_the_new_one(position: int) -> None:
    """Also one written before the renewal that this process has not heard of: log out everywhere, then a late request."""
    from jwtgate.core.rulings import CutOff
    from jwtgate.core.tokens.verification import issued_of, screen

    gate = Gate()
    renewed = gate.renew()
    assert renewed is not None
    parsed = parse(renewed.value.encode(), 9999)
    policy, key = screen(parsed, gate.renewal.issuer.policies, START)
    assert Ruling(not_before=CutOff(EPOCH, position, START - 1)).kills(issued_of(parsed, key, policy), EPOCH, 0.0)


def test_token_from_a_header_comes_back_in_a_header() -> None:
    """And the response is stored by nobody, whatever the application said."""
    renewed = Gate().renew()
    assert renewed is not None
    headers = renewed.added_to([("A", "1"), ("Cache-Control", "public"), ("CACHE-CONTROL", "max-age=9")])
    assert headers == [("A", "1"), ("Cache-Control", "no-store"), ("X-Access-Token", renewed.value)]


def test_token_from_a_cookie_comes_back_as_a_cookie() -> None:
    """It lives as long as its token."""
    renewed = Gate(source="cookie").renew()
    assert renewed is not None
    assert renewed.name == "Set-Cookie"
    assert renewed.value.startswith("access=eyJ") and renewed.value.endswith(
        "; Max-Age=600; Path=/; Secure; HttpOnly; SameSite=Lax"
    )


@pytest.mark.parametrize(
    ("source", "header", "is_left"),
    [
        ("cookie", ("Set-Cookie", "access=other; Path=/"), True),
        ("cookie", ("set-cookie", " access =; Max-Age=0"), True),
        ("cookie", ("Set-Cookie", "access2=x"), False),
        ("cookie", ("Set-Cookie", "Access=x"), False),
        ("cookie", ("X-Access-Token", "x"), False),
        ("header", ("x-access-token", "x"), True),
        ("header", ("Set-Cookie", "access=x"), False),
    ],
)
def test_response_that_brings_its_own_is_left_alone(source: Any, header: tuple[str, str], is_left: bool) -> None:
    """A login sets another user's cookie, a logout clears it: ours would undo it. The old token stays as it is."""
    gate = Gate(source=source)
    if is_left:
        assert gate.refuses(headers=[header])
    else:
        assert gate.renew(headers=[header]) is not None


def test_nothing_is_revoked_for_a_token_that_could_not_be_used() -> None:
    """Too long for the gate or for a browser, or past its end: the old one stays."""
    assert Gate(limit=100).refuses()
    assert Gate(source="cookie", more="x" * 3500).refuses()
    late = Gate()
    late.clock.step(600.0)
    assert late.refuses()


def test_renewed_shows_no_token() -> None:
    """Threat 29."""
    renewed = Gate().renew()
    assert renewed is not None
    assert renewed.value not in repr(renewed)
