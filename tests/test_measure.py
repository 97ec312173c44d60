"""benchmarks/measure.py: what is measured in rounds, and the figures that were."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import measure  # noqa: E402


def test_all_points_are_measured_once_before_any_is_measured_again(monkeypatch):
    asked = []

    def answer(way, x):
        asked.append((way, x))
        return {"ms": 10 * x + len(asked), "MB": x}

    monkeypatch.setattr(measure, "in_own_process", answer)
    median, every = measure.points_in_rounds({"fast": [(1,), (2,)], "slow": [(3,)]}, 3)
    assert asked == [("fast", 1), ("fast", 2), ("slow", 3)] * 3
    assert every["fast"]["ms"] == [[11, 14, 17], [22, 25, 28]]
    assert median == {"fast": {"ms": [14, 25], "MB": [1, 2]}, "slow": {"ms": [36], "MB": [3]}}


def parts(name):
    """(figures, rounds) of a result file, each {way: {figure: a list over points}}."""
    record = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text())
    if name == "row_cost":
        ways = {way: of for way, of in record.items() if isinstance(of, dict) and "rounds" in of}
        return [
            (
                {way: {"ms": of["ms"]} for way, of in ways.items()},
                {way: {"ms": of["rounds"]} for way, of in ways.items()},
            )
        ]
    axes = {"sparse_cost": ("density", "columns"), "bags": ("longest",)}[name]
    return [(record[axis], record[axis]["rounds"]) for axis in axes]


@pytest.mark.parametrize("name", ["row_cost", "sparse_cost", "bags"])
def test_the_committed_figures_are_the_medians_of_their_rounds(name):
    for figures, rounds in parts(name):
        assert len(rounds) >= 4
        for way, of_way in rounds.items():
            for what, of_points in of_way.items():
                assert np.shape(of_points) == (len(figures[way][what]), 5)
                np.testing.assert_array_equal(np.median(of_points, axis=1), figures[way][what])
