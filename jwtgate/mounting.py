"""From settings to endpoints: what each endpoint must know of the gate, gathered once per process. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.core.cookies import clear_cookies, set_cookies
from jwtgate.endpoints.call import Cookies, Rules
from jwtgate.endpoints.clients import Clients
from jwtgate.endpoints.routing import Endpoints

if TYPE_CHECKING:
    from jwtgate.core.cookies import CookieRules
    from jwtgate.core.effects import Clock
    from jwtgate.core.operations import Operations
    from jwtgate.core.policy import IssuerPolicy
    from jwtgate.core.rules import Rules as RequestRules
    from jwtgate.settings import Settings

__all__ = ["mounted"]


def mounted(
    settings: Settings,
    operations: Operations,
    policy: IssuerPolicy | None,
    cookies: CookieRules,
    rules: RequestRules,
    clock: Clock,
) -> Endpoints | None:
    """The endpoints under ``ENDPOINTS``; None where it is unset.

    Args:
        settings: of the gate.
        operations: its plans.
        policy: of the issuer to which its sessions belong.
        cookies: how they are written.
        rules: of its requests.
        clock: its own.
    """
    if settings.endpoints is None:
        return None
    in_cookies = Cookies(
        find_refresh_token=rules.extraction.refresh_cookie_of,
        set=lambda pair: set_cookies(cookies, pair, clock.wall()),
        clear=lambda: clear_cookies(cookies),
    )
    known = Rules(
        policy=policy,
        find_credential=rules.extraction.find,
        csrf=settings.csrf,
        origins=rules.origins,
        clients=Clients(settings.clients or ()),
        client_id=settings.client_id,
        max_token_bytes=settings.max_token_bytes,
        cookies=in_cookies if "cookie" in settings.locations else None,
    )
    return Endpoints(settings.endpoints, operations, known)
