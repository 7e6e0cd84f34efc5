"""A Status List: one small number per token, packed and compressed (draft-ietf-oauth-status-list §4).

Entries are packed from the least significant bit of each byte, and the bytes are a zlib stream (RFC 1950). What is read was
written by somebody else: however little came, never more than ``MOST_OCTETS`` are inflated. Knows nothing of tokens.
"""

from __future__ import annotations

import re
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BITS", "INVALID", "MOST_OCTETS", "SUSPENDED", "VALID", "StatusList", "UnreadableList"]

BITS = (1, 2, 4, 8)

VALID, INVALID, SUSPENDED = 0, 1, 2
"""§7.1. Whatever else there may be is not valid either."""

MOST_OCTETS = 2 * 1024 * 1024
"""Of an inflated list: 16 million entries of one bit, 16 times what the draft calls a large one."""

_NOTHING: Mapping[str, object] = {}

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


class UnreadableList(ValueError):
    """What came is no Status List that can be used; the text says why, and quotes nothing of it."""


class StatusList:
    """Read once, and never changed after.

    Attributes:
        bits: per entry.
        octets: the packed entries.
    """

    __slots__ = ("bits", "octets")

    def __init__(self, bits: int, octets: bytes) -> None:
        self.bits = bits
        self.octets = octets

    @classmethod
    def of(cls, size: int, values: Iterable[tuple[int, int]], bits: int) -> StatusList:
        """All entries valid but these.

        Args: size: how many entries there are. values: place and value.
        """
        octets = bytearray((size * bits + 7) // 8)
        for index, value in values:
            at = index * bits
            octets[at >> 3] |= value << (at & 7)
        return cls(bits, bytes(octets))

    def __len__(self) -> int:
        """How many entries there are; the last few may be padding."""
        return len(self.octets) * 8 // self.bits

    def value(self, index: int) -> int:
        """§4.1. Raises: IndexError: there is no such entry."""
        at = index * self.bits
        if index < 0:
            raise IndexError
        return self.octets[at >> 3] >> (at & 7) & ((1 << self.bits) - 1)

    def encode(self, level: int = 9) -> dict[str, Any]:
        """The claim ``status_list`` (§4.2). Args: level: of the compression; the highest takes ten times as long as 6."""
        return {"bits": self.bits, "lst": urlsafe_b64encode(zlib.compress(self.octets, level)).decode().rstrip("=")}

    @classmethod
    def decode(cls, claim: object) -> StatusList:
        """From the claim ``status_list`` (§4.2); members that are not known say nothing.

        Raises: UnreadableList.
        """
        members = cast("Mapping[str, object]", claim if isinstance(claim, Mapping) else _NOTHING)
        bits, text = members.get("bits"), members.get("lst")
        if type(bits) is not int or bits not in BITS:
            raise UnreadableList("its bits are none of 1, 2, 4 and 8")
        if not isinstance(text, str) or _BASE64URL.fullmatch(text) is None or len(text) % 4 == 1:
            raise UnreadableList("its lst is no base64url")
        return cls(bits, _inflated(urlsafe_b64decode(text + "=" * (-len(text) % 4))))


def _inflated(compressed: bytes) -> bytes:
    """One whole zlib stream with nothing after it. Raises: UnreadableList."""
    stream = zlib.decompressobj()
    try:
        octets = stream.decompress(compressed, MOST_OCTETS + 1)
    except zlib.error:
        raise UnreadableList("its lst is no zlib stream") from None
    if len(octets) > MOST_OCTETS:
        raise UnreadableList(f"its lst inflates to more than {MOST_OCTETS} bytes")
    if not stream.eof or stream.unused_data:
        raise UnreadableList("its lst is no whole zlib stream")
    if not octets:
        raise UnreadableList("its lst is empty")
    return octets
