"""Cookies and CSRF in a real browser: what Chromium keeps, shows, sends and from where, and what the gate says to it."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

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

from browser.world import (
    ACCESS_SECONDS,
    NEIGHBOUR,
    OWN,
    SESSION_SECONDS,
    SIBLING,
    STRANGER,
    SUBJECT,
    Certificate,
    Served,
    Site,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ACCESS, REFRESH, CSRF = "__Host-access_token", "__Secure-refresh_token", "__Host-csrf_access_token"
NAMES = {"fetch-metadata": {ACCESS, REFRESH}, "double-submit": {ACCESS, REFRESH, CSRF}, "off": {ACCESS, REFRESH}}
GUARDED = ("fetch-metadata", "double-submit")

# --- servers and the browser


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For all hosts."""
    return Certificate.made_in(tmp_path_factory.mktemp("tls"))


def served(csrf: str, certificate: Certificate | None) -> Iterator[Served]:
    """A site on its own port."""
    site = Site(csrf, is_secure=certificate is not None)
    with Served(site.app, certificate) as running:
        yield running
    site.gate.close()


@pytest.fixture(scope="module")
def sites(certificate: Certificate) -> Iterator[dict[str, Served]]:
    """One site for each way of protecting it, and one without protection to compare with."""
    opened = {csrf: served(csrf, certificate) for csrf in NAMES}
    yield {csrf: next(each) for csrf, each in opened.items()}
    for each in opened.values():
        assert next(each, None) is None


@pytest.fixture(scope="module")
def neighbour(certificate: Certificate) -> Iterator[Served]:
    """Pages of everybody else."""
    with Served(NEIGHBOUR, certificate) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """With a profile folder of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A cookie jar for this test alone."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def own(context: BrowserContext) -> Page:
    """A tab."""
    return context.new_page()


@pytest.fixture(params=GUARDED)
def site(request: pytest.FixtureRequest, sites: dict[str, Served]) -> Served:
    """Under each way of protecting it."""
    return sites[request.param]


# --- what people and pages do


def log_in(page: Page, site: Served) -> None:
    """By the form of the site's own page."""
    page.goto(site.url())
    with page.expect_navigation():
        page.click("button")
    assert site.last("/login").status == 200


def fetch(page: Page, url: str, **options: Any) -> dict[str, Any]:
    """A script's request: status and body, or the error that the script sees."""
    told = page.evaluate(
        """([url, options]) => fetch(url, options).then(
            async answer => ({status: answer.status, body: await answer.text()}), error => ({error: String(error)}))""",
        [url, options],
    )
    return dict(told)


def post(page: Page, site: Served, path: str = "/seen") -> dict[str, Any]:
    """A POST as the site's own scripts make it: with the value, where a cookie tells one."""
    value = dict(pair.split("=", 1) for pair in page.evaluate("document.cookie").split("; ") if pair).get(CSRF)
    return fetch(page, site.url(path), method="POST", headers={} if value is None else {"X-CSRF-TOKEN": value})


def submit(page: Page, url: str) -> None:
    """A form that a page's script makes and submits at once."""
    with page.expect_navigation():
        page.evaluate(
            """url => { const form = document.createElement("form"); form.method = "post"; form.action = url;
                document.body.append(form); form.submit(); }""",
            url,
        )


def follow(page: Page, url: str) -> None:
    """A link."""
    with page.expect_navigation():
        page.evaluate("url => { location.href = url; }", url)


def greeting(page: Page, url: str) -> str:
    """What a WebSocket says first, or ``refused``."""
    return str(
        page.evaluate(
            """url => new Promise(told => { const socket = new WebSocket(url);
                socket.onmessage = event => told(event.data); socket.onclose = () => told("refused"); })""",
            url,
        )
    )


def kept(context: BrowserContext) -> dict[str, Any]:
    """The jar's cookies by name."""
    return {cookie["name"]: cookie for cookie in context.cookies()}


ATTACKERS = pytest.mark.parametrize("host", [SIBLING, OWN], ids=["sibling-host", "other-port"])
"""Of the same site, so that SameSite=Lax sends the cookie; of another origin."""

# --- the cookies


