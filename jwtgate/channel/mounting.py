"""Which path the application behind an ASGI server routes on, where the server's word about it can be believed.

Daphne takes ``root_path`` out of a header, ``Daphne-Root-Path``, of whoever sends one. Some routers cut it off the path, others
look at all of it: a client could have the gate see another path than the application does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jwtgate.core.http.exemption import certain_path, routed_path

if TYPE_CHECKING:
    from jwtgate.channel.shapes import Scope

__all__ = ["told_path"]


def told_path(scope: Scope) -> str | None:
    """As ``certain_path``; None, too, under daphne where the server tells a root path, be it its own or a client's.

    What Starlette mounts within (``app_root_path`` is where it began) is nobody's word but the application's. So is what
    FastAPI was made with, whatever the server says; and it routes as ``routed_path``.
    """
    root_path = scope.get("root_path", "")
    if not root_path:
        return scope["path"]  # type: ignore[no-any-return]  # by ASGI a text
    began = scope.get("app_root_path", root_path)
    is_fastapis = began == getattr(scope.get("app"), "root_path", "")
    if is_fastapis and "app_root_path" not in scope:
        return routed_path(scope["path"], root_path)
    if began and not is_fastapis and _is_on_twisted():
        return None
    return certain_path(scope["path"], root_path)


def _is_on_twisted() -> bool:
    """Daphne alone runs on it; applications may well have imported it."""
    return getattr(sys.modules.get("twisted.internet.reactor"), "running", False) is True
