"""Who else can reach a Redis or Valkey server, or listen on the way to it: whoever can, can lift every ruling."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from jwtgate.errors import StoreUnavailable
from jwtgate.stores.contract import Weakness
from jwtgate.stores.redis import answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jwtgate.stores.redis.dialling import Dial
    from jwtgate.stores.redis.inspecting import Ask

__all__ = ["Exposure"]

OF_REPLICAS = "  # first CONFIG SET masteruser and masterauth on each replica, and auth-pass on Sentinels: all log in like that"
"""A replica that cannot log in is lost at its next reconnection, unnoticed until then; ``min-replicas-to-write`` misses it."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """Of one server.

    Attributes:
        ask: asks it.
        dial: how it is reached.
    """

    ask: Ask
    dial: Dial

    def open_doors(self, settings: Mapping[str, str], *, has_replicas: bool) -> Iterator[Weakness]:
        """Whoever reaches the server can lift every ruling; without a password that is everybody on the network."""
        others = OF_REPLICAS if has_replicas else ""
        bound = settings.get("bind", "127.0.0.1").split()
        is_open = settings.get("protected-mode") == "no" and (not bound or not all(map(_is_loopback, bound)))
        if not (is_open or self._is_remote):
            return
        if not self.dial.arguments.get("password"):
            yield Weakness(
                "The server asks for no password and listens on the network: whoever reaches it can lift any revocation.",
                f"CONFIG SET requirepass <a long random password, then to stand in JWTGATE_STORE>{others}",
                about="requirepass",
            )
        elif self._is_default_open():
            yield Weakness(
                "The user default needs no password, and the server listens on the network: our own password guards nothing.",
                f"ACL SETUSER default off{others}",
                about="ACL",
            )

    def _is_default_open(self) -> bool:
        """Only an administrator is told."""
        try:
            flat: list[Any] = self.ask(("ACL", "GETUSER", "default"), answers.raw)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, ResponseError):
                return False
            raise
        flags = dict(zip(flat[::2], flat[1::2], strict=True)).get(b"flags", ())
        return b"nopass" in flags and b"on" in flags

    @property
    def _is_remote(self) -> bool:
        host = self.dial.arguments.get("host", "localhost")
        return "path" not in self.dial.arguments and not _is_loopback(str(host))

    def of_the_way(self) -> Iterator[Weakness]:
        """Whether it is encrypted, and to the right server."""
        arguments = self.dial.arguments
        if not self._is_remote:
            return
        if "ssl" not in getattr(self.dial.connection_class, "__name__", "").lower():
            yield Weakness(
                "The way to the server is not encrypted: whoever listens reads its password and can lift any revocation.",
                "JWTGATE_STORE=<the same URL with rediss://>",
                "hint",
            )
        elif arguments.get("ssl_cert_reqs") in ("none", ssl.CERT_NONE):
            yield Weakness(
                "ssl_cert_reqs is none: anybody on the way can pose as the server.",
                "JWTGATE_STORE=<the same URL without ssl_cert_reqs>",
                about="ssl_cert_reqs",
            )


def _is_loopback(host: str) -> bool:
    host = host.removeprefix("-")  # in ``bind``: may fail
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
