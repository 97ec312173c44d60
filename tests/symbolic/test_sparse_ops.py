"""The products against dense ones: values, gradients, formats, memory layouts, bad input.

Each is tried under the default linker and under the one that calls ``perform``.
"""

import functools

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from rarebook.backend import T, sparse, theano
from rarebook.numeric import sparse_ops as numeric
from rarebook.symbolic.sparse_ops import SampledDot, row_sparse_step, sparse_dot

RTOL = {"float32": 1e-4, "float64": 1e-11}
MODES = {"default": None, "perform": theano.compile.Mode(linker="py", optimizer="fast_run")}


def close(value, expected, dtype):
    np.testing.assert_allclose(value, expected, rtol=RTOL[dtype], atol=RTOL[dtype])


@functools.cache
def functions(format, dtype, mode="default"):
    """The product, its two gradients for the sum of G · product, and a step in W."""
    X = getattr(sparse, f"{format}_matrix")("X", dtype=dtype)
    D, G = T.matrix("D", dtype=dtype), T.matrix("G", dtype=dtype)
    product = sparse_dot(X, D)
    W, rate = theano.shared(np.zeros((0, 0), dtype)), T.dscalar("rate")
    return (
        theano.function([X, D], product, mode=MODES[mode]),
        theano.function([X, D, G], T.grad(T.sum(G * product), [X, D]), mode=MODES[mode]),
        theano.function(
            [X, G, rate],
            [],
            updates=[(W, row_sparse_step(W, X, G, rate))],
            mode=MODES[mode],
        ),
        W,
    )


