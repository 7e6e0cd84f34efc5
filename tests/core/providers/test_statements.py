"""Which logout tokens and security event tokens are taken for what they say: every rule, one refused variant at a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keymaking import craft, segment
from provider_tokens import (
    CLIENT,
    LACKING,
    LOGOUT,
    NOW,
    OWN,
    PAIRS,
    PROVIDER,
    RECEIVER,
    SESSION_REVOKED,
    TRANSMITTER,
    access,
    event,
    issuers,
    logout,
    token,
)

from jwtgate import Settings
from jwtgate.core.providers.statements import EVENT_AGE_SECONDS, MAX_EVENTS, NoAudience, Statement, event_token, logout_token
from jwtgate.core.tokens.parsing import parse
from jwtgate.core.tokens.verification import screen
from jwtgate.errors import InvalidToken, WrongIssuer

POLICIES = Settings(issuers=issuers(), endpoints="/auth").policies


def heard(text: bytes, now: float = NOW, **settings: Any) -> Statement:
    """A logout token, read."""
    policies = Settings(**settings).policies if settings else POLICIES
    return logout_token(text, policies, 8192, now)


def told(text: bytes, now: float = NOW) -> Statement:
    """A security event token, read."""
    return event_token(text, POLICIES, 8192, now)


# --- logout tokens

GOOD_LOGOUTS = {
    "as the specification has it": logout(),
    "sub alone": logout(sid=LACKING),
    "sid alone": logout(sub=LACKING),
    "no typ, as before the last draft": logout({"typ": LACKING}),
    "typ JWT": logout({"typ": "JWT"}),
    "typ with application/": logout({"typ": "application/logout+jwt"}),
    "typ in capitals": logout({"typ": "LOGOUT+JWT"}),
    "aud is a list": logout(aud=["other", CLIENT]),
    "Keycloak's second event that is no object": logout(events={LOGOUT: {}, "revoke_offline_access": True}, typ="Logout"),
    "the event's object has members": logout(events={LOGOUT: {"a": [1, {"b": None}]}}),
    "claims that nobody knows": logout(**{"https://x.example/y": {"z": [1]}, "auth_time": 5, "trace_id": "t"}),
    "no exp, as old Keycloaks": logout(exp=LACKING),
    "no exp, two minutes old": logout(exp=LACKING, iat=NOW - 120),
    "a minute early": logout(iat=NOW + 60, exp=NOW + 180),
    "iat with a fraction": logout(iat=NOW - 0.5),
    "no kid, one key that fits": logout({"kid": LACKING}),
    "another kid, a key without one": logout({"kid": "k2"}),
    "nbf that is past": logout(nbf=NOW - 1),
    "the last second": logout(iat=NOW - 200, exp=NOW + 1),
}


@pytest.mark.parametrize("name", GOOD_LOGOUTS)
def test_good_logout_token_is_heard(name: str) -> None:
    """OpenID Connect Back-Channel Logout §2.4 to §2.6: what is optional may lack, what is unknown is ignored."""
    statement = heard(GOOD_LOGOUTS[name])
    assert statement.policy.issuer == PROVIDER
    assert statement.until > NOW + 3600


BAD_LOGOUTS: dict[str, bytes] = {
    "empty": b"",
    "no JWT": b"a.b.c",
    "four segments": logout() + b".x",
    "five segments, encrypted": b".".join([segment(b'{"alg":"RSA-OAEP","enc":"A256GCM"}'), b"a", b"b", b"c", b"d"]),
    "padded": logout() + b"=",
    "another character": logout() + b"\n",
    "too long": logout(padding="x" * 9000),
    "alg none": segment(b'{"alg":"none","typ":"logout+jwt"}') + logout()[logout().index(b"."):logout().rindex(b".") + 1],
    "alg None in another case": logout({"alg": "nOnE"}),
    "HMAC with the public key": craft({"alg": "HS256", "typ": "logout+jwt", "kid": "k1"}, {"iss": PROVIDER}, PAIRS["p256"].public_pem, "HS256"),
    "another algorithm of the same key": logout({"alg": "ES384"}),
    "key of the header": logout({"jwk": {"kty": "EC"}}),
    "critical extension": logout({"crit": ["exp"], "exp": 1}),
    "signed by another key": logout(key="p384", alg="ES384"),
    "signed by our own key": logout(key="rsa", alg="RS256"),
    "signed by the transmitter's": logout(key="ed25519", alg="EdDSA"),
    "signature of another token": logout(jti="x").rpartition(b".")[0] + b"." + logout().rpartition(b".")[2],
    "no iss": logout(iss=LACKING),
    "iss of nobody": logout(iss="https://evil.example"),
    "iss with a slash more": logout(iss=PROVIDER + "/"),
    "iss in capitals": logout(iss=PROVIDER.upper()),
    "our own iss": logout(iss=OWN),
    "iss no string": logout(iss=[PROVIDER]),
    "no aud": logout(aud=LACKING),
    "aud of another client": logout(aud="other"),
    "aud of our API": logout(aud=RECEIVER),
    "aud a list without us": logout(aud=["a", "b"]),
    "aud an empty list": logout(aud=[]),
    "aud holds ours as a part": logout(aud=CLIENT + "x"),
    "aud all": logout(aud="*"),
    "no iat": logout(iat=LACKING),
    "iat a string": logout(iat=str(NOW)),
    "iat true": logout(iat=True),
    "iat an hour ahead": logout(iat=NOW + 3600, exp=NOW + 3720),
    "iat 61 s ahead": logout(iat=NOW + 61, exp=NOW + 120),
    "exp past": logout(exp=NOW - 1),
    "exp now": logout(exp=NOW),
    "exp a string": logout(exp=str(NOW + 100)),
    "exp null": logout(exp=None),
    "exp years ahead": logout(exp=NOW + 10**8),
    "no exp and too old": logout(exp=LACKING, iat=NOW - 181),
    "nbf ahead": logout(nbf=NOW + 100),
    "no jti": logout(jti=LACKING),
    "jti empty": logout(jti=""),
    "jti a number": logout(jti=7),
    "neither sub nor sid": logout(sub=LACKING, sid=LACKING),
    "sub empty": logout(sub=""),
    "sid empty": logout(sid=""),
    "sid a number": logout(sid=7),
    "sub null": logout(sub=None),
    "no events": logout(events=LACKING),
    "events null": logout(events=None),
    "events a list": logout(events=[LOGOUT]),
    "events a string": logout(events=LOGOUT),
    "events empty": logout(events={}),
    "another event": logout(events={SESSION_REVOKED: {}}),
    "the event true": logout(events={LOGOUT: True}),
    "the event null": logout(events={LOGOUT: None}),
    "the event a list": logout(events={LOGOUT: [{}]}),
    "the event in capitals": logout(events={LOGOUT.upper(): {}}),
    "nonce": logout(nonce="n"),
    "nonce null": logout(nonce=None),
    "nonce empty": logout(nonce=""),
    "hash of an ID token": logout(at_hash="h"),
    "typ of an access token": logout({"typ": "at+jwt"}),
    "typ of a security event token": logout({"typ": "secevent+jwt"}),
    "typ of a proof": logout({"typ": "dpop+jwt"}),
    "typ of a status list": logout({"typ": "statuslist+jwt"}),
    "typ with a parameter": logout({"typ": "logout+jwt;x=y"}),
    "typ empty": logout({"typ": ""}),
    "typ null": logout({"typ": None}),
    "an access token": access(),
    "an access token for our client": access(aud=CLIENT),
    "an ID token": token({"typ": "JWT"}, {"iss": PROVIDER, "aud": CLIENT, "sub": "u1", "sid": "s1", "jti": "i", "iat": NOW, "exp": NOW + 9, "nonce": "n"}),
    "an ID token without nonce": token({}, {"iss": PROVIDER, "aud": CLIENT, "sub": "u1", "sid": "s1", "jti": "i", "iat": NOW, "exp": NOW + 9}),
    "a security event token": event(iss=PROVIDER, aud=CLIENT, key="p256", alg="ES256"),
    "duplicate members": craft(b'{"alg":"ES256","typ":"logout+jwt"}', b'{"iss":"%b","iss":"x"}' % PROVIDER.encode(), PAIRS["p256"].private, "ES256"),
    "a date of five thousand digits": craft(b'{"alg":"ES256"}', b'{"iat":' + b"9" * 5000 + b"}", PAIRS["p256"].private, "ES256"),
    "NaN": craft(b'{"alg":"ES256"}', b'{"iat":NaN}', PAIRS["p256"].private, "ES256"),
    "too deep": logout(events={LOGOUT: {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}),
    "half a surrogate": craft(b'{"alg":"ES256"}', b'{"iss":"\\ud800"}', PAIRS["p256"].private, "ES256"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LOGOUTS)
def test_bad_logout_token_is_refused(name: str) -> None:
    """§2.6: whatever does not hold makes it invalid, and the reason quotes nothing of it."""
    with pytest.raises(InvalidToken) as refused:
        heard(BAD_LOGOUTS[name])
    for secret in ("u1", "s1", "l1", CLIENT, PROVIDER, "evil"):
        assert secret not in str(refused.value)


def test_there_are_enough_ways_to_be_wrong() -> None:
    """A table that shrank would go unnoticed."""
    assert len(BAD_LOGOUTS) > 70 and len(BAD_EVENTS) > 40


@pytest.mark.parametrize("name", GOOD_LOGOUTS)
def test_logout_token_is_never_admitted(name: str) -> None:
    """Threat 6: for whatever audience it is, by the one parse and the one screen of access tokens."""
    settings = {**issuers()[1], "audience": "*"}
    for typ in (None, "at+jwt", "JWT"):
        policies = Settings(issuers=[settings], typ=typ).policies
        with pytest.raises(InvalidToken):
            screen(parse(GOOD_LOGOUTS[name], 8192), policies, NOW)


@pytest.mark.parametrize("admits", ["none", "id", "access"])
def test_what_an_issuer_tells_is_heard_whatever_of_it_is_admitted(admits: str) -> None:
    """An application with sessions of its own may want the provider's logouts and none of its tokens."""
    entry = {**issuers()[1], "admits": admits, "audience": [RECEIVER, CLIENT]}
    assert heard(logout(), issuers=[entry], endpoints="/auth").policy.issuer == PROVIDER
    if admits == "none":
        policies = Settings(issuers=[entry], endpoints="/auth").policies
        for text in (
            access(),
            access(typ="ID"),
            logout(),
            token({}, {"iss": PROVIDER, "exp": NOW + 9, "aud": CLIENT, "sub": "u", "iat": NOW}),
        ):
            with pytest.raises(InvalidToken, match="no token of this issuer"):
                screen(parse(text, 8192), policies, NOW)


