"""Which failures of tests are asked once more: what a busy machine does to who waits, never an answer that was wrong."""

from __future__ import annotations

import re
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jwtgate.errors import Revoked, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]


def is_asked_again(error: BaseException) -> bool:
    """As the plugin decides: what it is asked again for may be anywhere in the chain, what not is the error itself."""
    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    texts = [f"{type(each).__name__}: {each}" for each in chain]
    is_to = any(re.search(rule, text) for rule in RULES["only_rerun"] for text in texts)
    return is_to and not any(re.search(rule, texts[0]) for rule in RULES["rerun_except"])


def busy() -> None:
    raise StoreUnavailable("all 8 connections to the store are busy")


def late() -> None:
    raise TimeoutError


def counted() -> None:
    failures = [StoreUnavailable("busy")]
    assert not failures


def slow() -> None:
    assert time.monotonic() < 0


def measured() -> None:
    longest = 0.377
    assert longest < 0.2, f"a turn of the loop took {longest:.2f} s"


def waited() -> None:
    is_there = False
    assert is_there, f"not within {10.0:g} s: the gate is live again"


def told_among_others() -> None:
    violations = ["(a) admitted after the receipt", "(d) took 2.100 s"]
    assert violations == []


def refused() -> None:
    failed, calls = [1], [1, 2]
    assert failed == [], f"{len(failed)} of {len(calls)} calls failed"


def let_in(error: type[Exception]) -> None:
    with pytest.raises(error):
        """A token is admitted that was to be refused."""


def among_others() -> None:
    answers = {"StoreUnavailable", "admitted"}
    assert answers == {"StoreUnavailable"}


def meanwhile() -> None:
    try:
        busy()
    except StoreUnavailable:
        answer = "admitted"
        assert answer == "refused"


@pytest.mark.parametrize(
    ("way", "is_again"),
    [
        *((busy, True), (late, True), (counted, True), (slow, True), (measured, True), (waited, True), (refused, True)),
        *((lambda: let_in(StoreUnavailable), False), (lambda: let_in(Revoked), False), (lambda: let_in(TimeoutError), False)),
        *((among_others, False), (told_among_others, False), (meanwhile, False)),
    ],
)
def test_only_who_waited_in_vain_is_asked_again(way: Callable[[], None], is_again: bool) -> None:
    """A token that was let in fails the run, whatever else was told with it."""
    with pytest.raises(BaseException) as caught:  # pytest's own failures are no exceptions
        way()
    assert is_asked_again(caught.value) is is_again
