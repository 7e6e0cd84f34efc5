"""What ``jwtgate doctor`` finds: the settings, then the live store, then the workers that follow it.

Registers nowhere and writes nothing: but where the store's history is lost, its own next step opens a new one (H1), as
that of any process would.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import stat
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING

from jwtgate.auditing import audit_settings, weaknesses_of_mistakes
from jwtgate.cli.gates import HEALING_LEASES, Visitor
from jwtgate.cli.printing import span
from jwtgate.errors import SettingsError, StoreUnavailable
from jwtgate.settings import Settings
from jwtgate.settings.issuers import SIGNING_KEYS
from jwtgate.settings.urls import mask_url
from jwtgate.stores.contract import Weakness
from jwtgate.stores.opening import SQL_SCHEMES

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from jwtgate.core.history import Epoch
    from jwtgate.stores.contract import Store

__all__ = ["FETCHED_SECONDS", "Examination", "examine"]

LONGEST_WATCH_SECONDS = 5.0
"""A worker renews several times a lease; of a lease that is longer than this, we do not wait for it."""

RENEWED_BY_LEASE = 0.5
"""Of a lease: by then a worker has renewed, whose reads last 0.3 of it."""

LOOK_SECONDS = 0.05

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of a worker, as ours have it: a line that is to be copied holds no other."""

FETCHED_SECONDS = 6.0
"""In which published keys have come, if they come at all."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes:
        findings: problems first.
        condition: the store's, in half a sentence; empty where it was not seen.
    """

    findings: tuple[Weakness, ...]
    condition: str

    @property
    def is_sound(self) -> bool:
        """Hints are advice."""
        return not any(finding.severity == "problem" for finding in self.findings)


def examine(environ: Mapping[str, str]) -> Examination:
    """Everything. Args: environ: names to text, as for ``Settings.from_env``."""
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        return _examination(weaknesses_of_mistakes(error.mistakes), "The store was not asked")
    findings = [*audit_settings(settings, environ), *_exposed_keys(settings)]
    condition = ""
    try:
        # Without STRICT, which would end at the first finding of the store's.
        with _silence(), closing(Visitor(replace(settings, strict=False))) as gate:
            findings += _unfetched(gate)
            condition = _examine_store(gate.store, settings, findings)
    except SettingsError as error:
        findings += (replace(each, about="JWTGATE_STORE") for each in weaknesses_of_mistakes(error.mistakes))
    except StoreUnavailable as error:
        findings.append(_unusable(settings.store, error))
    return _examination(tuple(findings), condition)


def _exposed_keys(settings: Settings) -> Generator[Weakness]:
    """Files with private keys that others of this machine may read, or change."""
    for variable, value in _private_keys(settings):
        if "-----BEGIN" in value:
            continue
        for path in (Path(value), *Path(value).glob("*.json")):
            with suppress(OSError):
                if path.is_file() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                    problem = f"{path} holds a private key, and not only its owner may read it: who can sign admits anybody."
                    yield Weakness(problem, f"chmod 600 {shlex.quote(str(path))}", about=variable)


def _private_keys(settings: Settings) -> Generator[tuple[str, str]]:
    """The settings that hold keys that sign, by name."""
    entries = json.loads(str(settings.issuers or "[]"))
    for name in SIGNING_KEYS:
        found = {f"JWTGATE_{name.upper()}": getattr(settings, name)}
        found.update({f"JWTGATE_ISSUERS[{index}].{name}": entry.get(name) for index, entry in enumerate(entries)})
        yield from ((variable, str(value)) for variable, value in found.items() if value is not None)


def _unfetched(gate: Visitor) -> Generator[Weakness]:
    """Issuers whose keys do not come, from where we stand: nobody is admitted with a token of theirs."""
    gate.start()
    deadline = time.monotonic() + FETCHED_SECONDS
    while any(not reason for _, reason in gate.fetcher.missing()) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    for published, reason in gate.fetcher.missing():
        member = "issuer" if published.is_discovered else "jwks_url"
        about = f"{published.label}.{member}" if published.label else f"JWTGATE_{member.upper()}"
        problem = f"{about}: its keys cannot be fetched from here, and its tokens get 503: {reason or 'no answer in time'}."
        yield Weakness(problem, f"curl -i {shlex.quote(mask_url(published.url))}", about=about)


