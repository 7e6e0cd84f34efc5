"""``jwtgate revoke``: ``Gate.revoke`` from a shell, with its receipt in words.

A target named twice would leave one of the two alive without a word, so every target is counted.
"""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jwtgate.cli.answering import FAILED, USAGE, Misuse, answering
from jwtgate.cli.gates import opened, telling
from jwtgate.cli.inputs import numeric_date, pair, token_from
from jwtgate.cli.options import Json
from jwtgate.cli.printing import complain, dump, say, span, until
from jwtgate.errors import InvalidToken, MalformedToken

if TYPE_CHECKING:
    from jwtgate.messages import Receipt

__all__ = ["revoke"]

Named = list[str] | None

UNKNOWN = "Whether the ruling was written is not known; revoking again does no harm"


@answering
def revoke(  # noqa: PLR0913 - the arguments of Gate.revoke
    *,
    token: Annotated[
        Named,
        typer.Option(metavar="-|@FILE", help="One token, from standard input or a file. Never given here itself: ps shows it."),
    ] = None,
    jti: Annotated[Named, typer.Option(metavar="ID", help="One token.")] = None,
    sid: Annotated[Named, typer.Option(metavar="ID", help="One session.")] = None,
    sub: Annotated[
        Named, typer.Option(metavar="SUBJECT", help="All that was issued to the subject before now; ends sessions.")
    ] = None,
    claim: Annotated[
        Named,
        typer.Option(
            metavar="NAME=VALUE", help="All that was issued before now with this claim (JWTGATE_HANDLES), or client_id."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--everything", help="All that was issued before now, to anybody.")] = False,
    access_only: Annotated[
        bool, typer.Option("--access-only", help="With --sub: leaves the sessions, which then refresh.")
    ] = False,
    issuer: Annotated[str | None, typer.Option(help="A configured issuer; needed where several are.")] = None,
    expires_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When the last of these tokens expires, if known: seconds since 1970, or ISO 8601."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when it holds everywhere; status 1 if that cannot be shown.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, with --everything on a terminal.")] = False,
    as_json: Json = False,
) -> int:
    """Revoke tokens. Exactly one of --token, --jti, --sid, --sub, --claim and --everything says which."""
    target = _target({"token": token, "jti": jti, "sid": sid, "sub": sub, "claim": claim}, everything=everything)
    if everything and not yes and not _is_confirmed():
        complain("Nothing was revoked.")
        return FAILED
    if expires_at is not None:
        target["expires_at"] = numeric_date(expires_at, "--expires-at")
    try:
        receipt = _revoked({**target, "access_only": access_only, "issuer": issuer, "wait": wait})
    except MalformedToken as error:
        complain(f"that is no token: {error}. Nothing was revoked.")
        return USAGE
    if as_json:
        dump(asdict(receipt))
    else:
        _tell(receipt)
    return FAILED if wait and not receipt.effective_everywhere else 0


def _target(named: dict[str, Named], *, everything: bool) -> dict[str, Any]:
    """The one argument that ``Gate.revoke`` is to get. Raises: Misuse."""
    given = [(name, value) for name, values in named.items() for value in values or ()]
    if len(given) + everything != 1:
        raise Misuse("exactly one of --token, --jti, --sid, --sub, --claim and --everything, once. Nothing was revoked.")
    if everything:
        return {"everything": True}
    ((name, value),) = given
    match name:
        case "token":
            return {"token": token_from(value)}
        case "claim":
            return {"claim": pair(value, "--claim")}
        case _:
            return {name: value}


def _is_confirmed() -> bool:
    """Off a terminal nobody can be asked: a script that says --everything has said it."""
    if not sys.stdin.isatty():
        return True
    question = "Every token that was issued before now dies, for everybody. Revoke everything? [y/N] "
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _revoked(arguments: dict[str, Any]) -> Receipt:
    with opened("revoke") as gate, telling(unwritten="Nothing was revoked", unknown=UNKNOWN):
        try:
            return gate.revoke(**arguments)
        except (TypeError, ValueError) as error:
            raise Misuse(f"{_in_options(str(error))}. Nothing was revoked.") from None
        except InvalidToken as error:
            error.add_note("Nothing was revoked.")
            raise


def _in_options(text: str) -> str:
    """The gate speaks of its arguments; here they are options."""
    return re.sub(r"\b([a-z]+(?:_[a-z]+)*)=(?:True\b)?|\b(access_only|expires_at)\b", _option, text)


def _option(match: re.Match[str]) -> str:
    return "--" + (match[1] or match[2]).replace("_", "-")


def _tell(receipt: Receipt) -> None:
    workers = f"{receipt.workers} worker{'' if receipt.workers == 1 else 's'}"
    if receipt.effective_everywhere:
        say("Revoked, and effective everywhere from now on.", "green")
        say(f"{workers} acknowledged it; waited {span(receipt.waited_seconds)}.")
    elif receipt.effective_by is not None:
        say(f"Revoked. Effective everywhere by {until(receipt.effective_by)} at the latest.", "yellow")
        say(f"{workers} acknowledged it so far; waited {span(receipt.waited_seconds)}. --wait waits for all.")
    else:
        say("Revoked, but not everybody may hear of it.", "red")
        say(f"{workers} acknowledged it; one under JWTGATE_ON_STORE_DOWN=admit that is cut off goes on admitting.")
        say("One that was killed cannot be told from it: jwtgate doctor says how to take it off the list of workers.")
    if receipt.replicas is not None:
        say(f"{receipt.replicas} replica{'' if receipt.replicas == 1 else 's'} had it before this was said.")
    if receipt.fsyncs is not None:
        say("It was on the server's disk before this was said.")
    say(f"Position {receipt.position}, written {until(receipt.at)}.", "dim")