@st.composite
def matrices(draw):
    """A CSR or CSC matrix as SciPy lets one be: repeated, unsorted, empty, read-only."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    format = draw(st.sampled_from(["csr", "csc"]))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    shape = draw(st.integers(0, 6)), draw(st.integers(1, 7))
    n_major, n_minor = shape if format == "csr" else shape[::-1]
    most = draw(st.sampled_from([0, 3, 9])) if n_minor else 0
    counts = rng.integers(0, most + 1, size=n_major)  # up to 9 of 7 columns: some stand twice
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    indices = rng.integers(0, max(n_minor, 1), size=indptr[-1]).astype(np.int32)
    data = rng.normal(size=indptr[-1]).astype(dtype)
    X = getattr(scipy.sparse, f"{format}_matrix")(shape, dtype=dtype)
    X.data, X.indices, X.indptr = data, indices, indptr
    # Each kind of array is compiled for anew, so not every kind with every other.
    kinds = {("csr", "float64"): "strided", ("csc", "float64"): "read-only"}
    how = draw(st.sampled_from(["plain", kinds.get((format, dtype), "plain")]))
    for name, part in [("data", data), ("indices", indices), ("indptr", indptr)]:
        if how == "read-only":
            part.flags.writeable = False
        if how == "strided":
            wide = np.zeros(2 * len(part), part.dtype)
            wide[::2] = part
            setattr(X, name, wide[::2])
    return X, how, rng


def layouts(rng, shape, dtype):
    """The same numbers in C and Fortran order, as a strided view and read-only."""
    plain = rng.normal(size=shape).astype(dtype)
    strided = np.zeros((shape[0], 2 * shape[1]), dtype)[:, ::2]
    strided[:] = plain
    frozen = plain.copy()
    frozen.flags.writeable = False
    return [plain, np.asfortranarray(plain), strided, frozen]


@given(drawn=matrices(), M=st.integers(0, 5), mode=st.sampled_from(list(MODES)))
def test_values_gradients_and_steps_are_those_of_the_dense_product(drawn, M, mode):
    X, how, rng = drawn
    dtype, dense = str(X.dtype), X.toarray()
    (B, N), before = X.shape, X.copy()
    product, gradients, step, W = functions(X.format, dtype, mode)
    G = rng.normal(size=(B, M)).astype(dtype)
    n_layouts = 4 if (how, dtype, mode) == ("plain", "float64", "default") else 1
    for D in layouts(rng, (N, M), dtype)[:n_layouts]:
        value = product(X, D)
        assert value.dtype == dtype and value.shape == (B, M)
        close(value, dense @ D, dtype)
    for of in layouts(rng, (B, M), dtype)[:n_layouts]:
        for_X, for_D = gradients(X, D, of)
        close(for_D, dense.T @ of, dtype)
        majors = np.repeat(np.arange(len(X.indptr) - 1), np.diff(X.indptr))
        places = (majors, X.indices) if X.format == "csr" else (X.indices, majors)
        assert for_X.format == X.format and for_X.shape == X.shape
        close(for_X.data, (of @ D.T)[places], dtype)
    start = rng.normal(size=(N, M)).astype(dtype)
    W.set_value(start)
    step(X, G, 0.5)
    close(W.get_value(), start - 0.5 * dense.T @ G, dtype)
    np.testing.assert_array_equal(X.data, before.data)
    np.testing.assert_array_equal(X.indices, before.indices)
    twin = numeric.row_sparse_step(start.copy(), X, G, 0.5)
    close(twin, W.get_value(), dtype)
    close(numeric.sparse_dot(X, D), value, dtype)


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_gradients_agree_with_finite_differences(rng, format):
    X = scipy.sparse.random(4, 6, 0.5, format=format, random_state=0)
    D, G = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    product, gradients, *_ = functions(format, "float64")
    for_X, for_D = gradients(X, D, G)

    def slope(array, position):
        kept, ends = array[position], []
        for change in (1e-6, -1e-6):
            array[position] = kept + change
            ends.append(np.sum(G * product(X, D)))
        array[position] = kept
        return (ends[0] - ends[1]) / 2e-6

    for position in np.ndindex(D.shape):
        assert abs(slope(D, position) - for_D[position]) < 1e-6
    for entry in range(X.nnz):
        assert abs(slope(X.data, entry) - for_X.data[entry]) < 1e-6


@pytest.mark.parametrize("format", ["csr", "csc"])
@pytest.mark.parametrize("mode", list(MODES))
def test_bad_indices_are_refused_and_nothing_is_changed(rng, format, mode):
    product, gradients, step, W = functions(format, "float64", mode)
    D, G = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    for index in (6 if format == "csr" else 4, -1, 2**30):
        X = scipy.sparse.random(4, 6, 0.5, format=format, random_state=0)
        X.indices[3] = index
        W.set_value(D)
        for call in (
            lambda X=X: product(X, D),
            lambda X=X: gradients(X, D, G),
            lambda X=X: step(X, G, 0.1),
        ):
            with pytest.raises(ValueError, match=r"X\.indices: received ids"):
                call()
        np.testing.assert_array_equal(W.get_value(), D)


@pytest.mark.parametrize("mode", list(MODES))
def test_shapes_that_do_not_fit_are_refused(rng, mode):
    product, _, step, W = functions("csr", "float64", mode)
    X = scipy.sparse.random(4, 6, 0.5, format="csr", random_state=0)
    with pytest.raises(ValueError):
        product(X, rng.normal(size=(5, 3)))
    for shape, of in [((6, 3), (4, 2)), ((6, 3), (5, 3)), ((5, 3), (4, 3))]:
        W.set_value(np.ones(shape))
        with pytest.raises(ValueError):
            step(X, rng.normal(size=of), 0.1)
        assert (W.get_value() == 1).all()


def test_operands_are_checked_when_the_expression_is_built():
    X, D = sparse.csr_matrix("X", dtype="float64"), T.dmatrix("D")
    with pytest.raises(ValueError, match=r"^X: received .*; allowed: a sparse variable"):
        sparse_dot(D, D)
    with pytest.raises(ValueError, match=r"^D: received 1 dimensions"):
        sparse_dot(X, T.dvector("d"))
    with pytest.raises(ValueError, match=r"^X: received"):
        row_sparse_step(D, D, D, 0.1)


@pytest.mark.parametrize("kind", ["int8", "int64", "float32"])
def test_types_are_brought_together(rng, kind):
    X, D = sparse.csr_matrix("X", dtype=kind), T.dmatrix("D")
    product = sparse_dot(X, D)
    assert product.dtype == "float64"
    rows, value = scipy.sparse.csr_matrix(np.eye(3, 5, dtype=kind)), rng.normal(size=(5, 2))
    np.testing.assert_allclose(theano.function([X, D], product)(rows, value), value[:3])


def test_a_step_changes_the_weights_where_they_are_and_only_touched_rows(rng):
    """In place where nothing else needs W; a graph that does need it gets the old values."""
    X, G = sparse.csr_matrix("X", dtype="float64"), T.dmatrix("G")
    W = theano.shared(rng.normal(size=(6, 3)))
    new = row_sparse_step(W, X, G, 0.1)
    step = theano.function([X, G], sparse_dot(X, W), updates=[(W, new)])
    array, before = W.get_value(borrow=True), W.get_value()
    rows, of = (
        scipy.sparse.csr_matrix(([1.0, 2.0], [4, 1], [0, 1, 2]), shape=(2, 6)),
        np.ones((2, 3)),
    )
    np.testing.assert_allclose(step(rows, of), rows @ before)
    assert W.get_value(borrow=True) is array or np.shares_memory(W.get_value(borrow=True), array)
    changed = (W.get_value() != before).any(axis=1)
    assert changed.tolist() == [False, True, False, False, True, False]
    kept = W.get_value()
    np.testing.assert_allclose(theano.function([X, G], new)(rows, of)[1], kept[1] - 0.2)
    np.testing.assert_array_equal(W.get_value(), kept)


def test_the_cost_of_a_step_does_not_grow_with_the_number_of_rows(rng):
    """No array as large as W is made: a step on 2 GB of weights would be felt."""
    compiled = functions("csr", "float32")[2]
    names = {type(node.op).__name__ for node in compiled.maker.fgraph.toposort()}
    assert "AddSparseDot" in names and names.isdisjoint({"SparseDot", "StructuredDot", "Alloc"})
    assert all(
        node.op.in_place
        for node in compiled.maker.fgraph.toposort()
        if type(node.op).__name__ == "AddSparseDot"
    )


def test_theanos_own_structured_dot_gives_the_same(rng):
    X, D = sparse.csr_matrix("X", dtype="float64"), T.dmatrix("D")
    both = theano.function([X, D], [sparse.structured_dot(X, D), sparse_dot(X, D)])
    rows = scipy.sparse.random(4, 6, 0.5, format="csr", random_state=0)
    theirs, ours = both(rows, rng.normal(size=(6, 3)))
    np.testing.assert_allclose(theirs, ours)


def test_shape_without_computing():
    X, D = sparse.csr_matrix("X", dtype="float64"), T.dmatrix("D")
    shape = theano.function([X, D], sparse_dot(X, D).shape)
    assert not any(type(node.op).__name__ == "SparseDot" for node in shape.maker.fgraph.toposort())
    assert list(shape(scipy.sparse.csr_matrix((2, 5)), np.ones((5, 3)))) == [2, 3]


def test_sampled_dot_without_entries():
    X, G, D = sparse.csr_matrix("X", dtype="float64"), T.dmatrix("G"), T.dmatrix("D")
    value = theano.function([X, G, D], SampledDot()(X, G, D))
    assert value(scipy.sparse.csr_matrix((2, 5)), np.ones((2, 3)), np.ones((5, 3))).shape == (0,)


@pytest.mark.parametrize("mode", list(MODES))
def test_weights_of_any_layout_take_a_step(rng, mode):
    _, _, step, W = functions("csr", "float64", mode)
    X = scipy.sparse.random(4, 6, 0.5, format="csr", random_state=0)
    for start in layouts(rng, (6, 3), "float64")[:3]:
        G, before = rng.normal(size=(4, 3)), start.copy()
        W.set_value(start, borrow=True)
        step(X, G, 0.5)
        np.testing.assert_allclose(W.get_value(), before - 0.5 * (X.T @ G))


@pytest.mark.parametrize("mode", list(MODES))
def test_weights_that_are_an_argument_are_not_changed(rng, mode):
    X, W, G = sparse.csr_matrix("X", dtype="float64"), T.dmatrix("W"), T.dmatrix("G")
    step = theano.function([X, W, G], row_sparse_step(W, X, G, 0.5), mode=MODES[mode])
    rows, of = scipy.sparse.random(4, 6, 0.5, format="csr", random_state=0), rng.normal(size=(4, 3))
    for start in layouts(rng, (6, 3), "float64"):
        before = start.copy()
        np.testing.assert_allclose(step(rows, start, of), before - 0.5 * (rows.T @ of))
        np.testing.assert_array_equal(start, before)
