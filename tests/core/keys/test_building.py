"""Keys: which may be used at all, which one a token gets, and what the operator is told."""

from __future__ import annotations

import base64
import datetime
import gc
import json
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms
from keymaking import ALGORITHMS, SECRET, Pair

from jwtgate.core.keys.building import Built, build
from jwtgate.core.keys.material import public_key_of, read_jwk, thumbprint_of
from jwtgate.core.keys.ring import Key, KeyRing, named
from jwtgate.errors import KeysUnavailable, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).parent.parent / "vectors"
Pairs = dict[str, Pair]


def jwk_of(pair: Pair, *, is_private: bool = False, **members: object) -> dict[str, Any]:
    """The pair as a JWK, with these members besides."""
    key = pair.private if is_private else pair.private.public_key()
    writer = next(
        algorithm
        for name, algorithm in (("RSA", RSAAlgorithm), ("EllipticCurve", ECAlgorithm), ("Ed", OKPAlgorithm))
        if name in type(pair.private).__name__ or (name == "EllipticCurve" and "EC" in type(pair.private).__name__)
    )
    jwk: dict[str, Any] = writer.to_jwk(key, as_dict=True)
    jwk.pop("key_ops", None)
    return jwk | members


def secret_jwk(size: int, **members: object) -> dict[str, Any]:
    """An octet key of so many bytes."""
    return {"kty": "oct", "k": base64.urlsafe_b64encode(b"k" * size).rstrip(b"=").decode()} | members


def set_of(*jwks: object) -> str:
    """The text of a JWK Set."""
    return json.dumps({"keys": list(jwks)})


def algorithms_of(ring: KeyRing) -> set[str]:
    """What it verifies."""
    return {key.algorithm for key in ring.keys}


def ring_of(built: Built) -> KeyRing:
    """The ring of settings without mistake."""
    assert built.mistakes == ()
    assert built.ring is not None
    return built.ring


@pytest.mark.parametrize(
    ("name", "default"),
    [("rsa", "RS256"), ("p256", "ES256"), ("p384", "ES384"), ("p521", "ES512"), ("ed25519", "EdDSA")],
)
def test_default_algorithm_follows_from_the_key(name: str, default: str, pairs: Pairs) -> None:
    """RFC 8725 §3.1: the allow-list comes from the keys where none is configured, the same from PEM and JWK."""
    for built in (
        build(public_key=pairs[name].public_pem),
        build(private_key=pairs[name].private_pem),
        build(jwks=set_of(jwk_of(pairs[name]))),
        build(jwks=set_of(jwk_of(pairs[name], is_private=True))),
    ):
        assert algorithms_of(ring_of(built)) == {default}
    assert algorithms_of(ring_of(build(secret=SECRET))) == {"HS256"}


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [("rsa", each) for each in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")]
    + [("p256", "ES256"), ("p384", "ES384"), ("p521", "ES512"), ("ed25519", "EdDSA")]
    + [("secret", each) for each in ("HS256", "HS384", "HS512")],
)
def test_each_algorithm_signs_and_verifies(name: str, algorithm: str, pairs: Pairs) -> None:
    """RFC 7518 §3.1: what the signer signs verifies under its key, is read by PyJWT, and nothing else verifies."""
    own = {"secret": SECRET} if name == "secret" else {"private_key": pairs[name].private_pem}
    ring = ring_of(build(algorithms=[algorithm], **own))
    assert ring.signer is not None
    assert ring.signer.algorithm == algorithm
    signature = ring.signer.sign(b"input")
    key = ring.candidates(algorithm, ring.signer.kid)
    assert key.is_own
    assert key.verify(b"input", signature)
    assert not key.verify(b"inpuT", signature)
    for wrong in (
        b"",
        b"\0" * len(signature),
        signature[:-1],
        signature + b"\0",
        b"\xff" * len(signature),
        b"x" * 5000,
    ):
        assert not key.verify(b"input", wrong)
    public = SECRET.encode() if name == "secret" else pairs[name].private.public_key()
    assert get_default_algorithms()[algorithm].verify(b"input", public, signature)


