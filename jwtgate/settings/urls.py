"""URLs in settings: masked for log lines, and judged as store (``stores.opening``) or origin (RFC 6454 §6.1).

``mask_url`` prefers hiding too much: what cannot be parsed without doubt is hidden whole. Does not open anything.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from jwtgate.core.statuses.claim import is_plain_address
from jwtgate.settings.allowed import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

__all__ = [
    "JOURNALS_ALLOWED",
    "STORES_ALLOWED",
    "mask_url",
    "normal_journal",
    "normal_key_url",
    "normal_origin",
    "normal_prefix",
    "normal_resource",
    "normal_store",
    "origin_of",
]

MASK = "***"
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
UNSAFE = re.compile(r"[\s\x00-\x1f\x7f\\]")
SECRET_NAMES = ("pass", "pwd", "secret", "token", "auth", "key", "cred")
"""A query parameter whose name holds one of these is masked: password, sentinel_password, ssl_keyfile_password, …"""

STORES_ALLOWED = (
    "memory://, redis://host:port/db, rediss://host:port/db, unix:///path/of/socket, redis+sentinel://host,host/service, "
    "redis+cluster://host,host, sqlite:///path, postgresql+psycopg://host/database or mysql+pymysql://host/database"
)
JOURNALS_ALLOWED = "sqlite:///path, postgresql+psycopg://host/database or mysql+pymysql://host/database"
SEVERAL_HOSTS = ("redis+sentinel", "redis+cluster")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_~!$&'()*+,=:@.-]*[A-Za-z0-9_~!$&'()*+,=:@-])*/?")
"""Nothing encoded, no empty segment, none that ends in a dot."""
DEFAULT_PORTS = {"http": 80, "https": 443}


def mask_url(url: object) -> str:
    """The URL without its passwords: in the user-info, and in query parameters named like one.

    Args: url: any text. Returns: the masked URL; ``***`` where it cannot be parsed beyond doubt.
    """
    if not isinstance(url, str) or "://" not in url or UNSAFE.search(url):
        return MASK
    try:
        parts = urlsplit(url)
        if parts.scheme not in SEVERAL_HOSTS:
            _ = parts.port  # raises where a stray "/", "?" or "#" of a password has cut the authority short
        elif not _are_hosts(parts.netloc.rpartition("@")[2]):
            return f"{parts.scheme}://{MASK}"
    except ValueError:
        return MASK
    if not parts.scheme:
        return MASK
    if "@" in unquote(parts.path + parts.query + parts.fragment):
        return f"{parts.scheme}://{MASK}"
    query = f"?{_masked_query(parts.query)}" if parts.query else ""
    fragment = f"#{MASK}" if parts.fragment else ""
    return f"{parts.scheme}://{_masked_authority(parts.netloc)}{parts.path}{query}{fragment}"


def _masked_authority(netloc: str) -> str:
    user_info, at, host = netloc.rpartition("@")
    if not at:
        return host
    user, colon, _ = user_info.partition(":")
    # A lone user-info is often a password whose colon was forgotten.
    return f"{user}:{MASK}@{host}" if colon and "@" not in user_info else f"{MASK}@{host}"


def _masked_query(query: str) -> str:
    return "".join(part if part in "&;" else _masked_parameter(part) for part in re.split(r"([&;])", query))


def _masked_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if not equals:
        return MASK
    return f"{name}={MASK}" if any(word in unquote(name).lower() for word in SECRET_NAMES) else parameter


def normal_store(url: str) -> str:
    """The store's URL as given.

    Raises: Unfit: naming the scheme; the URL itself only masked.
    """
    scheme = _scheme(url)
    if scheme not in _COMPLETE:
        raise Unfit(f"has the unknown scheme {scheme}://")
    return _complete(scheme, url)


def normal_journal(url: str) -> str:
    """The journal's URL as given: an SQL database.

    Raises: Unfit: naming the scheme; the URL itself only masked.
    """
    scheme = _scheme(url)
    if _COMPLETE.get(scheme) not in (_is_file, _is_database):
        raise Unfit(f"has the scheme {scheme}://, which is no SQL database")
    return _complete(scheme, url)


def normal_key_url(url: str) -> str:
    """Raises: Unfit: no http or https URL with a host. Whether http will do, another setting says."""
    parts = _split(url)
    if UNSAFE.search(url) or parts is None or parts.scheme not in ("https", "http") or not parts.hostname or parts.fragment:
        raise Unfit(f"is {mask_url(url)!r}")
    return url


def normal_prefix(url: str) -> str:
    """Raises: Unfit: no http or https URL that every reader takes alike, or one with a query or a slash at its end."""
    if not is_plain_address(url) or "?" in url or url.endswith("/") or origin_of(url) is None:
        raise Unfit(f"is {mask_url(url)!r}")
    return url


def origin_of(url: str) -> str | None:
    """The origin of an http or https URL (RFC 6454 §4), as the URL spells it; None where it has none, or user-info."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        return None
    return f"{parts.scheme}://{parts.netloc}"


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or not SCHEME.fullmatch(scheme):
        raise Unfit("is not a URL (value not shown)")
    return scheme


