"""Certificates of clients and of a server on this machine, made anew for each run and signed by themselves."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from holders import encoded

if TYPE_CHECKING:
    from pathlib import Path


def certificate(name: str = "client") -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Of a new key, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, key


def pem_of(made: x509.Certificate) -> str:
    """Its text."""
    return made.public_bytes(serialization.Encoding.PEM).decode()


def thumbprint_of(pem: str) -> str:
    """``x5t#S256`` (RFC 8705 §3.1)."""
    return encoded(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest())


def written(folder: Path, name: str) -> tuple[Path, Path, str]:
    """A new certificate and its key as files, and its thumbprint."""
    made, key = certificate(name)
    pem = pem_of(made)
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_text(pem)
    none: Any = serialization.NoEncryption()
    octets = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)
    paths[1].write_bytes(octets)
    return *paths, thumbprint_of(pem)
