"""Claims that nobody can change: a dict and a list whose mutators raise.

One verified token serves every request that carries it, so what one handler could change another would see. Both
types still are ``dict`` and ``list``: ``json.dumps``, ``jsonify`` and framework responses take them as they are.
Pickling keeps the type; a copy is plain and the caller's own, a deep copy plain at every depth.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Claims", "ClaimsList", "claims_of", "freeze"]


_Made = TypeVar("_Made")


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    """Stand in for every mutator."""
    message = f"{type(self).__name__} is immutable; copy.deepcopy() gives a plain copy"
    raise TypeError(message)


class _BuiltOnce(type):
    """Builds without ``__init__``, which therefore can always raise: calling it again would refill the object."""

    def __call__(cls: type[_Made], content: Iterable[Any] = ()) -> _Made:
        made: _Made = freeze(dict(content) if issubclass(cls, dict) else list(content))
        return made


class Claims(dict[str, Any], metaclass=_BuiltOnce):
    """A JSON object, immutable at every depth."""

    __slots__ = ()

    __init__ = _refuse
    __setitem__ = _refuse
    __delitem__ = _refuse
    __ior__ = _refuse
    __setattr__ = _refuse
    __delattr__ = _refuse
    __setstate__ = _refuse
    clear = _refuse
    pop = _refuse
    popitem = _refuse
    setdefault = _refuse
    update = _refuse

    def copy(self) -> dict[str, Any]:
        """A plain shallow copy."""
        return dict(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {name: deepcopy(value, memo) for name, value in self.items()}

    def __reduce_ex__(self, _protocol: object) -> tuple[type, tuple[dict[str, Any]]]:
        return Claims, (dict(self),)


class ClaimsList(list[Any], metaclass=_BuiltOnce):
    """A JSON array, immutable at every depth."""

    __slots__ = ()

    __init__ = _refuse
    __setitem__ = _refuse
    __delitem__ = _refuse
    __iadd__ = _refuse
    __imul__ = _refuse
    __setattr__ = _refuse
    __delattr__ = _refuse
    __setstate__ = _refuse
    append = _refuse
    clear = _refuse
    extend = _refuse
    insert = _refuse
    pop = _refuse
    remove = _refuse
    reverse = _refuse
    sort = _refuse

    def copy(self) -> list[Any]:
        """A plain shallow copy."""
        return list(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [deepcopy(value, memo) for value in self]

    def __reduce_ex__(self, _protocol: object) -> tuple[type, tuple[list[Any]]]:
        return ClaimsList, (list(self),)


_new_object: Callable[[type[Claims]], Claims] = dict.__new__
_fill_object: Callable[[Claims, Any], None] = dict[str, Any].update
_new_array: Callable[[type[ClaimsList]], ClaimsList] = list.__new__
_fill_array: Callable[[ClaimsList, Iterable[Any]], None] = list[Any].extend


def claims_of(pairs: Iterable[tuple[str, Any]] | Mapping[str, Any]) -> Claims:
    """The object with these members, whose values are immutable already: the fast way, once per parsed JSON object."""
    made = _new_object(Claims)
    _fill_object(made, pairs)
    return made


def freeze(value: Any) -> Any:
    """A JSON value, immutable at every depth: objects and arrays are rebuilt, everything else is returned as it is."""
    if isinstance(value, (Claims, ClaimsList)):
        return value
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return claims_of({name: freeze(member) for name, member in members.items()})
    if isinstance(value, (list, tuple)):
        made = _new_array(ClaimsList)
        _fill_array(made, [freeze(element) for element in cast("list[Any]", value)])
        return made
    return value
