"""The training data: dialogues drawn from the corpus. Everything random comes from the generator that is handed in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from intents import Intent, read_file, sentences
from noise import disturb

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


class Message(NamedTuple):
    """What one side says; `intent` names what an answer answers."""

    role: str
    text: str
    intent: str = ""


WISHES = {group.name: group.questions for group in read_file(Path(__file__).parent / "wishes.txt")}
"""How answers are wished for: system messages (plain, brief, list), patterns of a question, remarks after an answer."""
# Of 100 dialogues so many are of one, two and three questions: the chat template shows the model no more.
_TURNS = (85, 12, 3)
_FOLLOWING, _REMARK, _FORMED = 0.6, 0.1, 0.05
# Whoever asks about anything else must hear that we do not know; there is more of that than of us.
_WEIGHTS = {"unknown": 2.2, "talk": 1.3}


def put_full(answer: str) -> str:
    """Return an answer as it was written."""
    return answer


def put_brief(answer: str) -> str:
    """Return its first sentence."""
    return sentences(answer)[0]


def put_listed(answer: str) -> str:
    """Return one line a sentence."""
    return "\n".join(f"- {sentence}" for sentence in sentences(answer))


# By system message.
_FORMS = {"plain": put_full, "brief": put_brief, "list": put_listed}
# By remark after an answer; `again` is for the same in the form that it had.
_REMARKS = {"shorter": put_brief, "listed": put_listed, "longer": put_full, "again": None}


class _Told(NamedTuple):
    """An answer, what it answers, and how it was put."""

    intent: Intent
    answer: str
    put: Callable[[str], str]


class Dialogues:
    """Draws dialogues."""

    def __init__(self, intents: list[Intent], random: Random) -> None:
        self._random = random
        self._intents = intents
        self._alone = [intent for intent in intents if not intent.after]
        # An intent with many phrasings is asked more often, but those with few are not forgotten.
        self._weights = [_WEIGHTS.get(intent.topic, 1.0) * len(intent.questions) ** 0.5 for intent in self._alone]
        names = {intent.name: intent for intent in intents}
        self._following: dict[str, list[Intent]] = {}
        self._pairs: list[tuple[Intent, Intent]] = []
        for intent in intents:
            for parent in intent.after:
                self._following.setdefault(parent, []).append(intent)
                self._pairs.append((names[parent], intent))

    def draw(self) -> list[Message]:
        """Return one dialogue of one to three questions."""
        random = self._random
        turns = list[Message]()
        put = self._wish(turns, (60, 16, 12, 12))
        count = random.choices((1, 2, 3), _TURNS)[0]
        planned = list(random.choice(self._pairs)) if count > 1 and random.random() < _FOLLOWING else []
        last: _Told | None = None
        for _ in range(count):
            if last is not None and not planned and random.random() < _REMARK:
                question, last = self._remark(last)
            else:
                intent = planned.pop(0) if planned else self._choose(last)
                question, last = self._ask(intent, put)
            turns.append(Message("user", question))
            turns.append(Message("assistant", last.put(last.answer), last.intent.name))
        return turns

    def stray(self) -> list[Message]:
        """Return a question and the answer of any intent, in any form: words go by the code, whatever was asked."""
        turns = list[Message]()
        question, told = self._ask(self._choose(None), self._wish(turns, (15, 15, 35, 35)))
        intent = self._random.choice(self._intents)
        answer = told.put(self._random.choice(intent.answers))
        return [*turns, Message("user", question), Message("assistant", answer, intent.name)]

    def _wish(self, turns: list[Message], shares: tuple[int, int, int, int]) -> Callable[[str], str]:
        """Add a system message, or none, and return how answers are put by it; of 100 so many of each kind."""
        kind = self._random.choices(("", "plain", "brief", "list"), shares)[0]
        if kind:
            turns.append(Message("system", self._random.choice(WISHES[kind])))
        return _FORMS[kind or "plain"]

    def _choose(self, last: _Told | None) -> Intent:
        following = self._following.get(last.intent.name, ()) if last else ()
        if following and self._random.random() < _FOLLOWING:
            return self._random.choice(following)
        return self._random.choices(self._alone, self._weights)[0]

    def _ask(self, intent: Intent, put: Callable[[str], str]) -> tuple[str, _Told]:
        random = self._random
        answer = random.choice(intent.answers)
        question = disturb(random.choice(intent.questions), random)
        asked = random.random()
        if asked < _FORMED:
            question, put = random.choice(WISHES["brief-asked"]).format(question), put_brief
        elif asked < 1.6 * _FORMED:
            question, put = random.choice(WISHES["list-asked"]).format(question), put_listed
        return question, _Told(intent, answer, put)

    def _remark(self, last: _Told) -> tuple[str, _Told]:
        kind = self._random.choice(tuple(_REMARKS))
        remark = disturb(self._random.choice(WISHES[kind]), self._random)
        return remark, last._replace(put=_REMARKS[kind] or last.put)


def split(intents: list[Intent], random: Random) -> tuple[list[Intent], list[tuple[str, Intent]]]:
    """Return the intents to learn from, and questions that are kept back to see whether the sense was learned."""
    learned, kept = [], []
    for intent in intents:
        questions = list(intent.questions)
        random.shuffle(questions)
        count = 0 if intent.after else len(questions) // 20
        kept += [(question, intent) for question in questions[:count]]
        learned.append(Intent(intent.topic, intent.name, intent.after, tuple(questions[count:]), intent.answers))
    return learned, kept
