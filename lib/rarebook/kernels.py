"""What Numba compiles: products with a sparse matrix S (n, K), given as its compressed arrays.

The loops come first, plain Python over arrays. A loop runs in parts, on all cores where there is
enough to do. Each row of the result belongs to one part, which goes through the entries in their
order, so the numbers do not depend on how many cores there are.

Numba compiles a loop as it stands, without comparing an index with the array that it points into.
So :func:`checked` looks at all indices before the loop.

``sparse_dot``, ``add_sparse_dot`` and ``sampled_dot`` return the compiled functions. They take
Numba's decorator as ``compile``, since PyTensor has one of its own. The Ops that call them are in
:mod:`rarebook.symbolic.sparse_ops`.
"""

import os

import numba
import numpy as np
from numba import prange

# Multiply-adds from which a second core helps; one core is done with fewer before another is awake.
WORTH_THREADS = 1 << 19

# How long a thread of GNU's OpenMP spins for more work before it sleeps. By default it spins for
# milliseconds, on the core that the next dense product wants; with less than this, each loop waits
# for cores to wake up. benchmarks/sparse_tuning.py measures it.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

# numba.get_num_threads, under the name that it has in compiled code: a function that calls the
# other one is not cached on disk. Asking once starts the threads.
n_threads = numba.types.ExternalFunction("get_num_threads", numba.types.int32())
numba.get_num_threads()

# These threads do not survive a fork, and a parallel loop would end the child. It runs the loops on
# one core.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: numba.set_num_threads(1))


def rows_loop(n_parts, indptr, indices, data, alpha, beta, D, out):
    """Set ``out`` (n, M) to alpha S D + beta out, beta 0 or 1, S in compressed rows, D (K, M)."""
    for part in prange(n_parts):
        for row in range(part, out.shape[0], n_parts):
            target, entry, stop = out[row], indptr[row], indptr[row + 1]
            if beta == 0:
                for j in range(len(target)):
                    target[j] = 0
            # Four entries at a time, so that the target is read and written a quarter as often.
            while entry + 4 <= stop:
                a, b = D[indices[entry]], D[indices[entry + 1]]
                c, d = D[indices[entry + 2]], D[indices[entry + 3]]
                of_a, of_b = alpha * data[entry], alpha * data[entry + 1]
                of_c, of_d = alpha * data[entry + 2], alpha * data[entry + 3]
                for j in range(len(target)):
                    target[j] += of_a * a[j] + of_b * b[j] + of_c * c[j] + of_d * d[j]
                entry += 4
            while entry < stop:
                a, of_a = D[indices[entry]], alpha * data[entry]
                for j in range(len(target)):
                    target[j] += of_a * a[j]
                entry += 1


