"""The provider is down, or talks nonsense: what is known serves, what nobody can know is 503, and all is well again by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from idp.providing import DISCOVERY, JWKS, IdentityProvider, wait_until
from idp.serving import Load, Site
from strategies.serving import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Server

pytestmark = pytest.mark.server

SERVERS = ("uvicorn", "gunicorn")
NOT_FETCHED = "not fetched, the last ones go on"

OCT = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "oct"}
NONSENSE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (JWKS, "error", {}),
    (JWKS, "html", {}),
    (JWKS, "hang", {}),
    (JWKS, "drip", {}),
    (JWKS, "reset", {}),
    (JWKS, "huge", {}),
    (JWKS, "bomb", {}),
    (JWKS, "redirect", {"to": "/elsewhere"}),
    (JWKS, "answer", {"body": json.dumps({"keys": []})}),
    (JWKS, "answer", {"body": json.dumps({"keys": [OCT]})}),
    (DISCOVERY, "answer", {"body": json.dumps({"issuer": "https://other.test.example", "jwks_uri": "http://127.0.0.1:9"})}),
)


@pytest.mark.parametrize("server", SERVERS)
def test_application_outlives_its_provider_and_starts_before_it(server: str, site_store: Server) -> None:
    """Cold start without it: 503, never 401; then it comes, dies under load, and comes back with other keys."""
    prefix = f"outage-{server}"
    settle({"JWTGATE_SECRET": "s" * 32, "JWTGATE_STORE": site_store.url, "JWTGATE_PREFIX": prefix})
    with IdentityProvider() as provider:
        early = provider.log_in("alice")
        provider.kill()
        with Site(server, provider, site_store.url, PREFIX=prefix, LEASE="1") as site:
            answers = site.ask(early)
            assert {answer.status for answer in answers} == {503}
            assert all(answer.retry_after for answer in answers)
            assert site.statuses(None) == {401}
            provider.start()
            token = provider.log_in("bob", "mobile")
            assert site.await_status(token, 200) <= {503}
            assert site.await_refusal(early) <= {503}
            with Load(site, {"before": token, "another": provider.log_in("carol")}) as load:
                provider.kill()
                wait_until(lambda: site.log().count(NOT_FETCHED) >= len(site.probes), "every worker has missed its provider")
                load.await_turn()
            assert set(load.statuses()) == {200}
            provider.start()
            assert site.await_status(provider.log_in("dave"), 200) <= {401, 503}
            assert site.await_refusal(token) <= {200, 503}


def test_nothing_that_a_provider_answers_loses_its_keys(provider: IdentityProvider, site_of: Callable[..., Site]) -> None:
    """Errors, floods, drips, redirects, other people's metadata: the last good set serves under load, each worker says so once."""
    site = site_of("uvicorn")
    tokens = {person: provider.log_in(person) for person in ("alice", "bob")}
    site.await_status(tokens["alice"], 200)
    provider.misbehave("/elsewhere", "none")
    said = site.log().count(NOT_FETCHED)
    with provider.browser() as browser, Load(site, tokens) as load:
        for path, name, options in NONSENSE:
            provider.misbehave(path, name, **options)
            wait_until(lambda path=path: provider.asked(path) > len(site.probes), f"{name} is met")
            assert site.statuses(browser.log_in("dave")["access_token"]) == {200}
            provider.misbehave(path, "none")
        assert provider.asked("/elsewhere") == 0
        provider.lab(keys="publish")
        coming = provider.kids("next")
        wait_until(lambda: all(coming <= kids for kids in site.kids()), "every worker fetches again")
    assert set(load.statuses()) == {200}
    assert site.log().count(NOT_FETCHED) - said <= len(NONSENSE) * len(site.probes)
