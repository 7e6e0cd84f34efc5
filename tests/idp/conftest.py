"""The provider and the store that the tests of this folder share; each test process has its own."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from idp.providing import DISCOVERY, JWKS, IdentityProvider
from idp.serving import Site
from servers import Server, valkey_binary
from strategies.serving import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_prefixes = count()


@pytest.fixture(scope="session")
def running_provider() -> Iterator[IdentityProvider]:
    """Started once; its logout URI leads nowhere until a test says otherwise."""
    with IdentityProvider(IDP_LOGOUT_URI="http://127.0.0.1:9/nobody") as provider:
        yield provider


@pytest.fixture
def provider(running_provider: IdentityProvider) -> IdentityProvider:
    """Well-behaved, with one generation of keys."""
    for path in (JWKS, DISCOVERY):
        running_provider.misbehave(path, "none")
    for state, step in (("next", "activate"), ("old", "retire")):
        if running_provider.kids(state):
            running_provider.lab(keys=step)
    return running_provider


@pytest.fixture(scope="session")
def site_store(running_provider: IdentityProvider) -> Iterator[Server]:
    """A Valkey for the applications; not started where there is no provider."""
    with Server(valkey_binary()) as server:
        yield server


@pytest.fixture(scope="session")
def site_of(running_provider: IdentityProvider, site_store: Server) -> Iterator[Callable[..., Site]]:
    """Makes applications, under a prefix each, that tests share: ``site_of("uvicorn", MODE="optional")``."""
    sites: dict[object, Site] = {}

    def make(server: str, **settings: str) -> Site:
        key = (server, tuple(sorted(settings.items())))
        if key not in sites:
            prefix = f"site{next(_prefixes)}"
            settle({"JWTGATE_SECRET": "s" * 32, "JWTGATE_STORE": site_store.url, "JWTGATE_PREFIX": prefix})
            sites[key] = Site(server, running_provider, site_store.url, PREFIX=prefix, **settings).start()
        return sites[key]

    yield make
    for site in sites.values():
        site.process.request_end()
    for site in sites.values():
        site.close()
