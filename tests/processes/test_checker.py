"""The checker itself, on histories made by hand: it must be able to fail."""

from __future__ import annotations

from typing import Any

import pytest
from processes.checker import Absence, Decision, Findings, Revocation, check, check_once

KILLED = Revocation(began=10.0, killed=frozenset({"a"}), dead_from=11.0, returned=11.0, is_everywhere=True)
PROMISED = Revocation(began=10.0, killed=frozenset({"a"}), dead_from=11.9, returned=11.0)
SUSPENDED = Revocation(began=10.0, killed=frozenset({"a"}), dead_from=11.0, lifted_from=20.0, lifted_until=21.0)


@pytest.mark.parametrize(
    ("start", "end", "verdict"),
    [
        (9.0, 9.1, "admitted"),
        (10.5, 10.6, "admitted"),
        (10.9, 12.0, "admitted"),  # began before the receipt
        (10.5, 10.6, "refused"),
        (9.9, 10.1, "refused"),  # the call was under way
        (12.0, 12.1, "refused"),
        (12.0, 12.1, "unavailable"),
        (9.0, 9.1, "unavailable"),
    ],
)
def test_checker_accepts_what_the_promise_allows(start: float, end: float, verdict: str) -> None:
    """Admission until the receipt, refusal from the call on, unavailability at any time."""
    assert check([Decision(start, end, "a", verdict)], [KILLED]).violations == []  # type: ignore[arg-type]


def test_checker_finds_an_admission_after_the_receipt() -> None:
    """(a) one request of one process is enough."""
    history = [Decision(9.0, 9.1, "a", "admitted"), Decision(11.01, 11.02, "a", "admitted")]
    found = check(history, [KILLED])
    assert len(found.violations) == 1
    assert found.violations[0].startswith("(a)")
    assert found.tested_kills == 1
    assert found.latest_after_receipt == pytest.approx(0.01)


def test_checker_finds_an_admission_after_the_promised_time() -> None:
    """(b) until then it may pass, though the call has returned."""
    history = [Decision(11.8, 11.85, "a", "admitted"), Decision(11.95, 11.96, "a", "admitted")]
    found = check(history, [PROMISED])
    assert [text[:3] for text in found.violations] == ["(b)"]
    assert found.latest_after_call == pytest.approx(0.95)
    assert found.latest_after_receipt < 0


def test_checker_measures_the_last_admission_before_the_receipt() -> None:
    """Negative where nothing passed afterwards; a suspension that is being lifted is not measured."""
    found = check([Decision(10.75, 10.8, "a", "admitted")], [KILLED])
    assert found.latest_after_receipt == pytest.approx(-0.25)
    assert check([Decision(20.5, 20.6, "a", "admitted")], [SUSPENDED]).latest_after_receipt < -1000


def test_checker_finds_a_refusal_of_what_nobody_revoked() -> None:
    """(e) another token's revocation explains nothing, nor does one that began later."""
    history = [Decision(12.0, 12.1, "b", "refused"), Decision(9.0, 9.1, "a", "refused")]
    assert [text[:3] for text in check(history, [KILLED]).violations] == ["(e)", "(e)"]


def test_checker_finds_any_other_answer() -> None:
    """(c) errors are never an answer."""
    assert check([Decision(1.0, 1.1, "a", "other")], []).violations[0].startswith("(c)")


def test_checker_finds_each_request_that_took_too_long() -> None:
    """(d) whatever the answer."""
    history = [Decision(1.0, 3.0, "a", "admitted"), Decision(1.0, 1.7, "a", "unavailable"), Decision(1.0, 1.4, "a", "admitted")]
    found = check(history, [], patience=0.5)
    assert [text[:3] for text in found.violations] == ["(d)", "(d)"]
    assert found.slowest == pytest.approx(2.0)


def test_only_what_a_process_was_away_for_excuses_a_slow_request() -> None:
    """The excuse is as long as the absence within the request, and of that process alone."""
    absences = {"one": [Absence(2.0, 4.0, 1.8)]}
    excused = Decision(1.9, 4.1, "a", "admitted", "one")
    assert check([excused], [], patience=0.5, absences=absences).violations == []
    assert check([Decision(1.0, 4.0, "a", "admitted", "one")], [], patience=0.5, absences=absences).violations
    assert check([Decision(3.9, 4.6, "a", "admitted", "one")], [], patience=0.5, absences=absences).violations
    assert check([Decision(1.9, 4.1, "a", "admitted", "two")], [], patience=0.5, absences=absences).violations


def test_failed_call_promises_nothing_and_explains_refusals() -> None:
    """A write that raised may have been done."""
    failed = Revocation(began=10.0, touched=frozenset({"a"}))
    history = [Decision(12.0, 12.1, "a", "admitted"), Decision(13.0, 13.1, "a", "refused")]
    assert check(history, [failed]).violations == []


@pytest.mark.parametrize(
    ("start", "end", "verdict", "violations"),
    [
        (15.0, 15.1, "admitted", 1),
        (15.0, 20.5, "admitted", 0),  # the lifting was under way
        (20.5, 20.6, "refused", 0),
        (22.0, 22.1, "admitted", 0),
        (22.0, 22.1, "refused", 1),
    ],
)
def test_suspension_kills_until_it_is_lifted(start: float, end: float, verdict: str, violations: int) -> None:
    """Between the two receipts the token is dead; after the second it lives."""
    assert len(check([Decision(start, end, "a", verdict)], [SUSPENDED]).violations) == violations  # type: ignore[arg-type]


def test_checker_counts_only_kills_that_were_put_to_the_test() -> None:
    """A token never admitted, or never shown again, proves nothing."""
    history = [Decision(9.0, 9.1, "b", "admitted"), Decision(12.0, 12.1, "a", "refused")]
    assert check(history, [KILLED]).tested_kills == 0


def shown(status: int, start: float, *, proof: str = "a", process: str = "one", seconds: float = 0.01) -> dict[str, Any]:
    """One request with a proof of possession."""
    return {"id": proof, "start": start, "end": start + seconds, "status": status, "process": process}


def once(*requests: dict[str, Any], **options: Any) -> Findings:
    """What is found of them."""
    found = Findings()
    check_once(found, requests, **options)
    return found


def test_checker_accepts_a_proof_that_is_taken_once() -> None:
    """By whichever process, and before or after some could not tell."""
    found = once(shown(503, 1.0), shown(200, 2.0, process="two"), shown(401, 2.0), shown(503, 3.0), shown(200, 2.0, proof="b"))
    assert (found.violations, found.proofs, found.shown_again) == ([], 2, 2)


def test_checker_finds_a_proof_that_is_taken_twice() -> None:
    """(g) also where the first time is long over; not again in a stretch that comes after both."""
    requests = (shown(200, 1.0), shown(200, 9.0, process="two"))
    assert [text[:3] for text in once(*requests).violations] == ["(g)"]
    assert [text[:3] for text in once(*requests, since=5.0).violations] == ["(g)"]
    assert once(*requests, since=10.0).violations == []


def test_checker_holds_proofs_to_answers_and_patience() -> None:
    """(c, d) as all requests are."""
    slow = shown(503, 1.0, seconds=0.6)
    assert [text[:3] for text in once(shown(500, 1.0), slow, patience=0.5).violations] == ["(c)", "(d)"]
    assert once(slow, patience=0.5, absences={"one": [Absence(1.0, 1.5, 0.4)]}).slowest == pytest.approx(0.2)
