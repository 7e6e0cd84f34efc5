"""Row 17: what 10,000 tokens of kids that nobody has cost those whose keys are known, and how often they make a gate fetch.

The kinds of request are set off against each other in short blocks that take turns, in one thread, so that only what the
gate does for an unknown kid can slow a known one: locks, fetches, what it forgets.

    alone       known kids, one after the other
    expired     before each, a token of a known kid that is past its exp: refused for free, and no key is asked for
    unknown     before each, a token of a kid that is new, of an issuer whose set is older than the cool-down

Both kinds are held against ``alone``. Remembered ones stand beside ``expired`` as well: a hit among hits finds its two
microseconds of code in the processor's caches, and whatever comes between throws them out. The gate's own cool-down is in force. Then the
same with the flood in another thread: there every request waits for the interpreter, whatever the flood is of, so that one of
unknown kids stands beside one of expired tokens, without a bar. The endpoint of the keys is another process.

In one thread, requests in which the machine took the processor away are left out. Waiting for a lock is no such thing: it counts.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from itertools import cycle
from typing import TYPE_CHECKING

from benchmarks.callers import SHELLS
from benchmarks.key_endpoint import HOWS, Endpoint
from benchmarks.measuring import Line, Options, median, percentile
from jwtgate import Gate, Settings
from jwtgate.core.keys.fetching import COOL_DOWN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.callers import Block, Caller, Prepared

__all__ = ["unknown_kids"]

BAR = 1.1
BLOCK = 50
WARM_UP = 5
"""Of each block, not timed: what the block before has left in the processor's caches is not this one's."""

KINDS = ("first seen", "remembered")
"""Of known kids."""

LEASE_SECONDS = 3.0


def unknown_kids(options: Options) -> list[Line]:
    """Both shells, and an endpoint that answers, fails and hangs."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(Endpoint())
        cases = [_Case(options, endpoint, how, shell, stack) for how in HOWS for shell in SHELLS]
        time.sleep(COOL_DOWN_SECONDS + 0.5)  # now an unknown kid is a reason to ask again
        return [line for case in cases for line in case.measured(options)]


