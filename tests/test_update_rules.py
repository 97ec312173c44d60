"""The settings of the rules, coalescing, and the replay of skipped steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook import update_rules
from rarebook.update_rules import SGD, Adagrad, Adam, Momentum, RMSprop, coalesce, remember

RULES = [SGD, Momentum, RMSprop, Adagrad, Adam]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", -0.1),
        ("learning_rate", np.nan),
        ("learning_rate", np.inf),
        ("learning_rate", "0.1"),
        ("weight_decay", -1),
        ("weight_decay", np.nan),
        ("deferred_decay", 2),
    ],
)
def test_refuses_settings(rule, argument, value):
    with pytest.raises(ValueError, match=f"^{argument}: received .*; allowed: "):
        rule(**{argument: value})


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        (Momentum, {"momentum": 1}),
        (Momentum, {"momentum": -0.1}),
        (RMSprop, {"rho": 1.0}),
        (RMSprop, {"epsilon": 0}),
        (Adagrad, {"epsilon": -1}),
        (Adam, {"beta1": 1}),
        (Adam, {"beta2": -0.1}),
        (Adam, {"epsilon": 0}),
    ],
)
def test_refuses_settings_of_one_rule(rule, settings):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))}: received .*; allowed: "):
        rule(**settings)


def test_a_decay_that_turns_the_weights_around_is_refused():
    with pytest.raises(ValueError, match=r"^learning_rate: received 0.5, with a weight_decay of 2"):
        SGD(0.5, weight_decay=2)


@pytest.mark.parametrize(
    "settings",
    [
        {"beta1": 0.9, "beta2": 0.5},  # the change of a row without a gradient grows
        {"beta1": 0.99, "beta2": 0.9801},
        {"beta1": 0.9, "beta2": 0},
        {"beta1": 0.99},  # it fades, and takes 3,800 steps
        {"per_row_steps": True},
    ],
)
def test_exact_is_refused_where_a_skipped_step_does_not_fade(settings):
    Adam(**settings)
    with pytest.raises(ValueError, match=r"^(exact|per_row_steps): received .*; allowed: "):
        Adam(exact=True, **settings)


def test_exact_momentum_is_refused_close_to_one():
    assert Momentum(momentum=0.95, exact=True).n_terms < update_rules.MAX_TERMS
    with pytest.raises(ValueError, match=r"momentum=0.99"):
        Momentum(momentum=0.99, exact=True)


def test_with_the_usual_betas_a_gap_needs_351_terms():
    assert Adam(exact=True).n_terms == 351
    ratio = 0.9 / np.sqrt(0.999)
    assert ratio**351 < 2**-53 < ratio**350
    assert Adam(exact=True, beta1=0).n_terms == 0 == RMSprop(exact=True).n_terms


def test_which_rules_give_the_dense_result_by_rows():
    assert SGD().rows_equal_dense and Adagrad().rows_equal_dense
    assert not SGD(weight_decay=0.1).rows_equal_dense
    assert SGD(weight_decay=0.1, deferred_decay=True).rows_equal_dense
    for rule in (Momentum, RMSprop, Adam):
        assert not rule().rows_equal_dense and rule(exact=True).rows_equal_dense
        assert not rule(weight_decay=0.1, deferred_decay=True).rows_equal_dense
        assert rule(exact=True).defers and not rule(exact=True).without_waiting.defers


@given(
    ids=st.lists(st.integers(0, 5), max_size=12),
    padding=st.sampled_from([None, 0, 3]),
)
def test_coalesce_adds_up(ids, padding):
    rng = np.random.default_rng(len(ids))
    G = rng.normal(size=(len(ids), 2))
    rows, sums = coalesce(np.array(ids, int), G, padding)
    dense = np.zeros((6, 2))
    np.add.at(dense, np.array(ids, int), G)
    if padding is not None:
        dense[padding] = 0
    assert rows.tolist() == sorted(set(ids) - {padding})
    np.testing.assert_allclose(sums, dense[rows], atol=1e-12)


def test_the_history_grows_and_keeps_what_it_holds():
    history = np.zeros((2, 2))
    for t, rate in enumerate([0.1, 0.2, 0.3, 0.4], start=1):
        history = remember(history, t, rate, 0.5)
    assert len(history) == 8 and history[:5, 0].tolist() == [0, 0.1, 0.2, 0.3, 0.4]
    expected = np.cumsum(np.log(1 - 0.5 * history[1:5, 0]))
    np.testing.assert_allclose(history[1:5, 1], expected, atol=1e-15)
