"""The console as an ASGI application: other protocols, clients that leave, and what happens seldom."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import threading
import time
from base64 import urlsafe_b64encode
from contextlib import ExitStack
from hashlib import sha256
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest
from console.visited import SCOPE, Operator, console, text_of
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.audit import AuditEvent
from jwtgate.console import Console
from jwtgate.console import feed as feeds
from jwtgate.console.door import Door
from jwtgate.console.lookout import KEPT_EVENTS, Lookout, Seen
from jwtgate.console.receipts import MOST_KEPT
from jwtgate.core.history import NotDurable, Worker
from jwtgate.pages import NotInstalled, Pages
from jwtgate.pages.drawing import iso, utc
from jwtgate.testing import FixtureGate, gate
from jwtgate.watching import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "a-secret-of-thirty-two-octets-or-more"


def scope_of(own: FixtureGate, method: str = "GET", path: str = "/", **more: Any) -> dict[str, Any]:
    """As the gate in front leaves it."""
    token = own.issue("ops", scope="jwtgate:admin")
    headers = [(b"authorization", f"Bearer {token}".encode()), *more.pop("headers", [])]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": headers,
        "jwtgate.gate": own,
        "jwtgate.token": own.verify(token),
        **more,
    }


def ask(app: Any, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    """What is sent."""
    sent: list[dict[str, Any]] = []
    waiting = list(received)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_console_may_be_the_whole_application() -> None:
    """It speaks lifespan, and of WebSockets it knows nothing."""
    with (
        gate() as own,
        TestClient(JWTGateMiddleware(Console(), gate=own), headers=own.bearer("ops", scopes="jwtgate:admin")) as client,
    ):
        assert client.get("/").status_code == 200
        assert client.get("/subject").status_code == 200
    with gate() as own:
        (closed,) = ask(Console(), {"type": "websocket", "path": "/"})
        assert closed["type"] == "websocket.close"
        door = Door(own, by="root", hosts=frozenset({b"testserver"}))
        with TestClient(door):
            pass
        door.close()


def test_path_without_a_slash_leads_to_the_one_with_it() -> None:
    """Links would lead elsewhere otherwise."""
    with gate() as own:
        start, _ = ask(Console(), scope_of(own, path="/ops", root_path="/ops"))
        assert (start["status"], dict(start["headers"])[b"location"]) == (307, b"/ops/")


def test_client_that_leaves_gets_no_answer() -> None:
    """In the middle of a form."""
    with gate() as own:
        scope = scope_of(own, "POST", "/do", headers=[(b"content-type", b"application/x-www-form-urlencoded")])
        assert ask(Console(), scope, {"type": "http.disconnect"}) == []


def test_token_without_a_credential_is_nobody() -> None:
    """An outer layer that put a token into the scope without a credential in the request vouches for nothing."""
    with gate() as own:
        for headers in ([], [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]):
            start, _ = ask(Console(), {**scope_of(own), "headers": headers})
            assert start["status"] == 401


def test_ruling_that_is_not_safe_yet_is_told() -> None:
    """JWTGATE_DURABILITY: it stands, and fewer have it than was asked for."""
    with console() as operator:
        page = operator.get("confirm", action="suspend", sub="alice")
        store = operator.gate.store
        write = store.write

        def unsafe(*arguments: Any) -> Any:
            raise NotDurable(write(*arguments), "one replica, not two")

        with patch.object(store, "write", unsafe):
            told = text_of(operator.press(page, status=503))
        assert "Written, but not safely" in told
        assert "one replica" not in told
        assert "suspended" in text_of(operator.get("subject", sub="alice"))


def test_receipt_whose_history_is_lost_says_so() -> None:
    """Nothing is proved any more: it is to be done again."""
    with console() as operator, operator.gate.faults.lag(reach_seconds=60.0):
        answer = operator.post(operator.get("confirm", action="suspend", sub="alice"))
        store: Any = operator.gate.store
        store.lose(store.workers()[0].name)
        for _ in range(2):
            assert "history was lost since" in operator.client.get(answer.url).text


def test_receipts_are_kept_to_a_bound() -> None:
    """The oldest go; what they were for stands."""
    with console() as operator:
        first = str(operator.post(operator.get("confirm", action="suspend", sub="alice")).url).partition("&told=")[0]
        app = operator.client.app.app.routes[0].app  # type: ignore[attr-defined]
        kept = app.receipts._kept[first.partition("id=")[2]]  # noqa: SLF001
        for _ in range(MOST_KEPT):
            app.receipts.keep(kept)
        assert operator.client.get(first).status_code == 404


class Workers:
    """Two workers of one application on one store, each with the console."""

    def __init__(self, url: str) -> None:
        settings = Settings(secret=SECRET, store=url, lease=1.0)
        self.gates = [Gate(settings) for _ in range(2)]
        self.token = self.gates[0].issue("ops", scope=SCOPE)

    def __enter__(self) -> list[Operator]:
        assert all(gate.ready(10) for gate in self.gates)
        return [self._operator(gate) for gate in self.gates]

    def _operator(self, gate: Gate) -> Operator:
        app = Starlette(routes=[Mount("/ops", Console())])
        headers = {"authorization": f"Bearer {self.token}"}
        gated: Any = gate  # pages are all that is asked of it
        return Operator(gated, TestClient(JWTGateMiddleware(app, gate=gate), headers=headers))

    def __exit__(self, *_: object) -> None:
        for gate in self.gates:
            gate.close()


def test_receipt_is_shown_by_every_worker(tmp_path: Path) -> None:
    """It travels in the address: the other worker takes it up, and proves the same."""
    with Workers(f"sqlite:///{tmp_path}/store.db") as (one, other):
        answer = one.post(one.get("confirm", action="suspend", sub="alice"))
        until = time.monotonic() + 10
        while "No request that begins from now on" not in (page := text_of(other.client.get(answer.url).text)):
            assert "On its way" in page
            assert time.monotonic() < until
            time.sleep(0.05)
        assert "2 of 2 workers acknowledged" in page
        assert "alice" in page
        assert "ops" in page


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda told: told.replace(".", ".0", 1),
        lambda told: "e" + told[1:] if told[0] != "e" else "f" + told[1:],
        lambda told: told.rpartition(".")[0],
        lambda told: told.rpartition(".")[0] + ".",
        lambda told: "é" + told,
        lambda _: "",
    ],
)
def test_receipt_of_others_making_is_none(spoilt: Callable[[str], str]) -> None:
    """What is shown as proved was proved by a worker of ours."""
    with console() as operator:
        answer = operator.post(operator.get("confirm", action="suspend", sub="alice"))
        (told,) = parse_qs(urlsplit(str(answer.url)).query)["told"]
        assert "alice" in operator.get("receipt", id="of another worker", told=told)
        assert "This receipt is not here" in operator.get("receipt", status=404, id="another", told=spoilt(told))


def sealed(operator: Operator, told: str) -> str:
    """As an operator can, who reads the token of the forms."""
    found = re.search(r'name="form_token" value="([^"]*)"', operator.get("confirm", action="suspend", sub="alice"))
    assert found is not None
    return f"{told}.{hmac.new(found[1].encode(), b'sealed ' + told.encode(), sha256).hexdigest()}"


WORDS = ["what", "named", "whom", "by", "back", "back_to"]


@pytest.mark.parametrize(
    "known",
    [
        *("", "{", "7", '"ab"', "[" * 3000, "9" * 5000, json.dumps([WORDS, []]), json.dumps([WORDS[1:], []])),
        json.dumps([WORDS, [[5, "E", 1.0, 7, "link", 1.0, None, None, 1, {}]]]),
        json.dumps([["\ud800", *WORDS[1:]], [[0, "E", 1.0, 7, "link", 1.0, None, None, 1, {}]]]),
        json.dumps([[[], *WORDS[1:]], [[0, "E", 1.0, 7, "link", 1.0, None, None, 1, {}]]]),
    ],
)
def test_receipt_under_a_right_seal_that_no_page_made_is_none(known: str) -> None:
    """And no failure: whoever reads the forms of an operator can seal."""
    with console() as operator:
        for told in (urlsafe_b64encode(known.encode()).decode(), "a", "é"):
            assert "This receipt is not here" in operator.get("receipt", status=404, told=sealed(operator, told))


def test_receipt_that_was_taken_up_is_shown_to_nobody_else() -> None:
    """By no name that its operator chose."""
    with console() as operator:
        answer = operator.post(operator.get("confirm", action="suspend", sub="alice"))
        (told,) = parse_qs(urlsplit(str(answer.url)).query)["told"]
        assert "alice" in operator.get("receipt", id="chosen", told=told)
        assert "alice" in operator.get("receipt", told=told)
        operator.client.headers.update(operator.gate.bearer("eve", scopes=SCOPE))
        for name in ("chosen", "", told, told.rpartition(".")[2]):
            assert "This receipt is not here" in operator.get("receipt", status=404, id=name)


def test_receipt_of_another_operator_is_none() -> None:
    """As its seal is made with what only the first one has."""
    with console() as operator:
        answer = operator.post(operator.get("confirm", action="suspend", sub="alice"))
        (told,) = parse_qs(urlsplit(str(answer.url)).query)["told"]
        operator.client.headers.update(operator.gate.bearer("eve", scopes=SCOPE))
        assert "This receipt is not here" in operator.get("receipt", status=404, id="another", told=told)


def test_receipt_that_is_too_long_stays_where_it_was_given() -> None:
    """Servers and proxies refuse addresses of more than some thousand octets."""
    with console() as operator, ExitStack() as lags:
        for _ in range(400):
            lags.enter_context(operator.gate.faults.lag(reach_seconds=60.0))
        answer = operator.post(operator.get("confirm", action="suspend", sub="alice"))
        assert answer.status_code == 200
        assert "told" not in str(answer.url)
        assert "1 of 401 workers acknowledged" in text_of(answer.text)


def test_session_page_needs_a_session_and_an_issuer_that_has_some() -> None:
    """In words."""
    with console() as operator:
        assert "Which session?" in operator.get("session", status=400)
        with patch.object(type(operator.gate.plans), "has_sessions", lambda *_: False):
            assert "No sessions here" in operator.get("session", status=404, sid="x")


def test_gate_without_a_key_that_signs_has_no_sessions() -> None:
    """And no page of them."""
    with console() as operator:
        plans = operator.gate.plans
        with patch.object(plans, "standing", None):
            assert not plans.has_sessions(None)
            with pytest.raises(StopIteration) as ended:
                next(plans.session_page("alice", 0, 5))
            assert ended.value.value == ([], False)


def test_missing_extra_is_named() -> None:
    """With the line that mends it."""
    with (
        patch("jwtgate.pages.drawing.find_spec", lambda _: None),
        pytest.raises(NotInstalled, match=r"pip install 'jwtgate\[console\]'"),
    ):
        Console()


def test_impossible_times_are_no_error() -> None:
    """A record may hold any number."""
    assert (utc(1e300), iso(1e300)) == ("no date at all", "")
    assert utc(0.0) == "1970-01-01 00:00:00 UTC"


def test_audit_names_the_operator() -> None:
    """Whoever pressed the button is who did it."""
    with console(by="olga") as operator:
        told: list[AuditEvent] = []
        operator.gate.audit(told.append)
        sid = operator.gate.sessions.start("alice").session_id
        operator.does("end", sid=sid)
        operator.does("suspend", sub="alice")
        assert [(event.kind, event.actor) for event in told] == [("login", None), ("logout", "olga"), ("suspension", "olga")]


def test_operators_may_be_of_one_issuer_alone() -> None:
    """Where several are configured, each could give the scope to whom it likes, and rule over the users of all."""
    with console(issuer="https://own.example", console=Console(issuers=["https://own.example"])) as operator:
        assert operator.get()
    with console(issuer="https://partner.example", console=Console(issuers=["https://own.example"])) as operator:
        assert "Not for you" in operator.get(status=403)
        assert "Not for you" in operator.client.post("/ops/do", params={"action": "everything"}).text
    with pytest.raises(TypeError, match="a list"):
        Console(issuers="https://own.example")


# --- the stream and the lookout


def test_silent_stream_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever stands between notices who is gone; it ends when the client does."""
    monkeypatch.setattr(feeds, "PING_SECONDS", 0.0)
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.01)
    sent: list[dict[str, Any]] = []
    with gate() as own:

        async def visit() -> None:
            left = asyncio.Event()

            async def receive() -> dict[str, Any]:
                await left.wait()
                return {"type": "http.disconnect"}

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)
                if len(sent) > 3:
                    left.set()

            async with asyncio.timeout(10):
                await Console()(scope_of(own, path="/feed/events"), receive, send)

        asyncio.run(visit())
    assert {message["body"] for message in sent[1:]} == {b": still here\n\n"}


