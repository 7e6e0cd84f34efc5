"""The file, or the folder of files, of JWTGATE_PRIVATE_KEYS as the command ``keys`` changes it.

A file with private keys is its owner's alone (0600), and is replaced in one step: whoever reads meanwhile reads the old one or
the new one. Two commands at once come one after the other.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.utils import base64url_encode

from jwtgate.cli.answering import Misuse
from jwtgate.core.keys.material import ALGORITHMS, HMAC_BYTES, UnusableKeyError, thumbprint_of
from jwtgate.core.keys.schedule import OwnKey, read_own_keys, write_own_keys
from jwtgate.settings.files import shown

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from jwtgate.core.keys.material import PrivateKey

__all__ = ["KeyFiles", "locked", "named", "new_key"]

CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
RSA_BITS = 3072
"""NIST SP 800-57 part 1, table 2: 128 bits of security, as P-256 has."""


def named(path: Path) -> str:
    """In a message: a key that was pasted for a path is not shown."""
    return shown(str(path))


def new_key(algorithm: str) -> OwnKey:
    """A key for ``algorithm``, made now, without times. Its kid is its thumbprint (RFC 7638), of a secret a random one."""
    if algorithm in HMAC_BYTES:
        k = base64url_encode(secrets.token_bytes(HMAC_BYTES[algorithm])).decode()
        members = {"kty": "oct", "k": k, "kid": secrets.token_hex(16)}
    else:
        private = _private_key(algorithm)
        while thumbprint_of(private.public_key()).startswith("-"):  # a command would take it for an option
            private = _private_key(algorithm)
        made = ALGORITHMS[algorithm].to_jwk(private, as_dict=True)
        members = {name: value for name, value in made.items() if name != "key_ops"}
        members["kid"] = thumbprint_of(private.public_key())
    (key,) = read_own_keys(json.dumps({"keys": [{**members, "alg": algorithm, "use": "sig"}]}))
    return key


def _private_key(algorithm: str) -> PrivateKey:
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


class KeyFiles:
    """What stands where. ``path``: as the setting names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_folder = os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for what was pasted for a path
        self._places: dict[str, Path] = {}

    def read(self) -> tuple[OwnKey, ...]:
        """All keys, in the order of the files and in them. Raises: Misuse: a file cannot be read, or is none of ours."""
        keys: list[OwnKey] = []
        for file in self._files():
            try:
                found = read_own_keys(file.read_text())
            except (OSError, UnicodeDecodeError) as error:
                raise Misuse(
                    f"{named(file)} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
                ) from None
            except UnusableKeyError as unusable:
                raise Misuse(f"{named(file)} {unusable}") from None
            for key in found:
                if key.kid in self._places:
                    other = named(self._places[key.kid])
                    raise Misuse(f"{named(file)} has a key with the kid of one in {other}; each has one of its own")
                self._places[key.kid] = file
            keys += found
        return tuple(keys)

    def _files(self) -> Sequence[Path]:
        if not self.is_folder:
            return (self.path,) if os.path.exists(self.path) else ()  # noqa: PTH110 - as above
        return sorted(file for file in self.path.glob("*.json") if not file.name.startswith("."))

    def write(self, keys: Sequence[OwnKey]) -> None:
        """Each file with what is left of its keys; a new key in the one file, or in a file of its own. Raises: Misuse."""
        texts: dict[Path, list[OwnKey]] = {file: [] for file in self._files()}
        for key in keys:
            place = self._places.get(key.kid) or (self.path / f"{key.kid}.json" if self.is_folder else self.path)
            texts.setdefault(place, []).append(key)
        try:
            for file, some in sorted(texts.items(), key=lambda item: not item[1]):  # what goes away goes last
                if some:
                    _replace(file, write_own_keys(some))
                else:
                    file.unlink()
        except OSError as error:
            raise Misuse(f"{named(self.path)} cannot be written: {error.strerror}") from None


def _replace(file: Path, text: str) -> None:
    """Keeps the owner, and a link that leads to the file."""
    file = file.resolve()
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=file.parent)  # 0600
    try:
        with os.fdopen(descriptor, "w") as draft:
            if file.exists() and hasattr(os, "fchown"):
                os.fchown(draft.fileno(), file.stat().st_uid, file.stat().st_gid)
            draft.write(text)
            draft.flush()
            os.fsync(draft.fileno())
        os.replace(name, file)  # noqa: PTH105 - both are names
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise


@contextmanager
def locked(path: Path) -> Generator[None]:
    """One command at a time, by a lock on the folder. Raises: Misuse: there is no such folder."""
    folder = path if os.path.isdir(path) else path.parent  # noqa: PTH112 - as above
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise Misuse(f"{named(folder)} cannot be opened: {error.strerror}") from None
    try:
        with suppress(ImportError):  # where there is none, nobody is kept waiting
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
