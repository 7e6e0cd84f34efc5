"""Rulings: whom one kills, line by line, and that merging is a join."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.handles import digest_of
from jwtgate.core.healing import outlasts
from jwtgate.core.rulings import Change, CutOff, Issued, Ruling, Toggle, merge, supersede

NOW, OLD, OLDER = "E-current__", "E-old______", "E-older____"
CUT_AT = 1000.25
SURE = 1002.0
"""A second that no rounding brings near the cut-off."""

EPOCHS = st.sampled_from([NOW, OLD, OLDER])
UNTILS = st.none() | st.integers(1, 9).map(float)


def cut(epoch: str = NOW, position: int = 5, at: float = CUT_AT) -> Ruling:
    return Ruling(not_before=CutOff(epoch, position, at))


def stamped(epoch: str, position: int, at: float | None = SURE, version: int | None = None) -> Issued:
    return Issued((epoch, position), at, version)


# --- whom a ruling kills ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "dead"),
    [(0, True), (4, True), (5, False), (6, False)],
)
@pytest.mark.parametrize("epoch", [NOW, OLD])
@pytest.mark.parametrize("iat", [0.0, CUT_AT, 9e9, None])
def test_same_epoch_goes_by_position_alone(position: int, dead: bool, epoch: str, iat: float | None) -> None:
    """Same epoch on both sides, current or not: dead if and only if issued before the cut-off; no clock takes part."""
    assert cut(epoch).kills(stamped(epoch, position, iat), NOW, 60.0) is dead


def test_only_the_cut_off_of_the_current_epoch_kills() -> None:
    """The token's epoch is over, so it was issued before; a later iat does not help."""
    assert cut(NOW, 1).kills(stamped(OLD, 99, 9e9), NOW, 0.0)


def test_only_the_token_of_the_current_epoch_lives() -> None:
    """The cut-off's epoch is over, so the token was issued after it; an earlier iat does not harm."""
    assert not cut(OLD, 99).kills(stamped(NOW, 0, 0.0), NOW, 60.0)
    assert not cut(OLD, 99).kills(stamped(NOW, 0, None), NOW, 60.0)


@pytest.mark.parametrize(
    ("iat", "leeway", "dead"),
    [
        (999.0, 0.0, True),
        (1000.0, 0.0, True),  # the ambiguous second
        (1001.0, 0.0, True),
        (1001.5, 0.0, False),
        (1002.0, 0.0, False),
        (1002.0, 1.0, True),
        (1002.5, 1.0, False),
        (None, 0.0, True),
    ],
)
@pytest.mark.parametrize("stamp", [None, (OLDER, 99)])
def test_both_old_or_no_stamp_goes_by_time(iat, leeway: float, dead: bool, stamp) -> None:
    """Dead if iat <= ceil(cut-off) + leeway; a token without iat is dead under any cut-off."""
    assert cut(OLD).kills(Issued(stamp, iat), NOW, leeway) is dead


@pytest.mark.parametrize(("iat", "dead"), [(999.0, True), (1001.5, True), (1061.0, True), (1061.5, False), (9999.0, False)])
def test_both_old_and_an_earlier_position_is_dead_within_the_skew(iat: float, dead: bool) -> None:
    """A minute is what our own clocks may be apart: within it the log's position says which came first."""
    assert cut(OLD).kills(Issued((OLDER, 0), iat), NOW, 0.0) is dead


def test_no_stamp_goes_by_time_in_the_current_epoch_too() -> None:
    """Tokens of foreign issuers carry none."""
    assert cut(NOW).kills(Issued(None, 1001.0), NOW, 0.0)
    assert not cut(NOW).kills(Issued(None, 1001.1), NOW, 0.0)


def test_revoked_kills_whatever_was_issued_and_lifted_does_not() -> None:
    """A toggle knows no before and after."""
    later = stamped(NOW, 99, 9e9, 99)
    assert Ruling(Toggle(True, NOW, 5, CUT_AT)).kills(later, NOW, 0.0)
    assert not Ruling(Toggle(False, NOW, 5, CUT_AT)).kills(later, NOW, 0.0)
    assert not Ruling().kills(later, NOW, 0.0)


@pytest.mark.parametrize(("version", "dead"), [(None, True), (-1, True), (2, True), (3, False), (4, False)])
def test_min_version_kills_lower_and_absent_ones(version, dead: bool) -> None:
    """min_version: the lowest version alive."""
    assert Ruling(min_version=3).kills(stamped(NOW, 99, SURE, version), NOW, 0.0) is dead


