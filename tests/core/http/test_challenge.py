"""Answers: one per kind of error, the same bytes every time (RFC 6750 §3, RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate import errors
from jwtgate.core.http.challenge import answer
from jwtgate.errors import (
    CrossSiteRequest,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidClient,
    InvalidToken,
    JWTGateError,
    MissingToken,
    SettingsError,
    StoreUnavailable,
    UnavailableError,
)

if TYPE_CHECKING:
    from jwtgate.messages import Response


def kinds() -> list[type[JWTGateError]]:
    """Every public kind of error."""
    return [getattr(errors, name) for name in errors.__all__]


def rendered(error: JWTGateError, realm: str = "jwtgate", retry_after_seconds: int | None = None) -> Response:
    """The answer under default settings."""
    return answer(error, realm=realm, retry_after_seconds=retry_after_seconds)


def header(response: Response, name: str) -> str | None:
    """The one value of a header."""
    values = [value for key, value in response.headers if key == name]
    assert len(values) < 2
    return values[0] if values else None


@pytest.mark.parametrize("kind", kinds())
def test_every_error_is_answerable(kind: type[JWTGateError]) -> None:
    """RFC 9457: problem details with the phrase as title, error and error_description; never stored."""
    response = rendered(kind())
    assert response.status == kind.status
    assert json.loads(response.body) == {
        "title": HTTPStatus(kind.status).phrase,
        "status": kind.status,
        "error": kind.error,
        "error_description": kind.description,
    }
    assert header(response, "content-type") == "application/problem+json"
    assert header(response, "content-length") == str(len(response.body))
    assert header(response, "cache-control") == "no-store"


@pytest.mark.parametrize("kind", kinds())
def test_headers_are_lower_case_and_printable(kind: type[JWTGateError]) -> None:
    """Names as ASGI wants them, values that no server can misread."""
    for name, value in rendered(kind()).headers:
        assert name == name.lower()
        assert value.isascii()
        assert value.isprintable()


def test_missing_token_is_challenged_without_error_code() -> None:
    """RFC 6750 §3.1: a request without authentication gets no error code."""
    assert header(rendered(MissingToken()), "www-authenticate") == 'Bearer realm="jwtgate"'


@pytest.mark.parametrize("kind", [kind for kind in kinds() if issubclass(kind, InvalidToken)])
def test_every_bad_token_gets_the_same_answer(kind: type[JWTGateError]) -> None:
    """The caller learns nothing about why: all bytes are equal."""
    assert rendered(kind("kid=secret")) == rendered(InvalidToken())
    challenge = header(rendered(kind()), "www-authenticate")
    assert challenge is not None
    assert challenge.startswith('Bearer realm="jwtgate", error="invalid_token", error_description="')


@pytest.mark.parametrize(
    ("kind", "challenge"),
    [
        (errors.InvalidRequest, 'error="invalid_request"'),
        (errors.InsufficientScope, 'error="insufficient_scope"'),
        (errors.CrossSiteRequest, None),
        (errors.GrantError, None),
        (errors.StoreUnavailable, None),
        (errors.KeysUnavailable, None),
        (errors.SettingsError, None),
        (errors.JWTGateError, None),
    ],
)
def test_challenge_is_only_where_a_token_would_help(kind: type[JWTGateError], challenge: str | None) -> None:
    """The table of answers: 400, 401 and scope are challenged, other sites, grants and outages are not."""
    sent = header(rendered(kind()), "www-authenticate")
    assert sent is None if challenge is None else challenge in (sent or "")


@pytest.mark.parametrize("kind", kinds())
def test_nothing_put_into_an_error_reaches_the_caller(kind: type[JWTGateError]) -> None:
    """Message, cause and attributes are for the operator's log."""
    error = kind('leak"\r\nX: y')
    error.__cause__ = ValueError("leak")
    error.realm = "leak"
    if isinstance(error, InsufficientUserAuthentication):
        error = kind(0)  # a number, which the application names
    elif not isinstance(error, InsufficientScope):
        error.__dict__.update(description="leak", error="leak", status=200)
    response = rendered(error)
    assert "leak" not in repr(response).replace('scope="leak"', "")
    assert response.status == kind.status


def test_settings_error_never_shows_its_text() -> None:
    """The mistakes name variables: 503 with the fixed sentence."""
    response = rendered(SettingsError("JWTGATE_SECRET: too short"))
    assert response.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert b"SECRET" not in response.body