def test_provider_without_our_names_tells_nobody() -> None:
    """The variable is named for the operator; AUDIENCE never serves in its place."""
    entry = {**issuers()[1], "audience": [RECEIVER, CLIENT]}
    del entry["logout_audience"]
    with pytest.raises(NoAudience, match="JWTGATE_LOGOUT_AUDIENCE"):
        heard(logout(), issuers=[entry])


def test_names_at_one_provider_are_not_those_at_another() -> None:
    """Each has its own list: a client id of one may be somebody else's at the other."""
    entries = [
        *issuers(),
        {"issuer": "https://b.example", "public_key": PAIRS["p384"].public_pem, "logout_audience": "b-client"},
    ]
    other = {"iss": "https://b.example", "key": "p384", "alg": "ES384"}
    assert heard(logout(aud="b-client", **other), issuers=entries, endpoints="/a").policy.issuer == "https://b.example"
    for wrong in (logout(aud=CLIENT, **other), logout(aud="b-client")):
        with pytest.raises(InvalidToken):
            heard(wrong, issuers=entries, endpoints="/a")


def test_without_a_configured_issuer_nobody_is_believed() -> None:
    """A gate that takes any iss knows no provider."""
    with pytest.raises(WrongIssuer):
        heard(logout(), public_key=PAIRS["p256"].public_pem)