def test_listed_algorithms_of_a_family_share_the_key(pairs: Pairs) -> None:
    """With ALGORITHMS a key serves each listed algorithm of its family; the first one listed signs."""
    ring = ring_of(build(private_key=pairs["rsa"].private_pem, algorithms=["PS256", "RS256"]))
    assert algorithms_of(ring) == {"PS256", "RS256"}
    assert ring.signer is not None
    assert ring.signer.algorithm == "PS256"
    assert ring.candidates("RS256", None).is_own


def test_public_key_can_be_published_and_a_secret_cannot(pairs: Pairs) -> None:
    """RFC 7517 §4: the public members, with the key's own algorithm, and a kid only where it has one."""
    members = jwk_of(pairs["rsa"])
    named = ring_of(build(jwks=set_of(jwk_of(pairs["rsa"], kid="k"), secret_jwk(32, kid="s")), secret=SECRET))
    published = {key.kid: key.public_jwk for key in named.keys}
    assert published == {None: None, "s": None, "k": {**members, "kid": "k", "alg": "RS256", "use": "sig"}}
    (nameless,) = ring_of(build(public_key=pairs["rsa"].public_pem)).keys
    assert nameless.public_jwk == {**members, "alg": "RS256", "use": "sig"}


def test_algorithm_is_bound_to_the_key(pairs: Pairs) -> None:
    """RFC 8725 §3.1: an algorithm that is allowed for one key is not thereby allowed for another."""
    jwks = set_of(jwk_of(pairs["rsa"], kid="r"), jwk_of(pairs["p256"], kid="e"))
    ring = ring_of(build(jwks=jwks))
    assert ring.candidates("RS256", "r").algorithm == "RS256"
    for alg, kid in (("RS256", "e"), ("ES256", "r"), ("PS256", "r"), ("HS256", "r"), ("RS384", "r")):
        with pytest.raises(UnknownKey):
            ring.candidates(alg, kid)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS384", "RS256", "ES256K"])
def test_algorithm_outside_the_list_is_unknown(alg: str) -> None:
    """The allow-list is exact: no other case, no other algorithm, never none."""
    with pytest.raises(UnknownKey):
        ring_of(build(secret=SECRET)).candidates(alg, None)


def test_key_without_kid_accepts_any_kid() -> None:
    """Interface §3: a token's kid says nothing where no kid is configured."""
    ring = ring_of(build(secret=SECRET))
    assert ring.candidates("HS256", "whatever") is ring.candidates("HS256", None)


def test_unknown_kid_is_refused_where_kids_are_in_use(pairs: Pairs) -> None:
    """An unknown kid is never tried on every key, not even on the only one."""
    ring = ring_of(build(jwks=set_of(jwk_of(pairs["rsa"], kid="a"))))
    ring.candidates("RS256", "a")
    for kid in ("b", "A", "", "a "):
        with pytest.raises(UnknownKey):
            ring.candidates("RS256", kid)


def test_refusal_in_doubt_leaves_nothing_to_the_collector() -> None:
    """Anybody can invent kids: what such a request held is free at once, and no pause of the collector meets another one."""
    ring = KeyRing((), doubts=lambda _: KeysUnavailable("being fetched"), is_whole=False)

    class Held:
        """What the frame of a request holds."""

    def request() -> weakref.ref[Held]:
        held = Held()
        try:
            ring.candidates("ES256", "invented")
        except KeysUnavailable:
            return weakref.ref(held)
        raise AssertionError("not refused")

    gc.disable()
    try:
        assert request()() is None
    finally:
        gc.enable()


def test_token_without_kid_needs_exactly_one_fitting_key(pairs: Pairs) -> None:
    """One key that fits the algorithm is enough, two are too many."""
    one, other, ec = jwk_of(pairs["rsa"], kid="a"), jwk_of(pairs["rsa_other"], kid="b"), jwk_of(pairs["p256"], kid="c")
    assert ring_of(build(jwks=set_of(one, ec))).candidates("RS256", None).kid == "a"
    with pytest.raises(UnknownKey):
        ring_of(build(jwks=set_of(one, other, ec))).candidates("RS256", None)


