"""A gate for the tests of applications: the real decision, on a store and a clock that the test holds in its hands.

Fixtures for pytest stand in ``jwtgate.pytest_plugin``. Nothing else of the package imports this.
"""

from jwtgate.testing.clock import FrozenClock
from jwtgate.testing.gates import FixtureGate, gate
from jwtgate.testing.store import StoreFaults

__all__ = ["FixtureGate", "FrozenClock", "StoreFaults", "gate"]
