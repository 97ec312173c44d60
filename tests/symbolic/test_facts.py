"""Scores, losses and the joint step against NumPy, with gradients for whole tables."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook.backend import T, theano
from rarebook.numeric import facts as numeric
from rarebook.numeric.embedding import pair_gradient, pair_loss
from rarebook.symbolic.facts import fact_loss, fact_scores, joint_step
from rarebook.symbolic.optimizers import SGD, Adagrad, Momentum

N, N_RELATIONS, DIM = 7, 3, 4
OPTIMIZERS = {"SGD": SGD(), "Adagrad": Adagrad()}


@functools.cache
def compiled(name="SGD", dtype="float64"):
    """The tables, the step, and all that it changes."""
    E = theano.shared(np.zeros((N, DIM), dtype), "E")
    R = theano.shared(np.zeros((N_RELATIONS, DIM), dtype), "R")
    contexts, facts = T.lmatrix(), T.ltensor3()
    margin, weight, rate = T.dscalars("margin", "weight", "rate")
    *losses, updates = joint_step(
        E, R, contexts, facts, margin=margin, weight=weight, optimizer=OPTIMIZERS[name],
        learning_rate=rate,
    )  # fmt: skip
    inputs = [contexts, facts, margin, weight, rate]
    return E, R, theano.function(inputs, losses, updates=updates), [pair[0] for pair in updates]


def in_full(E, R, contexts, facts, margin, weight):
    """The same losses by NumPy, and their gradients for all of E and R."""
    words = E[contexts]
    s, r, o = E[facts[..., 0]], R[facts[:, :1, 1]], E[facts[..., 2]]
    of_s, of_r, of_o = numeric.fact_gradient(s, r, o, margin)
    G_E, G_R = np.zeros_like(E), np.zeros_like(R)
    np.add.at(G_E, contexts, pair_gradient(words))
    np.add.at(G_E, facts[..., 0], weight * of_s)
    np.add.at(G_E, facts[..., 2], weight * of_o)
    np.add.at(G_R, facts[:, :1, 1], weight * of_r)
    of_facts = numeric.fact_loss(numeric.fact_scores(s, r, o), margin)
    return pair_loss(words), of_facts, G_E, G_R


def drawn(rng, P, B, K=2):
    contexts = rng.integers(N, size=(P, 2 + K))
    facts = rng.integers(N, size=(B, 1 + K, 3))
    facts[:, :, 1] = rng.integers(N_RELATIONS, size=(B, 1))
    return contexts, facts


def start(rng, variables, E, R, dtype="float64"):
    for variable in variables:
        variable.set_value(np.zeros_like(variable.get_value()))
    tables = [rng.normal(size=(rows, DIM)).astype(dtype) for rows in (N, N_RELATIONS)]
    for variable, table in zip((E, R), tables, strict=True):
        variable.set_value(table)
    return tables


def test_scores_and_loss_are_those_of_numpy(rng):
    s, r, o = rng.normal(size=(5, 3, 4)), rng.normal(size=(5, 1, 4)), rng.normal(size=(5, 3, 4))
    rows = [T.dtensor3() for _ in range(3)]
    row = T.tensor3(dtype="float64")
    scores = fact_scores(rows[0], row[:, 0][:, None, :], rows[2])
    loss = fact_loss(scores, 1.5)
    inputs = [rows[0], row, rows[2]]
    found = theano.function(inputs, [scores, loss, *T.grad(loss, inputs)])(s, r, o)
    np.testing.assert_allclose(found[0], numeric.fact_scores(s, r, o), rtol=1e-12)
    np.testing.assert_allclose(found[1], numeric.fact_loss(found[0], 1.5), rtol=1e-8)
    for got, want in zip(found[2:], numeric.fact_gradient(s, r, o, 1.5), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9)


@given(
    seed=st.integers(0, 10_000),
    P=st.integers(0, 6),
    B=st.integers(0, 6),
    weight=st.sampled_from([0.0, 0.7, 3.0]),
)
def test_a_step_is_that_of_the_gradient_for_whole_tables(seed, P, B, weight):
    """With so few rows ids are named by both parts, and often."""
    rng = np.random.default_rng(seed)
    E, R, step, variables = compiled()
    tables, ids = start(rng, variables, E, R), drawn(rng, P, B)
    of_contexts, of_facts, G_E, G_R = in_full(*tables, *ids, 1.0, weight)
    losses = step(*ids, 1.0, weight, 0.1)
    near = {"rtol": 1e-8, "atol": 1e-9}  # the softplus of classic Theano is cut off
    np.testing.assert_allclose(losses, [of_contexts, of_facts], **near)
    np.testing.assert_allclose(E.get_value(), tables[0] - 0.1 * G_E, **near)
    np.testing.assert_allclose(R.get_value(), tables[1] - 0.1 * G_R, **near)


@pytest.mark.parametrize("name, dtype", [("SGD", "float64"), ("Adagrad", "float32")])
def test_only_named_rows_are_changed_and_the_type_stays(rng, name, dtype):
    E, R, step, variables = compiled(name, dtype)
    tables = start(rng, variables, E, R, dtype)
    losses = step(
        np.array([[0, 1, 2, 1]]), np.array([[[1, 2, 3], [1, 2, 0], [4, 2, 3]]]), 1, 1, 0.1
    )
    assert [np.asarray(value).dtype for value in losses] == [dtype] * 2
    for variable, before, named in zip((E, R), tables, ([0, 1, 2, 3, 4], [2]), strict=True):
        assert variable.get_value().dtype == dtype
        changed = (variable.get_value() != before).any(axis=1)
        assert np.flatnonzero(changed).tolist() == named


def test_facts_that_fit_are_learned(rng):
    """After many steps a fact is nearer than the margin and a false statement is farther."""
    E, R, step, variables = compiled("Adagrad")
    start(rng, variables, E, R)
    facts = np.array([[[0, 0, 1], [0, 0, 2], [3, 0, 1]], [[2, 1, 4], [2, 1, 5], [6, 1, 4]]])
    nothing = np.zeros((0, 4), int)
    losses = [float(step(nothing, facts, 1.0, 1.0, 0.3)[1]) for _ in range(300)]
    assert losses[-1] < 0.7 < 3 < losses[0]  # at least 2 · -log σ(1) = 0.63
    rows, relations = E.get_value(), R.get_value()
    s, r, o = facts[..., 0], facts[..., 1], facts[..., 2]
    scores = numeric.fact_scores(rows[s], relations[r], rows[o])
    assert (scores[:, 0] > -1).all() and (scores[:, 1:] < -1).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "spoil, argument",
    [
        (lambda c, f: c.__setitem__((0, 0), N), "ids"),
        (lambda c, f: c.__setitem__((-1, -1), -1), "ids"),
        (lambda c, f: f.__setitem__((0, 0, 0), N), "ids"),
        (lambda c, f: f.__setitem__((-1, -1, 2), -1), "ids"),
        (lambda c, f: f.__setitem__((0, slice(None), 1), N_RELATIONS), "ids"),
        (lambda c, f: f.__setitem__((0, slice(None), 1), -1), "ids"),
        (None, "learning_rate"),
        ("nan in R", "G|W|R"),
    ],
)
def test_what_is_refused_changes_nothing(rng, name, spoil, argument):
    E, R, step, variables = compiled(name)
    start(rng, variables, E, R)
    ids, rate = drawn(rng, 3, 3), 0.1
    step(*ids, 1.0, 1.0, 0.1)
    if spoil is None:
        rate = 0.0
    elif spoil == "nan in R":
        R.set_value(np.full((N_RELATIONS, DIM), np.nan))
    else:
        spoil(*ids)
    before = [variable.get_value() for variable in variables]
    with pytest.raises(ValueError, match=rf"({argument}).*: received .*; allowed: "):
        step(*ids, 1.0, 1.0, rate)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.get_value(), value)


def test_tables_and_optimizers_that_do_not_fit_are_refused():
    E, ids, facts = theano.shared(np.zeros((3, 2))), T.lmatrix(), T.ltensor3()
    numbers = {"margin": 1.0, "weight": 1.0, "learning_rate": 0.1}
    for R in (np.zeros((2, 3)), np.zeros((2, 2), "float32")):
        with pytest.raises(ValueError, match=r"^E and R: received .*; allowed: "):
            joint_step(E, theano.shared(R), ids, facts, optimizer=SGD(), **numbers)
    with pytest.raises(ValueError, match=r"^optimizer: received .*; allowed: "):
        R = theano.shared(np.zeros((2, 2)))
        joint_step(E, R, ids, facts, optimizer=Momentum(exact=True), **numbers)