def test_any_part_kills() -> None:
    """A lifted suspension does not lift a cut-off, and a good version neither."""
    ruling = Ruling(Toggle(False, NOW, 9, CUT_AT), CutOff(NOW, 5, CUT_AT), 1)
    assert ruling.kills(stamped(NOW, 4, SURE, 7), NOW, 0.0)
    assert not ruling.kills(stamped(NOW, 5, SURE, 7), NOW, 0.0)


@pytest.mark.parametrize(
    ("at", "began_at", "leeway", "dead"),
    [
        (999.0, None, 0.0, True),
        (1000.0, None, 0.0, True),  # the ambiguous second
        (1000.9, None, 0.0, True),  # told in whole seconds by others
        (1001.0, None, 0.0, True),  # the cut-off lies within a second, too
        (1001.9, None, 0.0, True),
        (1002.0, None, 0.0, False),
        (1002.0, None, 1.0, True),
        (1003.0, None, 1.0, False),
        (None, None, 0.0, True),
        (9999.0, 1001.5, 0.0, True),  # refreshed since: what it hangs on began before
        (0.0, 1002.0, 0.0, False),
        (None, 1002.0, 0.0, False),
    ],
)
@pytest.mark.parametrize("stamp", [None, (NOW, 99), (NOW, 0), (OLD, 1)])
def test_dated_cut_off_goes_by_time_whatever_the_stamp(at, began_at, leeway: float, dead: bool, stamp) -> None:
    """Its time is somebody else's and may be past: of our positions it knows nothing."""
    assert Ruling(cut_at=CUT_AT).kills(Issued(stamp, at, None, began_at), NOW, leeway) is dead


def test_dated_cut_off_stands_beside_one_by_position() -> None:
    """Each kills what it names; neither lifts what the other one kills."""
    both = Ruling(not_before=CutOff(NOW, 5, 900.0), cut_at=1000.0)
    assert both.kills(Issued((NOW, 4), 9999.0, None, None), NOW, 0.0)
    assert both.kills(Issued((NOW, 6), 1000.0, None, None), NOW, 0.0)
    assert not both.kills(Issued((NOW, 6), 1001.0, None, None), NOW, 0.0)


# --- the store's form -------------------------------------------------------------------------------------------------

TOGGLES = st.none() | st.builds(Toggle, st.booleans(), EPOCHS, st.integers(0, 10**14 - 1), st.floats(0, 4e9))
CUTS = st.none() | st.builds(CutOff, EPOCHS, st.integers(0, 10**14 - 1), st.floats(0, 4e9))
TIMES = st.none() | st.floats(0, 4e9)
RULINGS = st.builds(Ruling, TOGGLES, CUTS, st.none() | st.integers(0, 10**14 - 1), TIMES, TIMES)


@given(RULINGS)
def test_encoding_brings_every_ruling_back(ruling: Ruling) -> None:
    """Nothing is lost on the way to the store, times to the last digit included."""
    assert Ruling.decode(ruling.encode()) == ruling


def test_encoded_form_is_the_documented_one() -> None:
    """Programs in other languages read it."""
    ruling = Ruling(Toggle(True, "e", 1, 2.5), CutOff("f", 3, 4.0), 5, 6.0, 7.5)
    assert ruling.encode() == b'{"r":[1,"e",1,2.5],"n":["f",3,4.0],"v":5,"t":7.5,"u":6.0}'
    assert Ruling().encode() == b"{}"


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"1", b'{"r":[1]}', b'{"n":["e","x",1]}', b'{"v":null}', b'{"t":"1"}', b"\xff"]
)
def test_foreign_text_is_no_ruling(text: bytes) -> None:
    """What cannot be read raises one of the errors that stores map."""
    with pytest.raises((ValueError, KeyError, TypeError, IndexError, AttributeError)):
        Ruling.decode(text)


# --- merging ----------------------------------------------------------------------------------------------------------


@st.composite
def histories(draw):
    """Rulings on one handle as three epochs of writes left them, each epoch's clock with fractions of its own."""
    found = [Ruling(until=1.0)]
    for number, epoch in enumerate((OLDER, NOW, OLD)):
        known, at, position = None, 0.0, 0
        for _ in range(draw(st.integers(0, 4))):
            at += draw(st.integers(0, 3))
            position += draw(st.integers(1, 3))
            change = Change(
                b"h" * 16,
                draw(st.none() | st.booleans()),
                draw(st.booleans()),
                draw(st.none() | st.integers(0, 3)),
                draw(UNTILS),
                draw(UNTILS),
            )
            known = supersede(known, change, epoch, position, at + number / 4)
            found.append(known)
    return found


