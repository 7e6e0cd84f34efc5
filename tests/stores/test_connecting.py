"""Unix sockets and TLS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from servers import WATCH, Server, free_port

from jwtgate.core.history import Worker
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import open_store

if TYPE_CHECKING:
    from pathlib import Path

A, B = b"A" * 16, b"B" * 16
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)


def test_unix_socket_works(server: Server) -> None:
    """unix://, with a database in the query."""
    store = open_store(f"unix://{server.unix_path}?db=3", prefix="jwtgate", watch=WATCH)
    store.write([Change(A, revoked=True)], time.time())
    with server.client(db=3) as client:
        assert client.exists("{jwtgate:0}:rulings") == 1
    store.close()


def certificate(folder: Path) -> Path:
    """A self-signed certificate and its key in one PEM file."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "both.pem"
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_is_verified(own_server: Server, tmp_path: Path) -> None:
    """rediss:// with the authority named works; without it the server is not believed."""
    pem, port = certificate(tmp_path), free_port()
    tls = ("--tls-port", str(port), "--tls-cert-file", str(pem), "--tls-key-file", str(pem))
    own_server.options = (*tls, "--tls-ca-cert-file", str(pem), "--tls-auth-clients", "no")
    try:
        own_server.start()
    except AssertionError:
        pytest.skip("TLS NOT TESTED: this server was built without it")
    url = f"rediss://127.0.0.1:{port}"
    store = open_store(f"{url}?ssl_ca_certs={pem}", prefix="jwtgate", watch=WATCH)
    feed = store.feed()
    end = feed.renew(WORKER, None).end
    store.write([Change(A, revoked=True)], time.time())
    assert len(feed.read(end.cursor, 0.05, 10)) == 1
    assert feed.read(store.look_up([A]).end.cursor, 0.1, 10) == ()
    feed.close()
    store.close()
    stranger = open_store(url, prefix="jwtgate", watch=WATCH)
    with pytest.raises(StoreUnavailable):
        stranger.look_up([A])
    stranger.close()
