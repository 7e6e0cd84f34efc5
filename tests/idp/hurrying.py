"""For the applications of these tests: what a gate does with published keys takes seconds instead of minutes.

The provider says no lifetime of its keys, so the default is what counts. The bounds' order stays as it is.
"""

from __future__ import annotations

import jwtgate.core.keys.fetching as key_fetching
from jwtgate.runtime import fetching

SECONDS = {
    "COOL_DOWN_SECONDS": 1.0,
    "DEFAULT_LIFETIME_SECONDS": 1.5,
    "LEAST_LIFETIME_SECONDS": 0.5,
    "FIRST_PAUSE_SECONDS": 0.2,
    "LONGEST_PAUSE_SECONDS": 1.0,
}
FETCH_SECONDS = 2.0


def hurry() -> None:
    """In this process."""
    for name, seconds in SECONDS.items():
        setattr(key_fetching, name, seconds)
    fetching.FETCH_SECONDS = FETCH_SECONDS
