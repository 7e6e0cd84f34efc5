"""From a store's URL to how its connections are made: redis-py's ``Connection`` with our timeouts and nothing extra.

Every mistake in a URL is a ``SettingsError`` that never repeats it: it may hold a password. Connects to nothing.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url  # pyright: ignore[reportUnknownVariableType] - untyped there
from redis.retry import Retry

from jwtgate.errors import SettingsError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

__all__ = ["TIMEOUT_SECONDS", "Address", "Argument", "Connected", "Dial", "Dials", "dial_settings", "dials"]

TIMEOUT_SECONDS = 0.25
"""For connecting, for each answer, and for a free connection: a request may wait for two of them."""

GUIDE_SECONDS = 0.1
"""For a Sentinel, or for a node asked about its cluster: several of them must fit into one timeout."""

SENTINEL_PORT, NODE_PORT = 26379, 6379

Argument = bytes | str | int


class Connected(Protocol):
    """What is used of redis-py's connection."""

    _sock: socket.socket | None

    def connect(self) -> None: ...
    def send_command(self, *args: Argument) -> None: ...
    def can_read(self, timeout: float) -> bool: ...
    def read_response(self) -> Any: ...
    def disconnect(self) -> None: ...


class Address(NamedTuple):
    """Of one server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Dial(NamedTuple):
    """How to make a connection. ``secrets`` are the words that no message may carry."""

    connection_class: Callable[..., Connected]
    arguments: Mapping[str, Any]
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return "<Dial>"

    def open(self) -> Connected:
        """A connection, not yet made."""
        return self.connection_class(**self.arguments)

    def at(self, address: Address, *, seconds: float = TIMEOUT_SECONDS) -> Dial:
        """The same to another server."""
        timeouts = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        return self._replace(arguments={**self.arguments, **timeouts, "host": address.host, "port": address.port})


class Dials(NamedTuple):
    """What a URL with several hosts says.

    Attributes:
        hosts: in the order given.
        node: for the servers that hold data; its address is none of theirs.
        guide: for Sentinels; the same as ``node`` in a cluster, but for its patience.
        service: of the Sentinels; empty in a cluster.
    """

    hosts: tuple[Address, ...]
    node: Dial
    guide: Dial
    service: str


def dial_settings(url: str) -> Dial:
    """Reads redis://, rediss:// and unix:// URLs: user, password, database and ``ssl_*`` options. Raises: SettingsError."""
    others, mistake = list[str](), ""
    try:
        options = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        # First: redis-py has an exception of its own for each, which says less.
        others = [name for name in options if name not in _URL_OPTIONS and not name.startswith("ssl_")]
        parsed = cast("dict[str, Any]", parse_url(url))  # type: ignore[no-untyped-call]  # untyped there
        connection_class = parsed.pop("connection_class", Connection)
        secrets = tuple(str(parsed[name]) for name in ("password", "ssl_password") if parsed.get(name))
        dial = Dial(connection_class, {**parsed, **_FIXED}, secrets)
        dial.open()
    except Exception as error:  # noqa: BLE001  # whatever a URL can do to the parsers; their messages may quote it
        mistake = f"JWTGATE_STORE: the URL cannot be read ({type(error).__name__})."
    else:
        if not others:
            return dial
    if others:
        mistake = f"JWTGATE_STORE: the URL takes db, username, password and ssl_* options, not: {', '.join(sorted(others))}."
    raise SettingsError(mistake)


def dials(url: str) -> Dials:
    """Reads redis+sentinel:// and redis+cluster:// URLs. Raises: SettingsError.

    ``tls=1`` stands for TLS to all of them. Sentinels have users of their own: ``sentinel_username``, ``sentinel_password``.
    """
    scheme, _, rest = url.partition("://")
    is_sentinel = scheme == "redis+sentinel"
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    user_info, at, hosts = authority.rpartition("@")
    service, _, database = path.partition("/") if is_sentinel else ("", "", path)
    options = dict(parse_qsl(query, keep_blank_values=True))
    sentinels = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")} if is_sentinel else {}
    plain = {"1": "rediss", "0": "redis"}.get(options.pop("tls", "0"))
    if plain is None:
        raise SettingsError("JWTGATE_STORE: the URL takes tls=1 or tls=0.")
    if not is_sentinel and database not in ("", "0"):
        raise SettingsError("JWTGATE_STORE: a cluster has one database, so the URL must name none.")
    node = dial_settings(f"{plain}://{user_info}{at}host/{database}?{urlencode(options)}")
    spoken = {name: value for name, value in sentinels.items() if value}
    ours = {name: value for name, value in options.items() if name.startswith("ssl_")}
    guide = dial_settings(f"{plain}://host?{urlencode({**ours, **spoken})}") if is_sentinel else node
    secrets = tuple({*node.secrets, *guide.secrets})
    default = SENTINEL_PORT if is_sentinel else NODE_PORT
    return Dials(_addresses(hosts, default), node._replace(secrets=secrets), guide._replace(secrets=secrets), unquote(service))


def _addresses(hosts: str, default_port: int) -> tuple[Address, ...]:
    try:
        parts = [urlsplit(f"x://{host}") for host in hosts.split(",")]
        found = tuple(Address(part.hostname or "", part.port or default_port) for part in parts)
    except ValueError:
        found = ()
    if not found or not all(address.host for address in found):
        raise SettingsError("JWTGATE_STORE: the URL must name its hosts: host:port,host:port.")
    return found


_HAS_DRIVER_INFO = find_spec("redis.driver_info") is not None

_URL_OPTIONS = ("db", "username", "password")

_FIXED: dict[str, Any] = {
    "socket_timeout": TIMEOUT_SECONDS,
    "socket_connect_timeout": TIMEOUT_SECONDS,
    "retry": Retry(NoBackoff(), 0),
    "health_check_interval": 0,
    "decode_responses": False,
    # RESP2, no client name and no library info: each would be one more round trip before the first answer.
    "protocol": 2,
    # redis-py 7 took driver_info in the place of the two others and warns of them.
    **({"driver_info": None} if _HAS_DRIVER_INFO else {"lib_name": None, "lib_version": None}),
}
