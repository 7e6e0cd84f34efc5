"""What the settings of sender-constrained tokens may be, and what one of them needs of the others."""

from __future__ import annotations

import re
from typing import Any

import pytest

from jwtgate import Settings
from jwtgate.errors import SettingsError

BASE: dict[str, Any] = {"secret": "a-secret-of-at-least-thirty-two-bytes"}
ON: dict[str, Any] = {**BASE, "dpop": "on", "public_url": "https://api.example.com"}


def mistakes(**given: Any) -> tuple[str, ...]:
    """All of them."""
    with pytest.raises(SettingsError) as caught:
        Settings(**given)
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("HTTPS://API.example.com:443/", "https://api.example.com"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
    ],
)
def test_public_url_has_one_form(url: str, normal: str) -> None:
    """Without the slash at its end: paths begin with one."""
    assert Settings(**{**ON, "public_url": url}).public_url == normal


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({**BASE, "dpop": "on"}, "JWTGATE_DPOP .*JWTGATE_PUBLIC_URL"),
        ({**BASE, "dpop": "required"}, "JWTGATE_DPOP .*JWTGATE_PUBLIC_URL"),
        ({**ON, "dpop": "yes"}, "JWTGATE_DPOP .*off.*on.*required"),
        *(
            ({**ON, "public_url": url}, "JWTGATE_PUBLIC_URL ")
            for url in (
                "",
                "api.example.com",
                "ftp://x",
                "https://x/?q",
                "https://x/#f",
                "https://u:p@x/",
                "https://x y",
                "https://*",
            )
        ),
        ({**ON, "dpop_algorithms": ("HS256",)}, "JWTGATE_DPOP_ALGORITHMS .*HS256"),
        ({**ON, "dpop_algorithms": ("none",)}, "JWTGATE_DPOP_ALGORITHMS "),
        ({**ON, "dpop_algorithms": ()}, "JWTGATE_DPOP_ALGORITHMS is empty"),
        ({**ON, "dpop_window": 0}, "JWTGATE_DPOP_WINDOW .*1 to 600"),
        ({**ON, "dpop_window": 3600}, "JWTGATE_DPOP_WINDOW .*1 to 600"),
        ({**ON, "dpop_nonce_secret": "short"}, "JWTGATE_DPOP_NONCE_SECRET .*32"),
        ({**BASE, "dpop_nonce_secret": "x" * 32}, "JWTGATE_DPOP_NONCE_SECRET .*JWTGATE_DPOP is off"),
        ({**ON, "locations": ("cookie",)}, "JWTGATE_DPOP .*JWTGATE_LOCATIONS has no header"),
        ({**ON, "dpop": "required", "locations": ("header", "cookie")}, "JWTGATE_DPOP is required, and no cookie"),
        ({**BASE, "client_cert": "Client-Cert"}, "JWTGATE_CLIENT_CERT .*JWTGATE_TRUSTED_PROXIES"),
        ({**BASE, "trusted_proxies": ("10.0.0.1",)}, "JWTGATE_TRUSTED_PROXIES .*JWTGATE_CLIENT_CERT"),
        *(
            ({**BASE, "client_cert": name, "trusted_proxies": ("10.0.0.1",)}, "JWTGATE_CLIENT_CERT ")
            for name in ("", "Client_Cert", "a b", "x:", "é", "Authorization", "DPoP", "Host", "cookie")
        ),
        *(
            ({**BASE, "client_cert": "Client-Cert", "trusted_proxies": (each,)}, "JWTGATE_TRUSTED_PROXIES ")
            for each in ("", "*", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "::g")
        ),
    ],
)
def test_mistake_names_variable_and_what_is_allowed(given: dict[str, Any], names: str) -> None:
    """At start, each in one sentence, and no other mistake with it."""
    (mistake,) = mistakes(**given)
    assert re.match(names, mistake), mistake
    assert "allowed: " in mistake


def test_public_url_follows_the_resource() -> None:
    """Its origin, unless another one is given; nothing where nobody needs it."""
    resource = {"resource": "https://Api.example.com:443/orders"}
    assert Settings(**BASE, dpop="on", **resource).public_url == "https://api.example.com"
    assert Settings(**ON, resource="https://other.example").public_url == "https://api.example.com"
    assert Settings(**BASE, **resource).public_url is None


def test_nonce_secret_is_shown_nowhere() -> None:
    """Neither in the repr nor in a mistake."""
    settings = Settings(**ON, dpop_nonce_secret="hunter2" * 5)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in mistakes(**ON, dpop_nonce_secret="hunter2")[0]


def test_environment_spells_lists_with_commas() -> None:
    """As for every other setting."""
    settings = Settings.from_env(
        {
            "JWTGATE_SECRET": BASE["secret"],
            "JWTGATE_CLIENT_CERT": "X-SSL-Cert",
            "JWTGATE_TRUSTED_PROXIES": "10.0.0.7,2001:DB8::/32",
            "JWTGATE_DPOP": "on",
            "JWTGATE_DPOP_ALGORITHMS": "EdDSA,ES256",
            "JWTGATE_PUBLIC_URL": "https://api.example.com",
        }
    )
    assert settings.trusted_proxies == ("10.0.0.7/32", "2001:db8::/32")
    assert (settings.client_cert, settings.dpop_algorithms) == ("x-ssl-cert", ("EdDSA", "ES256"))
