"""What was looked up before a revocation is never remembered after it (R3), made deterministic: the look-up stands still."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from beside import beside
from processes.gates import heal, started
from processes.world import wait_until

from jwtgate.core.followed import Followed
from jwtgate.core.keys.material import ALGORITHMS
from jwtgate.errors import JWTGateError, Revoked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from servers import Server

    from jwtgate import Gate
    from jwtgate.core.history import Facts

pytestmark = pytest.mark.server

_subjects = count()

LEASE = 5.0
"""Long, so that nothing here ends by time. The store is healed by a process with a shorter one."""

PATIENCE_SECONDS = 20.0


class Hold:
    """A point that one thread reaches and stands at until it is let go."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.reached = threading.Event()
        self.let_go = threading.Event()
        self.is_on = False

    def stand(self) -> None:
        if self.is_on:
            self.reached.set()
            assert self.let_go.wait(PATIENCE_SECONDS)


class HeldStore:
    """A store whose look-ups stand still after the server has answered."""

    def __init__(self, store: Any, hold: Hold) -> None:
        self._store = store
        self._hold = hold

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        facts = self._store.look_up(digests, sids)
        self._hold.stand()
        return facts  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class HeldAlgorithm:
    """An algorithm whose verification stands still before it starts."""

    def __init__(self, algorithm: Any, hold: Hold) -> None:
        self._algorithm = algorithm
        self._hold = hold

    def verify(self, *arguments: Any) -> bool:
        self._hold.stand()
        return self._algorithm.verify(*arguments)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._algorithm, name)


@pytest.fixture(scope="module")
def gates(module_valkey: Server) -> Iterator[dict[str, Gate]]:
    """Processes of one store, three of which know less than all rulings: their views are live and incomplete."""
    heal(module_valkey)
    limits = {"other": 1000, "complete": 1000, "knows none": 0, "knows one": 1}
    with ExitStack() as stack:
        gates = {
            name: stack.enter_context(started(module_valkey.url, lease=LEASE, view_limit=limit))
            for name, limit in limits.items()
        }
        for number in range(2):
            gates["other"].revoke(jti=f"another {number}", wait=True)
        yield gates


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> str:
    """Of this test alone, also where it is asked once more: the first time may have suspended him."""
    return f"{request.node.name} {next(_subjects)}"


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Let go at the end, whatever happens."""
    with ExitStack() as stack:
        yield Hold(stack)


TARGETS: dict[str, Callable[[Gate, str, str], Any]] = {
    "token": lambda gate, token, subject: gate.revoke(token=token, wait=True),
    "sub": lambda gate, token, subject: gate.revoke(sub=subject, wait=True),
    "tenant": lambda gate, token, subject: gate.revoke(claim=("tenant", subject), wait=True),
    "everything": lambda gate, token, subject: gate.revoke(everything=True, wait=True),
    "suspend": lambda gate, token, subject: gate.suspend(subject, wait=True),
}


def held_verification(gate: Gate, token: str, hold: Hold) -> tuple[threading.Thread, list[Any]]:
    """A request that has its facts and stands still."""
    answers: list[Any] = []

    def verify() -> None:
        try:
            answers.append(gate.verify(token))
        except JWTGateError as error:
            answers.append(error)

    hold.is_on = True
    (thread,) = hold.stack.enter_context(beside(verify, end=hold.let_go.set))
    assert hold.reached.wait(PATIENCE_SECONDS)
    hold.is_on = False
    return thread, answers


def remembered(gate: Gate, token: str) -> object:
    """What the hot path would find."""
    return gate.view.admitted.get(gate.decision.key_of(token.encode(), None))


def assert_never_remembered(gate: Gate, token: str, hold: Hold, thread: threading.Thread, answers: list[Any]) -> None:
    """The request that began before the revocation may pass; no later one does."""
    hold.let_go.set()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert len(answers) == 1
    assert remembered(gate, token) is None
    with pytest.raises(Revoked):
        gate.verify(token)


def holding(gate: Gate, hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate's look-ups stand at ``hold`` from now on."""
    monkeypatch.setattr(gate.performer, "store", HeldStore(gate.store, hold))


