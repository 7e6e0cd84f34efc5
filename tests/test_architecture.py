"""The shape of the package: which room may import which, how pure the core is, how long a file may be."""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "jwtgate"

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "messages": (),
    "claims": (),
    "audit": (),
    "wording": (),
    "pages": ("messages", "wording"),
    "core": ("errors", "messages", "claims", "audit"),
    "endpoints": ("errors", "messages", "claims", "core"),
    "checks": ("errors", "messages", "core"),
    "settings": (
        *(
            "errors",
            "core.handles",
            "core.keys.building",
            "core.keys.material",
            "core.keys.ring",
            "core.http.cookies",
            "core.http.live_paths",
            "core.tokens.policy",
            "core.tokens.profile",
            "core.possession.target_uri",
        ),
        "core.statuses.claim",
    ),
    "stores": ("errors", "core.history", "core.partitioning", "core.rulings", "core.sessions.stored"),
    "runtime": ("errors", "messages", "audit", "core", "endpoints.forms", "endpoints.refusals", "stores.contract"),
    "watching": ("errors", "core", "wording", "stores.contract"),
    "configuring": ("errors", "messages", "core", "endpoints", "settings", "pages", "stores.contract"),
    "auditing": ("core.tokens.policy", "settings", "stores.contract"),
    "plans": ("errors", "messages", "audit", "core", "endpoints.routing", "settings", "configuring"),
    "sessions": ("messages", "core", "plans"),
    "responses": (),
    "composition": ("errors", "messages", "core", "settings", "stores", "runtime", "plans", "configuring", "auditing"),
    "gate": ("messages", "audit", "core", "settings", "runtime", "sessions", "responses", "composition"),
    "": ("messages", "settings", "gate"),
    "metrics": ("errors", "core.tally", "runtime.clock", "runtime.forking", "gate"),
    "identity": ("claims",),
    "channel": ("errors", "messages", "core", "runtime", "gate"),
    "asgi": ("errors", "messages", "core", "runtime", "gate", "identity", "channel"),
    "wsgi": ("errors", "messages", "core", "runtime", "gate", "channel"),
    "console": (
        *("errors", "messages", "core", "endpoints.forms", "endpoints.refusals", "stores.contract", "runtime", "settings"),
        *("plans.overseeing", "wording", "watching", "gate", "pages", "asgi", "channel.sending", "channel.shapes"),
    ),
    "frameworks": ("errors", "messages", "checks", "settings", "gate", "wsgi"),
    "testing": ("errors", "core", "settings", "stores", "runtime", "gate", "wsgi"),
    "moving": (),
    "pytest_plugin": ("", "testing"),
    "cli": (
        *("", "errors", "messages", "core", "settings", "stores", "runtime", "auditing", "gate", "moving", "wording"),
        *("watching", "console", "demo"),
    ),
    "demo": ("", "errors", "messages", "settings", "gate", "asgi", "wsgi", "pages"),
    "__main__": ("cli",),
}
"""Room (module or folder; ``""`` is ``jwtgate`` itself) to what it may import, named to the module where only that is
meant. Top to bottom: nothing imports what stands below it, but ``cli`` its ``demo``."""

PURE_ROOMS = ("audit", "core", "endpoints", "auditing")

PURE = frozenset(
    """
    __future__ abc base64 binascii bisect collections contextlib copy dataclasses enum functools graphlib hashlib heapq hmac
    http ipaddress itertools json math operator re string struct types typing unicodedata urllib zlib
    """.split()
)
"""What these may import of the standard library: nothing that waits, draws, logs, or reads a clock or the machine."""

CORE_ALSO: dict[str, frozenset[str]] = {
    "core.keys.material": frozenset({"jwt", "cryptography"}),
    "core.sessions.refresh_tokens": frozenset({"cryptography"}),
    "core.keys.signing": frozenset({"jwt"}),
    "core.keys.derived": frozenset({"cryptography"}),
}
"""Where the JOSE library is used; ``cryptography`` to see what kind of key a PEM holds, and how strong, and to seal."""

FOREIGN: dict[str, frozenset[str]] = {
    "frameworks.django": frozenset({"asgiref", "django"}),
    "frameworks.django_app": frozenset({"django"}),
    "frameworks.flask": frozenset({"flask", "werkzeug"}),
    "frameworks.openapi": frozenset({"fastapi", "starlette"}),
    "frameworks.starlette": frozenset({"fastapi", "starlette"}),
    "identity": frozenset({"starlette"}),
    "metrics.otel": frozenset({"opentelemetry"}),
    "metrics.prometheus": frozenset({"prometheus_client"}),
    "pages.drawing": frozenset({"jinja2"}),
    "pytest_plugin": frozenset({"pytest"}),
    "runtime.documents": frozenset({"httpx"}),
    "settings.environment": frozenset({"environs"}),
    "stores.redis.auditing": frozenset({"redis"}),
    "stores.redis.exposure": frozenset({"redis"}),
    "stores.redis.inspecting": frozenset({"redis"}),
    "stores.redis.probing": frozenset({"redis"}),
    "stores.redis.cluster": frozenset({"redis"}),
    "stores.redis.durable": frozenset({"redis"}),
    "stores.redis.dialling": frozenset({"redis"}),
    "stores.redis.places": frozenset({"redis"}),
    "stores.redis.sentinel": frozenset({"redis"}),
    "stores.redis.store": frozenset({"redis"}),
    "stores.redis.wire": frozenset({"redis"}),
    "stores.sql.dialects": frozenset({"sqlalchemy"}),
    "stores.sql.engine": frozenset({"sqlalchemy"}),
    "stores.sql.feed": frozenset({"sqlalchemy"}),
    "stores.sql.journal": frozenset({"sqlalchemy"}),
    "stores.sql.journal_tables": frozenset({"sqlalchemy"}),
    "stores.sql.line": frozenset({"sqlalchemy"}),
    "stores.sql.marks": frozenset({"sqlalchemy"}),
    "stores.sql.mysql": frozenset({"pymysql", "sqlalchemy"}),
    "stores.sql.mysql_patience": frozenset({"pymysql"}),
    "stores.sql.opening": frozenset({"sqlalchemy"}),
    "stores.sql.patience": frozenset({"psycopg"}),
    "stores.sql.postgresql": frozenset({"psycopg", "sqlalchemy"}),
    "stores.sql.purging": frozenset({"sqlalchemy"}),
    "stores.sql.rehearsing": frozenset({"sqlalchemy"}),
    "stores.sql.schema": frozenset({"sqlalchemy"}),
    "stores.sql.sessions": frozenset({"sqlalchemy"}),
    "stores.sql.sqlite": frozenset({"sqlalchemy"}),
    "stores.sql.steps": frozenset({"sqlalchemy"}),
    "stores.sql.store": frozenset({"sqlalchemy"}),
    "stores.sql.tables": frozenset({"sqlalchemy"}),
    "stores.sql.workers": frozenset({"sqlalchemy"}),
    "testing.django": frozenset({"django"}),
}
"""Everything else that is not the standard library, by the one module that may import it."""

