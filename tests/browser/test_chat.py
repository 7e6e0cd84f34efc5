"""The chat of the demo in a real browser, on the demo's own servers: two devices, and what becomes of the one that is ended.

Screenshots go to ``CHAT_SHOTS``, where that is set, to be looked at.
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
    own.say("laptop", "Still here.")
    own.await_heard("Still here.", "laptop")
    assert own.state("laptop") == "open"
    assert own.page.locator("#phone .said", has_text="Still here.").count() == 0
    own.shoot("after")
    own.page.click("#phone .again")
    own.page.wait_for_selector("#phone[data-state=open]")
    own.say("phone", "Back.")
    own.await_heard("Back.", "phone", "laptop")
