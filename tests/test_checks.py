import re

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from rarebook import checks
from support import sparse_matrix

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]


def message(argument, received, allowed):
    return f"^{re.escape(argument)}: received {re.escape(received)}; allowed: {re.escape(allowed)}"


@pytest.mark.parametrize("value", [0, -1, 1.0, "3", None, True, np.bool_(True), np.nan])
def test_whole_number_refuses(value):
    with pytest.raises(ValueError, match=message("n", repr(value), "a whole number, at least 1")):
        checks.whole_number("n", value, 1)


@pytest.mark.parametrize("value", [1, np.int8(7), np.uint64(9)])
def test_whole_number_lets_in(value):
    number = checks.whole_number("n", value, 1)
    assert type(number) is int and number == value


@pytest.mark.parametrize("value", [0, -1.5, 1, np.inf, np.nan, "0.5", b"1", None, True, 1j, [0.5]])
def test_real_number_refuses(value):
    allowed = "a finite number, above 0, below 1"
    with pytest.raises(ValueError, match=message("x", repr(value), allowed)):
        checks.real_number("x", value, above=0, below=1)


def test_real_number_lets_in():
    assert checks.real_number("x", np.float32(0.5), above=0, below=1) == 0.5
    assert checks.real_number("x", 0, at_least=0) == 0
    with pytest.raises(ValueError, match="at least 0"):
        checks.real_number("x", -1e-9, at_least=0)


@pytest.mark.parametrize("value", [0, None, np.random, np.random.RandomState(0)])
def test_generator_refuses(value):
    with pytest.raises(ValueError, match=message("rng", repr(value), "a numpy.random.Generator")):
        checks.generator("rng", value)


@pytest.mark.parametrize("value", ["float16", "int32", int, None, "nonsense", object])
def test_float_dtype_refuses(value):
    with pytest.raises(ValueError, match=message("dtype", repr(value), "'float32' or 'float64'")):
        checks.float_dtype("dtype", value)


@pytest.mark.parametrize(
    "X, received",
    [
        (np.zeros(3), "shape (3,)"),
        (np.zeros((2, 4)), "shape (2, 4)"),
        (np.zeros((1, 2, 3)), "shape (1, 2, 3)"),
        (np.full((2, 3), np.nan), "nan or infinity"),
        (np.array([[np.inf, -np.inf, 0]]), "nan or infinity"),
        (np.array([[1e300, 0, 0]]), "nan or infinity"),
        (np.zeros((2, 3), complex), "values of dtype complex128"),
        (np.array([["a", "b", "c"]]), "values of dtype <U1"),
        (np.array([[None, 1, 2]]), "values of dtype object"),
        (scipy.sparse.eye(3, format="csr"), "a sparse matrix"),
        ((np.array([0, 1]), np.array([0]), np.array([1.0])), "a sparse matrix"),
    ],
)
def test_dense_rows_refuses(X, received):
    with pytest.raises(ValueError, match=rf"^X: received {re.escape(received)}; allowed: "):
        checks.dense_rows("X", X, 3, np.dtype("float32"))


@pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged")  # NumPy before 1.24
def test_dense_rows_refuses_rows_of_different_lengths():
    with pytest.raises(ValueError, match=r"^X: received (rows of different lengths|shape \(2,\));"):
        checks.dense_rows("X", [[1, 2, 3], [1]], 3, np.dtype("float32"))


@pytest.mark.parametrize("dtype", [bool, "int8", "uint16", "int64", "float16", "float64"])
def test_dense_rows_converts_real_numbers(dtype):
    X = np.array([[1, 0, 1]], dtype)
    rows = checks.dense_rows("X", X, 3, np.dtype("float32"))
    assert rows.dtype == np.float32 and rows.tolist() == [[1, 0, 1]]


def test_dense_rows_is_not_fooled_by_a_sum_that_overflows():
    X = np.full((1, 3), 3e38, np.float32)
    assert checks.dense_rows("X", X, 3, X.dtype) is X


def broken(**parts):
    """A 2 × 3 CSR matrix with the given arrays put in behind SciPy's back."""
    X = scipy.sparse.csr_matrix(np.array([[1, 0, 2], [0, 3, 0]], "float32"))
    for name, values in parts.items():
        setattr(X, name, np.array(values))
    return X