def test_browser_keeps_the_cookies_of_a_login_as_they_were_meant(context: BrowserContext, own: Page, sites: Any) -> None:
    """Names with their prefixes, HttpOnly, Secure, Lax, the refresh path, and each cookie's own end."""
    for csrf, site in sites.items():
        context.clear_cookies()
        log_in(own, site)
        jar = kept(context)
        assert jar.keys() == NAMES[csrf]
        for name, cookie in jar.items():
            assert (cookie["secure"], cookie["sameSite"], cookie["domain"]) == (True, "Lax", OWN)
            assert cookie["httpOnly"] is (name != CSRF)
            assert cookie["path"] == ("/auth/refresh" if name == REFRESH else "/")
            seconds = ACCESS_SECONDS if name == ACCESS else SESSION_SECONDS
            assert abs(cookie["expires"] - time.time() - seconds) < 30


def test_scripts_see_no_token(own: Page, site: Served) -> None:
    """HttpOnly: even on the refresh path, of all that is kept only the submitted value shows."""
    log_in(own, site)
    for path in ("/", "/auth/refresh"):
        own.goto(site.url(path))
        shown = {pair.partition("=")[0] for pair in own.evaluate("document.cookie").split("; ") if pair}
        assert shown == {CSRF} & NAMES[site.app.gate.settings.csrf]


def test_refresh_cookie_is_sent_to_the_refresh_path_alone(context: BrowserContext, own: Page, site: Served) -> None:
    """Not even to its neighbours; and a refresh replaces what is kept."""
    log_in(own, site)
    before = kept(context)
    assert post(own, site)["status"] == 200
    assert post(own, site, "/auth/refresh")["status"] == 200
    for path in ("/auth/refreshed", "/auth", "/auth/refres", "/AUTH/refresh"):
        post(own, site, path)
    sent = {visit.path for visit in site.visits if REFRESH in visit.cookies}
    assert sent == {"/auth/refresh"}
    after = kept(context)
    assert before.keys() == after.keys()
    assert {name for name in after if after[name]["value"] != before[name]["value"]} == {ACCESS, REFRESH}


def test_log_out_ends_the_session_and_takes_the_cookies(context: BrowserContext, own: Page, site: Served) -> None:
    """By the endpoint: what the jar held before is worth nothing any more, wherever it is shown."""
    log_in(own, site)
    stolen = [{**cookie} for cookie in context.cookies()]
    assert post(own, site, "/auth/logout")["status"] == 200
    assert not kept(context)
    assert post(own, site)["status"] == 401 or site.app.gate.settings.csrf == "double-submit"
    context.add_cookies(stolen)  # type: ignore[arg-type]
    assert post(own, site)["status"] == 401
    assert post(own, site, "/auth/refresh")["status"] == 400
    assert kept(context).keys() == {cookie["name"] for cookie in stolen}, "a refused refresh takes nothing away"


def test_two_tabs_that_refresh_at_once_stay_logged_in(context: BrowserContext, own: Page, site: Served) -> None:
    """Racers get the same pair, so whichever answer comes last, the jar holds the current one."""
    log_in(own, site)
    tabs = [own, context.new_page()]
    tabs[1].goto(site.url())
    value = dict(pair.split("=", 1) for pair in own.evaluate("document.cookie").split("; ") if pair).get(CSRF)
    headers = {} if value is None else {"X-CSRF-TOKEN": value}
    for tab in tabs * 3:
        tab.evaluate(
            """([url, headers]) => { window.told = fetch(url, {method: "POST", headers}).then(answer => answer.status); }""",
            [site.url("/auth/refresh"), headers],
        )
    assert [tab.evaluate("window.told") for tab in tabs] == [200, 200]
    assert post(own, site, "/auth/refresh")["status"] == 200
    assert post(own, site)["status"] == 200


def test_cleared_cookies_are_gone(context: BrowserContext, own: Page, site: Served) -> None:
    """Name, path and prefix match, so the browser forgets every one of them, and the next request is nobody's."""
    log_in(own, site)
    assert post(own, site, "/logout")["status"] == 200
    assert kept(context) == {}
    assert fetch(own, site.url("/seen"))["status"] == 401
    assert site.last("/seen").cookies == frozenset()


def test_browser_keeps_the_longest_cookie_that_fits(context: BrowserContext, own: Page, site: Served) -> None:
    """4096 bytes with all attributes, as the check counts, are kept, sent and admitted."""
    own.goto(site.url())
    assert fetch(own, site.url("/login?bytes=4096"), method="POST")["status"] == 200
    assert len(kept(context)[ACCESS]["value"]) > 3900
    assert post(own, site)["status"] == 200


