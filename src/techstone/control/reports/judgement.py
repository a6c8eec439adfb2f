"""What each thing that is reported means for an operator: good, attention or danger, and a sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.reports.records import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.control.ports import Checked
    from techstone.control.reports.records import Heard, Newest, State
    from techstone.wire.report import JournalState, LimitState, ReplicaState, RouteState, SnapshotState

# A report comes every second: five are missing, fifteen are.
_LATE, _SILENT = 5.0, 15.0
# Shipping takes 0.2 s; a restart of the control plane a few.
_LAGGING, _STUCK = 10.0, 60.0
# A heartbeat comes every 5 s, and the stream is given up after 15.
_STALE = 15.0
_RECENT_ERROR = 300.0
# The check that reads little runs every minute.
_UNCHECKED = 300.0
RANKS: dict[State, int] = {"idle": 0, "good": 1, "attention": 2, "danger": 3}


def worst(states: Iterator[State]) -> State:
    """Return the worst of them."""
    return max(states, key=RANKS.__getitem__, default="idle")


def judge_gateway(heard: Heard, newest: Newest, now: float) -> Iterator[Finding]:
    """Yield what a gateway's last report says of it."""
    state = heard.state
    group = f"Gateway {state.id[:8]}"
    yield Finding(group, "Report", *_judge_age(now - heard.at))
    memory = f", {state.rss / 1e6:,.0f} MB" if state.rss else ""
    uptime = span(max(0.0, heard.at - state.started))
    yield Finding(
        group,
        "Process",
        "good",
        f"Version {state.version}, up {uptime}: {state.requests:,} {_plural(state.requests, 'request')} running on "
        f"{state.connections:,} {_plural(state.connections, 'connection')}{memory}.",
    )
    yield Finding(group, "Journal", *_judge_journal(state.journal))
    yield Finding(group, "Limit store", *_judge_limits(state.limits))
    yield Finding(group, "Snapshot", *_judge_snapshot(state.snapshot, newest, now))
    if heard.dropped:
        yield Finding(
            group, "Refusals", "good", f"{heard.dropped:,} were more than is kept; the newest of each account are."
        )


def _judge_age(age: float) -> tuple[State, str]:
    if age <= _LATE:
        return "good", f"Heard {span(age)} ago."
    if age <= _SILENT:
        return "attention", f"Late: heard {span(age)} ago, and should be every second."
    return "danger", f"Silent for {span(age)}. Is the process running, and can it reach the control plane?"


def _judge_journal(journal: JournalState) -> tuple[State, str]:
    if journal.problem is not None:
        return "danger", f"Nothing new is admitted: {journal.problem}."
    waiting = f"{journal.waiting:,} {_plural(journal.waiting, 'record')} not booked yet"
    room = f"{journal.bytes / 1e6:,.1f} of {journal.limit / 1e6:,.0f} MB"
    if journal.oldest > _STUCK or journal.bytes > journal.limit / 2:
        return "danger", f"{waiting}, the oldest for {span(journal.oldest)}, {room}. When it is full, requests stop."
    if journal.oldest > _LAGGING:
        return "attention", f"{waiting}, the oldest for {span(journal.oldest)}, {room}."
    return "good", f"{waiting}, {room}." if journal.waiting else "Everything is booked."


def _judge_limits(limits: LimitState) -> tuple[State, str]:
    if limits.problem is not None:
        return "danger", f"Nothing is admitted: {limits.problem}."
    if limits.degraded:
        return "attention", f"Degraded: {limits.kind} cannot be reached, and each gateway counts its share by itself."
    return "good", f"In {limits.kind}."


def _judge_snapshot(snapshot: SnapshotState, newest: Newest, now: float) -> tuple[State, str]:
    told = f"Revision {snapshot.revision:,} of {newest.revision:,}"
    if snapshot.problem is not None or snapshot.age > _STALE:
        problem = snapshot.problem or "the stream is silent"
        return "danger", f"{told}, nothing heard for {span(snapshot.age)}: {problem}."
    if snapshot.revision < newest.revision:
        overdue = now - newest.since > _LATE
        return ("attention" if overdue else "good"), f"{told}: changes are on their way."
    return "good", f"{told}, the newest."


def judge_route(route: RouteState) -> State:
    """Return how a route is."""
    if route.breaker == "open":
        return "danger"
    if route.breaker == "half-open" or (route.error and route.error_age < _RECENT_ERROR):
        return "attention"
    return "good"


def judge_replica(replica: ReplicaState) -> State:
    """Return how a server is: one that is down costs the others work, and what no other can take its route tells."""
    if replica.health == "down":
        return "attention"
    return "good" if replica.health == "up" else "idle"


def judge_check(checked: Checked | None, now: float) -> tuple[State, str]:
    """Return what the checks of the ledger in the background say."""
    if checked is None:
        return "idle", "Not checked yet since the start; the first check comes within a minute."
    if checked.problem is not None:
        return "danger", f"It cannot be checked: {checked.problem}."
    whole = f" Everything was asked {span(now - checked.whole_at)} ago." if checked.whole_at else ""
    if checked.violations:
        number = f"{checked.violations:,} {_plural(checked.violations, 'invariant')}"
        return "danger", f"{number} violated. See the log, or run `techstone ledger check`."
    if now - checked.at > _UNCHECKED:
        return "attention", f"Last checked {span(now - checked.at)} ago, and should be every minute.{whole}"
    return "good", f"No violation, checked {span(now - checked.at)} ago.{whole}"


def span(seconds: float) -> str:
    """Return a span of time in words, in its largest unit."""
    if seconds < 1:
        return "less than 1 s"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size * 2:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