def test_private_key_signs_before_secret(pairs: Pairs) -> None:
    """Interface §3; and only the key that signs is ours, so only its tokens are believed about our log."""
    ring = ring_of(build(secret=SECRET, private_key=pairs["p256"].private_pem))
    assert ring.signer is not None
    assert ring.signer.algorithm == "ES256"
    assert ring.candidates("ES256", ring.signer.kid).is_own
    assert not ring.candidates("HS256", None).is_own
    assert ring_of(build(secret=SECRET)).candidates("HS256", None).is_own
    assert ring_of(build(public_key=pairs["p256"].public_pem)).signer is None
    assert not ring_of(build(public_key=pairs["p256"].public_pem)).candidates("ES256", None).is_own


def test_public_half_of_the_private_key_is_own(pairs: Pairs) -> None:
    """PUBLIC_KEY beside its own PRIVATE_KEY is the same key, once."""
    ring = ring_of(build(private_key=pairs["rsa"].private_pem, public_key=pairs["rsa"].public_pem))
    assert [key.is_own for key in ring.keys] == [True]
    mixed = ring_of(build(private_key=pairs["rsa"].private_pem, public_key=pairs["p256"].public_pem))
    assert mixed.candidates("RS256", None).is_own
    assert not mixed.candidates("ES256", None).is_own


def test_two_keys_that_no_kid_tells_apart_are_a_mistake(pairs: Pairs) -> None:
    """PUBLIC_KEY of the same algorithm as another PRIVATE_KEY: neither has a kid."""
    built = build(private_key=pairs["rsa"].private_pem, public_key=pairs["rsa_other"].public_pem)
    assert built.ring is None
    assert "JWTGATE_PUBLIC_KEY" in built.mistakes[0]


def test_own_key_goes_by_the_kid_of_the_set(pairs: Pairs) -> None:
    """Rotation: PRIVATE_KEY signs with the kid under which JWKS_FILE lists it, and old keys still verify."""
    jwks = set_of(jwk_of(pairs["rsa_other"], kid="2025"), jwk_of(pairs["rsa"], kid="2026"))
    ring = ring_of(build(private_key=pairs["rsa"].private_pem, jwks=jwks))
    assert ring.signer is not None
    assert ring.signer.kid == "2026"
    assert ring.candidates("RS256", "2026").is_own
    assert not ring.candidates("RS256", "2025").is_own
    with pytest.raises(UnknownKey):
        ring.candidates("RS256", "2024")


def test_own_tokens_find_their_key_beside_any_set(pairs: Pairs) -> None:
    """The signer's kid leads back to our own key although others fit the algorithm."""
    rsa = build(private_key=pairs["rsa"].private_pem, jwks=set_of(jwk_of(pairs["rsa_other"], kid="x")))
    secret = build(secret=SECRET, jwks=set_of(secret_jwk(32, kid="x")))
    listed = build(private_key=pairs["rsa"].private_pem, jwks=set_of(jwk_of(pairs["rsa"])))
    for built in (rsa, secret, listed):
        ring = ring_of(built)
        assert ring.signer is not None
        assert ring.candidates(ring.signer.algorithm, ring.signer.kid).is_own


def test_signer_publishes_its_public_half(pairs: Pairs) -> None:
    """RFC 7517 §4: the public JWK verifies what the signer signs, and holds no private member."""
    for name in ("rsa", "p256", "p521", "ed25519"):
        signer = ring_of(build(private_key=pairs[name].private_pem)).signer
        assert signer is not None
        assert signer.public_jwk is not None
        assert not {"d", "p", "q", "k"} & set(signer.public_jwk)
        again = ring_of(build(jwks=set_of(dict(signer.public_jwk))))
        assert again.candidates(signer.algorithm, signer.kid).verify(b"input", signer.sign(b"input"))
    signer = ring_of(build(secret=SECRET)).signer
    assert signer is not None
    assert signer.public_jwk is None


