"""The order of routes."""

from hypothesis import given
from hypothesis import strategies as st

from techstone.core import routing
from techstone.core.snapshot import Route

ROUTES = st.lists(
    st.builds(Route, st.just("p"), st.text("ab", max_size=3), st.integers(0, 5), st.integers(0, 3)), max_size=6
)


@given(ROUTES, st.randoms())
def test_every_route_once_and_by_priority(routes: list[Route], random: object) -> None:
    """Whatever the chances, each route comes once, and no lower priority comes before a higher."""
    chances = [random.random() for _ in routes]  # type: ignore[attr-defined] # Hypothesis hands out random.Random
    order = routing.plan(tuple(routes), chances)
    assert sorted(order, key=repr) == sorted(routes, key=repr)
    assert [route.priority for route in order] == sorted(route.priority for route in routes)


def test_weight_decides_how_often_a_route_is_first() -> None:
    """Weights 3 and 1 give the first place in 3 of 4 cases."""
    routes = (Route("a", "m", 3), Route("b", "m", 1))
    steps = [(i + 0.5) / 200 for i in range(200)]
    first = sum(routing.plan(routes, (one, two))[0].provider == "a" for one in steps for two in steps)
    assert abs(first / len(steps) ** 2 - 0.75) < 0.01
