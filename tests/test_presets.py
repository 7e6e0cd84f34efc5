"""Each identity provider's tokens before the gate that knows it by name: what comes in, what kills it, what stays out."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from keymaking import Pair, craft, make_pairs
from providers import OTHER_TENANT, SHAPES, TENANT, Shape, now_of
from published import Provider
from shells import Answer, Sent, ask_wsgi, wsgi_application

from jwtgate import Gate, Settings
from jwtgate.errors import InvalidToken, JWTGateError, Revoked
from jwtgate.settings import fitting
from jwtgate.settings.presets import ENTRA_V1
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KID = "k-1"
BYSTANDER = "https://bystander.example"


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Of the provider."""
    return make_pairs()["rsa"]


@pytest.fixture(scope="module")
def key_set(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its public half, as a path: with it the providers' issuers are not asked for theirs."""
    members = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(pair.private.public_key()))
    members.pop("key_ops")
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps({"keys": [{**members, "kid": KID, "use": "sig", "alg": "RS256"}]}))
    return str(path)


def entry_of(shape: Shape, key_set: str, **members: Any) -> dict[str, Any]:
    """An entry with the preset and nothing else that could help."""
    entry = {"issuer": shape.issuer, "preset": shape.preset, "jwks_file": key_set, "audience": shape.audience}
    return {name: value for name, value in {**entry, **members}.items() if value is not None}


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    """One after the other."""
    return now_of(SHAPES[request.param])


@pytest.fixture
def gate(shape: Shape, key_set: str, pair: Pair) -> Iterator[Gate]:
    """Knows the provider, and another issuer of the same key whose handles are its own."""
    bystander = {"issuer": BYSTANDER, "jwks_file": key_set, "audience": "*"}
    with closing(Gate(Settings(issuers=[entry_of(shape, key_set), bystander]))) as made:
        yield made


def signed(pair: Pair, header: dict[str, Any], claims: dict[str, Any]) -> str:
    return craft({"alg": "RS256", "kid": KID, **header}, claims, pair.private, "RS256").decode()


def test_token_of_the_provider_is_admitted_and_read_right(gate: Gate, shape: Shape, pair: Pair) -> None:
    """Its claims stay what they are; scopes, session and token stand where the provider puts them."""
    token = gate.verify(signed(pair, shape.header, shape.claims))
    assert token.claims == shape.claims
    assert (token.subject, token.issuer) == (shape.claims["sub"], shape.claims["iss"])
    assert (token.scopes, token.session_id, token.token_id) == (shape.scopes, shape.session, shape.token_id)


def test_top_level_preset_does_the_same(shape: Shape, key_set: str, pair: Pair) -> None:
    """JWTGATE_PRESET with JWTGATE_ISSUER."""
    environ = {"PRESET": shape.preset, "ISSUER": shape.issuer, "JWKS_FILE": key_set, "AUDIENCE": shape.audience or ""}
    given = {f"JWTGATE_{name}": value for name, value in environ.items() if value}
    with closing(Gate(Settings.from_env(given))) as gate:
        token = gate.verify(signed(pair, shape.header, shape.claims))
        assert (token.scopes, token.session_id, token.token_id) == (shape.scopes, shape.session, shape.token_id)
        for name in shape.others:
            with pytest.raises(InvalidToken):
                gate.verify(signed(pair, *shape.other(name)))


def rulings(shape: Shape) -> dict[str, Callable[[Gate], object]]:
    """Of each kind that the provider's tokens have."""
    named: dict[str, dict[str, Any]] = {"sub": {"sub": shape.claims["sub"]}, "client": {"claim": ("client_id", shape.client)}}
    if shape.session is not None:
        named["sid"] = {"sid": shape.session}
    if shape.token_id is not None:
        named["jti"] = {"jti": shape.token_id}
    if shape.handle is not None:
        named["handle"] = {"claim": shape.handle}

    def ruling(target: dict[str, Any]) -> Callable[[Gate], object]:
        return lambda gate: gate.revoke(**target, issuer=shape.issuer)

    return {kind: ruling(target) for kind, target in named.items()}


