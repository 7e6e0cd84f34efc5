"""The console and the page of devices in a real browser: with and without scripts, light and dark, wide and narrow.

Screenshots of each page go to ``CONSOLE_SHOTS``, where that is set, to be looked at.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
try:
    import wsproto  # noqa: F401 - the servers need it
    from playwright.sync_api import sync_playwright
except ImportError:
    pytest.skip("NO BROWSER TESTS: pip install '.[test,browser]' and apt-get install chromium", allow_module_level=True)
if CHROMIUM is None:
    pytest.skip("NO BROWSER TESTS: apt-get install chromium, or its path in CHROMIUM", allow_module_level=True)

from browser.test_cookies import OPTIONS
from browser.world import Served
from servers import Server, valkey_binary
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.cli.console import hosts_of
from jwtgate.console import Console
from jwtgate.console.door import COOKIE, Door
from jwtgate.core.history import Worker

AXES = [("light", 1200), ("dark", 360)]
if "CONSOLE_SHOTS" in os.environ:
    AXES += [("dark", 1200), ("light", 360)]
SUBJECT = "alice"


class World:
    """An application with the console at /ops, a login for everybody, and one more worker on the same store."""

    def __init__(self, store: str, **more: Any) -> None:
        settings = Settings(
            **more,
            secret="a-secret-for-tests-of-the-console-in-a-browser",
            locations=("header", "cookie"),
            cookie="access_token",
            cookie_secure=False,
            endpoints="/auth",
            devices=True,
            exempt=("/login",),
            store=store,
            lease=0.5,
        )
        self.gate, self.other = Gate(settings), Gate(settings)
        assert self.gate.ready(20)
        assert self.other.ready(20)
        routes = [Route("/login", self.log_in), Mount("/ops", Console())]
        self.served = Served(JWTGateMiddleware(Starlette(routes=routes), gate=self.gate))

    async def log_in(self, request: Request) -> RedirectResponse:
        """As whom the address says."""
        sub, scope = request.query_params["sub"], request.query_params["scope"] or None
        pair = await self.gate.aio.sessions.start(sub, scope=scope, user_agent=request.headers["user-agent"], ip="192.0.2.1")
        answer = RedirectResponse(request.query_params["to"], 303)
        self.gate.set_cookies(answer, pair)
        return answer

    def url(self, path: str) -> str:
        """Of the application."""
        return self.served.url(path, host="127.0.0.1")

    def close(self) -> None:
        """Both workers."""
        self.gate.close()
        self.other.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A real store."""
    with Server(valkey_binary()) as running:
        yield running