@pytest.mark.parametrize("revoking", ["here", "elsewhere"])
@pytest.mark.parametrize("knowing", ["knows none", "knows one"])
@pytest.mark.parametrize("target", TARGETS)
def test_look_up_held_over_a_revocation_is_not_remembered(
    gates: dict[str, Gate],
    hold: Hold,
    monkeypatch: pytest.MonkeyPatch,
    subject: str,
    target: str,
    knowing: str,
    revoking: str,
) -> None:
    """A live but incomplete view asks the store; the answer comes after the ruling was applied here."""
    gate, other = gates[knowing], gates["other"]
    assert not gate.status().complete
    holding(gate, hold, monkeypatch)
    token = other.issue(subject, claims={"tenant": subject})
    thread, answers = held_verification(gate, token, hold)
    assert TARGETS[target]({"here": gate, "elsewhere": other}[revoking], token, subject).effective_everywhere
    assert_never_remembered(gate, token, hold, thread, answers)


def test_look_up_held_over_another_revocation_is_remembered(
    gates: dict[str, Gate], hold: Hold, monkeypatch: pytest.MonkeyPatch, subject: str
) -> None:
    """The counter-example: with no ruling on its handles in between, the late answer may be kept."""
    gate, other = gates["knows none"], gates["other"]
    holding(gate, hold, monkeypatch)
    token = other.issue(subject)
    thread, _ = held_verification(gate, token, hold)
    other.revoke(jti="a third", wait=True)
    hold.let_go.set()
    thread.join(PATIENCE_SECONDS)
    assert remembered(gate, token) is not None


@pytest.mark.parametrize("target", TARGETS)
def test_look_up_of_a_lapsed_lease_is_not_remembered_after_a_revocation(
    gates: dict[str, Gate], hold: Hold, monkeypatch: pytest.MonkeyPatch, subject: str, target: str
) -> None:
    """The lease lapses, the look-up is sent, the follower comes back and applies the ruling, the answer comes."""
    gate, other = gates["complete"], gates["other"]
    holding(gate, hold, monkeypatch)
    token = other.issue(subject, claims={"tenant": subject})
    before = gate.view.parts[0].granted_at
    other.revoke(jti=f"{subject} wakes the follower", wait=True)  # a new blocking read begins: the lease lapses for 1.5 s
    wait_until(lambda: gate.view.parts[0].granted_at != before, PATIENCE_SECONDS, "the lease of the read before")
    Followed(gate.view).fence()
    thread, answers = held_verification(gate, token, hold)
    assert TARGETS[target](other, token, subject).effective_everywhere
    wait_until(lambda: gate.status().live, PATIENCE_SECONDS, "the lease is back")
    assert_never_remembered(gate, token, hold, thread, answers)


@pytest.mark.parametrize("revoking", ["here", "elsewhere"])
@pytest.mark.parametrize("target", TARGETS)
def test_slow_verification_is_not_remembered_after_a_revocation(
    gates: dict[str, Gate], hold: Hold, monkeypatch: pytest.MonkeyPatch, subject: str, target: str, revoking: str
) -> None:
    """The view had no ruling; while the signature is verified one comes."""
    gate, other = gates["complete"], gates["other"]
    monkeypatch.setitem(ALGORITHMS, "HS256", HeldAlgorithm(ALGORITHMS["HS256"], hold))
    token = other.issue(subject, claims={"tenant": subject})
    thread, answers = held_verification(gate, token, hold)
    assert TARGETS[target]({"here": gate, "elsewhere": other}[revoking], token, subject).effective_everywhere
    assert_never_remembered(gate, token, hold, thread, answers)


def test_slow_verification_is_not_remembered_after_lost_history(
    valkey: Server, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R3: its facts are of an epoch that is over."""
    lease = 0.2
    monkeypatch.setitem(ALGORITHMS, "HS256", HeldAlgorithm(ALGORITHMS["HS256"], hold))
    with started(valkey.url, lease=lease) as gate, started(valkey.url, lease=lease) as other:
        token = other.issue("alice")
        thread, answers = held_verification(gate, token, hold)
        epoch = gate.store.workers()[0].name
        with valkey.client() as client:
            client.flushall()
        assert other.suspend("alice", wait=True).effective_everywhere
        wait_until(
            lambda: gate.status().live and gate.view.parts[0].epoch != epoch, PATIENCE_SECONDS, "the new epoch is loaded"
        )
        assert_never_remembered(gate, token, hold, thread, answers)
