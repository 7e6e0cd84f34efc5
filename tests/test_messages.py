"""The shapes between the rooms: frozen, and silent about what they carry."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields
from types import MappingProxyType
from typing import Any

import pytest

from jwtgate.claims import freeze
from jwtgate.messages import Credential, Receipt, Request, Response, Status, Token

TOKEN = Token(
    claims=freeze({"sub": "alice", "groups": ["a", {"b": 1}]}),
    header=freeze({"alg": "HS256"}),
    subject="alice",
    issuer=None,
    token_id="secret-id",
    session_id=None,
    scopes=frozenset({"read"}),
    expires_at=2.5,
    source="header",
)
SHAPES: list[Any] = [
    TOKEN,
    Request("GET", "/", b"/", ((b"authorization", b"Bearer secret-id"),)),
    Credential(b"secret-id", "cookie"),
    Response(401, (("a", "b"),), b""),
    Receipt("e:1", 1.0, True, 1.0, 1, 0.0),
    Status(True, True, None, None, 0.0, 0, 0, "up", 0, 0, 0, MappingProxyType({})),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_shape_is_frozen_and_slotted(shape: Any) -> None:
    """Shared by requests and threads: nobody changes it, nobody adds to it."""
    for name in (fields(shape)[0].name, "anything"):
        with pytest.raises((FrozenInstanceError, TypeError)):
            setattr(shape, name, "x")
    assert not hasattr(shape, "__dict__")


@pytest.mark.parametrize("shape", SHAPES[:3], ids=lambda shape: type(shape).__name__)
def test_repr_shows_no_token_and_no_claim(shape: Any) -> None:
    """Threat 29: whatever a log line prints."""
    for secret in ("secret-id", "alice", "read", "HS256"):
        assert secret not in repr(shape) + str(shape)


def test_token_is_equal_after_pickling() -> None:
    """And still immutable at every depth."""
    twin = pickle.loads(pickle.dumps(TOKEN))
    assert twin == TOKEN
    with pytest.raises(TypeError):
        twin.claims["groups"][1]["b"] = 2


def test_deep_copy_of_claims_is_the_callers_own() -> None:
    """Interface §1: plain and mutable."""
    twin = copy.deepcopy(TOKEN.claims)
    twin["groups"][1]["b"] = 2
    assert type(twin) is dict
    assert TOKEN.claims["groups"][1]["b"] == 1
