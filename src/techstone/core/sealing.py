"""What secrets of providers are sealed for: a secret opens where it belongs and nowhere else.

A secret that was sealed for one address cannot be opened for another: whoever can write the database can still not
have it sent to a host of their own.
"""

from __future__ import annotations


class Unsealable(Exception):
    """A sealed secret cannot be opened, or none be sealed: one line for the operator, without the secret."""


def name_context(provider: str, *base_urls: str) -> str:
    """Return the context of a provider's secret: its name and every address that it may be sent to, in any order."""
    return f"provider {provider} {' '.join(sorted(base_urls))}"
