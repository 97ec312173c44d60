"""benchmarks/frameworks: one task in several frameworks, of which each must do the same."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from rarebook.backend import theano  # before theano_ is imported: it sets the engine's flags
from rarebook.memory import Memory

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path += [str(BENCHMARKS), str(BENCHMARKS / "frameworks")]
import compare_frameworks  # noqa: E402
import numpy_  # noqa: E402
import task as tasks  # noqa: E402

SMALL = {
    "rosenbrock": {"size": 6},
    "embedding": {"rows": 20, "dim": 4, "batch": 6, "negatives": 3},
    "memory_network": {"features": 7, "dim": 5, "slots": 40, "labels": 6, "batch": 9},
}
MODULES = {"theano_": None, "torch_": "torch", "jax_": "jax"}


@pytest.fixture(params=MODULES)
def module(request, monkeypatch):
    """A framework's module; Theano without compilation, as it is the expressions that count."""
    if package := MODULES[request.param]:
        pytest.importorskip(package)
    monkeypatch.setattr(theano.config, "mode", "FAST_COMPILE")
    return import_module(request.param)


@pytest.mark.parametrize("task", SMALL)
def test_every_framework_has_numpys_values_gradients_and_memory(module, task):
    assert tasks.gap(module, task, n_steps=6, **SMALL[task]) < 1e-5


@pytest.mark.parametrize("task", SMALL)
def test_the_gap_sees_a_wrong_gradient(task):
    class Wrong:
        @staticmethod
        def rosenbrock():
            return lambda x: [part * 1.001 for part in numpy_.rosenbrock()(x)]

        @staticmethod
        def embedding(W, rate):
            return numpy_.embedding(W, rate * np.float32(1.001))

        @staticmethod
        def memory_network(weights, memory, rate, margin):
            return numpy_.memory_network(weights, memory, rate * np.float32(1.001), margin)

    assert tasks.gap(Wrong, task, **SMALL[task]) > 1e-5


def as_float64(task):
    """Arrays in float64, and the arguments of the first call."""
    arrays, draws = tasks.inputs(task, **SMALL[task])

    def wide(value):
        if isinstance(value, (list, tuple)):
            return [wide(part) for part in value]
        return value.astype("float64") if value.dtype.kind == "f" else value.copy()

    return wide(arrays), wide(draws[0])


def test_numpys_gradients_are_those_of_finite_differences(rng):
    _, (x,) = as_float64("rosenbrock")
    f = numpy_.rosenbrock()
    for i, e in enumerate(1e-6 * np.eye(len(x))):
        slope = (f(x + e)[0] - f(x - e)[0]) / 2e-6
        np.testing.assert_allclose(f(x)[1][i], slope, rtol=1e-6, atol=1e-6)
    for task in ("embedding", "memory_network"):
        arrays, draw = as_float64(task)
        _, read = call_and_read = tasks.build(numpy_, task, arrays, rate=1)
        trained = len(read()) if task == "embedding" else 4
        before = [array.copy() for array in read()[:trained]]
        call_and_read[0](*draw)
        gradients = [old - new for old, new in zip(before, read(), strict=False)]
        n_sloped = 0
        for which in range(trained):
            for place in rng.choice(before[which].size, 12):
                losses = []
                for change in (1e-6, -1e-6):
                    arrays, draw = as_float64(task)
                    step, read = tasks.build(numpy_, task, arrays)
                    read()[which].flat[place] += change
                    losses.append(step(*draw))
                slope = (losses[0] - losses[1]) / 2e-6
                np.testing.assert_allclose(gradients[which].flat[place], slope, atol=1e-7)
                n_sloped += abs(slope) > 1e-4
        assert n_sloped > 8  # most of the gradients that were compared are not zero


