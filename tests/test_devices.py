"""The page of a user's own devices, over a real gate, through both shells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from unittest.mock import patch

import pytest
from shells import COOKIE, Answer
from test_endpoints_with_gate import SAME_ORIGIN, World, bearer

from jwtgate import Gate, Settings, TokenPair
from jwtgate.audit import AuditEvent
from jwtgate.endpoints.devices import PAGE_SIZE
from jwtgate.errors import SettingsError, StoreUnavailable
from jwtgate.stores.memory import MemoryStore

HTML = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
CROSS_SITE = ("sec-fetch-site", "cross-site")
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(params=["asgi", "wsgi"])
def shell(request: pytest.FixtureRequest) -> str:
    """Both."""
    return str(request.param)


@pytest.fixture
def world(shell: str) -> Iterator[World]:
    """One gate with the page."""
    world = World(shell, devices=True)
    yield world
    world.gate.close()


def cookie(pair: TokenPair) -> tuple[str, str]:
    """As a browser sends it."""
    return ("cookie", f"{COOKIE}={pair.access_token}")


def page(world: World, pair: TokenPair, query: str = "") -> str:
    """The list, as a browser asks for it."""
    answer = world.call("GET", f"/devices{query}", cookie(pair), HTML)
    assert answer.status == 200
    assert ("cache-control", "no-store") in answer.headers
    return answer.body.decode()


def forms(text: str) -> list[dict[str, str]]:
    """The fields of each form."""
    found = re.findall(r"<form method=\"post\" action=\"devices/end\".*?</form>", text, re.DOTALL)
    return [{name: unescape(value) for name, value in re.findall(r'name="([^"]*)" value="([^"]*)"', form)} for form in found]


def press(world: World, pair: TokenPair, form: dict[str, str], *headers: tuple[str, str]) -> Answer:
    """A button, as a browser sends it."""
    return world.call("POST", "/devices/end", cookie(pair), HTML, *(headers or (SAME_ORIGIN,)), **form)


def location(answer: Answer) -> str:
    """Where it leads."""
    assert answer.status == 303
    return dict(answer.headers)["location"]


def test_list_shows_each_device_and_marks_this_one(world: World) -> None:
    """By its label, else by what its user agent says, else as unknown; this one first."""
    this = world.login(device="My <b>laptop</b>", ip="192.0.2.9")
    world.login(user_agent=LINUX)
    world.login()
    world.login("bob", device="bob's")
    text = page(world, this)
    assert "My &lt;b&gt;laptop&lt;/b&gt;" in text
    assert [text.index(each) for each in ("this device", "Unknown device", "Firefox on Linux")] == sorted(
        text.index(each) for each in ("this device", "Unknown device", "Firefox on Linux")
    )
    assert text.count("this device</span></h2>") == 1
    assert "192.0.2.9" in text
    assert "bob" not in text
    assert "just now" in text


def test_another_device_is_logged_out(world: World) -> None:
    """The page leads back to itself and says so; this one goes on."""
    this, other = world.login(device="laptop"), world.login(device="phone")
    (form,) = [form for form in forms(page(world, this)) if form.get("sid") == other.session_id]
    answer = press(world, this, form)
    assert location(answer) == "../devices?done=one"
    assert world.status(other.access_token) == 401
    assert world.status(this.access_token) == 200
    text = page(world, this, "?done=one")
    assert "That device is logged out." in text
    assert "phone" not in text


def test_this_device_is_logged_out(world: World) -> None:
    """Its cookies go, and a page that needs no login says so."""
    this = world.login()
    answer = press(world, this, {"sid": this.session_id})
    assert location(answer) == "ended"
    assert [value.partition("=")[0] for name, value in answer.headers if name == "set-cookie"] == [
        COOKIE,
        "__Secure-refresh_token",
    ]
    assert world.status(this.access_token) == 401
    assert "You are logged out" in world.call("GET", "/devices/ended").body.decode()


def test_all_others_are_logged_out(world: World) -> None:
    """And nothing else."""
    this, *others = [world.login() for _ in range(4)]
    assert location(press(world, this, {"others": "1"})) == "../devices?done=others"
    assert [world.status(pair.access_token) for pair in (this, *others)] == [200, 401, 401, 401]
    assert len(forms(page(world, this))) == 1


def test_audit_names_who_logged_out_what(world: World) -> None:
    """The user, by the page."""
    told: list[AuditEvent] = []
    world.gate.audit(told.append)
    this, other, _ = world.login(), world.login(), world.login()
    press(world, this, {"sid": other.session_id})
    press(world, this, {"others": "1"})
    assert [(event.kind, event.actor) for event in told[3:]] == [("logout", "alice")] * 2


def test_stale_and_foreign_sessions_are_told_alike(world: World) -> None:
    """Ended meanwhile, somebody else's, never there, hostile: nothing happens, and the list is shown again."""
    this, gone, bobs = world.login(), world.login(), world.login("bob")
    world.gate.sessions.end(gone.session_id)
    for sid in (gone.session_id, bobs.session_id, "x", "../..", "<script>", "a" * 5000, ""):
        assert location(press(world, this, {"sid": sid})) == "../devices?done=gone"
    assert world.status(bobs.access_token) == 200


