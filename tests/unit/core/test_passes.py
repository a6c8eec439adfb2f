"""The passes of the port between the planes."""

from __future__ import annotations

from techstone.core import passes


def test_pass_opens_one_half() -> None:
    """Two purposes have two passes; neither is the token, and a token has its own."""
    token = b"0123456789abcdef" * 2
    seam, pages = passes.make(token, "seam"), passes.make(token, "pages")
    assert len({token, seam, pages, passes.make(token + b"0", "seam")}) == 4
    assert (len(seam), seam.isalnum()) == (64, True)


def test_same_is_the_whole() -> None:
    """No beginning of a pass, no other length."""
    seam = passes.make(b"x" * 32, "seam")
    assert passes.same(seam, seam)
    assert not any(passes.same(wrong, seam) for wrong in (b"", seam[:-1], seam + b"0", seam.upper()))