@pytest.mark.parametrize(
    "X, argument, received",
    [
        (np.zeros((2, 3)), "X", "ndarray, which is not sparse"),
        ([[1, 2, 3]], "X", "list, which is not sparse"),
        (None, "X", "NoneType, which is not sparse"),
        (scipy.sparse.csr_matrix((2, 4)), "X", "a sparse matrix of shape (2, 4)"),
        (scipy.sparse.csr_matrix((2, 3), dtype=complex), "X", "values of dtype complex128"),
        (broken(data=[1.0, np.nan, 3.0]), "X", "nan or infinity"),
        (broken(data=[1e300, 2, 3]), "X", "nan or infinity"),
        (broken(indices=[0, 3, 1]), "X.indices", "ids from 0 to 3"),
        (broken(indices=[0, -1, 1]), "X.indices", "ids from -1 to 1"),
        (broken(indices=[0, 2**31, 1]), "X.indices", "ids from 0 to 2147483648"),
        (broken(indices=[0.0, 2.0, 1.0]), "X.indices", "float64 of shape (3,)"),
        (broken(indptr=[0, 2, 4]), "X.indptr", "3 offsets from [0] to [4]"),
        (broken(indptr=[0, 5, 3]), "X.indptr", "3 offsets from [0] to [3]"),
        (broken(indptr=[1, 2, 3]), "X.indptr", "3 offsets from [1] to [3]"),
        (broken(indptr=[0, 3]), "X.indptr", "2 offsets from [0] to [3]"),
        (broken(data=[1.0, 2.0]), "X.data", "shape (2,)"),
    ],
)
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_sparse_rows_refuses(X, argument, received, layout):
    expected = rf"^{re.escape(argument)}: received {re.escape(received)}; allowed: "
    with pytest.raises(ValueError, match=expected):
        checks.sparse_rows("X", X, 3, np.dtype("float32"), layout)


@given(
    seed=st.integers(0, 1000),
    n_rows=st.integers(0, 6),
    density=st.sampled_from([0, 0.2, 1]),
    format=st.sampled_from(FORMATS),
    kind=st.sampled_from(["matrix", "array"]),
    given_dtype=st.sampled_from(["bool", "int8", "int64", "uint8", "float32", "float64"]),
    dtype=st.sampled_from(["float32", "float64"]),
    layout=st.sampled_from(["csr", "csc"]),
    wide=st.booleans(),
)
def test_sparse_rows_keeps_every_value(
    seed, n_rows, density, format, kind, given_dtype, dtype, layout, wide
):
    rng = np.random.default_rng(seed)
    dense = (rng.integers(0, 5, size=(n_rows, 4)) * (rng.random((n_rows, 4)) < density)).astype(
        given_dtype
    )
    X = getattr(scipy.sparse, f"{format}_{kind}")(dense)
    if wide and format in ("csr", "csc"):
        X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    before, indices = X.copy(), getattr(X, "indices", None)
    rows = checks.sparse_rows("X", X, 4, np.dtype(dtype), layout)
    assert rows.format == layout and rows.dtype == dtype
    assert rows.indices.dtype == rows.indptr.dtype == np.int32
    np.testing.assert_array_equal(rows.toarray(), dense.astype(dtype))
    assert X.format == before.format and X.dtype == before.dtype
    np.testing.assert_array_equal(X.toarray(), before.toarray())
    if indices is not None:
        assert X.indices is indices


def test_sparse_rows_refuses_broken_matrices_of_other_formats():
    for name, index in [("row", 2), ("row", -1), ("col", 3), ("col", -1), ("col", 10**9)]:
        X = broken().tocoo()
        getattr(X, name)[0] = index
        with pytest.raises(ValueError, match=rf"^X\.{name}: received ids from"):
            checks.sparse_rows("X", X, 3, np.dtype("float32"))
    X = broken().tolil()
    X.rows[0][0] = 99
    with pytest.raises(ValueError, match=r"^X\.indices: received ids from .* to 99"):
        checks.sparse_rows("X", X, 3, np.dtype("float32"))


