"""A person logs out at the provider, and no worker of the application admits the tokens of that session any more."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from idp.browsing import unverified
from idp.providing import CLIENTS, NEIGHBOUR
from idp.serving import LISTENING, Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from idp.providing import IdentityProvider
    from idp.serving import Site

pytestmark = pytest.mark.server

AFTER_SECONDS = 1.0
"""How long the requests go on: a worker that had not heard would answer many of them."""


def listening_site(provider: IdentityProvider, site_of: Callable[..., Site], server: str) -> Site:
    """Where the provider posts its logouts from now on."""
    site = site_of(server, **LISTENING)
    provider.send_logouts_to(f"{site.url}/auth/backchannel-logout")
    return site


def holds_from(answer: dict[str, Any]) -> float:
    """The monotonic moment from which the receipt in an endpoint's answer says that it holds everywhere."""
    receipt = json.loads(answer["body"])
    assert answer["status"] == 200
    at = answer["at"] if receipt["effective_everywhere"] else receipt["effective_by"]
    return float(at) - time.time() + time.monotonic()


@pytest.mark.parametrize(
    ("server", "client", "spares_the_laptop"),
    [
        ("uvicorn", "web", True),
        ("uvicorn", "mobile", False),
        ("uvicorn", "desktop", True),
        ("gunicorn", "web", True),
        ("gunicorn", "mobile", False),
    ],
)
def test_logout_at_the_provider_is_one_on_every_worker_within_the_receipts_bound(
    provider: IdentityProvider, site_of: Callable[..., Site], server: str, client: str, spares_the_laptop: bool
) -> None:
    """OpenID Connect Back-Channel Logout 1.0 §2.7, under load, from a provider that is not of our making.

    By sid where tokens have one (web), by subject where nobody names a session (mobile); where logout tokens name a session
    and access tokens do not (desktop), those of the subject that name none. Others' tokens never die with them.
    """
    site = listening_site(provider, site_of, server)
    with provider.browser() as alices:
        phone = alices.log_in("alice", client)
        laptop, bob = provider.log_in("alice", "web"), provider.log_in("bob", client)
        for token in (phone["access_token"], laptop, bob):
            site.await_status(token, 200)
        before = len(provider.lab()["answers"])
        with Load(site, {"phone": phone["access_token"], "laptop": laptop, "bob": bob}) as load:
            alices.log_out(phone["id_token"])
            until = time.monotonic() + AFTER_SECONDS
            while time.monotonic() < until:
                load.await_turn()
    state = provider.lab()
    assert state["logouts"][-1]["outcome"] == "delivered"
    (answer,) = state["answers"][before:]
    bound = holds_from(answer)
    refused = load.answers("phone", since=bound)
    assert set(load.statuses("phone", since=bound)) == {401} and len(refused) == 2
    assert set(load.statuses("bob")) == {200}
    assert set(load.statuses("laptop", since=bound)) == ({200} if spares_the_laptop else {401})
    again = alices_again(provider, client)
    assert unverified(again)[1]["sub"] == "alice"
    site.await_status(again, 200)


def alices_again(provider: IdentityProvider, client: str) -> str:
    """A login that begins after the second in which she was logged out: within it nobody can tell which came first."""
    began = int(time.time())
    while int(time.time()) <= began + 1:
        time.sleep(0.05)
    return provider.log_in("alice", client)


def test_logout_ends_every_client_of_the_session(provider: IdentityProvider, site_of: Callable[..., Site]) -> None:
    """One session at the provider, three clients, three logout tokens at once (§2.3)."""
    site = listening_site(provider, site_of, "uvicorn")
    with provider.browser() as browser:
        answers = {client: browser.log_in("carol", client) for client in CLIENTS}
        for answer in answers.values():
            site.await_status(answer["access_token"], 200)
        browser.log_out(answers["web"]["id_token"])
    for answer in answers.values():
        site.await_status(answer["access_token"], 401, seconds=5.0)
    assert {each["outcome"] for each in provider.lab()["logouts"][-3:]} == {"delivered"}


def test_logout_token_of_a_client_that_is_not_ours_changes_nothing(
    provider: IdentityProvider, site_of: Callable[..., Site]
) -> None:
    """§2.6: ``aud`` must hold a client id of ours; the provider hears 400."""
    site = listening_site(provider, site_of, "uvicorn")
    with provider.browser() as browser:
        answer = browser.log_in("dave", NEIGHBOUR)
        site.await_status(answer["access_token"], 200)
        browser.log_out(answer["id_token"])
    assert provider.lab()["answers"][-1]["status"] == 400
    assert site.statuses(answer["access_token"]) == {200}