@given(histories(), st.data())
def test_merge_is_a_join(found, data) -> None:
    """Commutative, associative, idempotent: rulings may arrive in any order, twice, or from two histories."""
    one, two, three = (data.draw(st.sampled_from(found)) for _ in range(3))
    assert merge(one, one) == one
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(RULINGS, RULINGS)
def test_merge_of_any_two_commutes_and_repeats(one: Ruling, two: Ruling) -> None:
    """Whatever the clocks did."""
    both = merge(one, two)
    assert both == merge(two, one)
    assert merge(both, both) == both
    assert merge(one, one) == one


@given(
    st.lists(st.tuples(st.booleans(), st.integers(-50, 50)), min_size=1, max_size=4),
    st.booleans(),
    st.integers(-50, 50),
    st.data(),
)
def test_merge_is_a_join_whatever_the_callers_clocks_say(writes, is_revoked, elsewhere, data) -> None:
    """``at`` is the later of the store's and the caller's clock: callers whose clocks differ must not undo the order."""
    known, found = None, [supersede(None, Change(b"h" * 16, revoked=is_revoked), OLD, 1, 1000.5 + elsewhere)]
    for position, (on, ahead) in enumerate(writes, 1):
        known = supersede(known, Change(b"h" * 16, revoked=on), NOW, position, 1000.0 + ahead)
        found.append(known)
    one, two, three = (data.draw(st.sampled_from(found)) for _ in range(3))
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(histories())
def test_merge_of_one_history_is_its_last_state(found) -> None:
    """Within one epoch the log's order decides; a reader who missed a middle entry lost nothing."""
    for earlier, later in pairwise(found[1:]):
        cuts, toggles = (earlier.not_before, later.not_before), (earlier.toggle, later.toggle)
        if (
            later.toggle
            and earlier.toggle
            and toggles[0].epoch == toggles[1].epoch
            and toggles[0].position <= toggles[1].position
        ):
            assert merge(earlier, later).toggle == later.toggle
        if all(cuts) and cuts[0].epoch == cuts[1].epoch and cuts[0].position <= cuts[1].position:
            assert merge(earlier, later).not_before == later.not_before


@given(RULINGS, RULINGS, st.builds(Issued, st.just(None), st.none() | st.floats(0, 4e9), st.none() | st.integers(0, 9)))
def test_merged_cut_off_kills_whom_either_kills_by_time(one: Ruling, two: Ruling, issued: Issued) -> None:
    """Cut-offs and versions combine by the strictest."""
    one, two = Ruling(None, one.not_before, one.min_version), Ruling(None, two.not_before, two.min_version)
    either = one.kills(issued, NOW, 0.0) or two.kills(issued, NOW, 0.0)
    assert merge(one, two).kills(issued, NOW, 0.0) is either


def test_ends_combine_by_the_longest_and_none_is_for_ever() -> None:
    """A ruling without an end stays, whoever merges one with an end into it."""
    assert merge(Ruling(until=5.0), Ruling(until=7.0)).until == 7.0
    assert merge(Ruling(until=5.0), Ruling()).until is None


def test_tie_of_two_epochs_revokes() -> None:
    """Only the store's clock is left to order them; when it does not, the stricter counts."""
    on, off = Ruling(Toggle(True, OLD, 1, 5.0)), Ruling(Toggle(False, NOW, 9, 5.0))
    assert merge(on, off).toggle.is_revoked
    assert not merge(on, Ruling(Toggle(False, NOW, 9, 5.5))).toggle.is_revoked


# --- what a write makes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("current", "epoch", "position"), [("E", "E", 5), ("F", "F", 1), ("G", "F", 1), ("", "F", 1)])
def test_cut_off_of_the_current_epoch_stays_whatever_clocks_say(current: str, epoch: str, position: int) -> None:
    """Stamps of tokens that live are of it; of two others the later in time. The time is the later one in any case."""
    one = Ruling(not_before=CutOff("E", 5, 10.0))
    two = Ruling(not_before=CutOff("F", 1, 20.0))
    assert merge(one, two, current).not_before == merge(two, one, current).not_before == CutOff(epoch, position, 20.0)


def test_latest_toggle_wins_and_the_rest_stays() -> None:
    """A write is the latest entry; lifting is a ruling too."""
    suspended = supersede(None, Change(b"h", revoked=True), NOW, 1, 10.0)
    cut_too = supersede(suspended, Change(b"h", cuts_off=True, until=50.0), NOW, 2, 11.0)
    lifted = supersede(cut_too, Change(b"h", revoked=False, until=50.0), NOW, 3, 12.0)
    assert cut_too.toggle == Toggle(True, NOW, 1, 10.0)
    assert lifted == Ruling(Toggle(False, NOW, 3, 12.0), CutOff(NOW, 2, 11.0), None, None)


