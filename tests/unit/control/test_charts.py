"""What is drawn over time, as the table behind the drawing."""

from __future__ import annotations

from techstone.control.console.charts import MOST, OTHERS, Row, Span, plot, plot_total, rank
from techstone.control.ledger.records import Bucket

_HOUR = 3600
_DAY = 86_400
_AT = 1_800_057_600


def test_every_step_has_a_row_also_where_nothing_was_used() -> None:
    """From the step that the span begins in to the one that it ends in; money to the last digit."""
    buckets = [Bucket("b", _AT, 1, 7, 2), Bucket("a", _AT, 2, 1_500, 1_000_000_000), Bucket("b", _AT + _HOUR, 1, 3, 1)]
    tokens, cost = plot(buckets, Span(_AT + 5, _AT + 2 * _HOUR), {"a": "first"})
    assert tokens.names == ("first", "b")
    assert tokens.rows == (
        Row(_AT, "16 Jan 00:00", ("1,500", "7")),
        Row(_AT + _HOUR, "16 Jan 01:00", ("0", "3")),
        Row(_AT + 2 * _HOUR, "16 Jan 02:00", ("0", "0")),
    )
    assert [row.values for row in cost.rows] == [("1.00", "0.000000002"), ("0.00", "0.000000001"), ("0.00", "0.00")]


def test_hours_are_summed_where_a_step_is_longer() -> None:
    """Six hours are one point; a day's label has no time."""
    buckets = [Bucket("a", _AT + hour * _HOUR, 1, 10, 0) for hour in range(12)]
    requests, _ = plot_total(buckets, Span(_AT, _AT + 11 * _HOUR, 6 * _HOUR))
    assert [row.values for row in requests.rows] == [("6",), ("6",)]
    days, _ = plot([Bucket("a", _AT, 1, 10, 0)], Span(_AT, _AT, _DAY), {})
    assert days.rows == (Row(_AT, "16 Jan 2027", ("10",)),)


def test_more_lines_than_colours_are_one() -> None:
    """The greatest have their own, the others one together; as many as there are colours have all their own."""
    few = {str(number): number for number in range(MOST)}
    assert set(rank(few).values()) == set(few)
    many = {str(number): number for number in range(MOST + 3)}
    assert list(dict.fromkeys(rank(many).values())) == ["8", "7", "6", "5", "4", OTHERS]