def test_certificate_is_a_public_key(pairs: Pairs) -> None:
    """PUBLIC_KEY may be the PEM text of a certificate."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    pem = (
        x509.CertificateBuilder(name, name, pairs["rsa"].private.public_key(), 1, start, start.replace(year=2027))
        .sign(pairs["rsa"].private, hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )
    signature = get_default_algorithms()["RS256"].sign(b"input", pairs["rsa"].private)
    assert ring_of(build(public_key=pem)).candidates("RS256", None).verify(b"input", signature)


def test_escaped_line_ends_are_accepted(pairs: Pairs) -> None:
    """PEM text on one line, as environment files hold it."""
    ring = ring_of(build(private_key=pairs["p256"].private_pem.replace("\n", "\\n")))
    assert algorithms_of(ring) == {"ES256"}
    assert algorithms_of(ring_of(build(public_key=pairs["rsa"].public_pem.replace("\n", "\\n")))) == {"RS256"}


def wrong_settings(pairs: Pairs) -> dict[str, tuple[str, dict[str, Any]]]:
    """What is a mistake: the name that the sentence starts with, and the settings."""
    encrypted = pairs["rsa"].private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
    traditional = (
        pairs["rsa"]
        .private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x"))
        .decode()
    )
    ssh = pairs["rsa"].private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    other = dsa.generate_private_key(1024)
    dsa_pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    dsa_private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "secret_short": ("JWTGATE_SECRET", {"secret": "x" * 31}),
        "secret_empty": ("JWTGATE_SECRET", {"secret": ""}),
        "secret_short_for_hs384": ("JWTGATE_SECRET", {"secret": "x" * 47, "algorithms": ["HS384"]}),
        "secret_short_for_one": ("JWTGATE_SECRET", {"secret": "x" * 63, "algorithms": ["HS256", "HS512"]}),
        "secret_is_public_pem": ("JWTGATE_SECRET", {"secret": pairs["rsa"].public_pem}),
        "secret_is_escaped_pem": ("JWTGATE_SECRET", {"secret": pairs["rsa"].public_pem.replace("\n", "\\n")}),
        "secret_is_private_pem": ("JWTGATE_SECRET", {"secret": pairs["rsa"].private_pem}),
        "secret_is_ssh": ("JWTGATE_SECRET", {"secret": ssh}),
        "secret_is_jwk": ("JWTGATE_SECRET", {"secret": json.dumps(jwk_of(pairs["rsa"]))}),
        "secret_is_jwk_set": ("JWTGATE_SECRET", {"secret": set_of(jwk_of(pairs["rsa"]))}),
        "secret_is_not_text": ("JWTGATE_SECRET", {"secret": "\ud800" * 40}),
        "public_weak": ("JWTGATE_PUBLIC_KEY", {"public_key": pairs["rsa_weak"].public_pem}),
        "public_curve": ("JWTGATE_PUBLIC_KEY", {"public_key": pairs["k256"].public_pem}),
        "public_ed448": ("JWTGATE_PUBLIC_KEY", {"public_key": pairs["ed448"].public_pem}),
        "public_dsa": ("JWTGATE_PUBLIC_KEY", {"public_key": dsa_pem}),
        "public_is_private": ("JWTGATE_PUBLIC_KEY", {"public_key": pairs["rsa"].private_pem}),
        "public_is_nothing": ("JWTGATE_PUBLIC_KEY", {"public_key": "no PEM"}),
        "public_is_broken": ("JWTGATE_PUBLIC_KEY", {"public_key": pairs["rsa"].public_pem[:100]}),
        "certificate_is_broken": (
            "JWTGATE_PUBLIC_KEY",
            {"public_key": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"},
        ),
        "private_weak": ("JWTGATE_PRIVATE_KEY", {"private_key": pairs["rsa_weak"].private_pem}),
        "private_curve": ("JWTGATE_PRIVATE_KEY", {"private_key": pairs["k256"].private_pem}),
        "private_ed448": ("JWTGATE_PRIVATE_KEY", {"private_key": pairs["ed448"].private_pem}),
        "private_dsa": ("JWTGATE_PRIVATE_KEY", {"private_key": dsa_private}),
        "private_is_public": ("JWTGATE_PRIVATE_KEY", {"private_key": pairs["rsa"].public_pem}),
        "private_is_nothing": ("JWTGATE_PRIVATE_KEY", {"private_key": ""}),
        "private_is_encrypted": ("JWTGATE_PRIVATE_KEY", {"private_key": encrypted}),
        "private_is_encrypted_traditional": ("JWTGATE_PRIVATE_KEY", {"private_key": traditional}),
        "none": ("JWTGATE_ALGORITHMS", {"secret": SECRET, "algorithms": ["HS256", "none"]}),
        "none_in_other_case": ("JWTGATE_ALGORITHMS", {"secret": SECRET, "algorithms": ["NONE"]}),
        "other_case": ("JWTGATE_ALGORITHMS", {"secret": SECRET, "algorithms": ["hs256"]}),
        "es256k": ("JWTGATE_ALGORITHMS", {"secret": SECRET, "algorithms": ["HS256", "ES256K"]}),
        "no_algorithm": ("JWTGATE_ALGORITHMS", {"secret": SECRET, "algorithms": []}),
        "unserved": ("JWTGATE_ALGORITHMS", {"secret": SECRET, "algorithms": ["HS256", "RS256"]}),
        "key_unused": ("JWTGATE_PRIVATE_KEY", {"private_key": pairs["p256"].private_pem, "algorithms": ["RS256"]}),
        "set_is_text": ("JWTGATE_JWKS_FILE", {"jwks": "no JSON"}),
        "set_is_array": ("JWTGATE_JWKS_FILE", {"jwks": "[]"}),
        "set_is_empty": ("JWTGATE_JWKS_FILE", {"jwks": set_of()}),
        "set_without_keys": ("JWTGATE_JWKS_FILE", {"jwks": "{}"}),
        "set_is_deep": ("JWTGATE_JWKS_FILE", {"jwks": "[" * 100_000}),
        "set_is_one_key": ("JWTGATE_JWKS_FILE", {"jwks": json.dumps(jwk_of(pairs["rsa"]))}),
        "set_is_too_long": ("JWTGATE_JWKS_FILE", {"jwks": set_of(*[{}] * 257)}),
        "set_of_unusable": ("JWTGATE_JWKS_FILE", {"jwks": set_of({}, jwk_of(pairs["rsa_weak"]))}),
    }  # fmt: skip


def test_every_wrong_setting_is_one_sentence_that_names_it(pairs: Pairs) -> None:
    """A weak, misplaced or contradictory key is refused at start, in words that hold no key material."""
    for name, (variable, arguments) in wrong_settings(pairs).items():
        built = build(**arguments)
        assert built.ring is None, name
        assert built.mistakes, name
        assert all(sentence.startswith(variable + ": ") for sentence in built.mistakes), (name, built.mistakes)
        for value in arguments.values():
            if isinstance(value, str) and value:
                assert value not in " ".join(built.mistakes), name


def test_all_mistakes_come_at_once_under_the_issuers_label() -> None:
    """With several issuers the sentence names the one that is meant."""
    built = build(secret="x", public_key="y", jwks="z", algorithms=["w"], label="JWTGATE_ISSUERS[0]")
    names = [sentence.partition(":")[0] for sentence in built.mistakes]
    fields = ("algorithms", "secret", "public_key", "jwks_file")
    assert names == [f"JWTGATE_ISSUERS[0].{field}" for field in fields]


def test_no_key_is_no_mistake_here() -> None:
    """Whether an issuer may be without keys is for whoever knows that a set is still to be fetched."""
    assert build() == Built(None, (), ())


UNUSABLE: dict[str, Callable[[Pairs], object]] = {
    "null": lambda _: None,
    "text": lambda _: "key",
    "array": lambda _: [],
    "empty": lambda _: {},
    "kty_unknown": lambda p: jwk_of(p["rsa"], kty="XYZ"),
    "kty_number": lambda p: jwk_of(p["rsa"], kty=1),
    "kty_list": lambda p: jwk_of(p["rsa"], kty=["RSA"]),
    "weak": lambda p: jwk_of(p["rsa_weak"]),
    "huge": lambda p: jwk_of(p["rsa"], n="AQ" + "AAAA" * 1000 + "B"),
    "huge_exponent": lambda p: jwk_of(p["rsa"], e="AQAAAAAAAAAAAAAAAAAAAQ"),
    "even_exponent": lambda p: jwk_of(p["rsa"], e="Ag"),
    "n_number": lambda p: jwk_of(p["rsa"], n=1),
    "n_null": lambda p: jwk_of(p["rsa"], n=None),
    "n_missing": lambda p: {k: v for k, v in jwk_of(p["rsa"]).items() if k != "n"},
    "point_off_the_curve": lambda p: jwk_of(p["p256"], y=jwk_of(p["p256"])["x"]),
    "coordinate_short": lambda p: jwk_of(p["p256"], y="AQAB"),
    "coordinate_missing": lambda p: {k: v for k, v in jwk_of(p["p256"]).items() if k != "y"},
    "curve_k256": lambda p: jwk_of(p["k256"]),
    "curve_ed448": lambda p: jwk_of(p["ed448"]),
    "curve_unknown": lambda p: jwk_of(p["p256"], crv="P-999"),
    "okp_short": lambda p: jwk_of(p["ed25519"], x="AQAB"),
    "use_enc": lambda p: jwk_of(p["rsa"], use="enc"),
    "use_null": lambda p: jwk_of(p["rsa"], use=None),
    "key_ops_encrypt": lambda p: jwk_of(p["rsa"], key_ops=["encrypt"]),
    "key_ops_sign_of_public": lambda p: jwk_of(p["rsa"], key_ops=["sign"]),
    "key_ops_empty": lambda p: jwk_of(p["rsa"], key_ops=[]),
    "key_ops_text": lambda p: jwk_of(p["rsa"], key_ops="verify"),
    "key_ops_mixed": lambda p: jwk_of(p["rsa"], key_ops=[1, None, {}]),
    "alg_of_other_family": lambda p: jwk_of(p["rsa"], alg="ES256"),
    "alg_of_other_curve": lambda p: jwk_of(p["p256"], alg="ES384"),
    "alg_of_encryption": lambda p: jwk_of(p["rsa"], alg="RSA-OAEP"),
    "alg_hmac_for_rsa": lambda p: jwk_of(p["rsa"], alg="HS256"),
    "alg_none": lambda p: jwk_of(p["rsa"], alg="none"),
    "alg_number": lambda p: jwk_of(p["rsa"], alg=1),
    "kid_number": lambda p: jwk_of(p["rsa"], kid=1),
    "oct_short": lambda _: secret_jwk(31),
    "oct_short_for_alg": lambda _: secret_jwk(47, alg="HS384"),
    "oct_not_base64url": lambda _: {"kty": "oct", "k": "+" * 60},
    "oct_missing": lambda _: {"kty": "oct"},
    "oct_number": lambda _: {"kty": "oct", "k": 1},
    "oct_is_pem": lambda p: {
        "kty": "oct",
        "k": base64.urlsafe_b64encode(p["rsa"].public_pem.encode()).rstrip(b"=").decode(),
    },
    "oct_key_ops_sign": lambda _: secret_jwk(32, key_ops=["sign"]),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_one_unusable_key_never_loses_the_set(name: str, pairs: Pairs) -> None:
    """RFC 7517 §5: it is skipped, with a warning, and the others verify; alone it makes a mistake."""
    unusable = UNUSABLE[name](pairs)
    built = build(jwks=set_of(unusable, jwk_of(pairs["rsa_other"], kid="good")))
    assert [key.kid for key in ring_of(built).keys] == ["good"]
    assert len(built.warnings) == 1
    assert built.warnings[0].startswith("JWTGATE_JWKS_FILE: keys[0]")
    assert build(jwks=set_of(unusable)).ring is None


def test_usable_purposes_are_kept(pairs: Pairs) -> None:
    """RFC 7517 §4.2, §4.3: use sig, key_ops with verify, and the private key that signs, whose public half is taken."""
    for jwk in (
        jwk_of(pairs["rsa"], use="sig", key_ops=["sign", "verify"]),
        jwk_of(pairs["p256"], is_private=True, key_ops=["sign"]),
        jwk_of(pairs["ed25519"], is_private=True),
        secret_jwk(32, use="sig", key_ops=["verify", "sign"]),
    ):
        assert len(ring_of(build(jwks=set_of(jwk))).keys) == 1


def test_algorithm_of_a_jwk_wins(pairs: Pairs) -> None:
    """Interface §3: a JWK's alg is the only one that it serves, whatever ALGORITHMS lists."""
    jwk = jwk_of(pairs["rsa"], alg="PS384")
    assert algorithms_of(ring_of(build(jwks=set_of(jwk)))) == {"PS384"}
    assert algorithms_of(ring_of(build(jwks=set_of(jwk), algorithms=["PS384"]))) == {"PS384"}
    assert build(jwks=set_of(jwk), algorithms=["RS256"]).ring is None
    assert build(jwks=set_of(jwk), algorithms=["PS384", "RS256"]).ring is None


