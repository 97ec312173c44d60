import numpy as np
import pytest

numba = pytest.importorskip("numba")

from rarebook import pair_kernels  # noqa: E402


@pytest.mark.parametrize("n", range(1, 8))
def test_scores_are_products_with_the_rows(rng, n):
    w, W_out, ids = rng.normal(size=5), rng.normal(size=(4, 5)), rng.integers(4, size=n)
    scores = np.full(n, 9.0)
    pair_kernels.scores_loop(w, ids, W_out, scores)
    np.testing.assert_allclose(scores, W_out[ids] @ w)


@pytest.mark.parametrize(
    "ids, expected",
    [([0, 1, 2], [0.5, -0.5, -0.5]), ([0, 1, 1], [0.5, -1, 0]), ([2, 1, 2], [0, -0.5, 0])],
)
def test_a_row_that_stands_twice_takes_both_steps_at_once(ids, expected):
    steps = np.zeros(3)
    pair_kernels.steps_loop(np.array(ids), 1.0, steps)
    np.testing.assert_allclose(steps, expected)


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7])
def test_the_parts_take_every_pair_once(rng, n_parts):
    """Run one after the other, the parts do what a single one does."""
    step = pair_kernels.skip_gram_step(False, numba.njit)
    W_in, W_out = rng.normal(size=(40, 64)), rng.normal(size=(400, 64))
    centers, targets = rng.permutation(40), rng.permutation(400)[:160].reshape(40, 4)
    before, rate = numba.get_num_threads(), np.array(0.1)
    numba.set_num_threads(1)
    try:
        new_in, new_out = step(W_in, W_out, centers, targets[:, 0], targets[:, 1:], rate)
    finally:
        numba.set_num_threads(before)
    for part in range(n_parts):
        run = slice(part * 40 // n_parts, (part + 1) * 40 // n_parts)
        pairs = centers[run], targets[run, 0], targets[run, 1:]
        W_in, W_out = step(W_in, W_out, *pairs, rate)
    np.testing.assert_array_equal(W_in, new_in)
    np.testing.assert_array_equal(W_out, new_out)
