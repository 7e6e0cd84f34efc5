"""The README says what the code does: its table of settings is the one in ``jwtgate.settings``."""

from __future__ import annotations

import re
from pathlib import Path

from jwtgate.settings import variables

README = Path(__file__).parent.parent / "README.md"


def settings_table() -> str:
    """The table as the README must show it; later versions' settings are left out."""
    rows = ["| variable `JWTGATE_…` | default | meaning |", "|---|---|---|"]
    for each in variables():
        if each.is_available:
            name = each.name.removeprefix("JWTGATE_")
            default = f"`{each.default}`" if each.default else "–"
            rows.append(f"| `{name}` | {default} | {each.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def test_readme_shows_every_setting_with_its_default_and_meaning() -> None:
    """A newcomer reads one table, and it is true."""
    shown = re.search(r"<!-- settings -->\n(.*)\n<!-- /settings -->", README.read_text(), re.DOTALL)
    assert shown is not None
    assert shown[1] == settings_table()


def test_readme_is_short() -> None:
    """Under 250 lines: it is read top to bottom."""
    assert len(README.read_text().splitlines()) < 250
