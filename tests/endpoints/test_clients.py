"""Clients: Basic or form, never both (RFC 6749 §2.3.1)."""

from __future__ import annotations

import base64
from urllib.parse import quote_plus

import pytest
from endpoints.scripted_operations import CLIENT, CLIENT_SECRET, clients, request_of
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.endpoints.clients import Clients
from jwtgate.endpoints.refusals import MalformedCall
from jwtgate.errors import InvalidClient

IN_FORM = {"client_id": CLIENT, "client_secret": CLIENT_SECRET}


def basic(credentials: str | bytes, scheme: str = "Basic") -> tuple[str, str]:
    """An ``Authorization`` line."""
    octets = credentials if isinstance(credentials, bytes) else credentials.encode()
    return ("authorization", f"{scheme} {base64.b64encode(octets).decode()}")


ESCAPED = f"{quote_plus(CLIENT)}:{quote_plus(CLIENT_SECRET)}"


def caller(*headers: tuple[str, str], form: dict[str, str] | None = None) -> str:
    """Who calls."""
    return clients().authenticate(request_of("POST", "/", *headers), form or {})


@pytest.mark.parametrize("line", [basic(ESCAPED), basic(ESCAPED, "bAsIc"), basic(ESCAPED, "Basic  "), basic("two:old")])
def test_basic_is_form_urlencoded_first(line: tuple[str, str]) -> None:
    """RFC 6749 §2.3.1: an id or secret may hold any character, the colon too."""
    assert caller(line) in (CLIENT, "two")


def test_credentials_may_stand_in_the_form() -> None:
    """RFC 6749 §2.3.1, the second way."""
    assert caller(form=IN_FORM) == CLIENT


def test_client_may_have_two_secrets() -> None:
    """So that one can be changed without a gap; the digest's case does not matter."""
    assert caller(basic("two:old")) == caller(basic("two:new")) == "two"
    with pytest.raises(InvalidClient):
        caller(basic("two:newer"))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (basic(f"{quote_plus(CLIENT)}:wrong"),),
        (basic(f"unknown:{quote_plus(CLIENT_SECRET)}"),),
        (basic("two:"),),
        (basic(":"),),
        (basic("two"),),
        (basic(""),),
        (basic("two:%zz"),),
        (basic("two:%00"),),
        (basic(b"two:\xff"),),
        (("authorization", ""),),
        (("authorization", "Basic"),),
        (("authorization", "Basic dHdvOm9sZA"),),
        (("authorization", "Basic dHdv Om9sZA=="),),
        (("authorization", "Basic !"),),
        (("authorization", "Basic \xe9"),),
        (("authorization", "Bearer dHdvOm9sZA=="),),
        (basic("two:old" + " " * 4096),),
    ],
)
def test_anything_else_is_no_client(headers: tuple[tuple[str, str], ...]) -> None:
    """One answer for all of it: 401 with the Basic challenge (RFC 6749 §5.2)."""
    with pytest.raises(InvalidClient):
        caller(*headers)


@pytest.mark.parametrize("form", [{"client_id": CLIENT}, {"client_secret": CLIENT_SECRET}, {**IN_FORM, "client_secret": "x"}])
def test_half_or_wrong_credentials_in_the_form_are_no_client(form: dict[str, str]) -> None:
    """Whoever knows only the id is nobody."""
    with pytest.raises(InvalidClient):
        caller(form=form)


@pytest.mark.parametrize("form", [IN_FORM, {"client_id": CLIENT}, {"client_secret": "x"}])
def test_credentials_in_two_places_are_malformed(form: dict[str, str]) -> None:
    """RFC 6749 §2.3: not more than one method in a request."""
    with pytest.raises(MalformedCall):
        caller(basic(ESCAPED), form=form)


@pytest.mark.parametrize("lines", [("Basic dHdvOm9sZA==", "Basic dHdvOm9sZA=="), ("Basic dHdvOm9sZA==, Basic x",), ("", "")])
def test_repeated_authorization_is_malformed(lines: tuple[str, ...]) -> None:
    """Threat 19: as two lines, or joined to one by a server."""
    with pytest.raises(MalformedCall):
        caller(*(("authorization", line) for line in lines))


def test_without_entries_there_is_no_client() -> None:
    """Then the endpoints for clients are not there."""
    assert not Clients(())
    assert clients()


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_any_credentials_are_a_client_or_refused(authorization: bytes, encoded: bytes) -> None:
    """Threat 2: no input raises anything else, and none of it is a client."""
    for value in (authorization, b"Basic " + authorization, b"Basic " + base64.b64encode(encoded)):
        with pytest.raises((InvalidClient, MalformedCall)):
            caller(("authorization", value.decode("latin-1")))
