"""What the tests of core share."""

from __future__ import annotations

import pytest
from keymaking import Pair, make_pairs


@pytest.fixture(scope="session")
def pairs() -> dict[str, Pair]:
    """One key pair of each kind, by name, made once."""
    return make_pairs()
