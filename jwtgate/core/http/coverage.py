"""Which requests a check with paths concerns: exemption's language, in doubt the other way round.

A check closes a door, so no path may escape it by being spelt otherwise. Covered is, beside what the patterns name: every
path that some router, proxy or file system may read in another way (``exemption.is_plain``), one that is not valid UTF-8,
and a request of which no path is known; another case, since some file systems and routers do not tell it apart; a slash
more or less at the end, since many routers do not either.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from jwtgate.core.http.exemption import is_plain, patterns_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.messages import Request

__all__ = ["Coverage"]


class Coverage:
    """The paths that a check is about."""

    __slots__ = ("_paths", "_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        """Fixes the patterns.

        Args:
            patterns: ``/a`` is that path alone, ``/a/*`` is ``/a/`` and everything below; either is ``/a``, too.

        Raises:
            ValueError: none, a pattern of another form, or one that names no plain path.
        """
        given = tuple(patterns)
        if not given:
            raise ValueError("no paths at all: the check would never be asked")
        paths, prefixes = patterns_of(given)
        self._paths = frozenset(_folded(path) for path in paths)
        self._prefixes = tuple(_folded(prefix) + "/" for prefix in prefixes)

    def includes(self, request: Request | None) -> bool:
        """Whether the check is about this request; None: there is none to be seen, so it is."""
        if request is None or request.path is None or not is_plain(request.path, request.raw_path):
            return True
        path = _folded(request.path)
        return path in self._paths or f"{path}/".startswith(self._prefixes)


def _folded(path: str) -> str:
    """Equal for two paths that differ in case or in a slash at the end; ``/`` becomes empty."""
    return unicodedata.normalize("NFKC", path.casefold()).removesuffix("/")
