"""The door of ``jwtgate console``: one link, one use, one address, and a gate that is nobody else's."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from jwtgate.cli.console import hosts_of, is_loopback
from jwtgate.console.door import COOKIE, Door
from jwtgate.testing import FixtureGate, gate

HOST = "127.0.0.1:8900"


@pytest.fixture
def data() -> Iterator[FixtureGate]:
    """What is looked at."""
    with gate() as own:
        yield own


@pytest.fixture
def door(data: FixtureGate) -> Iterator[Door]:
    """In front of it."""
    door = Door(data, by="root on host", hosts=hosts_of("127.0.0.1", 8900))
    yield door
    door.close()


def visitor(door: Door) -> TestClient:
    """A browser that has not been here."""
    return TestClient(door, base_url=f"http://{HOST}")


def test_link_opens_once(door: Door) -> None:
    """With a cookie that scripts cannot read and other sites cannot send."""
    client = visitor(door)
    outside = client.get("/")
    assert outside.status_code == 401
    for link in re.findall(r'href="(/static/[^"]+)"', outside.text):
        assert client.get(link).status_code == 200
    assert client.get("/static/nothing").status_code == 401
    answer = client.get("/enter", params={"code": door.code})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=ey")
    assert cookie.endswith("Path=/; HttpOnly; SameSite=Strict")
    assert door.code not in answer.text
    page = client.get("/")
    assert page.status_code == 200
    assert "root on host" in page.text
    other = visitor(door)
    assert other.get("/enter", params={"code": door.code}).status_code == 403
    assert other.get("/").status_code == 401


@pytest.mark.parametrize("query", ["", "code=", "code=x", "code=%00", "code=%ff", "code=a&code=b", "code=" + "a" * 40_000])
def test_wrong_code_does_not_open(door: Door, query: str) -> None:
    """Nor does it spend the right one."""
    client = visitor(door)
    assert client.get(f"/enter?{query}").status_code == 403
    assert client.get("/enter", params={"code": door.code}).status_code == 200


@pytest.mark.parametrize("header", ["Sec-Purpose", "Purpose", "X-Moz"])
def test_link_that_is_fetched_ahead_is_not_spent(door: Door, header: str) -> None:
    """A browser may look at an address while it is typed; who then opens it would be told that the link is used."""
    client = visitor(door)
    ahead = client.get("/enter", params={"code": door.code}, headers={header: "prefetch;prerender"})
    assert ahead.status_code == 503
    assert "set-cookie" not in ahead.headers
    assert client.get("/enter", params={"code": door.code}).status_code == 200


def test_link_is_over_after_ten_minutes(door: Door) -> None:
    """An old terminal opens nothing."""
    door._ends_at = door.clock.boot() - 1
    assert visitor(door).get("/enter", params={"code": door.code}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example:8900", "127.0.0.1", "127.0.0.1:8901", "127.0.0.1.evil.example:8900", ""])
def test_other_names_are_refused(door: Door, host: str) -> None:
    """DNS rebinding: a page whose name was pointed at this machine reads nothing, and the code is not spent."""
    client = visitor(door)
    for path in ("/", "/enter?code=" + door.code, "/static/console.css"):
        assert client.get(path, headers={"host": host}).status_code == 421
    assert client.get("/enter", params={"code": door.code}).status_code == 200


def test_buttons_act_on_the_application(door: Door, data: FixtureGate) -> None:
    """The page's own gate is another one: what is revoked here is not its own token."""
    data.sessions.start("alice", device="laptop")
    client = visitor(door)
    client.get("/enter", params={"code": door.code})
    page = client.get("/subject", params={"sub": "alice"})
    assert "laptop" in page.text
    form = client.get("/confirm", params={"action": "end-all", "sub": "alice"}).text
    token = form.partition('name="form_token" value="')[2].partition('"')[0]
    own = {"sec-fetch-site": "same-origin"}
    query = {"action": "end-all", "sub": "alice"}
    forged = client.post("/do", params=query, data={"form_token": token}, headers={"sec-fetch-site": "cross-site"})
    assert forged.status_code == 403
    assert len(data.sessions.list("alice")) == 1
    done = client.post("/do", params=query, data={"form_token": token}, headers=own)
    assert "All sessions ended" in done.text
    assert data.sessions.list("alice") == []
    assert client.get("/").status_code == 200


def test_application_token_does_not_open_the_door(door: Door, data: FixtureGate) -> None:
    """Even one with the scope: the door knows no keys but its own."""
    client = visitor(door)
    client.cookies.set(COOKIE, data.issue("mallory", scope="jwtgate:admin"))
    answer = client.get("/")
    assert answer.status_code == 401
    assert "Come in by the link" in answer.text


def test_only_loopback_is_loopback() -> None:
    """Whatever it is called."""
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.8.8.8")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "example.com", "")))
    assert b"[::1]:8900" in hosts_of("::1", 8900)
    assert hosts_of("192.0.2.1", 80) == {b"192.0.2.1:80", b"192.0.2.1"}
