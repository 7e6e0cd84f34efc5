"""Which entry of which of our status lists belongs to a token that we issue (draft-ietf-oauth-status-list §13).

The entry is drawn at random, so that neither its place nor the order of places tells anything, and is kept in the store if
nobody has it, until no token of the list is left: an entry is never used twice. What is kept is what rulings may name the
token by, as digests, and when it was issued: enough to judge it, and no claim of it.

A list is named ``<epoch>.<span><its beginning>.<serial>``: after lost history every list from before is unknown, whatever is
left of it; what the store forgot would count as valid. Where only marks were lost, the store tells since when it has all, and
a list that began before is unknown from then on. Tokens of up to an hour share the lists of one hour, those of up to a day the
lists of a day, longer ones others of a day, so that a list ends soon after its last token; one that fills up is followed by the
next in turn.

Lists take turns in a few groups of marks, so that whoever adds to one forgets what has passed there. Does no I/O: it yields
``Mark``. Draws nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from jwtgate.core.effects import Mark, Plan
from jwtgate.core.handles import DIGEST_BYTES, digest_of
from jwtgate.core.partitioning import partition_of_mark
from jwtgate.core.providers.upstream import begun_at, with_links
from jwtgate.core.rulings import MARGIN_SECONDS, MAX_SKEW_SECONDS, Issued
from jwtgate.core.tokens.verification import claim_handles, read_stamp
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwtgate.core.effects import Clock
    from jwtgate.core.history import Marked
    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = [
    "SIZE",
    "ListName",
    "Registered",
    "Registry",
    "UnreadableMark",
    "group_of",
    "handles_in",
    "index_of",
    "is_whole",
    "mark_of",
]

SIZE = 2**20
"""Entries of a list: most of them never belong to anybody, and cost nothing once compressed."""

SPANS = {"h": 3600, "d": 86400, "l": 86400}

MOST_SECONDS = {"h": 3600, "d": 86400}
"""That a token of such a list lives; one of ``l`` lives up to ``MAX_TTL``."""

TURNS = {"h": 4, "d": 4, "l": 64}
"""Groups of marks of one span: when its turn comes again, all in it has passed, unless tokens live over a month. No more than
that takes: a Redis keeps what has passed until then."""

SERIAL_TURNS = 8

TRIES, MOST_TAKEN = 16, 4
"""Of the last so many draws, more than a quarter met an entry that was taken: so full is the list, and the next begins."""

ATTEMPTS = 64

LONGEST_SERIAL = 999_999

_NAME = re.compile(r"([A-Za-z0-9_-]{11})\.([hdl])([1-9][0-9]{0,11})\.(0|[1-9][0-9]{0,5})")

TAG_BYTES = 6
EPSILON_SECONDS = 0.001
"""The store tells two times of one moment, each rounded in its own way."""

_HEAD = Struct(">BddQq11s")
"""Form, iat, when the provider's session began that it hangs on, position, version, epoch of the stamp."""

FORM = 1
NO_VERSION = -(2**63)
NEVER = -1.0
VERSION_BOUND = 2**62
"""Beyond any ``min_version``: a larger number compares alike."""


class UnreadableMark(ValueError):
    """Under one of our names stands what no jwtgate wrote."""


