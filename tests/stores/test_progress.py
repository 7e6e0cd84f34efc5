"""What is an older copy of a database, and what is only an answer that comes late."""

from __future__ import annotations

import pytest

from jwtgate.core.history import LogEnd
from jwtgate.stores.sql.progress import MOST_PAST, Progress


def end(position: int, link: str = "link") -> LogEnd:
    """Of a log."""
    return LogEnd(position, link, str(position))


@pytest.fixture
def progress() -> Progress:
    """Of a process that saw two epochs."""
    progress = Progress()
    for epoch, position in (("one", 5), ("two", 7)):
        progress.note(epoch, end(position))
    return progress


@pytest.mark.parametrize(
    ("epoch", "position", "link", "is_older"),
    [
        ("two", 7, "link", False),
        ("two", 8, "other", False),
        ("two", 6, "link", True),
        ("two", 7, "other", True),
        ("one", 9, "link", True),
        ("three", 1, "link", False),
    ],
)
def test_older_copy_is_known_by_what_was_seen(
    progress: Progress, epoch: str, position: int, link: str, *, is_older: bool
) -> None:
    """Fewer entries, another branch of the log, an epoch that is over; a new epoch is another matter."""
    assert progress.seen is not None
    assert progress.seen.is_after(epoch, end(position, link)) is is_older


def test_answer_that_was_overtaken_is_no_older_copy(progress: Progress) -> None:
    """It is judged by what had been seen when it was sent, and takes nothing back."""
    sent = progress.seen
    progress.note("two", end(9))
    progress.note("three", end(9))
    assert sent is not None and not sent.is_after("two", end(8))
    progress.note("two", end(8))
    progress.note("three", end(8))
    assert progress.seen is not None and (progress.seen.epoch, progress.seen.end.position) == ("three", 9)
    assert progress.seen.past == ("one", "two")


def test_past_is_bounded(progress: Progress) -> None:
    """Of a store whose history is lost again and again."""
    for number in range(3 * MOST_PAST):
        progress.note(str(number), end(1))
    assert progress.seen is not None and len(progress.seen.past) == MOST_PAST
