"""The loops that are compiled: plain Python over arrays, as fast as C once Numba has seen them.

Each index is compared with the array that it points into before it is followed, which costs nothing
that can be measured beside the row of multiplications that it starts.
"""


def rows_dot(indptr, indices, data, W, product):
    """Add compressed sparse rows (B, N) times W (N, M) to ``product`` (B, M)."""
    for row in range(product.shape[0]):
        for entry in range(indptr[row], indptr[row + 1]):
            i, value = indices[entry], data[entry]
            if i < 0 or i >= W.shape[0]:
                raise IndexError("a sparse matrix has an index outside its columns")
            for j in range(product.shape[1]):
                product[row, j] += value * W[i, j]


def columns_dot(indptr, indices, data, W, product):
    """Add compressed sparse columns (B, N) times W (N, M) to ``product`` (B, M)."""
    for column in range(W.shape[0]):
        for entry in range(indptr[column], indptr[column + 1]):
            i, value = indices[entry], data[entry]
            if i < 0 or i >= product.shape[0]:
                raise IndexError("a sparse matrix has an index outside its rows")
            for j in range(product.shape[1]):
                product[i, j] += value * W[column, j]