@pytest.mark.parametrize(("given_seconds", "sent"), [(None, "1"), (0, "1"), (-5, "1"), (1, "1"), (30, "30")])
@pytest.mark.parametrize("kind", [UnavailableError, errors.StoreUnavailable, errors.KeysUnavailable, SettingsError])
def test_503_says_when_to_come_back(kind: type[JWTGateError], given_seconds: int | None, sent: str) -> None:
    """RFC 9110 §10.2.3: whole seconds, never "at once"."""
    assert header(rendered(kind(), retry_after_seconds=given_seconds), "retry-after") == sent


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind.status != HTTPStatus.SERVICE_UNAVAILABLE])
def test_no_other_answer_says_when_to_come_back(kind: type[JWTGateError]) -> None:
    """Waiting would not help."""
    assert header(rendered(kind(), retry_after_seconds=30), "retry-after") is None


def test_realm_is_the_configured_one() -> None:
    """Two gates in one process keep their own realms."""
    assert header(rendered(MissingToken(), "a b"), "www-authenticate") == 'Bearer realm="a b"'
    assert header(rendered(MissingToken(), "c"), "www-authenticate") == 'Bearer realm="c"'


METADATA = "https://api.example/.well-known/oauth-protected-resource/v1"


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (MissingToken(), ""),
        (InvalidToken(), ', error="invalid_token", error_description="The access token is invalid, expired or revoked."'),
        (InsufficientScope("a", "b"), ', error="insufficient_scope", scope="a b"'),
        (InsufficientScope(), ', error="insufficient_scope"'),
    ],
)
def test_challenge_says_where_the_metadata_are(error: JWTGateError, sent: str) -> None:
    """RFC 9728 §5.1: as one more parameter, where no token came, too; and the error that is raised says the same."""
    response = answer(error, realm="jwtgate", retry_after_seconds=None, resource_metadata=METADATA)
    challenge = f'Bearer realm="jwtgate"{sent}, resource_metadata="{METADATA}"'
    assert header(response, "www-authenticate") == challenge
    error.resource_metadata = METADATA
    assert (error.challenge or "").replace(', scope=""', "") == challenge


@pytest.mark.parametrize("kind", [CrossSiteRequest, StoreUnavailable, InvalidClient])
def test_other_answers_do_not_speak_of_metadata(kind: type[JWTGateError]) -> None:
    """Where no token would help, and where a client is to say who it is."""
    response = answer(kind(), realm="jwtgate", retry_after_seconds=None, resource_metadata=METADATA)
    assert METADATA not in str(response.headers)


def test_realm_cannot_leave_its_quotes() -> None:
    """RFC 9110 §5.6.4: quotes and backslashes are escaped, what no header may hold is left out."""
    sent = header(rendered(MissingToken(), 'a"b\\c\r\nX: y\x00é'), "www-authenticate")
    assert sent == 'Bearer realm="a\\"b\\\\cX: y"'


@pytest.mark.parametrize(
    ("scopes", "sent"),
    [
        (("read",), ', scope="read"'),
        (("read", "write"), ', scope="read write"'),
        (("read write",), ', scope="read write"'),
        (("urn:x/y#z!",), ', scope="urn:x/y#z!"'),
        (("a", 'b"', "c\\", "d\r\nX:y", "é", "", "e\x00", "f\n"), ', scope="a"'),
        ((), ""),
        (("",), ""),
        (('"',), ""),
    ],
)
def test_scopes_are_named_if_they_are_scope_tokens(scopes: tuple[str, ...], sent: str) -> None:
    """RFC 6749 §3.3: anything else is left out; with none left there is no scope attribute (RFC 6750 §3)."""
    challenge = header(rendered(InsufficientScope(*scopes)), "www-authenticate")
    assert challenge == f'Bearer realm="jwtgate", error="insufficient_scope"{sent}'


def test_kind_of_the_application_itself_cannot_break_the_header() -> None:
    """A subclass with a careless description is answered, its challenge stays on one line of ASCII."""

    class Careless(errors.InvalidRequest):
        description = "line\r\nX: y é"

    response = rendered(Careless())
    sent = header(response, "www-authenticate")
    assert sent is not None
    assert sent.isascii()
    assert sent.isprintable()
    assert json.loads(response.body)["error_description"] == "line\r\nX: y é"


@given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=3))
def test_any_realm_and_scopes_give_one_printable_line(realm: str, scopes: list[str]) -> None:
    """No text makes a second header, and the quotes always pair."""
    sent = header(rendered(InsufficientScope(*scopes), realm), "www-authenticate")
    assert sent is not None
    assert sent.isascii()
    assert sent.isprintable()
    assert sent.replace("\\\\", "").replace('\\"', "").count('"') in (4, 6)
