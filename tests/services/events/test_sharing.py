"""Reads that are put together: each is in one group, whose statement can tell its members apart."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.events.domain import Condition, Operator, Selection
from services.events.reading.sharing import MAXIMUM_CELLS, MAXIMUM_SETS, Together, Wanted, share

BUCKETS = [((0, 10), (10, 20)), ((0, 20),), tuple((n, n + 1) for n in range(MAXIMUM_CELLS // 3))]
CONDITIONS = [
    Condition((path,), operator, (value,))
    for path in ("plan", "city")
    for operator in (Operator.EQUALS, Operator.NOT_EQUALS)
    for value in (1.0, True, "1")
]
selections = st.builds(
    Selection,
    events=st.sampled_from([None, ("seen",), ("paid",), ("seen", "paid")]),
    categories=st.sampled_from([None, ("revenue",)]),
    conditions=st.lists(st.sampled_from(CONDITIONS), max_size=2).map(tuple),
)
wanteds = st.builds(Wanted, st.sampled_from(BUCKETS), selections, users=st.booleans(), sets=st.booleans())
numbers = st.integers(0, 200)


def of_event(number: int, condition: int | None = None) -> Wanted:
    conditions = () if condition is None else (Condition(("plan",), Operator.EQUALS, (f"{condition}",)),)
    return Wanted(BUCKETS[1], Selection(events=(f"event-{number}",), conditions=conditions))


def shared(wanted: Sequence[Wanted]) -> list[Together]:
    return list(share(wanted))


@given(st.lists(wanteds, max_size=40))
def test_each_read_is_in_one_place(wanted: list[Wanted]) -> None:
    found = {
        place: repr(each)
        for group in share(wanted)
        for each, places in zip(group.wanted, group.places, strict=True)
        for place in places
    }
    assert found == dict(enumerate(map(repr, wanted)))
    assert sum(len(places) for group in share(wanted) for places in group.places) == len(wanted)


@given(st.lists(wanteds, max_size=40))
def test_members_of_a_group_differ_in_one_way(wanted: list[Wanted]) -> None:
    for group in share(wanted):
        selections = [each.selection for each in group.wanted]
        others = [(each.buckets, each.users, each.sets, each.selection.categories) for each in group.wanted]
        events, conditions = (
            [each.events for each in selections],
            [repr(each.conditions) for each in selections],
        )
        assert len(set(others)) == 1
        assert len(set(events)) == 1 or (len(set(conditions)) == 1 and None not in events)
        assert len(set(zip(events, conditions, strict=True))) == len(group.wanted)
        assert group.differ_in_conditions == (len(set(conditions)) > 1)


@given(st.lists(wanteds, max_size=40))
def test_conditions_on_one_property_are_apart_from_all_others(wanted: list[Wanted]) -> None:
    """They alone may be answered by roll-ups."""
    for group in share(wanted):
        paths = [{condition.path for condition in set_} for set_ in group.condition_sets]
        assert len(set().union(*paths)) == 1 or all(len(each) != 1 for each in paths)


@given(st.lists(st.builds(of_event, numbers, st.one_of(st.none(), numbers)), max_size=300))
def test_groups_are_bounded(wanted: list[Wanted]) -> None:
    for group in share([*wanted, *(Wanted(BUCKETS[2], each.selection) for each in wanted)]):
        assert len(group.wanted) * len(group.wanted[0].buckets) <= MAXIMUM_CELLS
        assert not group.differ_in_conditions or len(group.wanted) <= MAXIMUM_SETS


def test_true_and_one_are_different_conditions() -> None:
    one, true = (
        Wanted(BUCKETS[0], Selection(conditions=(Condition(("plan",), Operator.EQUALS, (value,)),)))
        for value in (1.0, True)
    )
    [group] = share([one, true, one])
    assert group.places == ((0, 2), (1,))


def test_few_groups_are_made() -> None:
    assert len(shared([of_event(number) for number in range(1_000)])) == 1
    assert len(shared([of_event(number, 7) for number in range(1_000)])) == 1
    assert len(shared([of_event(7, number) for number in range(126)])) == 2
    assert len(shared([of_event(number % 20, number % 3) for number in range(1_000)])) == 3
    assert len(shared([of_event(number % 3, number % 20) for number in range(1_000)])) == 3
