"""Refreshes that race each other, a logout, a crash and a lost store, in real processes on a real server (interface §5)."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from processes.checker import Decision, Revocation, check
from processes.racers import Call, Outcome, Pair, Racers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Server

pytestmark = pytest.mark.server

LEASE = 1.0
SPREAD_SECONDS = 0.004
"""A refresh takes about a millisecond: within this both orders come often."""


@pytest.fixture(scope="module")
def racers() -> Iterator[Racers]:
    """Four processes, two of each face; a test gives them a store and settings."""
    with Racers(4) as racers:
        yield racers


def soon(offset: float = 0.0) -> float:
    """Late enough for every process to be waiting."""
    return time.monotonic() + 0.05 + offset


def answered(outcomes: list[list[Outcome]], *, refusals: frozenset[str] = frozenset()) -> list[list[Outcome]]:
    """All of them, and no refusal but these. What the store of a busy machine did not answer in time is told as such."""
    assert errors_of(outcomes) <= {*refusals, "StoreUnavailable"}
    failed = [outcome for each in outcomes for outcome in each if outcome.error == "StoreUnavailable"]
    assert failed == [], f"{len(failed)} of {sum(map(len, outcomes))} calls failed"
    return outcomes


def logged_in(racers: Racers, subjects: list[str], **named: Any) -> list[Pair]:
    """A session of each, made by the first process."""
    (outcomes,) = answered(racers.race([Call(0.0, "sessions.start", (sub,), named) for sub in subjects]))
    return [outcome.value for outcome in outcomes]


def pairs_of(outcomes: list[list[Outcome]]) -> set[Pair]:
    """All that were handed out."""
    return {outcome.value for each in outcomes for outcome in each if isinstance(outcome.value, Pair)}


def errors_of(outcomes: list[list[Outcome]]) -> set[str]:
    """The refusals there were."""
    return {outcome.error for each in outcomes for outcome in each if outcome.error}


def assert_dead(racers: Racers, pairs: set[Pair], *, refresh: frozenset[str] = frozenset({"GrantError"})) -> None:
    """Neither token of any pair works in any process, and the session is on no list of live ones."""
    access = racers.everywhere([Call(0.0, "verify", (pair.access_token,)) for pair in pairs])
    refreshed = racers.everywhere([Call(0.0, "sessions.refresh", (pair.refresh_token,)) for pair in pairs])
    assert [outcome for each in (*access, *refreshed) for outcome in each if not outcome.error] == []
    answered(access, refusals=frozenset({"Revoked"}))
    answered(refreshed, refusals=refresh)


def assert_works(racers: Racers, pair: Pair, sub: str) -> None:
    """In every process; and it is the only session of its subject."""
    access = answered(racers.everywhere([Call(0.0, "verify", (pair.access_token,)), Call(0.0, "sessions.list", (sub,))]))
    assert [[outcome.value for outcome in each] for each in access] == [[pair.sid, [pair.sid]]] * len(racers.lines)
    ((refreshed,),) = answered(racers.race([Call(0.0, "sessions.refresh", (pair.refresh_token,))]))
    assert refreshed.value.sid == pair.sid


# --- racers among themselves


def test_racers_in_several_processes_get_one_pair(racers: Racers, module_valkey: Server) -> None:
    """RFC 9700 §4.14.2: of any number of racers one rotates, all hold its pair, nobody is logged out."""
    racers.use(module_valkey.url, lease=LEASE)
    subjects = [f"user-{number}" for number in range(60)]
    first = logged_in(racers, subjects)
    at = soon(0.1)
    shown = [Call(at + 0.004 * number, "sessions.refresh", (pair.refresh_token,)) for number, pair in enumerate(first)]
    outcomes = answered(racers.everywhere([call for call in shown for _ in range(2)]))
    met = 0
    for number, sub in enumerate(subjects):
        same = [outcome for each in outcomes for outcome in each[2 * number : 2 * number + 2]]
        assert len({outcome.value for outcome in same}) == 1
        met += max(outcome.began for outcome in same) < min(outcome.ended for outcome in same)
        if number % 10 == 0:
            assert_works(racers, same[0].value, sub)
    assert met > 10, f"only {met} of {len(subjects)} truly raced"


# --- a refresh that races an ending


def race_with(
    racers: Racers,
    pairs: list[Pair],
    ending: Callable[[Pair, int], tuple[str, tuple[Any, ...], dict[str, Any]]],
    refusals: frozenset[str],
) -> tuple[set[Pair], set[str]]:
    """Three processes refresh each session about when the fourth ends it. Returns what was handed out, and the refusals."""
    at = soon(0.2)
    refreshes: list[list[Call]] = [[], [], []]
    ends = []
    for number, pair in enumerate(pairs):
        when = at + number * 3 * SPREAD_SECONDS
        name, positional, named = ending(pair, number)
        ends.append(Call(when + random.uniform(-SPREAD_SECONDS, SPREAD_SECONDS), name, positional, {**named, "wait": True}))
        for own in refreshes:
            own.append(Call(when + random.uniform(-SPREAD_SECONDS, SPREAD_SECONDS), "sessions.refresh", (pair.refresh_token,)))
    outcomes = racers.race(*refreshes, ends)
    answered(outcomes[3:])
    assert {outcome.value for outcome in outcomes[3]} == {True}, "each receipt says that it holds everywhere"
    return pairs_of(outcomes[:3]), errors_of(answered(outcomes[:3], refusals=refusals))


ENDINGS: dict[str, tuple[Callable[[Pair, int], Any], frozenset[str]]] = {
    "sessions.end": (lambda pair, _: ("sessions.end", (pair.sid,), {}), frozenset({"GrantError"})),
    "revoke sub": (lambda _, number: ("revoke", (), {"sub": f"user-{number}"}), frozenset({"GrantError"})),
    "end_all": (lambda _, number: ("sessions.end_all", (f"user-{number}",), {}), frozenset({"GrantError"})),
    "revoke sid": (lambda pair, _: ("revoke", (), {"sid": pair.sid}), frozenset({"GrantError"})),
    "suspend": (lambda _, number: ("suspend", (f"user-{number}",), {}), frozenset({"SubjectSuspended"})),
}


@pytest.mark.parametrize("name", list(ENDINGS))
def test_refresh_never_outlives_an_ending_that_it_races(racers: Racers, module_valkey: Server, name: str) -> None:
    """Interface §5: in both orders, afterwards no pair that was ever handed out works, in any process."""
    ending, refusals = ENDINGS[name]
    racers.use(module_valkey.url, lease=LEASE)
    first = logged_in(racers, [f"user-{number}" for number in range(60)])
    handed_out, errors = race_with(racers, first, ending, refusals)
    assert len(handed_out) > 5, "a refresh never came first"
    assert errors, "an ending never came first"
    assert_dead(racers, {*first, *handed_out}, refresh=refusals)


def test_refresh_never_outlives_the_end_of_everything(racers: Racers, module_valkey: Server) -> None:
    """Likewise; one call ends all sessions, so it is raced once a round."""
    racers.use(module_valkey.url, lease=LEASE)
    came_first = {"refresh": 0, "ending": 0}
    for number in range(12):
        first = logged_in(racers, [f"user-{number}-{each}" for each in range(8)])
        at = soon(0.05)
        shown = [
            Call(at + random.uniform(-SPREAD_SECONDS, SPREAD_SECONDS), "sessions.refresh", (pair.refresh_token,))
            for pair in first
        ]
        outcomes = racers.race(shown, shown, shown, [Call(at, "revoke", (), {"everything": True, "wait": True})])
        answered(outcomes[3:])
        assert [outcome.value for outcome in outcomes[3]] == [True]
        answered(outcomes[:3], refusals=frozenset({"GrantError"}))
        handed_out = pairs_of(outcomes[:3])
        came_first["refresh"] += len(handed_out)
        came_first["ending"] += len(errors_of(outcomes[:3]))
        assert_dead(racers, {*first, *handed_out})
    assert min(came_first.values()) > 0, came_first


# --- a process that dies


def test_client_of_a_killed_process_asks_again(module_valkey: Server) -> None:
    """Interface §5: an answer that was lost can be asked for in the grace, and no session is lost with the process."""
    kills = 4
    with Racers(kills + 1) as racers:
        racers.use(module_valkey.url, lease=LEASE)
        subjects = [f"user-{number}" for number in range(kills)]
        held = logged_in(racers, subjects)
        for number in range(kills):
            racers.lines[number].send(("chain", held[number].refresh_token, None))
        heard: list[list[Any]] = [[] for _ in range(kills)]
        racers.listen_until(lambda answers: len(answers) > 5, heard, "each refreshes")
        for number in range(kills):
            racers.listen(random.uniform(0.0, 0.2), heard)
            racers.kill(number)
        racers.listen(0.2, heard)
        assert {type(answer) for each in heard for answer in each} == {Pair}
        held = [each[-1] for each in heard]
        for pair, sub in zip(held, subjects, strict=True):
            line = racers.lines[kills]
            line.send(("race", [Call(0.0, "sessions.refresh", (pair.refresh_token,))], None))
            (again,) = racers.answer(kills)
            assert again.error == ""
            calls = [
                Call(0.0, "verify", (again.value.access_token,)),
                Call(0.0, "sessions.list", (sub,)),
                Call(0.0, "sessions.refresh", (again.value.refresh_token,)),
            ]
            line.send(("race", calls, None))
            verified, listed, refreshed = racers.answer(kills)
            assert (verified.value, listed.value) == (pair.sid, [pair.sid])
            assert refreshed.value.sid == pair.sid


# --- a store that dies


def test_sessions_live_on_when_the_store_restarts_with_its_data(racers: Racers, valkey: Server) -> None:
    """Interface §4: 503 meanwhile, never 400 or 401; then every client goes on with the token that it holds."""
    racers.use(valkey.url, lease=LEASE)
    first = logged_in(racers, [f"user-{number}" for number in range(4)])
    for line, pair in zip(racers.lines, first, strict=True):
        line.send(("chain", pair.refresh_token, None))
    heard: list[list[Any]] = [[] for _ in racers.lines]
    racers.listen_until(lambda answers: len(answers) > 5, heard, "each refreshes")
    valkey.kill()
    racers.listen_until(lambda answers: "StoreUnavailable" in answers, heard, "each has noticed")
    valkey.start()
    racers.listen(LEASE, heard)
    racers.listen_until(lambda answers: all(isinstance(each, Pair) for each in answers[-12:]), heard, "each refreshes again")
    for line in racers.lines:
        line.send(("stop", None, None))
    racers.listen_until(lambda answers: answers[-1] == "stopped", heard, "each has stopped")
    for number, answers in enumerate(heard):
        assert answers.pop() == "stopped"
        pairs = [answer for answer in answers if isinstance(answer, Pair)]
        assert {answer for answer in answers if isinstance(answer, str)} == {"StoreUnavailable"}
        last_refusal = max(index for index, answer in enumerate(answers) if isinstance(answer, str))
        assert isinstance(answers[0], Pair)
        assert len(answers) - last_refusal > 10, "it refreshes again"
        first[number] = pairs[-1]
    assert racers.tell_all(("live", None, None)) == [True] * 4
    for number, pair in enumerate(first):
        assert_works(racers, pair, f"user-{number}")


def test_lost_sessions_are_503_until_everything_is_ended(racers: Racers, valkey: Server) -> None:
    """After a FLUSHALL nobody calls a session ended that may only be lost; an operator does."""
    racers.use(valkey.url, lease=LEASE)
    lost = logged_in(racers, [f"user-{number}" for number in range(4)])
    with valkey.client() as client:
        client.flushall()
    show_lost = [Call(0.0, "sessions.refresh", (pair.refresh_token,)) for pair in lost]
    new = []
    began, number = time.monotonic(), 0
    while (seconds := time.monotonic() - began) < 4 * LEASE or (number <= 5 and seconds < 60.0):
        new += logged_in(racers, [f"new-{number}"])
        assert errors_of(racers.everywhere(show_lost)) == {"StoreUnavailable"}
        number += 1
    assert racers.tell_all(("live", None, None)) == [True] * 4
    assert errors_of(racers.everywhere(show_lost)) == {"StoreUnavailable"}
    assert number > 5
    for each, pair in enumerate(new):
        assert_works(racers, pair, f"new-{each}")
    ((ended,),) = racers.race([Call(0.0, "revoke", (), {"everything": True, "wait": True})])
    assert ended.value is True
    assert_dead(racers, {*lost, *new})
    (after,) = logged_in(racers, ["after"])
    assert_works(racers, after, "after")


# --- one login at a time


def test_one_session_is_left_of_eight_logins_at_once(module_valkey: Server) -> None:
    """``MAX_SESSIONS=1``: eight processes log one subject in together; one refresh token and one access token work."""
    with Racers(8) as racers:
        racers.use(module_valkey.url, lease=LEASE, max_sessions=1)
        for number in range(6):
            sub = f"user-{number}"
            outcomes = answered(racers.everywhere([Call(soon(), "sessions.start", (sub,))]))
            pairs = sorted(pairs_of(outcomes))
            assert len(pairs) == 8
            time.sleep(LEASE)
            verdicts = racers.everywhere([Call(0.0, "verify", (pair.access_token,)) for pair in pairs])
            live = {pair.sid for each in verdicts for pair, outcome in zip(pairs, each, strict=True) if not outcome.error}
            assert len(live) <= 1
            answered(verdicts, refusals=frozenset({"Revoked"}))
            assert len(live) == 1
            ((listed,),) = answered(racers.race([Call(0.0, "sessions.list", (sub,))]))
            assert listed.value == list(live)
            (refreshed,) = racers.race([Call(0.0, "sessions.refresh", (pair.refresh_token,)) for pair in pairs])
            assert {outcome.value.sid for outcome in refreshed if not outcome.error} <= live
            answered([refreshed], refusals=frozenset({"GrantError"}))
            assert len([outcome for outcome in refreshed if not outcome.error]) == 1


# --- allowlist


def test_allowlist_admits_nothing_after_a_receipt(module_valkey: Server) -> None:
    """Under ``VALIDITY=allowlist``: three processes decide without pause, one ends sessions at random."""
    with Racers(4) as racers:
        racers.use(module_valkey.url, lease=LEASE, validity="allowlist")
        pairs = logged_in(racers, [f"user-{number}" for number in range(60)])
        tokens = [pair.access_token for pair in pairs]
        for line in racers.lines[1:]:
            line.send(("hammer", tokens, None))
        began = time.monotonic()
        time.sleep(0.5)
        ended = random.sample(range(60), 40)
        at = time.monotonic()
        calls = [
            Call(at + random.uniform(0.0, 3.0), "sessions.end", (pairs[number].sid,), {"wait": True})
            if number % 3
            else Call(at + random.uniform(0.0, 3.0), "revoke", (), {"sub": f"user-{number}", "wait": True})
            for number in ended
        ]
        (outcomes,) = racers.race(calls)
        time.sleep(0.3)
        decisions = []
        for number in range(1, 4):
            racers.lines[number].send(("stop", None, None))
            decisions += [
                Decision(start, end, str(token), verdict, str(number)) for start, end, token, verdict in racers.answer(number)
            ]
            assert racers.answer(number) == "stopped"
        revocations = [
            Revocation(
                outcome.began,
                killed=frozenset({str(number)}),
                dead_from=None if outcome.error else outcome.ended,
                name=str(number),
            )
            for number, outcome in zip(ended, outcomes, strict=True)
        ]
        found = check(sorted(decisions, key=lambda decision: decision.start), revocations)
        assert found.violations == [], "\n".join(found.violations[:5])
        answered([outcomes])
        assert {outcome.value for outcome in outcomes} == {True}
        failed = [each for each in decisions if each.verdict == "unavailable" and each.start > began + 1.0]
        assert failed == [], f"{len(failed)} of {len(decisions)} calls failed"
        assert found.tested_kills == 40
        assert found.verdicts["admitted"] > 1000
