"""Keys that an issuer publishes: followed through rotation, outage and nonsense, without a request ever waiting for them."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from beside import beside, hung_up
from certificates import written
from keymaking import make_pairs
from published import Provider

import jwtgate.core.keys.fetching as key_fetching
from jwtgate import Gate, Settings
from jwtgate.core.keys.ring import AWAITED_SECONDS, KeyRing
from jwtgate.errors import JWTGateError, KeysUnavailable, SettingsError, UnknownKey, WrongIssuer
from jwtgate.runtime import fetching, list_fetching
from jwtgate.runtime.key_desk import KeyDesk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.server

BAD = ("fail", "hang", "drip", "headers", "html", "huge", "gzip", "redirect", "empty", "none")


@pytest.fixture
def provider() -> Iterator[Provider]:
    """One, that answers."""
    with Provider() as provider:
        yield provider


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of minutes; the bounds' order stays."""
    for name, seconds in {"COOL_DOWN_SECONDS": 1.0, "LEAST_LIFETIME_SECONDS": 0.5, "FIRST_PAUSE_SECONDS": 0.2}.items():
        monkeypatch.setattr(key_fetching, name, seconds)
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.5)


@contextmanager
def gate_of(provider: Provider, **settings: Any) -> Iterator[Gate]:
    """A gate that fetches the provider's set."""
    given = {"jwks_url": provider.url, "jwks_http": True, "issuer": provider.issuer, **settings}
    with closing(Gate(Settings(**given))) as gate:
        yield gate


def answer(gate: Gate, token: str) -> str:
    """``admitted``, or the reason."""
    try:
        gate.verify(token)
    except JWTGateError as error:
        return error.reason
    return "admitted"


def eventually(gate: Gate, token: str, wanted: str, seconds: float = 10.0) -> list[str]:
    """All answers until the one that is waited for."""
    answers = []
    deadline = time.monotonic() + seconds
    while (found := answer(gate, token)) != wanted:
        assert time.monotonic() < deadline, f"{found} in place of {wanted}"
        answers.append(found)
        time.sleep(0.02)
    return answers


def test_first_request_waits_for_the_first_keys(provider: Provider) -> None:
    """A WSGI worker has no start-up to wait in: nothing is known, and in a moment it will be."""
    with gate_of(provider) as gate:
        token = gate.verify(provider.token())
        assert token.subject == "alice" and gate.ready()
    assert len(provider.asked) == 1


def test_ready_waits_for_the_keys(provider: Provider) -> None:
    """A view that is live serves nobody without them."""
    provider.how = "hang"
    with gate_of(provider) as gate:
        assert not gate.ready(0.5) and gate.status().live
        provider.how = "answer"


def test_issuer_alone_is_enough(provider: Provider) -> None:
    """OpenID Connect Discovery 1.0 §4."""
    with gate_of(provider, jwks_url=None) as gate:
        assert answer(gate, provider.token()) == "admitted"


