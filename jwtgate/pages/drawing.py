"""Templates to HTML. Everything that is put into a page is escaped, and a name that nobody gave is a mistake, not a blank.

Jinja2 is of the extra ``console``. What a stranger chose (a device's label, a user agent) is shown with its controls and its
bidirectional characters spelt out, cut to a bearable length, and set apart from the text around it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jwtgate.messages import Response
from jwtgate.pages.agents import agent_in_words
from jwtgate.wording import plain, span

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["SECURITY", "NotInstalled", "Pages", "Static"]

HERE = Path(__file__).parent
EXTRA = "jwtgate[console]"

MOST_SHOWN = 200
"""Characters of a text that a stranger chose."""

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
"""Nothing from elsewhere, nothing inline, no frame around it (CSP 3); a page's address, which may name a subject, goes to no
other site (Referrer Policy §3.3). Under no-referrer the Origin of its own forms would be null (Fetch, "serializing a request
origin"), and that is all that is known of a form where browsers send no Sec-Fetch-Site: by plain http, and old ones."""


class NotInstalled(ImportError):
    """The extra is not there; says what to do."""

    def __init__(self) -> None:
        super().__init__(f"pages need jinja2: pip install '{EXTRA}'", name="jinja2")


class Pages:
    """All templates; loaded when they are first used. Thread-safe."""

    def __init__(self) -> None:
        """Raises: NotInstalled."""
        if find_spec("jinja2") is None:
            raise NotInstalled
        self._environment = _environment()

    def draw(self, template: str, status: int = 200, headers: tuple[tuple[str, str], ...] = (), **known: Any) -> Response:
        """A page that nobody keeps (RFC 9111 §5.2.2.5)."""
        body = self._environment.get_template(template).render(known).encode("utf-8", "replace")
        own = (
            ("content-type", "text/html; charset=utf-8"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
        )
        return Response(status, (*own, *SECURITY, *headers), body)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here, since it is an extra's

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(agent=agent_in_words, shown=shown, moment=utc, iso=iso, span=span, whole=whole)
    return environment


def shown(text: str, most: int = MOST_SHOWN) -> str:
    """A stranger's text, harmless and short. It is cut before it is looked through."""
    spelt = plain(text[: most + 1])
    return spelt if len(text) <= most and len(spelt) <= 2 * most else f"{spelt[:most]}…"


def utc(at: float) -> str:
    """A NumericDate, such as ``2026-11-26 07:30:00 UTC``."""
    date = _date(at)
    return "no date at all" if date is None else date.strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(at: float) -> str:
    """The same for machines (``datetime`` of ``time``)."""
    date = _date(at)
    return "" if date is None else date.strftime("%Y-%m-%dT%H:%M:%SZ")


def whole(number: float) -> str:
    """With thin spaces between thousands."""
    return f"{number:,.0f}".replace(",", "\u202f")


def _date(at: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None


@dataclass(frozen=True, slots=True)
class Static:
    """One file that pages link to. Holds nothing of anybody's, so it may be kept; its version is part of its address."""

    name: str
    body: bytes
    media_type: str
    version: str

    @classmethod
    def load(cls, name: str) -> Static:
        """Of the package."""
        body = (HERE / "static" / name).read_bytes()
        kinds = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
        return cls(name, body, kinds[re.sub(r".*\.", "", name)], sha256(body).hexdigest()[:12])

    @property
    def response(self) -> Response:
        """The whole file."""
        own = (
            ("content-type", self.media_type),
            ("content-length", str(len(self.body))),
            ("cache-control", "private, max-age=86400"),
        )
        return Response(200, (*own, *SECURITY), self.body)
