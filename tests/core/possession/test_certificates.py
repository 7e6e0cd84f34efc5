"""RFC 8705 §3 and RFC 9440: which certificate a request has shown, and who is believed about it."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import pytest
from certificates import certificate, pem_of
from holders import encoded

from jwtgate.core.possession.certificates import Certificates
from jwtgate.core.possession.errors import WrongHolder
from jwtgate.messages import Request

PROXIES = (ip_network("10.1.0.0/16"), ip_network("2001:db8::7/128"))
INSIDE = {"client": ("10.1.2.3", 1234)}


@cache
def pem() -> str:
    """Of one client for the whole run."""
    return pem_of(certificate()[0])


def der() -> bytes:
    """The same."""
    import ssl

    return ssl.PEM_cert_to_DER_cert(pem())


def thumbprint() -> str:
    """RFC 8705 §3.1."""
    return encoded(hashlib.sha256(der()).digest())


def told(where: Certificates, connection: Any, *lines: bytes, name: bytes = b"client-cert") -> str | None:
    """What a request shows with these header lines; a WSGI server that says nothing else is waitress."""
    if connection and "REMOTE_ADDR" in connection and "wsgi.version" not in connection:
        connection = {"SERVER_SOFTWARE": "waitress", **connection}
    headers = tuple((name, line) for line in lines)
    return where.thumbprint(Request("GET", "/", b"/", headers, connection=connection))


BY_SERVER = Certificates()
STRUCTURED = Certificates(b"client-cert", PROXIES)
ENVOY = Certificates(b"x-forwarded-client-cert", PROXIES)
ESCAPED = Certificates(b"x-ssl-cert", PROXIES)


def structured() -> bytes:
    """RFC 9440 §2.1."""
    return b":" + b64encode(der()) + b":"


@pytest.mark.parametrize("rest", ["", "\n", "second"])
def test_servers_own_word_counts(rest: str) -> None:
    """The leaf of ASGI's chain, the PEM of WSGI, whatever follows it."""
    chain = [pem(), *([pem_of(certificate()[0])] if rest == "second" else [])]
    assert told(BY_SERVER, {"extensions": {"tls": {"client_cert_chain": chain}}}) == thumbprint()
    assert told(BY_SERVER, {"SSL_CLIENT_CERT": pem() + "".join(chain[1:])}) == thumbprint()


@pytest.mark.parametrize(
    "connection",
    [
        None,
        {},
        {"extensions": None},
        {"extensions": {}},
        {"extensions": {"tls": None}},
        {"extensions": {"tls": {}}},
        {"extensions": {"tls": {"client_cert_chain": []}}},
        {"extensions": {"tls": {"client_cert_chain": None}}},
        {"extensions": {"tls": {"client_cert_chain": [b"bytes"]}}},
        {"extensions": {"tls": {"client_cert_chain": ["no PEM"]}}},
        {"SSL_CLIENT_CERT": ""},
        {"SSL_CLIENT_CERT": "-----BEGIN CERTIFICATE-----\n=\n-----END CERTIFICATE-----"},
        {"SSL_CLIENT_CERT": "-----BEGIN CERTIFICATE-----" + "A" * 20000 + "-----END CERTIFICATE-----"},
        {"HTTP_SSL_CLIENT_CERT": "PEM"},
        {"HTTP_CLIENT_CERT": "PEM", "REMOTE_ADDR": "10.1.2.3"},
    ],
)
def test_no_word_of_the_server_is_none(connection: Any) -> None:
    """What a client writes under a like name is not looked at."""
    if connection and "PEM" in connection.values():
        connection = {name: pem() if value == "PEM" else value for name, value in connection.items()}
    assert told(BY_SERVER, connection, structured()) is None


def test_header_of_a_trusted_proxy_counts() -> None:
    """By the address of the connection, of ASGI or of WSGI, IPv4 in IPv6 too."""
    for connection in (
        INSIDE,
        {"REMOTE_ADDR": "10.1.0.1"},
        {"client": ("2001:db8::7", 1)},
        {"client": ["::ffff:10.1.2.3", 1]},
    ):
        assert told(STRUCTURED, connection, structured()) == thumbprint()
        assert told(STRUCTURED, connection, b"  " + structured() + b" ") == thumbprint()


