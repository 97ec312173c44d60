import re
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction

import numpy as np
import pytest

from rarebook.loss_settings import LossSettings


@pytest.mark.parametrize(
    "argument, value, received",
    [
        ("epsilon", -0.1, "-0.1"),
        ("epsilon", 1, "1"),
        ("epsilon", np.nan, "nan"),
        ("epsilon", "0.1", "'0.1'"),
        ("epsilon", True, "True"),
        ("epsilon", None, "None"),
        ("beta", -1e-9, "-1e-09"),
        ("beta", np.inf, "inf"),
        ("beta", [0.1], "[0.1]"),
        ("threshold", 0, "0"),
        ("threshold", -1.0, "-1.0"),
        ("threshold", np.inf, "inf"),
        ("threshold", "high", "'high'"),
        ("anneal", -0.5, "-0.5"),
        ("anneal", 1.5, "1.5"),
        ("anneal", np.nan, "nan"),
        ("anneal", None, "None"),
        ("class_weights", 2.0, "shape ()"),
        ("class_weights", [1.0], "1 weights"),
        ("class_weights", [], "0 weights"),
        ("class_weights", [1.0, 0.0], "weights from 0 to 1"),
        ("class_weights", [1.0, -2.0], "weights from -2 to 1"),
        ("class_weights", [1.0, 1e31], "weights from 1 to 1e+31"),
        ("class_weights", [1.0, np.nan], "nan or infinity"),
        ("class_weights", [1.0, np.inf], "nan or infinity"),
        ("class_weights", [[1.0, 2.0]], "shape (1, 2)"),
        ("class_weights", ["a", "b"], "values of dtype <U1"),
        ("class_weights", {0: 1.0, 1: 2.0}, "shape ()"),
    ],
)
def test_refuses(argument, value, received):
    with pytest.raises(ValueError, match=rf"^{argument}: received {re.escape(received)}; allowed:"):
        LossSettings(**{argument: value})


def test_values_are_plain_numbers():
    settings = LossSettings(
        np.float32(0.5), 1, Fraction(1, 4), np.int64(1), np.array([1, 2], np.int8)
    )
    assert settings == LossSettings(0.5, 1.0, 0.25, 1.0, (1.0, 2.0))
    assert repr(settings) == (
        "LossSettings(epsilon=0.5, beta=1.0, threshold=0.25, anneal=1.0, class_weights=(1.0, 2.0))"
    )
    values = [value for value in vars(settings).values() if not isinstance(value, tuple)]
    assert {type(value) for value in [*values, *settings.class_weights]} == {float}
    with pytest.raises(FrozenInstanceError):
        settings.beta = 2


def test_equal_settings_are_one_key():
    settings = LossSettings(0.1, 0.2, 0.7, 0.5, [1, 2])
    same = LossSettings(np.float64(0.1), 0.2, 0.7, 0.5, np.array([1.0, 2.0]))
    assert settings == same and hash(settings) == hash(same)
    others = {"epsilon": 0, "beta": 0, "threshold": None, "anneal": 0, "class_weights": None}
    for name, value in others.items():
        assert replace(settings, **{name: value}) != settings


@pytest.mark.parametrize("anneal", [1.0, 0.3, 1e-3])
def test_beta_rises_in_a_line_and_stays(anneal):
    settings = LossSettings(beta=0.6, anneal=anneal)
    times = np.linspace(0, 1, 101)
    betas = np.array([settings.beta_at(t) for t in times])
    np.testing.assert_allclose(betas, np.interp(times, [0, anneal], [0, 0.6]), rtol=1e-12)
    assert settings.beta_at(anneal) == settings.beta_at(1) == 0.6
    assert type(settings.beta_at(0)) is type(settings.beta_at(np.float32(0.5))) is float


def test_beta_is_there_from_the_start_without_annealing():
    assert LossSettings(beta=0.6).beta_at(0) == 0.6
    assert LossSettings(anneal=0.5).beta_at(1) == 0
    assert LossSettings(beta=0.6, anneal=5e-324).beta_at(0.5) == 0.6


@pytest.mark.parametrize("progress", [-0.1, 1.1, np.nan, np.inf, None, "0.5", True, [0.5, 0.5]])
@pytest.mark.parametrize("anneal", [0, 0.5])
def test_beta_at_refuses(anneal, progress):
    with pytest.raises(ValueError, match=rf"^progress: received {re.escape(repr(progress))};"):
        LossSettings(beta=1, anneal=anneal).beta_at(progress)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_ratios(dtype):
    for scale in (1e-300, 1, 1e300):
        weights = LossSettings(class_weights=[scale, 4 * scale, 2 * scale]).weights(dtype)
        assert weights.dtype == dtype
        np.testing.assert_allclose(weights, [0.25, 1, 0.5], rtol=1e-6)
