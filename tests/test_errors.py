"""The error tree: whose fault it is, and what the wire says (RFC 6750 §3.1, RFC 6749 §5.2)."""

from __future__ import annotations

import copy
import pickle

import pytest

from jwtgate import errors
from jwtgate.errors import (
    CredentialError,
    GrantError,
    InsufficientScope,
    InvalidToken,
    JWTGateError,
    MissingToken,
    SettingsError,
    UnavailableError,
)

ALL = [getattr(errors, name) for name in errors.__all__]
ANSWERS = {
    "InvalidRequest": (400, "invalid_request", CredentialError),
    "InvalidToken": (401, "invalid_token", CredentialError),
    "MissingToken": (401, "missing_token", CredentialError),
    "InsufficientScope": (403, "insufficient_scope", CredentialError),
    "CrossSiteRequest": (403, "cross_site_request", CredentialError),
    "InsufficientUserAuthentication": (401, "insufficient_user_authentication", CredentialError),
    "InvalidClient": (401, "invalid_client", CredentialError),
    "GrantError": (400, "invalid_grant", JWTGateError),
    "ReusedRefreshToken": (400, "invalid_grant", GrantError),
    "SubjectSuspended": (400, "invalid_grant", GrantError),
    "UnavailableError": (503, "temporarily_unavailable", JWTGateError),
    "StoreUnavailable": (503, "temporarily_unavailable", UnavailableError),
    "KeysUnavailable": (503, "temporarily_unavailable", UnavailableError),
    "SettingsError": (503, "temporarily_unavailable", JWTGateError),
    **dict.fromkeys(
        (
            "MalformedToken", "BadSignature", "UnknownKey", "Expired", "NotYetValid", "WrongIssuer", "WrongAudience",
            "WrongType", "Revoked", "RefusedByCheck",
        ),
        (401, "invalid_token", InvalidToken),
    ),
}  # fmt: skip
ABSTRACT = {"JWTGateError", "CredentialError"}


def test_every_error_is_in_the_table() -> None:
    """Interface §4 names them all."""
    assert set(errors.__all__) == ANSWERS.keys() | ABSTRACT


@pytest.mark.parametrize("name", ANSWERS)
def test_error_has_the_status_and_code_of_the_table(name: str) -> None:
    """Interface §4: status, code and whose fault it is."""
    status, code, parent = ANSWERS[name]
    kind = getattr(errors, name)
    assert (kind.status, kind.error) == (status, code)
    assert issubclass(kind, parent)
    assert kind.description.isascii() and '"' not in kind.description and "\\" not in kind.description


def test_invalid_tokens_are_told_alike() -> None:
    """Threat 3: every kind of bad token has the same words and the same challenge."""
    kinds = [kind for kind in ALL if issubclass(kind, InvalidToken)]
    assert len(kinds) == 11
    assert len({(kind.description, kind("why").challenge) for kind in kinds}) == 1


def test_reasons_are_distinct() -> None:
    """Logs and counters can tell every kind from every other."""
    assert len({kind.reason for kind in ALL if kind.__name__ != "CredentialError"}) == len(ALL) - 1


def test_challenges_follow_rfc_6750() -> None:
    """§3: no error code without a token; none at all where a new token would not help."""
    assert MissingToken("x").challenge == 'Bearer realm="jwtgate"'
    assert (
        InvalidToken("x").challenge
        == f'Bearer realm="jwtgate", error="invalid_token", error_description="{InvalidToken.description}"'
    )
    assert InsufficientScope("a", "b").challenge == 'Bearer realm="jwtgate", error="insufficient_scope", scope="a b"'
    for kind in (errors.CrossSiteRequest, errors.StoreUnavailable, errors.KeysUnavailable, SettingsError, GrantError):
        assert kind("x").challenge is None


def test_step_up_challenge_follows_rfc_9470() -> None:
    """§3: the client learns how recent the authentication must be."""
    assert (
        errors.InsufficientUserAuthentication(300).challenge == 'Bearer realm="jwtgate", '
        'error="insufficient_user_authentication", '
        f'error_description="{errors.InsufficientUserAuthentication.description}", max_age="300"'
    )


def test_client_challenge_is_basic() -> None:
    """RFC 6749 §5.2: the challenge fits how clients authenticate."""
    assert errors.InvalidClient("x").challenge == 'Basic realm="jwtgate"'


def test_realm_is_the_gates() -> None:
    """An error that went through a gate carries its realm."""
    error = MissingToken("x")
    error.realm = "shop"
    assert error.challenge == 'Bearer realm="shop"'
    assert MissingToken("x").challenge == 'Bearer realm="jwtgate"'


def test_settings_error_tells_every_mistake() -> None:
    """One line each, and as a tuple."""
    error = SettingsError("JWTGATE_A is x", "JWTGATE_B is y")
    assert error.mistakes == ("JWTGATE_A is x", "JWTGATE_B is y")
    assert str(error) == "JWTGATE_A is x\nJWTGATE_B is y"


@pytest.mark.parametrize("error", [SettingsError("a", "b"), InsufficientScope("read", "write"), InvalidToken("why")])
def test_error_survives_pickling_and_copying(error: JWTGateError) -> None:
    """Process pools and task queues carry exceptions."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.challenge, vars(twin)) == (str(error), error.challenge, vars(error))
