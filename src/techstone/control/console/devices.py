"""What a browser calls itself, in words that its owner knows it by. It is told and not believed."""

from __future__ import annotations

# The first that occurs: most claim to be several, the true one earlier in this list (MDN, "Browser detection using the
# user agent").
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_LONGEST = 40


def describe(agent: str) -> str:
    """Return such as "Firefox on Windows"; for what is none of these, the name that it gives itself first."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if browser is None:
        words = agent.split("/", maxsplit=1)[0].split()
        browser = words[0][:_LONGEST] if words else "Unknown"
    return f"{browser} on {system}" if system else browser