def rows_of(console: Console, own: FixtureGate, *headers: tuple[bytes, bytes]) -> bytes:
    """The first rows that a stream tells."""
    found: list[bytes] = []

    async def visit() -> None:
        left = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if b"<li" in message.get("body", b""):
                found.append(message["body"])
                left.set()

        async with asyncio.timeout(10):
            await console(scope_of(own, path="/feed/events", headers=list(headers)), receive, send)

    asyncio.run(visit())
    return found[0]


def test_row_is_drawn_once_for_all_who_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tabs and a burst of rulings would hold up the loop for seconds."""
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.01)
    drawn: list[str] = []

    class Counting(Pages):
        def draw(self, template: str, *arguments: Any, **known: Any) -> Any:
            drawn.append(template)
            return super().draw(template, *arguments, **known)

    with gate() as own:
        own.revoke(jti="a")
        console = Console()
        console.pages = Counting()
        first = rows_of(console, own)
        assert rows_of(console, own) == first
        assert drawn == ["console/feed_rows.html"]


def test_what_is_drawn_is_not_kept_for_good() -> None:
    """Only as long as the event itself."""
    with gate() as own:
        lookout = Lookout(own)
        for serial in range(1, 5 * KEPT_EVENTS):
            lookout.draw(Seen(serial, 0, Event("back", 0.0, None, {}, "")), b"row")
        assert len(lookout.drawn) <= 2 * KEPT_EVENTS
        assert lookout.drawn[5 * KEPT_EVENTS - 1] == b"row"


def test_stream_that_broke_off_goes_on_after_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers say what they saw last (HTML §9.2.4): no row is told twice."""
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.01)
    with gate() as own:
        console = Console()
        own.revoke(jti="a")
        first = rows_of(console, own)
        own.revoke(jti="b")
        rest = rows_of(console, own, (b"Last-Event-ID", b"1"))
        assert first.startswith(b"id: 1\n")
        assert rest.startswith(b"id: 2\n")
        assert rest.count(b'class="entry"') == 1