def test_keys_that_share_a_kid_are_all_refused(pairs: Pairs) -> None:
    """Nobody can say which of two is meant; a kid may be shared by keys of different algorithms."""
    rivals = jwk_of(pairs["rsa"], kid="a"), jwk_of(pairs["rsa_other"], kid="a")
    built = build(jwks=set_of(*rivals, jwk_of(pairs["p256"], kid="a")))
    assert algorithms_of(ring_of(built)) == {"ES256"}
    assert "share" in built.warnings[0]
    assert build(jwks=set_of(*rivals)).ring is None


def test_same_key_twice_is_one_key(pairs: Pairs) -> None:
    """A set that repeats itself loses nothing."""
    built = build(jwks=set_of(jwk_of(pairs["rsa"], kid="a"), jwk_of(pairs["rsa"], kid="a")))
    assert len(ring_of(built).keys) == 1
    assert built.warnings == ()


def test_listed_key_without_kid_gives_way_to_the_configured_one(pairs: Pairs) -> None:
    """What the operator configured by itself is not lost to a set."""
    built = build(public_key=pairs["rsa"].public_pem, jwks=set_of(jwk_of(pairs["rsa_other"]), jwk_of(pairs["p256"])))
    signature = get_default_algorithms()["RS256"].sign(b"input", pairs["rsa"].private)
    assert ring_of(built).candidates("RS256", None).verify(b"input", signature)
    assert built.warnings