MAY_IMPORT_ANYTHING = ("cli", "demo")
"""At the edge: they print and start processes."""

LINES = 300
LONGER: dict[str, str] = {
    "core/following.py": "one state machine, told with the rule of the design that each step keeps",
    "errors.py": "one tree of short classes, each with its words for the wire",
    "settings/table.py": "one table, a row a setting",
    "gate.py": "two faces with the same names, each with its signature",
    "metrics/table.py": "one row a metric, each with its names and its words",
}
"""Files over the budget, each with the reason why cutting it would not make it clearer."""


@cache
def modules() -> dict[str, Path]:
    """Dotted name below ``jwtgate`` to file; ``""`` is the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """Absolute names of the modules that one imports, annotations' imports and those inside functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole.removeprefix("jwtgate.") in modules() else node.module)
    return frozenset(found)


def own(module: str) -> set[str]:
    """Those of the package, without its name."""
    return {name[len("jwtgate") :].lstrip(".") for name in imports(module) if name.partition(".")[0] == "jwtgate"}


def foreign(module: str) -> set[str]:
    """Top-level names of all others."""
    return {name.partition(".")[0] for name in imports(module)} - {"jwtgate"}


def room(module: str) -> str:
    """The folder or module at the top level."""
    return module.partition(".")[0]


@pytest.mark.parametrize("module", modules())
def test_imports_go_one_way(module: str) -> None:
    """Every edge is one of ``MAY_IMPORT``; inside a room modules import each other, but never in a circle."""
    assert room(module) in MAY_IMPORT, "a room that nobody has placed yet"
    allowed = MAY_IMPORT[room(module)]
    for name in own(module):
        is_allowed = any(name == each or (each and name.startswith(f"{each}.")) for each in allowed)
        assert is_allowed or (room(name) == room(module) and name), f"{module} imports {name or 'jwtgate'}"


def test_no_module_imports_itself_by_a_detour() -> None:
    """No circle, not even of annotations. A package is read before its modules, so theirs count as its own."""
    sorter = TopologicalSorter({module: own(module) - {module} for module in modules()})
    sorter.prepare()


def test_rooms_are_listed_in_their_order() -> None:
    """Each room imports only what stands above it, so the list is in the order of the imports."""
    order = list(MAY_IMPORT)
    for place, allowed in enumerate(MAY_IMPORT.values()):
        for each in allowed:
            assert order.index(room(each)) < place or (order[place], each) == ("cli", "demo")


@pytest.mark.parametrize("module", [module for module in modules() if room(module) not in ("testing", "pytest_plugin")])
def test_nothing_that_runs_in_production_imports_what_is_for_tests(module: str) -> None:
    """A clock that stands still and a store that forgets stand in front of nobody's application by accident."""
    assert not {room(name) for name in own(module)} & {"testing", "pytest_plugin"}
    assert "importlib" not in foreign(module) or "testing" not in modules()[module].read_text()


@pytest.mark.parametrize("module", [module for module in modules() if room(module) in PURE_ROOMS])
def test_core_and_endpoints_do_no_io_and_read_no_clock(module: str) -> None:
    """Charter rules 14 and 16: what a rule needs of the world is an argument or an effect."""
    assert foreign(module) <= PURE | CORE_ALSO.get(module, frozenset())


@pytest.mark.parametrize("module", [module for module in modules() if room(module) not in MAY_IMPORT_ANYTHING])
def test_foreign_packages_are_imported_where_the_list_says(module: str) -> None:
    """One place for each library, so that ``import jwtgate`` stays light and a library can be replaced."""
    allowed = FOREIGN.get(module, frozenset()) | CORE_ALSO.get(module, frozenset())
    assert foreign(module) - sys.stdlib_module_names <= allowed


def test_lists_name_only_what_is_there() -> None:
    """An exception that is no longer needed goes."""
    for module in (*CORE_ALSO, *FOREIGN):
        assert (CORE_ALSO.get(module, frozenset()) | FOREIGN.get(module, frozenset())) <= foreign(module)
    for name in LONGER:
        assert _lines(ROOT / name) > LINES, f"{name} is within the budget again"


@pytest.mark.parametrize("path", modules().values(), ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_at_most_300_lines_long(path: Path) -> None:
    """Charter rule 4; what is longer says why."""
    assert _lines(path) <= LINES or str(path.relative_to(ROOT)) in LONGER


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())
