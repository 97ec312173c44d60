"""What is let in: every function here returns its argument ready for use or raises ``ValueError``.

Compiled loops do not check the indices they follow, so nothing reaches them unchecked. Each message
names the argument, what was received and what is allowed. NumPy alone is imported; a SciPy matrix
is recognized by its methods, since whoever hands one in has imported SciPy already.
"""

import math
import operator
import warnings

import numpy as np

INT32_MAX = np.iinfo(np.int32).max
NEAR_ONE = 1e-4  # how far from 1 the sum of probabilities may be
UNSIGNED = {  # the type of integers that are read without a sign
    np.dtype(f"{order}{kind}{size}"): np.dtype(f"{order}u{size}")
    for order in "<>"
    for kind in "iu"
    for size in (1, 2, 4, 8)
}

LAYERS = {  # what a layer gives: such a layer in words
    "dense": "a layer with dense output, such as a Projection",
    "ids": "a BagInput",
    "images": "a layer that gives images, such as an ImageInput",
    "steps": "a GatedRecurrent layer",
}


def refuse(argument, received, allowed):
    """Raise the one kind of error that bad input gets."""
    raise ValueError(f"{argument}: received {received}; allowed: {allowed}")


def whole_number(argument, value, at_least):
    """``value`` as an int, at least ``at_least``."""
    allowed = f"a whole number, at least {at_least}"
    if isinstance(value, (bool, np.bool_)):
        refuse(argument, repr(value), allowed)
    try:
        number = operator.index(value)
    except TypeError:
        refuse(argument, repr(value), allowed)
    if number < at_least:
        refuse(argument, repr(value), allowed)
    return number


def real_number(argument, value, above=None, at_least=None, below=None):
    """``value`` as a finite float within the bounds that are given."""
    bounds = [
        f"{word} {bound:g}"
        for word, bound in [("above", above), ("at least", at_least), ("below", below)]
        if bound is not None
    ]
    allowed = ", ".join(["a finite number", *bounds])
    if isinstance(value, (bool, np.bool_, str, bytes)):
        refuse(argument, repr(value), allowed)
    try:
        number = float(value)
    except (TypeError, ValueError):
        refuse(argument, repr(value), allowed)
    if (
        not np.isfinite(number)
        or (above is not None and number <= above)
        or (at_least is not None and number < at_least)
        or (below is not None and number >= below)
    ):
        refuse(argument, repr(value), allowed)
    return number


def generator(argument, value):
    """``value`` if it is a ``numpy.random.Generator``: random numbers come from the caller."""
    if not isinstance(value, np.random.Generator):
        refuse(argument, repr(value), "a numpy.random.Generator, as numpy.random.default_rng(0)")
    return value