@pytest.mark.parametrize(
    "connection",
    [
        *({"client": (address, 1)} for address in ("10.2.0.1", "2001:db8::8", "", "localhost", "10.1.2", "unix:", None)),
        *({"REMOTE_ADDR": address} for address in ("10.2.0.1", "", "10.1.2.3, 10.2.0.1", "10.1.2.3:80")),
        {"client": None},
        {"client": None, "HTTP_X_FORWARDED_FOR": "10.1.2.3"},
        {},
        None,
    ],
)
def test_header_of_anybody_else_counts_nothing(connection: Any) -> None:
    """Spoofing: the header alone proves nothing, nor does another header about the address."""
    assert told(STRUCTURED, connection, structured()) is None


def replaced_by_daphne(headers: dict[str, str], **names: str) -> dict[str, Any]:
    """The scope under ``--proxy-headers``, which believes everybody."""
    from daphne.utils import parse_x_forwarded_for

    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    client, _ = parse_x_forwarded_for({name: [value] for name, value in sent}, **names)
    return {"client": client, "headers": sent}


def replaced_by_waitress(headers: dict[str, str], name: str) -> dict[str, Any]:
    """The environ under ``--trusted-proxy=*``."""
    from waitress.proxy_headers import proxy_headers_middleware

    environ = {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "1", "wsgi.url_scheme": "http", **headers}
    proxy_headers_middleware(lambda *_: [], trusted_proxy="*", trusted_proxy_headers={name})(environ, lambda *_: None)
    return environ


def replaced_by_granian(headers: dict[str, str]) -> dict[str, Any]:
    """The environ that its wrapper leaves."""
    from granian.utils.proxies import wrap_wsgi_with_proxy_headers

    environ = {"REMOTE_ADDR": "192.0.2.1", **headers}
    wrap_wsgi_with_proxy_headers(lambda *_: None, "*")(environ, None)
    return environ


@pytest.mark.parametrize(
    "connection",
    [
        lambda: replaced_by_daphne({"x-forwarded-for": "10.1.2.3", "x-forwarded-port": "1234"}),
        lambda: replaced_by_daphne({"x-forwarded-for": "10.1.2.3 , 192.0.2.1", "x-forwarded-port": " 01_234 "}),
        lambda: replaced_by_daphne({"x-forwarded-for": "2001:db8::7", "x-forwarded-port": "\u0661"}),
        lambda: replaced_by_daphne({"a": "10.1.2.3", "b": "1"}, address_header_name="A", port_header_name="B"),
        lambda: replaced_by_waitress({"HTTP_X_FORWARDED_FOR": "10.1.2.3"}, "x-forwarded-for"),
        lambda: replaced_by_waitress({"HTTP_X_FORWARDED_FOR": '"10.1.2.3:1"'}, "x-forwarded-for"),
        lambda: replaced_by_waitress({"HTTP_X_FORWARDED_FOR": "192.0.2.7, 2001:db8::7"}, "x-forwarded-for"),
        lambda: replaced_by_waitress({"HTTP_FORWARDED": "proto=http;For=10.1.2.3"}, "forwarded"),
        lambda: replaced_by_waitress({"HTTP_FORWARDED": 'for="[2001:db8::7]:4711"'}, "forwarded"),
        lambda: replaced_by_granian({"HTTP_X_FORWARDED_FOR": "10.1.2.3, 192.0.2.1"}),
    ],
)
def test_address_that_a_server_took_out_of_a_header_counts_nothing(connection: Any) -> None:
    """As the servers themselves put it into what they hand on, with or without a port beside it."""
    scope = connection()
    address = scope["REMOTE_ADDR"] if "REMOTE_ADDR" in scope else scope["client"][0]
    assert address in {"10.1.2.3", "2001:db8::7"} and told(STRUCTURED, scope, structured()) is None


def forwarded(text: str, host: str = "10.1.2.3", port: int = 1234) -> dict[str, Any]:
    """A scope with ``X-Forwarded-For``."""
    return {"client": (host, port), "headers": [(b"host", b"x"), (b"x-forwarded-for", text.encode())]}


