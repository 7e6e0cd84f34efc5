"""One request to the console: who asks, about which gate, with what; and the pages that say no.

The operator's token is the one that the gate in front has admitted. Every form carries a token of its own, an HMAC under the
operator's very credential: whoever cannot read that cannot forge the form, whatever the gate's rule for cookies is, and no
process needs to remember it. A form from before the credential was renewed is told from a forged one by nobody; it is refused,
and the page says how to go on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from hmac import new as hmac
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from jwtgate.endpoints.forms import read_fields
from jwtgate.messages import Response
from jwtgate.runtime import nonblocking

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.forms import Form
    from jwtgate.gate import Gate
    from jwtgate.messages import Token
    from jwtgate.pages import Pages

__all__ = ["MAX_QUERY_BYTES", "PAGE_SIZE", "Problem", "Visit", "form_token_of", "read_query"]

T = TypeVar("T")

MAX_QUERY_BYTES = 32_768
"""A subject of the default size, escaped, fits."""

PAGE_SIZE = 50
MOST_PAGES = 2_000_000

_PAGE = re.compile(r"[1-9][0-9]{0,6}")


class Problem(Exception):
    """A request that gets a page saying what is wrong, and nothing else. Never quotes what was sent."""

    def __init__(self, status: int, title: str, text: str, *, back: str = "", back_to: str = "") -> None:
        """Args: back: below the console. back_to: what that is."""
        super().__init__(title)
        self.status = status
        self.title = title
        self.text = text
        self.back = back
        self.back_to = back_to


@dataclass(frozen=True, slots=True)
class Visit:
    """See the module.

    Attributes:
        gate: that is looked at.
        operator: of the gate in front.
        base: the console's own path, with a slash at its end.
        path: below it.
        query: fields of the address.
        form: fields of the body.
        form_token: that each form of this operator carries.
        now: NumericDate.
    """

    gate: Gate
    operator: Token
    pages: Pages
    base: str
    path: str
    query: Form = field(repr=False)
    form: Form = field(repr=False)
    form_token: str = field(repr=False)
    now: float
    versions: dict[str, str]

    @property
    def by(self) -> str:
        """Who asks, in words."""
        return self.operator.subject or "somebody without a name"

    async def run(self, plan: Plan[T]) -> T:
        """Performs a plan of the gate that is looked at."""
        return await nonblocking.run(plan, self.gate.waiter)

    def page(self, template: str, status: int = 200, headers: tuple[tuple[str, str], ...] = (), **known: Any) -> Response:
        """A page of the console."""
        issuers = [issuer for issuer in self.gate.settings.policies if issuer is not None]
        return self.pages.draw(
            f"console/{template}.html",
            status,
            headers,
            base=self.base,
            path=self.path,
            by=self.by,
            form_token=self.form_token,
            now=self.now,
            url=self.url,
            static=self.static,
            issuers=issuers if len(issuers) > 1 else [],
            **known,
        )

    def url(self, path: str, **query: object) -> str:
        """A path of the console; what is None or empty is left out of its query."""
        pairs = [(name, str(value)) for name, value in query.items() if value is not None and value != ""]
        return f"{self.base}{path}{'?' if pairs else ''}{urlencode(pairs)}"

    def static(self, name: str) -> str:
        """The address of a file."""
        return self.url(f"static/{name}", v=self.versions[name])

    def to(self, path: str, **query: object) -> Response:
        """After a POST: another page, by GET (RFC 9110 §15.4.4)."""
        location = self.url(path, **query)
        return Response(303, (("location", location), ("content-length", "0"), ("cache-control", "no-store")), b"")

    def issuer(self, fields: Form) -> str | None:
        """The issuer that a page is about. Raises: Problem: none that is configured, or none named where there are several."""
        named, policies = fields.get("issuer"), self.gate.settings.policies
        if named is None and len(policies) == 1:
            return next(iter(policies))
        if named is None or named not in policies:
            raise Problem(400, "Which issuer?", "Choose one of the configured issuers: a subject belongs to one of them.")
        return named

    def page_number(self) -> int:
        """From 1. Raises: Problem."""
        text = self.query.get("page", "1")
        if _PAGE.fullmatch(text) is None or int(text) > MOST_PAGES:
            raise Problem(400, "No such page", "A page number is a whole number from 1 on.")
        return int(text)

    def seal(self, text: str) -> str:
        """What only this operator's own pages can have put under a text that they are sent back with."""
        return hmac(self.form_token.encode(), b"sealed " + text.encode(), sha256).hexdigest()

    def is_sealed(self, text: str, seal: str) -> bool:
        """Whether it is one of ours to this operator."""
        return compare_digest(seal.encode(), self.seal(text).encode())

    def check_form(self) -> None:
        """Raises: Problem: the form is not one of ours to this operator."""
        shown = self.form.get("form_token", "")
        if not compare_digest(shown.encode(), self.form_token.encode()):
            raise Problem(
                403,
                "This form is out of date",
                "It was made for another login, or for one that has been renewed since, or it is not a form of this page. "
                "Nothing was done. Open the page again and repeat it there.",
            )


def form_token_of(credential: bytes) -> str:
    """See the module."""
    return hmac(sha256(b"jwtgate console " + credential).digest(), b"form", sha256).hexdigest()


def read_query(octets: bytes) -> Form:
    """The fields of an address, as strictly as those of a body. Raises: MalformedCall. Problem: it is too long."""
    if len(octets) > MAX_QUERY_BYTES:
        raise Problem(414, "Too long", "Nothing that is searched for here is that long.")
    return read_fields(octets)
