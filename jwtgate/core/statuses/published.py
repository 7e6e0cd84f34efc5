"""Our status lists as others get them: computed from what is kept of our tokens and the rulings, and signed.

Each entry is judged as the one decision judges a token: ``SUSPENDED`` where nothing but the suspension of its subject kills
it, which may be lifted, else ``INVALID``; what belongs to nobody is valid. A list is made at most once in ``fresh_seconds`` in
each process, whoever asks, and what is made may be a little old: receipts do not speak of those who read lists. What took a
second to make is fresh for four, so no number of tokens keeps a process busy with lists alone.

Fails closed: a list of another epoch, one that lost a mark, or that no token ever came to, is unknown (404), never one that
calls all valid. It is judged by one epoch from its first mark to its last; what cannot be read, or is of a history that heals,
is ``StoreUnavailable``.

Rulings come from the view while it is live and complete, else from look-ups; R1: what is known here counts in any case. To
judge and to pack takes long where there are many tokens, so no event loop does.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from jwtgate.core.effects import Compute, Looked, LookUp, Mark, Marks, Pause, Plan
from jwtgate.core.judgement import readable
from jwtgate.core.keys.signing import sign
from jwtgate.core.statuses.registry import (
    MOST_SECONDS,
    SIZE,
    SPANS,
    TAG_BYTES,
    ListName,
    Registered,
    UnreadableMark,
    group_of,
    handles_in,
    index_of,
    is_whole,
    mark_of,
)
from jwtgate.core.statuses.status_list import INVALID, SUSPENDED, VALID, StatusList
from jwtgate.core.statuses.strangers import COST_SHARE, Strangers
from jwtgate.core.tokens.types import STATUS_LIST_TYPE
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from jwtgate.core.effects import Clock
    from jwtgate.core.history import Marked, MarkPage
    from jwtgate.core.rulings import Ruling
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.core.view import View

    Entry = tuple[int, bytes]

__all__ = ["Published", "StatusLists"]

BITS = 2

LEVEL = 6
"""Of compression: at 100,000 entries that are not valid 70 ms for 127 KB in base64, where the highest takes 720 for 120."""

KEPT_SECONDS = 3600.0
"""How long a list outlives its ``ttl`` while we cannot be reached."""

MAX_FRESH_SECONDS = 5.0
TTL_SHARE = 6
"""A list is fresh for a sixth of its ttl, so who asks again at four fifths of it knows within one ttl."""

MAX_MADE = 16
"""Lists kept as they were made: at 2**20 entries seldom over 100 KB each."""

PAGE, CHUNK = 1000, 500
"""Marks judged in one go, three to twenty milliseconds; handles of one look-up."""

MAKING_SECONDS = 15.0
PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Published:
    """A list as it is served.

    Attributes:
        token: the Status List Token.
        tag: of its octets, for ``ETag``.
        fresh_until: boot-clock seconds until which it is served.
        max_age_seconds: how long that is from the moment it was asked for.
    """

    token: str = field(repr=False)
    tag: str
    fresh_until: float
    max_age_seconds: int = 0


class StatusLists:
    """Of one gate in one process."""

    def __init__(self, url: str, policy: Callable[[], IssuerPolicy], view: View, clock: Clock, ttl_seconds: float) -> None:
        """Args: url: under which the lists stand. policy: of the issuer that signs."""
        self.url = url
        self.policy = policy
        self.view = view
        self.clock = clock
        self.ttl_seconds = ttl_seconds
        self.fresh_seconds = min(MAX_FRESH_SECONDS, ttl_seconds / TTL_SHARE)
        self._made: OrderedDict[str, Published] = OrderedDict()
        self._making: set[str] = set()
        self._strangers = Strangers()

    def published(self, text: str) -> Plan[Published | None]:
        """The list of that name; None: there is none. Who comes while it is made waits for it.

        Raises: StoreUnavailable: nobody can know what stands in it, or it took too long.
        """
        name = ListName.read(text)
        if name is None or self._is_out_of_time(name):
            return None
        until, group = self.clock.boot() + MAKING_SECONDS, group_of(self.policy().namespace, name)
        while (maker := text if text in self._made else group) in self._making:
            if self.clock.boot() >= until:
                raise StoreUnavailable("a status list takes too long")
            yield Pause(PAUSE_SECONDS)
        made = self._made.get(text)
        if made is None and not self._strangers.may_seek(group, name.tag, self.clock.boot()):
            raise StoreUnavailable("a status list was sought in vain a moment ago")
        if made is None or self.clock.boot() >= made.fresh_until:
            self._making.add(maker)
            try:
                made = yield from self._make(text, name, until)
            finally:
                self._making.discard(maker)
        if made is None:
            self._made.pop(text, None)
            return None
        return replace(made, max_age_seconds=max(0, int(made.fresh_until - self.clock.boot())))

    def _is_out_of_time(self, name: ListName) -> bool:
        """Whether no token of it can be alive, or none was issued yet: nobody need ask the store then."""
        now, policy = self.clock.wall(), self.policy()
        longest = MOST_SECONDS.get(name.span, policy.max_ttl_seconds)
        slack = policy.leeway_seconds + SPANS["h"]
        return not name.begins_at - slack <= now <= name.ends_at + longest + slack

    def _make(self, text: str, name: ListName, until: float) -> Plan[Published | None]:
        policy, asked_at = self.policy(), self.clock.boot()
        judge = _Judge(policy, self.view, name.epoch)
        if not (yield from self._is_current(policy, name)):
            return None
        values: dict[int, int] = {}
        group, tag = group_of(policy.namespace, name), name.tag
        count, after, met = 0, None, set[bytes]()
        while True:
            page: MarkPage = yield Marks(group, after, PAGE)
            entries = [(index_of(mark), value) for mark, value, _ in page.marks if mark.startswith(tag)]
            entries = [entry for entry in entries if entry[0] < SIZE]
            if entries and page.epoch.name != name.epoch:
                return None
            yield from judge.prepare(entries, is_live=self.view.is_live(self.clock.boot()))
            values |= yield Compute(partial(judge.judged, entries))
            met.update(mark[:TAG_BYTES] for mark, _, _ in page.marks)
            count += len(entries)
            after = page.after
            if after is None:
                break
            if self.clock.boot() >= until:
                raise StoreUnavailable("a status list takes too long")
        if not count:
            self._strangers.found_none(group, met, asked_at, self.clock.boot())
            return None
        if not (yield from self._is_whole(name, group)) or not (yield from self._is_current(policy, name)):
            return None
        made: Published = yield Compute(partial(self._signed, policy, text, values, asked_at))
        self._made.pop(text, None)  # so that it is the latest; in one step each, since threads come here
        self._made[text] = made
        while len(self._made) > MAX_MADE:
            self._made.popitem(last=False)
        return made

    def _is_current(self, policy: IssuerPolicy, name: ListName) -> Plan[bool]:
        """Whether the store's history is the one that the list is of. Raises: StoreUnavailable: it heals."""
        looked: Looked = yield LookUp((policy.everything,))
        if not looked.facts.epoch.is_healed:
            raise StoreUnavailable("the store's history is healing")
        return looked.facts.epoch.name == name.epoch

    def _is_whole(self, name: ListName, group: str) -> Plan[bool]:
        """Asked with a mark that stands for no entry, and only of a list that has some: strangers make no groups."""
        now = self.clock.wall()
        witness = mark_of(name, SIZE, len(self.view.parts))
        marked: Marked = yield Mark(group, witness, b"-", now + SPANS["h"], now)
        return marked.epoch.name == name.epoch and is_whole(marked, name)

    def _signed(self, policy: IssuerPolicy, text: str, values: Mapping[int, int], asked_at: float) -> Published:
        """It is as fresh as the first thing that was asked for it."""
        signer = policy.keys.signer
        if signer is None:
            raise StoreUnavailable("no key signs at the moment")
        now = int(self.clock.wall() - (self.clock.boot() - asked_at))
        claims = {
            **({} if policy.issuer is None else {"iss": policy.issuer}),
            "sub": f"{self.url}/{text}",
            "iat": now,
            "exp": now + int(self.ttl_seconds + KEPT_SECONDS),
            "ttl": int(self.ttl_seconds) if self.ttl_seconds.is_integer() else self.ttl_seconds,
            "status_list": StatusList.of(SIZE, values.items(), BITS).encode(LEVEL),
        }
        token = sign(signer, claims, STATUS_LIST_TYPE)
        fresh_seconds = max(self.fresh_seconds, COST_SHARE * (self.clock.boot() - asked_at))
        return Published(token, sha256(token.encode()).hexdigest()[:32], asked_at + fresh_seconds)


