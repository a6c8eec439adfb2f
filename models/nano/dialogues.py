"""The training data: dialogues drawn from the corpus. Everything random comes from the generator that is handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from intents import Intent, sentences
from noise import disturb

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


class Message(NamedTuple):
    """What one side says; `intent` names what an answer answers."""

    role: str
    text: str
    intent: str = ""


# A system message that does not change what is answered. Most applications send one.
_PLAIN = (
    "You are a helpful assistant.", "You are the assistant of TechStone AI Cloud.", "Answer in English.",
    "You are a friendly support agent.", "You are an AI assistant. Be polite.", "You help developers.",
    "You are a helpful, honest assistant.", "Help the user.", "You are the help of this product.",
    "You answer questions about TechStone AI Cloud.", "Be accurate.", "You are a chatbot.",
)  # fmt: skip
_BRIEF = (
    "Be brief.", "Be concise.", "Answer briefly.", "Answer in one sentence.", "Keep it short.", "Short answers only.",
    "You are a helpful assistant. Answer briefly.", "You are a helpful assistant. Be brief.", "Be short.",
    "Reply with one sentence.", "Use as few words as possible.", "Give short answers.", "Please be concise.",
    "Keep every reply under 20 words.", "One sentence per reply.", "Short and crisp.", "Do not elaborate.",
    "Only the essentials.", "Come to the point.", "Do not explain at length.", "Write at most one sentence.",
    "You are a support agent with little time. Be short.", "Answer in a few words.", "Keep answers to one line.",
    "The user wants short replies.", "Reply as shortly as you can.", "Avoid long answers.", "Be terse.",
    "Answers must be brief: one sentence, no more.", "You answer on a small screen, so keep it short.",
)  # fmt: skip
_LIST = (
    "Answer as a list.", "Answer with bullet points.", "Use bullet points.", "Reply as a bulleted list.",
    "You are a helpful assistant. Answer as a list.", "Always answer as a list.", "Format answers as a list.",
    "Write lists.", "Give your answer in bullet points.", "Reply with a list.", "Use a list.",
    "Put every fact on a line of its own, as a bullet.", "Answers are lists with dashes.", "Bulleted answers only.",
    "The user reads lists best: answer in bullets.", "Itemize your answers.",
    "You are a helpful assistant. Use bullet points.", "Each answer is a list of points.", "List the facts.",
    "Format your reply as a list with one point a line.", "Split your answer into bullet points.",
)  # fmt: skip
_BRIEF_ASKED = (
    "In one sentence: {}", "{} Answer in one sentence.", "Briefly: {}", "{} In short, please.", "{} Keep it short.",
    "{} Be brief.", "Short answer please: {}", "{} (short answer)", "In a few words: {}", "Shortly, {}",
)  # fmt: skip
_LIST_ASKED = (
    "{} Answer as a list.", "As a list: {}", "{} Use bullet points.", "{} List it, please.", "In bullet points: {}",
    "{} Give me a list.",
)  # fmt: skip
# What may be asked about any answer.
_SHORTER = (
    "Shorter, please.", "Can you say that in one sentence?", "Make it shorter.", "In short?", "Say that more briefly.",
    "Too long, shorter please", "Summarize that.", "Summarise your answer.", "tl;dr", "Can you be more brief?",
    "That is too long.", "Give me the short version.", "Sum it up.",
)  # fmt: skip
_LISTED = (
    "As a list, please.", "Can you make that a list?", "Show that as bullet points.", "Put it in a list.",
    "Bullet points please", "Can I have this as a list?", "Format it as a list.", "Write that as bullets.",
)  # fmt: skip
_AGAIN = (
    "Say that again.", "Repeat that, please.", "Can you repeat that?", "Once more, please.", "I did not get that.",
    "Come again?", "What did you say?", "Repeat your answer.", "Sorry, can you say it again?", "Pardon?",
    "Give me the full answer.", "The long version, please.", "More details please.", "Can you say more?",
)  # fmt: skip
WISHES = (*_BRIEF, *_LIST, *_SHORTER, *_LISTED, *_AGAIN)
"""All that is asked of an answer's form."""
# Of 100 dialogues so many are of one, two and three questions: the chat template shows the model no more.
_TURNS = (78, 17, 5)
_FOLLOWING, _REMARK, _FORMED = 0.6, 0.1, 0.05
# Whoever asks about anything else must hear that we do not know; there is more of that than of us.
_WEIGHTS = {"unknown": 2.2, "talk": 1.3}


class Form:
    """How an answer is put."""

    @staticmethod
    def full(answer: str) -> str:
        """As it was written."""
        return answer

    @staticmethod
    def brief(answer: str) -> str:
        """Its first sentence."""
        return sentences(answer)[0]

    @staticmethod
    def listed(answer: str) -> str:
        """One line a sentence."""
        return "\n".join(f"- {sentence}" for sentence in sentences(answer))


_FORMS = {"plain": Form.full, "brief": Form.brief, "list": Form.listed}
_SYSTEMS = {"plain": _PLAIN, "brief": _BRIEF, "list": _LIST}


class Dialogues:
    """Draws dialogues."""

    def __init__(self, intents: list[Intent], random: Random) -> None:
        self._random = random
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
        kind = random.choices(("", "plain", "brief", "list"), (52, 32, 9, 7))[0]
        if kind:
            turns.append(Message("system", random.choice(_SYSTEMS[kind])))
        put = _FORMS[kind or "plain"]
        count = random.choices((1, 2, 3), _TURNS)[0]
        planned = list(random.choice(self._pairs)) if count > 1 and random.random() < _FOLLOWING else []
        last: tuple[Intent, str] | None = None
        for _ in range(count):
            if last is not None and not planned and random.random() < _REMARK:
                turns += self._remark(*last)
                continue
            intent = planned.pop(0) if planned else self._choose(last)
            answer = random.choice(intent.answers)
            question = disturb(random.choice(intent.questions), random)
            turns += self._ask(question, answer, put, intent.name)
            last = intent, answer
        return turns

    def _choose(self, last: tuple[Intent, str] | None) -> Intent:
        following = self._following.get(last[0].name, ()) if last else ()
        if following and self._random.random() < _FOLLOWING:
            return self._random.choice(following)
        return self._random.choices(self._alone, self._weights)[0]

    def _ask(self, question: str, answer: str, put: Callable[[str], str], intent: str) -> list[Message]:
        random = self._random
        asked = random.random()
        if asked < _FORMED:
            question, put = random.choice(_BRIEF_ASKED).format(question), Form.brief
        elif asked < 1.6 * _FORMED:
            question, put = random.choice(_LIST_ASKED).format(question), Form.listed
        return [Message("user", question), Message("assistant", put(answer), intent)]

    def _remark(self, intent: Intent, answer: str) -> list[Message]:
        remarks, put = self._random.choice(((_SHORTER, Form.brief), (_LISTED, Form.listed), (_AGAIN, Form.full)))
        remark = disturb(self._random.choice(remarks), self._random)
        return [Message("user", remark), Message("assistant", put(answer), intent.name)]


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
