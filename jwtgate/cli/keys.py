"""``jwtgate keys``: make, show, rotate and retire the keys that sign, in the file of JWTGATE_PRIVATE_KEYS.

Workers look at the file about every second, so none has to be started anew. What a rotation must wait for, and why nobody is
logged out by it, stands in ``core.keys.schedule``.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jwtgate.cli.answering import FAILED, Misuse, answering
from jwtgate.cli.examining import FETCHED_SECONDS
from jwtgate.cli.gates import opened, telling
from jwtgate.cli.key_files import KeyFiles, locked, named, new_key
from jwtgate.cli.options import Json
from jwtgate.cli.printing import Column, dump, plain, say, span, table, until
from jwtgate.core.handles import digest_of
from jwtgate.core.keys.material import ALGORITHMS, UnusableKeyError
from jwtgate.core.keys.schedule import OwnKey, retired, rotated, signing, verifying
from jwtgate.runtime import blocking
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jwtgate.cli.gates import Visitor
    from jwtgate.core.keys.ring import Key
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.messages import Receipt

__all__ = ["list_keys", "new", "renew", "retire", "rotate"]

UNKNOWN = "Whether it was written is not known; to ask again does no harm"

File = Annotated[
    Path | None,
    typer.Option("--file", envvar="JWTGATE_PRIVATE_KEYS", show_envvar=True, help="A JWK Set file, or a folder of such files."),
]
Algorithm = Annotated[str | None, typer.Option("--alg", metavar="ALG", help=f"One of {', '.join(ALGORITHMS)}.")]

COLUMNS = (
    *(Column("kid", "whole"), Column("alg", "short"), Column("state", "short")),
    *(Column("signs from", "moment"), Column("verifies until", "moment")),
)


@answering
def new(*, file: File = None, alg: Algorithm = None, as_json: Json = False) -> int:
    """Make the first key, in a new file that only its owner may read. It signs at once."""
    path = _named(file)
    with locked(path):
        files = KeyFiles(path)
        if files.read():
            raise Misuse(f"{named(path)} has keys already: jwtgate keys rotate adds the next one")
        keys = rotated((), new_key(_algorithm(alg or "ES256")), _now(), token_seconds=0)
        files.write(keys)
    return _tell(keys, f"Made {path}. Point JWTGATE_PRIVATE_KEYS to it.", as_json=as_json)


@answering
def list_keys(*, file: File = None, as_json: Json = False) -> int:
    """Show the keys and what each is for now."""
    return _tell(_keys_in(KeyFiles(_named(file))), "", as_json=as_json)


@answering
def rotate(*, file: File = None, alg: Algorithm = None, as_json: Json = False) -> int:
    """Add the next key: published now, it signs in ten minutes; the one before verifies until its tokens have expired."""
    path = _named(file)
    token_seconds = max(each.max_ttl_seconds + each.leeway_seconds for each in Settings.from_env().policies.values())
    with locked(path):
        files = KeyFiles(path)
        keys = _keys_in(files)
        last = signing(keys, _now()) or keys[-1]
        added = new_key(_algorithm(alg or last.algorithm))
        keys = rotated(keys, added, _now(), token_seconds=token_seconds)
        files.write(keys)
    (starts,) = (key.signs_from for key in keys if key.kid == added.kid)
    return _tell(keys, f"The next key is published and signs from {until(starts)} on.", as_json=as_json)


@answering
def retire(
    *,
    kid: Annotated[str, typer.Argument(metavar="KID", help="The key's ID.")],
    file: File = None,
    issuer: Annotated[str | None, typer.Option(help="A configured issuer, whose key it is; needed where several are.")] = None,
    as_json: Json = False,
) -> int:
    """Take a key away now: every token under it dies, everywhere, also one that a worker remembers. Waits for the receipt."""
    with opened("retire a key") as gate:
        try:
            policy = gate.plans.targets.policy(issuer)
        except ValueError as error:
            raise Misuse(f"{error}. Nothing was retired.") from None
        handles = () if file is None else _retired_in_file(gate, file, kid, policy)
        stands = "; workers that read the file turn to it. Ask again" if handles else ". Ask again"
        if not handles:
            handles = _handles_in_use(gate, kid, policy)
        with telling(
            unwritten=f"No ruling was written{stands}", unknown=f"Whether the ruling was written is not known{stands}"
        ):
            receipt = blocking.run(gate.plans.retire(handles, wait=True, key_id=kid, issuer=policy.issuer), gate.performer)
    return _tell_receipt(receipt, as_json=as_json)


@answering
def renew(
    *,
    sub: Annotated[str, typer.Option("--sub", help="The subject.")],
    issuer: Annotated[str | None, typer.Option(help="A configured issuer; needed where several are.")] = None,
    as_json: Json = False,
) -> int:
    """Give a subject another key under JWTGATE_DERIVED_KEYS; the access tokens it has die everywhere. Waits for the receipt."""
    with opened("renew a subject's key") as gate, telling(unwritten="Nothing was changed", unknown=UNKNOWN):
        try:
            receipt = gate.once_healed(lambda: gate.renew_key(sub, issuer=issuer, wait=True))
        except ValueError as error:
            raise Misuse(f"{error}. Nothing was changed.") from None
    return _tell_receipt(receipt, as_json=as_json)


def _retired_in_file(gate: Visitor, path: Path, kid: str, policy: IssuerPolicy) -> tuple[bytes, ...]:
    """Its handle, if it stands in the file, where it verifies no longer from now on.

    Raises: Misuse: no other could sign; or the file is not that of the issuer, under whose name nobody would look for it.
    """
    with locked(path):
        files = KeyFiles(path)
        keys = files.read()
        handles = {key.kid: digest_of(policy.namespace, "key", key.material.fingerprint) for key in keys}
        if kid not in handles:
            return ()
        if not any(key.handle in handles.values() for key in _keys_in_use(gate, policy, handles[kid])):
            raise Misuse(
                f"{named(path)} holds no key of that issuer; --issuer is the one whose keys they are. Nothing was retired."
            )
        try:
            files.write(retired(keys, kid, _now()))
        except UnusableKeyError as unusable:
            raise Misuse(f"{named(path)} {unusable}. Nothing was retired.") from None
    return (handles[kid],)


def _keys_in_use(gate: Visitor, policy: IssuerPolicy, wanted: bytes | None = None) -> Sequence[Key]:
    """Those that this configuration verifies with; where ``wanted`` is not among them, once the published ones have come."""
    gate.start()
    deadline = time.monotonic() + FETCHED_SECONDS
    while not policy.keys.is_whole and time.monotonic() < deadline and wanted not in {key.handle for key in policy.keys.keys}:
        time.sleep(0.02)
    return policy.keys.keys


def _handles_in_use(gate: Visitor, kid: str, policy: IssuerPolicy) -> tuple[bytes, ...]:
    """Of a key that this configuration verifies with, and others sign. Raises: Misuse: there is none of that name."""
    keys, signer = _keys_in_use(gate, policy), policy.keys.signer
    if signer is not None and signer.kid == kid:
        raise Misuse("that key signs: what is made with it would be dead at once. Give the workers another one first")
    handles = {key.handle for key in keys if key.kid == kid}
    if not handles:
        known = sorted({plain(key.kid) for key in keys if key.kid})
        if not policy.keys.is_whole:
            raise Misuse(f"the keys of that issuer have not come ({gate.unfetched()}). Nothing was retired.")
        raise Misuse(f"no key has that kid; configured are {', '.join(known) or 'only keys without one'}. Nothing was retired.")
    return tuple(handles)


def _now() -> float:
    """A whole NumericDate, as the set holds them."""
    return float(int(time.time()))


def _keys_in(files: KeyFiles) -> tuple[OwnKey, ...]:
    keys = files.read()
    if not keys:
        raise Misuse(f"{named(files.path)} has no key yet: jwtgate keys new makes the first one")
    return keys


def _named(file: Path | None) -> Path:
    if file is None:
        where = "it, or --file (of private_keys in JWTGATE_ISSUERS, too), names a JWK Set file or a folder of such files"
        raise Misuse(f"JWTGATE_PRIVATE_KEYS is not set; {where}")
    return file


def _algorithm(given: str) -> str:
    if given not in ALGORITHMS:
        raise Misuse(f"--alg must be one of {', '.join(ALGORITHMS)}")
    return given


def _tell(keys: Sequence[OwnKey], done: str, *, as_json: bool) -> int:
    now = _now()
    if as_json:
        dump([_members(keys, key, now) for key in keys])
        return 0
    if done:
        say(done, "green")
    table(COLUMNS, [_row(keys, key, now) for key in keys])
    return 0


def _state(keys: Sequence[OwnKey], key: OwnKey, now: float) -> str:
    if key not in verifying(keys, now):
        return "gone"
    if key == signing(keys, now):
        return "signs"
    return "next" if key.signs_from > now else "verifies"


def _members(keys: Sequence[OwnKey], key: OwnKey, now: float) -> dict[str, Any]:
    end = None if key.verifies_until == inf else key.verifies_until
    return {
        "kid": key.kid,
        "alg": key.algorithm,
        "state": _state(keys, key, now),
        "made_at": key.made_at,
        "signs_from": key.signs_from,
        "verifies_until": end,
    }


def _row(keys: Sequence[OwnKey], key: OwnKey, now: float) -> tuple[str, ...]:
    end = "-" if key.verifies_until == inf else until(key.verifies_until)
    return plain(key.kid), key.algorithm, _state(keys, key, now), until(key.signs_from), end


def _tell_receipt(receipt: Receipt, *, as_json: bool) -> int:
    if as_json:
        dump(asdict(receipt))
    else:
        if receipt.effective_everywhere:
            say("Retired: no token under it is admitted anywhere from now on.", "green")
        else:
            say("Retired, but not everybody may have heard of it yet.", "yellow")
        workers = f"{receipt.workers} worker{'' if receipt.workers == 1 else 's'}"
        say(f"{workers} acknowledged it; waited {span(receipt.waited_seconds)}.")
    return 0 if receipt.effective_everywhere else FAILED
