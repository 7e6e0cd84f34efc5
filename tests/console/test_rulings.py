"""The pages of rulings and of the feed, and what they are made of."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from beside import beside
from console.visited import Operator, console, text_of

from jwtgate.console import pictures
from jwtgate.console.counting import MARKS, STRETCH, counted, latest
from jwtgate.console.lookout import Lookout, Trip
from jwtgate.console.visiting import PAGE_SIZE
from jwtgate.core.history import Epoch, LogEnd, Worker
from jwtgate.core.rulings import CutOff, Ruling, Toggle
from jwtgate.errors import StoreUnavailable
from jwtgate.pages.agents import agent_in_words
from jwtgate.pages.drawing import shown
from jwtgate.testing import FixtureGate, gate


@pytest.fixture
def ops() -> Iterator[Operator]:
    """An operator, where tenants can be ruled on."""
    with console(handles=("tenant",), version_claim="ver") as operator:
        yield operator


def wait_for(is_so: Any) -> None:
    """Until it is, and not for long."""
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)


# --- rulings


def test_rulings_are_listed_with_what_they_say(ops: Operator) -> None:
    """The latest first; how many there are of each kind."""
    ops.gate.revoke(jti="a")
    ops.gate.suspend("alice")
    ops.gate.reinstate("alice")
    ops.gate.revoke(claim=("tenant", "acme"))
    ops.gate.require_version("bob", 7)
    page = ops.get("rulings")
    text = text_of(page)
    assert [text.index(each) for each in ("dead versions below 7", "not before dead", "lifted", "revoked 0")] == sorted(
        text.index(each) for each in ("dead versions below 7", "not before dead", "lifted", "revoked 0")
    )
    assert "All 4 Revoked 1 Lifted 1 Not before 1 Version 1" in text
    only = text_of(ops.get("rulings", only="not-before"))
    assert "dead what was issued before" in only
    assert "dead versions" not in only


def test_rulings_are_paged(ops: Operator) -> None:
    """Each on one page, of all and of one kind."""
    for number in range(PAGE_SIZE + 2):
        ops.gate.revoke(jti=str(number))
        ops.gate.revoke(claim=("tenant", str(number)))
    for only, pages in (("", 3), ("revoked", 2), ("not-before", 2)):
        found: list[str] = []
        for number in range(1, pages + 1):
            page = ops.get("rulings", only=only, page=str(number))
            found += re.findall(r"<code>([0-9a-f]{32})</code>", page)
            assert ('rel="next"' in page) is (number < pages)
        assert len(found) == len(set(found)) == (2 * PAGE_SIZE + 4 if not only else PAGE_SIZE + 2)
    assert "nothing on this page any more" in text_of(ops.get("rulings", page="999999"))


@pytest.mark.parametrize(
    ("kind", "value", "action"), [("tenant", "acme", True), ("client_id", "app", True), ("jti", "x", True), ("sid", "y", True)]
)
def test_handle_is_looked_up_and_revoked(ops: Operator, kind: str, value: str, action: bool) -> None:
    """By its kind and its value; what carries it dies."""
    assert "No ruling stands here" in text_of(ops.get("rulings", kind=kind, value=value))
    claims = {"tenant": value} if kind == "tenant" else {}
    token = ops.gate.issue("alice", claims=claims)
    page = ops.does("handle", kind=kind, value=value)
    assert "Handle revoked" in page
    assert f"{kind} {value}" in text_of(page)
    after = text_of(ops.get("rulings", kind=kind, value=value))
    assert "revoked" in after or "not before" in after
    alive = ops.client.get("/ops/", headers={"Authorization": f"Bearer {token}"}).status_code != 401
    assert alive is (kind != "tenant")


def test_everybodys_handle_needs_no_value(ops: Operator) -> None:
    """And a subject's leads to its page."""
    ops.gate.revoke(sub="alice")
    assert "Go to the subject" in ops.get("rulings", kind="sub", value="alice")
    assert "everybody" in text_of(ops.get("rulings", kind="all"))


@pytest.mark.parametrize(
    "query",
    [
        "only=x",
        "kind=x&value=y",
        "kind=sub",
        "kind=sub&value=%00",
        "kind=sub&value=" + "a" * 9000,
        "page=0",
        "kind=&value=a&kind=b",
    ],
)
def test_bad_query_gets_a_page(ops: Operator, query: str) -> None:
    """400, and never more."""
    answer = ops.client.get(f"/ops/rulings?{query}")
    assert answer.status_code == 400
    assert "</html>" in answer.text


def test_handle_of_no_kind_is_not_revoked(ops: Operator) -> None:
    """A forged kind writes nothing."""
    page = ops.get("confirm", action="handle", kind="tenant", value="acme")
    position = ops.gate.status().position
    for kind in ("all", "key", "sessions", "x", ""):
        ops.press(page, status=400, kind=kind)
    assert ops.gate.status().position == position


def test_unreadable_ruling_is_told(ops: Operator) -> None:
    """Text under a handle that no jwtgate wrote does not break the page."""
    ops.gate.view.rulings[os.urandom(16)] = b'{"r":[1,"half'
    assert "cannot be read" in text_of(ops.get("rulings"))