@pytest.mark.parametrize("kind", ["sub", "client", "sid", "jti", "handle", "token"])
def test_ruling_on_any_handle_kills_it(kind: str, shape: Shape, key_set: str, pair: Pair) -> None:
    """The value of the claim that the provider has in that place is what the handle is made of."""
    known = rulings(shape)
    token = signed(pair, shape.header, shape.claims)
    known["token"] = lambda gate: gate.revoke(token=token)
    if kind not in known:
        expected = {"sid": shape.session, "jti": shape.token_id, "handle": shape.handle}
        assert expected[kind] is None, "the provider has no such handle"
        return
    bystander = {"issuer": BYSTANDER, "jwks_file": key_set, "audience": "*"}
    with closing(Gate(Settings(issuers=[entry_of(shape, key_set), bystander]))) as gate:
        gate.verify(token)
        other = signed(
            pair, {}, {**{n: v for n, v in shape.claims.items() if n not in ("typ", "token_use", "at_hash")}, "iss": BYSTANDER}
        )
        gate.verify(other)
        known[kind](gate)
        with pytest.raises(Revoked):
            gate.verify(token)
        gate.verify(other)  # threats.md 10: the same values of another issuer are another's


OTHERS = [(name, other) for name, shape in SHAPES.items() for other in shape.others]


@pytest.mark.parametrize(("name", "other"), OTHERS, ids=[f"{name}: {other}" for name, other in OTHERS])
def test_other_tokens_of_the_provider_stay_out(name: str, other: str, key_set: str, pair: Pair) -> None:
    """Signed by the same key, and none of them is an access token for this API."""
    shape = now_of(SHAPES[name])
    with closing(Gate(Settings(issuers=[entry_of(shape, key_set)]))) as gate:
        gate.verify(signed(pair, shape.header, shape.claims))
        with pytest.raises(InvalidToken):
            gate.verify(signed(pair, *shape.other(other)))


def test_own_tokens_keep_to_the_rfc(pair: Pair) -> None:
    """RFC 9068 §2.2: those of sessions have all that it asks for; any other needs its client_id."""
    given: dict[str, Any] = {
        "issuer": "https://as.example",
        "preset": "rfc9068",
        "audience": "api",
        "private_key": pair.private_pem,
    }
    with closing(Gate(Settings(**given, client_id="app"))) as gate:
        token = gate.verify(gate.sessions.start("alice").access_token)
        assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} <= set(token.claims)
        assert (token.header["typ"], token.claims["client_id"]) == ("at+jwt", "app")
        assert gate.verify(gate.issue("alice", claims={"client_id": "batch"})).claims["client_id"] == "batch"
        with pytest.raises(ValueError, match="would not admit"):
            gate.issue("alice")


def test_both_spellings_are_one_issuer(key_set: str, pair: Pair) -> None:
    """Google's: a ruling kills the token, however it spells iss."""
    shape = now_of(SHAPES["google"])
    with closing(Gate(Settings(issuers=[entry_of(shape, key_set)]))) as gate:
        tokens = [signed(pair, shape.header, {**shape.claims, "iss": iss}) for iss in (shape.issuer, "accounts.google.com")]
        for token in tokens:
            gate.verify(token)
        gate.revoke(sub=shape.claims["sub"], issuer=shape.issuer)
        for token in tokens:
            with pytest.raises(Revoked):
                gate.verify(token)


@pytest.mark.parametrize("iss", ["https://accounts.google.com", "accounts.google.com"])
def test_either_spelling_logs_out_everywhere(iss: str, key_set: str, pair: Pair) -> None:
    """At the endpoints, too, it is one issuer."""
    shape = now_of(SHAPES["google"])
    given: dict[str, Any] = {"endpoints": "/auth", "issuers": [entry_of(shape, key_set)]}
    with closing(Gate(Settings(**given))) as gate:
        token = signed(pair, shape.header, {**shape.claims, "iss": iss})
        sent = Sent("POST", "/auth/logout-all", (("authorization", f"Bearer {token}"),), b"")
        assert ask_wsgi(WSGIMiddleware(wsgi_application, gate=gate), sent).status == 200
        assert reason(gate, token) == "revoked"


def test_google_needs_no_issuer(key_set: str, pair: Pair) -> None:
    """It has but one."""
    shape = now_of(SHAPES["google"])
    with closing(Gate(Settings(preset="google", jwks_file=key_set, audience=shape.audience))) as gate:  # type: ignore[arg-type]
        assert gate.verify(signed(pair, shape.header, shape.claims)).subject == "1080"