class _Judge:
    """Of one list: whether rulings let its tokens live."""

    def __init__(self, policy: IssuerPolicy, view: View, epoch: str) -> None:
        self._policy = policy
        self._view = view
        self._epoch = epoch
        self._looked: dict[bytes, bytes | None] = {}
        self._read: dict[bytes, Ruling] = {}
        self._is_from_memory = False

    def prepare(self, entries: Sequence[Entry], *, is_live: bool) -> Plan[None]:
        """Looks up what the view cannot vouch for, once for each handle of the list. Raises: StoreUnavailable."""
        self._is_from_memory = is_live and self._view.is_complete and self._view.parts[0].epoch == self._epoch
        if self._is_from_memory:
            return
        with _readable_marks():
            handles = dict.fromkeys((self._policy.everything, *(each for _, value in entries for each in handles_in(value))))
        missing = [each for each in handles if each not in self._looked]
        for start in range(0, len(missing), CHUNK):
            chunk = tuple(missing[start : start + CHUNK])
            looked: Looked = yield LookUp(chunk)
            if looked.facts.epoch.name != self._epoch or not looked.facts.epoch.is_healed:
                raise StoreUnavailable("the store's history is another one")
            self._looked.update(zip(chunk, looked.facts.rulings, strict=True))

    def judged(self, entries: Sequence[Entry]) -> dict[int, int]:
        """Those that are not valid. Raises: StoreUnavailable: something cannot be read."""
        found: dict[int, int] = {}
        known = self._view.rulings
        with _readable_marks():
            for index, value in entries:
                status = self._status(value, known)
                if status != VALID:
                    found[index] = status
        if self._is_from_memory and not known.is_complete:
            raise StoreUnavailable("memory was full a moment ago")
        return found

    def _status(self, value: bytes, known: Mapping[bytes, bytes]) -> int:
        handles = (*handles_in(value), self._policy.everything)
        texts = [known[handle] for handle in handles if handle in known]
        if self._looked:
            texts += (text for handle in handles if (text := self._looked.get(handle)) is not None)
        if not texts:
            return VALID
        kept = Registered.decode(value)
        rulings = [self._ruling(text) for text in texts]
        leeway = self._policy.leeway_seconds
        if not any(ruling.kills(kept.issued, self._epoch, leeway) for ruling in rulings):
            return VALID
        suspending = {known.get(kept.handles[0]), self._looked.get(kept.handles[0])}
        rest = [replace(r, toggle=None) if text in suspending else r for r, text in zip(rulings, texts, strict=True)]
        return INVALID if any(ruling.kills(kept.issued, self._epoch, leeway) for ruling in rest) else SUSPENDED

    def _ruling(self, text: bytes) -> Ruling:
        """Rulings on many tokens are read once."""
        ruling = self._read.get(text)
        if ruling is None:
            (ruling,) = readable((text,))
            assert ruling is not None, "there is a text"
            self._read[text] = ruling
        return ruling


@contextmanager
def _readable_marks() -> Generator[None]:
    """Raises: StoreUnavailable: what a mark would say cannot be known."""
    try:
        yield
    except UnreadableMark as error:
        raise StoreUnavailable("a registered token cannot be read") from error
