"""A browser at the demo's provider, without the browser: forms and redirects by httpx (OpenID Connect Core 1.0 §3.1)."""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx

from jwtgate.demo.commands import CLIENT
from jwtgate.demo.lines import Answer
from jwtgate.demo.provider import CALLBACK

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Login", "Visitor"]

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Login:
    """What a login brought the application's client."""

    access_token: str = field(repr=False)
    id_token: str = field(repr=False)


class Visitor:
    """Whoever sits at the browsers. Everything here raises ``HTTPException`` where the provider does otherwise."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def log_in(self, user: str) -> Login:
        """In a browser of its own, so it is a session of its own."""
        verifier = secrets.token_urlsafe(48)
        asked = {
            "client_id": CLIENT,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid orders",
            "state": secrets.token_urlsafe(8),
            "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        with self._client() as client:
            form = self._answered(client.get("/authorize", params=asked), httpx.codes.OK)
            signed_in = client.post(form.url, data={"user": user, "password": user})
            back = parse_qs(urlsplit(self._answered(signed_in, httpx.codes.SEE_OTHER).headers["location"]).query)
            exchange = {"grant_type": "authorization_code", "code": back["code"][0], "code_verifier": verifier}
            tokens = self._answered(client.post("/token", data=exchange), httpx.codes.OK).json()
        return Login(tokens["access_token"], tokens["id_token"])

    def rotate(self) -> str:
        """The provider signs with its next key from now on; returns the kid."""
        with self._client() as client:
            return str(self._answered(client.post("/rotate"), httpx.codes.OK).json()["kid"])

    def log_out(self, login: Login) -> tuple[Answer, Any]:
        """Returns once the provider has told the application: how long that took, and what the application answered."""
        with self._client() as client:
            client.get("/jwks")  # the connection is there before the clock starts
            began_at = time.monotonic()
            response = client.post("/logout", data={"id_token_hint": login.id_token})
            ended_at = time.monotonic()
            told = self._answered(response, httpx.codes.OK).json()
        return Answer(began_at, ended_at, int(told["application"]), None, response.content), told["answer"]

    @contextmanager
    def _client(self) -> Generator[httpx.Client]:
        """One browser. What goes wrong below HTTP is what it would be on a ``Line``."""
        with httpx.Client(base_url=self.issuer, trust_env=False, timeout=TIMEOUT_SECONDS) as client:
            try:
                yield client
            except httpx.HTTPError as error:
                raise HTTPException(f"the provider gave no answer: {type(error).__name__}") from error

    def _answered(self, response: httpx.Response, status: int) -> httpx.Response:
        if response.status_code != status:
            raise HTTPException(f"the provider answered {response.status_code} at {response.url.path}")
        return response
