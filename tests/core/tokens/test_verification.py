"""Policy: which genuine tokens are admitted, and what follows from one.

The hostile tokens are signed with the issuer's real keys, so that only the rule under test can refuse them.
"""

from __future__ import annotations

import hmac
import json
import re
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keymaking import SECRET, Pair, craft, segment

from jwtgate.core.handles import digest_of
from jwtgate.core.keys.building import build
from jwtgate.core.keys.ring import Key, KeyRing
from jwtgate.core.keys.signing import sign
from jwtgate.core.rulings import Issued
from jwtgate.core.tokens.parsing import LATEST_DATE, parse
from jwtgate.core.tokens.policy import ANY_AUDIENCE, IssuerPolicy
from jwtgate.core.tokens.verification import (
    check_claims,
    expires_from,
    handles_of,
    issued_of,
    screen,
    select,
    stamp_of,
    verify_signature,
)
from jwtgate.errors import (
    BadSignature,
    Expired,
    InvalidToken,
    MalformedToken,
    NotYetValid,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
    WrongType,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.tokens.parsing import ParsedToken

NOW = 1_000_000.0
ISSUER = "https://issuer.example"
HEADER = {"alg": "HS256", "typ": "at+jwt"}
CLAIMS: dict[str, Any] = {"iss": ISSUER, "sub": "alice", "exp": 1_000_900, "iat": 1_000_000, "jti": "j", "sid": "s"}
STAMP = "abcdefghi_-:42"


def ring_of(**arguments: Any) -> KeyRing:
    """The ring of these key settings."""
    ring = build(**arguments).ring
    assert ring is not None
    return ring


RING = ring_of(secret=SECRET)
POLICY = IssuerPolicy(ISSUER, "n", RING, None, None, ("exp",), 0.0, 2_592_000.0, (), None)


def admit(token: bytes, policy: IssuerPolicy = POLICY, now: float = NOW) -> ParsedToken:
    """The whole way of a token, as the gate goes it; raises what refuses it."""
    parsed = parse(token, 8192)
    found, key = screen(parsed, {policy.issuer: policy}, now)
    assert found is policy
    verify_signature(parsed, key)
    check_claims(parsed, policy, now, key)
    handles_of(parsed, policy)
    issued_of(parsed, key, policy)
    return parsed


def token_with(header: dict[str, Any] | None = None, **claims: Any) -> bytes:
    """The usual token with these members changed; None leaves one out."""
    merged = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return craft(HEADER | (header or {}), merged)


def test_usual_token_is_admitted() -> None:
    """RFC 9068 §4: genuine, in time, of the configured issuer, an access token."""
    assert admit(token_with()).claims == CLAIMS


@pytest.mark.parametrize(
    "vector", json.loads((Path(__file__).parent.parent / "vectors/rfc7515.json").read_text()), ids=lambda v: v["source"]
)
def test_rfc7515_example_is_admitted_in_its_time(vector: dict[str, Any]) -> None:
    """RFC 7515 A.1 to A.3: admitted a second before its exp, refused from then on, and with any bit changed."""
    policy = replace(POLICY, issuer="joe", keys=ring_of(jwks=json.dumps({"keys": [vector["jwk"]]})))
    assert {key.algorithm for key in policy.keys.keys} == {vector["algorithm"]}
    token = vector["token"].encode()
    assert admit(token, policy, 1300819379).claims == vector["claims"]
    with pytest.raises(Expired):
        admit(token, policy, 1300819380)
    head, _, signature = token.rpartition(b".")
    with pytest.raises(BadSignature):
        admit(head + b"." + (b"A" if signature[:1] != b"A" else b"B") + signature[1:], policy, 1300819379)


REFUSED: dict[str, tuple[type[InvalidToken], Callable[[], bytes]]] = {
    "expired": (Expired, lambda: token_with(exp=1_000_000)),
    "expired_long_ago": (Expired, lambda: token_with(exp=0)),
    "expired_by_a_fraction": (Expired, lambda: token_with(exp=1_000_000.9)),
    "exp_missing": (MalformedToken, lambda: token_with(exp=None)),
    "exp_too_far": (InvalidToken, lambda: token_with(exp=1_000_000 + 2_592_001)),
    "nbf_in_future": (NotYetValid, lambda: token_with(nbf=1_000_001)),
    "nbf_in_future_by_a_fraction": (NotYetValid, lambda: token_with(nbf=1_000_000.5)),
    "iat_in_future": (NotYetValid, lambda: token_with(iat=1_000_001)),
    "issuer_other": (WrongIssuer, lambda: token_with(iss="https://mallory.example")),
    "issuer_with_slash": (WrongIssuer, lambda: token_with(iss=ISSUER + "/")),
    "issuer_in_other_case": (WrongIssuer, lambda: token_with(iss=ISSUER.upper())),
    "issuer_missing": (WrongIssuer, lambda: token_with(iss=None)),
    "audience_unasked": (WrongAudience, lambda: token_with(aud="api")),
    "audience_list_unasked": (WrongAudience, lambda: token_with(aud=["api"])),
    "alg_other_case": (UnknownKey, lambda: craft(HEADER | {"alg": "hs256"}, CLAIMS)),
    "alg_none": (UnknownKey, lambda: craft(HEADER | {"alg": "none"}, CLAIMS)),
    "alg_none_unsigned": (UnknownKey, lambda: craft({"alg": "none"}, CLAIMS).rpartition(b".")[0] + b"."),
    "alg_none_in_other_case": (UnknownKey, lambda: craft(HEADER | {"alg": "nOnE"}, CLAIMS)),
    "alg_not_allowed": (UnknownKey, lambda: craft(HEADER | {"alg": "HS512"}, CLAIMS, alg="HS512")),
    "signed_by_another": (BadSignature, lambda: craft(HEADER, CLAIMS, key="m" * 40)),
    "signed_with_another_hash": (BadSignature, lambda: craft(HEADER, CLAIMS, alg="HS512")),
    "unsigned": (BadSignature, lambda: craft(HEADER, CLAIMS).rpartition(b".")[0] + b"."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_token_against_the_policy_is_refused(name: str) -> None:
    """RFC 7519 §4.1, RFC 8725 §3: each rule refuses by itself, with its own reason."""
    reason, make = REFUSED[name]
    with pytest.raises(InvalidToken) as caught:
        admit(make())
    assert type(caught.value) is reason


def test_far_expiry_names_its_setting() -> None:
    """Interface §3: logged with the name of the setting, for operators of long-lived tokens."""
    with pytest.raises(InvalidToken, match="JWTGATE_MAX_TTL"):
        admit(token_with(exp=LATEST_DATE))
    admit(token_with(exp=1_000_000 + 2_592_000))


def test_leeway_widens_every_time_bound() -> None:
    """Interface §3: exp, nbf and iat may be off by the leeway, and by no more."""
    policy = replace(POLICY, leeway_seconds=10.0)
    for claims in ({"exp": 999_991}, {"nbf": 1_000_010}, {"iat": 1_000_010}, {"exp": 1_000_000 + 2_592_010}):
        admit(token_with(**claims), policy)
    for claims in ({"exp": 999_990}, {"nbf": 1_000_011}, {"iat": 1_000_011}, {"exp": 1_000_000 + 2_592_011}):
        with pytest.raises(InvalidToken):
            admit(token_with(**claims), policy)


def test_expiry_is_known_ahead() -> None:
    """What is remembered of a token ends in the very second in which it would be refused, leeway included."""
    policy = replace(POLICY, leeway_seconds=10.0)
    for exp in (1_000_900, 1_000_900.7):
        parsed = parse(token_with(exp=exp), 8192)
        assert expires_from(parsed.claims, policy) == 1_000_910
        admit(token_with(exp=exp), policy, 1_000_909.9)
        with pytest.raises(Expired):
            check_claims(parsed, policy, 1_000_910, policy.keys.candidates("HS256", None))
    lasting = parse(token_with(exp=None), 8192).claims
    assert expires_from(lasting, policy) == 1_000_000 + policy.max_ttl_seconds + 10
    assert expires_from(parse(token_with(exp=None, iat=None), 8192).claims, policy) is None


def test_token_without_exp_and_iat_is_refused() -> None:
    """A ruling on it could never be forgotten."""
    policy = replace(POLICY, require=())
    admit(token_with(exp=None), policy)
    with pytest.raises(MalformedToken):
        admit(token_with(exp=None, iat=None), policy)


def test_required_claims_are_there_and_not_null() -> None:
    """Interface §3: REQUIRE; a null claim says nothing."""
    policy = replace(POLICY, require=("sub", "tenant"))
    admit(token_with(tenant=0), policy)
    admit(token_with(tenant="a", exp=None), policy)
    for claims in (CLAIMS, CLAIMS | {"tenant": None}):
        with pytest.raises(MalformedToken, match=r"^tenant is missing, which JWTGATE_REQUIRE"):
            admit(craft(HEADER, claims), policy)


def test_any_configured_audience_is_enough() -> None:
    """RFC 7519 §4.1.3: one of the token's audiences is one of ours, exactly; a token without aud is not for us."""
    policy = replace(POLICY, audience=("api", "web"))
    for aud in ("api", "web", ["other", "web"]):
        admit(token_with(aud=aud), policy)
    for aud in ("API", "ap", "api ", ["other"], ["apiweb"], None):
        with pytest.raises(WrongAudience):
            admit(token_with(aud=aud), policy)
    for aud in ("api", ["other"], None):
        admit(token_with(aud=aud), replace(POLICY, audience=ANY_AUDIENCE))


def test_issuers_keep_to_their_keys(pairs: dict[str, Pair]) -> None:
    """RFC 8725 §3.8: a key belongs to its issuer; where none is configured any issuer, or none, is accepted."""
    other = replace(POLICY, issuer="https://other.example", keys=ring_of(public_key=pairs["p256"].public_pem))
    policies = {POLICY.issuer: POLICY, other.issuer: other}
    assert screen(parse(token_with(), 8192), policies, NOW)[0] is POLICY
    with pytest.raises(UnknownKey):
        screen(parse(token_with(iss=other.issuer), 8192), policies, NOW)
    for iss in (None, "https://anybody.example"):
        admit(token_with(iss=iss), replace(POLICY, issuer=None))


def test_selection_asks_no_clock() -> None:
    """Revoking an expired token is fine: its issuer and key are still known."""
    policy, key = select(parse(token_with(exp=1), 8192), {ISSUER: POLICY})
    assert policy is POLICY
    assert key is RING.candidates("HS256", None)


OTHER_KINDS: dict[str, bytes] = {
    f"typ_{typ}": token_with({"typ": typ})
    for typ in (
        "logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "dpop+jwt", "DPoP+jwt", "application/dpop+jwt",
        "secevent+jwt", "application/secevent+jwt", "refresh+jwt", "Refresh+JWT", "application/REFRESH+jwt",
        "dpop+jwt; charset=utf-8", "refresh", "id_token", "logout_token", "rt-refresh+jwt",
    )
} | {
    f"claim_{name}_{value}": token_with(**{name: value})
    for name in ("type", "token_type", "token_use", "typ")
    for value in (
        "refresh", "Refresh", "REFRESH", "refresh_token", "refreshToken", "refresh-token", "id", "ID", "id_token",
        "idToken", "Id", "logout", "Logout", "logout_token", "urn:ietf:params:oauth:token-type:refresh_token",
        "urn:ietf:params:oauth:token-type:id_token", "application/refresh+jwt",
    )
} | {
    "claim_list": token_with(type=["x", "refresh"]),
    "events": token_with(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
    "events_empty": token_with(events={}),
    "events_null": craft(HEADER, CLAIMS | {"events": None}),
    "at_hash": token_with(at_hash="x"),
    "c_hash": token_with(c_hash="x"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_KINDS)
def test_token_of_another_kind_never_passes(name: str) -> None:
    """RFC 8725 §3.11: refresh, id, logout and proof tokens are no access tokens, whoever signed them."""
    with pytest.raises(WrongType):
        admit(OTHER_KINDS[name])


def test_access_tokens_of_every_issuer_pass() -> None:
    """Without TYP any access token is one, however its issuer marks it."""
    for typ in ("JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Bearer", "custom+jwt", "idp+jwt"):
        admit(token_with({"typ": typ}))
    admit(craft({"alg": "HS256"}, CLAIMS))
    for claims in ({"typ": "Bearer"}, {"token_use": "access"}, {"type": "access"}, {"token_type": "access_token"},
                   {"type": 1}, {"type": {"refresh": 1}}, {"type": "identity"}, {"type": [1, "x"]}):  # fmt: skip
        admit(token_with(**claims))


def test_configured_typ_is_the_only_one() -> None:
    """RFC 9068 §4: compared as a media type, without case application/ left out or not; nothing else passes."""
    for typ in ("at+jwt", "application/AT+JWT"):
        policy = replace(POLICY, typ=typ)
        for found in ("at+jwt", "AT+jwt", "application/at+jwt"):
            admit(token_with({"typ": found}), policy)
        for found in ("JWT", "at+jwt ", "xat+jwt", "application/application/at+jwt", "refresh+jwt", ""):
            with pytest.raises(WrongType):
                admit(token_with({"typ": found}), policy)
        with pytest.raises(WrongType):
            admit(craft({"alg": "HS256"}, CLAIMS), policy)
    admit(token_with({"typ": "logout+jwt"}, events={}), replace(POLICY, typ="logout+jwt"))


def test_typ_jwt_says_too_little() -> None:
    """With TYP=JWT, which id and refresh tokens carry too, the claims that mark those still refuse."""
    policy = replace(POLICY, typ="JWT")
    admit(token_with({"typ": "JWT"}), policy)
    for claims in ({"type": "refresh"}, {"at_hash": "x"}):
        with pytest.raises(WrongType):
            admit(token_with({"typ": "JWT"}, **claims), policy)


def test_stamp_is_believed_only_under_our_own_key(pairs: dict[str, Pair]) -> None:
    """``jgp`` of anyone else's key says nothing of our log."""
    own = RING.candidates("HS256", None)
    parsed = parse(token_with(jgp=STAMP), 8192)
    assert stamp_of(parsed, own) == ("abcdefghi_-", 42)
    foreign = ring_of(secret=SECRET, private_key=pairs["p256"].private_pem).candidates("HS256", None)
    assert stamp_of(parsed, foreign) is None


@pytest.mark.parametrize(
    "jgp",
    ["", ":", "abcdefghijk", "abcdefghijk:", "abcdefghijk:-1", "abcdefghijk:+1", "abcdefghijk:01", "abcdefghijk:1\n",
     "abcdefghij:1", "abcdefghijkl:1", "abcdefghij=:1", "abcdefghijk:1:1", "abcdefghijk: 1", "abcdefghijk:\u0661",
     "abcdefghijk:" + "9" * 15, 1, ["abcdefghijk:1"], {}, True],
)  # fmt: skip
def test_malformed_stamp_is_no_stamp(jgp: object) -> None:
    """Anything but <epoch>:<position> is not believed, and refuses nothing."""
    parsed = admit(token_with(jgp=jgp))
    assert stamp_of(parsed, RING.candidates("HS256", None)) is None


def test_future_iat_never_refuses_a_stamped_token() -> None:
    """Order is by position there; a worker whose clock is ahead must not lock its users out."""
    admit(token_with(iat=1_000_030, jgp=STAMP))
    with pytest.raises(NotYetValid):
        admit(token_with(iat=1_000_030, jgp="abcdefghijk:-1"))
    with pytest.raises(NotYetValid):
        admit(token_with(nbf=1_000_030, jgp=STAMP))


def test_time_of_issue_is_what_the_token_says() -> None:
    """Rulings compare with stamp, iat and version; what is absent is None."""
    key = RING.candidates("HS256", None)
    policy = replace(POLICY, version_claim="ver")
    assert issued_of(parse(token_with(jgp=STAMP, ver=7), 8192), key, policy) == Issued(("abcdefghi_-", 42), 1_000_000, 7)
    assert issued_of(parse(token_with(iat=None), 8192), key, policy) == Issued(None, None, None)
    assert issued_of(parse(token_with(ver=7), 8192), key, POLICY) == Issued(None, 1_000_000, None)
    assert issued_of(parse(craft(HEADER, CLAIMS | {"ver": None}), 8192), key, policy).version is None


@pytest.mark.parametrize("version", [True, "7", 7.0, [7], {}])
def test_version_must_be_an_integer(version: object) -> None:
    """A version that cannot be compared is malformed."""
    with pytest.raises(MalformedToken, match="JWTGATE_VERSION_CLAIM"):
        admit(token_with(ver=version), replace(POLICY, version_claim="ver"))


def test_handles_are_the_digests_of_what_rulings_name() -> None:
    """``jti``, ``sid``, ``sub``, ``client_id``, ``all``, and each value of the configured claims, in the issuer's namespace."""
    policy = replace(POLICY, handle_claims=("tenant", "group", "device"))
    parsed = parse(token_with(sub="älice", client_id="app", tenant=7, group=["a", "b", -3], device=""), 8192)
    expected = [("jti", "j"), ("sid", "s"), ("sub", "älice"), ("client_id", "app"), ("all", ""), ("tenant", "7")]
    expected += [("group", "a"), ("group", "b"), ("group", "-3"), ("device", "")]
    assert handles_of(parsed, policy) == tuple(digest_of("n", kind, value) for kind, value in expected)
    elsewhere = handles_of(parsed, replace(policy, namespace="m"))
    assert not set(elsewhere) & set(handles_of(parsed, policy))


def test_signing_input_stands_in_for_jti() -> None:
    """Not the whole token, since a second valid signature must not slip past."""
    token = craft(HEADER, {"exp": 1_000_900, "iss": ISSUER, "tenant": None})
    parsed = parse(token, 8192)
    digest = sha256(token.rpartition(b".")[0]).hexdigest()
    expected = (digest_of("n", "signing_input", digest), digest_of("n", "all", ""))
    assert handles_of(parsed, replace(POLICY, handle_claims=("tenant",))) == expected


@pytest.mark.parametrize("value", [True, 1.5, {}, {"a": 1}, [None], [True], [["a"]], [1.5], list(range(17))])
def test_handle_claim_of_another_type_is_malformed(value: object) -> None:
    """What no ruling could name must not escape the rulings."""
    with pytest.raises(MalformedToken, match="JWTGATE_HANDLES"):
        admit(token_with(tenant=value), replace(POLICY, handle_claims=("tenant",)))


def test_both_ecdsa_signatures_lead_to_the_same_handles(pairs: dict[str, Pair]) -> None:
    """Threat: (r, n-s) verifies as well as (r, s); a ruling on one must hold for the other."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    policy = replace(POLICY, keys=ring_of(public_key=pairs["p256"].public_pem))
    claims = {"iss": ISSUER, "exp": 1_000_900}
    token = craft({"alg": "ES256"}, claims, key=pairs["p256"].private, alg="ES256")
    head, _, signature = token.rpartition(b".")
    octets = jwt.utils.base64url_decode(signature)
    twin = octets[:32] + (order - int.from_bytes(octets[32:], "big")).to_bytes(32, "big")
    one, other = admit(token, policy), admit(head + b"." + segment(twin), policy)
    assert handles_of(one, policy) == handles_of(other, policy)


def test_public_key_text_is_no_hmac_key(pairs: dict[str, Pair]) -> None:
    """RFC 8725 §2.1: HS256 keyed with the public key's text is refused before any signature work."""
    pem = pairs["rsa"].public_pem
    header = {"alg": "HS256"}
    signing_input = segment(json.dumps(header).encode()) + b"." + segment(json.dumps(CLAIMS).encode())
    token = signing_input + b"." + segment(hmac.digest(pem.encode(), signing_input, "sha256"))
    with pytest.raises(UnknownKey):
        admit(token, replace(POLICY, keys=ring_of(public_key=pem)))


def test_what_we_sign_we_admit_and_so_does_pyjwt(pairs: dict[str, Pair]) -> None:
    """RFC 9068 §2.1: typ at+jwt, alg and kid of the signer, and nothing added to the claims."""
    for arguments in (
        {"secret": SECRET},
        {"private_key": pairs["rsa"].private_pem},
        {"private_key": pairs["ed25519"].private_pem},
    ):
        policy = replace(POLICY, keys=ring_of(**arguments), typ="at+jwt")
        signer = policy.keys.signer
        assert signer is not None
        token = sign(signer, CLAIMS | {"name": "Zoë \U0001f600"})
        parsed = admit(token.encode(), policy)
        assert parsed.claims == CLAIMS | {"name": "Zoë \U0001f600"}
        assert parsed.header == {"alg": signer.algorithm, "typ": "at+jwt"} | ({"kid": signer.kid} if signer.kid else {})
        private = arguments.get("private_key")
        key: Any = SECRET if private is None else jwt.get_algorithm_by_name(signer.algorithm).prepare_key(private).public_key()
        assert jwt.decode(token, key, algorithms=[signer.algorithm], options={"verify_exp": False, "verify_iat": False})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_nothing_is_signed_that_would_be_refused(value: object) -> None:
    """Claims with no JSON or UTF-8 form are the caller's mistake, said when signing."""
    assert RING.signer is not None
    with pytest.raises(ValueError, match=r"."):
        sign(RING.signer, {"x": value})


def test_no_refusal_holds_a_claim() -> None:
    """No token, key or claim value in an exception: the messages are fixed sentences."""
    for name, (_, make) in REFUSED.items():
        with pytest.raises(InvalidToken) as caught:
            admit(make())
        assert not re.search(r"alice|mallory|issuer\.example|\d{4}", str(caught.value)), name


# What the gate admits, PyJWT admits: generated tokens, genuinely signed.

SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.text(max_size=3)
    | st.lists(st.text(max_size=3), max_size=2)
)


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A usual value, and now and then one of any type: else hardly a token would be admitted."""
    return st.integers(0, 15).flatmap(lambda dice: SCALARS if dice == 15 else usual)


def around(date: int) -> st.SearchStrategy[Any]:
    """A date at the edge, as integer and as fraction."""
    near = st.one_of(st.integers(-3, 3), st.floats(-3, 3)).map(lambda off: date + off)
    return mostly(near | near.map(int))


@st.composite
def tokens(draw: st.DrawFn) -> bytes:
    """Headers and claims near every edge of the rules, signed; PyJWT reads the real clock, so the edges are there."""
    now = int(time.time())
    text = mostly(st.text(min_size=1, max_size=3))
    header: dict[str, Any] = {"alg": "HS256"}
    header |= draw(
        st.fixed_dictionaries({}, optional={"typ": mostly(st.sampled_from(["JWT", "at+jwt", ""])), "kid": text, "x": SCALARS})
    )
    if draw(st.integers(0, 15)) == 15:
        header |= draw(st.fixed_dictionaries({}, optional={"crit": SCALARS, "b64": SCALARS, "jwk": SCALARS}))
    audience = mostly(st.sampled_from(["api", ["api", "x"], ["x"]]))
    optional = {"nbf": around(now), "iat": around(now), "aud": audience, "iss": mostly(st.just(ISSUER))}
    optional |= {"sub": text, "jti": text, "sid": text, "tenant": text, "scope": text}
    claims = draw(st.fixed_dictionaries({"exp": around(now + 3)}, optional=optional))
    token = craft(header, claims)
    if draw(st.integers(0, 7)) < 7:
        return token
    place = draw(st.integers(0, 1000)) % len(token)
    return token[:place] + draw(st.binary(max_size=2)) + token[place + draw(st.integers(0, 2)) :]


@settings(max_examples=200)
@given(
    token=tokens(),
    leeway=st.sampled_from([0.0, 1.0]),
    has_issuer=st.booleans(),
    audience=st.sampled_from([None, ("api",)]),
)
def test_whatever_is_admitted_pyjwt_admits_too(
    token: bytes, leeway: float, *, has_issuer: bool, audience: tuple[str, ...] | None
) -> None:
    """Stricter than jwt.decode under the same settings, never laxer; and no other exception than ours."""
    policy = replace(
        POLICY,
        issuer=ISSUER if has_issuer else None,
        audience=audience,
        leeway_seconds=leeway,
        handle_claims=("tenant",),
    )
    try:
        admitted = admit(token, policy, time.time())
    except InvalidToken:
        return
    try:
        decoded = jwt.decode(
            token, SECRET, algorithms=["HS256"], audience=audience, issuer=policy.issuer, leeway=leeway,
            options={"require": ["exp"]},
        )  # fmt: skip
    except jwt.ExpiredSignatureError:
        assert int(admitted.claims["exp"]) + leeway <= time.time()
        return
    assert decoded == admitted.claims


@settings(max_examples=200)
@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=80))
def test_any_bytes_are_refused_by_our_own_errors(header: bytes, payload: bytes, signature: bytes) -> None:
    """No input of a client raises anything but InvalidToken."""
    with pytest.raises(InvalidToken):
        admit(b".".join(map(segment, (header, payload, signature))))


@settings(max_examples=200)
@given(algorithm=st.sampled_from(["RS256", "PS256", "ES256", "EdDSA"]), signature=st.binary(max_size=300))
def test_any_signature_bytes_are_just_wrong(algorithm: str, signature: bytes, pairs: dict[str, Pair]) -> None:
    """A forged signature of any length is refused, never an exception of another library."""
    name = {"RS256": "rsa", "PS256": "rsa", "ES256": "p256", "EdDSA": "ed25519"}[algorithm]
    key: Key = ring_of(public_key=pairs[name].public_pem, algorithms=[algorithm]).candidates(algorithm, None)
    assert not key.verify(b"input", signature)
