"""How a judged window moves an alert. Pure: the same arguments give the same answer."""

from dataclasses import replace

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


def transition(state: State, verdict: Verdict, policy: Policy, moment: Moment) -> Transition:
    """Return what a look at the metric makes of a state."""
    meant = counted(verdict, policy)
    moved, reason = _move(_with_health(state, verdict), meant, policy)
    if meant is not verdict:
        reason = Reason.NO_DATA if moved.condition is state.condition else reason
    return _announce(moved, reason, meant, policy, moment)


def withdraw(state: State) -> Transition:
    """Return what becomes of a state whose alert is edited, paused or deleted: OK, said if it was announced.

    Not held: there may be no later moment to say it.
    """
    ended = replace(_settled(state), health=Health.OK, told=frozenset())
    if not state.announced:
        return Transition(ended, Reason.WITHDRAWN)
    ended = replace(ended, announced=False, fire_told=None, sequence=state.sequence + 1)
    return Transition(ended, Reason.WITHDRAWN, (NoticeKind.RESOLVE,))


def counted(verdict: Verdict, policy: Policy) -> Verdict:
    """Return what a window without data counts as."""
    if verdict is not Verdict.NO_DATA or policy.no_data is NoDataPolicy.KEEP:
        return verdict
    return Verdict.BREACH if policy.no_data is NoDataPolicy.FIRE else Verdict.CLEAR


def _with_health(state: State, verdict: Verdict) -> State:
    match verdict:
        case Verdict.NOTHING:
            return state
        case Verdict.NO_DATA:
            return replace(state, health=Health.NO_DATA)
        case Verdict.ERROR:
            return replace(state, health=Health.ERROR)
        case _:
            return replace(state, health=Health.OK, told=frozenset())


_UNMOVED = {
    Verdict.NO_DATA: Reason.NO_DATA,
    Verdict.TOO_FEW: Reason.TOO_FEW,
    Verdict.ERROR: Reason.ERROR,
    Verdict.NOTHING: Reason.HELD,
}


def _move(state: State, verdict: Verdict, policy: Policy) -> tuple[State, Reason]:
    match verdict:
        case Verdict.BREACH:
            return _breach(state, policy)
        case Verdict.CLEAR:
            return _clear(state, policy)
        case Verdict.BETWEEN:
            return _between(state)
        case unmoving:
            return state, _UNMOVED[unmoving]


def _breach(state: State, policy: Policy) -> tuple[State, Reason]:
    match state.condition:
        case Condition.FIRING:
            return state, Reason.STILL_FIRING
        case Condition.RECOVERING:
            return replace(state, condition=Condition.FIRING, streak=0), Reason.FIRED_AGAIN
        case Condition.PENDING:
            return _pending(replace(state, streak=state.streak + 1), policy)
        case Condition.OK:
            return _pending(replace(state, condition=Condition.PENDING, streak=0), policy)


def _pending(state: State, policy: Policy) -> tuple[State, Reason]:
    if state.streak < policy.for_windows:
        return state, Reason.PENDING
    fired = replace(state, condition=Condition.FIRING, streak=0)
    # Receivers never heard that the episode before ended: to them it goes on.
    if state.announced:
        return fired, Reason.FIRED_AGAIN
    return replace(fired, episode=state.episode + 1, acknowledged=False), Reason.FIRED


def _clear(state: State, policy: Policy) -> tuple[State, Reason]:
    match state.condition:
        case Condition.OK:
            return state, Reason.CLEAR
        case Condition.PENDING:
            return _settled(state), Reason.CLEARED_BEFORE_FIRING
        case Condition.FIRING:
            return _recovering(replace(state, condition=Condition.RECOVERING, streak=0), policy)
        case Condition.RECOVERING:
            return _recovering(replace(state, streak=state.streak + 1), policy)


def _recovering(state: State, policy: Policy) -> tuple[State, Reason]:
    if state.streak < policy.keep_firing_windows:
        return state, Reason.RECOVERING
    return _settled(state), Reason.RESOLVED


def _between(state: State) -> tuple[State, Reason]:
    """Beyond no threshold: what is not firing is clear, what fires goes on, a recovery begins anew."""
    match state.condition:
        case Condition.OK:
            return state, Reason.CLEAR
        case Condition.PENDING:
            return _settled(state), Reason.CLEARED_BEFORE_FIRING
        case Condition.FIRING | Condition.RECOVERING:
            return replace(state, condition=Condition.FIRING, streak=0), Reason.NOT_RECOVERED


def _settled(state: State) -> State:
    return replace(state, condition=Condition.OK, streak=0)


def _announce(state: State, reason: Reason, verdict: Verdict, policy: Policy, moment: Moment) -> Transition:
    """Return the transition with what receivers must be told now, and nothing that they know."""
    fires = state.condition in {Condition.FIRING, Condition.RECOVERING}
    if moment.held:
        # No news, but who forgets what it does not hear of would take silence for the end.
        known = fires and state.announced and verdict is not Verdict.NOTHING
        notices_held = (NoticeKind.REFRESH,) if known else ()
        return Transition(replace(state, sequence=state.sequence + len(notices_held)), reason, notices_held)
    notices: list[NoticeKind] = []
    if fires and not state.announced:
        notices.append(NoticeKind.FIRE)
        state = replace(state, announced=True, fire_told=moment.now)
    elif state.announced and not fires:
        notices.append(NoticeKind.RESOLVE)
        state = replace(state, announced=False, fire_told=None)
    elif fires and verdict is not Verdict.NOTHING:
        kind = _again(state, verdict, policy, moment.now)
        notices.append(kind)
        if kind is NoticeKind.REPEAT:
            state, reason = replace(state, fire_told=moment.now), Reason.REPEATED
    state, ills = _tell_ill(state, policy)
    notices += ills
    if verdict is Verdict.NOTHING and notices:
        reason = Reason.ANNOUNCED_LATE
    return Transition(replace(state, sequence=state.sequence + len(notices)), reason, tuple(notices))


def _again(state: State, verdict: Verdict, policy: Policy, now: int) -> NoticeKind:
    """Return REPEAT where a breach goes on for so long that it is told again, else REFRESH."""
    breached = state.condition is Condition.FIRING and verdict is Verdict.BREACH
    due = policy.repeat_micros is not None and state.fire_told is not None
    if breached and due and not state.acknowledged:
        assert state.fire_told is not None, "it is due"
        assert policy.repeat_micros is not None, "it is due"
        if now - state.fire_told >= policy.repeat_micros:
            return NoticeKind.REPEAT
    return NoticeKind.REFRESH


def _tell_ill(state: State, policy: Policy) -> tuple[State, list[NoticeKind]]:
    """Tell once of each ill in a streak; a window without data that counts as something is no ill."""
    if state.health is Health.OK or state.health in state.told:
        return state, []
    told = replace(state, told=state.told | {state.health})
    if state.health is Health.NO_DATA:
        return told, [NoticeKind.NO_DATA] if policy.no_data is NoDataPolicy.KEEP else []
    return told, [NoticeKind.ERROR]
