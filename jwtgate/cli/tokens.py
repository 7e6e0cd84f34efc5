"""``jwtgate token``: make an access token, or look into one.

``inspect`` shows the operator what a request's sender never learns: the precise reason of a refusal. What it shows of a
token that was not admitted is read leniently (RFC 7515 §3.1, nothing verified) and marked so; the verdict is the gate's.
"""

from __future__ import annotations

import json
from binascii import a2b_base64
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn, cast

import typer

from jwtgate.cli.answering import FAILED, Misuse, answering
from jwtgate.cli.gates import opened
from jwtgate.cli.inputs import pair, token_from
from jwtgate.cli.options import Json
from jwtgate.cli.printing import Column, dump, plain, say, table, until
from jwtgate.errors import CredentialError, StoreUnavailable, SubjectSuspended

if TYPE_CHECKING:
    from jwtgate.cli.gates import Visitor
    from jwtgate.messages import Token

__all__ = ["inspect", "mint"]

DATES = ("exp", "nbf", "iat", "auth_time")


@answering
def mint(
    *,
    sub: Annotated[str, typer.Argument(metavar="SUB", help="The subject.")],
    scope: Annotated[str | None, typer.Option(help="Scope tokens, one space between two.")] = None,
    ttl: Annotated[float | None, typer.Option(metavar="SECONDS", help="JWTGATE_ACCESS_TTL by default.")] = None,
    claim: Annotated[
        list[str] | None, typer.Option(metavar="NAME=JSON", help="One more claim; a text needs its quotes: tenant='\"acme\"'.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Print a new access token that belongs to no session, and nothing else."""
    claims = _claims(claim or [])
    with opened() as gate:
        try:
            token = gate.once_healed(lambda: gate.issue(sub, claims=claims, scope=scope, ttl=ttl))
        except ValueError as error:
            raise Misuse(str(error)) from None
        except SubjectSuspended as error:
            error.add_note("No token was made.")
            raise
    if as_json:
        _, made = _parts(token)
        dump({"access_token": token, "token_type": "Bearer", "expires_in": made["exp"] - made["iat"]})
    else:
        print(token)
    return 0


def _claims(given: list[str]) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    for text in given:
        name, value = pair(text, "--claim")
        if name in claims:
            raise Misuse("--claim names one claim twice")
        try:
            claims[name] = json.loads(value, parse_constant=_no_json)
        except (ValueError, RecursionError):
            raise Misuse(
                "--claim takes NAME=JSON, and the value is no JSON; a text needs its quotes: tenant='\"acme\"'"
            ) from None
    return claims


def _no_json(_: str) -> NoReturn:
    raise ValueError


class Verdict(NamedTuple):
    """What the gate said. ``reason`` is that of the error, None where the token was admitted."""

    verdict: str
    reason: str | None
    detail: str


@answering
def inspect(
    *,
    source: Annotated[str, typer.Argument(metavar="[-|@FILE]", help="Where to read it from; standard input by default.")] = "-",
    as_json: Json = False,
) -> int:
    """Show a token's header and claims, and whether the gate admits it: status 0, 1 if not, 2 for what is no token."""
    token = token_from(source)
    header, claims = _parts(token)
    with opened() as gate:
        judged, admitted = _judge(gate, token)
        is_alone = gate.settings.store == "memory://"
    read = {} if admitted is None else _read(admitted)
    if as_json:
        dump({**judged._asdict(), "is_verified": judged.reason is None, "header": header, "claims": claims, "read": read})
    else:
        _tell(judged, header, claims, read, is_alone=is_alone)
    return 0 if judged.reason is None else FAILED


def _read(token: Token) -> dict[str, Any]:
    """What the gate takes for the names of the token, of its session, and for its scopes: its issuer may put them anywhere."""
    names = {"token_id": token.token_id, "session_id": token.session_id, "scopes": sorted(token.scopes) or None}
    return {name: value for name, value in names.items() if value is not None}


def _judge(gate: Visitor, token: str) -> tuple[Verdict, Token | None]:
    """The gate's verdict and what it admitted; where the history is healing and nobody else sees to it, later."""
    try:
        admitted = gate.once_healed(lambda: gate.verify(token))
    except CredentialError as error:
        return Verdict("refused", error.reason, str(error)), None
    except StoreUnavailable as error:
        return Verdict("unknown", error.reason, str(error)), None
    return Verdict("admitted", None, "genuine, and still wanted"), admitted


def _tell(judged: Verdict, header: dict[str, Any], claims: dict[str, Any], read: dict[str, Any], *, is_alone: bool) -> None:
    if judged.reason is None:
        say(f"Admitted: {judged.detail}.", "green")
    else:
        what = "Refused" if judged.verdict == "refused" else "No verdict, requests with it get 503"
        say(f"{what}: {judged.reason} ({' '.join(judged.detail.split())})", "bold red")
        say("UNVERIFIED: anybody could have written what follows.", "red")
    if is_alone:
        say("JWTGATE_STORE is memory://: no ruling of another process is known here.", "yellow")
    more = [("read by the gate", ""), *_rows(read)] if read else []
    table((Column(""), Column("")), [("header", ""), *_rows(header), ("claims", ""), *_rows(claims), *more])


def _rows(members: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f"  {plain(name)}", _in_words(name, value)) for name, value in members.items()]


def _in_words(name: str, value: Any) -> str:
    if name in DATES and type(value) in (int, float):
        return f"{plain(value)}  {until(value)}"
    return plain(value)


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as they say, unverified. Raises: Misuse: no token at all."""
    segments = token.split(".")
    if len(segments) != 3:
        raise Misuse("that is no token: a JWT has three segments")
    header, claims = map(_object_of, segments[:2])
    return header, claims


def _object_of(segment: str) -> dict[str, Any]:
    try:
        octets = a2b_base64(segment.replace("-", "+").replace("_", "/") + "=" * (-len(segment) % 4))
        found = json.loads(octets, parse_constant=str)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Misuse("that is no token: header and claims of a JWT are JSON objects in base64url")
    return cast("dict[str, Any]", found)
