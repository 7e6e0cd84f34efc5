"""What a watcher says of what it reads: nothing that happened to the log is passed over (H2)."""

from __future__ import annotations

import json

import pytest

from jwtgate.core.history import Entry, LogEnd
from jwtgate.core.rulings import CutOff, Ruling, Toggle
from jwtgate.watching.events import LOG_START, Event, Reader
from jwtgate.wording import moment

NOW = 1_800_000_000.0
REVOKED = Ruling(toggle=Toggle(True, "e", 0, NOW - 5), until=NOW + 60)


def at(position: int, history: str = "a") -> LogEnd:
    """Where a history ends."""
    return LogEnd(position, f"{history}{position}", f"c{position}")


def entry(position: int, history: str = "a", ruling: bytes = REVOKED.encode()) -> Entry:
    """One of a history."""
    end = at(position, history)
    return Entry(position, end.link, f"{history}{position - 1}", end.cursor, b"\x01" * 16, ruling)


def reader(position: int = 5, *, from_start: bool = False) -> Reader:
    """One that stands at the log's end, or before its start."""
    return Reader("e", at(position), from_start=from_start)


def said(reader: Reader, *entries: Entry, after: LogEnd, epoch: str = "e") -> list[Event]:
    """All that one read tells."""
    return list(reader.advance(entries, epoch, after, NOW))


def names(events: list[Event]) -> list[tuple[str, int | None]]:
    """Kinds and positions."""
    return [(event.name, event.position) for event in events]


def test_watching_starts_at_the_end_of_the_log() -> None:
    """What was before is not shown."""
    watched = reader(5)
    assert watched.cursor == "c5"
    assert watched.opening(NOW).as_dict() == {"event": "watching", "seen_at": NOW, "position": 5, "epoch": "e"}


def test_from_the_start_the_oldest_entry_left_is_no_gap() -> None:
    """The log is trimmed by age; nobody missed what was never asked for."""
    watched = reader(5, from_start=True)
    assert watched.cursor == LOG_START
    assert "oldest" in watched.opening(NOW).words
    assert names(said(watched, entry(4), entry(5), after=at(5))) == [("entry", 4), ("entry", 5)]
    assert watched.cursor == "c5"


def test_from_the_start_an_empty_log_is_read_on_from_its_end() -> None:
    """So that a later gap shows."""
    watched = reader(5, from_start=True)
    assert said(watched, after=at(5)) == []
    assert names(said(watched, entry(7), after=at(7))) == [("gap", 5), ("entry", 7)]


def test_entries_that_follow_each_other_are_told_alone() -> None:
    """In order, and nothing else."""
    watched = reader()
    assert names(said(watched, entry(6), entry(7), after=at(8))) == [("entry", 6), ("entry", 7)]
    assert said(watched, after=at(8)) != []
    assert watched.position == 8


def test_silence_is_silent() -> None:
    """A read that found nothing where nothing was."""
    watched = reader()
    assert said(watched, after=at(5)) == []
    assert said(watched, after=at(6)) == []
    assert names(said(watched, entry(6), after=at(6))) == [("entry", 6)]


def test_entries_trimmed_before_they_were_read_are_counted() -> None:
    """XREAD skips them silently."""
    (gap, shown) = said(reader(), entry(9), after=at(9))
    assert gap.as_dict() == {"event": "gap", "seen_at": NOW, "position": 5, "missed": 3}
    assert "3 entries after position 5" in gap.words
    assert (shown.name, shown.position) == ("entry", 9)


def test_log_trimmed_to_nothing_is_a_gap() -> None:
    """Entry 6 had been there before the read that did not bring it."""
    watched = reader()
    assert said(watched, after=at(6)) == []
    (gap,) = said(watched, after=at(6))
    assert (gap.name, gap.told) == ("gap", {"missed": 1})
    assert "1 entry after" in gap.words
    assert watched.cursor == "c6"
    assert said(watched, after=at(6)) == []


