"""What a browser and the clients of the provider do there: forms, redirects, cookies, codes and tokens.

By hand: ``python browsing.py ISSUER [alice [web]]`` logs somebody in, prints the access token, and logs out on Enter.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import sys
from typing import Any, Self
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

CALLBACK, GOODBYE = "http://127.0.0.1:9/callback", "http://127.0.0.1:9/bye"
"""Nobody listens there: the browser is stopped before it goes."""

SECRETS = {"web": "secret", "service": "secret", "certified": "secret"}
"""Of the clients that have one; the others are public."""


def unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT."""
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2])
    return header, claims


class Browser:
    """One person's, and the client whose pages it shows: OpenID Connect Core 1.0 §3.1 with PKCE (RFC 7636)."""

    def __init__(self, issuer: str) -> None:
        self.http = httpx.Client(base_url=issuer, trust_env=False, timeout=20)
        self.metadata = self.http.get("/.well-known/openid-configuration").json()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def _follow(self, response: httpx.Response, until: str) -> httpx.Response | str:
        """The page at which redirects end, or the address that begins with ``until``."""
        while response.is_redirect:
            target = urljoin(str(response.url), response.headers["location"])
            if target.startswith(until):
                return target
            response = self.http.get(target)
        return response

    def log_in(
        self, user: str, client_id: str = "web", *, scope: str = "openid api:read api:write", resource: str | None = None
    ) -> dict[str, Any]:
        """The token answer (RFC 6749 §5.1). The password is asked for only where nobody is logged in yet."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        request = {
            "client_id": client_id,
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": scope,
            "resource": resource or "https://api.test.example",
            "state": secrets.token_urlsafe(8),
            "nonce": secrets.token_urlsafe(8),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        came = self._follow(self.http.get(self.metadata["authorization_endpoint"], params=request), CALLBACK)
        if isinstance(came, httpx.Response):
            form = {"login": user, "password": f"{user}-password"}
            came = self._follow(self.http.post(came.url, data=form), CALLBACK)
        assert isinstance(came, str), came.text
        query = parse_qs(urlsplit(came).query)
        assert query["state"] == [request["state"]], query
        code = query["code"][0]
        answer = self.ask_token(
            client_id, grant_type="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=verifier
        )
        assert "access_token" in answer, answer
        return answer

    def ask_token(self, client_id: str, **form: str) -> dict[str, Any]:
        """Whatever the token endpoint answers."""
        secret = SECRETS.get(client_id)
        auth = (client_id, secret) if secret else httpx.USE_CLIENT_DEFAULT
        data = form if secret else {**form, "client_id": client_id}
        answer: dict[str, Any] = self.http.post(self.metadata["token_endpoint"], data=data, auth=auth).json()
        return answer

    def log_out(self, id_token: str) -> None:
        """OpenID Connect RP-Initiated Logout 1.0: over for every client; the provider answers once it has told them."""
        request = {"id_token_hint": id_token, "post_logout_redirect_uri": GOODBYE}
        page = self.http.get(self.metadata["end_session_endpoint"], params=request)
        action, xsrf = re.search(r'action="([^"]+)"', page.text), re.search(r'name="xsrf" value="([^"]+)"', page.text)
        assert action is not None and xsrf is not None, page.text
        came = self._follow(self.http.post(action[1], data={"xsrf": xsrf[1], "logout": "yes"}), GOODBYE)
        assert isinstance(came, str), came.text


def main(issuer: str, user: str = "alice", client_id: str = "web") -> None:
    """For a shell that has the provider in another."""
    with Browser(issuer) as browser:
        answer = browser.log_in(user, client_id)
        print(f"ACCESS_TOKEN={answer['access_token']}\n\n{user} is logged in. Enter logs out, at the provider.", flush=True)
        sys.stdin.readline()
        browser.log_out(answer["id_token"])
        print("Logged out.")


if __name__ == "__main__":
    main(*sys.argv[1:])