def test_fetched_set_holds_no_secret_and_may_still_lack_a_key(pairs: Pairs) -> None:
    """A published secret is none; and an algorithm whose key has not come yet is no mistake."""
    jwks = set_of(secret_jwk(32, kid="s"), jwk_of(pairs["rsa"], kid="r"))
    built = build(jwks=jwks, algorithms=["RS256", "ES256", "HS256"], is_fetched=True)
    assert algorithms_of(ring_of(built)) == {"RS256"}
    assert built.warnings[0].startswith("JWTGATE_JWKS_URL: keys[0]")


def test_joined_rings_refuse_rivals_and_keep_the_signer(pairs: Pairs) -> None:
    """A file's and a fetched set's keys stand side by side; where both claim a kid, neither verifies."""
    ours = ring_of(build(secret=SECRET, jwks=set_of(jwk_of(pairs["rsa"], kid="a"))))
    theirs = ring_of(build(jwks=set_of(jwk_of(pairs["rsa_other"], kid="a"), jwk_of(pairs["p256"], kid="b"))))
    joined = ours.joined(theirs)
    assert joined.signer is ours.signer
    assert joined.candidates("ES256", "b").kid == "b"
    with pytest.raises(UnknownKey):
        joined.candidates("RS256", "a")


def test_fetched_set_that_names_our_key_takes_nothing_from_it(pairs: Pairs) -> None:
    """As its own, or as another one's under its kid: tokens of ours verify, and are known to be ours."""
    ours = ring_of(build(private_key=pairs["p256"].private_pem))
    assert ours.signer is not None and ours.signer.kid is not None
    kid = ours.signer.kid
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    rival = {**ALGORITHMS["ES256"].to_jwk(other, as_dict=True), "kid": kid}
    for listed in (jwk_of(pairs["p256"], kid=kid), rival):
        joined = ours.joined(ring_of(build(jwks=set_of(listed, jwk_of(pairs["rsa"], kid="theirs")), is_fetched=True)))
        assert joined.candidates("ES256", kid).is_own
        with pytest.raises(UnknownKey):
            joined.candidates("ES256", "their-next")
        assert not joined.candidates("RS256", "theirs").is_own


