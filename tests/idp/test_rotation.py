"""The provider rotates its keys while requests run without pause: who holds a good token notices nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from idp.browsing import unverified
from idp.providing import wait_until
from idp.serving import LISTENING, Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from idp.providing import IdentityProvider
    from idp.serving import Site

pytestmark = pytest.mark.server

ROTATIONS = 3


def signed_in(provider: IdentityProvider, generation: int) -> dict[str, str]:
    """Fresh tokens of several people and clients, under both algorithms."""
    people = (("alice", "web"), ("bob", "desktop"), ("carol", "mobile"))
    return {f"{person}-{generation}": provider.log_in(person, client) for person, client in people}


@pytest.mark.parametrize(("server", "settings"), [("uvicorn", {}), ("gunicorn", LISTENING)], ids=["uvicorn", "gunicorn"])
def test_three_rotations_under_load_refuse_no_good_token_and_every_retired_key(
    provider: IdentityProvider,
    site_of: Callable[..., Site],
    server: str,
    settings: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    """Published before use, kept while its tokens live (OpenID Connect Core 1.0 §10.1.1); retired, its tokens are dead.

    Nothing is said to the application: it has to find out by itself, and no request pays for it. While nobody can know
    whether a key that is gone will come back, its tokens get 503.
    """
    site = site_of(server, **settings)
    tokens = signed_in(provider, 0)
    site.await_status(tokens["alice-0"], 200)
    with Load(site, tokens) as load:
        for generation in range(1, ROTATIONS + 1):
            provider.lab(keys="publish")
            coming = provider.kids("next")
            wait_until(lambda coming=coming: all(coming <= kids for kids in site.kids()), "every worker knows the next keys")
            provider.lab(keys="activate")
            fresh = signed_in(provider, generation)
            assert {unverified(token)[0]["kid"] for token in fresh.values()} == coming
            load.show(**fresh)
            load.drop(*tokens)
            old, tokens = tokens, fresh
            provider.lab(keys="retire")
            for token in old.values():
                assert site.await_refusal(token) <= {200, 503}
            assert all(kids == coming for kids in site.kids())
    counts = load.statuses()
    record_property("answers", counts)
    assert set(counts) == {200}, counts
    for generation in range(ROTATIONS + 1):
        for person in ("alice", "bob", "carol"):
            answered = load.answers(f"{person}-{generation}")
            assert len(answered) == 2 and min(map(len, answered.values())) >= 2
