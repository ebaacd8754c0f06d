"""Gives people their variants: looks who has one, chooses for the others, keeps what was chosen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from brain.experiments.v1 import experiments_pb2 as pb

from services.experiments.assigning.attributes import kept_values
from services.experiments.assigning.choosing import NoVariant, choose
from services.experiments.assigning.store import AssignmentStore, Kept
from services.experiments.catalogue import Assigned, Catalogue, Snapshot
from services.experiments.domain import Experiment, JsonValue, Status
from shared.errors import Aborted
from shared.who import Who

Candidate = tuple[Who, Mapping[str, JsonValue]]


@dataclass(frozen=True)
class Assigner:
    """Assigns; at most `remembered` assignments are kept in memory."""

    catalogue: Catalogue
    kept: AssignmentStore
    clock: Callable[[], int]
    remembered: int

    def assign(self, key: str, candidates: "Sequence[Candidate]") -> tuple[Experiment, list[Assigned]]:
        """Return the experiment and everybody's variant, in order; raise NotFound."""
        snapshot = self.catalogue.with_experiment(key)
        experiment = snapshot.experiment(key)
        if experiment.status is not Status.RUNNING:
            return experiment, [_not_running(experiment)] * len(candidates)
        remembered = snapshot.assigned.get(experiment.experiment_id, {})
        found = [remembered.get(who) for who, _ in candidates]
        unseen = [each for each, known in zip(candidates, found, strict=True) if known is None]
        looked_up = self._of_unseen(snapshot, experiment, unseen) if unseen else {}
        return experiment, [
            known or looked_up[who] for known, (who, _) in zip(found, candidates, strict=True)
        ]

    def _of_unseen(
        self, snapshot: Snapshot, experiment: Experiment, unseen: "Sequence[Candidate]"
    ) -> dict[Who, Assigned]:
        people = list(dict.fromkeys(who for who, _ in unseen))
        kept = self.kept.find(experiment, people)
        without: dict[Who, NoVariant] = {}
        chosen: dict[Who, int] = {}
        for who, attributes in unseen:
            if who in kept or who in chosen:
                continue
            choice = choose(experiment, who, attributes)
            if isinstance(choice, NoVariant):
                without[who] = choice
            else:
                chosen[who] = choice
        if chosen:
            known = {who: kept_values(experiment, attributes) for who, attributes in reversed(unseen)}
            self.kept.add(experiment, chosen, known, self.clock())
            # Another replica may have been first, with other weights.
            kept |= self.kept.find(experiment, list(chosen))
            if not chosen.keys() <= kept.keys():
                raise Aborted("somebody was erased at this moment; ask again", "ERASED_MEANWHILE")
        found = {who: of_kept(each) for who, each in kept.items()}
        self._remember(snapshot, experiment, found)
        nothing = {who: Assigned(_REASONS[why]) for who, why in without.items() if who not in found}
        return found | nothing

    def _remember(self, snapshot: Snapshot, experiment: Experiment, found: "Mapping[Who, Assigned]") -> None:
        if sum(map(len, snapshot.assigned.values())) + len(found) > self.remembered:
            snapshot.assigned.clear()
        split = pb.ASSIGNMENT_REASON_SPLIT
        stays = {who: assigned for who, assigned in found.items() if assigned.reason == split}
        snapshot.assigned.setdefault(experiment.experiment_id, {}).update(stays)


_REASONS = {
    NoVariant.NOT_TARGETED: pb.ASSIGNMENT_REASON_NOT_TARGETED,
    NoVariant.NOT_COVERED: pb.ASSIGNMENT_REASON_NOT_COVERED,
    NoVariant.EXCLUDED: pb.ASSIGNMENT_REASON_EXCLUDED,
}


def of_kept(kept: Kept) -> Assigned:
    """Return what is kept of somebody as their variant."""
    if kept.overridden is not None:
        return Assigned(pb.ASSIGNMENT_REASON_OVERRIDE, kept.overridden)
    return Assigned(pb.ASSIGNMENT_REASON_SPLIT, kept.assigned, kept.assigned_time)


def _not_running(experiment: Experiment) -> Assigned:
    if experiment.winner is None:
        return Assigned(pb.ASSIGNMENT_REASON_NOT_RUNNING)
    return Assigned(pb.ASSIGNMENT_REASON_WINNER, experiment.position(experiment.winner))
