import numpy as np
import pytest

from rarebook.numeric.facts import (
    fact_gradient,
    fact_loss,
    fact_scores,
    object_scores,
    subject_scores,
)


def test_the_gradient_is_that_of_finite_differences(rng):
    parts = [rng.normal(size=shape) for shape in [(4, 3, 5), (4, 1, 5), (4, 3, 5)]]
    gradients = fact_gradient(*parts, margin=2.0)
    for part, gradient in zip(parts, gradients, strict=True):
        assert gradient.shape == part.shape
        for at in np.ndindex(part.shape):
            kept, losses = part[at], []
            for step in (1e-6, -1e-6):
                part[at] = kept + step
                losses.append(fact_loss(fact_scores(*parts), margin=2.0))
            part[at] = kept
            assert gradient[at] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-6)


def test_the_loss_is_finite_for_any_distance():
    far = np.array([[-1e8, -1e8], [0.0, 0.0]])
    assert fact_loss(far, margin=1.0) == pytest.approx(1e8, rel=1e-6)


def test_a_loss_of_zero_needs_facts_near_and_statements_far():
    assert fact_loss(np.array([[0.0, -100.0]]), margin=40.0) < 1e-12
    assert fact_loss(np.array([[-100.0, 0.0]]), margin=40.0) > 90


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_scores_at_once_are_those_of_each_fact(rng, dtype):
    E, R = rng.normal(size=(9, 4)).astype(dtype), rng.normal(size=(3, 4)).astype(dtype)
    s, r, o = rng.integers(9, size=6), rng.integers(3, size=6), rng.integers(9, size=6)
    of_objects, of_subjects = object_scores(E, R, s, r), subject_scores(E, R, r, o)
    assert of_objects.dtype == of_subjects.dtype == dtype
    for i in range(6):
        for entity in range(9):
            want = fact_scores(E[s[i]], R[r[i]], E[entity])
            assert of_objects[i, entity] == pytest.approx(want, rel=1e-4, abs=1e-4)
            want = fact_scores(E[entity], R[r[i]], E[o[i]])
            assert of_subjects[i, entity] == pytest.approx(want, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    "subjects, relations, argument",
    [
        ([9], [0], "subjects"),
        ([-1], [0], "subjects"),
        ([[0]], [0], "subjects"),
        ([0.0], [0], "subjects"),
        ([0], [3], "relations"),
        ([0], [-1], "relations"),
        ([0, 1], [0], "relations"),
    ],
)
def test_refuses(rng, subjects, relations, argument):
    E, R = rng.normal(size=(9, 4)), rng.normal(size=(3, 4))
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        object_scores(E, R, subjects, relations)
    argument = argument.replace("subjects", "objects")
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        subject_scores(E, R, relations, subjects)
