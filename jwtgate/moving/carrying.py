"""From another package's settings to lines of ours: what is carried over, what is not, and whether that matters for safety."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from jwtgate.moving.python_text import STAR, Computed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jwtgate.moving.rows import Row

__all__ = ["Carried", "Carrying", "Left", "Line"]

LONGEST_TTL_SECONDS = 2592000.0
"""The default of ``MAX_TTL``."""


@dataclass(frozen=True, slots=True)
class Line:
    """One variable.

    Attributes:
        variable: without ``JWTGATE_``.
        value: as the environment spells it.
        source: the setting of theirs that it comes from.
        is_secret: shown only to who asks for it.
    """

    variable: str
    value: str
    source: str
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """What is not carried over.

    Attributes:
        name: of their setting.
        why: and what to do.
        matters: for safety: without it more is admitted, or less is ended, than before.
    """

    name: str
    why: str
    matters: bool = False


@dataclass(frozen=True, slots=True)
class Carried:
    """The whole. Attributes: lines: to be set. left: what is not in them."""

    lines: tuple[Line, ...]
    left: tuple[Left, ...]


@dataclass(slots=True)
class Carrying:
    """Puts it together.

    Attributes:
        found: in their file, by name.
        rows: their settings, by name.
        used: names that were looked at: all others that the file sets are left.
    """

    found: Mapping[str, Any]
    rows: Mapping[str, Row]
    lines: list[Line] = field(default_factory=list[Line])
    left: list[Left] = field(default_factory=list[Left])
    used: set[str] = field(default_factory=set[str])

    def take(self, name: str, default: Any = None, *, matters: bool = True) -> Any:
        """The value, or the default of theirs; None: it is not known, which is said."""
        self.used.add(name)
        value = self.found.get(name, default)
        if isinstance(value, Computed):
            self.leave(name, value.why, matters=matters)
            return None
        return value

    def put(self, variable: str, value: str, source: str, *, is_secret: bool = False) -> None:
        """One line, but for an empty value."""
        if value:
            self.lines.append(Line(variable, value, source, is_secret))

    def leave(self, name: str, why: str = "", *, matters: bool = False) -> None:
        """Args: why: by default what the table says."""
        self.used.add(name)
        told = self.rows[name].note if name in self.rows else ""
        self.left.append(Left(name, ". ".join(filter(None, (why, told))) or "it is not known here", matters))

    # --- kinds of settings

    def keys(self, secret: str, private: str, public: str, *, algorithm: str | None, fallback: str = "") -> None:
        """Those that the algorithm uses; where it is not known, all that are there. Args: fallback: of the secret."""
        is_symmetric = algorithm is None or algorithm.startswith("HS")
        if is_symmetric:
            name = fallback if self.found.get(secret) is None and self.found.get(fallback) is not None else secret
            self.put("SECRET", _text(self.take(name)), name, is_secret=True)
        if algorithm is None or not is_symmetric:
            self.put("PRIVATE_KEY", _pem(self.take(private)), private, is_secret=True)
            shown = _pem(self.take(public))
            self.put("PUBLIC_KEY", shown, public, is_secret="PRIVATE" in shown)  # some give both the same
        self.used.update((secret, private, public))
        if not any(line.variable in ("SECRET", "PRIVATE_KEY", "PUBLIC_KEY") for line in self.lines):
            name = secret if is_symmetric else private
            if not any(left.name in (secret, private, public, fallback) for left in self.left):
                self.leave(name, "no key is in the file", matters=True)

    def seconds(self, name: str, variable: str, default: float) -> float | None:
        """A span of time, which ends; None: it is not known."""
        value = self.take(name, default)
        if value is None and isinstance(self.found.get(name), Computed):
            return None
        span = _seconds(value)
        if span is None or span <= 0:
            self.leave(name, "it is no span of time that ends", matters=True)
            return None
        self.put(variable, f"{span:.15g}", name)
        return span

    def lifetimes(self, access: tuple[str, float], refresh: tuple[str, float]) -> None:
        """Args: each the setting's name, and the default in seconds."""
        longest = self.seconds(access[0], "ACCESS_TTL", access[1])
        self.seconds(refresh[0], "REFRESH_TTL", refresh[1])
        if longest is not None and longest > LONGEST_TTL_SECONDS:
            self.put("MAX_TTL", f"{longest:.15g}", access[0])

    def leeway(self, name: str) -> None:
        """Unset it is 0, which refuses more: unknown it does not matter."""
        span = _seconds(self.take(name, 0, matters=False))
        self.put("LEEWAY", f"{span:.15g}" if span else "", name)

    def audience(self, decoded: str, encoded: str | None = None) -> None:
        """What tokens are issued for stands first, if it is accepted."""
        accepted = _texts(self.take(decoded))
        issued = [] if encoded is None else _texts(self.take(encoded))
        first = [each for each in issued if not accepted or each in accepted]
        if accepted and issued and not first:
            self.leave(encoded or decoded, "it is none of those that are accepted", matters=True)
        self.put("AUDIENCE", ",".join(dict.fromkeys([*first, *accepted])), decoded if accepted else encoded or decoded)

    def issuer(self, decoded: str, encoded: str | None = None) -> None:
        """One, which is what is issued, too."""
        accepted = _texts(self.take(decoded))
        issued = [] if encoded is None else _texts(self.take(encoded))
        if len(accepted or issued) > 1:
            self.leave(decoded, "several issuers are entries of ISSUERS, each with its keys", matters=True)
            return
        if accepted and issued and accepted != issued:
            self.leave(encoded or decoded, "it is not the one that is accepted", matters=True)
        self.put("ISSUER", "".join(accepted or issued), decoded if accepted else encoded or decoded)

    def algorithms(self, names: Iterable[tuple[str, Any]]) -> str | None:
        """Args: names: settings and their defaults, that which signs first. Returns: the one that signs."""
        given = [_texts(self.take(name, default)) for name, default in names]
        listed = list(dict.fromkeys(each for texts in given for each in texts))
        self.put("ALGORITHMS", ",".join(listed), next(name for name, _ in names))
        return given[0][0] if given and given[0] else None

    def finish(self, prefix: str) -> Carried:
        """With what the file sets besides. Args: prefix: by which an unknown name is known to be one of theirs."""
        if STAR in self.found:
            self.leave(
                STAR, "settings come from elsewhere, too (another file, the environment): read that as well", matters=True
            )
        for name in sorted(self.found):
            if name not in self.used and (name in self.rows or (prefix and name.startswith(prefix))):
                self.leave(name)
        return Carried(tuple(self.lines), tuple(self.left))


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _pem(value: object) -> str:
    """On one line: ``PRIVATE_KEY`` takes ``\\n`` for the end of one."""
    return _text(value).strip().replace("\r\n", "\n").replace("\n", "\\n")


def _texts(value: object) -> list[str]:
    """A text, or several."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list | tuple | set | frozenset):
        return [each for each in cast("Iterable[object]", value) if isinstance(each, str) and each]
    return []


def _seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:  # a whole number of 400 digits
        return None
