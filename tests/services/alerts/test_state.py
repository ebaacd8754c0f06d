"""Every transition of the table, and what must hold for any history."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.alerts.condition import (
    Condition,
    Health,
    Moment,
    NoDataPolicy,
    NoticeKind,
    Policy,
    Reason,
    State,
    Transition,
    Verdict,
)
from services.alerts.state import transition, withdraw

NOW = 1_700_000_000_000_000
HOUR = 3_600_000_000
OK, PENDING, FIRING, RECOVERING = Condition
FIRE, REPEAT, RESOLVE, NO_DATA, ERROR, REFRESH, _ = NoticeKind


def state(condition: Condition, **changes: object) -> State:
    fires = condition in {FIRING, RECOVERING}
    fields: dict[str, object] = {
        "condition": condition,
        "announced": fires,
        "episode": 1 if fires else 0,
        "fire_told": NOW - HOUR if fires else None,
    }
    return State(**(fields | changes))  # type: ignore[arg-type]  # fields by name


def after(before: State, verdict: Verdict, policy: Policy | None = None, *, held: bool = False) -> Transition:
    return transition(before, verdict, policy or Policy(), Moment(NOW, held))


SLOW = Policy(for_windows=2, keep_firing_windows=2, repeat_micros=HOUR)

# Condition before, its streak, verdict, policy; condition after, notices, reason.
TABLE = [
    (OK, 0, Verdict.CLEAR, SLOW, OK, (), Reason.CLEAR),
    (OK, 0, Verdict.BETWEEN, SLOW, OK, (), Reason.CLEAR),
    (OK, 0, Verdict.BREACH, SLOW, PENDING, (), Reason.PENDING),
    (OK, 0, Verdict.BREACH, Policy(), FIRING, (FIRE,), Reason.FIRED),
    (PENDING, 0, Verdict.BREACH, SLOW, PENDING, (), Reason.PENDING),
    (PENDING, 1, Verdict.BREACH, SLOW, FIRING, (FIRE,), Reason.FIRED),
    (PENDING, 1, Verdict.CLEAR, SLOW, OK, (), Reason.CLEARED_BEFORE_FIRING),
    (PENDING, 1, Verdict.BETWEEN, SLOW, OK, (), Reason.CLEARED_BEFORE_FIRING),
    (PENDING, 1, Verdict.TOO_FEW, SLOW, PENDING, (), Reason.TOO_FEW),
    (FIRING, 0, Verdict.BREACH, SLOW, FIRING, (REPEAT,), Reason.REPEATED),
    (FIRING, 0, Verdict.BREACH, Policy(), FIRING, (REFRESH,), Reason.STILL_FIRING),
    (FIRING, 0, Verdict.BETWEEN, SLOW, FIRING, (REFRESH,), Reason.NOT_RECOVERED),
    (FIRING, 0, Verdict.CLEAR, SLOW, RECOVERING, (REFRESH,), Reason.RECOVERING),
    (FIRING, 0, Verdict.CLEAR, Policy(), OK, (RESOLVE,), Reason.RESOLVED),
    (RECOVERING, 0, Verdict.CLEAR, SLOW, RECOVERING, (REFRESH,), Reason.RECOVERING),
    (RECOVERING, 1, Verdict.CLEAR, SLOW, OK, (RESOLVE,), Reason.RESOLVED),
    (RECOVERING, 1, Verdict.BETWEEN, SLOW, FIRING, (REFRESH,), Reason.NOT_RECOVERED),
    (FIRING, 0, Verdict.ERROR, SLOW, FIRING, (REFRESH, ERROR), Reason.ERROR),
    (RECOVERING, 1, Verdict.NO_DATA, SLOW, RECOVERING, (REFRESH, NO_DATA), Reason.NO_DATA),
    (PENDING, 1, Verdict.ERROR, SLOW, PENDING, (ERROR,), Reason.ERROR),
    (OK, 0, Verdict.NO_DATA, SLOW, OK, (NO_DATA,), Reason.NO_DATA),
]


@pytest.mark.parametrize("row", TABLE)
def test_the_table(
    row: tuple[Condition, int, Verdict, Policy, Condition, tuple[NoticeKind, ...], Reason],
) -> None:
    before, streak, verdict, policy, condition, notices, reason = row
    moved = after(state(before, streak=streak), verdict, policy)
    assert (moved.state.condition, moved.notices, moved.reason) == (condition, notices, reason)


def test_a_recovery_that_breaks_off_goes_on_with_the_same_episode() -> None:
    moved = after(state(RECOVERING, streak=1), Verdict.BREACH, Policy(keep_firing_windows=3))
    assert moved.state.condition is FIRING
    assert moved.state.episode == 1
    assert moved.notices == (REFRESH,)
    assert moved.reason is Reason.FIRED_AGAIN


def test_who_acknowledges_hears_no_repeats_and_the_next_episode_is_told_again() -> None:
    acknowledged = state(FIRING, acknowledged=True)
    assert after(acknowledged, Verdict.BREACH, SLOW).notices == (REFRESH,)
    ended = after(acknowledged, Verdict.CLEAR).state
    again = after(ended, Verdict.BREACH)
    assert again.notices == (FIRE,)
    assert not again.state.acknowledged


@pytest.mark.parametrize("ill", [Verdict.ERROR, Verdict.NO_DATA])
def test_an_ill_is_told_once_in_a_streak(ill: Verdict) -> None:
    first = after(State(), ill)
    second = after(first.state, ill)
    assert len(first.notices) == 1
    assert second.notices == ()
    healed = after(second.state, Verdict.CLEAR)
    assert healed.state.health is Health.OK
    assert after(healed.state, ill).notices == first.notices


def test_missing_data_counts_as_the_policy_says() -> None:
    fires = after(State(), Verdict.NO_DATA, Policy(no_data=NoDataPolicy.FIRE))
    assert (fires.state.condition, fires.notices) == (FIRING, (FIRE,))
    resolves = after(state(FIRING), Verdict.NO_DATA, Policy(no_data=NoDataPolicy.OK))
    assert (resolves.state.condition, resolves.notices) == (OK, (RESOLVE,))
    assert resolves.state.health is Health.NO_DATA
    kept = after(state(FIRING), Verdict.NO_DATA)
    assert kept.state.condition is FIRING


def test_missing_data_that_counts_as_a_breach_is_repeated_as_one() -> None:
    policy = Policy(repeat_micros=HOUR, no_data=NoDataPolicy.FIRE)
    goes_on = after(state(FIRING), Verdict.NO_DATA, policy)
    assert goes_on.notices == (REPEAT,)
    assert goes_on.state.fire_told == NOW
    assert after(goes_on.state, Verdict.NO_DATA, policy).notices == (REFRESH,)


def test_what_is_still_true_after_a_hold_is_told_then() -> None:
    held = after(State(), Verdict.BREACH, held=True)
    assert (held.state.condition, held.notices, held.state.owes) == (FIRING, (), True)
    told = after(held.state, Verdict.NOTHING)
    assert (told.notices, told.reason) == ((FIRE,), Reason.ANNOUNCED_LATE)
    assert not told.state.owes


def test_what_came_and_went_in_a_hold_is_never_told() -> None:
    held = after(State(), Verdict.BREACH, held=True)
    ended = after(held.state, Verdict.CLEAR, held=True)
    assert not ended.state.owes
    assert after(ended.state, Verdict.NOTHING).notices == ()


def test_an_episode_whose_end_is_held_goes_on_where_it_fires_again() -> None:
    ended = after(state(FIRING), Verdict.CLEAR, held=True)
    assert (ended.state.condition, ended.state.owes) == (OK, True)
    again = after(ended.state, Verdict.BREACH, held=True)
    assert (again.state.episode, again.state.owes) == (1, False)
    assert after(again.state, Verdict.NOTHING).notices == ()


def test_who_would_forget_is_reminded_in_a_hold_too() -> None:
    reminded = after(state(FIRING), Verdict.BREACH, SLOW, held=True)
    assert reminded.notices == (REFRESH,)
    assert after(state(FIRING, announced=False), Verdict.BREACH, held=True).notices == ()


@pytest.mark.parametrize(("announced", "notices"), [(True, (RESOLVE,)), (False, ())])
def test_a_withdrawn_alert_resolves_what_was_announced(
    *, announced: bool, notices: tuple[NoticeKind, ...]
) -> None:
    moved = withdraw(state(FIRING, announced=announced, health=Health.ERROR))
    assert moved.notices == notices
    assert (moved.state.condition, moved.state.health, moved.state.owes) == (OK, Health.OK, False)


class Histories(RuleBasedStateMachine):
    """Random histories, with a receiver that believes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.now = NOW
        self.policy = SLOW
        self.hears_firing = False
        self.fired: list[int] = []
        self.notices = 0

    @rule(
        for_windows=st.integers(0, 3),
        keep=st.integers(0, 3),
        repeat=st.sampled_from([None, HOUR, 5 * HOUR]),
        no_data=st.sampled_from(NoDataPolicy),
    )
    def edit(self, for_windows: int, keep: int, repeat: int | None, no_data: NoDataPolicy) -> None:
        self.hear(withdraw(self.state))
        self.policy = Policy(for_windows, keep, repeat, no_data)
        assert not self.hears_firing

    @rule(verdict=st.sampled_from(Verdict), held=st.booleans(), hours=st.integers(0, 3))
    def look(self, *, verdict: Verdict, held: bool, hours: int) -> None:
        before = self.state
        self.now += hours * HOUR
        moved = transition(before, verdict, self.policy, Moment(self.now, held))
        self.hear(moved)
        if verdict in {Verdict.ERROR, Verdict.NOTHING, Verdict.TOO_FEW}:
            assert moved.state.condition is before.condition
        if held:
            assert set(moved.notices) <= {REFRESH}
        else:
            assert not moved.state.owes
            assert self.hears_firing == (moved.state.condition in {FIRING, RECOVERING})

    def hear(self, moved: Transition) -> None:
        self.state = moved.state
        for notice in moved.notices:
            self.notices += 1
            if notice is FIRE:
                assert not self.hears_firing
                assert moved.state.episode not in self.fired
                self.fired.append(moved.state.episode)
                self.hears_firing = True
            elif notice is RESOLVE:
                assert self.hears_firing
                self.hears_firing = False
            elif notice in {REPEAT, REFRESH}:
                assert self.hears_firing

    @invariant()
    def what_receivers_heard_is_known(self) -> None:
        assert self.state.announced == self.hears_firing
        assert self.state.sequence == self.notices


Histories.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestHistories = Histories.TestCase


@given(st.lists(st.sampled_from([Verdict.BREACH, Verdict.CLEAR]), max_size=40), st.integers(0, 4))
def test_it_fires_when_enough_breaches_follow_one_another(verdicts: list[Verdict], for_windows: int) -> None:
    now, run = State(), 0
    for verdict in verdicts:
        now = after(now, verdict, Policy(for_windows=for_windows)).state
        run = run + 1 if verdict is Verdict.BREACH else 0
        assert (now.condition is FIRING) == (run > for_windows)
