"""The subprotocols of a handshake, one of which may be its token: found wherever the server tells them, and shown to nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jwtgate.core.http.extraction import SUBPROTOCOL_MARKER, subprotocols_of

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from jwtgate.channel.shapes import Message, Send

__all__ = ["offered_in", "without_token"]


def offered_in(scope: Mapping[str, Any]) -> bytes:
    """The subprotocols that a handshake offers: some servers give them as a header as well, some only where ASGI says."""
    subprotocols = scope.get("subprotocols")
    if subprotocols:
        return ", ".join(subprotocols).encode("latin-1", "replace")
    return b",".join([bytes(value) for name, value in scope["headers"] if name == b"sec-websocket-protocol"])


def without_token(scope: MutableMapping[str, Any], send: Send) -> tuple[dict[str, Any], Send]:
    """What an application sees of a handshake that shows its token among its subprotocols: the marker, never the token.

    The browser must be answered with one that it offered (RFC 6455 §4.2.2): with the marker, where the application picks none.

    Returns: what replaces items of the scope, and the send for the application.
    """
    marker = SUBPROTOCOL_MARKER.decode()
    offered = [each.decode("latin-1") for each in subprotocols_of(offered_in(scope))]
    if marker not in offered[:-1]:  # last: it shows none, and nobody has looked at it on an exempt path
        return {}, send
    token = offered[offered.index(marker) + 1]
    shown = [each for each in offered if each != token]

    async def accept(message: Message) -> None:
        if message["type"] == "websocket.accept" and message.get("subprotocol") not in shown:
            message = {**message, "subprotocol": marker}
        await send(message)

    headers = [item for item in scope["headers"] if bytes(item[0]) != b"sec-websocket-protocol"]
    header = (b"sec-websocket-protocol", ", ".join(shown).encode("latin-1"))
    return {"subprotocols": shown, "headers": [*headers, header]}, accept
