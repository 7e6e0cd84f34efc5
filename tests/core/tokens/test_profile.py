"""How the tokens of one issuer are read: mapped names and scopes, marks, kinds, and values that mean harm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keymaking import SECRET, craft

from jwtgate.core.handles import digest_of
from jwtgate.core.keys.building import build
from jwtgate.core.tokens.parsing import ParsedToken, parse
from jwtgate.core.tokens.policy import IssuerPolicy, client_of
from jwtgate.core.tokens.profile import Profile
from jwtgate.core.tokens.shown import to_token, to_unverified_token
from jwtgate.core.tokens.verification import check_claims, handles_of, screen, verify_signature
from jwtgate.errors import InvalidToken, MalformedToken, WrongAudience, WrongIssuer, WrongType

ISSUER = "https://issuer.example"
NOW = 1_000_000
RING = build(secret=SECRET).ring
assert RING is not None
PLAIN = IssuerPolicy(ISSUER, "n", RING, None, None, ("exp",), 0.0, 2_592_000.0, (), None)
CLAIMS: dict[str, Any] = {"iss": ISSUER, "sub": "alice", "exp": NOW + 900, "iat": NOW, "jti": "j", "sid": "s", "scope": "a b"}


def policy_of(audience: tuple[str, ...] | None = None, typ: str | None = None, **profile: Any) -> IssuerPolicy:
    return replace(PLAIN, audience=audience, typ=typ, profile=Profile(**profile))


def parsed_with(header: dict[str, Any] | None = None, max_bytes: int = 8192, **claims: Any) -> ParsedToken:
    """Claims that are None are left out."""
    merged = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return parse(craft({"alg": "HS256", **(header or {})}, merged), max_bytes)


def admit(parsed: ParsedToken, policy: IssuerPolicy) -> ParsedToken:
    """The whole way of a token, as the gate goes it."""
    found, key = screen(parsed, {policy.issuer: policy}, NOW)
    assert found is policy
    handles_of(parsed, policy)
    verify_signature(parsed, key)
    check_claims(parsed, policy, NOW, key)
    return parsed


def test_profile_of_nothing_changes_nothing() -> None:
    """Whatever is not said stays as it is everywhere."""
    policy = policy_of()
    for claims in ({}, {"jti": None}, {"sid": None, "scope": ["x"]}, {"scope": None, "scp": "p q"}, {"client_id": "c"}):
        parsed = parsed_with(**claims)
        assert handles_of(admit(parsed, policy), policy) == handles_of(parsed, PLAIN)
        assert to_token(parsed, None, policy.profile) == to_token(parsed, None)
        assert to_unverified_token(parsed, None, policy.profile) == to_token(parsed, None)


def test_mapped_value_makes_the_handle_and_the_name() -> None:
    """What ``revoke(sid=…)`` names is the claim that stands for it; the registered claim then says nothing."""
    names = (("sid", (("origin_jti",),)), ("jti", (("ext", "uti"),)), ("client_id", (("client_id",), ("azp",))))
    policy = policy_of(names=names)
    parsed = admit(parsed_with(origin_jti="o", ext={"uti": "u"}, azp="web"), policy)
    expected = {
        digest_of("n", kind, value) for kind, value in (("sid", "o"), ("jti", "u"), ("client_id", "web"), ("sub", "alice"))
    }
    assert set(handles_of(parsed, policy)) == {*expected, digest_of("n", "all", "")}
    assert handles_of(parsed, policy)[0] == digest_of("n", "jti", "u"), "what revokes the token alone comes first"
    token = to_token(parsed, "header", policy.profile)
    assert (token.session_id, token.token_id, token.claims) == ("o", "u", parsed.claims)
    both = parsed_with(origin_jti="o", client_id="c", azp="web")
    assert digest_of("n", "client_id", "c") in handles_of(both, policy)


def test_absent_mapped_claim_is_absent() -> None:
    """Nothing is made up: without the claim there is no session, and the token goes by its digest."""
    policy = policy_of(names=(("sid", (("origin_jti",),)), ("jti", (("ext", "uti"),))))
    for claims in ({}, {"ext": {}}, {"ext": {"other": 1}}):
        parsed = admit(parsed_with(**claims), policy)
        token = to_token(parsed, None, policy.profile)
        assert (token.session_id, token.token_id) == (None, None)
        assert digest_of("n", "sid", "s") not in handles_of(parsed, policy)
        assert digest_of("n", "jti", "j") not in handles_of(parsed, policy)


@pytest.mark.parametrize("value", [1, 1.5, True, False, "", [], ["x"], {}, {"x": "y"}, {"uti": "x"}])
def test_mapped_claim_of_another_type_is_malformed(value: Any) -> None:
    """Threat 7, under every name: a text that is there and not empty, or nothing."""
    for kind in ("jti", "sid", "client_id"):
        with pytest.raises(MalformedToken):
            admit(parsed_with(ext={"uti": value}), policy_of(names=((kind, (("ext", "uti"),)),)))


@pytest.mark.parametrize("value", [1, 1.5, True, False, "", "uti", [], ["uti"], [{"uti": "x"}]])
def test_what_a_mapped_claim_stands_in_is_an_object(value: Any) -> None:
    """An array has no names, a text no parts."""
    with pytest.raises(MalformedToken):
        admit(parsed_with(ext=value), policy_of(names=(("jti", (("ext", "uti"),)),)))


def test_null_is_no_value() -> None:
    """As for registered claims: neither a name nor the lack of one."""
    policy = policy_of(names=(("sid", (("origin_jti",),)),))
    parsed = parse(craft({"alg": "HS256"}, {**CLAIMS, "origin_jti": None}), 8192)
    with pytest.raises(MalformedToken):
        admit(parsed, policy)


def test_scopes_are_those_of_all_places() -> None:
    """Names are not split: dots, slashes and colons are part of them. An element of a list is one scope."""
    places = (("scope",), ("realm_access", "roles"), ("https://shop.example/roles",), ("cognito:groups",))
    profile = policy_of(scopes=places).profile
    parsed = parsed_with(
        scp="never",
        realm_access={"roles": ["staff", "Store Manager", ""]},
        **{"https://shop.example/roles": "x  y", "cognito:groups": ["staff"]},
    )
    token = to_token(admit(parsed, policy_of(scopes=places)), None, profile)
    assert token.scopes == {"a", "b", "staff", "Store Manager", "x", "y"}
    assert to_token(parsed_with(scope=None), None, profile).scopes == frozenset()
    assert to_unverified_token(parsed, None, profile).scopes == token.scopes


@pytest.mark.parametrize("value", [1, True, {"roles": 1}, {"roles": {}}, {"roles": ["a", 1]}, {"roles": [["a"]]}, ["roles"]])
def test_mapped_scopes_of_another_type_are_malformed(value: Any) -> None:
    """Before anything costs anything."""
    policy = policy_of(scopes=(("realm_access", "roles"),))
    with pytest.raises(MalformedToken):
        screen(parsed_with(realm_access=value), {ISSUER: policy}, NOW)


def test_ten_thousand_roles_are_refused() -> None:
    """Threat 4: as a list by the parser, as a text by the bound on scopes, however long tokens may be."""
    policy = policy_of(scopes=(("roles",), ("scope",)))
    with pytest.raises(MalformedToken, match="too many values"):
        parsed_with(max_bytes=1_000_000, roles=[f"r{n}" for n in range(10_000)])
    with pytest.raises(MalformedToken, match="more than 1024 scopes"):
        screen(parsed_with(max_bytes=1_000_000, roles=" ".join(f"r{n}" for n in range(10_000))), {ISSUER: policy}, NOW)
    deep: Any = "x"
    for _ in range(40):
        deep = {"roles": deep}
    with pytest.raises(MalformedToken, match="nested too deep"):
        parsed_with(roles=deep)


def test_client_stands_for_a_missing_audience() -> None:
    """RFC 7519 §4.1.3 where there is aud; what stands for it where there is none, and only a text can."""
    policy = policy_of(audience=("web", "api"), audience_claim="cid")
    admit(parsed_with(cid="web"), policy)
    admit(parsed_with(cid="other", aud="api"), policy)
    for claims in ({}, {"cid": "other"}, {"cid": "web", "aud": "other"}, {"cid": ["web"]}, {"cid": {"web": 1}}, {"cid": 7}):
        with pytest.raises(WrongAudience):
            admit(parsed_with(**claims), policy)


@pytest.mark.parametrize("value", [None, "refresh", "ACCESS", ["access"], {"access": 1}, True, 1])
def test_claim_must_have_its_value(value: Any) -> None:
    """Exactly, and of its type."""
    policy = policy_of(values=(("use", ("access", "machine")),))
    admit(parsed_with(use="machine"), policy)
    with pytest.raises(WrongType):
        admit(parsed_with(use=value), policy)


def test_one_is_not_true() -> None:
    """JSON has both."""
    admit(parsed_with(ver=1), policy_of(values=(("ver", (1,)),)))
    for value, allowed in ((True, 1), (1, True), (1.0, 1), ("1", 1)):
        with pytest.raises(WrongType):
            admit(parsed_with(ver=value), policy_of(values=(("ver", (allowed,)),)))


def test_one_claim_of_a_list_is_enough() -> None:
    """And none is not; null is none."""
    policy = policy_of(one_of=(("azp", "client_id"),))
    admit(parsed_with(azp="x"), policy)
    admit(parsed_with(client_id="x"), policy)
    with pytest.raises(WrongType):
        admit(parsed_with(), policy)
    with pytest.raises(WrongType):
        admit(parse(craft({"alg": "HS256"}, {**CLAIMS, "azp": None}), 8192), policy)


def test_types_are_compared_as_media_types() -> None:
    """RFC 7515 §4.1.9: without case, ``application/`` left out or not; a parameter makes another type."""
    policy = policy_of(types=frozenset({"", "at+jwt"}))
    for typ in (None, "at+jwt", "AT+JWT", "application/at+jwt"):
        admit(parsed_with({} if typ is None else {"typ": typ}), policy)
    for typ in ("JWT", "at+jwt;v=1", "application/x-at+jwt", "x/at+jwt"):
        with pytest.raises(WrongType):
            admit(parsed_with({"typ": typ}), policy)


def test_foreign_header_is_refused() -> None:
    """A member that only tokens for another API have."""
    policy = policy_of(foreign_header=frozenset({"nonce"}))
    admit(parsed_with({"x": "y"}), policy)
    with pytest.raises(WrongType):
        admit(parsed_with({"nonce": "x"}), policy)


ID_CLAIMS: dict[str, Any] = {"aud": "web", "scope": None}


def test_id_token_is_admitted_where_it_is_what_is_wanted() -> None:
    """OpenID Connect Core §2: its hashes are no reason to refuse it there, and elsewhere they are."""
    policy = policy_of(audience=("web",), admits="id")
    for claims in ({}, {"at_hash": "x"}, {"c_hash": "x", "nonce": "n"}, {"token_use": "id"}, {"typ": "ID"}):
        admit(parsed_with(**ID_CLAIMS, **claims), policy)
        admit(parsed_with({"typ": "JWT"}, **ID_CLAIMS, **claims), policy)
    with pytest.raises(WrongType):
        admit(parsed_with(**ID_CLAIMS, at_hash="x"), replace(PLAIN, audience=("web",)))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": None},
        {"sub": None},
        {"iat": None},
        {"events": {}},
        {"scope": "a"},
        {"scp": "a"},
        {"client_id": "x"},
        {"token_use": "access"},
        {"token_use": "refresh"},
        {"typ": "Bearer"},
        {"type": ["id"]},
        {"token_type": 1},
    ],
)
def test_everything_else_is_no_id_token(claims: dict[str, Any]) -> None:
    """RFC 8725 §3.11: least of all an access token."""
    with pytest.raises(WrongType):
        admit(parsed_with(**{**ID_CLAIMS, **claims}), policy_of(audience=("web",), admits="id"))


@pytest.mark.parametrize("typ", ["at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "", "x"])
def test_other_types_are_no_id_tokens(typ: str) -> None:
    """JWT, or nothing; unless the operator says which."""
    with pytest.raises(WrongType):
        admit(parsed_with({"typ": typ}, **ID_CLAIMS), policy_of(audience=("web",), admits="id"))
    if typ:
        admit(parsed_with({"typ": typ}, **ID_CLAIMS), policy_of(audience=("web",), admits="id", typ=typ))
        with pytest.raises(WrongType):
            admit(parsed_with(**ID_CLAIMS), policy_of(audience=("web",), admits="id", typ=typ))


def test_other_spelling_is_the_same_issuer() -> None:
    """One namespace; who spells it otherwise again is nobody."""
    policy = policy_of(spellings=frozenset({"issuer.example"}))
    parsed = parsed_with(iss="issuer.example")
    assert screen(parsed, {ISSUER: policy}, NOW)[0] is policy
    assert handles_of(parsed, policy) == handles_of(parsed_with(), policy)
    for iss in ("issuer.example/", "http://issuer.example", "Issuer.example"):
        with pytest.raises(WrongIssuer):
            screen(parsed_with(iss=iss), {ISSUER: policy}, NOW)
    with pytest.raises(WrongIssuer):
        screen(parsed_with(iss=None), {ISSUER: policy}, NOW)


def test_client_is_found_wherever_its_issuer_says_it() -> None:
    """RFC 7009 §2.1 asks it of tokens that nobody has verified; of an issuer that is not configured the registered claim."""
    policy = policy_of(names=(("client_id", (("azp",),)),), spellings=frozenset({"issuer.example"}))
    policies = {ISSUER: policy}
    assert client_of(parsed_with(azp="web", client_id="no").claims, policies) == "web"
    assert client_of(parsed_with(iss="issuer.example", azp="web").claims, policies) == "web"
    assert client_of(parsed_with().claims, policies) is None
    assert client_of(parsed_with(iss="https://other", azp="web", client_id="c").claims, policies) == "c"
    assert client_of(parsed_with(client_id="c").claims, {None: PLAIN}) == "c"
    with pytest.raises(MalformedToken):
        client_of(parsed_with(azp=5).claims, policies)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", ""]), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON)
def test_any_value_under_a_mapped_name_is_read_or_refused(value: Any) -> None:
    """No input of a client raises anything but InvalidToken; what is admitted can be read again."""
    policy = policy_of(
        scopes=(("m",), ("m", "a")), names=(("sid", (("m", "b"), ("m",))), ("jti", (("m", "a", "b"),))), audience_claim="m"
    )
    parsed = parse(craft({"alg": "HS256"}, {**CLAIMS, "m": value}), 8192)
    try:
        admit(parsed, policy)
    except InvalidToken:
        return
    assert isinstance(to_token(parsed, None, policy.profile).scopes, frozenset)
