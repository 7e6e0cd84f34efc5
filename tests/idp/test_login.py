"""People log in at a real, certified provider, and an application that knows its issuer alone admits what they bring."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from idp.browsing import unverified
from idp.providing import API, CLIENTS, OTHER_API, PEOPLE
from idp.serving import LISTENING

if TYPE_CHECKING:
    from collections.abc import Callable

    from idp.providing import IdentityProvider
    from idp.serving import Site

pytestmark = pytest.mark.server

SERVERS = {"uvicorn": {}, "gunicorn": LISTENING}
"""Each with its settings: none but issuer and audience, or those that the tests of logouts share."""


@pytest.mark.parametrize("server", SERVERS)
def test_everybody_who_has_logged_in_is_admitted_by_every_worker(
    provider: IdentityProvider, site_of: Callable[..., Site], server: str
) -> None:
    """Authorization code flow with PKCE; RS256 and ES256, confidential and public clients."""
    site = site_of(server, **SERVERS[server])
    for number, person in enumerate(PEOPLE):
        client = CLIENTS[number % len(CLIENTS)]
        token = provider.log_in(person, client)
        header, claims = unverified(token)
        assert header["typ"] == "at+jwt" and header["kid"] in provider.kids("active")
        assert claims["aud"] == API and ("sid" in claims) is (client == "web")
        site.await_status(token, 200)
        for answer in site.ask(token):
            seen = json.loads(answer.body)
            assert (seen["subject"], seen["session"]) == (person, claims.get("sid"))
            assert seen["scopes"] == ["api:read", "api:write"]
    assert site.statuses(None) == {401}


@pytest.mark.parametrize("server", SERVERS)
def test_what_is_no_access_token_for_this_application_is_refused(
    provider: IdentityProvider, site_of: Callable[..., Site], server: str
) -> None:
    """RFC 9068 §4, RFC 8725 §3.11: ID tokens, opaque tokens, those for another API, and one altered by a bit."""
    site = site_of(server, **SERVERS[server])
    with provider.browser() as browser:
        answer = browser.log_in("alice")
        opaque = browser.ask_token("service", grant_type="client_credentials")["access_token"]
    site.await_status(answer["access_token"], 200)
    other = provider.log_in("alice", scope="openid other:read", resource=OTHER_API)
    assert unverified(other)[1]["aud"] == OTHER_API
    head, body, signature = answer["access_token"].split(".")
    altered = f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    bodies = set()
    for token in (answer["id_token"], answer["refresh_token"], opaque, other, altered):
        answers = site.ask(token)
        assert {each.status for each in answers} == {401}
        bodies.update(each.body for each in answers)
    assert len({json.loads(body)["error"] for body in bodies}) == 1


def test_machines_and_refreshed_tokens_are_admitted(provider: IdentityProvider, site_of: Callable[..., Site]) -> None:
    """RFC 6749 §4.4 and §6: whatever grant a token comes from, it is judged by what it says."""
    site = site_of("uvicorn")
    with provider.browser() as browser:
        answer = browser.log_in("bob")
        fresh = browser.ask_token("web", grant_type="refresh_token", refresh_token=answer["refresh_token"])["access_token"]
        machine = browser.ask_token("service", grant_type="client_credentials", resource=API, scope="api:read")["access_token"]
    assert fresh != answer["access_token"]
    site.await_status(fresh, 200)
    assert site.subjects(fresh) == [(200, "bob")] * 2
    assert site.subjects(machine) == [(200, "service")] * 2


def test_profile_of_rfc_9068_admits_what_the_provider_issues_for_this_application(
    provider: IdentityProvider, site_of: Callable[..., Site]
) -> None:
    """``PRESET=rfc9068``: typ at+jwt and every claim of §2.2; an ID token, which has neither, is refused."""
    site = site_of("uvicorn", **LISTENING)
    for client in CLIENTS:
        with provider.browser() as browser:
            answer = browser.log_in("carol", client)
        site.await_status(answer["access_token"], 200)
        assert site.subjects(answer["access_token"]) == [(200, "carol")] * 2
        assert site.statuses(answer["id_token"]) == {401}
