"""What people do to a question: other words for the same, politeness, haste and slips of the keyboard.

A model of some millions of parameters that has seen a question in one spelling knows that spelling. So no question is
shown twice alike: each is disturbed anew, by the generator that is handed in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from intents import normalise

if TYPE_CHECKING:
    from random import Random

_OPENINGS = (
    "Please, {}", "Hi, {}", "Hello! {}", "Hi there, {}", "Hey, {}", "So, {}", "OK, {}", "Well, {}", "One question: {}",
    "Quick question: {}", "Question: {}", "I want to know: {}", "I'd like to know: {}", "Tell me: {}", "Sorry, {}",
    "Could you tell me: {}", "I was wondering: {}", "I am new here. {}", "Just curious: {}", "Good morning, {}",
    "I have a question: {}", "Help: {}", "Excuse me, {}", "Do you know: {}", "I need to know: {}", "Can you help? {}",
)  # fmt: skip
_CLOSINGS = (
    " please", " Thanks!", " thanks", ", please", " Thank you.", " thank you in advance", " pls", " Any idea?",
    " Thanks a lot.", " I am not sure.", " in this product", " here", " with TechStone", " in TechStone AI Cloud",
)  # fmt: skip
# Words for the same; each phrase may stand for another of its line. Only where it stays English in most sentences.
_SAME = (
    ("how do i", "how can i", "how would i", "how should i", "how to", "what is the way to", "how does one"),
    ("how do we", "how can we", "how should we"),
    ("can i", "may i", "could i", "is it possible to", "am i able to", "am i allowed to"),
    ("what is", "what's", "whats", "what exactly is", "explain", "tell me what is"),
    ("what are", "which are", "what exactly are"),
    ("what does", "what would", "what exactly does"),
    ("which", "what"),
    ("is there", "do you have", "does it have", "is there any way to have"),
    ("are there", "do you have", "do there exist"),
    ("where do i", "where can i", "where should i", "in which place do i"),
    ("where is", "where's", "where do i find", "where can i see"),
    ("why is", "why's", "how come", "for what reason is"),
    ("why do i get", "why am i getting", "why do i receive", "why did i get"),
    ("i get", "i got", "i am getting", "i'm getting", "i receive", "i keep getting"),
    ("i want to", "i'd like to", "i would like to", "i need to", "i have to", "i wanna"),
    ("i am", "i'm", "im"),
    ("tell me about", "explain", "describe", "say something about", "give me information about"),
    ("show me", "give me", "let me see", "i want to see"),
    ("list", "show", "name"),
    ("create", "make", "generate", "add", "set up"),
    ("delete", "remove", "get rid of", "drop"),
    ("change", "modify", "edit", "alter", "adjust"),
    ("find", "see", "look up", "get"),
    ("use", "work with", "utilize"),
    ("start", "run", "launch", "begin"),
    ("stop", "end", "shut down"),
    ("set", "configure", "specify", "define"),
    ("connect", "link", "hook up", "attach"),
    ("enable", "turn on", "switch on", "activate"),
    ("disable", "turn off", "switch off", "deactivate"),
    ("does it mean", "does that mean", "is meant by it"),
    ("mean", "stand for", "tell me"),
    ("happens", "will happen", "occurs"),
    ("need", "require", "have to have"),
    ("allowed", "permitted", "possible"),
    ("request", "call", "api call"),
    ("requests", "calls", "api calls"),
    ("message", "text"),
    ("error", "failure", "problem", "issue"),
    ("server", "machine", "host", "box"),
    ("money", "funds"),
    ("customer", "client", "user"),
    ("difference between", "distinction between"),
    ("maximum", "max", "highest", "largest"),
    ("minimum", "min", "lowest", "smallest"),
    ("big", "large"),
    ("quickly", "fast"),
    ("documentation", "docs", "manual"),
    ("application", "app", "program"),
    ("per minute", "a minute", "each minute", "every minute"),
    ("support", "offer", "provide"),
    ("cannot", "can't", "can not", "am not able to"),
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("it is", "it's"),
    ("configuration", "config"),
    ("repository", "repo"),
    ("organization", "organisation", "company"),
)
_WORDS_FOR = {phrase: tuple(other for other in line if other != phrase) for line in _SAME for phrase in line}
_PHRASE = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, _WORDS_FOR), key=len, reverse=True)) + r")\b", re.IGNORECASE
)


def _find_first_words() -> dict[str, str]:
    """Return for each phrase the first one of all lines that it can reach: "explain" stands in two of them."""
    first: dict[str, str] = {}
    for line in _SAME:
        reached = {first[phrase] for phrase in line if phrase in first}
        word = next((first[phrase] for phrase in line if phrase in first), line[0])
        first |= {phrase: word for phrase, old in first.items() if old in reached}
        first |= dict.fromkeys(line, word)
    return first


_FIRST_WORDS = _find_first_words()
# Who is in a hurry leaves these out.
_DROPPED = frozenset(
    ("a", "an", "the", "is", "are", "do", "does", "i", "my", "me", "of", "to", "for", "in", "please", "it", "that")
)
_NEAR = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip


def disturb(question: str, random: Random) -> str:
    """Return the question as somebody else would ask it; one time in six it stays as it is."""
    if random.random() < 1 / 6:
        return question
    question = _PHRASE.sub(lambda found: _replace(found[0], random), question)
    if random.random() < 0.06:
        question = _hurry(question, random)
    if random.random() < 0.12:
        question = _forget(question, random)
    if random.random() < 0.14:
        question = random.choice(_OPENINGS).format(question[:1].lower() + question[1:])
    if random.random() < 0.08:
        question = question.rstrip("?.! ") + random.choice(_CLOSINGS)
    for chance in (0.14, 0.05):
        if random.random() < chance:
            question = slip(question, random)
    return _spell(question, random) or "?"


def settle(question: str) -> str:
    """Return what other words and haste leave of a question: of two that settle alike, one may become the other."""
    text, before = question.lower(), ""
    # What was replaced may make up a phrase with its neighbours: "where can i" and "find" are "where do i find".
    while text != before:
        before, text = text, _PHRASE.sub(lambda found: _FIRST_WORDS[found[0]], text)
    words = normalise(text).split()
    return " ".join([word for word in words if word not in _DROPPED] or words)


def _spell(question: str, random: Random) -> str:
    """Return it in another case, or without marks."""
    kind = random.random()
    if kind < 0.35:
        question = question.lower()
    elif kind < 0.37:
        question = question.upper()
    elif kind < 0.5:
        question = question[:1].upper() + question[1:]
    if random.random() < 0.35:
        question = question.rstrip("?.! ")
    elif random.random() < 0.05:
        question = question.rstrip("?.! ") + random.choice(("??", "?!", " ?", "...", "!"))
    return question.strip()


def _replace(phrase: str, random: Random) -> str:
    if random.random() >= 0.15:
        return phrase
    other = random.choice(_WORDS_FOR[phrase.lower()])
    return other[:1].upper() + other[1:] if phrase[:1].isupper() else other


def _hurry(question: str, random: Random) -> str:
    words = question.split()
    kept = [word for word in words if word.lower() not in _DROPPED or random.random() < 0.2]
    return " ".join(kept) if len(kept) >= 2 else question


def _forget(question: str, random: Random) -> str:
    """Return it without one of its words, if it is long: none of them must be all that it is known by."""
    words = question.split()
    if len(words) >= 8:
        words.pop(random.randrange(len(words)))
    return " ".join(words)


def slip(question: str, random: Random) -> str:
    """Return it with one key missed, doubled, swapped or hit beside."""
    if len(question) < 6:
        return question
    at = random.randrange(1, len(question) - 1)
    letter = question[at]
    return question[:at] + random.choice(
        (
            question[at + 1 :],
            letter + question[at:],
            question[at + 1] + letter + question[at + 2 :],
            random.choice(_NEAR.get(letter, letter)) + question[at + 1 :],
        )
    )