def test_foreign_ring_verifies_and_nothing_else(pairs: Pairs) -> None:
    """A partner who shares a secret signs nothing in our name, and no stamp of his is believed."""
    own = ring_of(build(secret=SECRET, public_key=pairs["p256"].public_pem))
    foreign = own.foreign()
    assert foreign.signer is None and algorithms_of(foreign) == algorithms_of(own)
    assert [(key.kid, key.algorithm, key.handle) for key in foreign.keys] == [(k.kid, k.algorithm, k.handle) for k in own.keys]
    key, was = foreign.candidates("HS256", None), own.candidates("HS256", None)
    assert (was.is_own, key.is_own) == (True, False)
    assert key.verify(b"input", ALGORITHMS["HS256"].sign(b"input", SECRET.encode()))


@pytest.mark.parametrize("issuer", ["https://as/{tenant}", "https://as/one", None, 5, ["https://as/one"], "https://as/two"])
def test_key_of_another_issuer_is_skipped(issuer: object, pairs: Pairs) -> None:
    """Where it is asked whose a key is; one that says nothing is its publisher's."""
    members = {} if issuer is None else {"issuer": issuer}
    text = set_of(jwk_of(pairs["rsa"], kid="r"), jwk_of(pairs["p256"], kid="p", **members))
    asked = frozenset({"https://as/{tenant}", "https://as/one"})
    for is_fetched in (False, True):
        ring = ring_of(build(jwks=text, key_issuers=asked, is_fetched=is_fetched))
        assert ("ES256" in algorithms_of(ring)) is (issuer in ("https://as/{tenant}", "https://as/one", None))
        assert "ES256" in algorithms_of(ring_of(build(jwks=text, is_fetched=is_fetched)))