def float_dtype(argument, value):
    """``value`` as the NumPy dtype float32 or float64."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if value is None or dtype not in (np.float32, np.float64):
        refuse(argument, repr(value), "'float32' or 'float64'")
    return dtype


def is_sparse(X):
    """Whether ``X`` is a SciPy sparse matrix or array, of any format."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def _floats(argument, values, dtype):
    """Real ``values`` as an array of ``dtype``, all of them finite after the conversion."""
    if values.dtype.kind not in "buif":
        refuse(argument, f"values of dtype {values.dtype}", "real numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(dtype, copy=False)
        flat = values.ravel("K")
        # One pass: finite squares mean that no value is infinite or nan.
        finite = math.isfinite(np.dot(flat, flat)) or np.isfinite(flat).all()
    if not finite:
        refuse(argument, "nan or infinity", f"values that are finite as {dtype}")
    return values


def as_array(argument, values, allowed):
    """``values`` as an array, if all rows have one length."""
    if isinstance(values, np.ndarray):
        return values
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy 1 only warns of rows that differ in length
            return np.asarray(values)
    except (ValueError, Warning):
        refuse(argument, "rows of different lengths", allowed)


def array(argument, values, shape, dtype):
    """``values`` as a finite array of ``dtype`` whose shape is ``shape`` (None: any length)."""
    if is_sparse(values):
        refuse(argument, "a sparse matrix", f"a dense array of shape {shape_text(shape)}")
    if not isinstance(values, np.ndarray):
        values = as_array(argument, values, f"an array of shape {shape_text(shape)}")
    fits = values.ndim == len(shape) and all(
        want in (None, got) for got, want in zip(values.shape, shape, strict=True)
    )
    if not fits:
        refuse(argument, f"shape {values.shape}", f"an array of shape {shape_text(shape)}")
    return _floats(argument, values, dtype)


def images(argument, X, shape, dtype):
    """``X`` as a finite array (B, H, W, C) of ``dtype``; (B, H, W) will do for one channel."""
    if shape[2] == 1 and np.ndim(X) == 3:
        return array(argument, X, (None, *shape[:2]), dtype)[..., None]
    return array(argument, X, (None, *shape), dtype)


def pooled(shape):
    """The shape of images after 2×2 pooling, if they are large enough."""
    H, W, C = shape
    if min(H, W) < 2:
        refuse("prev", f"images of shape {shape}", "height and width of at least 2")
    return H // 2, W // 2, C


def shape_text(shape):
    """``(None, 3)`` as ``(n, 3)``."""
    inside = ", ".join("n" if length is None else str(length) for length in shape)
    return f"({inside},)" if len(shape) == 1 else f"({inside})"


def dense_rows(argument, X, size, dtype):
    """``X`` as a dense float array (n, ``size``).

    Integers and booleans are converted, since counts and flags are the usual input. A sparse matrix
    is refused: turning it into a dense one is the caller's decision, for it can fill the memory.
    """
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == size:
        return _floats(argument, X, dtype)
    if is_sparse(X) or isinstance(X, tuple):
        refuse(
            argument,
            "a sparse matrix",
            f"a dense array of shape (n, {size}) where the network starts with Input: "
            f"pass {argument}.toarray(), or start it with SparseInput",
        )
    return array(argument, X, (None, size), dtype)


def sparse_rows(argument, X, size, dtype, layout="csr"):
    """``X`` as a SciPy matrix (n, ``size``) in ``layout``, its 32-bit indices checked.

    Any sparse format, integer type and bool is converted. A dense array is refused. Nothing is
    copied where ``X`` already is what is asked for; ``X`` itself is never changed.

    PyTensor reads the indices as int32 whatever their type is, and follows them unchecked. SciPy
    builds matrices with int64 indices, and with indices outside the matrix, without complaint.
    """
    if not is_sparse(X):
        refuse(
            argument,
            f"{type(X).__name__}, which is not sparse",
            f"a SciPy sparse matrix of shape (n, {size}) where the network starts with "
            f"SparseInput: pass scipy.sparse.csr_matrix({argument}), or start it with Input",
        )
    if X.ndim != 2 or X.shape[1] != size:
        refuse(argument, f"a sparse matrix of shape {X.shape}", f"shape (n, {size})")
    if X.format == "coo":
        for name, size_of in [("row", X.shape[0]), ("col", X.shape[1])]:
            ids(f"{argument}.{name}", getattr(X, name), size_of)
    if X.format not in ("csr", "csc"):
        X = X.tocsr()
    if len(X.indptr) and 0 <= X.indptr[-1] < min(len(X.indices), len(X.data)):
        X = X.copy()
        X.prune()  # SciPy lets the arrays be longer than what the offsets point at
    n_major, n_minor = X.shape if X.format == "csr" else X.shape[::-1]
    compressed(argument, X.indptr, X.indices, X.data, n_minor, n_major)
    if max(*X.shape, X.nnz) > INT32_MAX:
        refuse(argument, f"{X.nnz} entries in {X.shape}", f"at most {INT32_MAX} in one matrix")
    X = X.asformat(layout)
    data = _floats(argument, X.data, dtype)
    if data is not X.data or X.indices.dtype != np.int32 or X.indptr.dtype != np.int32:
        X = type(X)((data, X.indices, X.indptr), shape=X.shape)
        X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return X


def sparse_or_arrays(argument, X, size, dtype):
    """``X`` as :func:`sparse_rows` gives it, or as checked arrays ``(indptr, indices, data)``."""
    if not isinstance(X, tuple):
        layout = "csc" if getattr(X, "format", None) == "csc" else "csr"
        return sparse_rows(argument, X, size, dtype, layout)
    if len(X) != 3:
        refuse(argument, f"a tuple of {len(X)}", "(indptr, indices, data)")
    indptr, indices, data = (np.asarray(part) for part in X)
    if indices.size == 0:  # an empty list has no integer type
        indices = indices.astype(np.int32)
    compressed(argument, indptr, indices, data, size)
    return indptr, indices, array(f"{argument}.data", data, (None,), dtype)


def compressed(argument, indptr, indices, data, size, n_rows=None):
    """Refuse compressed rows (or columns) that could lead a loop outside an array of ``size``."""
    for name, part in [("indptr", indptr), ("indices", indices)]:
        if part.ndim != 1 or part.dtype.kind not in "iu":
            refuse(
                f"{argument}.{name}",
                f"{part.dtype} of shape {part.shape}",
                "a vector of integers",
            )
    n_rows = len(indptr) - 1 if n_rows is None else n_rows
    nnz = len(indices)
    if (
        len(indptr) != n_rows + 1
        or n_rows < 0
        or indptr[0] != 0
        or indptr[-1] != nnz
        or (n_rows > 1 and (indptr[1:] < indptr[:-1]).any())
    ):
        refuse(
            f"{argument}.indptr",
            f"{len(indptr)} offsets from {indptr[:1]} to {indptr[-1:]}",
            f"{n_rows + 1} offsets that rise from 0 to {nnz}, the number of indices",
        )
    if data.shape != (nnz,):
        refuse(f"{argument}.data", f"shape {data.shape}", f"one value an index, ({nnz},)")
    if nnz:
        ids(f"{argument}.indices", indices, size)


def ids(argument, values, size):
    """Integer ``values`` if each is at least 0 and below ``size``."""
    # One pass: read without a sign, a number below 0 has its highest bit set.
    limit = min(size, 1 << (8 * values.itemsize - (values.dtype.kind == "i")))
    if values.size and values.view(UNSIGNED[values.dtype]).max() >= limit:
        received = f"ids from {values.min()} to {values.max()}"
        refuse(argument, received, f"0 to {size - 1}")
    return values


def id_array(argument, values, size, ndim=None):
    """Integer ids of any shape (or ``ndim`` dimensions), each at least 0 and below ``size``.

    ``size`` may be infinite, for ids of no table in particular.
    """
    values = as_array(argument, values, "integers; pad_sequences makes one shape")
    if values.size == 0 and values.dtype.kind == "f":  # an empty list has no integer type
        values = values.astype(np.int64)
    if values.dtype.kind not in "iu":
        refuse(argument, f"the type {values.dtype}", "integers")
    if ndim is not None and values.ndim != ndim:
        refuse(argument, f"shape {values.shape}", f"{ndim} dimensions")
    if size == np.inf and values.size and values.min() < 0:
        refuse(argument, f"the id {values.min()}", "ids of at least 0")
    return values if size == np.inf else ids(argument, values, size)


def bags(argument, X, size):
    """Padded ids (B, L) int64 of a table with ``size`` rows, from a matrix or a list of lists."""
    if is_sparse(X):
        refuse(argument, "a sparse matrix", "integers (B, L), as pad_sequences makes them")
    return id_array(argument, X, size, ndim=2).astype(np.int64, copy=False)


def offsets(argument, values, n):
    """Integer offsets (B + 1,) that rise from 0 to ``n``."""
    values = id_array(argument, values, np.inf, ndim=1)
    if not len(values) or values[0] != 0 or values[-1] != n or (np.diff(values) < 0).any():
        refuse(argument, f"{values[:1]} to {values[-1:]}", f"offsets that rise from 0 to {n}")
    return values


def bag_weights(weights, ids, mode, dtype):
    """The weights of bags, one an id, as ``dtype``; ones for None. Those of a mean are not < 0."""
    if weights is None:
        return np.ones(ids.shape, dtype)
    weights = array("weights", weights, ids.shape, np.dtype(dtype))
    if mode == "mean" and weights.size and weights.min() < 0:
        refuse("weights", f"{weights.min():g} for a mean", "weights of at least 0")
    return weights


def labels(argument, y, n_rows, n_classes):
    """``y`` as int64 labels (``n_rows``,), each in 0 … ``n_classes`` - 1."""
    y = np.asarray(y)
    if y.dtype.kind not in "iu" or y.shape != (n_rows,):
        refuse(
            argument,
            f"{y.dtype} of shape {y.shape}",
            f"integers of shape ({n_rows},), one label a row",
        )
    return ids(argument, y, n_classes).astype(np.int64, copy=False)


def class_counts(argument, values):
    """How many labels each level has, a tuple of ints, each at least 1."""
    many = isinstance(values, (tuple, list)) or (isinstance(values, np.ndarray) and values.ndim)
    if not many or not len(values):
        refuse(argument, repr(values), "a number of labels for each level, coarse to fine")
    return tuple(whole_number(f"{argument}[{i}]", value, 1) for i, value in enumerate(values))


def proportion(argument, value):
    """``value`` as a float, at least 0 and at most 1."""
    number = real_number(argument, value)
    if not 0 <= number <= 1:
        refuse(argument, repr(value), "a finite number, at least 0, at most 1")
    return number


def soft_labels(argument, y, n_rows, n_classes, dtype):
    """``y`` as an array (``n_rows``, ``n_classes``) of ``dtype`` whose rows are probabilities.

    None is below 0, and each row adds up to 1, within ``NEAR_ONE`` for what rounding does to many
    classes in float32.
    """
    y = array(argument, y, (n_rows, n_classes), dtype)
    if y.size and y.min() < 0:
        refuse(argument, f"the probability {y.min():g}", "rows of probabilities, none below 0")
    sums = y.sum(axis=1, dtype=np.float64)
    wrong = abs(sums - 1) > NEAR_ONE
    if wrong.any():
        refuse(argument, f"a row whose sum is {sums[wrong][0]:.5g}", "rows that add up to 1")
    return y


def class_weights(argument, values):
    """``values`` as a tuple of two or more floats above 0, none 1e30 times another."""
    weights = array(argument, values, (None,), np.dtype("float64"))
    if len(weights) < 2:
        refuse(argument, f"{len(weights)} weights", "two or more, one a class")
    low, high = weights.min(), weights.max()
    if low <= 0 or high / 1e30 > low:
        allowed = "numbers above 0, none of them 1e30 times another"
        refuse(argument, f"weights from {low:g} to {high:g}", allowed)
    return tuple(weights.tolist())


def level_labels(argument, Y, n_rows, n_classes):
    """``Y`` as int64 labels (``n_rows``, L), in column l at least 0 and below ``n_classes[l]``."""
    Y = as_array(argument, Y, "one label a row and level")
    shape = n_rows, len(n_classes)
    if Y.dtype.kind not in "iu" or Y.shape != shape:
        refuse(argument, f"{Y.dtype} of shape {Y.shape}", f"integers of shape {shape}")
    for level, n in enumerate(n_classes):
        ids(f"{argument}[:, {level}]", Y[:, level], n)
    return Y.astype(np.int64, copy=False)
