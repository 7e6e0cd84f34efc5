"""Moving to jwtgate: the settings and names of other packages beside ours, and what of somebody's own settings carries over.

Data and pure functions. Nothing of theirs is imported, and no file of anybody's is run: Python is read as text.
"""

from __future__ import annotations

from jwtgate.moving.carrying import Carried, Left, Line
from jwtgate.moving.packages import PACKAGES, Package, carry
from jwtgate.moving.reading import Unreadable
from jwtgate.moving.rows import Row

__all__ = ["PACKAGES", "Carried", "Left", "Line", "Package", "Row", "Unreadable", "carry"]