@pytest.fixture(scope="module")
def world(server: Server) -> Iterator[World]:
    """With something to see."""
    world = World(server.url)
    for name in ("Anna’s laptop", "Pixel 9", "<script>alert(1)</script>", None, "evil\u202etxt.exe"):
        world.gate.sessions.start(SUBJECT, device=name, ip="2001:db8::7", user_agent="Mozilla/5.0 (X11; Linux) Firefox/140.0")
    for number in range(60):
        world.gate.revoke(jti=f"j{number}")
    with world.served:
        yield world
    world.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Tab:
    """A page, and whatever its console complains of."""

    def __init__(self, browser: Any, world: World, *, scheme: str = "light", width: int = 1200, scripts: bool = True) -> None:
        self.world = world
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=scripts
        )
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.name = f"{scheme}-{width}"

    def log_in(self, sub: str, to: str, scope: str = "jwtgate:admin") -> None:
        """And go there."""
        self.page.goto(self.world.url(f"/login?sub={sub}&scope={scope}&to={to}"))

    def go(self, path: str) -> str:
        """A page below the console; what it says."""
        self.page.goto(self.world.url(f"/ops/{path}"))
        return str(self.page.inner_text("main"))

    def shoot(self, name: str) -> None:
        """For people to look at."""
        folder = os.environ.get("CONSOLE_SHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}-{self.name}.png", full_page=True)

    def width(self) -> int:
        """Of what the page takes."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))


@pytest.fixture
def tab(browser: Any, world: World) -> Iterator[Any]:
    """Makes tabs, closed in the end; none may have complained."""
    tabs: list[Tab] = []

    def opened(**how: Any) -> Tab:
        tabs.append(Tab(browser, world, **how))
        return tabs[-1]

    yield opened
    for each in tabs:
        each.context.close()
    unexpected = [text for each in tabs for text in each.complaints if "favicon" not in text and "404" not in text]
    assert unexpected == []


@pytest.mark.parametrize(("scheme", "width"), AXES)
def test_pages_fit_and_complain_of_nothing(tab: Any, scheme: str, width: int) -> None:
    """In both colour schemes, and on 360 pixels without scrolling sideways; the policy lets everything through that is ours."""
    own = tab(scheme=scheme, width=width)
    own.log_in("ops", "/ops/")
    own.page.wait_for_selector("figure polyline")
    pages = {
        "overview": "",
        "subjects": "subject",
        "subject": f"subject?sub={SUBJECT}",
        "nobody": "subject?sub=nobody",
        "confirmation": f"confirm?action=end-all&sub={SUBJECT}",
        "everything": "confirm?action=everything",
        "rulings": "rulings",
        "ruling": "rulings?kind=jti&value=j7",
        "feed": "feed",
        "problem": "nothing",
        "bad-page": f"subject?sub={SUBJECT}&page=0",
    }
    for name, path in pages.items():
        own.go(path)
        own.shoot(name)
        assert own.width() <= width, name
        assert own.page.locator("h1").count() == 1
        assert own.page.locator("main").count() == 1
    own.complaints[:] = [text for text in own.complaints if "400 (Bad Request)" not in text]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_session_is_ended_by_hand(tab: Any, world: World, scripts: bool) -> None:
    """Search, button, question, receipt: all of it with forms and links alone, too."""
    subject = f"user-{scripts}"
    pair = world.gate.sessions.start(subject, device="laptop")
    own = tab(scripts=scripts)
    own.log_in("ops", "/ops/subject")
    own.page.fill("#sub", subject)
    own.page.click("form[role=search] button")
    own.page.click(".do a")
    own.shoot("question")
    own.page.click("button:has-text('End the session')")
    own.page.wait_for_selector(".headline.good")
    assert "2 of 2 workers acknowledged" in own.page.inner_text("main")
    own.shoot(f"receipt-{'scripts' if scripts else 'plain'}")
    own.page.click("text=Back to the subject")
    assert "No live sessions" in own.page.inner_text("main")
    assert world.gate.sessions.list(subject) == []
    assert pair.session_id


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_receipt_fills_by_itself(tab: Any, world: World, scripts: bool) -> None:
    """While a worker has not heard: by a script, or by the page's own refresh."""
    own = tab(scripts=scripts)
    own.log_in("ops", "/ops/")
    feed = world.gate.store.feed()
    epoch, _, _ = world.gate.store.workers()
    silent = Worker(f"silent-{scripts}", 4.0, 0, 1, is_healing=False)
    feed.renew(silent, epoch.name)
    own.go(f"confirm?action=suspend&sub=mallory-{scripts}")
    own.page.click("button:has-text('Suspend')")
    own.page.wait_for_selector("text=On its way")
    assert silent.name in own.page.inner_text("main")
    own.shoot("receipt-filling")
    world.gate.store.forget(silent)
    own.page.wait_for_selector(".headline.good")
    feed.close()


def test_buttons_work_where_the_gate_wants_a_header(tab: Any, server: Server, browser: Any) -> None:
    """Under CSRF=double-submit the script sends what a form cannot, and follows to the receipt."""
    world = World(server.url, csrf="double-submit", prefix="submitted")
    with world.served:
        own = Tab(browser, world)
        own.log_in("ops", "/ops/confirm?action=suspend")
        own.go("confirm?action=suspend&sub=mallory")
        own.page.click("button:has-text('Suspend')")
        own.page.wait_for_selector(".headline.good")
        own.go("confirm?action=everything")
        own.page.fill("#typed", "something else")
        own.page.click("button:has-text('Revoke everything')")
        own.page.wait_for_selector("text=Nothing was done")
        own.context.close()
    world.close()


def test_feed_grows_by_itself(tab: Any, world: World) -> None:
    """Newest first, as it is ruled."""
    own = tab()
    own.log_in("ops", "/ops/feed")
    own.page.wait_for_selector("text=Live")
    before = own.page.locator("#feed > li").count()
    world.gate.suspend("fed")
    own.page.wait_for_selector(f"#feed > li:nth-child({before + 1})")  # nothing that evaluates a text: the policy forbids it
    assert "for good" in own.page.inner_text("#feed > li:first-child")
    assert "revoked" in own.page.inner_text("#feed > li:first-child")
    own.shoot("feed-live")


def test_hostile_texts_run_nothing(tab: Any, world: World) -> None:
    """Neither as a subject in the address, nor as a device's label."""
    own = tab()
    dialogs: list[str] = []
    own.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    own.log_in("ops", "/ops/")
    for text in ("%3Cscript%3Ealert(1)%3C/script%3E", "%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E", "%7B%7B7*7%7D%7D"):
        assert "49" not in re.sub(r"\d+ (s|min) ago", "", own.go(f"subject?sub={text}"))
    own.go(f"subject?sub={SUBJECT}")
    assert own.page.locator("main script").count() == 0
    assert dialogs == []


