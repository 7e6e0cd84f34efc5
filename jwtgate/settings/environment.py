"""Reads ``JWTGATE_*``: which variables are set, directly or through ``_FILE``, and what their text says.

environs parses numbers and booleans and splits lists, and gathers what it cannot parse until ``seal``. Not left to it,
because environs 15.2 does otherwise (all tried):

- It looks into ``os.environ`` before anything else, so that no other mapping can be given: ``_get_value`` is overridden.
- ``FileAwareEnv`` prefers the file when both are set, keeps the trailing newline, ignores an empty ``_FILE``, and raises
  at the first unreadable file, ``eager=False`` or not: ``Env`` is used, and files are read here.
- Lists keep the spaces around items. Names it was not asked for are not looked at: typos are found here.

Its messages quote no values; ours are used all the same, since they say what is allowed. Importing environs takes 0.1 s,
so this module is imported only by ``Settings.from_env``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from environs import Env, EnvValidationError

from jwtgate.settings.allowed import Shape, Unfit, Unread
from jwtgate.settings.files import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Reading", "distance", "read"]

PREFIX = "JWTGATE_"
FILE_SUFFIX = "_FILE"
LARGEST_TYPO = 2
"""Letters between an unknown name and the known one that was surely meant."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the environment says.

    Attributes:
        values: field to parsed value, or ``Unread`` where there is none to be had.
        mistakes: sentences on names that are surely misspelt.
        unknown: other names that begin with ``JWTGATE_``.
    """

    values: dict[str, Any]
    mistakes: tuple[str, ...]
    unknown: tuple[str, ...]


def read(environ: Mapping[str, str], shapes: Mapping[str, Shape]) -> Reading:
    """Args: environ: names to text. shapes: field to the shape of its values."""
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for field in shapes:
        try:
            text = _text_of(environ, PREFIX + field.upper())
        except Unfit as unfit:
            values[field] = Unread(str(unfit))
        else:
            texts.update({PREFIX + field.upper(): text} if text is not None else {})
    values.update(_parsed(texts, {field: shape for field, shape in shapes.items() if PREFIX + field.upper() in texts}))
    mistakes, unknown = _judged_names(environ, shapes)
    return Reading(values, mistakes, unknown)


def _text_of(environ: Mapping[str, str], variable: str) -> str | None:
    """The text of one variable; None where it is not set. Raises: Unfit."""
    file_variable = variable + FILE_SUFFIX
    text, path = environ.get(variable), environ.get(file_variable)
    if not _takes_file(variable):
        path = None
    if text is not None and path is not None:
        raise Unfit(f"is set, and {file_variable} too, of which only one may be")
    if path is not None:
        text = _content(file_variable, path)
    if text is not None and not text.strip():
        raise Unfit("is empty: unset it or give it a value")
    return text


def _takes_file(variable: str) -> bool:
    """Whether ``_FILE`` may follow. JWTGATE_JWKS_FILE is a path already; a path to a path would only be a slip."""
    return not variable.endswith(FILE_SUFFIX)


def _content(file_variable: str, path: str) -> str:
    if not path.strip():
        raise Unfit(f"is to come from {file_variable}; that is empty")
    try:
        text = read_text(path)
    except Unfit as unfit:
        raise Unfit(f"is to come from {file_variable}; that {unfit}") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


class _GivenEnv(Env):
    """An Env over texts that are at hand."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__(eager=False)
        self._texts = texts

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self._texts.get(env_key, default)


def _parsed(texts: Mapping[str, str], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    env = _GivenEnv(texts)
    values = {field: _parsed_one(env, PREFIX + field.upper(), shape) for field, shape in shapes.items()}
    try:
        env.seal()
    except EnvValidationError as error:
        broken = error.error_messages
        unread = {field: PREFIX + field.upper() for field in shapes if PREFIX + field.upper() in broken}
        # Numbers and booleans alone can fail to parse, and none of them is a secret.
        values.update({field: Unread(f"is {texts[variable][:80]!r}") for field, variable in unread.items()})
    return values


def _parsed_one(env: Env, variable: str, shape: Shape) -> Any:
    match shape:
        case "text":
            return env.str(variable)
        case "number":
            return env.float(variable)
        case "whole":
            return env.int(variable)
        case "flag":
            return env.bool(variable)
        case "list":
            if env.str(variable).lstrip().startswith(('["', "['")):
                return Unread("is written as JSON or Python, and commas alone separate its items")
            items: list[str] = env.list(variable) or []
            return [item.strip() for item in items]


def _judged_names(environ: Mapping[str, str], fields: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Mistakes for names within two letters of a known one, and the other unknown names."""
    variables = [PREFIX + field.upper() for field in fields]
    known = [*variables, *(variable + FILE_SUFFIX for variable in variables if _takes_file(variable))]
    mistakes: list[str] = []
    unknown: list[str] = []
    for name in sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
        nearest = min(known, key=lambda candidate: distance(name, candidate))
        if distance(name, nearest) <= LARGEST_TYPO:
            mistakes.append(f"{name} is not a setting; allowed: {nearest}, if that was meant.")
        else:
            unknown.append(name)
    return tuple(mistakes), tuple(unknown)


def distance(one: str, other: str) -> int:
    """Letters added, dropped, changed or swapped with their neighbour (optimal string alignment)."""
    above: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        highest, above, row = above, row, [i + 1]
        for j, target in enumerate(other):
            cost = min(above[j + 1] + 1, row[j] + 1, above[j] + (letter != target))
            if i and j and letter == other[j - 1] and one[i - 1] == target:
                cost = min(cost, highest[j - 1] + 1)
            row.append(cost)
    return row[-1]
