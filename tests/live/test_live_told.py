"""What a provider tells or takes back ends the open sockets of those concerned, and of nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import pytest
from listed import ListServer
from live.test_live import CLOSED, Open, connect, until
from provider_tokens import access, event, issuers, logout
from published import Provider

import jwtgate.core.keys.fetching as key_fetching
from jwtgate import Gate, Settings
from jwtgate.runtime import nonblocking

SECRET = "b7yQ0mTgZb0a3mB3oQp1n0Qy5mW4p9hX"


class Told:
    """A gate with two sockets; ``act`` ends the first one's token."""

    def __init__(self, gate: Gate, dead: Any, living: Any, act: Callable[[], Any]) -> None:
        self.gate, self.dead, self.living, self.act = gate, dead, living, act


def hearing(stack: ExitStack, tell: Callable[[Gate, float], Any], **concerned: Any) -> Told:
    gate = stack.enter_context(closing(Gate(Settings(issuers=issuers(), endpoints="/auth", lease=0.25))))
    now = time.time()
    dead, living = access(now - 5, **concerned), access(now - 5, sub="bob", sid="s9")
    return Told(gate, dead, living, lambda: tell(gate, now))


def by_logout(stack: ExitStack) -> Told:
    return hearing(stack, lambda gate, now: gate.plans.hear_logout(logout(now=now, sid="s1").decode()), sid="s1")


def by_event(stack: ExitStack) -> Told:
    return hearing(stack, lambda gate, now: gate.plans.hear_events(event(now=now)))


def by_renewed_key(stack: ExitStack) -> Told:
    gate = stack.enter_context(closing(Gate(Settings(secret=SECRET, derived_keys=True, lease=0.25))))
    assert gate.ready()
    return Told(gate, gate.issue("alice"), gate.issue("bob"), lambda: gate.aio.renew_key("alice"))


def by_retired_key(stack: ExitStack) -> Told:
    gate = stack.enter_context(closing(Gate(Settings(secret=SECRET, lease=0.25))))
    assert gate.ready()
    (handle,) = gate.view.wide_handles - {gate.decision.rules.policies[None].everything}
    return Told(gate, gate.issue("alice"), None, lambda: gate.plans.retire((handle,), wait=False, key_id=None, issuer=None))


def by_withdrawn_key(stack: ExitStack) -> Told:
    provider = stack.enter_context(Provider())
    provider.max_age = 0
    given = {"jwks_url": provider.url, "jwks_http": True, "issuer": provider.issuer, "lease": 0.25}
    gate = stack.enter_context(closing(Gate(Settings(**given))))
    first = provider.kid
    dead, second = provider.token("alice"), provider.rotate()
    living = provider.token("bob", kid=second)
    return Told(gate, dead, living, lambda: provider.keys.pop(first))


def by_status_list(stack: ExitStack) -> Told:
    provider = stack.enter_context(Provider())
    lists = stack.enter_context(ListServer(provider))
    given = {"jwks_url": provider.url, "jwks_http": True, "issuer": provider.issuer, "status_from": [lists.issuer]}
    gate = stack.enter_context(closing(Gate(Settings(**given, lease=0.25))))
    return Told(gate, lists.token(7), lists.token(8), lambda: lists.dead.add(7))


@pytest.mark.parametrize("way", [by_logout, by_event, by_renewed_key, by_retired_key, by_withdrawn_key, by_status_list])
def test_socket_of_whom_it_concerns_is_closed_and_no_other(
    way: Callable[[ExitStack], Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing passes over it, and though no handle of the token was ruled on."""
    for name, seconds in {"COOL_DOWN_SECONDS": 0.1, "LEAST_LIFETIME_SECONDS": 0.2, "FIRST_PAUSE_SECONDS": 0.1}.items():
        monkeypatch.setattr(key_fetching, name, seconds)

    async def open_(gate: Gate, token: Any) -> Open:
        socket = await connect(gate, token if isinstance(token, str) else token.decode())
        await until(lambda: bool(socket.client.sent))
        assert await socket.talks()
        return socket

    async def story(told: Told) -> None:
        dead = await open_(told.gate, told.dead)
        living = None if told.living is None else await open_(told.gate, told.living)
        acted = told.act()
        if hasattr(acted, "__await__"):
            await acted
        elif hasattr(acted, "send"):
            await nonblocking.run(acted, told.gate.waiter)
        assert await dead.end() == CLOSED
        if living is not None:
            assert await living.talks()
            living.task.cancel()

    with ExitStack() as stack:
        told = way(stack)
        assert told.gate.ready(10)
        asyncio.run(asyncio.wait_for(story(told), 20))
