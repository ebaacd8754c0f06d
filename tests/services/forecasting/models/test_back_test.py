import numpy as np
import pytest

from services.forecasting.models import back_test, candidates
from services.forecasting.models.back_test import Origins
from services.forecasting.models.paths import Model, flat
from tests.services.forecasting.models.series import weekly_counts


def cut_of(length: int, horizon: int, shortest: int) -> Origins:
    values = np.arange(float(length))
    return back_test.cut(values, values, horizon, shortest)


@pytest.mark.parametrize(
    ("length", "horizon", "shortest"), [(8, 30, 5), (11, 1, 8), (40, 7, 14), (90, 30, 28), (1000, 90, 28)]
)
def test_every_origin_knows_exactly_what_came_before_it(length: int, horizon: int, shortest: int) -> None:
    origins = cut_of(length, horizon, shortest)
    assert 3 <= len(origins.rows) <= 8
    assert origins.rows.shape[1] >= shortest
    assert (origins.actual[:, 0] == origins.rows[:, -1] + 1).all()
    assert origins.actual[-1, -1] == length - 1
    assert origins.actual.shape[1] <= min(horizon, length // 3)
    assert (origins.ahead == origins.actual - length).all()


def test_the_default_is_left_only_for_thirty_percent_less_error() -> None:
    def constant(value: float) -> Model:
        return Model(f"always {value}", "", lambda rows, horizon: flat(np.full(len(rows), value), horizon))

    origins = Origins(np.zeros((3, 9)), np.full((3, 2), 10.0), np.zeros((3, 2), dtype=np.int64))
    near, nearer = constant(10 - 7.1), constant(10 - 6.9)
    assert back_test.choose(origins, constant(0), (near,)).model.name == "always 0"
    chosen = back_test.choose(origins, constant(0), (near, nearer))
    assert chosen.model is nearer
    assert chosen.error_ratio == pytest.approx(0.69)


def test_errors_agree_with_their_definitions_and_leave_out_what_did_not_come() -> None:
    predicted = np.array([[1.0, 0.0, 5.0], [2.0, 4.0, 9.0]])
    actual = np.array([[3.0, 0.0, np.nan], [2.0, 1.0, 10.0]])
    pairs = [(1, 3), (0, 0), (2, 2), (4, 1), (9, 10)]
    found = back_test.errors(predicted, actual, scale=2.0)
    assert found.mean_absolute_error == pytest.approx(sum(abs(f - y) for f, y in pairs) / 5)
    assert found.mase == pytest.approx(found.mean_absolute_error / 2)
    assert found.smape_ratio == pytest.approx(sum(2 * abs(f - y) / (f + y) for f, y in pairs if f + y) / 5)
    assert found.bias == pytest.approx(sum(f - y for f, y in pairs) / 5)
    assert back_test.errors(predicted, actual, scale=0.0).mase is None


def test_running_totals_are_left_to_their_increments() -> None:
    total = np.cumsum(weekly_counts(np.random.default_rng(7), 100, 120))
    origins = back_test.cut(total, total, 30, 28)
    usual = candidates.median_mix(7)
    chosen = back_test.choose(origins, usual, (candidates.increments(usual),))
    assert chosen.model.name == "increments_median_mix"
    path = chosen.model.paths(total[None], 30).mean[0]
    assert (np.diff(np.concatenate([total[-1:], path])) >= 0).all()
