"""The public surface, frozen: a name more or less is a decision, not an accident."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

SURFACE = {
    "jwtgate": ["Gate", "Receipt", "Request", "Session", "Settings", "Status", "Token", "TokenPair", "token_of"],
    "jwtgate.asgi": ["JWTGateMiddleware"],
    "jwtgate.wsgi": ["JWTGateMiddleware"],
    "jwtgate.checks": ["Check", "client_address", "fresh_login", "scope", "user_agent", "user_agent_digest"],
    "jwtgate.console": ["Console"],
    "jwtgate.errors": [
        "BadSignature",
        "CredentialError",
        "CrossSiteRequest",
        "Expired",
        "GrantError",
        "InsufficientScope",
        "InsufficientUserAuthentication",
        "InvalidClient",
        "InvalidRequest",
        "InvalidToken",
        "JWTGateError",
        "KeysUnavailable",
        "MalformedToken",
        "MissingToken",
        "NotYetValid",
        "RefusedByCheck",
        "ReusedRefreshToken",
        "Revoked",
        "SettingsError",
        "StoreUnavailable",
        "SubjectSuspended",
        "UnavailableError",
        "UnknownKey",
        "WrongAudience",
        "WrongIssuer",
        "WrongType",
    ],
    "jwtgate.audit": ["AuditEvent"],
    "jwtgate.metrics.otel": ["instrument"],
    "jwtgate.metrics.prometheus": ["GateCollector"],
    "jwtgate.frameworks.django": ["JWTGateConfig", "TokenUser", "TokenUserAuthentication", "TokenUserMiddleware"],
    "jwtgate.frameworks.flask": ["JWTGate", "current_token", "token_required"],
    "jwtgate.frameworks.starlette": ["admitted", "admitted_or_anonymous", "render_errors", "require", "show_login"],
    "jwtgate.testing.django": ["behind_gate"],
    "jwtgate.testing": ["FixtureGate", "FrozenClock", "StoreFaults", "gate"],
    "jwtgate.stores": ["Feed", "JournaledStore", "PartitionedStore", "Store", "open_journal", "open_store"],
}

FRAMEWORKS = ["starlette", "werkzeug", "fastapi", "flask", "django"]
EXPORTERS = ["prometheus_client", "opentelemetry"]
DRIVERS = ["redis", "valkey", "hiredis", "sqlalchemy", "psycopg", "sqlite3", "environs", "marshmallow"]


@pytest.mark.parametrize("module", SURFACE)
def test_public_names_are_these_and_exist(module: str) -> None:
    """``__all__`` is the surface, and each name in it is there."""
    imported = importlib.import_module(module)
    assert sorted(imported.__all__) == SURFACE[module]
    for name in SURFACE[module]:
        assert getattr(imported, name) is not None


def loaded_by(statement: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter holds after the statement."""
    program = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import jwtgate", [*FRAMEWORKS, *DRIVERS, *EXPORTERS]),
        ("import jwtgate; [getattr(jwtgate, name) for name in jwtgate.__all__]", [*FRAMEWORKS, *DRIVERS]),
        ("import jwtgate.pytest_plugin", [*FRAMEWORKS, *DRIVERS, "jwt", "cryptography"]),
        ("import jwtgate.testing", [*FRAMEWORKS, *DRIVERS, "pytest"]),
        ("import jwtgate.stores, jwtgate.errors", [*FRAMEWORKS, *DRIVERS]),
        ("import jwtgate.asgi", ["werkzeug", "fastapi", "flask", "django", *DRIVERS]),
        ("import jwtgate.frameworks.django", ["starlette", "werkzeug", "fastapi", "flask", "rest_framework", *DRIVERS]),
        ("import jwtgate.frameworks.flask", ["starlette", "fastapi", "django", *DRIVERS]),
        ("import jwtgate.frameworks.starlette", ["werkzeug", "flask", "django", *DRIVERS]),
        ("import jwtgate.wsgi", ["starlette", "fastapi", "flask", "django", *DRIVERS]),
        ("import jwtgate; jwtgate.Gate(jwtgate.Settings(secret='s' * 32))", [*FRAMEWORKS, *DRIVERS, *EXPORTERS]),
        ("import jwtgate.metrics, jwtgate.audit", [*FRAMEWORKS, *DRIVERS, *EXPORTERS]),
        ("import jwtgate.metrics.prometheus", [*FRAMEWORKS, *DRIVERS, "opentelemetry"]),
        ("import jwtgate.metrics.otel", [*FRAMEWORKS, *DRIVERS, "prometheus_client"]),
    ],
)
def test_imports_load_nothing_that_was_not_asked_for(statement: str, absent: list[str]) -> None:
    """A framework, a database driver or the environment's reader is loaded where it is used, and only then."""
    assert not loaded_by(statement) & set(absent)


def test_plugin_loads_nothing_of_the_package_but_itself() -> None:
    """It is imported by every pytest run of whoever has jwtgate installed, for whatever they test."""
    program = "import sys, pytest; before = set(sys.modules); import jwtgate.pytest_plugin; print(*set(sys.modules) - before)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(ended.stdout.split()) == {"jwtgate", "jwtgate.pytest_plugin"}


def test_what_is_no_name_of_the_package_is_not_there() -> None:
    """Names that are loaded when they are first asked for are those of ``__all__`` alone, and ``dir`` tells them."""
    package = importlib.import_module("jwtgate")
    assert set(SURFACE["jwtgate"]) <= set(dir(package))
    with pytest.raises(AttributeError, match="has no attribute 'Store'"):
        package.Store  # noqa: B018