def _examination(findings: tuple[Weakness, ...], condition: str) -> Examination:
    return Examination(tuple(sorted(findings, key=lambda finding: finding.severity == "hint")), condition)


@contextmanager
def _silence() -> Generator[None]:
    """What the gate would log are the findings themselves."""
    logger = logging.getLogger("jwtgate")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _examine_store(store: Store, settings: Settings, findings: list[Weakness]) -> str:
    """Adds to the findings. Returns: the condition. Raises: StoreUnavailable: it does not answer at all."""
    found = store.audit()
    findings += found
    if settings.store == "memory://":
        return "Store: memory://"
    try:
        watched = _watch(store, settings.lease)
    except StoreUnavailable as error:
        if not any(finding.severity == "problem" for finding in found):  # else it is what they said
            problem = f"The store answers, but does not do its work: {_reason(error)}."
            findings.append(Weakness(problem, "jwtgate doctor  # again, after a look into the server's own log"))
        return f"Store: {mask_url(settings.store)}, not usable"
    findings += watched.weaknesses(settings)
    return f"Store: {mask_url(settings.store)}, {watched}"


@dataclass(frozen=True, slots=True)
class _Watched:
    """Workers, seen for a while.

    Attributes:
        epoch: as it was in the end.
        live: who renewed meanwhile; where the lease is too long to wait for that, all that are registered.
        silent: who did not: stopped without a farewell, or cut off.
        behind: how many of the live had not acknowledged the log's end of the beginning.
        endless: names of the silent that may act on what they know for ever.
        is_long: whether the lease was waited for.
    """

    epoch: Epoch
    live: int
    silent: int
    behind: int
    is_long: bool
    endless: tuple[str, ...]

    def weaknesses(self, settings: Settings) -> Generator[Weakness]:
        """What of it is no mere information."""
        in_force = self.epoch.lease_seconds
        if self.live and in_force != settings.lease:
            yield Weakness(
                f"JWTGATE_LEASE is {settings.lease:g} and the running workers' is {in_force:g}: "
                "a process with another lease than theirs does not follow, and each of its requests asks the store.",
                f"JWTGATE_LEASE={in_force:g}",
                about="JWTGATE_LEASE",
            )
        if self.live and not self.epoch.is_healed:
            yield Weakness(
                "The store's history has not been healed for seconds, though workers run: requests get 503.",
                "jwtgate doctor  # again; the workers' logs say what keeps them",
                about="history",
            )
        for name in self.endless:
            yield Weakness(
                f"The worker {name}, under JWTGATE_ON_STORE_DOWN=admit, was killed, or is cut off and admits what is revoked: "
                "no receipt is effective everywhere while it is on the list. Take it off once its process is gone.",
                _taking_off(name, settings),
                about="workers",
            )

    def __str__(self) -> str:
        """For the last line."""
        healed = "healed" if self.epoch.is_healed else "not healed yet, which the first worker sees to"
        parts = [healed, f"{self.live} worker{'' if self.live == 1 else 's'} {'live' if self.is_long else 'registered'}"]
        parts += [f"{self.silent} silent"] if self.silent else []
        parts += [f"{self.behind} behind"] if self.behind else []
        return ", ".join([*parts, f"lease {span(self.epoch.lease_seconds)}"])


def _watch(store: Store, lease_seconds: float) -> _Watched:
    """Looks until every worker has renewed and the history is healed, or nobody is left to wait for."""
    began = time.monotonic()
    epoch, end, workers = store.workers()
    beats = {worker.name: worker.beat for worker in workers}
    lease = max(lease_seconds, epoch.lease_seconds)
    while True:
        live = [worker for worker in workers if beats.get(worker.name) != worker.beat]
        behind = sum(worker.acknowledged < end.position for worker in live)
        waited = time.monotonic() - began
        patience = lease if epoch.is_healed or not live else HEALING_LEASES * lease
        is_done = len(live) == len(workers) and not behind and epoch.is_healed
        if not workers or is_done or waited > min(patience, LONGEST_WATCH_SECONDS):
            break
        time.sleep(LOOK_SECONDS)
        epoch, _, workers = store.workers()
    is_long = not workers or waited >= RENEWED_BY_LEASE * lease or len(live) == len(workers)
    silent = [worker for worker in workers if worker not in live] if is_long else []
    endless = tuple(worker.name for worker in silent if isinf(worker.reach_seconds) and NAME.fullmatch(worker.name))
    return _Watched(epoch, len(live if is_long else workers), len(silent), behind, is_long, endless)


