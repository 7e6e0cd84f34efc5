"""The real clocks. ``CLOCK_BOOTTIME`` where there is one: ``CLOCK_MONOTONIC`` stops in suspend, and a lease must not."""

from __future__ import annotations

import time
from functools import partial

__all__ = ["SystemClock", "boot"]

boot = partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
"""Seconds since boot: one C call, for the hot path."""


class SystemClock:
    """See ``core.effects.Clock``."""

    boot = staticmethod(boot)
    wall = staticmethod(time.time)