def test_sibling_host_cannot_replace_a_cookie(context: BrowserContext, own: Page, site: Served, neighbour: Served) -> None:
    """``__Host-``: the browser takes none with a Domain; other junk that it takes does not log the user out."""
    log_in(own, site)
    before = kept(context)
    own.goto(neighbour.url(host=SIBLING))
    for name in (ACCESS, CSRF, "csrf_access_token", "junk"):
        own.evaluate("text => { document.cookie = text; }", f"{name}=of=the,sibling; Domain={OWN}; Path=/; Secure")
    assert {name: kept(context)[name]["value"] for name in before} == {name: before[name]["value"] for name in before}
    assert kept(context).keys() - before.keys() == {"csrf_access_token", "junk"}
    own.goto(site.url())
    assert post(own, site)["status"] == 200
    assert site.last("/seen").cookies >= {ACCESS, "csrf_access_token", "junk"}


# --- the site itself


def test_post_of_our_own_script_passes(own: Page, site: Served) -> None:
    """Sec-Fetch-Site: same-origin; or the value that only our scripts can read."""
    log_in(own, site)
    answer = post(own, site)
    assert (answer["status"], answer["body"]) == (200, f'{{"subject":"{SUBJECT}","source":"cookie"}}')
    assert site.last("/seen").site == "same-origin"


def test_post_without_the_value_is_refused_under_double_submit(own: Page, sites: dict[str, Served]) -> None:
    """Our own page is no exception: script or form, missing or wrong."""
    site = sites["double-submit"]
    log_in(own, site)
    for headers in ({}, {"X-CSRF-TOKEN": ""}, {"X-CSRF-TOKEN": "guessed"}):
        answer = fetch(own, site.url("/seen"), method="POST", headers=headers)
        assert answer["status"] == 403
        assert '"cross_site_request"' in answer["body"]
    submit(own, site.url("/seen"))
    assert (site.last("/seen").status, site.last("/seen").site) == (403, "same-origin")


def test_form_of_our_own_page_passes_under_fetch_metadata(own: Page, sites: dict[str, Served]) -> None:
    """Pages without scripts need nothing."""
    site = sites["fetch-metadata"]
    log_in(own, site)
    submit(own, site.url("/seen"))
    assert site.last("/seen").status == 200


# --- other sites


def test_form_of_another_site_is_sent_without_cookies(own: Page, site: Served, neighbour: Served) -> None:
    """SameSite=Lax: the request is nobody's."""
    log_in(own, site)
    own.goto(neighbour.url(host=STRANGER))
    submit(own, site.url("/seen"))
    visit = site.last("/seen")
    assert (visit.method, visit.cookies, visit.site, visit.status) == ("POST", frozenset(), "cross-site", 401)


def test_link_from_another_site_finds_the_user_logged_in(own: Page, site: Served, neighbour: Served) -> None:
    """A top-level GET carries the Lax cookie and changes nothing: it passes, or every link from elsewhere would log out."""
    log_in(own, site)
    own.goto(neighbour.url(host=STRANGER))
    follow(own, site.url("/seen"))
    visit = site.last("/seen")
    assert (visit.site, visit.status) == ("cross-site", 200)
    assert ACCESS in visit.cookies


def test_post_that_came_by_way_of_another_site_is_refused(own: Page, site: Served, neighbour: Served) -> None:
    """A redirect with 307 keeps method and body; the browser remembers who had it in hand."""
    log_in(own, site)
    bounced = neighbour.url(f"/bounce?to={quote(site.url('/seen'), safe='')}", host=STRANGER)
    submit(own, bounced)
    visit = site.last("/seen")
    assert (visit.method, visit.site) == ("POST", "cross-site")
    assert visit.status == (403 if ACCESS in visit.cookies else 401)


@ATTACKERS
def test_post_of_a_sibling_origin_carries_the_cookie_and_is_refused(
    own: Page, site: Served, neighbour: Served, host: str
) -> None:
    """Here SameSite does not help: forms and scripts of another subdomain, or of another port, are of the same site."""
    log_in(own, site)
    own.goto(neighbour.url(host=host))
    assert fetch(own, site.url("/seen"), method="POST", mode="no-cors", credentials="include").keys() == {"status", "body"}
    by_script = site.last("/seen")
    submit(own, site.url("/seen"))
    by_form = site.last("/seen")
    assert by_script is not by_form
    for visit in (by_script, by_form):
        assert ACCESS in visit.cookies
        assert (visit.method, visit.site, visit.status) == ("POST", "same-site", 403)


