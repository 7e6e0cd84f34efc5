"""At home in a framework: ``starlette`` (and FastAPI), ``flask``, ``django``.

They dress what the middleware has decided; they decide nothing.
"""

from __future__ import annotations