def test_time_of_a_cut_off_never_goes_back() -> None:
    """A later cut-off by a slower clock keeps the later time: tokens without a stamp stay dead."""
    first = supersede(None, Change(b"h", cuts_off=True, until=9.0), NOW, 1, 50.0)
    assert supersede(first, Change(b"h", cuts_off=True, until=5.0), NOW, 2, 10.0) == Ruling(
        None, CutOff(NOW, 2, 50.0), None, 9.0
    )


def test_lifting_by_a_slower_clock_is_the_later_one_in_every_epoch() -> None:
    """Who still knows the suspension of an earlier epoch, by a clock that ran ahead, must learn that it was lifted."""
    suspended = supersede(None, Change(b"h", revoked=True), OLD, 1, 1050.0)
    lifted = supersede(suspended, Change(b"h", revoked=False), NOW, 1, 1001.0)
    assert lifted.toggle is not None
    assert lifted.toggle.at > 1050.0
    assert merge(suspended, lifted).toggle == merge(lifted, suspended).toggle == lifted.toggle


def test_version_and_end_only_grow() -> None:
    """min_version by the greatest, until by the longest."""
    first = supersede(None, Change(b"h", min_version=3, until=9.0), NOW, 1, 1.0)
    assert supersede(first, Change(b"h", min_version=2, until=5.0), NOW, 2, 1.0) == first


def test_dated_cut_off_never_goes_back_nor_ahead() -> None:
    """The latest stands; a time to come is that of the entry, or sessions to come would be dead."""
    first = supersede(None, Change(b"h", until=9.0, cut_at=50.0), NOW, 1, 60.0)
    assert first == Ruling(until=9.0, cut_at=50.0)
    assert supersede(first, Change(b"h", until=5.0, cut_at=40.0), NOW, 2, 70.0).cut_at == 50.0
    assert supersede(first, Change(b"h", until=5.0, cut_at=4e9), NOW, 2, 70.0) == Ruling(until=9.0, cut_at=70.0)
    assert supersede(first, Change(b"h", revoked=True, until=5.0), NOW, 2, 70.0).cut_at == 50.0


# --- handles ----------------------------------------------------------------------------------------------------------

PARTS = st.text(alphabet=st.sampled_from("a1:,0 |é\x00\n\U0001f600"), max_size=6)


@given(st.tuples(PARTS, PARTS, PARTS), st.tuples(PARTS, PARTS, PARTS))
def test_digest_is_injective(one, two) -> None:
    """No separator can be injected: different handles have different digests."""
    assert (digest_of(*one) == digest_of(*two)) is (one == two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("a", "b", "c"), ("ab", "", "c")),
        (("", "sub", "1:a,"), ("", "sub", "a")),
        (("", "sub", "a,3:sub,1:b"), ("", "sub", "a")),
        (("1:", "x", ""), ("1", ":x", "")),
        (("", "jti", "7"), ("", "sid", "7")),
        (("issuer-a", "jti", "7"), ("issuer-b", "jti", "7")),
        (("", "sub", "e\u0301"), ("", "sub", "\u00e9")),
    ],
)
def test_digest_tells_tricky_handles_apart(one, two) -> None:
    """Of issuers, of kinds, of shifted separators, of lengths in bytes."""
    assert digest_of(*one) != digest_of(*two)
    assert len(digest_of(*one)) == 16


def test_ceil_of_a_whole_second_is_itself() -> None:
    """A cut-off at exactly 1000.0 leaves the next second alive."""
    assert math.ceil(1000.0) == 1000
    assert not cut(OLD, at=1000.0).kills(Issued(None, 1000.5), NOW, 0.0)


@given(st.sampled_from([None, 1.0, 2.0, 1e9 + 0.5]), st.sampled_from([None, 1.0, 2.0, 1e9 + 0.5]), st.booleans(), st.booleans())
def test_what_outlasts_another_ruling_needs_no_merging(
    until: float | None, also_until: float | None, revoked: bool, also_revoked: bool
) -> None:
    """True only where a merge would change nothing."""
    one = Ruling(Toggle(revoked, "E", 5, 1.0), until=until)
    other = Ruling(Toggle(also_revoked, "E", 5, 1.0), until=also_until)
    if outlasts(one.encode(), other.encode()):
        assert merge(one, other, "E") == one
    assert outlasts(one.encode(), one.encode())
    assert not outlasts(b'{"u":nonsense}', b'{"u":1}') and not outlasts(b'x,"u":y}', b'x,"u":1}')
