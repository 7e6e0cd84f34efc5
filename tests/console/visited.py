"""An application with the console at /ops, behind a gate for one test, and an operator who visits it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from jwtgate.asgi import JWTGateMiddleware
from jwtgate.console import Console
from jwtgate.testing import FixtureGate, gate

SCOPE = "jwtgate:admin"


class Operator:
    """Follows links and presses buttons as a browser does, and reads what a page says."""

    def __init__(self, gate: FixtureGate, client: TestClient, base: str = "/ops/") -> None:
        self.gate = gate
        self.client = client
        self.base = base

    def get(self, path: str = "", status: int = 200, **query: str) -> str:
        """A page below the console."""
        answer = self.client.get(self.base + path, params=query or None)
        assert answer.status_code == status, (answer.status_code, text_of(answer.text))
        return answer.text

    def press(self, page: str, status: int = 200, **changed: str | None) -> str:
        """The one form of a page that posts, with its fields as they are or changed; the page that follows."""
        answer = self.post(page, **changed)
        assert answer.status_code == status, (answer.status_code, text_of(answer.text))
        return answer.text

    def post(self, page: str, **changed: str | None) -> Any:
        """The same; whatever comes."""
        (form,) = re.findall(r'<form method="post".*?</form>', page, re.DOTALL)
        found = re.search(r'action="([^"]*)"', form)
        assert found is not None
        fields = {unescape(name): unescape(value) for name, value in re.findall(r'name="([^"]*)" value="([^"]*)"', form)}
        path, _, query = unescape(found[1]).partition("?")
        named = dict(parse_qsl(query, keep_blank_values=True))
        data = {**fields, **{name: value for name, value in changed.items() if name not in named}}
        named.update({name: value for name, value in changed.items() if name in named})
        return self.client.post(path, params=_given(named), data=_given(data))

    def does(self, action: str, **named: str) -> str:
        """Asks, confirms; the receipt's page."""
        return self.press(self.get("confirm", action=action, **named))


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def text_of(page: str) -> str:
    """What a reader sees, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.partition("<main")[2])).split())


@contextmanager
def console(
    *, scope: str | None = SCOPE, by: str = "ops", console: Console | None = None, **settings: Any
) -> Iterator[Operator]:
    """With an operator who is logged in by header."""
    with gate(settings) as own:
        app = Starlette(routes=[Mount("/ops", console or Console())])
        headers = own.bearer(by, scopes=scope)
        with TestClient(JWTGateMiddleware(app, gate=own), headers=headers) as client:
            yield Operator(own, client)
