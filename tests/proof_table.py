"""What may be shown as a DPoP proof, and what becomes of it: the twelve checks of RFC 9449 §4.3, each with its variants.

Each row makes the values of the ``DPoP`` header fields of one ``GET /`` with a token that is bound to the holder's key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from holders import URL, Holder, decoded, encoded, segment

Made = Callable[[Holder, str], "str | list[str]"]


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        check: the number in RFC 9449 §4.3; 0: our own strictness.
        algorithm: of the holder's key.
    """

    check: int
    name: str
    make: Made
    is_good: bool = False
    algorithm: str = "ES256"

    def __str__(self) -> str:
        return f"{self.check}:{self.name}".replace(" ", "_")

    def lines(self, holder: Holder, token: str) -> list[str]:
        """The header's values."""
        made = self.make(holder, token)
        return [made] if isinstance(made, str) else made


def _header(**members: Any) -> Made:
    return lambda holder, token: holder.proof(token, header=members)


def _claims(**members: Any) -> Made:
    return lambda holder, token: holder.proof(token, **members)


def _jwk(**members: Any) -> Made:
    return lambda holder, token: holder.proof(token, header={"jwk": {**holder.jwk, **members}})


def _ago(seconds: float) -> Made:
    return lambda holder, token: holder.proof(token, iat=time.time() - seconds)


def _parts(change: Callable[[list[str]], list[str]]) -> Made:
    return lambda holder, token: ".".join(change(holder.proof(token).split(".")))


def _raw_claims(change: Callable[[str], str]) -> Made:
    return lambda holder, token: holder.signed(holder.header(), change(json.dumps(holder.claims(token))))


def _raw_header(change: Callable[[str], str]) -> Made:
    return lambda holder, token: holder.signed(change(json.dumps(holder.header())), holder.claims(token))


def _by_another_key(holder: Holder, token: str) -> str:
    return Holder.other().proof(token)


def _signed_by_another(holder: Holder, token: str) -> str:
    return Holder.other().signed(holder.header(), holder.claims(token))


def _by_secret(holder: Holder, token: str) -> str:
    """Key confusion: HMAC under what everybody knows."""
    import hmac

    text = f"{segment(holder.header(alg='HS256'))}.{segment(holder.claims(token))}"
    key = json.dumps(holder.jwk, sort_keys=True, separators=(",", ":")).encode()
    return f"{text}.{encoded(hmac.digest(key, text.encode(), 'sha256'))}"


def _by_shared_key(holder: Holder, token: str) -> str:
    import hmac

    key = b"0" * 32
    header = holder.header(alg="HS256", jwk={"kty": "oct", "k": encoded(key)})
    text = f"{segment(header)}.{segment(holder.claims(token))}"
    return f"{text}.{encoded(hmac.digest(key, text.encode(), 'sha256'))}"


def _weak(holder: Holder, token: str) -> str:
    return Holder("RS256", rsa.generate_private_key(65537, 1024)).proof(token)


def _on_another_curve(holder: Holder, token: str) -> str:
    return Holder("ES384", ec.generate_private_key(ec.SECP384R1())).proof(token, header={"alg": "ES256"})


def _zero_in_front(holder: Holder, token: str) -> str:
    """The same number: another text for RFC 7638."""
    modulus = encoded(b"\0" + decoded(holder.jwk["n"]))
    return holder.proof(token, header={"jwk": {**holder.jwk, "n": modulus}})