class ListName(NamedTuple):
    """See the module."""

    epoch: str
    span: str
    begins_at: int
    serial: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.span}{self.begins_at}.{self.serial}"

    @classmethod
    def read(cls, text: str) -> ListName | None:
        """None: no list was ever called so."""
        match = _NAME.fullmatch(text)
        return None if match is None else cls(match[1], match[2], int(match[3]), int(match[4]))

    @property
    def ends_at(self) -> float:
        """NumericDate from which on no token comes to it."""
        return (self.begins_at // SPANS[self.span] + 1) * SPANS[self.span]

    @property
    def tag(self) -> bytes:
        """What the names of its marks begin with."""
        return sha256(str(self).encode()).digest()[:TAG_BYTES]


def group_of(namespace: str, name: ListName) -> str:
    """Where a list's marks are kept, with those of a few others of the same issuer."""
    turn = name.begins_at // SPANS[name.span] % TURNS[name.span]
    return f"sl-{sha256(namespace.encode()).hexdigest()[:12]}-{name.span}{turn}-{name.serial % SERIAL_TURNS}"


def mark_of(name: ListName, index: int, partitions: int) -> bytes:
    """The name of an entry's mark: such that all are kept in partition 0, whose history is that of the list."""
    start, nonce = name.tag + index.to_bytes(4), 0
    while partition_of_mark(mark := start + nonce.to_bytes(4), partitions):
        nonce += 1
    return mark


def index_of(mark: bytes) -> int:
    """The entry that a mark's name stands for."""
    return int.from_bytes(mark[TAG_BYTES : TAG_BYTES + 4])


def is_whole(marked: Marked, name: ListName) -> bool:
    """Whether the store has all that was ever marked for a list; the clocks of those who marked are off by a minute at most."""
    return marked.since <= max(marked.epoch.birth, name.begins_at - MAX_SKEW_SECONDS) + EPSILON_SECONDS


@dataclass(frozen=True, slots=True)
class Registered:
    """What is kept of a token.

    Attributes:
        issued: when, for rulings to compare with.
        handles: by which they may name it, its subject's first; without that of everything, which all tokens have.
    """

    issued: Issued
    handles: tuple[bytes, ...]

    @classmethod
    def of(cls, policy: IssuerPolicy, payload: Mapping[str, Any], stamp: str) -> Registered:
        """Of a token that is about to be signed. Args: payload: with jti and sub. stamp: its ``jgp``."""
        signer = policy.keys.signer
        assert signer is not None, "who issues has a key"
        version = payload.get(policy.version_claim) if policy.version_claim is not None else None
        named = (
            digest_of(policy.namespace, "sub", payload["sub"]),
            digest_of(policy.namespace, "jti", payload["jti"]),
            policy.keys.candidates(signer.algorithm, signer.kid).handle,
            *(each for each in claim_handles(payload, policy) if each != policy.everything),
        )
        issued = Issued(read_stamp(stamp), payload["iat"], version if type(version) is int else None, begun_at(payload))
        return cls(issued, tuple(dict.fromkeys(with_links(named, payload))))

    def encode(self) -> bytes:
        """The store's form."""
        epoch, position = self.issued.stamp or ("", 0)
        version = self.issued.version
        number = NO_VERSION if version is None else max(-VERSION_BOUND, min(version, VERSION_BOUND))
        began_at = NEVER if self.issued.began_at is None else self.issued.began_at
        head = _HEAD.pack(FORM, self.issued.at or 0.0, began_at, position, number, epoch.encode())
        return head + b"".join(self.handles)

    @classmethod
    def decode(cls, value: bytes) -> Registered:
        """Raises: UnreadableMark."""
        handles = handles_in(value)
        try:
            _, at, began_at, position, number, epoch = _HEAD.unpack_from(value)
            stamp = None if not epoch.strip(b"\0") else (epoch.decode("ascii"), position)
        except UnicodeDecodeError as unreadable:
            raise UnreadableMark from unreadable
        version = None if number == NO_VERSION else number
        return cls(Issued(stamp, at, version, None if began_at == NEVER else began_at), handles)


def handles_in(value: bytes) -> tuple[bytes, ...]:
    """Those of what is kept of a token, without reading the rest: few tokens meet a ruling. Raises: UnreadableMark."""
    rest = len(value) - _HEAD.size
    if rest <= 0 or rest % DIGEST_BYTES or value[0] != FORM:
        raise UnreadableMark
    return tuple(value[start : start + DIGEST_BYTES] for start in range(_HEAD.size, len(value), DIGEST_BYTES))


class Registry:
    """Of one gate. Threads may race in it: at worst a list is left earlier than it had to be."""

    def __init__(self, url: str, clock: Clock, partitions: int, draw: Callable[[int], int]) -> None:
        """Args: url: under which the lists stand. draw: a random number from 0 to below its argument."""
        self.url = url
        self.clock = clock
        self.partitions = partitions
        self.draw = draw
        self._place: dict[str, ListName] = {}
        self._taken: tuple[bool, ...] = ()

    @property
    def longest_claim(self) -> dict[str, Any]:
        """Stands for a claim ``status`` that is not known yet: no real one is longer."""
        return self._claim(ListName("A" * 11, "h", 10**12 - 1, LONGEST_SERIAL), SIZE - 1)

    def claim(self, policy: IssuerPolicy, payload: Mapping[str, Any], stamp: str) -> Plan[dict[str, Any]]:
        """The claim ``status`` of a token that is about to be signed; its entry is kept from here on. One round trip, mostly.

        Args: payload: all of it but this claim and ``jgp``. stamp: its ``jgp``.
        Raises: StoreUnavailable.
        """
        kept = Registered.of(policy, payload, stamp).encode()
        ends_at = payload["exp"] + policy.leeway_seconds + MARGIN_SECONDS
        seconds = payload["exp"] - payload["iat"]
        span = next((span for span, most in MOST_SECONDS.items() if seconds <= most), "l")
        epoch = stamp.partition(":")[0]
        for _ in range(ATTEMPTS):
            name = self._current(epoch, span)
            index = self.draw(SIZE)
            group, until = group_of(policy.namespace, name), max(ends_at, name.ends_at)
            mark = mark_of(name, index, self.partitions)
            marked: Marked = yield Mark(group, mark, kept, until, self.clock.wall())
            if marked.epoch.name != epoch:  # history was lost meanwhile: that list is unknown already
                epoch = marked.epoch.name
                continue
            if not is_whole(marked, name):
                self._place[span] = ListName(epoch, span, math.ceil(marked.since + MAX_SKEW_SECONDS), name.serial)
                continue
            self._taken = (*self._taken, not marked.is_new)[-TRIES:]
            if marked.is_new:
                return self._claim(name, index)
        raise StoreUnavailable("no entry of a status list could be had")

    def _current(self, epoch: str, span: str) -> ListName:
        """The list that tokens of this span come to now."""
        now, name = self.clock.wall(), self._place.get(span)
        if name is None or name.epoch != epoch or now >= name.ends_at:
            name = ListName(epoch, span, int(now // SPANS[span]) * SPANS[span], 0)
            self._taken = ()
        elif sum(self._taken) > MOST_TAKEN:
            name = name._replace(serial=min(name.serial + 1, LONGEST_SERIAL))
            self._taken = ()
        self._place[span] = name
        return name

    def _claim(self, name: ListName, index: int) -> dict[str, Any]:
        return {"status_list": {"idx": index, "uri": f"{self.url}/{name}"}}
