"""From a URL to a store."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pytest
from servers import WATCH

from jwtgate.errors import SettingsError
from jwtgate.stores import open_store


def test_importing_the_stores_imports_no_client_library() -> None:
    """A service on another store needs neither redis nor SQLAlchemy."""
    code = (
        "import sys; from jwtgate.core.history import Watch; from jwtgate.stores import open_store; open_store('memory://', prefix='x', watch=Watch(1, 1));"
        "sys.exit('redis' in sys.modules or 'sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory://x",
        "REDIS://:s3cr3t@localhost",
        "http://:s3cr3t@localhost",
        "redis://:s3cr3t#x@localhost:6379",
        "redis://user:s3cr3t@localhost:s3cr3t",
        "redis://:s3cr3t@[::1",
        "redis://:s3cr3t@localhost?db=s3cr3t",
        "redis://:s3cr3t@localhost?socket_timeout=60",
        "redis://:s3cr3t@localhost?decode_responses=1",
        "redis://:s3cr3t@localhost?max_connections=9999",
        "rediss://:s3cr3t@localhost?ssl_s3cr3t=1",
        "rediss://:s3cr3t@localhost?ssl_cert_reqs=s3cr3t",
        "redis://:s3cr3t@localhost?ssl_cert_reqs=none",
    ],
)
def test_unusable_url_is_the_operators_mistake(url: str) -> None:
    """Unknown schemes and options are said at once; the URL, with its password, is repeated nowhere."""
    with pytest.raises(SettingsError) as caught:
        open_store(url, prefix="jwtgate", watch=WATCH)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "s3cr3t@" not in said and ":s3cr3t" not in said


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://user:p%40ss@localhost:6380/2",
        "redis://[::1]:6379",
        "rediss://localhost?ssl_cert_reqs=required&ssl_check_hostname=true",
        "unix:///run/redis.sock?db=1",
        "unix://user:word@/run/redis.sock",
    ],
)
def test_usual_urls_are_taken(url: str) -> None:
    """Nothing is connected at opening."""
    open_store(url, prefix="jwtgate", watch=WATCH).close()


@pytest.mark.parametrize("prefix", ["a}b", "{a"])
def test_prefix_with_braces_is_refused(prefix: str) -> None:
    """Braces would move keys of one step to several slots."""
    with pytest.raises(SettingsError, match="braces"):
        open_store("redis://localhost", prefix=prefix, watch=WATCH)
