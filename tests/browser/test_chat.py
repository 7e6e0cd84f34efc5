"""The chat of the demo in a real browser, on the demo's own servers: two devices, and what becomes of the one that is ended.

Screenshots go to ``CHAT_SHOTS``, where that is set, to be looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import time
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

from jwtgate import Gate, Settings
from jwtgate.demo.interruption import Interruption
from jwtgate.demo.servers import Servers

AXES = [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Valkey, both applications and the console, as the demo starts them."""
    with Interruption() as interruption, Servers(interruption, with_console=True) as running:
        running.start_store()
        running.start_apps()
        running.start_console()
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Tab:
    """The chat, and whatever the browser complains of."""

    def __init__(self, browser: Any, servers: Servers, *, scheme: str = "light", width: int = 1280) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.context.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.name = f"{scheme}-{width}"
        self.page.goto(servers.chat_link)

    def await_open(self) -> None:
        """Both; a store that is new is watched for two leases before anybody is admitted."""
        for name in ("phone", "laptop"):
            self.page.wait_for_selector(f"#{name}[data-state=open], #{name}[data-state=closed]")
            while self.state(name) != "open":
                self.page.click(f"#{name} .again")
                self.page.wait_for_selector(f"#{name}[data-state=open], #{name}[data-state=closed]")

    def state(self, name: str) -> str:
        """Of a panel."""
        return str(self.page.get_attribute(f"#{name}", "data-state"))

    def say(self, name: str, text: str) -> None:
        """As a user does."""
        self.page.fill(f"#{name}-text", text)
        self.page.press(f"#{name}-text", "Enter")

    def await_heard(self, text: str, *names: str) -> None:
        """In these panels."""
        for name in names:
            self.page.locator(f"#{name} .said", has_text=text).last.wait_for()

    def await_closed(self, name: str) -> str:
        """What the panel says of it."""
        self.page.wait_for_selector(f"#{name}[data-state=closed]")
        return str(self.page.inner_text(f"#{name} .verdict"))

    def shoot(self, name: str) -> None:
        """For people to look at."""
        folder = os.environ.get("CHAT_SHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}-{self.name}.png", full_page=True)


@pytest.fixture
def tab(browser: Any, servers: Servers) -> Iterator[Any]:
    """Makes tabs, closed in the end; none may have complained."""
    tabs: list[Tab] = []

    def opened(**how: Any) -> Tab:
        tabs.append(Tab(browser, servers, **how))
        tabs[-1].await_open()
        tabs[-1].complaints.clear()  # of what a new store could not know yet
        return tabs[-1]

    yield opened
    for each in tabs:
        each.context.close()
    assert [text for each in tabs for text in each.complaints] == []


@pytest.mark.parametrize(("scheme", "width"), AXES)
def test_device_that_is_ended_is_closed_and_the_other_goes_on(tab: Any, scheme: str, width: int) -> None:
    """By the other one; it can log in again."""
    own = tab(scheme=scheme, width=width)
    assert own.page.evaluate("document.documentElement.scrollWidth") <= width
    own.say("phone", "Are you there?")
    own.await_heard("Are you there?", "phone", "laptop")
    own.say("laptop", "Yes, on the other device.")
    own.await_heard("on the other device", "phone", "laptop")
    own.shoot("before")
    own.page.click("#laptop .other")
    assert re.search(r"Closed by the gate: 4401, \d+ ms after the click\.", own.await_closed("phone"))
    assert own.page.evaluate("document.activeElement.closest('section').id") == "phone"
    own.say("laptop", "Still here.")
    own.await_heard("Still here.", "laptop")
    assert own.state("laptop") == "open"
    assert own.page.locator("#phone .said", has_text="Still here.").count() == 0
    own.shoot("after")
    own.page.click("#phone .again")
    own.page.wait_for_selector("#phone[data-state=open]")
    own.say("phone", "Back.")
    own.await_heard("Back.", "phone", "laptop")


def test_device_ends_itself_and_is_used_by_keyboard_alone(tab: Any) -> None:
    """The focus goes to what can be done next, and back to where one writes."""
    own = tab()
    own.page.keyboard.press("Tab")
    assert own.page.evaluate("document.activeElement.className") == "skip"
    own.page.focus("#phone-text")
    own.page.keyboard.type("by keyboard")
    own.page.keyboard.press("Enter")
    own.await_heard("by keyboard", "phone", "laptop")
    assert own.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    own.page.keyboard.press("Tab")
    own.page.keyboard.press("Tab")
    own.page.keyboard.press("Enter")
    assert "4401" in own.await_closed("phone")
    assert own.page.evaluate("document.activeElement.textContent") == "Log in again"
    own.page.keyboard.press("Enter")
    own.page.wait_for_selector("#phone[data-state=open]")
    assert own.page.evaluate("document.activeElement.id") == "phone-text"


