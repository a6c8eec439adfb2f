"""Browsers as their owners know them."""

from __future__ import annotations

import pytest

from techstone.control.console.devices import describe

_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (_WINDOWS, "Chrome on Windows"),
        (f"{_WINDOWS} Edg/133.0.0.0", "Edge on Windows"),
        (f"{_WINDOWS} OPR/117.0.0.0", "Opera on Windows"),
        (f"{_MAC} Version/18.3 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) CriOS/133.0 Mobile Safari/604.1",
            "Chrome on iPhone",
        ),
        ("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/133.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.12.1", "curl"),
        ("", "Unknown"),
        ("x" * 200, "x" * 40),
    ],
)
def test_browser_is_told_in_words(agent: str, words: str) -> None:
    """Its name and what it runs on; what is unknown by what it calls itself, not longer than a line."""
    assert describe(agent) == words
