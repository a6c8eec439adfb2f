"""Our own token count."""

from hypothesis import given
from hypothesis import strategies as st

from techstone.core import tokens


@given(st.text(), st.lists(st.integers(0, 50)))
def test_any_split_counts_like_the_whole(text: str, cuts: list[int]) -> None:
    """A stream's text counts the same whatever pieces it came in (row M-8)."""
    counter = tokens.Counter()
    rest = text
    for cut in cuts:
        counter.feed(rest[:cut])
        rest = rest[cut:]
    counter.feed(rest)
    assert counter.count == tokens.count(text)


def test_english_is_near_a_token_a_word() -> None:
    """The pangram has 10 tokens in o200k: nine words and the full stop."""
    assert tokens.count("The quick brown fox jumps over the lazy dog.") == 10
