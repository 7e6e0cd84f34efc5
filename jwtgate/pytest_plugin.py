"""Fixtures for pytest: a gate for the tests of an application, which need neither a server nor a sleep.

Here once jwtgate is installed. A run that uses none of them loads nothing but this file. An application that is imported
while tests are collected needs its ``JWTGATE_*`` then, as ever, for example from ``conftest.py``; in tests it has this gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jwtgate import Settings
    from jwtgate.testing import FixtureGate, FrozenClock, StoreFaults

__all__ = ["bearer", "jwt_clock", "jwt_gate", "jwt_settings", "jwt_store", "token_for"]

MARKER = "jwtgate(**settings): rows of jwtgate's settings for the gate of this test, such as validity='allowlist'"


def pytest_configure(config: pytest.Config) -> None:
    """So that ``--strict-markers`` knows ours."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def jwt_settings() -> Settings | Mapping[str, Any]:
    """Settings of the test's gate, as ``jwtgate.testing.gate`` takes them: to be overridden; a marker goes before them."""
    return {}


@pytest.fixture
def jwt_gate(jwt_settings: Settings | Mapping[str, Any], request: pytest.FixtureRequest) -> Iterator[FixtureGate]:
    """A gate on a store in memory, live at once; what ``Gate.from_env()`` gives, too, while the test runs."""
    from jwtgate.testing import gate  # here, since it is the whole package

    marked: dict[str, Any] = {}
    for mark in request.node.iter_markers("jwtgate"):  # the closest comes first
        if mark.args:
            raise pytest.UsageError("jwtgate: the marker takes settings by their names")
        marked = {**mark.kwargs, **marked}
    with gate(jwt_settings, **marked) as fixture:
        yield fixture


@pytest.fixture
def jwt_clock(jwt_gate: FixtureGate) -> FrozenClock:
    """The gate's clock, which stands still: ``advance(seconds)``."""
    return jwt_gate.clock


@pytest.fixture
def jwt_store(jwt_gate: FixtureGate) -> StoreFaults:
    """Has the gate's store ``fail()`` and ``recover()``, or ``lag()``."""
    return jwt_gate.faults


@pytest.fixture
def token_for(jwt_gate: FixtureGate) -> Callable[..., str]:
    """``token_for("alice", scopes=…, claims=…, ttl=…)``: an access token."""
    return jwt_gate.token_for


@pytest.fixture
def bearer(jwt_gate: FixtureGate) -> Callable[..., dict[str, str]]:
    """``bearer("alice", …)``, as ``token_for``, or ``bearer(token=…)``: the headers of a request."""
    return jwt_gate.bearer