def test_one_sample_at_a_time_the_memory_is_the_librarys(rng):
    (weights, _), _ = tasks.inputs("memory_network", **SMALL["memory_network"])
    memory = Memory(n_slots=12, key_size=5, rng=rng, age_noise=0)
    keys = rng.normal(size=(40, 5))
    memory.update(keys, np.arange(40))  # every label is new, so that all slots are filled
    labels = np.array(memory.labels)
    arrays = [memory.keys.copy(), labels, memory.ages.copy()]
    step, read = numpy_.memory_network(weights, arrays, np.float32(0), np.float32(0.1))
    W1, b1, W2, b2 = weights
    hits = 0
    for _ in range(60):
        X = rng.normal(size=(1, 7)).astype("float32")
        q = np.maximum(X @ W1 + b1, 0) @ W2 + b2
        nearest = memory.query(q).labels[0, :1]
        y = nearest if rng.random() < 0.5 else rng.integers(100, 110, size=1)
        hits += memory.update(q, y).hits.sum()
        step(X, y)
        *_, keys, labels, ages = read()
        np.testing.assert_allclose(keys, memory.keys, atol=1e-5)
        assert labels.tolist() == memory.labels
        assert ages.tolist() == memory.ages.tolist()
    assert 10 < hits < 50


def test_what_an_id_outside_of_the_table_does(module):
    expected = {"loss", "rows", "missed"} if module.__name__ == "jax_" else "IndexError"
    found = tasks.outside(module)
    assert (set(found) if isinstance(found, dict) else found) == expected
    if expected != "IndexError":  # the loss is finite, and the row is silently left out
        assert np.isfinite(found["loss"]) and found["missed"] == 1


def test_an_id_of_minus_one_is_the_last_row_but_for_pytorch(module):
    (W,), draws = tasks.inputs("embedding", **SMALL["embedding"])
    ids, before = [np.minimum(i, 10) for i in draws[0]], W.copy()
    ids[0][0] = -1
    step, read = tasks.build(module, "embedding", [W])
    if module.__name__ == "torch_":
        with pytest.raises(IndexError):
            step(*ids)
    else:
        step(*ids)
        assert np.array(read()[0] != before)[-1].all()


def test_lines_are_counted_as_the_rule_says(tmp_path, monkeypatch):
    source = """
def other():
    pass


def task(x):
    # This does not count.
    y = (
        x
    )

    return y  # but this line does
"""
    (tmp_path / "some.py").write_text(source)
    monkeypatch.setattr(compare_frameworks, "FOLDER", tmp_path)
    assert compare_frameworks.lines("some", "task") == 5


def test_a_contender_that_is_not_there_is_left_out_and_named(monkeypatch, capsys):
    here = {
        "absent": ("numpy_", "some/bin/python", {}),
        "broken": ("no_such_module", sys.executable, {}),
    }
    monkeypatch.setattr(compare_frameworks, "CONTENDERS", here)
    for name in here:
        assert compare_frameworks.run(name, "rosenbrock", "cache") is None
    assert capsys.readouterr().out.splitlines() == [
        "absent, rosenbrock: no some",
        "broken, rosenbrock: ModuleNotFoundError: No module named 'no_such_module'",
    ]


def test_the_committed_figures_are_of_the_code_that_is_shown():
    record = json.loads((BENCHMARKS / "results" / "frameworks.json").read_text())
    assert record["sizes"] == tasks.SIZES
    for task, of_task in record["figures"].items():
        assert list(of_task) == list(compare_frameworks.CONTENDERS)
        for name, figures in of_task.items():
            module, *_ = compare_frameworks.CONTENDERS[name]
            assert figures["lines"] == compare_frameworks.lines(module, task)
            assert figures["gap"] < 1e-5
            runs = record["runs"][task][name]
            assert len(runs) == compare_frameworks.N_ROUNDS
            measured = compare_frameworks.medians(runs)
            assert figures == {"lines": figures["lines"]} | measured
            for of in runs:
                first = of["start s"] + of["compile s"] + of["step ms"] / 1e3
                assert of["first s"] == pytest.approx(first)
