"""Text that a setting names by path: read once, bounded, and never quoted in a mistake.

A mistake may show a path but must not show a key, and a key pasted where a path belongs looks like one. So a value is
shown only if it is surely a path. Does not judge what the text says.
"""

from __future__ import annotations

import json
import os.path
from pathlib import Path
from typing import cast

from jwtgate.settings.allowed import Unfit

__all__ = ["key_set_text", "pem_text", "read_text", "shown"]

LIMIT_BYTES = 1024 * 1024
"""No key, JWK Set or list of issuers is near 1 MiB; /dev/zero is."""

PATH_SUFFIXES = (".pem", ".key", ".crt", ".cer", ".pub", ".json", ".jwks", ".jwk", ".txt")
PATH_STARTS = ("/", "./", "../", "~/")


def read_text(path: str) -> str:
    """The text of a file.

    Raises: Unfit: the file cannot be read, is longer than 1 MiB or is not UTF-8; tells why and, if it is one, the path.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise Unfit(f"names {shown(path)}, which cannot be read ({error.strerror})") from None
    except ValueError:
        raise Unfit("names a file whose path holds a NUL") from None
    if len(content) > LIMIT_BYTES:
        raise Unfit(f"names {shown(path)}, which is longer than 1 MiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Unfit(f"names {shown(path)}, which is not UTF-8 text") from None


def key_set_text(path: str) -> str:
    """The text of a JWK Set file, or of all such files in a folder as one set, by name.

    Raises: Unfit: as ``read_text``; the folder has no file ``*.json``, or one that is no JWK Set.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises what would show a key that was pasted for a path
        return read_text(path)
    files = sorted(str(file) for file in Path(path).glob("*.json") if not file.name.startswith("."))
    if not files:
        raise Unfit(f"names {shown(path)}, a folder without a file *.json")
    keys: list[object] = []
    for file in files:
        try:
            document: object = json.loads(read_text(file))
        except (ValueError, RecursionError):
            raise Unfit(f"names {shown(file)}, which is not valid JSON") from None
        members = cast("dict[str, object]", document).get("keys") if isinstance(document, dict) else None
        if not isinstance(members, list):
            raise Unfit(f"names {shown(file)}, which is no JWK Set")
        keys += cast("list[object]", members)
    return json.dumps({"keys": keys})


def pem_text(value: str) -> str:
    r"""PEM text, given as such (with ``\n`` for line ends, as one-line variables need) or as the path of a file.

    Raises: Unfit: neither.
    """
    text = value if "-----BEGIN" in value else read_text(value)
    if "-----BEGIN" not in text:
        raise Unfit(f"names {shown(value)}, which holds no PEM text")
    return text.replace("\\n", "\n")


def shown(path: str) -> str:
    """The path, quoted, where it cannot be anything else: base64 has no dot, and seldom starts with a slash."""
    is_path = path.startswith(PATH_STARTS) or os.path.splitext(path)[1] in PATH_SUFFIXES
    return repr(path) if is_path and path.isprintable() and len(path) <= 1024 else "a file (name not shown)"