def _twin(parts: list[str]) -> list[str]:
    """Another spelling of the same last octet."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(parts[2][-1]) ^ 1]
    return [*parts[:2], parts[2][:-1] + last]


def _uri(path_and_more: str) -> Made:
    return _claims(htu=path_and_more)


GOOD = [
    Row(0, "plain", lambda holder, token: holder.proof(token), is_good=True),
    *(
        Row(5, f"by {algorithm}", lambda holder, token: holder.proof(token), is_good=True, algorithm=algorithm)
        for algorithm in ("EdDSA", "ES384", "ES512", "PS256", "RS256")
    ),
    Row(0, "more claims and a nonce that nobody asked for", _claims(nonce="x", extra=[1]), is_good=True),
    Row(0, "blanks around it", lambda holder, token: f"  {holder.proof(token)} ", is_good=True),
    Row(7, "use and alg in jwk", _jwk(use="sig", alg="ES256", kid="mine"), is_good=True),
    Row(7, "key_ops verify", _jwk(key_ops=["verify"]), is_good=True),
    Row(9, "scheme and host in upper case", _uri("HTTPS://API.Example.COM/"), is_good=True),
    Row(9, "default port", _uri("https://api.example.com:443/"), is_good=True),
    Row(9, "empty port", _uri("https://api.example.com:/"), is_good=True),
    Row(9, "empty path", _uri("https://api.example.com"), is_good=True),
    Row(9, "query and fragment", _uri(f"{URL}/?q=1#part"), is_good=True),
    Row(9, "dot segments", _uri(f"{URL}/a/./../"), is_good=True),
    Row(11, "half a minute old", _ago(30), is_good=True),
    Row(11, "clock a little ahead", _ago(-3), is_good=True),
    Row(11, "exp and nbf that hold", lambda h, token: h.proof(token, exp=time.time() + 9, nbf=time.time() + 3), is_good=True),
]

BAD = [
    Row(1, "none", lambda holder, token: []),
    Row(1, "repeated", lambda holder, token: [holder.proof(token)] * 2),
    Row(1, "two", lambda holder, token: [holder.proof(token), holder.proof(token)]),
    Row(1, "joined by a comma", lambda holder, token: f"{holder.proof(token)}, {holder.proof(token)}"),
    Row(1, "with an empty one", lambda holder, token: [holder.proof(token), ""]),
    Row(2, "empty", lambda holder, token: ""),
    Row(2, "no JWT", lambda holder, token: "abc"),
    Row(2, "the access token", lambda holder, token: token),
    Row(2, "two segments", _parts(lambda parts: parts[:2])),
    Row(2, "four segments", _parts(lambda parts: [*parts, parts[2]])),
    Row(2, "padded", lambda holder, token: holder.proof(token) + "="),
    Row(2, "quoted", lambda holder, token: f'"{holder.proof(token)}"'),
    Row(2, "another spelling of the signature", _parts(_twin)),
    Row(2, "payload is a list", lambda holder, token: holder.signed(holder.header(), "[]")),
    Row(2, "payload is cut off", _raw_claims(lambda text: text[:-1])),
    Row(2, "NaN", _raw_claims(lambda text: text[:-1] + ',"x":NaN}')),
    Row(2, "too long", _claims(pad="x" * 8192)),
    Row(2, "endless number", _raw_claims(lambda text: text[:-1] + f',"x":{"9" * 400}}}')),
    Row(2, "nested too deep", _raw_claims(lambda text: text[:-1] + f',"x":{"[" * 40}{"]" * 40}}}')),
    Row(2, "lone surrogate", _raw_claims(lambda text: text[:-1] + ',"x":"\\ud800"}')),
    Row(2, "jti twice", _raw_claims(lambda text: text[:-1] + ',"jti":"b"}')),
    Row(2, "htu twice", _raw_claims(lambda text: text[:-1] + f',"htu":"{URL}/"}}')),
    Row(2, "jwk twice", _raw_header(lambda text: text[:-1] + ',"jwk":{}}')),
    Row(2, "kty twice in jwk", _raw_header(lambda text: text.replace('"kty"', '"kty":"EC","kty"'))),
    *(Row(3, f"no {name}", _claims(**{name: None})) for name in ("jti", "htm", "htu", "iat", "ath")),
    *(Row(3, f"{name} is a number", _claims(**{name: 5})) for name in ("jti", "htm", "htu", "ath")),
    Row(3, "jti is empty", _claims(jti="")),
    Row(3, "jti is very long", _claims(jti="x" * 2000)),
    Row(3, "iat is a text", _claims(iat=str(int(time.time())))),
    Row(3, "iat is true", _claims(iat=True)),
    Row(4, "no typ", _header(typ=None)),
    Row(4, "typ JWT", _header(typ="JWT")),
    Row(4, "typ at+jwt", _header(typ="at+jwt")),
    Row(4, "typ in upper case", _header(typ="DPOP+JWT")),
    Row(4, "typ with application", _header(typ="application/dpop+jwt")),
    Row(4, "typ is a list", _header(typ=["dpop+jwt"])),
    Row(5, "alg none", lambda holder, token: f"{segment(holder.header(alg='none'))}.{segment(holder.claims(token))}."),
    Row(5, "alg None with a signature", _header(alg="None")),
    Row(5, "alg in lower case", _header(alg="es256")),
    Row(5, "no alg", _header(alg=None)),
    Row(5, "HS256 under the public key", _by_secret),
    Row(5, "HS256 under a key of its own", _by_shared_key),
    Row(5, "not on the list", _header(alg="RS384"), algorithm="RS256"),
    Row(5, "alg of another kind of key", _header(alg="RS256")),
    Row(5, "alg of another curve", _on_another_curve),
    Row(5, "alg at odds with jwk", _jwk(alg="ES384")),
    Row(6, "signed by another key", _signed_by_another),
    Row(6, "no signature", _parts(lambda parts: [*parts[:2], ""])),
    Row(6, "signature cut", _parts(lambda parts: [*parts[:2], parts[2][:-4]])),
    Row(6, "signature of zeros", _parts(lambda parts: [*parts[:2], encoded(bytes(64))])),
    Row(6, "other claims under its signature", _parts(lambda parts: [parts[0], segment({"jti": "x"}), parts[2]])),
    Row(7, "no jwk", _header(jwk=None)),
    Row(7, "jwk is a text", _header(jwk="key")),
    Row(7, "jwk is a list", lambda holder, token: holder.proof(token, header={"jwk": [holder.jwk]})),
    Row(7, "jwk is empty", _header(jwk={})),
    Row(7, "private key", lambda holder, token: holder.proof(token, header={"jwk": {**holder.private_jwk}})),
    Row(7, "private RSA key", lambda h, token: h.proof(token, header={"jwk": {**h.private_jwk}}), algorithm="RS256"),
    Row(7, "private OKP key", lambda h, token: h.proof(token, header={"jwk": {**h.private_jwk}}), algorithm="EdDSA"),
    *(Row(7, f"{name} in jwk", _jwk(**{name: "AQAB"})) for name in ("d", "p", "q", "dp", "dq", "qi", "oth", "k")),
    Row(7, "for encryption", _jwk(use="enc")),
    Row(7, "key_ops without verify", _jwk(key_ops=["encrypt"])),
    Row(7, "point not on the curve", _jwk(x=encoded(b"\1" * 32))),
    Row(7, "x padded", lambda holder, token: holder.proof(token, header={"jwk": {**holder.jwk, "x": holder.jwk["x"] + "="}})),
    Row(7, "n with a zero in front", _zero_in_front, algorithm="RS256"),
    Row(7, "huge x", _jwk(x="A" * 4000)),
    Row(7, "members of wrong types", _jwk(x=5, y=None, crv=["P-256"])),
    Row(7, "weak RSA", _weak),
    *(
        Row(0, f"{name} in the header", _header(**{name: value}))
        for name, value in (("crit", ["x"]), ("b64", True), ("jku", "https://x"), ("x5u", "https://x"), ("x5c", ["x"]))
    ),
    Row(11, "exp is over", lambda holder, token: holder.proof(token, exp=time.time() - 1)),
    Row(11, "nbf is ahead", lambda holder, token: holder.proof(token, nbf=time.time() + 30)),
    Row(8, "POST", _claims(htm="POST")),
    Row(8, "get", _claims(htm="get")),
    Row(8, "empty htm", _claims(htm="")),
    Row(8, "blank behind htm", _claims(htm="GET ")),
    *(
        Row(9, name, _uri(uri))
        for name, uri in (
            ("another host", "https://evil.example/"),
            ("host as user", "https://api.example.com@evil.example/"),
            ("with a user", "https://me@api.example.com/"),
            ("with a suffix", "https://api.example.com.evil.example/"),
            ("trailing dot", "https://api.example.com./"),
            ("plain http", "http://api.example.com/"),
            ("http on 443", "http://api.example.com:443/"),
            ("another port", "https://api.example.com:8443/"),
            ("port with zeros", "https://api.example.com:0443/"),
            ("another path", f"{URL}/other"),
            ("two slashes", f"{URL}//"),
            ("path alone", "/"),
            ("without a scheme", "//api.example.com/"),
            ("wss", "wss://api.example.com/"),
            ("encoded slash", f"{URL}/%2F"),
            ("broken escape", f"{URL}/%zz"),
            ("blank", f" {URL}/"),
            ("line end", f"{URL}/\r\n"),
            ("backslash", "https:\\\\api.example.com\\"),
            ("full width host", "https://ａｐｉ.example.com/"),
            ("not ASCII", f"{URL}/é"),
            ("empty", ""),
            ("a list in a text", f"{URL}/, {URL}/"),
        )
    ),
    Row(11, "too old", _ago(70)),
    Row(11, "too far ahead", _ago(-10)),
    Row(11, "iat 0", _claims(iat=0)),
    Row(11, "iat in milliseconds", lambda holder, token: holder.proof(token, iat=int(time.time() * 1000))),
    Row(12, "ath of another token", _claims(ath=encoded(bytes(32)))),
    Row(12, "ath is empty", _claims(ath="")),
    Row(12, "ath padded", lambda holder, token: holder.proof(token, ath=holder.claims(token)["ath"] + "=")),
    Row(12, "another key", _by_another_key),
    Row(
        12,
        "ath of the token with a scheme",
        lambda holder, token: holder.proof(token, ath=holder.claims(f"DPoP {token}")["ath"]),
    ),
]

TABLE = [*GOOD, *BAD]