@pytest.mark.parametrize(
    "connection",
    [
        {"client": ("10.1.2.3", 0)},
        {"client": ("10.1.2.3", None)},
        {"client": ("10.1.2.3",)},
        forwarded("10.1.2.3", port=0),
        forwarded("10.1.2.3:1234"),
        forwarded("192.0.2.1, 10.1.2.3:01234 , 192.0.2.2"),
        forwarded("[2001:db8::7]:1_234", "2001:db8::7"),
        {"REMOTE_ADDR": "10.1.2.3", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": "192.0.2.1"}},
        {"REMOTE_ADDR": "10.1.2.3", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": None}},
    ],
)
def test_address_out_of_a_header_counts_nothing(connection: Any) -> None:
    """Servers and middleware put X-Forwarded-For in place of the peer: what anybody may write who reaches them at all."""
    assert told(STRUCTURED, connection, structured()) is None


@pytest.mark.parametrize(
    "connection",
    [
        forwarded("192.0.2.1, 10.1.2.3"),
        forwarded("110.1.2.3:1234"),
        forwarded("10.1.2.30:1234"),
        {"REMOTE_ADDR": "192.0.2.1", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": "10.1.2.3"}},
        {"REMOTE_ADDR": "10.1.2.3", "client": "a word of the process's environment"},
        {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "192.0.2.1, 110.1.2.3", "HTTP_FORWARDED": "for=_x;by=10.1.2.30"},
        {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "10.1.2.3", "SERVER_SOFTWARE": "gunicorn/23.0.0"},
        {"client": ("10.1.2.3", 1234), "headers": [(b"x-real-ip", b"10.1.2.3"), (b"content-length", b"12345")]},
        {"client": ("10.1.2.3", 1234), "headers": [(b"content-length", b"1234"), (b"x-forwarded-for", b"192.0.2.1")]},
    ],
)
def test_peer_that_was_not_replaced_counts(connection: Any) -> None:
    """Whatever the proxy tells of the client beside its certificate."""
    assert told(STRUCTURED, connection, structured()) == thumbprint()


def made_by_hypercorn(name: bytes) -> dict[str, Any]:
    """The environ that it makes of a header."""
    from hypercorn.app_wrappers import _build_environ

    scope = {"client": ("10.1.2.3", 1234), "method": "GET", "path": "/", "query_string": b"", "http_version": "1.1"}
    return _build_environ({**scope, "headers": [(name, structured())]}, b"")  # type: ignore[typeddict-item]


def made_by_uvicorn(name: bytes) -> dict[str, Any]:
    """The environ that it makes of a header, with ``--interface wsgi``."""
    from uvicorn.middleware.wsgi import build_environ

    scope: Any = {"client": ("10.1.2.3", 1234), "method": "GET", "path": "/", "query_string": b"", "http_version": "1.1"}
    scope |= {"server": ("h", 80), "scheme": "http", "headers": [(name, structured())]}
    return build_environ(scope, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [made_by_hypercorn, made_by_uvicorn])
@pytest.mark.filterwarnings("ignore")  # uvicorn would have another package do it
def test_server_that_takes_an_underscore_for_a_hyphen_is_told_no_certificate(made: Callable[[bytes], dict[str, Any]]) -> None:
    """What a client sends as ``Client_Cert`` passes most proxies, and would be the proxy's word."""
    connection = made(b"client_cert")
    assert connection["HTTP_CLIENT_CERT"] == made(b"client-cert")["HTTP_CLIENT_CERT"] == structured().decode()
    with pytest.raises(WrongHolder, match="without a hyphen"):
        told(STRUCTURED, connection, structured())


@pytest.mark.parametrize(
    "server", [{"uwsgi.version": b"2.0.31"}, {"SERVER_SOFTWARE": "Granian"}, {}, {"SERVER_SOFTWARE": "own/1"}]
)
def test_server_that_may_mix_names_is_told_no_certificate(server: dict[str, Any]) -> None:
    """Whichever is not known to tell them apart; a name without hyphen is nobody else's."""
    connection = {"REMOTE_ADDR": "10.1.2.3", "wsgi.version": (1, 0), **server}
    with pytest.raises(WrongHolder, match="without a hyphen"):
        told(STRUCTURED, connection, structured())
    with pytest.raises(WrongHolder, match="without a hyphen"):
        told(ESCAPED, connection, quote(pem()).encode(), name=b"x-ssl-cert")
    assert told(STRUCTURED, connection) is None
    assert told(Certificates(b"xsslcert", PROXIES), connection, quote(pem()).encode(), name=b"xsslcert") == thumbprint()


@pytest.mark.parametrize(
    "server",
    ["gunicorn/27.0.1", "Werkzeug/3.1.9", "gevent/26.9 Python/3.11", "waitress", "Apache/2.4.62 (Debian) mod_wsgi/5.0"],
)
def test_server_that_leaves_out_an_underscore_is_believed(server: str) -> None:
    """It hands on no ``Client_Cert``."""
    connection = {"REMOTE_ADDR": "10.1.2.3", "wsgi.version": (1, 0), "SERVER_SOFTWARE": server}
    assert told(STRUCTURED, connection, structured()) == thumbprint()


def test_own_word_of_the_server_does_not_count_where_a_proxy_stands() -> None:
    """It would be the proxy's own certificate."""
    assert told(STRUCTURED, {**INSIDE, "SSL_CLIENT_CERT": pem()}) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[1:],
        lambda value: value[:-1],
        lambda value: value[:-1] + b"=:",
        lambda value: value.rstrip(b":").rstrip(b"=")[:-1] + b":",
        lambda value: value + b", " + value,
        lambda value: value + b";a=1",
        lambda value: b'"' + value + b'"',
        lambda value: value[:20] + b" " + value[20:],
        lambda value: value[:20] + b"\n" + value[20:],
        lambda value: value.replace(b"M", b"-", 1),
        lambda _: b"::",
        lambda _: b"",
        lambda _: b":" + b"A" * 20000 + b":",
        lambda _: quote(pem()).encode(),
    ],
)
def test_anything_but_one_byte_sequence_is_none(change: Any) -> None:
    """RFC 9440 §2.1, RFC 8941 §3.3.5."""
    assert told(STRUCTURED, INSIDE, change(structured())) is None


@pytest.mark.parametrize("length", [30, 31, 32])
def test_padding_is_what_is_due(length: int) -> None:
    """RFC 4648 §3.2: certificates have any length, so padding is none, one or two, and nothing else."""
    octets = bytes(range(length))
    right = b64encode(octets)
    assert told(STRUCTURED, INSIDE, b":" + right + b":") == encoded(hashlib.sha256(octets).digest())
    bare = right.rstrip(b"=")
    for padding in {b"", b"=", b"=="} - {right[len(bare) :]}:
        assert told(STRUCTURED, INSIDE, b":" + bare + padding + b":") is None
    for padding in (b"===", b"===="):
        text = (bare + padding).decode()
        written = f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"
        assert told(BY_SERVER, {"SSL_CLIENT_CERT": written}) is None


@pytest.mark.parametrize("line", [b":YWI==:", b":YWI:", b":YW=:", b":YW===:", b":YWJj=:"])
def test_padding_is_what_the_length_asks_for(line: bytes) -> None:
    """RFC 4648 §4; what is inside is not looked at."""
    assert told(STRUCTURED, INSIDE, b":YWI=:") == encoded(hashlib.sha256(b"ab").digest())
    assert told(STRUCTURED, INSIDE, line) is None


def test_repeated_header_is_none() -> None:
    """A proxy that does not take away what the client sent adds its own to it."""
    assert told(STRUCTURED, INSIDE, structured(), structured()) is None
    assert told(STRUCTURED, INSIDE) is None
    assert told(STRUCTURED, INSIDE, structured(), name=b"client_cert") is None


def test_escaped_pem_counts() -> None:
    """As nginx and load balancers write it, with what they leave as it is."""
    assert told(ESCAPED, INSIDE, quote(pem(), safe="").encode(), name=b"x-ssl-cert") == thumbprint()
    assert told(ESCAPED, INSIDE, quote(pem(), safe="+=/").encode(), name=b"x-ssl-cert") == thumbprint()
    for value in (structured(), b"", b"(null)", quote(pem()).encode() + b"," + quote(pem()).encode(), b"%zz"):
        assert told(ESCAPED, INSIDE, value, name=b"x-ssl-cert") is None
    assert told(ESCAPED, {"client": ("10.2.0.1", 1)}, quote(pem()).encode(), name=b"x-ssl-cert") is None


def test_envoys_header_counts() -> None:
    """One element with Cert, or with Hash alone."""
    name, cert = b"x-forwarded-client-cert", quote(pem(), safe="").encode()
    digest = hashlib.sha256(der()).hexdigest().encode()
    for value in (
        b'Cert="' + cert + b'"',
        b"By=spiffe://a/b;Hash=" + digest + b';Subject="CN=a, O=b; c";Cert="' + cert + b'"',
        b"Hash=" + digest,
        b"hash=" + digest.upper() + b';Subject=""',
        b'Cert="' + cert + b'";Hash=' + b"0" * 64,
    ):
        assert told(ENVOY, INSIDE, value, name=name) == thumbprint()
    for value in (
        b"Hash=" + digest + b",Hash=" + digest,
        b'Cert="' + cert + b'",Cert="' + cert + b'"',
        b'Cert="' + cert + b'";Cert="' + cert + b'"',
        b"Hash=" + digest + b";Hash=" + digest,
        b"Hash=" + digest[:-1],
        b'Cert="' + cert,
        b"By=spiffe://a/b",
        b'Cert="";Hash=' + digest,
        b"",
        b"Hash",
    ):
        assert told(ENVOY, INSIDE, value, name=name) is None