@ATTACKERS
def test_without_a_rule_the_same_post_would_be_admitted(
    own: Page, sites: dict[str, Served], neighbour: Served, host: str
) -> None:
    """CSRF=off, to compare with: so it is the rule that refuses, not the browser."""
    log_in(own, sites["off"])
    own.goto(neighbour.url(host=host))
    submit(own, sites["off"].url("/seen"))
    assert sites["off"].last("/seen").status == 200


@ATTACKERS
def test_sibling_origin_cannot_refresh(own: Page, site: Served, neighbour: Served, host: str) -> None:
    """The refresh cookie is sent along, and the same rule holds for it."""
    log_in(own, site)
    own.goto(neighbour.url(host=host))
    fetch(own, site.url("/auth/refresh"), method="POST", mode="no-cors", credentials="include")
    visit = site.last("/auth/refresh")
    assert REFRESH in visit.cookies
    assert visit.status == 403


def test_sibling_host_cannot_read_the_value(own: Page, sites: dict[str, Served], neighbour: Served) -> None:
    """A cookie without Domain is its host's alone."""
    log_in(own, sites["double-submit"])
    own.goto(neighbour.url(host=SIBLING))
    assert own.evaluate("document.cookie") == ""


def test_other_port_can_read_the_value_but_may_not_send_it(own: Page, sites: dict[str, Served], neighbour: Served) -> None:
    """Cookies know no ports (RFC 6265bis §8.5), but a header needs the leave of a preflight (Fetch §4.8), and gets none."""
    site = sites["double-submit"]
    log_in(own, site)
    own.goto(neighbour.url())
    assert CSRF in own.evaluate("document.cookie")
    visits = len(site.visits)
    value = own.evaluate("document.cookie").partition("=")[2]
    options = {"method": "POST", "credentials": "include", "headers": {"X-CSRF-TOKEN": value}}
    assert fetch(own, site.url("/seen"), **options).keys() == {"error"}
    assert "POST" not in [visit.method for visit in site.visits[visits:]]


# --- WebSocket


def test_websocket_of_our_own_page_passes(own: Page, site: Served) -> None:
    """By its Origin, under either rule."""
    log_in(own, site)
    assert greeting(own, site.url("/socket", scheme="wss")) == SUBJECT


@ATTACKERS
def test_websocket_of_a_sibling_origin_is_refused(own: Page, site: Served, neighbour: Served, host: str) -> None:
    """The browser connects anybody, with cookies, and lets the page read (RFC 6455 §10.2)."""
    log_in(own, site)
    own.goto(neighbour.url(host=host))
    assert greeting(own, site.url("/socket", scheme="wss")) == "refused"
    visit = site.last("/socket")
    assert ACCESS in visit.cookies
    assert visit.status == 403


def test_websocket_of_another_site_is_refused(own: Page, site: Served, neighbour: Served) -> None:
    """Without cookies it is nobody's."""
    log_in(own, site)
    own.goto(neighbour.url(host=STRANGER))
    assert greeting(own, site.url("/socket", scheme="wss")) == "refused"
    assert site.last("/socket").status == 401


# --- development over plain http


@pytest.mark.parametrize("csrf", GUARDED)
def test_plain_http_works_for_development(context: BrowserContext, own: Page, neighbour: Served, csrf: str) -> None:
    """COOKIE_SECURE=0 with plain names: kept, sent, guarded and cleared just so."""
    for site in served(csrf, None):
        log_in(own, site)
        names = {"access_token", "refresh_token"} | ({"csrf_access_token"} if csrf == "double-submit" else set())
        assert kept(context).keys() == names
        value = kept(context).get("csrf_access_token", {"value": "none"})["value"]
        answer = fetch(own, site.url("/seen"), method="POST", headers={"X-CSRF-TOKEN": value})
        assert answer["status"] == 200
        with Served(NEIGHBOUR) as plain:
            own.goto(plain.url())
            submit(own, site.url("/seen"))
        assert (site.last("/seen").status, "access_token" in site.last("/seen").cookies) == (403, True)
        own.goto(site.url())
        assert fetch(own, site.url("/logout"), method="POST", headers={"X-CSRF-TOKEN": value})["status"] == 200
        assert kept(context) == {}