def _complete(scheme: str, url: str) -> str:
    if UNSAFE.search(url) or not _COMPLETE[scheme](url.partition("://")[2]):
        perhaps = ", or has a / ? # or @ in its password that is not percent-encoded" if "@" in url else ""
        raise Unfit(f"is {mask_url(url)}, which is not complete{perhaps}")
    return url


def _is_nothing(rest: str) -> bool:
    """As in memory:// alone."""
    return not rest


def _is_server(rest: str) -> bool:
    """As in host:port/db."""
    parts = _split(f"x://{rest}")
    return parts is not None and not parts.fragment and bool(parts.hostname) and _is_number(parts.path)


def _is_socket(rest: str) -> bool:
    """As in /path/of/socket."""
    parts = _split(f"x://{rest}")
    return parts is not None and not parts.fragment and _is_path(parts.path) and not parts.hostname


def _is_sentinel(rest: str) -> bool:
    """As in user:password@host:port,host:port/service/db."""
    hosts, path = _hosts_and_path(rest)
    return "#" not in rest and _are_hosts(hosts) and re.fullmatch(r"[^/@]+(/[0-9]{0,4})?", path) is not None


def _is_cluster(rest: str) -> bool:
    """As in user:password@host:port,host:port."""
    hosts, path = _hosts_and_path(rest)
    return "#" not in rest and _are_hosts(hosts) and path in ("", "0")


def _hosts_and_path(rest: str) -> tuple[str, str]:
    """Without user-info and query. The first slash ends the hosts: one in a password must be written %2F."""
    authority, _, path = rest.partition("?")[0].partition("/")
    return authority.rpartition("@")[2], path


def _is_file(rest: str) -> bool:
    """As in /path."""
    return _is_path(rest) and "?" not in rest and "#" not in rest


def _is_database(rest: str) -> bool:
    """As in user:password@host:port/database.

    A second @ is none of a password, where it must be written %40: SQLAlchemy ends the user-info at the first.
    """
    parts = _split(f"x://{rest}")
    is_clear = parts is not None and not parts.fragment and parts.netloc.count("@") <= 1
    return parts is not None and is_clear and re.fullmatch(r"/[^/]+", parts.path) is not None


_COMPLETE: dict[str, Callable[[str], bool]] = {
    "memory": _is_nothing,
    "redis": _is_server,
    "rediss": _is_server,
    "unix": _is_socket,
    "redis+sentinel": _is_sentinel,
    "redis+cluster": _is_cluster,
    "sqlite": _is_file,
    "postgresql+psycopg": _is_database,
    "mysql+pymysql": _is_database,
    "mariadb+pymysql": _is_database,
}
"""Scheme to whether what follows it names all that is needed."""


def _is_number(path: str) -> bool:
    return re.fullmatch(r"(/[0-9]{0,4})?", path) is not None


def _is_path(path: str) -> bool:
    return path.startswith("/") and len(path) > 1


def _are_hosts(hosts: str) -> bool:
    """host:port,host:port, ports left out or not."""
    parts = [_split(f"x://{host}") for host in hosts.split(",")]
    return all(part is not None and part.hostname and not part.username for part in parts)


def _split(url: str) -> SplitResult | None:
    """The parts; None where they cannot be told apart, a port out of range included."""
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else None
    except ValueError:
        return None


def normal_origin(origin: str) -> str:
    """The origin as browsers send it (RFC 6454 §6.1): lower case, no default port.

    Raises: Unfit: anything but scheme://host[:port].
    """
    parts = _split(origin)
    if parts is None or "@" in origin:
        raise Unfit("is not an origin (value not shown)")
    host = _normal_host(parts.hostname or "")
    is_bare = not (parts.path or parts.query or parts.fragment) and not origin.endswith(("?", "#", ":"))
    if not parts.scheme or not host or not is_bare:
        raise Unfit(f"is {mask_url(origin)!r}")
    port = "" if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def normal_resource(url: str) -> str:
    """The identifier of a resource (RFC 9728 §1.2, RFC 8707 §2) as it is given, since clients compare it letter by letter.

    Raises: Unfit: no https URL; a query or fragment; a path that two routers could read differently.
    """
    parts = _split(url)
    if (
        parts is None
        or UNSAFE.search(url)
        or "@" in parts.netloc
        or "?" in url
        or "#" in url
        or not _normal_host(parts.hostname or "")
    ):
        raise Unfit("is no such URL (value not shown)")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS):
        raise Unfit(f"is {mask_url(url)!r}")
    if not PLAIN_PATH.fullmatch(parts.path):
        raise Unfit(f"is {mask_url(url)!r}")
    return url


def _normal_host(host: str) -> str | None:
    """Lower case, IPv6 in brackets and compressed; None where a browser would never send it so."""
    if ":" in host:
        try:
            return None if "%" in host else f"[{ipaddress.IPv6Address(host).compressed}]"
        except ValueError:
            return None
    return host.lower() if re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", host) else None
