"""The metadata of the resource: what stands in them, where they are, and what the request has no say in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jwtgate.endpoints.protected_resource import ProtectedResource
from jwtgate.messages import Request

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def resource_at(url: str = "https://a.example/api/v1", jwks_path: str | None = None, **members: Any) -> ProtectedResource:
    return ProtectedResource(url, {"bearer_methods_supported": ["header"], **members}, jwks_path)


def request_of(method: str = "GET", path: str | None = "/x", *headers: tuple[bytes, bytes], **more: Any) -> Request:
    return Request(
        **{"method": method, "path": path, "raw_path": None, "headers": headers, "is_websocket": False, "client": None, **more}
    )


def document_of(resource: ProtectedResource, root_path: str = "") -> dict[str, Any]:
    response = resource.answer(request_of(), root_path)
    assert response.status == 200
    members: dict[str, Any] = json.loads(response.body)
    return members


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://a.example", ""),
        ("https://a.example/", ""),
        ("https://a.example/api/v1", "/api/v1"),
        ("https://a.example/api/", "/api/"),
        ("https://a.example:8443/api", "/api"),
        ("https://[2001:db8::1]/api", "/api"),
    ],
)
def test_metadata_are_between_host_and_path(url: str, path: str) -> None:
    """RFC 9728 §3.1: a slash that ends the host is dropped; every other one belongs to the path."""
    resource = resource_at(url)
    assert resource.path == WELL_KNOWN + path
    assert resource.url == f"{'/'.join(url.split('/')[:3])}{WELL_KNOWN}{path}"
    assert document_of(resource)["resource"] == url


def test_members_without_elements_are_left_out() -> None:
    """RFC 9728 §3.2, but for the one where none is an answer (§2)."""
    bare = resource_at(authorization_servers=[], scopes_supported=None, bearer_methods_supported=[])
    assert document_of(bare) == {"resource": "https://a.example/api/v1", "bearer_methods_supported": []}
    full = resource_at(authorization_servers=["https://as.example"], scopes_supported=("b", "a"))
    assert document_of(full) == {
        "resource": "https://a.example/api/v1",
        "authorization_servers": ["https://as.example"],
        "scopes_supported": ["b", "a"],
        "bearer_methods_supported": ["header"],
    }
    bound = resource_at(dpop_bound_access_tokens_required=False, dpop_signing_alg_values_supported=["ES256"])
    assert document_of(bound)["dpop_bound_access_tokens_required"] is False


@pytest.mark.parametrize(
    ("root_path", "jwks_uri"),
    [
        ("", "https://a.example/auth/jwks.json"),
        ("/api", "https://a.example/api/auth/jwks.json"),
        ("/api/v1", "https://a.example/api/v1/auth/jwks.json"),
        ("/ap", "https://a.example/auth/jwks.json"),
        ("//evil.example", "https://a.example/auth/jwks.json"),
        ("/other", "https://a.example/auth/jwks.json"),
    ],
)
def test_keys_are_where_the_application_is(root_path: str, jwks_uri: str) -> None:
    """A root that some header made up moves nothing out of the resource."""
    assert document_of(resource_at(jwks_path="/auth/jwks.json"), root_path)["jwks_uri"] == jwks_uri


def test_copy_may_be_kept_and_read_by_any_page() -> None:
    """Public, the same for everybody."""
    headers = dict(resource_at().answer(request_of("HEAD"), "").headers)
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "public, max-age=3600"
    assert headers["access-control-allow-origin"] == "*"
    assert "vary" not in headers and "set-cookie" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", "x"])
def test_other_methods_are_told_the_right_ones(method: str) -> None:
    """RFC 9110 §15.5.6."""
    response = resource_at().answer(request_of(method), "")
    assert (response.status, dict(response.headers)["allow"]) == (405, "GET, HEAD")


WHOLE = f"{WELL_KNOWN}/api/v1"


@pytest.mark.parametrize(
    ("request_", "whole_path", "is_at"),
    [
        (request_of(path=WHOLE), WHOLE, True),
        (request_of(path="/x"), WHOLE, True),
        (request_of(path=WHOLE), f"/root{WHOLE}", True),
        (request_of(path=None), None, False),
        (request_of(path=f"{WHOLE}/"), f"{WHOLE}/", False),
        (request_of(path=WELL_KNOWN), WELL_KNOWN, False),
        (request_of(path=WHOLE.upper()), WHOLE.upper(), False),
        (request_of(path=WHOLE, raw_path=WHOLE.encode()), WHOLE, True),
        (request_of(path=WHOLE, raw_path=WHOLE.replace("/api", "/%2e/api").encode()), WHOLE, False),
        (request_of(path=WHOLE, raw_path=WHOLE.replace("/api", "%2Fapi").encode()), WHOLE, False),
        (request_of(path=WHOLE, is_websocket=True), WHOLE, False),
        (request_of("OPTIONS", WHOLE, (b"access-control-request-method", b"GET")), WHOLE, False),
        (request_of("OPTIONS", WHOLE), WHOLE, True),
    ],
)
def test_only_the_plain_path_is_ours(request_: Request, whole_path: str | None, *, is_at: bool) -> None:
    """At the root of the host, or below the root that the server was told; preflights and handshakes are the application's."""
    assert resource_at().is_at(request_, whole_path) is is_at