def test_leeway_counts_for_exp() -> None:
    """JWTGATE_LEEWAY, as for access tokens."""
    given = {"issuers": issuers(), "endpoints": "/auth", "leeway": 30}
    assert heard(logout(iat=NOW - 120, exp=NOW - 29), **given)
    with pytest.raises(InvalidToken):
        heard(logout(iat=NOW - 120, exp=NOW - 30), **given)


def test_it_is_remembered_longer_than_it_could_be_told_again() -> None:
    """With an hour's margin for clocks; without exp by the bound on its age."""
    assert heard(logout()).until == NOW + 120 + 3600
    assert heard(logout(exp=LACKING)).until == NOW + 120 + 60 + 3600


# --- security event tokens

GOOD_EVENTS = {
    "as the framework has it": event(),
    "typ with application/": event({"typ": "application/secevent+jwt"}),
    "no txn": event(txn=LACKING),
    "aud a list": event(aud=["x", RECEIVER]),
    "several events": event(events={SESSION_REVOKED: {}, "https://x.example/e": {"a": 1}}),
    "a day old": event(iat=NOW - EVENT_AGE_SECONDS),
    "a minute early": event(iat=NOW + 60),
    "subject in the event": event(sub_id=LACKING, events={SESSION_REVOKED: {"subject": {"format": "opaque", "id": "s"}}}),
}


@pytest.mark.parametrize("name", GOOD_EVENTS)
def test_good_event_token_is_heard(name: str) -> None:
    """RFC 8417 §2.2, Shared Signals Framework §4.1."""
    assert told(GOOD_EVENTS[name]).policy.issuer == TRANSMITTER


