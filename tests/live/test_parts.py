"""A WSGI response in parts: no part is sent once the token is dead."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest
from flask import Flask, Response

from jwtgate import testing
from jwtgate.wsgi import JWTGateMiddleware


@pytest.fixture
def gate() -> Iterator[testing.FixtureGate]:
    """Live, on a clock that stands still."""
    with testing.gate() as gate:
        yield gate


def called(gate: Any, app: Any, token: str, path: str = "/") -> Any:
    """What the server is to iterate over."""
    environ: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {token}", "PATH_INFO": path, "wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    return JWTGateMiddleware(app, gate=gate)(environ, lambda *_: lambda _: None)


class Ticks:
    """An endless response, and whether it was closed."""

    def __init__(self) -> None:
        self.made = 0
        self.is_closed = False

    def __call__(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return self

    def __iter__(self) -> Ticks:
        return self

    def __next__(self) -> bytes:
        self.made += 1
        return b"data: %d\n\n" % self.made

    def close(self) -> None:
        self.is_closed = True


def test_next_part_after_the_ruling_is_not_sent(gate: Any) -> None:
    """The response ends, and nothing is left of it."""
    ticks = Ticks()
    parts = called(gate, ticks, gate.token_for("alice"))
    assert [next(parts) for _ in range(3)] == [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]
    assert len(gate.view.live) == 1
    gate.revoke(sub="alice")
    assert list(parts) == []
    parts.close()
    assert ticks.is_closed and len(gate.view.live) == 0 and gate.tally.ended == {"revoked": 1}


def test_expiry_and_an_outage_end_it_too(gate: Any) -> None:
    """At its deadline; and once nobody can know."""
    parts = called(gate, Ticks(), gate.token_for("alice", ttl=60))
    next(parts), next(parts)
    gate.clock.advance(59)
    next(parts)
    gate.clock.advance(1)
    assert list(parts) == []
    parts.close()
    parts = called(gate, Ticks(), gate.token_for("bob"))
    next(parts), next(parts)
    with gate.faults.fail():
        assert list(parts) == []
    parts.close()


def test_one_part_is_an_answer_and_not_looked_at_again(gate: Any) -> None:
    """Nothing is listed for it."""
    app = Flask("app")
    app.get("/", endpoint="whole")(lambda: "hello")
    app.get("/parts")(lambda: Response(iter(["one", "two"])))
    parts = called(gate, app, gate.token_for("alice"))
    gate.revoke(sub="bob")
    assert b"".join(parts) == b"hello" and len(gate.view.live) == 0
    parts.close()
    parts = called(gate, app, gate.token_for("alice"), "/parts")
    assert b"".join(parts) == b"onetwo"
    parts.close()
    assert len(gate.view.live) == 0


@pytest.mark.parametrize("made", [lambda: [b"a", b"b"], lambda: (b"a", b"b"), lambda: FileWrapper(io.BytesIO(b"ab"))])
def test_what_is_whole_or_a_file_is_handed_on_as_it_is(gate: Any, made: Any) -> None:
    """Servers ask for its length, or send the file themselves."""
    whole = made()
    assert called(gate, lambda _environ, _start: whole, gate.token_for("alice")) is whole


class Sized(Ticks):
    """Endless all the same."""

    def __len__(self) -> int:
        return 3


def test_what_has_a_length_but_comes_in_parts_ends_too(gate: Any) -> None:
    """A server asks whether it is one part, and nothing else."""
    parts = called(gate, Sized(), gate.token_for("alice"))
    next(parts), next(parts)
    gate.revoke(sub="alice")
    assert next(parts, None) is None


@pytest.mark.parametrize("left", [None, "Bearer {bob}", "Bearer of nothing"])
@pytest.mark.parametrize("requests", [1, 2])
def test_application_that_writes_over_its_environ_streams_no_longer_for_it(gate: Any, left: str | None, requests: int) -> None:
    """What counts is the token that was admitted, decided about or hit."""
    token, bob = gate.token_for("alice"), gate.token_for("bob")

    class Stripping(Ticks):
        def __call__(self, environ: Any, start_response: Any) -> Any:
            del environ["HTTP_AUTHORIZATION"]
            if left is not None:
                environ["HTTP_AUTHORIZATION"] = left.format(bob=bob)
            return super().__call__(environ, start_response)

    for _ in range(requests):
        parts = called(gate, Stripping(), token)
    assert [next(parts) for _ in range(3)][-1] == b"data: 3\n\n"
    gate.revoke(sub="alice")
    assert next(parts, None) is None


def test_path_is_the_one_that_the_request_came_with() -> None:
    """A dispatcher within the application shifts it (PEP 3333, ``shift_path_info``)."""

    class Mounted(Ticks):
        def __call__(self, environ: Any, start_response: Any) -> Any:
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/admin", "/feed/a"
            return super().__call__(environ, start_response)

    with testing.gate(live=("close", "/feed/*=ignore")) as gate:
        parts = called(gate, Mounted(), gate.token_for("alice"), "/admin/feed/a")
        next(parts), next(parts)
        gate.revoke(sub="alice")
        assert next(parts, None) is None


def test_what_has_ended_stays_ended_and_is_listed_no_longer(gate: Any) -> None:
    """Also where nobody closes it, and where the store is back."""
    parts = called(gate, Ticks(), gate.token_for("alice"))
    next(parts), next(parts)
    with gate.faults.fail():
        assert next(parts, None) is None
    assert next(parts, None) is None and len(gate.view.live) == 0
    parts = called(gate, lambda _environ, _start: iter([b"one", b"two"]), gate.token_for("alice"))
    assert list(parts) == [b"one", b"two"] and len(gate.view.live) == 0


def test_path_may_be_left_alone() -> None:
    """``LIVE``."""
    with testing.gate(live=("close", "/feed/*=ignore")) as gate:
        parts = called(gate, Ticks(), gate.token_for("alice"), "/feed/a")
        next(parts), next(parts)
        gate.revoke(sub="alice")
        assert next(parts) == b"data: 3\n\n"


def test_what_nobody_closes_is_listed_no_longer(gate: Any) -> None:
    """A middleware that is a generator closes nothing when its client leaves."""

    def around(parts: Any) -> Iterator[bytes]:
        yield from iter(lambda: next(parts), None)

    outer = around(called(gate, Ticks(), gate.token_for("alice")))
    assert [next(outer) for _ in range(2)] == [b"data: 1\n\n", b"data: 2\n\n"]
    assert len(gate.view.live) == 1
    del outer
    assert len(gate.view.live) == 0 and not gate.view.live._index
