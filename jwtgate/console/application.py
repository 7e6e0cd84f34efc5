"""The console as an ASGI application, to be mounted behind the gate: who may enter, which page answers, what every page says.

It admits nobody itself. Where no gate stands in front, it serves nothing; whoever the gate has admitted must have the scope.
What goes wrong becomes a page that says what is the matter and what to do, without a word of the store, its address or the
error's own text.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote
from weakref import WeakKeyDictionary

from jwtgate.channel.sending import say
from jwtgate.console import actions, feed, overview, receipts, rulings, subjects
from jwtgate.console.lookout import Lookout
from jwtgate.console.visiting import Problem, Visit, form_token_of, read_query
from jwtgate.core.history import NotDurable, NotWritten
from jwtgate.core.http.exemption import routed_path
from jwtgate.endpoints.forms import read_form
from jwtgate.errors import InsufficientScope, JWTGateError, MissingToken, UnavailableError
from jwtgate.gate import Gate, as_gate
from jwtgate.messages import Request, Response, Token
from jwtgate.pages import Pages, Static
from jwtgate.runtime import bodies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from jwtgate.channel.shapes import Receive, Scope, Send
    from jwtgate.endpoints.forms import Form


__all__ = ["Console"]

logger = logging.getLogger("jwtgate")

SCOPE = "jwtgate:admin"
STREAM = "feed/events"


class Console:
    """``app.mount("/ops", Console())``. One per application: it keeps the receipts that it shows."""

    def __init__(self, *, scope: str = SCOPE, issuers: Iterable[str] | None = None, gate: Gate | None = None) -> None:
        """Args:
            scope: that operators must have.
            issuers: whose tokens may be operators'; by default any that is configured, each of which can give the scope.
            gate: that is looked at; by default the one in front.

        Raises: NotInstalled: the extra ``console`` is not. TypeError: ``issuers`` is one text, ``gate`` none.
        """
        if isinstance(issuers, str):
            raise TypeError("issuers are several: give a list")
        self.scope = scope
        self.issuers = None if issuers is None else frozenset(issuers)
        self.gate = None if gate is None else as_gate(gate)
        self.pages = Pages()
        self.static = {name: Static.load(name) for name in ("console.css", "console.js", "icon.svg")}
        self.versions = {name: file.version for name, file in self.static.items()}
        self.receipts = receipts.Receipts()
        self._has_warned = False
        self._lookouts: WeakKeyDictionary[Gate, Lookout] = WeakKeyDictionary()
        self.routes: dict[tuple[str, str], Callable[[Visit], Awaitable[Response]]] = {
            ("GET", ""): lambda visit: overview.overview(visit, self._lookout(visit)),
            ("GET", "subject"): subjects.subject,
            ("GET", "session"): subjects.session,
            ("GET", "confirm"): actions.confirm,
            ("POST", "do"): lambda visit: actions.do(visit, self.receipts),
            ("GET", "receipt"): lambda visit: receipts.receipt(visit, self.receipts),
            ("GET", "rulings"): lambda visit: rulings.rulings(visit, self._lookout(visit)),
            ("GET", "feed"): lambda visit: feed.feed(visit, self._lookout(visit)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            response = await self._answer(scope, receive, send)
            if response is not None:
                await say("http.response", response, b"" if scope["method"] == "HEAD" else response.body, send)

    def _lookout(self, visit: Visit) -> Lookout:
        """Of the gate that is looked at, as it is in this process."""
        lookout = self._lookouts.get(visit.gate)
        if lookout is None or lookout.follower is not visit.gate.follower:
            lookout = self._lookouts[visit.gate] = Lookout(visit.gate)
        return lookout

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """None: it was answered already, or the client is gone."""
        root: str = scope.get("root_path", "")
        base, path = f"{quote(root)}/", routed_path(scope["path"], root)
        if not path:
            return _to(base)
        name = path[1:]
        if name.startswith("static/") and scope["method"] in ("GET", "HEAD"):
            file = self.static.get(name.removeprefix("static/"))
            if file is not None:
                return file.response
        gate, token = scope.get("jwtgate.gate"), scope.get("jwtgate.token")
        credential = _credential(gate, scope) if isinstance(gate, Gate) else None
        if not isinstance(gate, Gate) or not isinstance(token, Token) or credential is None or not self._is_operators(token):
            return self._refused(gate, token if credential else None, base)
        data, form_token = self.gate or gate, form_token_of(credential)
        visit = Visit(data, token, self.pages, base, name, {}, {}, form_token, data.clock.wall(), self.versions)
        return await self._visit(visit, scope, receive, send)

    def _is_operators(self, token: Token) -> bool:
        return self.scope in token.scopes and (self.issuers is None or token.issuer in self.issuers)

    def _refused(self, gate: object, token: object, base: str) -> Response:
        """Whoever is not let in, and why; the challenge is the gate's own."""
        if not isinstance(gate, Gate):
            if not self._has_warned:
                logger.error("the console is served without a gate in front of it, and refuses everybody")
            self._has_warned = True
            return self._outside(base, 503, "No gate in front", "The console is served only behind JWTGateMiddleware.")
        if not isinstance(token, Token):
            refusal = gate.answer(MissingToken("no token in the request"))
            return self._outside(base, 401, "Log in first", "This page is for operators that are logged in.", refusal)
        refusal = gate.answer(InsufficientScope(self.scope))
        return self._outside(base, 403, "Not for you", f"This page needs the scope {self.scope}.", refusal)

    async def _visit(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """What a handler answers; whatever goes wrong becomes a page."""
        try:
            visit = replace(visit, query=read_query(scope.get("query_string", b"")))
            return await self._served(visit, scope, receive, send)
        except Problem as problem:
            return _problem(visit, problem)
        except NotDurable:
            return _problem(visit, _NOT_DURABLE)
        except UnavailableError as error:
            logger.warning("the console could not answer: %s", error)
            return _problem(visit, _unavailable(visit, scope["method"], error), (("retry-after", "1"),))
        except JWTGateError as error:  # of the call, too: a body that is no form, a method that is none
            logger.info("the console refused: %s (%s)", error.reason, error)
            return _problem(visit, Problem(error.status, HTTPStatus(error.status).phrase, error.description))

    async def _served(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> Response | None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        is_stream = (scope["method"], visit.path) == ("GET", STREAM)
        handler = None if is_stream else self._handler(method, visit.path)
        if method == "POST":
            form = await _form(scope, receive)
            if form is None:
                return None
            visit = replace(visit, form=form)
            visit.check_form()
        visit.gate.start()
        if handler is not None:
            return await handler(visit)
        await feed.stream(_resumed(visit, scope), self._lookout(visit), receive, send)
        return None

    def _handler(self, method: str, path: str) -> Callable[[Visit], Awaitable[Response]]:
        handler = self.routes.get((method, path))
        if handler is not None:
            return handler
        if any(known == path for _, known in self.routes):
            raise Problem(405, "Not like this", "This address is reached by the links and buttons of the console.")
        raise Problem(404, "No such page", "There is nothing at this address.")

    def _outside(self, base: str, status: int, title: str, text: str, refusal: Response | None = None) -> Response:
        """For who is not let in: no link, no name; the challenge is the gate's own."""
        lines = () if refusal is None else refusal.headers
        kept = tuple((name, value) for name, value in lines if name in ("www-authenticate", "dpop-nonce"))
        files = {name: f"{base}static/{name}?v={version}" for name, version in self.versions.items()}
        return self.pages.draw("console/outside.html", status, kept, title=title, text=text, files=files)


_NOT_DURABLE = Problem(
    503,
    "Written, but not safely",
    "The ruling stands in the store. Fewer replicas or disks than JWTGATE_DURABILITY asks for are known to have it. "
    "Repeat it when they are back.",
)


def _unavailable(visit: Visit, method: str, error: UnavailableError) -> Problem:
    """With the way to the same page, or to that of the same button."""
    again = visit.url("confirm" if method == "POST" else visit.path, **visit.query)
    done = "Whether anything was written is not known; to do it again does no harm."
    if isinstance(error, NotWritten):
        done = "Nothing was written."
    text = f"What it holds is not lost. Try again in a moment.{'' if method != 'POST' else f' {done}'}"
    return Problem(503, "The store does not answer", text, back=again.removeprefix(visit.base), back_to="Try again")


def _problem(visit: Visit, problem: Problem, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return visit.page("problem", problem.status, headers, problem=problem)


def _credential(gate: Gate, scope: Scope) -> bytes | None:
    """What the operator showed, as the gate found it."""
    try:
        found = gate.decision.rules.extraction.find(_request(scope))
    except JWTGateError:
        return None
    return None if found is None else found.token


async def _form(scope: Scope, receive: Receive) -> Form | None:
    request = _request(scope)
    body = await bodies.receive(request, receive)
    return None if body is None else read_form(request, body)


def _resumed(visit: Visit, scope: Scope) -> Visit:
    """A stream that broke off goes on after what was seen of it (HTML §9.2.4), not once more from where the page began."""
    last = dict(_request(scope).headers).get(b"last-event-id")
    return visit if last is None else replace(visit, query={**visit.query, "after": last.decode("latin-1")})


def _request(scope: Scope) -> Request:
    headers = tuple((bytes(name).lower(), bytes(value)) for name, value in scope["headers"])
    return Request(scope["method"], None, None, headers)


def _to(location: str) -> Response:
    return Response(307, (("location", location), ("content-length", "0"), ("cache-control", "no-store")), b"")


async def _live(receive: Receive, send: Send) -> None:
    """Where the console is the whole application."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
