"""The claim ``status``: read strictly, and it leads nowhere but where the operator says."""

from __future__ import annotations

from typing import Any

import pytest

from jwtgate.claims import freeze
from jwtgate.core.statuses.claim import ListRules, Reference, reference_of
from jwtgate.errors import MalformedToken

RULES = ListRules(("https://id.example", "https://cdn.example:8443/lists"), 3600.0)


def entry(uri: object = "https://id.example/status/1", idx: object = 7, **more: Any) -> dict[str, Any]:
    """A Claims Set."""
    return {"sub": "alice", "status": {"status_list": {"idx": idx, "uri": uri, **more}}}


@pytest.mark.parametrize(
    "uri",
    [
        "https://id.example",
        "https://id.example/",
        "https://id.example/a/b.c/1?x=1&y=/2",
        "https://id.example?list=1",
        "https://cdn.example:8443/lists",
        "https://cdn.example:8443/lists/1",
    ],
)
def test_allowed_addresses_are_those_below_a_prefix(uri: str) -> None:
    """At the boundary of a segment."""
    assert reference_of(entry(uri), RULES) == Reference(uri, 7)


@pytest.mark.parametrize(
    "uri",
    [
        "https://id.example.evil.example/1",
        "https://id.example:8443/1",
        "https://id.example@evil.example/1",
        "https://u:p@id.example/1",
        "https://evil.example/https://id.example/1",
        "http://id.example/1",
        "HTTPS://id.example/1",
        "https://ID.example/1",
        "https://cdn.example:8443/lists-of-others/1",
        "https://cdn.example:8443/lists/../admin",
        "https://cdn.example:8443/lists/./1",
        "https://cdn.example:8443/lists/%2e%2e/admin",
        "https://cdn.example:8443/lists\\..\\admin",
        "https://cdn.example:8443/",
        "https://id.example/1#x",
        "https://id.example/1\n",
        "https://id.example/ 1",
        "https://id.example/é",
        "https://id.example/" + "a" * 1024,
        "file:///etc/passwd",
        "urn:example:1",
        "",
        None,
        7,
        ["https://id.example/1"],
    ],
)
def test_every_other_address_is_refused(uri: object) -> None:
    """No issuer, were it broken into, chooses what this process asks inside the operator's network."""
    with pytest.raises(MalformedToken) as caught:
        reference_of(entry(uri), RULES)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize("idx", [None, True, "7", 7.0, -1, 2**32, [7]])
def test_index_is_a_number_from_zero(idx: object) -> None:
    """§6.2: a non-negative integer; one that no list could have is refused before a look."""
    with pytest.raises(MalformedToken):
        reference_of(entry(idx=idx), RULES)


@pytest.mark.parametrize(
    "status", [None, "active", 0, [], {}, {"identifier_list": {}}, {"status_list": []}, {"status_list": {}}]
)
def test_status_that_cannot_be_looked_at_is_refused(status: object) -> None:
    """Another mechanism, or another shape: it is not taken for a good one."""
    with pytest.raises(MalformedToken):
        reference_of({"status": freeze({"x": status})["x"]}, RULES)


def test_members_that_nobody_knows_say_nothing() -> None:
    """§6.1: others may stand beside it."""
    claims = entry(more=1)
    claims["status"]["other"] = {}
    assert reference_of(claims, RULES) == Reference("https://id.example/status/1", 7)


def test_token_without_the_claim_names_none() -> None:
    """Most do not."""
    assert reference_of({"sub": "alice"}, RULES) is None
