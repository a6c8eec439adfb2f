"""M-2: the power fails at any moment; nothing acknowledged is lost, nothing is billed twice, and recovery goes on."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from power import FragileDisk, PowerCut
from usage import AT, make_answer, make_record

from techstone.adapters.journal.answers import Answers
from techstone.adapters.journal.commitlog import CommitLog, find_lost
from techstone.adapters.journal.segments import JournalDamaged, recover
from techstone.core import frames
from techstone.core.usage import UsageRecord, encode

FOLDER = Path("/journal")
CUTS = 1000
LIVES = 3
# Small, so that cuts fall on new files too.
SEGMENT = 500


class _Violation(AssertionError):
    pass


class _Trial:
    """One journal through some lives, each of which ends with the power or by a kill; `ledger` is what was shipped."""

    def __init__(self, seed: int, *, syncs: bool) -> None:
        self.random = Random(seed)
        self.disk = FragileDisk(self.random, syncs=syncs)
        self.ledger: dict[int, str] = {}
        self.answered: dict[str, bytes] = {}
        self.submitted = 0
        self.oldest = 1

    def run(self) -> None:
        for _ in range(LIVES):
            self.disk.faults = self.random.choice((0.0, 0.0, 0.05, 0.2))
            self.disk.fuse = self.random.randint(1, 100)
            try:
                self._live()
            except PowerCut:
                killed = self.random.random() < 0.3
                self.disk = self.disk.kill() if killed else self.disk.cut()
            except OSError:  # at the start: the gateway says so and ends
                self.disk = self.disk.kill()
            # What a life that is not cut finds is what counts.
            self.disk.faults = 0.0
            if self.random.random() < 0.7:  # else the next life begins, and may end, with what this one left
                self._check()
        self._check()

    def _live(self) -> None:
        log, lost = self._open()
        self._note(log.segments[-1].last, [])
        broken = False
        while True:
            try:
                if broken:
                    log.mend()
                    broken = False
                elif lost:
                    self._write(log, lost, answered=False)
                    lost = []
                else:
                    self._write(log, [self._make() for _ in range(self.random.randint(1, 5))], answered=True)
                    self._retire(log)
            except OSError:
                broken = True

    def _open(self) -> tuple[CommitLog, list[UsageRecord]]:
        recovered = recover(FOLDER, lambda: "0" * 16, self.disk)
        for number, record in recovered.records:
            if self.ledger.setdefault(number, record.id) != record.id:
                raise _Violation(f"record {number} was {self.ledger[number]} and is {record.id}")
        answers = Answers(FOLDER, self.disk, file_bytes=SEGMENT)
        lost = find_lost(recovered, answers)
        self.answers = answers
        return CommitLog(FOLDER, recovered, answers, SEGMENT, lambda: AT / 1000), lost

    def _make(self) -> UsageRecord:
        self.submitted += 1
        return make_record(self.submitted)

    def _write(self, log: CommitLog, records: list[UsageRecord], *, answered: bool) -> None:
        stored = []
        for place, record in enumerate(records):
            if answered and self.random.random() < 0.3:
                payload = self.random.randbytes(self.random.randint(1, 400))
                stored.append((place, make_answer(int(record.id[1:]), payload)))
        _, places = log.write([frames.frame(encode(record)) for record in records], stored)
        self.answers.add(places)
        self._note(log.segments[-1].last, records)
        self.answered |= {answer.key: answer.payload for _, answer in stored}

    def _note(self, last: int, records: list[UsageRecord]) -> None:
        for number, record in enumerate(records, last + 1 - len(records)):
            self.ledger[number] = record.id

    def _retire(self, log: CommitLog) -> None:
        if self.random.random() < 0.1:
            log.retire(log.segments[-1].last, AT + 1)
            self.oldest = max(self.oldest, log.segments[0].first)

    def _check(self) -> None:
        """Raise _Violation where something that was acknowledged is not there, or is there twice."""
        self.disk.fuse = 1 << 60
        before = len(self.ledger)
        log, lost = self._open()
        if log.segments[-1].last < max(self.ledger, default=0):
            raise _Violation(f"{max(self.ledger)} were acknowledged, {log.segments[-1].last} are there")
        if len(self.ledger) != log.segments[-1].last:
            raise _Violation(f"{before} were known, {len(self.ledger)} are, of {log.segments[-1].last}")
        billed = [*self.ledger.values(), *(record.id for record in lost)]
        if len(set(billed)) != len(billed):
            raise _Violation("something is billed twice")
        self._check_answers(set(billed))
        if lost:
            self._write(log, lost, answered=False)
        log.close()

    def _check_answers(self, billed: set[str]) -> None:
        for number in range(1, self.submitted + 1):
            found = self.answers.find("a1", f"i{number}", AT)
            stored = self.answers.load(found) if found is not None else None
            if found is not None and (stored is None or f"r{number}" not in billed):
                raise _Violation(f"the answer to r{number} is kept and not billed, or not whole")
            expected = self.answered.get(f"i{number}")
            if expected is not None and (stored is None or stored.payload != expected):
                raise _Violation(f"the answer to r{number} is lost")


def _cut(*, syncs: bool) -> tuple[int, int, list[str]]:
    acknowledged = answers = 0
    violations: list[str] = []
    for seed in range(CUTS // LIVES + 1):
        trial = _Trial(seed, syncs=syncs)
        try:
            trial.run()
        except (_Violation, JournalDamaged) as violation:
            violations.append(f"seed {seed}: {violation}")
        acknowledged += len(trial.ledger)
        answers += len(trial.answered)
    return acknowledged, answers, violations


def test_power_cuts_lose_nothing_that_was_acknowledged() -> None:
    """1,000 cuts, a third of them kills: 0 records lost, moved or doubled, 0 answers lost or unbilled, 0 refusals."""
    acknowledged, answers, violations = _cut(syncs=True)
    figures = {"records": acknowledged, "answers": answers, "violations": len(violations)}
    print(json.dumps({"id": "M-2", "seed": "0-333", "n": CUTS, **figures, "pass": not violations}))
    assert not violations, violations[:5]
    assert acknowledged > 5 * CUTS
    assert answers > CUTS


def test_harness_sees_what_is_lost_without_syncs() -> None:
    """The same cuts with fdatasync switched off must lose something, or the harness would be blind."""
    *_, violations = _cut(syncs=False)
    print(json.dumps({"id": "M-2 control", "n": CUTS, "violations": len(violations), "pass": bool(violations)}))
    assert violations


def test_cut_disk_keeps_what_was_synced() -> None:
    """The harness itself: synced bytes and names survive every cut."""
    random = Random(1)
    disk = FragileDisk(random)
    number = disk.create(FOLDER / "a")
    disk.write(number, b"kept", 0)
    disk.sync(number)
    disk.sync_folder(FOLDER)
    disk.write(number, b"lost", 4)
    assert all(disk.cut().read(FOLDER / "a").startswith(b"kept") for _ in range(50))
