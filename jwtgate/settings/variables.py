"""The rows of the table as ``jwtgate env`` and the README tell them."""

from __future__ import annotations

from dataclasses import dataclass

from jwtgate.settings.table import rows

__all__ = ["Variable", "variables"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One line of ``jwtgate env`` and of the README's table.

    Attributes:
        name: of the environment variable.
        default: as the environment would spell it; ``""`` where there is none.
        meaning: one sentence.
        allowed: in words.
    """

    name: str
    default: str
    meaning: str
    allowed: str


def variables() -> tuple[Variable, ...]:
    """Every variable, in the order of the table."""
    return tuple(
        Variable(
            name=f"JWTGATE_{row.name.upper()}",
            default=_spelt(row.default),
            meaning=row.metadata["meaning"],
            allowed=row.metadata["kind"].allowed,
        )
        for row in rows()
    )


def _spelt(default: object) -> str:
    match default:
        case None:
            return ""
        case bool():
            return str(int(default))
        case int() | float():
            return f"{default:.15g}"
        case tuple():
            return ",".join(map(str, default))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - of a default
        case _:
            return str(default)