def test_page_can_be_used_by_keyboard(tab: Any, world: World) -> None:
    """The first key leads past the navigation; whatever has the focus shows it; a page that refreshes takes none away."""
    own = tab()
    own.log_in("ops", "/ops/")
    own.page.keyboard.press("Tab")
    assert own.page.evaluate("document.activeElement.className") == "skip"
    own.page.keyboard.press("Enter")
    assert own.page.evaluate("document.activeElement.id") == "content"
    own.page.keyboard.press("Tab")
    assert own.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    own.page.locator("summary").first.click()
    own.page.evaluate("document.activeElement.blur()")
    for _ in range(2):
        with own.page.expect_response("**/ops/"):
            pass
    assert own.page.evaluate("document.querySelector('details').open")


def test_store_that_goes_down_is_told_and_comes_back(tab: Any, world: World, server: Server) -> None:
    """A clear page without a word of where it is; the same button works afterwards."""
    own = tab()
    own.log_in("ops", "/ops/")
    own.go("confirm?action=suspend&sub=down")
    server.pause()
    try:
        own.page.click("button:has-text('Suspend')")
        told = own.page.inner_text("body")
        assert "503" not in told or "store" in told
        assert str(server.port) not in told
        own.shoot("store-down")
    finally:
        server.resume()
    assert world.gate.ready(20)
    own.go("confirm?action=suspend&sub=down")
    own.page.click("button:has-text('Suspend')")
    own.page.wait_for_selector(".headline.good")
    own.complaints.clear()


def test_command_opens_by_its_link(browser: Any, world: World) -> None:
    """The link leads on by itself, once; the cookie is kept from scripts, and whatever the link was clicked in."""
    served = Served(None)
    door = Door(world.gate, by="root on this machine", hosts=hosts_of("127.0.0.1", served.port))
    served.app = door
    with served:
        context = browser.new_context()
        page = context.new_page()
        page.goto(served.url(f"/enter?code={door.code}", host="127.0.0.1"))
        page.wait_for_selector("h1:has-text('Overview')")
        assert "root on this machine" in page.inner_text("header")
        (cookie,) = context.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (COOKIE, True, "Strict")
        page.goto(served.url("/confirm?action=suspend&sub=by-command", host="127.0.0.1"))
        page.click("button:has-text('Suspend')")
        page.wait_for_selector(".headline.good")
        context.close()
        context = browser.new_context()
        page = context.new_page()
        page.goto(served.url(f"/enter?code={door.code}", host="127.0.0.1"))
        assert "does not open" in page.inner_text("main")
        context.close()
    door.close()


def test_buttons_work_by_plain_http_on_a_name_of_the_network(browser: Any, world: World) -> None:
    """There browsers send no Sec-Fetch-Site: all that tells a form of ours is its Origin, which must not be null."""
    served = Served(None)
    door = Door(world.gate, by="root on this machine", hosts=hosts_of("console.test", served.port))
    served.app = door
    with served:
        told = browser.browser_type.launch(
            executable_path=CHROMIUM, args=[*OPTIONS, "--host-resolver-rules=MAP console.test 127.0.0.1"]
        )
        page = told.new_page()
        page.goto(served.url(f"/enter?code={door.code}", host="console.test"))
        page.wait_for_selector("h1:has-text('Overview')")
        page.goto(served.url("/confirm?action=suspend&sub=by-network", host="console.test"))
        page.click("button:has-text('Suspend')")
        page.wait_for_selector(".headline.good")
        told.close()
    door.close()


# --- devices


@pytest.mark.parametrize(("scheme", "width"), AXES)
def test_devices_are_shown_and_logged_out(tab: Any, world: World, scheme: str, width: int) -> None:
    """In plain forms: one, all others, and this one."""
    sub = f"owner-{scheme}-{width}"
    for device in ("Anna’s laptop", "<b>Pixel</b>", None, "iPad"):
        world.gate.sessions.start(sub, device=device, ip="192.0.2.44")
    own = tab(scheme=scheme, width=width, scripts=False)
    own.log_in(sub, "/auth/devices", scope="")
    assert "Chrome on Linux" in own.page.inner_text("li.current")
    assert own.width() <= width
    own.shoot("devices")
    own.page.click("li:has-text('iPad') button")
    own.page.wait_for_selector("text=That device is logged out.")
    assert own.page.locator(".devices li").count() == 4
    own.page.click("text=Log out all other devices")
    own.page.wait_for_selector("text=All other devices are logged out.")
    own.shoot("devices-one")
    assert own.page.locator(".devices li").count() == 1
    own.page.click("li.current button")
    own.page.wait_for_selector("text=You are logged out")
    own.shoot("devices-ended")
    own.page.goto(world.url("/auth/devices"))
    assert "You are not logged in" in own.page.inner_text("main")
    own.complaints[:] = [text for text in own.complaints if "401" not in text]
