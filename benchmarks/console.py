"""The console's pages, with 100,000 sessions of one subject, as many of others, and 100,000 rulings in the store.

Each page goes through the gate, as a server would call it, on one event loop; every request is counted, the slow ones too. The
follower and the lookout are at work beside it, as they are in production.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from contextlib import closing
from html import unescape
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.routing import Mount

from benchmarks.measuring import Line, Options, median, percentile
from benchmarks.sessions import made_gate
from jwtgate import Gate
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.console import Console
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.stored import SessionChange

__all__ = ["pages"]

BAR_MS = 100.0
CROWD = "crowd"
SESSIONS_EACH = 10
BATCH = 200


def pages(options: Options) -> list[Line]:
    """A line a page; the bar is on the 99th percentile."""
    count = options.pick(100_000, 20_000)
    with closing(made_gate(options, "console", endpoints="/auth", devices=True)) as gate:
        _fill(gate, count)
        samples = asyncio.run(_timed(gate, count, options.pick(300, 60)))
    return [_line(name, times, count) for name, times in samples.items()]


def _fill(gate: Gate, count: int) -> None:
    until = time.time() + 3600
    for _ in range(count // BATCH):
        gate.store.write([Change(os.urandom(16), revoked=True, until=until) for _ in range(BATCH)], time.time())
    _put(gate, CROWD, count)
    for number in range(count // SESSIONS_EACH):
        _put(gate, f"user-{number}", SESSIONS_EACH)
    until_boot = time.monotonic() + 60
    while len(gate.view.rulings) < count:
        assert time.monotonic() < until_boot, "the follower has not read it all"
        time.sleep(0.1)


def _put(gate: Gate, sub: str, count: int) -> None:
    """Copies of one real login, so that each record is of the size it has."""
    pair = gate.sessions.start(sub, device="a laptop", ip="192.0.2.1", user_agent="Mozilla/5.0 (X11; Linux x86_64)")
    (stored,) = gate.store.look_up((), (pair.session_id,)).sessions
    standing = gate.plans.standing
    assert stored is not None
    assert standing is not None
    for first in range(1, count, BATCH):
        changes = []
        for number in range(first, min(count, first + BATCH)):
            sid = secrets.token_urlsafe(16)
            handles = (standing.sid_handle(sid), *stored.handles[1:])
            changes.append(
                SessionChange(
                    sid, standing.user(sub), stored.record, None, handles, stored.ends_at + number / 1000, stored.seen_at
                )
            )
        assert gate.store.write((), time.time(), changes) is not None


async def _timed(gate: Gate, count: int, rounds: int) -> dict[str, list[float]]:
    app = JWTGateMiddleware(Starlette(routes=[Mount("/ops", Console())]), gate=gate)
    token = await gate.aio.issue("operator", scope="jwtgate:admin")
    crowd = await gate.aio.sessions.start(CROWD)
    visit = _Visitor(app, token)
    last = count // 50
    wanted: dict[str, str] = {
        "overview": "/ops/",
        "subject, 10 sessions": "/ops/subject?sub=user-7",
        "subject, page 1": f"/ops/subject?sub={CROWD}",
        f"subject, page {last}": f"/ops/subject?sub={CROWD}&page={last}",
        "session": f"/ops/session?sid={crowd.session_id}",
        "rulings, page 1": "/ops/rulings",
        f"rulings, page {last}": f"/ops/rulings?only=revoked&page={last}",
        "rulings, one handle": "/ops/rulings?kind=sub&value=user-7",
        "feed": "/ops/feed",
        "confirmation": f"/ops/confirm?action=end&sid={crowd.session_id}",
    }
    await visit.get("/ops/feed")
    samples: dict[str, list[float]] = {name: [] for name in (*wanted, "suspension", "receipt", "devices")}
    own = _Visitor(app, crowd.access_token)
    for number in range(rounds):
        for name, path in wanted.items():
            samples[name].append(await visit.get(path))
        samples["devices"].append(await own.get("/auth/devices"))
        await visit.get(f"/ops/confirm?action=suspend&sub=user-{number}")
        samples["suspension"].append(await visit.press())
        samples["receipt"].append(await visit.get(visit.location))
    return samples


class _Visitor:
    """Calls the application as a server does."""

    def __init__(self, app: Any, token: str) -> None:
        self.app = app
        self.headers = [(b"authorization", f"Bearer {token}".encode()), (b"accept", b"text/html"), (b"host", b"ops.example")]
        self.body = b""
        self.location = ""

    async def get(self, path: str) -> float:
        return await self._ask("GET", path, b"", [], 200)

    async def press(self) -> float:
        """The form of the page that was got last."""
        page = self.body.decode()
        action = unescape(page.partition('<form method="post" action="')[2].partition('"')[0])
        token = page.partition('name="form_token" value="')[2].partition('"')[0]
        body = urlencode({"form_token": token}).encode()
        kind = [(b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", str(len(body)).encode())]
        assert dict(parse_qsl(action.partition("?")[2]))
        return await self._ask("POST", action, body, kind, 303)

    async def _ask(self, method: str, target: str, body: bytes, more: list[tuple[bytes, bytes]], status: int) -> float:
        path, _, query = target.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [*self.headers, *more], "root_path": "", "http_version": "1.1", "scheme": "http",
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "asgi": {"version": "3.0"},
        }  # fmt: skip
        parts: list[bytes] = []
        told: dict[str, Any] = {}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            told.update(message)
            parts.append(message.get("body", b""))

        began = perf_counter()
        await self.app(scope, receive, send)
        took = perf_counter() - began
        self.body = b"".join(parts)
        assert told["status"] == status, (target, told["status"], self.body[:300])
        self.location = dict(told["headers"]).get(b"location", b"").decode()
        return took


def _line(name: str, times: list[float], count: int) -> Line:
    half, most = 1000 * median(times), 1000 * percentile(times, 99)
    return Line(
        f"13 console, {name}, {count:,} sessions and rulings",
        f"{half:.1f} ms, p99 {most:.1f} ms",
        "",
        "",
        f"p99 ≤ {BAR_MS:.0f} ms",
        most <= BAR_MS,
        {"p50_ms": half, "p99_ms": most},
    )
