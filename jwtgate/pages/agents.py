"""A user agent in words: the browser and the system that it names itself, as far as a glance can tell. No proof of anything.

A short list in a fixed order, since browsers carry the names of others for old servers' sakes (RFC 9110 §10.1.5). What is not
on it is shown as it is.
"""

from __future__ import annotations

__all__ = ["agent_in_words"]

MOST_READ = 512
"""Characters; what matters stands at the beginning."""

BROWSERS = (
    *(("Edg/", "Edge"), ("EdgA/", "Edge"), ("EdgiOS/", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet")),
    *(
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("HeadlessChrome/", "Chrome"),
        ("Chrome/", "Chrome"),
    ),
    *(("Version/", "Safari"), ("curl/", "curl"), ("python-requests/", "Python requests"), ("python-httpx/", "Python httpx")),
    *(("okhttp/", "okhttp"), ("Dart/", "Dart"), ("CFNetwork/", "an Apple app")),
)
SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"), ("Windows", "Windows")),
    *(("Macintosh", "macOS"), ("Linux", "Linux"), ("Darwin", "Apple")),
)


def agent_in_words(user_agent: str) -> str:
    """Such as ``Firefox on Linux``; the text itself where nothing in it is known."""
    text = user_agent[:MOST_READ]
    browser = next((name for mark, name in BROWSERS if mark in text), None)
    system = next((name for mark, name in SYSTEMS if mark in text), None)
    if browser is None and system is None:
        return user_agent
    return f"{browser} on {system}" if browser and system else browser or f"something on {system}"