def test_token_is_renewed_and_the_socket_kept(tab: Any, browser: Any) -> None:
    """In the background; the page says so, and both go on."""
    own = tab()
    own.page.clock.install()
    own.page.reload()
    own.await_open()
    own.page.clock.fast_forward(30_000)
    own.page.wait_for_selector("#phone .renewal:has-text('socket kept')")
    own.page.wait_for_selector("#laptop .renewal:has-text('socket kept')")
    own.say("phone", "with a new token")
    own.await_heard("with a new token", "phone", "laptop")
    own.shoot("renewed")


def test_device_that_is_ended_in_the_console_or_at_your_devices_is_closed(tab: Any, servers: Servers) -> None:
    """Each in a tab of its own, by the links of the page and of the terminal."""
    own = tab()
    console = own.context.new_page()
    console.goto(servers.console_link)
    with own.context.expect_page() as opened:
        own.page.click("nav >> text=Console")
    console = opened.value
    console.locator("tr", has_text="Phone").first.locator(".do a").click()
    console.click("button:has-text('End the session')")
    console.wait_for_selector("text=Effective everywhere")
    told = own.await_closed("phone")
    assert "Closed by the gate: 4401 at" in told
    assert "elsewhere" in told
    assert own.state("laptop") == "open"
    with own.context.expect_page() as opened:
        own.page.click("nav >> text=Your devices")
    devices = opened.value
    devices.click("li:has-text('Laptop') button")
    devices.wait_for_selector("text=That device is logged out.")
    assert "elsewhere" in own.await_closed("laptop")


def test_tab_that_goes_takes_its_sessions_with_it(tab: Any, servers: Servers) -> None:
    """None is left for the console to show."""
    own = tab()
    gate = Gate(Settings.from_env(servers.settings))
    begun = [own.page.inner_text(f"#{name} .facts").split()[1][:8] for name in ("phone", "laptop")]
    try:
        assert {session.sid[:8] for session in gate.sessions.list("alice")} >= set(begun)
        own.page.goto("about:blank")
        until = time.monotonic() + 10
        while any(session.sid.startswith(tuple(begun)) for session in gate.sessions.list("alice")):
            assert time.monotonic() < until, "still there"
            time.sleep(0.05)
    finally:
        gate.close()


def test_hostile_text_is_text(tab: Any) -> None:
    """Nothing of it becomes a part of the page, and nothing of the page moves."""
    own = tab(width=360)
    dialogs: list[str] = []
    own.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for text in ("<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "\u202etxt.exe", "x" * 500):
        own.say("phone", text)
        own.await_heard(text, "phone", "laptop")
    assert own.page.locator(".log img, .log script").count() == 0
    assert own.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert dialogs == []


@pytest.mark.parametrize(("size", "words"), [(501, "at most 500 characters"), (1_000_000, "1009")])
def test_message_that_is_too_long_is_not_sent(tab: Any, size: int, words: str) -> None:
    """By who goes around the page's own limit; the other device hears nothing, and goes on."""
    own = tab()
    own.page.evaluate("document.getElementById('phone-text').removeAttribute('maxlength')")
    own.say("phone", "y" * size)
    own.page.locator("#phone", has_text=words).wait_for()
    own.say("laptop", "all well")
    own.await_heard("all well", "laptop")
    assert own.page.locator("#laptop .said", has_text="yyy").count() == 0


def test_store_that_is_away_is_told_and_the_chat_goes_on_afterwards(tab: Any, servers: Servers) -> None:
    """Who is silent stays; who speaks is disconnected with 1013, never 4401, and is still logged in when the store is back."""
    own = tab()
    own.say("laptop", "before")
    own.await_heard("before", "phone", "laptop")
    servers.kill_store()
    try:
        own.page.locator("#store", has_text="The store does not answer").wait_for()
        own.shoot("store-away")
        while own.state("phone") == "open":
            own.say("phone", "is anybody there?")
            own.page.wait_for_selector("#phone .note:has-text('Not sent'), #phone[data-state=closed]")
        told = own.await_closed("phone")
        assert "1013" in told
        assert "The store does not answer" in told
        assert own.state("laptop") == "open"
        own.page.click("#phone .again")
        own.page.locator("#phone .verdict", has_text="Not connected: 503").wait_for()
        own.shoot("store-away-closed")
    finally:
        servers.start_store()
    own.page.wait_for_selector("#store", state="hidden")
    own.await_open()
    own.say("phone", "and after")
    own.await_heard("and after", "phone", "laptop")
    own.complaints.clear()
