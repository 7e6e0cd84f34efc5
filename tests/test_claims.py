"""Claims and ClaimsList: read like dict and list, change like neither."""

from __future__ import annotations

import copy
import json
import operator
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from jwtgate.claims import Claims, ClaimsList, claims_of, freeze

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = {"sub": "alice", "roles": ["a", ["b", {"deep": [1]}]], "address": {"city": "Ulm"}, "n": None}

OBJECT_MUTATORS: dict[str, Callable[[Any], object]] = {
    "init": lambda it: it.__init__({"x": 1}),
    "init_keywords": lambda it: it.__init__(x=1),
    "setitem": lambda it: operator.setitem(it, "x", 1),
    "delitem": lambda it: operator.delitem(it, "sub"),
    "ior": lambda it: operator.ior(it, {"x": 1}),
    "clear": lambda it: it.clear(),
    "pop": lambda it: it.pop("sub"),
    "pop_default": lambda it: it.pop("x", None),
    "popitem": lambda it: it.popitem(),
    "setdefault": lambda it: it.setdefault("x", 1),
    "setdefault_known": lambda it: it.setdefault("sub", 1),
    "update": lambda it: it.update({"x": 1}),
    "update_keywords": lambda it: it.update(x=1),
    "setstate": lambda it: it.__setstate__({"x": 1}),
    "setattr": lambda it: setattr(it, "x", 1),
    "delattr": lambda it: delattr(it, "pop"),
    "class": lambda it: setattr(it, "__class__", dict),
}

ARRAY_MUTATORS: dict[str, Callable[[Any], object]] = {
    "init": lambda it: it.__init__([1]),
    "setitem": lambda it: operator.setitem(it, 0, 1),
    "setslice": lambda it: operator.setitem(it, slice(0, 1), [1]),
    "delitem": lambda it: operator.delitem(it, 0),
    "delslice": lambda it: operator.delitem(it, slice(None)),
    "iadd": lambda it: operator.iadd(it, [1]),
    "imul": lambda it: operator.imul(it, 2),
    "append": lambda it: it.append(1),
    "clear": lambda it: it.clear(),
    "extend": lambda it: it.extend([1]),
    "insert": lambda it: it.insert(0, 1),
    "pop": lambda it: it.pop(),
    "remove": lambda it: it.remove("a"),
    "reverse": lambda it: it.reverse(),
    "sort": lambda it: it.sort(),
    "setstate": lambda it: it.__setstate__([1]),
    "setattr": lambda it: setattr(it, "x", 1),
    "delattr": lambda it: delattr(it, "pop"),
    "class": lambda it: setattr(it, "__class__", list),
}


@pytest.mark.parametrize("mutator", OBJECT_MUTATORS)
def test_object_refuses_every_change(mutator: str) -> None:
    """Each mutator of dict raises TypeError and leaves the object as it was, at the top and below."""
    claims = freeze(PLAIN)
    for target in (claims, claims["roles"][1][1], Claims()):
        before = dict(target)
        with pytest.raises(TypeError):
            OBJECT_MUTATORS[mutator](target)
        assert target == before


@pytest.mark.parametrize("mutator", ARRAY_MUTATORS)
def test_array_refuses_every_change(mutator: str) -> None:
    """Each mutator of list raises TypeError and leaves the array as it was, at the top and below."""
    claims = freeze(PLAIN)
    for target in (claims["roles"], claims["roles"][1], ClaimsList()):
        before = list(target)
        with pytest.raises(TypeError):
            ARRAY_MUTATORS[mutator](target)
        assert target == before


def test_no_mutator_of_the_built_in_types_is_forgotten() -> None:
    """A method that dict or list has and the frozen types inherit is one that is known to change nothing."""
    readers = {
        "__class__", "__class_getitem__", "__contains__", "__dir__", "__doc__", "__eq__", "__format__", "__ge__",
        "__getattribute__", "__getitem__", "__getstate__", "__gt__", "__hash__", "__init_subclass__", "__iter__",
        "__le__", "__len__", "__lt__", "__ne__", "__new__", "__reduce__", "__repr__", "__reversed__", "__sizeof__",
        "__str__", "__subclasshook__", "__or__", "__ror__", "fromkeys", "get", "items", "keys", "values",
        "__add__", "__mul__", "__rmul__", "count", "index",
    }  # fmt: skip
    for frozen, plain in ((Claims, dict), (ClaimsList, list)):
        assert set(dir(plain)) - set(vars(frozen)) <= readers


def test_fromkeys_makes_nothing_mutable() -> None:
    """dict.fromkeys fills what it makes, and so cannot make Claims."""
    with pytest.raises(TypeError):
        Claims.fromkeys(["a"])


def test_frozen_claims_are_still_dict_and_list() -> None:
    """What takes dict and list takes them: isinstance, equality, json.dumps."""
    claims = freeze(PLAIN)
    assert isinstance(claims, dict)
    assert isinstance(claims["roles"], list)
    assert claims == PLAIN
    assert json.loads(json.dumps(claims)) == PLAIN


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_the_type(protocol: int) -> None:
    """A round trip through pickle is equal and immutable at every depth, with each protocol."""
    again = pickle.loads(pickle.dumps(freeze(PLAIN), protocol))
    assert again == PLAIN
    assert type(again) is Claims
    assert type(again["roles"]) is ClaimsList
    assert type(again["roles"][1][1]) is Claims


def test_deep_copy_is_plain_at_every_depth() -> None:
    """copy.deepcopy gives dict and list of the caller's own."""
    claims = freeze(PLAIN)
    again = copy.deepcopy(claims)
    assert again == PLAIN
    again["roles"][1][1]["deep"].append(2)
    assert type(again) is type(again["address"]) is type(again["roles"][1][1]) is dict
    assert claims == PLAIN


def test_shallow_copies_are_plain_at_the_top() -> None:
    """copy.copy, .copy() and the operators give a plain top level whose members stay immutable."""
    claims = freeze(PLAIN)
    for again in (copy.copy(claims), claims.copy(), claims | {}, {} | claims):
        assert type(again) is dict
        assert type(again["roles"]) is ClaimsList
    roles = claims["roles"]
    for again in (copy.copy(roles), roles.copy(), roles + [], roles * 1, roles[:]):
        assert type(again) is list


def test_constructors_freeze_what_they_take() -> None:
    """Claims(...) and ClaimsList(...) copy their content and freeze it at every depth."""
    inner = ["a"]
    claims = Claims({"roles": inner})
    inner.append("b")
    assert claims == {"roles": ["a"]}
    assert type(claims["roles"]) is ClaimsList
    assert type(ClaimsList([{}])[0]) is Claims
    assert freeze(claims) is claims
    assert freeze("text") == "text"
    assert claims_of([("a", 1)]) == {"a": 1}