def columns_loop(n_parts, indptr, indices, data, alpha, beta, D, out):
    """Set ``out`` (n, M) to alpha S D + beta out, beta 0 or 1, S in compressed columns."""
    n, nnz = out.shape[0], indptr[-1]
    # A part has the rows from one bound to the next, which hold about as many entries as any other.
    bounds = np.zeros(n_parts + 1, np.int64)
    bounds[n_parts] = n
    if n_parts > 1:
        width = n // 1024 + 1
        counts = np.zeros(1024, np.int64)
        for entry in range(nnz):
            counts[indices[entry] // width] += 1
        part, seen = 1, 0
        for bucket in range(1024):
            seen += counts[bucket]
            while part < n_parts and seen * n_parts >= part * nnz:
                bounds[part] = min((bucket + 1) * width, n)
                part += 1
    for part in prange(n_parts):
        first, last = bounds[part], bounds[part + 1]
        if beta == 0:
            for row in range(first, last):
                for j in range(out.shape[1]):
                    out[row, j] = 0
        for column in range(len(indptr) - 1):
            a = D[column]
            for entry in range(indptr[column], indptr[column + 1]):
                row = indices[entry]
                if first <= row < last:
                    target, of_a = out[row], alpha * data[entry]
                    for j in range(len(target)):
                        target[j] += of_a * a[j]


def sampled_loop(n_parts, indptr, indices, data, A, D, out):
    """Add A Dᵀ at the entries of S, in compressed rows, to ``out`` (nnz,); A (n, M), D (K, M)."""
    for part in prange(n_parts):
        for row in range(part, len(indptr) - 1, n_parts):
            a = A[row]
            for entry in range(indptr[row], indptr[row + 1]):
                d, total = D[indices[entry]], out[entry]
                for j in range(len(a)):
                    total += a[j] * d[j]
                out[entry] = total


def check(n_major, n_minor, indptr, indices, data):
    """Raise ValueError unless every offset and every index lies inside its array."""
    sound = len(indptr) == n_major + 1 and indptr[0] == 0
    sound = sound and indptr[-1] <= min(len(indices), len(data))
    for i in range(len(indptr) - 1):
        sound &= indptr[i] <= indptr[i + 1]
    if not sound:
        raise ValueError("X.indptr: received offsets that do not fit; allowed: 0 rising to nnz")
    for entry in range(indptr[-1]):
        sound &= (indices[entry] >= 0) & (indices[entry] < n_minor)
    if not sound:
        raise ValueError("X.indices: received ids outside; allowed: at least 0, below X's size")


def checked(loop, format, compile):
    """``loop`` behind :func:`check`, on as many cores as pay.

    The result takes S's rows, columns and arrays, then the loop's own arguments. A loop over
    compressed rows serves for columns with rows and columns exchanged.
    """
    look, one_core, all_cores = compile(check), compile(loop), compile(loop, parallel=True)
    by_rows = format == "csr"

    def run(n_rows, n_columns, indptr, indices, data, *arguments):
        if by_rows:
            look(n_rows, n_columns, indptr, indices, data)
        else:
            look(n_columns, n_rows, indptr, indices, data)
        if indptr[-1] * arguments[-2].shape[1] < WORTH_THREADS or n_threads() == 1:
            one_core(1, indptr, indices, data, *arguments)
        else:
            all_cores(n_threads(), indptr, indices, data, *arguments)

    return compile(run)


def sparse_dot(format, compile):
    """Compile (n, K, indptr, indices, data, D) → S D, a new array (n, M) of D's type."""
    loop = checked(rows_loop if format == "csr" else columns_loop, format, compile)

    def dot(n_rows, n_columns, indptr, indices, data, D):
        if n_columns != D.shape[0]:
            raise ValueError("sparse_dot: X has not as many columns as D has rows")
        out = np.empty((n_rows, D.shape[1]), D.dtype)
        one, D = np.ones(1, D.dtype)[0], np.ascontiguousarray(D)
        loop(n_rows, n_columns, indptr, indices, data, one, 0, D, out)
        return out

    return compile(dot)


def add_sparse_dot(format, in_place, compile):
    """Compile (n, K, indptr, indices, data, D, W, alpha) → W + alpha S D, in W itself or not."""
    loop = checked(rows_loop if format == "csr" else columns_loop, format, compile)

    def add(n_rows, n_columns, indptr, indices, data, D, W, alpha):
        if n_rows != W.shape[0] or n_columns != D.shape[0] or W.shape[1] != D.shape[1]:
            raise ValueError("row_sparse_step: the shapes of W, X and G do not fit")
        out = W if in_place else W.copy()
        factor, D = alpha.item(), np.ascontiguousarray(D)
        loop(n_rows, n_columns, indptr, indices, data, factor, 1, D, out)
        return out

    return compile(add)


def sampled_dot(format, compile):
    """Compile (n, K, indptr, indices, data, G, D) → G Dᵀ at S's entries, (nnz,) of D's type."""
    loop = checked(sampled_loop, format, compile)
    by_rows = format == "csr"

    def sample(n_rows, n_columns, indptr, indices, data, G, D):
        if n_rows != G.shape[0] or n_columns != D.shape[0] or G.shape[1] != D.shape[1]:
            raise ValueError("sampled_dot: the shapes of X, G and D do not fit")
        out = np.zeros(len(indices), D.dtype)
        A, B = np.ascontiguousarray(G), np.ascontiguousarray(D)
        if by_rows:
            loop(n_rows, n_columns, indptr, indices, data, A, B, out)
        else:
            loop(n_rows, n_columns, indptr, indices, data, B, A, out)
        return out

    return compile(sample)
