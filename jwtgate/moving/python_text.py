"""The settings in a Python file, which is read as text and never run.

What is not written out is not guessed at: what is computed when the program runs, set in two ways or under a condition, or
comes from another file, is ``Computed``; of several classes of settings it is not known which one counts.
"""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["STAR", "Computed", "of_python"]

DEEPEST = 16
"""Of a value's expression, names that stand for another one included."""

ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

MOST_STEPS = 200_000
"""Of all values together: names that stand for lists of names may multiply without end."""

STAR = "import *"
"""A name that no setting has: the file takes settings from another one, or from what is known when the program runs."""

LOADERS = frozenset(("from_object", "from_pyfile", "from_file", "from_json", "from_envvar", "from_prefixed_env"))
"""Of Flask's ``Config``."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A setting that has no value in the file. Attributes: why: in words."""

    why: str


UNSURE = Computed(
    "it is set in several places, under a condition or in another file: what counts is known when the program runs"
)
RUN_TIME = Computed("it is computed when the program runs")

CONDITIONAL = (ast.If, ast.Try, ast.For, ast.AsyncFor, ast.While, ast.Match)


@dataclass(slots=True)
class Assigned:
    """What names are given, in a file.

    Attributes:
        values: by name; None: by what has no expression of its own.
        members: of dictionaries, by the name of each.
        classes: of the file.
        alternatives: those of which the program takes one.
        steps: made while values were read.
    """

    values: dict[str, list[ast.expr | None]] = field(default_factory=dict[str, "list[ast.expr | None]"])
    members: dict[str, list[tuple[str, ast.expr | None]]] = field(
        default_factory=dict[str, "list[tuple[str, ast.expr | None]]"]
    )
    classes: frozenset[str] = frozenset()
    alternatives: frozenset[str] = frozenset()
    steps: int = 0

    def add(self, name: str, value: ast.expr | None) -> None:
        """One more value of a name."""
        self.values.setdefault(name, []).append(value)

    def value_of(self, name: str) -> Any:
        """The one that is written out, or ``Computed``."""
        values = self.values[name]
        first = values[0]
        if any(value is None for value in values) or len({ast.dump(cast("ast.expr", value)) for value in values}) > 1:
            return UNSURE
        return _value(cast("ast.expr", first), self, 0)


def of_python(text: str, inside: str | None) -> dict[str, Any]:
    """Names that are assigned, items, attributes and named arguments, wherever they stand; or the members of one dictionary.

    Raises: SyntaxError, ValueError, RecursionError.
    """
    tree = ast.parse(text)
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    assigned = Assigned(classes=frozenset(classes), alternatives=_alternatives(classes))
    _gather(tree, assigned, is_certain=True)
    found: dict[str, Any] = {} if STAR not in assigned.values else {STAR: UNSURE}
    if inside is None:
        return found | {name: assigned.value_of(name) for name in assigned.values if name != STAR}
    if "SECRET_KEY" in assigned.values:
        found["SECRET_KEY"] = assigned.value_of("SECRET_KEY")
    return found | _within(inside, assigned)


def _within(inside: str, assigned: Assigned) -> dict[str, Any]:
    """The members of the dictionary; itself, where it is not written out in one place."""
    values = assigned.values.get(inside, [])
    if not values:
        return {}
    members = list(_members(values[0])) if values[0] is not None else []
    if len(values) > 1 or not _is_dictionary(values[0]) or any(name is None for name, _ in members):
        return {inside: UNSURE if len(values) > 1 else RUN_TIME}
    found: dict[str, Any] = {}
    for name, value in [*members, *assigned.members.get(inside, [])]:
        found[cast("str", name)] = UNSURE if name in found or value is None else _value(value, assigned, 0)
    return found


def _is_dictionary(value: ast.expr | None) -> bool:
    match value:
        case ast.Dict() | ast.Call(func=ast.Name(id="dict"), args=[]):
            return True
        case _:
            return False


def _members(value: ast.expr | None) -> Iterator[tuple[str | None, ast.expr]]:
    """Of a dictionary that is written out, or of ``dict(name=…)``. None: a key that is not."""
    match value:
        case ast.Dict(keys=keys, values=values):
            for key, each in zip(keys, values, strict=True):
                is_text = isinstance(key, ast.Constant) and isinstance(key.value, str)
                yield (cast("str", cast("ast.Constant", key).value) if is_text else None), each
        case ast.Call(keywords=keywords):
            yield from ((each.arg, each.value) for each in keywords)
        case _:
            pass


def _alternatives(classes: Mapping[str, ast.ClassDef]) -> frozenset[str]:
    """Those that are made of others of the file; and all that set something, where several begin anew."""
    setting = {name for name, node in classes.items() if any(_sets(each) for each in node.body)}
    derived = {
        name for name in setting if any(isinstance(base, ast.Name) and base.id in classes for base in classes[name].bases)
    }
    return frozenset(setting if len(setting - derived) > 1 else derived)


def _sets(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id.isupper() for target in targets)


