"""Has a forked child start from nothing, whoever forked it, and says where threads stand still.

uWSGI forks in C and, unless it is told to (``--py-call-uwsgi-fork-hooks``), runs none of Python's hooks: what was used in its
master would go on in each worker, with the master's lease, and on connections from which workers read each other's answers. Its
own hook is in the module ``uwsgi``, which only its processes have.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["after_fork", "is_without_threads"]

HOOKS = ("post_fork_hook", "spooler", "mule_msg_hook")
"""What ``uwsgidecorators`` writes over as it is imported."""


def after_fork(reset: Callable[[], None]) -> None:
    """Has it called in every forked child, before anything else of ours; perhaps twice."""
    os.register_at_fork(after_in_child=reset)
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is not None:
        _after_fork_of(uwsgi, reset)


def _after_fork_of(uwsgi: Any, reset: Callable[[], None]) -> None:
    """By ``uwsgidecorators`` where that is fine: an application that imports it later would take a hook of ours away."""
    if "uwsgidecorators" in sys.modules or not any(hasattr(uwsgi, name) for name in HOOKS):
        with suppress(Exception):  # there is none, or it wants a master and raises Exception itself
            import_module("uwsgidecorators").postfork(reset)
            return
    earlier = getattr(uwsgi, "post_fork_hook", None)

    def reset_first() -> None:
        reset()
        if earlier is not None:
            earlier()

    uwsgi.post_fork_hook = reset_first


def is_without_threads() -> bool:
    """Whether this is uWSGI without ``--enable-threads`` (before 2.0.27 the default): threads run only while a request does."""
    return not getattr(sys.modules.get("uwsgi"), "has_threads", True)