@pytest.mark.parametrize(
    "metadata", [{"issuer": "http://other"}, {"jwks_uri": None}, {"jwks_uri": "file:///etc/keys"}, {"jwks_uri": 7}]
)
def test_metadata_of_another_issuer_or_of_no_use_are_refused(
    provider: Provider, metadata: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """§4.3: the issuer must be the very one; the set is fetched by HTTP or not at all."""
    provider.metadata = metadata
    with gate_of(provider, jwks_url=None) as gate:
        assert answer(gate, provider.token()) == "keys_unavailable"
    assert provider.asked == [] and "the metadata" in caplog.text


@pytest.mark.parametrize("how", ["answer", "fail", "redirect"])
def test_secret_in_a_url_is_in_no_log(provider: Provider, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """threats.md 29, at any level and of any library; what the application itself fetches goes on being logged."""
    caplog.set_level(logging.DEBUG)
    provider.how = how
    url = provider.url.replace("//", "//user:hunter2pw@") + "?api_key=hunter2key"
    with gate_of(provider, jwks_url=url) as gate:
        assert answer(gate, provider.token()) in ("admitted", "keys_unavailable")
        assert len(provider.asked) >= 1 and "hunter2" not in caplog.text
    with httpx.Client() as client:
        client.get(provider.url)
    assert f"GET {provider.url}" in caplog.text


@pytest.mark.parametrize("how", ["refused", "unknown certificate"])
def test_why_there_is_no_connection_is_told(how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong port and a certificate of the operator's own authority look alike from afar, and are mended otherwise."""
    said = {"refused": "refused", "unknown certificate": "CERTIFICATE_VERIFY_FAILED"}[how]
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        port = server.getsockname()[1]
        if how == "refused":
            server.close()
        else:
            certificate, key, _ = written(tmp_path, "localhost")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            stack.enter_context(beside(partial(shake_hands, context, server), end=hung_up(server)))
        with closing(Gate(Settings(issuer=f"https://127.0.0.1:{port}"))) as gate:
            assert not gate.ready(1)
            deadline = time.monotonic() + 20
            while "no connection: " not in caplog.text:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    assert said in caplog.text


def shake_hands(context: ssl.SSLContext, server: socket.socket) -> None:
    """With everybody who comes, until the server is gone."""
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True):
                pass


@pytest.mark.parametrize("told", ["{}/", "http://keycloak:8080\r\nadmitted", "x" * 300, 7])
def test_issuer_that_the_metadata_name_is_told(provider: Provider, told: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A slash, or another name of the host: what has to be configured stands in the log, on one line and not too long."""
    told = told.format(provider.issuer) if isinstance(told, str) else told
    provider.metadata = {"issuer": told}
    with gate_of(provider, jwks_url=None) as gate:
        assert answer(gate, provider.token()) == "keys_unavailable"
    (line,) = {record.getMessage() for record in caplog.records if "another issuer" in record.getMessage()}
    assert line.isprintable() and len(line) < 400
    assert (f"another issuer, {ascii(told)}" in line) is (told != 7 and len(told) <= 256)


def test_rotation_is_followed_by_the_first_token_under_the_new_key(provider: Provider, quick: None) -> None:
    """Nobody is sent away with 401 for the provider's new key; the old one's tokens go on."""
    with gate_of(provider) as gate:
        old = provider.token()
        eventually(gate, old, "admitted")
        for _ in range(3):
            time.sleep(1.05)  # the set is older than a cool-down
            provider.rotate()
            assert set(eventually(gate, provider.token(), "admitted")) <= {"keys_unavailable"}
        assert answer(gate, old) == "admitted"
    assert len(provider.asked) >= 4


def test_rotation_is_followed_beside_a_key_that_takes_any_kid(provider: Provider, quick: None) -> None:
    """A key of somebody else's without a kid answers for the new one, too, and is the wrong one: the set is asked all the same."""
    pair = make_pairs()["p256"]
    with gate_of(provider, public_key=pair.public_pem) as gate:
        eventually(gate, provider.token(), "admitted")
        time.sleep(1.05)
        provider.rotate()
        assert set(eventually(gate, provider.token(), "admitted")) <= {"bad_signature"}
        claims = {"sub": "bob", "iss": provider.issuer, "exp": int(time.time()) + 600}
        assert answer(gate, jwt.encode(claims, pair.private, "ES256", headers={"kid": "other"})) == "admitted"


def test_key_that_is_published_no_longer_takes_its_remembered_tokens_along(provider: Provider, quick: None) -> None:
    """Within the lifetime of the set, without any request asking for it."""
    provider.max_age = 1
    with gate_of(provider) as gate:
        old = provider.token()
        eventually(gate, old, "admitted")
        provider.rotate(keep=False)
        deadline = time.monotonic() + 10
        while answer(gate, old) == "admitted":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        eventually(gate, provider.token(), "admitted")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each fetch began, by the clock that decides it: on a busy machine a request comes later than that."""
    begun: list[float] = []
    began = key_fetching.KeyFetching.began

    def noting(self: key_fetching.KeyFetching, now: float) -> None:
        begun.append(now)
        began(self, now)

    monkeypatch.setattr(key_fetching.KeyFetching, "began", noting)
    return begun


def test_fault_of_our_own_does_not_end_the_fetching(
    provider: Provider, quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else sees to it that keys grow too old to be used."""
    faults = iter([ZeroDivisionError("of ours")])
    succeeded = key_fetching.KeyFetching.succeeded

    def failing(self: key_fetching.KeyFetching, now: float, lifetime_seconds: float) -> None:
        for fault in faults:
            raise fault
        succeeded(self, now, lifetime_seconds)

    monkeypatch.setattr(key_fetching.KeyFetching, "succeeded", failing)
    with gate_of(provider) as gate:
        eventually(gate, provider.token(), "admitted")
        deadline = time.monotonic() + 10
        while len(provider.asked) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert "goes on" in caplog.text and "ZeroDivisionError" in caplog.text


def test_fetching_that_failed_by_our_own_fault_is_repeated_unasked(
    provider: Provider, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who has a token of an unknown key need come by for that."""
    faults = iter([ZeroDivisionError("of ours")])
    install = KeyDesk.fetch

    def failing(self: KeyDesk, issuer: str | None, ring: KeyRing) -> None:
        for fault in faults if ring.keys else ():
            raise fault
        install(self, issuer, ring)

    monkeypatch.setattr(KeyDesk, "fetch", failing)
    with gate_of(provider) as gate:
        gate.start()
        deadline = time.monotonic() + 10
        while len(provider.asked) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert gate.ready(10.0), "what was asked for comes, or is asked for again"
        assert eventually(gate, provider.token(), "admitted") == []


def test_keys_that_are_too_old_go_whatever_failed_at_that(
    provider: Provider, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again."""
    install, tried = KeyDesk.fetch, list[bool]()

    def failing(self: KeyDesk, issuer: str | None, ring: KeyRing) -> None:
        if not ring.keys:
            tried.append(True)
            if len(tried) == 2:  # the first is of the start
                raise ZeroDivisionError
        install(self, issuer, ring)

    monkeypatch.setattr(KeyDesk, "fetch", failing)
    provider.max_age = 0
    with gate_of(provider, jwks_stale=0) as gate:
        token = provider.token()
        eventually(gate, token, "admitted")
        provider.how = "fail"
        eventually(gate, token, "keys_unavailable")
        assert len(tried) > 2


@pytest.mark.parametrize("kind", ["keys", "lists"])
def test_fault_that_stays_keeps_no_processor_busy(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where somebody woke the thread, and it never came to note that."""
    module: Any = {"keys": fetching, "lists": list_fetching}[kind]
    made: Any = {"keys": fetching._Run, "lists": list_fetching.ListRun}[kind]
    run = made.__new__(made)
    run.is_stopped, run._woken, left = False, threading.Event(), [3]
    run.wake()

    def step() -> None:
        left[0] -= 1
        run.is_stopped = not left[0]
        raise ZeroDivisionError

    run._step = step
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)
    began = time.monotonic()
    run._live()
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize("how", ["answer", "fail", "hang"])
def test_unknown_kids_cause_one_fetch_per_cool_down(
    provider: Provider, quick: None, monkeypatch: pytest.MonkeyPatch, begun: list[float], how: str
) -> None:
    """Anybody can invent a kid; known ones are served meanwhile."""
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 5.0)  # the first one comes, however busy the machine is
    known = provider.token()
    forged = [provider.forged(number) for number in range(200)]
    with gate_of(provider) as gate:
        assert answer(gate, known) == "admitted"
        monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.5)
        time.sleep(1.05)
        provider.how = how
        first = len(provider.asked)
        assert first == len(begun)
        began = time.monotonic()
        answers = set[str]()
        while time.monotonic() - began < 3.0 or len(begun) < first + 2 or (how == "answer" and "unknown_key" not in answers):
            assert time.monotonic() - began < 30.0, "unknown kids cause no second fetch"
            for each in forged:
                answers.add(answer(gate, each))
            assert answer(gate, provider.token("bob")) == "admitted"
    assert all(later - earlier > 0.999 for earlier, later in zip(begun, begun[1:], strict=False))
    assert 1 <= len(provider.asked) - first <= len(begun) - first
    assert answers <= {"unknown_key", "keys_unavailable"}
    assert ("unknown_key" in answers) is (how == "answer")


@pytest.mark.parametrize("how", BAD)
def test_last_good_set_stays_whatever_comes(
    provider: Provider, quick: None, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Past its lifetime, up to the stale bound: no failure of a known kid, one log line, and all is well again by itself."""
    provider.max_age = 1
    with gate_of(provider, jwks_stale=60) as gate:
        eventually(gate, provider.token(), "admitted")
        provider.how = how
        began = time.monotonic()
        while time.monotonic() - began < 2.5 or len(provider.asked) < 2:
            assert time.monotonic() - began < 30.0, "nobody fetches again"
            assert answer(gate, provider.token(str(time.monotonic()))) == "admitted"
        provider.rotate()
        provider.how = "answer"
        eventually(gate, provider.token(), "admitted")
    told = [
        record.message for record in caplog.records if record.levelno == logging.WARNING and "not fetched" in record.message
    ]
    assert all(text != following for text, following in pairwise(told))
    # A busy machine is late, too, now and then.
    assert len({text for text in told if how in {"hang", "drip"} or "in time" not in text}) <= 2


@pytest.mark.parametrize("how", ["fail", "headers"])
def test_set_that_is_too_old_serves_no_longer(provider: Provider, quick: None, how: str) -> None:
    """The stale bound: 503, never 401, also for what is remembered; then it recovers alone."""
    provider.max_age = 1
    with gate_of(provider, jwks_stale=1) as gate:
        token = provider.token()
        eventually(gate, token, "admitted")
        provider.how = how
        began = time.monotonic()
        assert set(eventually(gate, token, "keys_unavailable")) <= {"admitted"}
        assert 1.0 < time.monotonic() - began < 4.0
        provider.how = "answer"
        assert set(eventually(gate, token, "admitted")) <= {"keys_unavailable"}


def test_cold_start_with_the_provider_down_is_503_and_recovers_alone(provider: Provider, quick: None) -> None:
    """And no request after the first fetch waits for the next one."""
    provider.how = "fail"
    with gate_of(provider) as gate:
        token = provider.token()
        assert answer(gate, token) == "keys_unavailable"
        began = time.monotonic()
        assert answer(gate, token) == "keys_unavailable"
        assert time.monotonic() - began < AWAITED_SECONDS / 4
        provider.how = "answer"
        assert set(eventually(gate, token, "admitted")) <= {"keys_unavailable"}


def test_one_bad_key_never_loses_the_set(provider: Provider) -> None:
    """RFC 7517 §5; a secret, a key for encryption and a rival of the same name are left out."""
    encrypting = {"kty": "EC", "use": "enc", "kid": "enc"}
    secret = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "oct"}
    provider.extra = [encrypting, secret, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, 7, None]
    with gate_of(provider) as gate:
        assert answer(gate, provider.token()) == "admitted"


def test_algorithm_that_nobody_publishes_is_refused_for_free(provider: Provider) -> None:
    """No fetch, no 503: none can come."""
    with gate_of(provider, algorithms=["ES256"]) as gate:
        assert answer(gate, provider.token()) == "admitted"
        rsa = make_pairs()["rsa"].private
        claims = {"sub": "eve", "iss": provider.issuer, "exp": int(time.time()) + 600}
        for token in (
            jwt.encode(claims, rsa, "RS256", headers={"kid": "x"}),
            jwt.encode(claims, "k" * 40, "HS256", headers={"kid": provider.kid}),
        ):
            with pytest.raises(UnknownKey):
                gate.verify(token)
    assert len(provider.asked) == 1


def test_own_key_signs_beside_published_ones(provider: Provider) -> None:
    """And needs none of them."""
    provider.how = "fail"
    with gate_of(provider, private_key=make_pairs()["ed25519"].private_pem) as gate:
        own = gate.issue("alice")
        assert answer(gate, own) == "admitted"
        assert answer(gate, provider.token()) == "keys_unavailable"


def test_issuers_fetch_each_their_own(quick: None) -> None:
    """One that hangs delays nobody else; keys belong to their issuer."""
    with Provider() as one, Provider() as other:
        other.how = "hang"
        issuers = [{"issuer": one.issuer, "jwks_url": one.url}, {"issuer": other.issuer}]
        with closing(Gate(Settings(issuers=issuers, jwks_http=True))) as gate:
            eventually(gate, one.token(), "admitted")
            assert answer(gate, other.token()) == "keys_unavailable"
            assert answer(gate, one.token(iss=other.issuer)) == "keys_unavailable"
            other.how = "answer"
            eventually(gate, other.token(), "admitted")
            assert answer(gate, one.token(iss=other.issuer)) in ("unknown_key", "keys_unavailable")
            with pytest.raises(WrongIssuer):
                gate.verify(one.token(iss="http://third"))


def test_token_is_revoked_before_any_request_has_come(provider: Provider) -> None:
    """Its signature must verify, so its keys must have come."""
    with gate_of(provider) as gate:
        token = provider.token()
        assert gate.revoke(token=token).position
        assert answer(gate, token) == "revoked"


def test_half_of_the_threads_is_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The issuer that has one is served, the other one's tokens get 503."""
    with Provider() as one, Provider() as other:
        begun = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if thread.name == "jwtgate-keys" and sum(each.name == "jwtgate-keys" for each in threading.enumerate()):
                raise RuntimeError("can't start new thread")
            begun(thread)

        monkeypatch.setattr(threading.Thread, "start", start)
        issuers = [{"issuer": provider.issuer} for provider in (one, other)]
        with closing(Gate(Settings(issuers=issuers, jwks_http=True))) as gate:
            assert answer(gate, one.token()) == "admitted"
            for _ in range(3):
                assert answer(gate, other.token()) == "keys_unavailable"
    assert caplog.text.count("no thread to fetch keys") == 1


def test_forked_child_fetches_for_itself(provider: Provider) -> None:
    """Threads do not fork."""
    with gate_of(provider) as gate:
        assert answer(gate, provider.token()) == "admitted"
        child = os.fork()
        if child == 0:
            code = 9
            try:
                code = 0 if answer(gate, provider.token("bob")) == "admitted" else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(provider.asked) == 2


def test_gate_that_is_closed_fetches_again_when_it_is_used(provider: Provider) -> None:
    """Interface §2: the next use starts again."""
    with gate_of(provider) as gate:
        assert answer(gate, provider.token()) == "admitted"
        gate.close()
        assert answer(gate, provider.token("bob")) == "admitted"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"jwks_url": "http://idp/jwks"}, "JWTGATE_JWKS_URL is fetched by http"),
        ({"jwks_url": "ftp://idp/jwks"}, "JWTGATE_JWKS_URL is 'ftp://idp/jwks'"),
        ({"jwks_url": "https://u:hunter2pw@/jwks"}, "JWTGATE_JWKS_URL"),
        ({"jwks_url": "https://idp/jwks", "jwks_file": "x.json"}, "JWTGATE_JWKS_FILE is set beside JWTGATE_JWKS_URL"),
        ({"issuer": "http://idp"}, "JWTGATE_ISSUER is fetched by http"),
        ({"issuers": [{"issuer": "a", "jwks_url": "http://a/jwks"}]}, "JWTGATE_ISSUERS[0].jwks_url is fetched by http"),
        ({"issuers": [{"issuer": "a"}]}, "JWTGATE_ISSUERS[0] has no key"),
    ],
)
def test_mistakes_are_told_at_once(settings: dict[str, Any], said: str) -> None:
    """By name, without a password."""
    with pytest.raises(SettingsError) as caught:
        Settings(**settings)
    assert any(said in mistake for mistake in caught.value.mistakes)
    assert "hunter2pw" not in str(caught.value)


def test_missing_library_is_told_with_the_line_that_brings_it(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """At start, not at the first request."""
    found: Callable[[str], object | None] = lambda _: None  # noqa: E731
    monkeypatch.setattr(fetching, "find_spec", found)
    with pytest.raises(SettingsError, match=r"pip install 'jwtgate\[jwks\]'"):
        Gate(Settings(jwks_url=provider.url, jwks_http=True))
    assert Gate(Settings(secret="k" * 40)).settings.jwks_url is None


def test_keys_unavailable_is_503_with_retry_after(provider: Provider) -> None:
    """Interface §4: never 401 for the provider's fault."""
    provider.how = "fail"
    with gate_of(provider) as gate, pytest.raises(KeysUnavailable) as caught:
        gate.verify(provider.token())
    assert (caught.value.status, caught.value.challenge) == (503, None)
