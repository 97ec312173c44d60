"""Unit rows, averages, and the nearest rows by a sort of all of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook.memory import Memory
from rarebook.nearest import averaged, exact, largest, two_largest, unit_rows

DTYPES = [np.dtype("float32"), np.dtype("float64")]


def tolerance(dtype, key_size):
    return Memory(1, key_size, rng=np.random.default_rng(0), dtype=dtype).tolerance


@pytest.mark.parametrize("dtype", DTYPES)
@given(exponent=st.integers(-1070, 1020), seed=st.integers(0, 99), size=st.integers(1, 40))
def test_unit_rows_of_any_scale(dtype, exponent, seed, size):
    X = np.random.default_rng(seed).integers(1, 8, size=(3, size)).astype(float)
    unit = unit_rows("q", X, (None, size), dtype)
    assert unit.dtype == dtype and unit.flags.c_contiguous
    for row, x in zip(unit, X, strict=True):
        length = math.sqrt(math.fsum(value * value for value in x))
        np.testing.assert_allclose(row, x / length, rtol=4 * np.finfo(dtype).eps)
    scaled = unit_rows("q", np.ldexp(X, exponent), (None, size), dtype)
    assert scaled.tolist() == unit.tolist()


def test_values_of_very_different_size_in_a_row():
    rows = [[1e300, 1e-300], [5e-324, 0], [1e308, 1e308], [0, -1e-310]]
    assert unit_rows("q", rows, (None, 2), np.dtype("float64")).tolist() == [
        [1, 0],
        [1, 0],
        [pytest.approx(math.sqrt(0.5))] * 2,
        [0, -1],
    ]
    assert unit_rows("q", np.empty((0, 2)), (None, 2), np.dtype("float32")).shape == (0, 2)


@pytest.mark.parametrize("bad", [[[0, 0]], [[1, 2], [0, 0.0]], [[1, np.inf]], [[1]], [1, 2]])
def test_rows_without_a_direction_are_refused(bad):
    with pytest.raises(ValueError, match=r"^q: received .*; allowed: "):
        unit_rows("q", bad, (None, 2), np.dtype("float32"))


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=st.integers(0, 999), size=st.sampled_from([1, 2, 5, 64]))
def test_the_average_is_a_unit_vector_half_way(dtype, seed, size):
    rng = np.random.default_rng(seed)
    Q, K = (unit_rows("q", rng.normal(size=(4, size)), (4, size), dtype) for _ in range(2))
    Q[1] = K[1]
    Q[2] = -K[2]
    mean = averaged(Q, K)
    eps = np.finfo(dtype).eps
    assert mean.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(mean.astype(float), axis=1), 1, rtol=4 * eps)
    np.testing.assert_allclose(mean[1], Q[1], rtol=8 * eps)
    assert mean[2].tolist() == Q[2].tolist()
    for q, k, m in zip(Q, K, mean, strict=True):
        assert averaged(q[None], k[None])[0].tolist() == m.tolist()
        if math.dist(q, -k) > 1e-3:
            assert math.isclose(
                math.sumprod(m, q) if hasattr(math, "sumprod") else m @ q,
                float(m @ k),
                abs_tol=1e3 * eps,
            )


@given(seed=st.integers(0, 999), size=st.integers(1, 300), n=st.integers(1, 7))
def test_a_sum_of_products_depends_on_the_row_alone(seed, size, n):
    rng = np.random.default_rng(seed)
    for dtype in DTYPES:
        K, q = rng.normal(size=(n, size)).astype(dtype), rng.normal(size=size).astype(dtype)
        products = exact(K, q)
        assert products.dtype == np.float64
        assert products.tolist() == [exact(row, q) for row in K]
        assert products.tolist() == exact(K[None], q[None, None])[0].tolist()
        bound = size * 2.0**-52 * np.abs(K.astype(float) * q).sum(axis=1)
        for row, product, most in zip(K, products, bound, strict=True):
            terms = zip(row.tolist(), q.tolist(), strict=True)
            assert abs(product - math.fsum(k * x for k, x in terms)) <= most + 1e-300


@given(
    seed=st.integers(0, 999),
    n=st.integers(1, 30),
    size=st.sampled_from([1, 2, 9, 40]),
    k=st.integers(1, 30),
    kind=st.sampled_from(["grid", "copies", "normal"]),
)
def test_the_largest_are_those_of_a_sort(seed, n, size, k, kind):
    rng, k = np.random.default_rng(seed), min(k, n)
    for dtype in DTYPES:
        X = rng.normal(size=(n + 5, size))
        if kind == "grid":
            X = np.sign(X) * rng.integers(1, 3, size=X.shape)
        elif kind == "copies":
            X = X[rng.integers(3, size=n + 5)] + 1e-7 * X
        X = unit_rows("q", X, X.shape, dtype)
        K, Q = X[:n], X[n:]
        slots, products = largest(Q, K, k, tolerance(dtype, size))
        for i, q in enumerate(Q):
            all_of_them = (K.astype(np.float64) * q).sum(axis=1)
            order = sorted(range(n), key=lambda slot: (-all_of_them[slot], slot))[:k]
            assert slots[i].tolist() == order
            assert products[i].tolist() == all_of_them[order].tolist()


@given(seed=st.integers(0, 999), shape=st.tuples(st.integers(1, 5), st.integers(1, 9)))
def test_two_largest(seed, shape):
    S = np.random.default_rng(seed).integers(6, size=shape).astype(np.float32)
    before = S.copy()
    best, second = two_largest(S)
    assert S.tolist() == before.tolist()
    for row, slot, value in zip(S.tolist(), best, second, strict=True):
        assert slot == row.index(max(row))
        assert value == max([-np.inf, *row[:slot], *row[slot + 1 :]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 8, 128])
def test_the_tolerance_covers_the_error_of_similarities_that_are_kept_up_to_date(dtype, size):
    """Averages in a row, each as long as a sum can be short: x·K' = (x·K + x·q) / √(2 + 2s)."""
    worst, rng = 0, np.random.default_rng(0)
    for angle in (0.01, 0.3, 0.7, 1.0):
        for _ in range(20):
            axis, *aside = rng.normal(size=(41, size))
            axis = axis / np.linalg.norm(axis)
            aside = np.array([a - (a @ axis) * axis for a in aside])
            aside /= np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-300)
            rows = np.cos(angle) * axis + np.sin(angle) * aside
            Q = unit_rows("q", rows, rows.shape, dtype)
            K, G = Q[:1], Q @ Q.T
            kept = G[0].copy()
            for i in range(1, len(Q)):
                s = kept.item(i)
                if s <= 0.5:
                    break
                kept = (kept + G[i]) * dtype.type((2 + 2 * s) ** -0.5)
                K = averaged(Q[i : i + 1], K)
                worst = max(worst, np.abs(kept - exact(K, Q)).max())
    assert 2 * worst < tolerance(dtype, size) / 4
    assert tolerance(dtype, size) == 8 * (size + 8) * np.finfo(dtype).eps
