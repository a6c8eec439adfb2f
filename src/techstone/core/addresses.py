"""Addresses of e-mail: one plain `addr-spec` and nothing else, so that a letter has one receiver; pure.

A dot-atom before the @ (RFC 5322, 3.2.3; letters of all scripts by RFC 6531), a host's name after it (RFC 1123, 2.1).
No quoted words, comments, names, groups or lists: what reads an address as several would write to all of them.
Whether it is anybody's, only a letter to it can tell.
"""

from __future__ import annotations

import re

# RFC 5321, 4.5.3.1.3: a path is at most 256 octets with its angle brackets; 4.5.3.1.1: what stands before the @.
LONGEST = 254
_LONGEST_LOCAL = 64
_LONGEST_LABEL = 63
_ATOM = r"""[^\s()<>\[\]:;@\\,."\x00-\x20\x7f]+"""
_LABEL = rf"[A-Za-z0-9](?:[A-Za-z0-9-]{{0,{_LONGEST_LABEL - 2}}}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@{_LABEL}(?:\.{_LABEL})*")


def is_too_long(text: str) -> bool:
    """Say whether it is longer than any address."""
    return len(text) > LONGEST or len(text.encode(errors="replace")) > LONGEST


def is_address(text: str) -> bool:
    """Say whether it is one address. What cannot be seen (a joiner, a mark of direction) is part of none."""
    if is_too_long(text) or not text.isprintable():
        return False
    found = _ADDRESS.fullmatch(text)
    return found is not None and len(found[1].encode()) <= _LONGEST_LOCAL
