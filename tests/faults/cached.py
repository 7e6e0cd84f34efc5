"""How fast a worker that is live serves admitted tokens while its store is dead (``ON_STORE_DOWN=cached``)."""

from __future__ import annotations

import time
from typing import Any

from faults.stores import STORES
from processes.gates import heal, started

TOKENS = 500
ROUND_SECONDS = 0.2
SECONDS = 6.0
GRACE = 30.0


def measure() -> dict[str, Any]:
    """p50 and p99 before and during the outage, of the same tokens through the same WSGI shell, in one process."""
    from jwtgate.wsgi import JWTGateMiddleware

    store = STORES["valkey"]()
    with store:
        heal(store.server)
        with started(store.url, lease=1.0, on_store_down="cached", grace=GRACE) as gate:
            app = JWTGateMiddleware(lambda environ, start_response: [b""], gate=gate)
            environs = [
                {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_AUTHORIZATION": f"Bearer {gate.issue('alice')}"}
                for _ in range(TOKENS)
            ]
            refused: list[str] = []

            def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
                refused.append(status)

            def serve(seconds: float) -> list[float]:
                times, until = [], time.perf_counter() + seconds
                while time.perf_counter() < until:
                    for environ in environs:
                        began = time.perf_counter()
                        app(dict(environ), start_response)
                        times.append(time.perf_counter() - began)
                    time.sleep(0.002)
                return times

            serve(ROUND_SECONDS)
            before = serve(SECONDS)
            store.server.kill()
            noticed = serve(2.0)
            during = serve(SECONDS)
            state = gate.status().store
            assert refused == [], refused[:3]
    return {
        "measured": "Through a dead store at the speed of the hot path",
        "results": {
            "before": _said(before),
            "the first two seconds of the outage": _said(noticed),
            f"then (the store is {state})": _said(during),
            "ratio of p50, bar 1.2": round(_at(during, 0.5) / _at(before, 0.5), 3),
            "ratio of p99, bar 1.2": round(_at(during, 0.99) / _at(before, 0.99), 3),
        },
    }


def _at(times: list[float], share: float) -> float:
    return sorted(times)[int(len(times) * share)]


def _said(times: list[float]) -> str:
    return (
        f"p50 {_at(times, 0.5) * 1e6:.2f} µs, p99 {_at(times, 0.99) * 1e6:.2f} µs, longest {max(times) * 1000:.1f} ms "
        f"of {len(times):,} requests, all admitted"
    )