def _taking_off(name: str, settings: Settings) -> str:
    """What takes a worker off the list, of partition 0; one that lives comes back to it by itself."""
    if not settings.store.startswith(SQL_SCHEMES):
        return f"HDEL {shlex.quote(f'{{{settings.prefix}:0}}:workers')} {shlex.quote(name)}"
    from jwtgate.stores.sql.tables import tables_of  # here, since it needs the extra

    octets = f"CAST('{name}' AS BLOB)" if settings.store.startswith("sqlite") else f"'{name}'"
    return f"DELETE FROM {tables_of(settings.prefix).workers.name} WHERE name = {octets}"  # noqa: S608 - see ``NAME``


OTHER_KIND = {
    "is no node of a cluster": "JWTGATE_STORE=redis://<host>:<port>",
    "it is a node of a cluster": "JWTGATE_STORE=redis+cluster://<host>:<port>,<host>:<port>",
    "is no Sentinel": "JWTGATE_STORE=redis://<host>:<port>  # or redis+sentinel:// with the port of a Sentinel, mostly 26379",
    "knows no such service": "JWTGATE_STORE=redis+sentinel://<hosts>/<a name that SENTINEL MASTERS tells>",
}
"""What is said of a server that is there and is not what the URL calls it -> the line that mends it."""


OF_USER = {
    "read-only transaction": "ALTER ROLE <the gate's user> SET default_transaction_read_only = off  # or another server",
    "search_path names none": "ALTER ROLE <the gate's user> SET search_path = <a schema that is there>",
    "due to statement timeout": "ALTER ROLE <the gate's user> SET statement_timeout = '1s'",
}
"""What PostgreSQL says where something that was set for the user, the database or the server makes the store unusable."""


def _unusable(url: str, error: StoreUnavailable) -> Weakness:
    """One clear line that names the variable."""
    told, reason = f"JWTGATE_STORE, {mask_url(url)},", _reason(error)
    scheme = url.partition("://")[0]
    if "Authentication" in str(error):
        return Weakness(
            f"{told} refuses the user or the password, or asks for one ({reason}).",
            f"JWTGATE_STORE={scheme}://<user>:<password>@<host>",
        )
    if "layout version" in reason:
        return Weakness(f"{told} cannot be used: {reason}.", "pip install --upgrade jwtgate  # or another JWTGATE_PREFIX")
    if "the user or the password" in reason or "let this user in" in reason:
        return Weakness(
            f"{told} does not let us in: {reason}.", f"JWTGATE_STORE={scheme}://<user>:<password>@<host>/<database>"
        )
    if "no database of this name" in reason:
        return Weakness(f"{told} does not let us in: {reason}.", f"JWTGATE_STORE={scheme}://<host>/<a database that is there>")
    for words, remedy in OF_USER.items():
        if words in reason:
            return Weakness(f"{told} cannot be used: {reason}.", remedy)
    for words, remedy in OTHER_KIND.items():
        if words in reason:
            return Weakness(f"{told} is not what its URL says: {reason}.", remedy)
    if "is out of range" in str(error) or "Invalid Database" in str(error):
        return Weakness(f"{told} has no database of that number ({reason}).", f"JWTGATE_STORE={scheme}://<host>/0")
    return Weakness(f"{told} cannot be reached: {reason}.", "JWTGATE_STORE=<the URL of a store that is running>")


def _reason(error: StoreUnavailable) -> str:
    """Without the names of a library's classes."""
    text = str(error)
    for prefix in ("the store (JWTGATE_STORE) failed: ", "JWTGATE_STORE: "):
        text = text.removeprefix(prefix)
    text = text.strip().rstrip(".")
    kind, colon, rest = text.partition(": ")
    reason = rest if colon and kind.isidentifier() else text
    return "no answer in time" if any(each in reason for each in ("temporarily unavailable", "Timeout reading")) else reason
