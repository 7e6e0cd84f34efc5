"""The scripts of the Redis store, as they are sent."""

from __future__ import annotations

from hashlib import sha1
from importlib import resources
from typing import NamedTuple

__all__ = ["Script"]


class Script(NamedTuple):
    """A Lua script: ``digest`` is what EVALSHA takes, ``source`` what EVAL takes."""

    digest: bytes
    source: bytes

    @classmethod
    def load(cls, name: str, *shared: str) -> Script:
        """Reads ``scripts/<name>.lua`` with what it shares put behind its first line, which must stay the first."""
        folder = resources.files("jwtgate.stores.redis") / "scripts"
        first_line, _, body = (folder / f"{name}.lua").read_bytes().partition(b"\n")
        source = b"\n".join((first_line, *[(folder / f"{each}.lua").read_bytes() for each in ("prelude", *shared)], body))
        return cls(sha1(source, usedforsecurity=False).hexdigest().encode(), source)