BAD_EVENTS: dict[str, bytes] = {
    "empty": b"",
    "no JWT": b"{}",
    "padded": event() + b"=",
    "too long": event(padding="x" * 9000),
    "alg none": segment(b'{"alg":"none","typ":"secevent+jwt"}') + event()[event().index(b"."):event().rindex(b".") + 1],
    "alg of another key": event({"alg": "ES256"}),
    "HMAC with the public key": craft({"alg": "HS256", "typ": "secevent+jwt"}, {"iss": TRANSMITTER}, PAIRS["ed25519"].public_pem, "HS256"),
    "signed by the provider": event(key="p256", alg="ES256"),
    "signed by our own key": event(key="rsa", alg="RS256"),
    "signature of another": event(jti="x").rpartition(b".")[0] + b"." + event().rpartition(b".")[2],
    "no typ": event({"typ": LACKING}),
    "typ JWT": event({"typ": "JWT"}),
    "typ logout+jwt": event({"typ": "logout+jwt"}),
    "typ at+jwt": event({"typ": "at+jwt"}),
    "exp": event(exp=NOW + 100),
    "exp null": event(exp=None),
    "sub": event(sub="u1"),
    "sub null": event(sub=None),
    "no iss": event(iss=LACKING),
    "iss of nobody": event(iss="https://evil.example"),
    "iss without the slash": event(iss=TRANSMITTER.rstrip("/")),
    "iss of a provider that tells no events": event(iss=PROVIDER, key="p256", alg="ES256"),
    "our own iss": event(iss=OWN, key="rsa", alg="RS256"),
    "no aud": event(aud=LACKING),
    "aud of another": event(aud="other"),
    "aud of the client": event(aud=CLIENT),
    "no iat": event(iat=LACKING),
    "iat a string": event(iat=str(NOW)),
    "iat ahead": event(iat=NOW + 61),
    "too old": event(iat=NOW - EVENT_AGE_SECONDS - 61),
    "nbf ahead": event(nbf=NOW + 100),
    "no jti": event(jti=LACKING),
    "jti empty": event(jti=""),
    "jti a list": event(jti=["e1"]),
    "no events": event(events=LACKING),
    "events empty": event(events={}),
    "events a list": event(events=[SESSION_REVOKED]),
    "an event true": event(events={SESSION_REVOKED: True}),
    "an event null": event(events={SESSION_REVOKED: {}, "https://x.example/e": None}),
    "too many events": event(events={f"https://x.example/{number}": {} for number in range(MAX_EVENTS + 1)}),
    "a logout token": logout(),
    "an access token": access(),
    "deep": event(events={SESSION_REVOKED: {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}),
    "key of the header": event({"jwk": {"kty": "OKP"}}),
    "place of a key": event({"jku": "https://evil.example/keys"}),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_bad_event_token_is_refused(name: str) -> None:
    """RFC 8417 §2.2; the reason quotes nothing of it."""
    with pytest.raises(InvalidToken) as refused:
        told(BAD_EVENTS[name])
    for secret in ("u1", "e1", RECEIVER, TRANSMITTER, "evil"):
        assert secret not in str(refused.value)


@pytest.mark.parametrize("name", GOOD_EVENTS)
def test_event_token_is_never_admitted_nor_a_logout_token(name: str) -> None:
    """Threat 6."""
    entry = {**issuers()[2], "audience": "*", "logout_audience": RECEIVER, "admits": "access"}
    for typ in (None, "at+jwt", "JWT"):
        policies = Settings(issuers=[entry], typ=typ, require=("iss",)).policies
        with pytest.raises(InvalidToken):
            screen(parse(GOOD_EVENTS[name], 8192), policies, NOW)
        with pytest.raises(InvalidToken):
            logout_token(GOOD_EVENTS[name], policies, 8192, NOW)


# --- any input at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["iss", "aud", "iat", "exp", "nbf", "jti", "sub", "sid", "events", "nonce", "sub_id", "x"])


@given(st.dictionaries(NAMES, JSON, max_size=4), st.sampled_from([None, "JWT", "logout+jwt", "secevent+jwt"]))
def test_signed_nonsense_is_refused_or_heard_and_nothing_else(claims: dict[str, Any], typ: str | None) -> None:
    """Threats 2 and 7: a provider's own mistakes are no exception of another library."""
    for read, text in ((heard, logout({"typ": typ}, **claims)), (told, event({"typ": typ}, **claims))):
        try:
            read(text)
        except InvalidToken:
            continue


@given(st.binary(max_size=200))
def test_bytes_are_refused(text: bytes) -> None:
    """Threats 2 and 4."""
    for read in (heard, told):
        with pytest.raises(InvalidToken):
            read(text)