def test_page_of_a_kind_is_the_same_as_by_looking_through_all() -> None:
    """Whatever is skipped by counting alone."""
    known: dict[bytes, bytes] = {}
    for number in range(2 * STRETCH + 17):
        toggle = Toggle(number % 7 == 0, "e", number, 1.0) if number % 3 else None
        cut = CutOff("e", number, 1.0) if number % 5 == 0 else None
        known[number.to_bytes(16)] = Ruling(toggle, cut, number if number % 11 == 0 else None, None).encode()
    for kind, mark in {"": b"", **MARKS}.items():
        whole = [digest for digest, text in known.items() if mark in text][::-1]
        for offset in (0, 1, 50, 999, 1000, 1001, 2010, 5000):
            assert latest(known, kind, offset, 50) == (whole[offset : offset + 50], len(whole) > offset + 50)
        assert not kind or counted(known)[kind] == len(whole)


# --- the feed


def test_feed_shows_what_was_ruled(ops: Operator) -> None:
    """Newest first, as a page that needs no script."""
    ops.gate.revoke(jti="a")
    ops.gate.suspend("alice")
    page = ops.get("feed")
    assert page.count('<li class="entry">') == 2
    assert page.index("#2") < page.index("#1")
    assert page.count("for good") == 1
    ops.gate.revoke(jti="b")
    wait_for(lambda: ops.get("feed").count('<li class="entry">') == 3)


def test_feed_that_is_empty_says_so(ops: Operator) -> None:
    """Nothing was ruled."""
    assert "Nothing was ruled" in text_of(ops.get("feed"))