@pytest.mark.parametrize("csrf", ["fetch-metadata", "double-submit", "off"])
def test_form_of_another_site_ends_nothing(shell: str, csrf: str) -> None:
    """Whatever the rule for cookies is."""
    world = World(shell, devices=True, csrf=csrf)
    this, other = world.login(), world.login()
    for headers in ((CROSS_SITE,), (("origin", "https://evil.example"),), (CROSS_SITE, ("origin", "null"))):
        answer = press(world, this, {"sid": other.session_id}, *headers)
        assert answer.status == 403
        assert b"Open your devices" in answer.body
    assert world.status(other.access_token) == 200
    world.gate.close()


def test_form_carries_the_value_where_that_is_the_rule(shell: str) -> None:
    """Under CSRF=double-submit the gate compares the field as it would the header; a wrong or missing one is refused."""
    world = World(shell, devices=True, csrf="double-submit")
    this, other = world.login(), world.login()
    (form,) = [form for form in forms(page(world, this)) if form.get("sid") == other.session_id]
    assert form["csrf"]
    for value in (None, "", "wrong", "a,b", "é"):
        changed = {**form, "csrf": value} if value is not None else {"sid": form["sid"]}
        assert press(world, this, changed).status == 403
    assert world.status(other.access_token) == 200
    assert location(press(world, this, form)) == "../devices?done=one"
    world.gate.close()


def test_refusal_is_a_page_for_browsers_and_unchanged_for_others(world: World) -> None:
    """The same status and the same challenge (RFC 6750 §3)."""
    this = world.login()
    world.gate.sessions.end(this.session_id)
    for headers in ((), (cookie(this),)):
        shown = world.call("GET", "/devices", *headers, HTML)
        plain = world.call("GET", "/devices", *headers)
        assert (shown.status, plain.status) == (401, 401)
        assert dict(shown.headers)["www-authenticate"] == dict(plain.headers)["www-authenticate"]
        assert b"You are not logged in" in shown.body
        assert dict(plain.headers)["content-type"] == "application/problem+json"
        assert world.call("GET", "/devices", *headers, ("accept", "*/*")).body == plain.body


def test_store_that_is_down_gets_a_page(world: World) -> None:
    """503 with Retry-After in words; afterwards everything is as it was."""
    this = world.login()

    def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("redis://user:password@host does not answer")

    with patch.object(MemoryStore, "sessions_of", fail):
        answer = world.call("GET", "/devices", cookie(this), HTML)
        assert answer.status == 503
        assert "retry-after" in dict(answer.headers)
        assert b"password" not in answer.body
        assert b"Nothing is lost" in answer.body


def test_list_is_paged(world: World) -> None:
    """This device first on its page; each of the others once."""
    this = world.login(device="this")
    for number in range(PAGE_SIZE + 5):
        world.login(device=f"d-{number}-")
    first, second = page(world, this), page(world, this, "?page=2")
    assert len(set(re.findall(r"d-\d+-", first + second))) == PAGE_SIZE + 5
    assert 'href="devices?page=2"' in first
    assert 'href="devices?page=3"' not in second


@pytest.mark.parametrize(
    "query", ["?page=0", "?page=-1", "?page=NaN", "?page=1000000000", "?page=1&page=2", "?x=%ff", "?" + "a" * 999]
)
def test_bad_query_is_refused(world: World, query: str) -> None:
    """400, as a page."""
    answer = world.call("GET", f"/devices{query}", cookie(world.login()), HTML)
    assert answer.status == 400
    assert b"</html>" in answer.body


def test_page_has_a_strict_policy_and_its_own_style(world: World) -> None:
    """Nothing inline, nothing from elsewhere; the style is there for everybody."""
    answer = world.call("GET", "/devices", cookie(world.login()), HTML)
    policy = dict(answer.headers)["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(rb"<style|<script|\sstyle=|\son[a-z]+=", answer.body)
    style = world.call("GET", "/devices.css")
    assert (style.status, dict(style.headers)["content-type"]) == (200, "text/css; charset=utf-8")


def test_bearer_may_use_it_too(world: World) -> None:
    """A header needs no CSRF rule."""
    this, other = world.login(), world.login()
    answer = world.call("POST", "/devices/end", bearer(this.access_token), sid=other.session_id)
    assert location(answer) == "../devices?done=one"


def test_path_is_the_applications_unless_it_is_on(shell: str) -> None:
    """DEVICES=0 is the default."""
    world = World(shell)
    answer = world.call("GET", "/devices", bearer(world.login().access_token))
    assert answer.status == 200
    assert b"<h1>" not in answer.body
    world.gate.close()


def test_missing_extra_and_missing_place_are_told() -> None:
    """With the line that mends it."""
    with pytest.raises(SettingsError, match=r"JWTGATE_DEVICES is set without JWTGATE_ENDPOINTS"):
        Settings(secret="x" * 32, devices=True)
    with (
        patch("jwtgate.pages.drawing.find_spec", lambda _: None),
        pytest.raises(SettingsError, match=r"pip install 'jwtgate\[console\]'"),
    ):
        Gate(Settings(secret="x" * 32, devices=True, endpoints="/auth"))
