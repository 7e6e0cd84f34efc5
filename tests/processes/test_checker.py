"""The checker itself, on histories made by hand: it must be able to fail."""

from __future__ import annotations

import pytest
from processes.checker import Decision, Revocation, check

KILLED = Revocation(began=10.0, killed=frozenset({"a"}), dead_from=11.0)
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
    assert found.violations[0].startswith("(a, b)")
    assert found.tested_kills == 1


def test_checker_finds_a_refusal_of_what_nobody_revoked() -> None:
    """(c) another token's revocation explains nothing, nor does one that began later."""
    history = [Decision(12.0, 12.1, "b", "refused"), Decision(9.0, 9.1, "a", "refused")]
    assert [text[:3] for text in check(history, [KILLED]).violations] == ["(c)", "(c)"]


def test_checker_finds_any_other_answer() -> None:
    """(d) errors are never an answer."""
    assert check([Decision(1.0, 1.1, "a", "other")], []).violations[0].startswith("(d)")


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