def _gather(node: ast.AST, assigned: Assigned, *, is_certain: bool) -> None:
    """Args: is_certain: False: what stands here may never be run."""
    is_alternative = isinstance(node, ast.ClassDef) and node.name in assigned.alternatives
    is_certain = is_certain and not is_alternative
    match node:
        case ast.Assign(targets=targets, value=value):
            _assign(targets, value if is_certain else None, assigned)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            _assign([target], value if is_certain else None, assigned)
        case ast.AugAssign(target=target):
            _assign([target, target], None, assigned)
            if _is_config(target):
                assigned.add(STAR, None)
        case ast.NamedExpr(target=target):
            _assign([target], None, assigned)
        case ast.ImportFrom(names=names) | ast.Import(names=names):
            for each in names:
                assigned.add(STAR if each.name == "*" else each.asname or each.name, None)
        case ast.Call():
            _gather_call(node, assigned, is_certain=is_certain)
        case _:
            pass
    for inner in ast.iter_child_nodes(node):
        _gather(inner, assigned, is_certain=is_certain and not isinstance(node, CONDITIONAL))


def _gather_call(call: ast.Call, assigned: Assigned, *, is_certain: bool) -> None:
    """``AuthXConfig(NAME=…)``, ``app.config.update(NAME=…)``, ``app.config.from_mapping({…})``."""
    pairs: list[tuple[str | None, ast.expr]] = [(each.arg, each.value) for each in call.keywords]
    is_whole = True
    match call.func:
        case ast.Attribute(attr="update" | "from_mapping" | "setdefault" as method, value=owner):
            if isinstance(owner, ast.Name):
                _assign([owner], None, assigned)
            pairs += [pair for each in call.args for pair in _members(each) if isinstance(each, ast.Dict)]
            if _is_config(owner):
                is_whole = method == "setdefault" or all(isinstance(each, ast.Dict) for each in call.args)
                is_whole = is_whole and all(each is not None for each, _ in pairs)
        case ast.Attribute(attr=name) if name in LOADERS:
            is_whole = name == "from_object" and _is_of_this_file(call.args, assigned)
        case ast.Name(id="setattr"):
            pairs += [(str(each.value), call) for each in call.args[1:2] if isinstance(each, ast.Constant)]
            is_certain = False
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.endswith("Config"):
            is_whole = all(each is not None for each, _ in pairs)
        case _:
            pass
    if not is_whole:
        assigned.add(STAR, None)
    for given, value in pairs:
        if given is not None:
            assigned.add(given, value if is_certain else None)


def _is_config(owner: ast.expr) -> bool:
    """``app.config``, as Flask has it."""
    return isinstance(owner, ast.Attribute) and owner.attr == "config"


def _is_of_this_file(arguments: list[ast.expr], assigned: Assigned) -> bool:
    """``from_object(__name__)``, or a class of the file, which is read wherever it stands."""
    return any(isinstance(each, ast.Name) and each.id in {"__name__", *assigned.classes} for each in arguments)


def _assign(targets: list[ast.expr], value: ast.expr | None, assigned: Assigned) -> None:
    for target in targets:
        match target:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                assigned.add(name, value)
            case ast.Subscript(value=owner, slice=ast.Constant(value=str() as name)):
                assigned.add(name, value)
                if isinstance(owner, ast.Name):
                    assigned.members.setdefault(owner.id, []).append((name, value))
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                _assign(elements, None, assigned)
            case _:
                pass


# --- values

OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def _value(node: ast.expr, assigned: Assigned, depth: int) -> Any:
    """What an expression is, where that is written out. ``Computed``: it is not."""
    assigned.steps += 1
    if depth > DEEPEST or assigned.steps > MOST_STEPS:
        return RUN_TIME

    def inner(each: ast.expr) -> Any:
        return _value(each, assigned, depth + 1)

    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            values = assigned.values.get(name, [])
            return inner(values[0]) if len(values) == 1 and values[0] is not None else UNSURE if values else RUN_TIME
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return _whole([inner(each) for each in elements])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _reckoned(operator.sub, 0, inner(operand))
        case ast.BinOp(left=left, op=by, right=right) if type(by) in OPERATORS:
            return _reckoned(OPERATORS[type(by)], inner(left), inner(right))
        case ast.Call(func=ast.Name(id="timedelta") | ast.Attribute(attr="timedelta"), args=arguments, keywords=keywords):
            return _span([inner(each) for each in arguments], {str(each.arg): inner(each.value) for each in keywords})
        case _:
            return _of_environment(node)


def _whole(values: list[Any]) -> Any:
    return next((each for each in values if isinstance(each, Computed)), values)


def _reckoned(by: Callable[[Any, Any], Any], one: Any, other: Any) -> Any:
    """Of numbers alone: a text times a number could be as long as it likes."""
    for each in (one, other):
        if isinstance(each, Computed):
            return each
        if type(each) not in (int, float):
            return RUN_TIME
    return by(one, other)


def _span(arguments: list[Any], named: dict[str, Any]) -> Any:
    try:
        return timedelta(*arguments, **named)
    except (TypeError, ValueError, OverflowError):
        return RUN_TIME


def _of_environment(node: ast.expr) -> Computed:
    """``os.environ["X"]``, ``os.getenv("X")``, ``config("X")``: the name of the variable helps whoever looks for the value."""
    match node:
        case ast.Subscript(slice=ast.Constant(value=str() as name)) | ast.Call(args=[ast.Constant(value=str() as name), *_]):
            if ENVIRONMENT_NAME.fullmatch(name):
                return Computed(f"it is read when the program runs, as {name}")
        case _:
            pass
    return RUN_TIME