@pytest.mark.parametrize("position", [1, 5, 6])
def test_entry_of_another_history_is_told_after_the_rewriting(position: int) -> None:
    """A position that was read before, or a link that does not lead to where we stand."""
    events = said(reader(), entry(position, "b"), after=at(position, "b"))
    assert names(events) == [("rewritten", 5), ("entry", position)]
    assert events[0].told == {"resumes_after": position - 1}


@pytest.mark.parametrize("end", [at(3), at(5, "b"), at(0, "b")])
def test_log_that_ends_before_what_was_read_was_rewritten(end: LogEnd) -> None:
    """A restart from an older copy, or another log of the same length."""
    watched = reader()
    assert names(said(watched, after=end)) == [("rewritten", 5)]
    assert watched.cursor == end.cursor
    assert said(watched, after=end) == []


def test_new_epoch_is_told_before_its_entries_and_once() -> None:
    """What follows is of another history, even where positions go on."""
    watched = reader()
    events = said(watched, entry(6), after=at(6), epoch="f")
    assert names(events) == [("epoch", 5), ("entry", 6)]
    assert events[0].told == {"epoch": "f", "previous": "e"}
    assert said(watched, after=at(6), epoch="f") == []


def test_outage_keeps_the_position() -> None:
    """And says so."""
    watched = reader()
    assert watched.away(NOW, "refused").as_dict() == {"event": "away", "seen_at": NOW, "position": 5, "reason": "refused"}
    assert watched.back(NOW).as_dict() == {"event": "back", "seen_at": NOW, "position": 5}
    assert watched.cursor == "c5"


@pytest.mark.parametrize(
    ("ruling", "words"),
    [
        (Ruling(toggle=Toggle(True, "e", 6, NOW)), ["revoked", "for good"]),
        (Ruling(toggle=Toggle(False, "e", 6, NOW), until=NOW + 60), ["lifted", f"until {moment(NOW + 60)}"]),
        (Ruling(not_before=CutOff("e", 6, NOW)), [f"dead what was issued before #6 ({moment(NOW)})"]),
        (Ruling(min_version=3), ["dead versions below 3"]),
        (Ruling(Toggle(True, "e", 2, NOW - 9), CutOff("e", 6, NOW), 3, NOW), ["revoked", "before #6", "below 3", "until"]),
    ],
)
def test_ruling_is_told_in_words(ruling: Ruling, words: list[str]) -> None:
    """Everything that holds on the handle from there on."""
    (event,) = said(reader(), entry(6, ruling=ruling.encode()), after=at(6))
    assert event.words.startswith(f"{moment(NOW)}  #6  {'01' * 16}  ")
    for text in words:
        assert text in event.words


def test_ruling_is_told_in_json() -> None:
    """With the time of what was written, where that has one."""
    ruling = Ruling(Toggle(True, "e", 2, NOW - 9), CutOff("e", 6, NOW - 1), 3, NOW + 60)
    (event,) = said(reader(), entry(6, ruling=ruling.encode()), after=at(6))
    assert json.loads(json.dumps(event.as_dict())) == {
        "event": "entry",
        "seen_at": NOW,
        "position": 6,
        "at": NOW - 1,
        "digest": "01" * 16,
        "ruling": {
            "revoked": True,
            "revoked_at": NOW - 9,
            "not_before": {"epoch": "e", "position": 6, "at": NOW - 1},
            "cut_at": None,
            "min_version": 3,
            "until": NOW + 60,
        },
    }
    (versioned,) = said(reader(), entry(6, ruling=Ruling(min_version=3).encode()), after=at(6))
    assert versioned.told["at"] is None


def test_ruling_that_nobody_of_ours_wrote_is_told_as_such() -> None:
    """It does not end the watch."""
    (event,) = said(reader(), entry(6, ruling=b"\x1bjunk"), after=at(6))
    assert event.words.endswith("not readable")
    assert event.told["ruling"] is None


def test_dated_cut_off_is_told_in_words() -> None:
    """A provider's logout, by its own time."""
    ruling = Ruling(cut_at=NOW - 30, until=NOW + 60)
    (event,) = said(reader(), entry(6, ruling=ruling.encode()), after=at(6))
    assert f"dead what began by {moment(NOW - 30)}" in event.words and "cut_at" in str(event.as_dict())
