"""One document by HTTP, from an address of the configuration: bounded as a whole, and never by a detour.

No redirect is followed: it could lead inside the operator's own network. No compressed body is taken: a small one could be a
large one. httpx (BSD, typed, one maintainer team with Starlette and uvicorn) bounds each wait, so the sum is bounded here.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Self, cast

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Client", "Document", "Gone", "Unusable"]

USER_AGENT = "jwtgate"


_here = threading.local()


def _is_not_ours(_: logging.LogRecord) -> bool:
    """The library logs each URL whole, with a password that stands in it, or the claim of a token that named it: not ours."""
    return not getattr(_here, "is_ours", False)


logging.getLogger("httpx").addFilter(_is_not_ours)


class Unusable(Exception):
    """Nothing came that can be used; the text says why, and quotes nothing of it."""


class Gone(Unusable):
    """The publisher says that there is no such document (RFC 9110 §15.5.5, §15.5.11)."""


class Document:
    """What came.

    Attributes:
        text: the body.
        members: of the JSON object that it is.
        cache_control: the field's value, or None.
    """

    def __init__(self, text: str, cache_control: str | None) -> None:
        """Raises: Unusable: it is no JSON object."""
        try:
            members: object = json.loads(text)
        except (ValueError, RecursionError):
            members = None
        if not isinstance(members, dict):
            raise Unusable("what came is no JSON object")
        self.text = text
        self.members = cast("dict[str, Any]", members)
        self.cache_control = cache_control


class Client:
    """For a few documents in a row, which take no longer than ``seconds`` together."""

    def __init__(self, seconds: float, limit_bytes: int, accept: str = "application/json") -> None:
        self._until = time.monotonic() + seconds
        self._limit_bytes = limit_bytes
        headers = {"accept": accept, "accept-encoding": "identity", "user-agent": USER_AGENT}
        self._client = httpx.Client(follow_redirects=False, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, url: str) -> Document:
        """One JSON object. Raises: Unusable."""
        body, headers = self.fetch(url)
        return Document(body.decode(errors="replace"), headers.get("cache-control"))

    def fetch(self, url: str) -> tuple[bytes, Mapping[str, str]]:
        """A body, and the header's fields in lower case. Raises: Unusable; Gone."""
        _here.is_ours = True
        try:
            with self._client.stream("GET", url, timeout=self._left()) as response:
                if response.status_code != 200:
                    kind = Gone if response.status_code in (404, 410) else Unusable
                    raise kind(f"the answer's status is {response.status_code}, and must be 200")
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    raise Unusable("the answer is compressed, which was not asked for")
                body = bytearray()
                for part in response.iter_raw():
                    body += part
                    if len(body) > self._limit_bytes:
                        raise Unusable(f"the answer is longer than {self._limit_bytes} bytes")
                    self._left()
        except httpx.InvalidURL:
            raise Unusable("the URL is none") from None
        except httpx.TimeoutException:
            raise Unusable("no answer in time") from None
        except httpx.HTTPError as error:
            raise Unusable(f"no answer: {type(error).__name__}") from None
        finally:
            _here.is_ours = False
        return bytes(body), response.headers

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise Unusable("no whole answer in time")
        return left