def test_tenants_do_not_share_subjects(key_set: str, pair: Pair) -> None:
    """Two tenants of Entra are two issuers: who is logged out in one is not in the other."""
    one = now_of(SHAPES["entra v2"])
    tenant = "22222222-0b5f-4c33-9a51-2f6f1f0d8e11"
    issuer = f"https://login.microsoftonline.com/{tenant}/v2.0"
    entries = [entry_of(one, key_set), entry_of(one, key_set, issuer=issuer)]
    with closing(Gate(Settings(issuers=entries))) as gate:
        other = signed(pair, one.header, {**one.claims, "iss": issuer, "tid": tenant})
        gate.revoke(sub=one.claims["sub"], issuer=one.issuer)
        with pytest.raises(Revoked):
            gate.verify(signed(pair, one.header, one.claims))
        assert gate.verify(other).subject == one.claims["sub"]


def test_gates_with_other_mappings_keep_apart(key_set: str, pair: Pair) -> None:
    """threats.md 10: what one gate remembers of a token says nothing to another that reads it otherwise."""
    shape = now_of(SHAPES["cognito"])
    token = signed(pair, shape.header, shape.claims)
    plain = {"issuer": shape.issuer, "jwks_file": key_set}
    with (
        closing(Gate(Settings(issuers=[entry_of(shape, key_set)]))) as knowing,
        closing(Gate(Settings(issuers=[plain]))) as bare,
    ):
        for _ in range(2):
            assert (knowing.verify(token).session_id, bare.verify(token).session_id) == ("0d7", None)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.text(max_size=3), st.lists(st.text(max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(0, 1), max_size=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def gates(key_set: str) -> Iterator[dict[str, Gate]]:
    """One for each shape."""
    made = {name: Gate(Settings(issuers=[entry_of(shape, key_set)], handles=["tenant"])) for name, shape in SHAPES.items()}
    yield made
    for gate in made.values():
        gate.close()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_preset_admits_pyjwt_admits(data: st.DataObject, gates: dict[str, Gate], pair: Pair) -> None:
    """For tokens of every provider with a few claims changed: stricter than jwt.decode, and no other exception."""
    name = data.draw(st.sampled_from(sorted(SHAPES)))
    shape = now_of(SHAPES[name])
    names = st.sampled_from([*shape.claims, "typ", "token_use", "nonce", "aud", "scp", "scope", "sid", "tenant", "at_hash"])
    changed = data.draw(st.dictionaries(names, VALUES, max_size=3))
    header = data.draw(
        st.dictionaries(st.sampled_from(["typ", "nonce", "x"]), st.sampled_from(["JWT", "at+jwt", "", "x"]), max_size=1)
    )
    token = signed(pair, {**shape.header, **header}, {**shape.claims, **changed})
    try:
        admitted = gates[name].verify(token)
    except InvalidToken:
        return
    issuers = [shape.issuer, "accounts.google.com"] if shape.preset == "google" else shape.issuer
    decoded = jwt.decode(
        token, pair.private.public_key(), algorithms=["RS256"], issuer=issuers,
        audience=shape.audience if "aud" in admitted.claims else None,
    )  # fmt: skip
    assert decoded == admitted.claims


def test_clients_are_told_of_a_token_as_it_is_read(key_set: str, pair: Pair) -> None:
    """RFC 7662: the session is the provider's; a role with a space in its name does not read as two scopes."""
    shape = now_of(SHAPES["cognito"])
    entry = entry_of(shape, key_set, claims={"scopes": ["scope", "cognito:groups"]})
    given = {"endpoints": "/auth", "clients": f"app:{sha256(b'hush').hexdigest()}"}
    with closing(Gate(Settings(issuers=[entry], **given))) as gate:  # type: ignore[arg-type]
        token = signed(pair, shape.header, {**shape.claims, "cognito:groups": ["staff", "all admin"]})
        form = f"token={token}&client_id=app&client_secret=hush".encode()
        told = json.loads(posted(gate, "/auth/introspect", form).body)
        assert (told["active"], told["sid"], told["jti"]) == (True, "0d7", "c33")
        assert told["scope"] == "openid shop/orders.read staff"


def test_token_is_given_back_by_its_own_client(key_set: str, pair: Pair) -> None:
    """RFC 7009 §2.1: whatever claim names the client."""
    shape = now_of(SHAPES["entra v2"])
    digest = sha256(b"hush").hexdigest()
    given: dict[str, Any] = {"endpoints": "/auth", "clients": (f"app:{digest}", f"{shape.client}:{digest}")}
    with closing(Gate(Settings(issuers=[entry_of(shape, key_set)], **given))) as gate:
        token = signed(pair, shape.header, shape.claims)
        other = posted(gate, "/auth/revoke", f"token={token}&client_id=app&client_secret=hush".encode())
        assert (other.status, reason(gate, token)) == (400, "admitted")
        own = posted(gate, "/auth/revoke", f"token={token}&client_id={shape.client}&client_secret=hush".encode())
        assert (own.status, reason(gate, token)) == (200, "revoked")


def posted(gate: Gate, path: str, form: bytes) -> Answer:
    """Through the WSGI shell."""
    sent = Sent("POST", path, (("content-type", "application/x-www-form-urlencoded"),), form)
    return ask_wsgi(WSGIMiddleware(wsgi_application, gate=gate), sent)


# Entra's keys, fetched and in a file


def key_of_tenant(issuer: str | None) -> tuple[Any, dict[str, Any]]:
    """A new key, and what the set says of it."""
    private = ec.generate_private_key(ec.SECP256R1())
    members = {**ECAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": str(issuer), "use": "sig", "alg": "ES256"}
    members.pop("key_ops", None)
    return private, members if issuer is None else {**members, "issuer": issuer}


ISSUERS_OF_KEYS = {
    None: "admitted",
    "https://login.microsoftonline.com/{tenantid}/v2.0": "admitted",
    f"https://login.microsoftonline.com/{TENANT}/v2.0": "admitted",
    f"https://login.microsoftonline.com/{OTHER_TENANT}/v2.0": "unknown_key",
    "https://login.microsoftonline.com/common/v2.0": "unknown_key",
    "https://evil.example/{tenantid}/v2.0": "unknown_key",
}


@pytest.mark.parametrize("way", ["url", "file"])
def test_key_of_another_tenant_verifies_nothing(way: str, tmp_path: Path) -> None:
    """Entra, "Validate the issuer of the signing key": a key may be limited to one tenant; any tenant has the template's."""
    shape = now_of(SHAPES["entra v2"])
    made = {issuer: key_of_tenant(issuer) for issuer in ISSUERS_OF_KEYS}
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [members for _, members in made.values()]}))
    with Provider() as provider:
        provider.extra = [members for _, members in made.values()]
        given: dict[str, Any] = {"url": {"jwks_url": provider.url, "jwks_http": True}, "file": {"jwks_file": str(path)}}[way]
        with closing(Gate(Settings(issuer=shape.issuer, preset="entra", audience=shape.audience, **given))) as gate:  # type: ignore[arg-type]
            assert gate.ready()
            for issuer, (private, _) in made.items():
                token = jwt.encode(shape.claims, private, "ES256", headers={"kid": str(issuer), **shape.header})
                assert reason(gate, token) == ISSUERS_OF_KEYS[issuer], issuer


def test_keys_of_version_1_are_found_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its metadata lie at another host than iss, and must name that iss all the same."""
    shape = now_of(SHAPES["entra v1"])
    private, members = key_of_tenant("https://sts.windows.net/{tenantid}/")
    with Provider() as provider:
        provider.extra, provider.metadata = [members], {"issuer": shape.issuer}
        here = replace(ENTRA_V1, discovery=f"{provider.issuer}/.well-known/openid-configuration")
        monkeypatch.setattr(fitting, "PRESETS", {"entra": (here,)})
        with closing(Gate(Settings(issuer=shape.issuer, preset="entra", audience="api://shop", jwks_http=True))) as gate:
            token = jwt.encode(shape.claims, private, "ES256", headers={"kid": members["kid"], **shape.header})
            assert reason(gate, token) == "admitted"


def reason(gate: Gate, token: str) -> str:
    """``admitted``, or that of the error."""
    try:
        gate.verify(token)
    except JWTGateError as error:
        return error.reason
    return "admitted"