class _Case:
    """One gate, one shell, one endpoint."""

    def __init__(self, options: Options, endpoint: Endpoint, how: str, shell: str, stack: ExitStack) -> None:
        self.name = f"{shell}, endpoint {how}"
        self.endpoint, self.path = endpoint, f"/{how}/{shell}"
        self.gate = Gate(
            Settings(
                store=options.url,
                prefix=f"kids-{how}-{shell}",
                lease=LEASE_SECONDS,
                issuer=endpoint.key.issuer,
                jwks_url=endpoint.url + self.path,
                jwks_http=True,
            )
        )
        stack.enter_context(closing(self.gate))
        self.caller = stack.enter_context(closing(SHELLS[shell](self.gate)))
        if not self.gate.ready(20.0):
            raise AssertionError("the view did not become live")

    def measured(self, options: Options) -> Iterator[Line]:
        """The lines of one thread, then those of two."""
        rounds, blocks = options.pick(10, 3), options.pick(30, 10)
        key = self.endpoint.key
        known = [self.caller.prepared(token) for token in key.tokens(BLOCK)]
        expired = self.caller.prepared(key.token(-600))
        unknown = map(self.caller.prepared, key.unknown())
        count = self._counting()
        ways: dict[str, Callable[[], Block]] = {
            "alone": lambda: [(None, each) for each in known],
            "expired": lambda: [(expired, each) for each in known],
            "unknown": lambda: [(next(unknown), each) for each in known],
        }
        samples = {kind: self._in_turns(kind, ways, rounds, blocks) for kind in KINDS}
        yield self._line(samples, count(), len(KINDS) * (rounds + 1) * blocks * BLOCK)
        yield self._beside(known, expired, unknown, options)

    def _counting(self) -> Callable[[], tuple[int, int]]:
        """Asked later: fetches since now, and how many cool-downs allow."""
        began, fetched = time.monotonic(), self.endpoint.counted(self.path)
        return lambda: (
            self.endpoint.counted(self.path) - fetched, 1 + int((time.monotonic() - began) / COOL_DOWN_SECONDS)
        )  # fmt: skip

    def _in_turns(
        self, kind: str, ways: dict[str, Callable[[], Block]], rounds: int, blocks: int
    ) -> dict[str, list[list[float]]]:
        """Per way and round, seconds of each request. The first round is thrown away."""
        samples: dict[str, list[list[float]]] = {name: [] for name in ways}
        for _ in range(rounds + 1):
            found: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(blocks):
                for name, block in ways.items():
                    if kind == "first seen":
                        self.gate.view.forget_admitted()
                    prepared = block()
                    self.caller.call(prepared[:WARM_UP])
                    found[name] += self.caller.call(prepared[WARM_UP:] if kind == "first seen" else prepared)
            for name, seconds in found.items():
                samples[name].append(seconds)
        return {name: of_rounds[1:] for name, of_rounds in samples.items()}

    def _line(self, samples: dict[str, dict[str, list[list[float]]]], counts: tuple[int, int], kids: int) -> Line:
        fetches, most = counts
        figures, others, ratios, values = [], [], [], {"fetches": float(fetches)}
        for kind, ways in samples.items():
            figures.append(f"{kind} {_shown(ways['unknown'])}")
            others.append(f"{kind} alone {_shown(ways['alone'])}, expired between {_shown(ways['expired'])}")
            shares = {name: _ratio(ways["unknown"], ways[name]) for name in ("alone", "expired")}
            ratios.append(f"{kind} p99 {shares['alone']:.2f} of alone, {shares['expired']:.2f} of expired")
            values |= {f"{kind} p99 of {name}": share for name, share in shares.items()}
        is_met = fetches <= most and all(values[f"{kind} p99 of alone"] <= BAR for kind in KINDS)
        return Line(
            f"17 {kids:,} unknown kids between, {self.name}",
            "; ".join([*figures, f"{fetches} fetches"]),
            "; ".join(others),
            "; ".join(ratios),
            "; ".join([*(f"{kind} p99 <= {BAR:g} x alone" for kind in KINDS), f"<= {most} fetches"]),
            is_met,
            values,
        )

    def _beside(self, known: list[Prepared], expired: Prepared, unknown: Iterator[Prepared], options: Options) -> Line:
        """Known kids, first seen, while another thread asks with the others without pause."""
        floods: dict[str, Iterator[Prepared] | None] = {"alone": None, "expired": cycle([expired]), "unknown": unknown}
        samples: dict[str, list[list[float]]] = {name: [] for name in floods}
        count = self._counting()
        for _ in range(options.pick(10, 3)):
            for name, flood in floods.items():
                with _Flood(self.caller, flood):
                    seconds: list[float] = []
                    for _ in range(10):
                        self.gate.view.forget_admitted()
                        seconds += self.caller.call([(None, each) for each in known], is_alone=False)
                samples[name].append(seconds)
        share, (fetches, most) = _ratio(samples["unknown"], samples["expired"]), count()
        return Line(
            f"17 unknown kids in another thread, {self.name}",
            f"{_shown(samples['unknown'])}; {fetches} fetches",
            f"alone {_shown(samples['alone'])}; expired tokens there {_shown(samples['expired'])}",
            f"p99 {share:.2f} of expired tokens",
            f"<= {most} fetches",
            fetches <= most,
            {"p99 of expired": share, "fetches": fetches},
        )


class _Flood:
    """A thread that asks with one token after the other. Args: tokens: None: no thread."""

    def __init__(self, caller: Caller, tokens: Iterator[Prepared] | None) -> None:
        self._end = threading.Event()
        self._caller, self._tokens = type(caller)(caller.gate), tokens
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        if self._tokens is not None:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._tokens is not None:
            self._thread.join()
        self._caller.close()

    def _run(self) -> None:
        assert self._tokens is not None
        for prepared in self._tokens:
            self._caller.call_refused(prepared)
            if self._end.is_set():
                return


def _shown(rounds: list[list[float]]) -> str:
    p50, p99 = (median(percentile(each, percent) for each in rounds) * 1e6 for percent in (50, 99))
    return f"p50 {p50:.1f}, p99 {p99:.1f} µs"


def _ratio(rounds: list[list[float]], base: list[list[float]]) -> float:
    return median(percentile(one, 99) / percentile(other, 99) for one, other in zip(rounds, base, strict=True))