def test_stream_tells_what_is_new(ops: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows as the page has them, with a number to go on from; it ends with the operator's token."""
    drawn: list[int] = []
    draw = Lookout.draw

    def noted(lookout: Lookout, seen: Any, rows: bytes) -> bytes:
        drawn.append(seen.serial)
        return draw(lookout, seen, rows)

    monkeypatch.setattr(Lookout, "draw", noted)
    ops.gate.revoke(jti="a")
    ops.get("feed")
    lines: list[str] = []

    def read() -> None:
        with ops.client.stream("GET", "/ops/feed/events?after=0") as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["cache-control"] == "no-store"
            lines.extend(answer.iter_lines())

    with beside(read, end=lambda: ops.gate.clock.advance(ops.gate.settings.access_ttl + 1)):
        wait_for(lambda: drawn == [1])  # TestClient hands over a whole answer: nothing else can be waited for but the end
        ops.gate.revoke(jti="b")
        wait_for(lambda: drawn == [1, 2])
    told = "\n".join(lines)
    assert "id: 1" in told
    assert "#1" in told
    assert "#2" in told
    assert all(line.startswith(("data: ", "id: ", ":")) or not line for line in lines)


def test_stream_ends_with_its_operator(ops: Operator) -> None:
    """Who is thrown out sees nothing more of it: the gate ends the stream as it ends every live connection."""
    ended = threading.Event()

    def read() -> None:
        with contextlib.suppress(Exception), ops.client.stream("GET", "/ops/feed/events") as answer:
            list(answer.iter_bytes())
        ended.set()

    with beside(read, end=lambda: ops.gate.clock.advance(ops.gate.settings.access_ttl + 1)):
        wait_for(lambda: any(thread.name == "jwtgate-lookout" for thread in threading.enumerate()))
        ops.gate.revoke(sub="ops")
        assert ended.wait(10)


@pytest.mark.parametrize("after", ["", "-1", "x", "9" * 30, "٣"])
def test_stream_takes_any_place_to_go_on_from(ops: Operator, after: str) -> None:
    """What is no number is the beginning; HEAD has no stream."""
    assert ops.client.head("/ops/feed/events", params={"after": after}).status_code == 404


def test_stream_needs_the_scope() -> None:
    """As every page."""
    with console(scope="read") as operator:
        assert operator.client.get("/ops/feed/events").status_code == 403


# --- the lookout


@pytest.fixture
def looked() -> Iterator[tuple[FixtureGate, Lookout]]:
    """At work."""
    with gate() as own:
        lookout = Lookout(own)
        lookout.ask()
        wait_for(lambda: lookout.has_caught_up)
        yield own, lookout


def test_lookout_sees_rulings_spread(looked: tuple[FixtureGate, Lookout]) -> None:
    """To all that are registered; one that is late is told as late."""
    own, lookout = looked
    own.revoke(jti="a")
    wait_for(lambda: len(lookout.trips) == 1)
    assert lookout.trips[0].workers == 1
    assert lookout.trips[0].seconds is not None


def test_lookout_ends_when_nobody_looks(looked: tuple[FixtureGate, Lookout], monkeypatch: pytest.MonkeyPatch) -> None:
    """Or when the gate is closed: it would open connections again. It begins anew when somebody looks."""
    own, lookout = looked
    thread = lookout._thread
    assert thread is not None
    monkeypatch.setattr("jwtgate.console.lookout.IDLE_SECONDS", 0.0)
    thread.join(10)
    assert not thread.is_alive()
    monkeypatch.undo()
    lookout.ask()
    again = lookout._thread
    assert again is not None and again is not thread
    own.close()
    again.join(10)
    assert not again.is_alive()


def test_lookout_survives_an_outage(looked: tuple[FixtureGate, Lookout]) -> None:
    """And says when it began and ended."""
    own, lookout = looked
    with own.faults.fail():
        wait_for(lambda: lookout.is_away)
    wait_for(lambda: not lookout.is_away)
    assert [seen.event.name for seen in lookout.events] == ["away", "back"]


def test_lookout_measures_the_age_of_views() -> None:
    """Since a worker's beat was last seen to change; one that has never beaten shows once that is long ago."""
    with gate() as own:
        lookout = Lookout(own)

        def beat(number: int) -> None:
            lookout._sample([Worker("w", 1.0, 5, number, False), Worker("dead", 1.0, 5, 0, False)])

        for number in (1, 2, 3):
            beat(number)
            own.clock.advance(1.0)
        beat(3)
        assert lookout.age("w") == pytest.approx(1.0)
        assert lookout.age("dead") == pytest.approx(3.0)
        assert lookout.age("nobody") is None
        assert [age for _, age in lookout.samples("w")] == pytest.approx([0.0, 1.0, 1.0])
        assert [age for _, age in lookout.samples("dead")] == pytest.approx([2.0, 3.0])
        assert lookout.oldest()[-1][1] == pytest.approx(3.0)
        own.clock.advance(400)
        beat(4)
        assert lookout.samples("w")


def test_store_without_an_answer_is_nobodys_fault() -> None:
    """At the first look, too."""

    class Nothing:
        def workers(self) -> tuple[Epoch, LogEnd, tuple[()]]:
            raise StoreUnavailable("down")

    with gate() as own:
        lookout = Lookout(own)
        lookout.parts = (Nothing(),)  # type: ignore[assignment]
        lookout.ask()
        wait_for(lambda: lookout.is_away)
        assert list(lookout.events) == []


# --- pictures

NOW = 1_800_000_000.0


def test_picture_of_ages_lies_within_its_frame() -> None:
    """Cut where nobody looked; in words what it shows."""
    samples = [(NOW - 400, 9.0), *((NOW - 200 + second, 0.5) for second in range(50)), (NOW - 3, 4.0), (NOW - 2, 0.25)]
    chart = pictures.ages(samples, 1.0, NOW)
    assert len(chart.lines) == 2
    for line in chart.lines:
        for point in line.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= chart.width
            assert 0 <= y <= chart.height
    assert "0.25 s old at the end, 4 s at the most; a lease is 1 s" in chart.words
    assert [minute.ago for minute in chart.minutes] == [4, 3, 1]
    assert pictures.ages([], 1.0, NOW).words == "Nothing has been seen yet."


def test_picture_of_propagation_counts_what_was_late() -> None:
    """Half of them, the slowest, and those that never came."""
    seen = [Trip(NOW - 400, 9.0, 1), *(Trip(NOW - 10, seconds, 3) for seconds in (0.0001, 0.004, 0.02)), Trip(NOW, None, 0)]
    chart = pictures.trips(seen, NOW)
    assert [dot.is_open for dot in chart.dots] == [False, False, False, True]
    assert all(0 <= dot.x <= chart.width and 0 <= dot.y <= chart.height for dot in chart.dots)
    assert chart.words == "4 seen: half of them within 4 ms, the slowest took 20 ms, 1 had not reached every worker after 3 s."
    assert chart.minutes == (pictures.Minute(1, ("4", "4 ms", "20 ms", "1")),)
    assert "No ruling" in pictures.trips([], NOW).words
    assert pictures.trips([Trip(NOW, None, 0)], NOW).minutes[0].cells == ("1", "none", "none", "1")


def test_small_picture_takes_the_oldest_of_each_bucket() -> None:
    """One point for some seconds."""
    lines = pictures.sparkline([(NOW - second, float(second == 5)) for second in range(20, 0, -1)], 1.0, NOW)
    assert len(lines) == 1
    assert 4 <= len(lines[0].split()) <= 7


# --- words


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36 Edg/141.0",
            "Edge on Windows",
        ),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X) Version/18.2 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/141.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/18.0 Safari/605", "Safari on macOS"),
        ("curl/8.5.0", "curl"),
        ("my own thing", "my own thing"),
        ("a" * 600 + "Firefox/1", "a" * 600 + "Firefox/1"),
        ("Something (Windows)", "something on Windows"),
    ],
)
def test_user_agent_is_read_at_a_glance(user_agent: str, words: str) -> None:
    """What it names itself; what is not known stays as it is."""
    assert agent_in_words(user_agent) == words


def test_text_of_a_stranger_is_cut_and_spelt_out() -> None:
    """Before it is looked through, however long it is."""
    assert shown("a\u202eb\x00c") == r"a\u202eb\x00c"
    assert shown("é" * 10, 5) == "ééééé…"
    assert len(shown("\x00" * 10**6)) <= 201
