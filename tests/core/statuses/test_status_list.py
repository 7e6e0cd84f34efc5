"""The codec of status lists, held against the draft's own vectors, and against whoever would fill our memory."""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.statuses import status_list
from jwtgate.core.statuses.status_list import BITS, MOST_OCTETS, StatusList, UnreadableList

ONE_BIT = (1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1)
TWO_BITS = (1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3)

LARGE = 2**20
LARGE_ONE_BIT = dict.fromkeys((0, 1993, 25460, 159495, 495669, 554353, 645645, 723232, 854545, 934534, 1000345), 1)
LARGE_ONE_BIT_LST = (
    "eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogEAAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAAAAAAAAAA7KpLAAAAAAAAAAAAAAAAAAAAAJsLCQAAAAAAAAAAADjelAAA"
    "AAAAAAAAKjDMAQAAAACAZC8L2AEb"
)
LARGE_TWO_BITS = {
    0: 1,
    1993: 2,
    25460: 1,
    159495: 3,
    495669: 1,
    554353: 1,
    645645: 2,
    723232: 1,
    854545: 1,
    934534: 2,
    1000345: 3,
}
LARGE_TWO_BITS_LST = (
    "eNrt2zENACEQAEEuoaBABP5VIO01fCjIHTMStt9ovGVIAAAAAABAbiEBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEB5WwIAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAID0ugQAAAAAAAAA"
    "AAAAAAAAQG12SgAAAAAAAAAAAAAAAAAAAAAAAAAAAOCSIQEAAAAAAAAAAAAAAAAAAAAAAAD8ExIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAwJEuAQAAAAAAAAAAAAAAAAAAAAAAAMB9SwIAAAAAAAAAAAAAAAAAAACoYUoAAAAAAAAAAAAAAEBqH81gAQw"
)


def encoded(octets: bytes, bits: int = 1) -> dict[str, Any]:
    """A claim around any bytes."""
    return {"bits": bits, "lst": urlsafe_b64encode(octets).decode().rstrip("=")}


@pytest.mark.parametrize(
    ("bits", "octets", "lst", "values"),
    [(1, b"\xb9\xa3", "eNrbuRgAAhcBXQ", ONE_BIT), (2, b"\xc9\x44\xf9", "eNo76fITAAPfAgc", TWO_BITS)],
)
def test_examples_of_the_draft(bits: int, octets: bytes, lst: str, values: tuple[int, ...]) -> None:
    """draft-ietf-oauth-status-list §4.1 and §4.2, both ways."""
    read = StatusList.decode({"bits": bits, "lst": lst})
    assert read.octets == octets
    assert tuple(read.value(index) for index in range(len(read))) == values
    assert StatusList.of(len(values), enumerate(values), bits).encode() == {"bits": bits, "lst": lst}


@pytest.mark.parametrize(
    ("bits", "lst", "values"), [(1, LARGE_ONE_BIT_LST, LARGE_ONE_BIT), (2, LARGE_TWO_BITS_LST, LARGE_TWO_BITS)]
)
def test_vectors_of_the_draft(bits: int, lst: str, values: dict[int, int]) -> None:
    """Its appendix: lists of 2**20 entries."""
    read = StatusList.decode({"bits": bits, "lst": lst})
    assert read.octets == StatusList.of(LARGE, values.items(), bits).octets
    assert len(read) == LARGE
    assert {index: read.value(index) for index in (*values, 1, 1994, LARGE - 1)} == {**values, 1: 0, 1994: 0, LARGE - 1: 0}


@given(st.sampled_from(BITS), st.data())
def test_what_is_written_is_read(bits: int, data: st.DataObject) -> None:
    """Any values of any width, in any order; all others are valid."""
    size = data.draw(st.integers(1, 300))
    values = data.draw(st.dictionaries(st.integers(0, size - 1), st.integers(0, 2**bits - 1)))
    read = StatusList.decode(StatusList.of(size, values.items(), bits).encode())
    assert read.bits == bits and size <= len(read) < size + 8
    assert [read.value(index) for index in range(len(read))] == [values.get(index, 0) for index in range(len(read))]


@pytest.mark.parametrize("index", [16, -1, 10**9, -(10**9)])
def test_no_entry_is_none(index: int) -> None:
    """A negative index does not count from the end."""
    with pytest.raises(IndexError):
        StatusList(1, b"\xb9\xa3").value(index)


@pytest.mark.parametrize(
    "claim",
    [
        None,
        [],
        "eNrbuRgAAhcBXQ",
        {},
        {"bits": 1},
        {"lst": "eNrbuRgAAhcBXQ"},
        {"bits": "1", "lst": "eNrbuRgAAhcBXQ"},
        {"bits": True, "lst": "eNrbuRgAAhcBXQ"},
        {"bits": 1.0, "lst": "eNrbuRgAAhcBXQ"},
        {"bits": 0, "lst": "eNrbuRgAAhcBXQ"},
        {"bits": 3, "lst": "eNrbuRgAAhcBXQ"},
        {"bits": 16, "lst": "eNrbuRgAAhcBXQ"},
        {"bits": 1, "lst": None},
        {"bits": 1, "lst": b"eNrbuRgAAhcBXQ"},
        {"bits": 1, "lst": "eNrbuRgAAhcBXQ=="},
        {"bits": 1, "lst": "eNrbuRgAAhcBX"},
        {"bits": 1, "lst": "eNrbuRg+AhcBXQ"},
        {"bits": 1, "lst": "eNrbuRgA AhcBXQ"},
        {"bits": 1, "lst": "eNrbuRgAAhcBXQ\n"},
        {"bits": 1, "lst": ""},
        encoded(b"\xb9\xa3"),
        encoded(zlib.compress(b"\xb9\xa3")[:-1]),
        encoded(zlib.compress(b"\xb9\xa3")[2:-4]),
        encoded(zlib.compress(b"\xb9\xa3") + b"x"),
        encoded(zlib.compress(b"\xb9\xa3")[:-4] + b"abcd"),
        encoded(zlib.compress(b"")),
    ],
)
def test_anything_else_is_refused(claim: object) -> None:
    """Of another shape, cut off, continued, damaged, empty, or raw deflate: it says why, and quotes nothing."""
    with pytest.raises(UnreadableList) as caught:
        StatusList.decode(claim)
    assert "eNrb" not in str(caught.value)


def test_bomb_is_given_up_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gigabyte of zeros fits into a megabyte: no more is ever inflated than a list may have."""
    most = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self) -> None:
            self.stream = real()

        def decompress(self, data: bytes, limit: int) -> bytes:
            octets = self.stream.decompress(data, limit)
            most.append(len(octets))
            return octets

    monkeypatch.setattr(status_list.zlib, "decompressobj", Watched)
    bomb = zlib.compress(bytes(2**28), 9)
    with pytest.raises(UnreadableList, match="inflates to more"):
        StatusList.decode(encoded(bomb))
    assert most == [MOST_OCTETS + 1]


def test_largest_list_is_read() -> None:
    """The bound itself is within it."""
    assert len(StatusList.decode(encoded(zlib.compress(bytes(MOST_OCTETS))))) == MOST_OCTETS * 8


def test_members_that_nobody_knows_say_nothing() -> None:
    """§4.2 has aggregation_uri, and others may come."""
    assert StatusList.decode({"bits": 1, "lst": "eNrbuRgAAhcBXQ", "aggregation_uri": 7, "x": {}}).value(3) == 1
