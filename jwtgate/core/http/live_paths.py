"""Which connections are ended when their token dies (``LIVE``): all of them, but where the operator says otherwise.

A rule is ``close`` or ``ignore``, which then holds for whatever no other rule names, or ``/path=ignore``, ``/path/*=ignore``. A
path that not everybody reads alike is under none of the latter (``core.http.exemption``): in doubt a connection is ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.core.http.exemption import Exemption, is_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LivePaths"]

WORDS = ("close", "ignore")


class LivePaths:
    """The rules.

    Attributes:
        names_paths: whether any is about a path.
    """

    __slots__ = ("_closed", "_closes", "_ignored", "names_paths")

    def __init__(self, rules: Sequence[str] = ("close",)) -> None:
        """Raises: ValueError: a rule of another form, two for everything, or a pattern that could never match."""
        words = [rule for rule in rules if rule in WORDS]
        if len(words) > 1:
            raise ValueError("close and ignore, each for everything that no path names")
        patterns: dict[str, list[str]] = {word: [] for word in WORDS}
        for rule in rules:
            pattern, separator, word = rule.rpartition("=")
            if rule not in WORDS:
                if not separator or word not in WORDS:
                    raise ValueError(f"neither close nor ignore, nor /path=ignore: {rule!r}")
                patterns[word].append(pattern)
        self._closes = words != ["ignore"]
        self.names_paths = any(patterns.values())
        self._closed, self._ignored = Exemption(tuple(patterns["close"])), Exemption(tuple(patterns["ignore"]))

    def closes(self, path: str | None, raw_path: bytes | None) -> bool:
        """Whether a connection on a path is ended; arguments as of ``Exemption.matches``. ``close`` goes first."""
        if self.names_paths and (path is None or not is_plain(path, raw_path) or self._closed.matches(path, raw_path)):
            return True
        return self._closes and not self._ignored.matches(path, raw_path)