def test_private_rsa_member_without_its_primes_costs_nothing() -> None:
    """Whoever publishes a set could keep the process busy for half a minute: only what verifies is read."""
    n = base64.urlsafe_b64encode(b"\xff" * 3000).decode().rstrip("=")
    began = time.perf_counter()
    built = build(jwks=set_of({"kty": "RSA", "n": n, "e": "AQAB", "d": n, "kid": "slow"}), is_fetched=True)
    assert built.ring is None and time.perf_counter() - began < 1.0


def test_repr_shows_no_key(pairs: Pairs) -> None:
    """No key or secret in any repr: they end up in log lines."""
    ring = ring_of(build(secret=SECRET))
    shown = repr(ring) + repr(ring.keys) + repr(ring.signer) + repr(read_jwk(secret_jwk(32)))
    assert SECRET not in shown
    assert "kkkk" not in shown
    assert "RSA" not in repr(ring_of(build(public_key=pairs["rsa"].public_pem)).keys)


def test_thumbprints_are_those_of_the_rfcs(pairs: Pairs) -> None:
    """RFC 7638 §3.1, RFC 8037 A.3; and of a curve, the same from PEM and JWK."""
    for name in ("rfc7638", "rfc8037"):
        vector = json.loads((VECTORS / f"{name}.json").read_text())
        key = read_jwk(vector["jwk"]).key
        assert not isinstance(key, bytes)
        assert thumbprint_of(key) == vector["thumbprint"]
    listed = read_jwk(jwk_of(pairs["p521"])).key
    assert not isinstance(listed, bytes)
    assert thumbprint_of(listed) == thumbprint_of(public_key_of(pairs["p521"].public_pem))


def test_rfc8037_signature_verifies() -> None:
    """RFC 8037 A.4, A.5: Ed25519 over the example's signing input."""
    vector = json.loads((VECTORS / "rfc8037.json").read_text())
    signing_input, _, signature = vector["jws"].rpartition(".")
    key = ring_of(build(jwks=set_of(vector["jwk"]))).candidates("EdDSA", None)
    assert key.verify(signing_input.encode(), jwt.utils.base64url_decode(signature))


def test_kids_are_named_whole_on_one_line() -> None:
    """An operator copies one from the log; a publisher may write anything into it."""
    thumbprint = "X4x2RhAnESxbNuPdF6rfXt8vMIX5Sd7I8fMPY7sF6aU"
    kids = (thumbprint, "short", None, "a\nb\ud800", "x" * 100)
    text = named(Key(kid, "ES256", is_own=False, handle=b"", _material=None) for kid in kids)
    assert text == f"{thumbprint}, a key without kid, a\\nb\\ud800, short, {'x' * 64}"
