"""The example's funnels in a real funnels service over the shop, beside a search through the file's lines."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean, median

import pytest
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from deploy.postgres import EmbeddedPostgres
from examples import shop_funnels
from tests import databases
from tests.services.events.conftest import Service as EventsService
from tests.services.events.shop import lines
from tests.services.events.shop.asking import WHOLE
from tests.services.funnels.conftest import Service, running

BOUGHT, RETURNED = "item_purchased", "item_returned"


@pytest.fixture
def service(
    folded_shop: EventsService,
    postgres: EmbeddedPostgres,
    template_database: Callable[[str], str],
    token_keys: tuple[bytes, bytes],
    tmp_path: Path,
) -> Iterator[Service]:
    template = template_database("funnels")
    with (
        databases.clone(postgres, template) as database,
        running(postgres.url(database, "funnels"), folded_shop, token_keys, tmp_path) as service,
    ):
        yield service


def waits(end_event: str, window: timedelta) -> list[float | None]:
    """Seconds to the end event of everybody's first purchase that one followed; None for none."""
    purchases: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    ends: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for visit in lines.visits():
        if visit.event == BOUGHT:
            purchases[visit.actor] += [visit.time] * visit.lines
        if visit.event == end_event:
            ends[visit.actor] += [visit.time] * visit.lines
    found = []
    for who, times in purchases.items():
        found.append(first_wait(sorted(times), sorted(ends[who]), window, same=end_event == BOUGHT))
    return found


def first_wait(
    starts: list[datetime], ends: list[datetime], window: timedelta, *, same: bool
) -> float | None:
    for place, start in enumerate(starts):
        later = ends[place + 1 :] if same else [end for end in ends if end >= start]
        if later and later[0] - start <= window:
            return (later[0] - start).total_seconds()
    return None


@pytest.mark.parametrize(
    ("place", "end_event", "window"),
    [(0, RETURNED, timedelta(days=7)), (1, BOUGHT, timedelta(days=30))],
)
def test_the_example_counts_what_the_file_says(
    place: int, end_event: str, window: timedelta, service: Service
) -> None:
    expected = waits(end_event, window)
    converted = [each for each in expected if each is not None]
    funnel = service.funnels.CreateFunnel(shop_funnels.FUNNELS[place])
    assert not funnel.warnings
    request = pb.GetFunnelResultsRequest(funnel_id=funnel.funnel.funnel_id, time_range=WHOLE)
    found = service.funnels.GetFunnelResults(request).results
    assert [step.users for step in found.steps] == [len(expected), len(converted)]
    assert found.steps[1].median_seconds == median(converted)
    assert found.steps[1].mean_seconds == pytest.approx(fmean(converted))
    by_country = pb.GetFunnelResultsRequest(
        funnel_id=funnel.funnel.funnel_id,
        time_range=WHOLE,
        group_property="country",
        attribution=results_pb2.ATTRIBUTION_FIRST_TOUCH,
        group_limit=1_000,
    )
    groups = service.funnels.GetFunnelResults(by_country).results.groups
    assert sum(group.steps[1].users for group in groups) == len(converted)
    assert groups[0].group == '"United Kingdom"'