def test_sparse_rows_adds_what_stands_twice_and_drops_what_lies_past_the_end():
    X = scipy.sparse.csr_matrix((np.ones(4), [2, 0, 2, 1], [0, 3, 4]), shape=(2, 3))
    X.data, X.indices = np.append(X.data, 7), np.append(X.indices, 99).astype(np.int32)
    rows = checks.sparse_rows("X", X, 3, np.dtype("float64"))
    assert rows.toarray().tolist() == [[1, 0, 2], [0, 1, 0]] and len(rows.data) == 4


def test_sparse_rows_copies_nothing_that_is_ready(rng):
    X = sparse_matrix(rng, (5, 3))
    assert checks.sparse_rows("X", X, 3, X.dtype) is X


@pytest.mark.parametrize(
    "y, received",
    [
        ([0, 1], "int64 of shape (2,)"),
        ([0, 1, 3], "ids from 0 to 3"),
        ([0, -1, 2], "ids from -1 to 2"),
        ([0.0, 1.0, 2.0], "float64 of shape (3,)"),
        (["a", "b", "c"], "<U1 of shape (3,)"),
        ([[0], [1], [2]], "int64 of shape (3, 1)"),
        ([True, False, True], "bool of shape (3,)"),
        (np.array([0, 1, 2**63], np.uint64), "ids from 0 to 9223372036854775808"),
    ],
)
def test_labels_refuses(y, received):
    with pytest.raises(ValueError, match=rf"^y: received {re.escape(received)}; allowed: "):
        checks.labels("y", y, 3, 3)


def test_labels_lets_in_any_integer_type():
    for dtype in ("int8", "uint8", "int32", "uint64"):
        y = checks.labels("y", np.array([2, 0, 1], dtype), 3, 3)
        assert y.dtype == np.int64 and y.tolist() == [2, 0, 1]
    assert checks.labels("y", np.zeros(0, int), 0, 3).shape == (0,)


@pytest.mark.parametrize("value", [-1e-9, 1.001, np.nan, np.inf, "0.5", None, True, [0.5]])
def test_proportion_refuses(value):
    with pytest.raises(ValueError, match=message("x", repr(value), "a finite number")):
        checks.proportion("x", value)


def test_proportion_lets_in():
    for value in (0, 1, np.float32(0.5)):
        number = checks.proportion("x", value)
        assert type(number) is float and number == value


@pytest.mark.parametrize(
    "y, received",
    [
        ([[0.5, 0.5]], "shape (1, 2)"),
        ([[0.5, 0.5, 0]], "shape (1, 3)"),
        ([0.5, 0.5], "shape (2,)"),
        ([[0.5, 0.5], [1.1, -0.1]], "the probability -0.1"),
        ([[0.5, 0.5], [0.5, 0.6]], "a row whose sum is 1.1"),
        ([[0.5, 0.5], [0, 0]], "a row whose sum is 0"),
        ([[0.5, 0.5], [0.5, 0.4997]], "a row whose sum is 0.9997"),
        (np.array([[0.5, 0.5], [0.5, 0.75]], np.float32), "a row whose sum is 1.25"),
        ([[1, 1], [1, 0]], "a row whose sum is 2"),
        ([[0.5, 0.5], [np.nan, 0.5]], "nan or infinity"),
        ([["a", "b"], ["c", "d"]], "values of dtype <U1"),
        ([[0.5, 0.5], [1]], "rows of different lengths"),
        (scipy.sparse.csr_matrix(np.eye(2)), "a sparse matrix"),
    ],
)
@pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged")  # NumPy before 1.24
def test_soft_labels_refuses(y, received):
    with pytest.raises(ValueError, match=rf"^y: received {re.escape(received)}; allowed: "):
        checks.soft_labels("y", y, 2, 2, np.dtype("float64"))


