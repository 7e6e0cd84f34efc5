"""How texts, times and spans read, on a terminal and on a page.

Texts that came from a token or a client (claims, user agents) are shown with their control characters escaped: what a
stranger sent must move no cursor, and turn no line around.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

__all__ = ["moment", "plain", "span", "until"]

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def plain(value: Any) -> str:
    """A text as it is, other JSON as JSON; nothing in it commands the terminal."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def moment(at: float) -> str:
    """A NumericDate in local time."""
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "no date at all"


def span(seconds: float) -> str:
    """In its largest unit, such as ``14 min``."""
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.2g} s"


def until(at: float) -> str:
    """A NumericDate in local time, and how far it is from now."""
    left = at - time.time()
    return f"{moment(at)} ({f'in {span(left)}' if left > 0 else f'{span(-left)} ago'})"