def test_late_worker_is_told_as_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ruling is followed for so long; a store that goes away meanwhile ends that."""
    monkeypatch.setattr("jwtgate.console.lookout.TRIP_SECONDS", 0.05)
    with gate() as own, own.faults.lag(reach_seconds=60.0):
        store: Any = own.store
        store.renew(Worker("late", 60.0, 0, 1, is_healing=False), store.workers()[0].name, healed=False, settled=False)
        lookout = Lookout(own)
        lookout.ask()
        until = time.monotonic() + 10
        while not lookout.has_caught_up:
            assert time.monotonic() < until
        own.revoke(jti="a")
        while not lookout.trips:
            assert time.monotonic() < until
            time.sleep(0.005)
        assert lookout.trips[0].seconds is None


def test_machine_without_threads_has_no_pictures() -> None:
    """The pages are there all the same."""

    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    stub = SimpleNamespace(Thread=NoThread, Lock=threading.Lock)
    with console() as operator, patch("jwtgate.console.lookout.threading", stub):
        assert "Nothing has been seen yet" in operator.get()
        assert operator.get("rulings")


def test_forked_child_looks_anew() -> None:
    """Its follower is another one, so is its lookout."""
    with console() as operator:
        operator.get()
        app: Any = operator.client.app.app.routes[0].app  # type: ignore[attr-defined]
        before = app._lookouts[operator.gate]
        Gate.reset_after_fork(operator.gate)
        operator.gate.start()
        operator.get()
        assert app._lookouts[operator.gate] is not before


def test_console_takes_no_settings_in_place_of_a_gate() -> None:
    """One clear line where it is mounted, and no page that breaks."""
    with pytest.raises(TypeError, match="gate must be a Gate"):
        Console(gate=Settings(secret="k3Jd8-sS9aQpLz7vXcVbNmQwErTyUiOp"))  # type: ignore[arg-type]