@pytest.mark.parametrize("given", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_soft_labels_lets_in_what_rounding_does(rng, given, dtype):
    y = rng.dirichlet(np.ones(1000), size=50).astype(given)
    rows = checks.soft_labels("y", y, 50, 1000, np.dtype(dtype))
    assert rows.dtype == dtype and (rows == y.astype(dtype)).all()
    assert (rows is y) == (given == dtype)


def test_soft_labels_lets_in_integers_and_no_rows():
    y = checks.soft_labels("y", np.eye(3, dtype=int), 3, 3, np.dtype("float32"))
    assert y.dtype == np.float32 and (y == np.eye(3)).all()
    assert checks.soft_labels("y", np.zeros((0, 3)), 0, 3, y.dtype).shape == (0, 3)


def test_class_weights_lets_in():
    for values in ([1, 2], (1.0, 2.0), np.array([1, 2], np.uint8)):
        weights = checks.class_weights("w", values)
        assert weights == (1.0, 2.0) and type(weights[0]) is float


@pytest.mark.parametrize("values", [3, "35", None, [], (), np.zeros(0, int), np.array(3), {2: 3}])
def test_class_counts_refuses_what_is_no_list(values):
    with pytest.raises(ValueError, match=message("n", repr(values), "a number of labels for each")):
        checks.class_counts("n", values)


@pytest.mark.parametrize("value", [0, -1, 2.0, "2", True, None, [2]])
def test_class_counts_refuses_what_is_no_count(value):
    with pytest.raises(ValueError, match=message("n[1]", repr(value), "a whole number")):
        checks.class_counts("n", [1, value])


def test_class_counts_lets_in():
    for values in ([2, 1], (2, 1), np.array([2, 1], np.uint8)):
        counts = checks.class_counts("n", values)
        assert counts == (2, 1) and {type(count) for count in counts} == {int}


@pytest.mark.parametrize(
    "Y, argument, received",
    [
        ([[0, 1], [1, 2]], "Y", "int64 of shape (2, 2)"),
        ([[0], [1], [1]], "Y", "int64 of shape (3, 1)"),
        ([[0, 1, 0]] * 3, "Y", "int64 of shape (3, 3)"),
        ([0, 1, 1], "Y", "int64 of shape (3,)"),
        ([[0.0, 1], [1, 2], [1, 0]], "Y", "float64 of shape (3, 2)"),
        ([[0, 1], [1, 2], [1, np.nan]], "Y", "float64 of shape (3, 2)"),
        ([[True, False]] * 3, "Y", "bool of shape (3, 2)"),
        ([["a", "b"]] * 3, "Y", "<U1 of shape (3, 2)"),
        ([[0, 1], [1], [1, 0]], "Y", "rows of different lengths"),
        ([[0, 1], [2, 2], [1, 0]], "Y[:, 0]", "ids from 0 to 2"),
        ([[0, 1], [1, 3], [1, 0]], "Y[:, 1]", "ids from 0 to 3"),
        ([[0, 1], [1, 2], [1, -1]], "Y[:, 1]", "ids from -1 to 2"),
        (scipy.sparse.csr_matrix(np.ones((3, 2), int)), "Y", "object of shape ()"),
    ],
)
@pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged")  # NumPy before 1.24
def test_level_labels_refuses(Y, argument, received):
    with pytest.raises(ValueError, match=message(argument, received, "")):
        checks.level_labels("Y", Y, 3, (2, 3))


def test_level_labels_lets_in_any_integer_type():
    for dtype in ("int8", "uint64", "int64"):
        Y = checks.level_labels("Y", np.array([[1, 2], [0, 0]], dtype), 2, (2, 3))
        assert Y.dtype == np.int64 and Y.tolist() == [[1, 2], [0, 0]]
    assert checks.level_labels("Y", np.zeros((0, 2), int), 0, (2, 3)).shape == (0, 2)


@pytest.mark.parametrize("dtype", ["int8", "int64", ">i4", "uint8", ">u2"])
def test_ids_of_any_integers(dtype):
    fine = np.array([[0, 7], [99, 3]], dtype)
    for values in (fine, fine.T, fine[:, ::2], fine[:0]):
        for size in (100, 1000):
            assert checks.ids("x", values, size) is values
    with pytest.raises(ValueError, match=r"^x: received ids from 0 to 99; allowed: 0 to 98$"):
        checks.ids("x", fine, 99)
    if fine.dtype.kind == "i":
        for size in (5, 300, 2**40):
            with pytest.raises(ValueError, match=r"^x: received ids from -1 to 4; allowed: 0 to"):
                checks.ids("x", np.array([4, -1], dtype), size)
