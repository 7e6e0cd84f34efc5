"""What an application has in its database: users with their passwords, roles and secrets. One JSON file for all workers.

Tests change it while the workers run; no worker remembers what stood there.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

PASSWORD = "a password of the application's own"
OPERATOR = "a password of the operator's own"
FRESH_SECONDS = 3
"""How long ago the password may have been given where ``/account`` asks for a fresh login."""


class Database:
    """Rows by name; a row is whatever JSON the application keeps."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def rows(self) -> dict[str, Any]:
        """All of them."""
        return json.loads(self.path.read_bytes()) if self.path.exists() else {}

    def row(self, name: str) -> dict[str, Any] | None:
        """One of them."""
        return self.rows().get(name)

    def put(self, name: str, **fields: Any) -> None:
        """Adds a row or changes fields of one; readers see the old file or the new one."""
        rows = self.rows()
        rows[name] = {**rows.get(name, {}), **fields}
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(rows))
        os.replace(draft, self.path)


def key_of(secret: str) -> str:
    """What a token may show of a user's secret: its SHA-256."""
    return sha256(secret.encode()).hexdigest()
