"""What Numba compiles: 3×3 convolution and 2×2 pooling of images (B, H, W, C), channels last.

A convolution is a product of matrices: the 3×3 neighbourhood of each pixel, 9 C numbers, is copied
into a row, and all rows are multiplied by the weights (9 C, F). Some images are done at a time, so
that their rows stay in the cache. The products are BLAS's.

As in :mod:`rarebook.kernels`, the functions at the end return the loops compiled by the decorator
that they are given. The Ops that call them are in :mod:`rarebook.symbolic.convolution`.
"""

import numpy as np
from numba import prange
from numba.extending import register_jitable

from rarebook.kernels import n_threads

ROWS = 784  # neighbourhoods that are multiplied at once, if the images are not larger
WIDE = 8  # channels from which it pays to slice before copying
WORTH_THREADS = 1 << 22  # products from which a second core helps


@register_jitable
def unfold(X, first, n, rows):
    """Copy the neighbourhoods of all pixels of the images first … first + n - 1 into rows.

    X is the images' numbers in one line; ``rows`` (n, H, W, 3, 3·C). Outside an image there are
    zeros.
    """
    H, W, C = rows.shape[1], rows.shape[2], rows.shape[4] // 3
    for b in range(n):
        for i in range(H):
            for di in range(3):
                y = i + di - 1
                inside = 0 <= y < H
                line = ((first + b) * H + y) * W * C
                for j in range(W):
                    row, start = rows[b, i, j, di], line + (j - 1) * C
                    left, right = C if j == 0 else 0, 2 * C if j == W - 1 else 3 * C
                    if not inside:
                        left = right = 3 * C
                    for k in range(left):
                        row[k] = 0
                    for k in range(right, 3 * C):
                        row[k] = 0
                    if C < WIDE:
                        for k in range(left, right):
                            row[k] = X[start + k]
                    elif inside:
                        # From 0 on, Numba need not ask whether an index is negative, and the
                        # processor copies several numbers at a time.
                        target, source = row[left:right], X[start + left : start + right]
                        for k in range(len(target)):
                            target[k] = source[k]


def convolve_loop(n_parts, X, W, out):
    """Set out (B, H, W, F) to the convolution of X (B, H, W, C) with W (9·C, F)."""
    B, H, L, C = X.shape
    F = W.shape[1]
    n = max(1, ROWS // max(H * L, 1))
    line, flat = X.reshape(X.size), out.reshape(B * H * L, F)
    for part in prange(n_parts):
        rows = np.empty((n, H, L, 3, 3 * C), X.dtype)
        stop = (part + 1) * B // n_parts
        for first in range(part * B // n_parts, stop, n):
            m = min(n, stop - first)
            unfold(line, first, m, rows)
            np.dot(
                rows.reshape(n * H * L, 9 * C)[: m * H * L],
                W,
                flat[first * H * L : (first + m) * H * L],
            )


def weights_loop(n_parts, X, G, out):
    """Set out[part] (9·C, F) to the part's sum of neighbourhoodᵀ G over all pixels."""
    B, H, L, C = X.shape
    F = G.shape[3]
    n = max(1, ROWS // max(H * L, 1))
    line, flat = X.reshape(X.size), G.reshape(B * H * L, F)
    for part in prange(n_parts):
        rows, product = np.empty((n, H, L, 3, 3 * C), X.dtype), np.empty((9 * C, F), X.dtype)
        stop = (part + 1) * B // n_parts
        for first in range(part * B // n_parts, stop, n):
            m = min(n, stop - first)
            unfold(line, first, m, rows)
            np.dot(
                rows.reshape(n * H * L, 9 * C)[: m * H * L].T,
                flat[first * H * L : (first + m) * H * L],
                product,
            )
            out[part] += product


def pool_loop(n_parts, X, out):
    """Set out (B, H // 2, W // 2, C) to the largest of each 2×2 block of X."""
    B, H, L, C = out.shape
    for part in prange(n_parts):
        for b in range(part * B // n_parts, (part + 1) * B // n_parts):
            for i in range(H):
                for j in range(L):
                    a, c = X[b, 2 * i, 2 * j], X[b, 2 * i, 2 * j + 1]
                    d, e = X[b, 2 * i + 1, 2 * j], X[b, 2 * i + 1, 2 * j + 1]
                    best = out[b, i, j]
                    for k in range(C):
                        best[k] = max(max(a[k], c[k]), max(d[k], e[k]))


def pool_gradient_loop(n_parts, X, best, G, out):
    """Set out, zeros of X's shape, to G at the first place of each block that holds the best."""
    B, H, L, C = G.shape
    for part in prange(n_parts):
        for b in range(part * B // n_parts, (part + 1) * B // n_parts):
            for i in range(H):
                for j in range(L):
                    g, top = G[b, i, j], best[b, i, j]
                    for k in range(C):
                        free = g[k]
                        for at in range(4):
                            y, x = 2 * i + at // 2, 2 * j + at % 2
                            is_it = X[b, y, x, k] == top[k]
                            out[b, y, x, k] = free if is_it else 0
                            free = 0 if is_it else free


def check_weights(X, W):
    """Raise ValueError unless W (3, 3, C, F) fits images X (B, H, W, C)."""
    if W.shape[0] != 3 or W.shape[1] != 3 or W.shape[2] != X.shape[3]:
        raise ValueError("W: received a shape that does not fit; allowed: (3, 3, channels, n)")


def check_same(X, G, halved):
    """Raise ValueError unless G has as many images and pixels as X; halved: as pooling leaves."""
    H, L = (X.shape[1] // 2, X.shape[2] // 2) if halved else (X.shape[1], X.shape[2])
    if G.shape[0] != X.shape[0] or G.shape[1] != H or G.shape[2] != L:
        raise ValueError("G: received a shape that does not fit; allowed: that of the output")


def convolve(compile):
    """Compile (X, W) → the convolution (B, H, W, F); W (3, 3, C, F)."""
    look = compile(check_weights)
    one_core, all_cores = compile(convolve_loop), compile(convolve_loop, parallel=True)

    def run(X, W):
        look(X, W)
        C, F = W.shape[2], W.shape[3]
        X, W = np.ascontiguousarray(X), np.ascontiguousarray(W).reshape(9 * C, F)
        out = np.empty((*X.shape[:3], F), X.dtype)
        if X.size * 9 * F < WORTH_THREADS or n_threads() == 1:
            one_core(1, X, W, out)
        else:
            all_cores(n_threads(), X, W, out)
        return out

    return compile(run)


def convolve_weights(compile):
    """Compile (X, G) → the gradient for the weights (3, 3, C, F); G (B, H, W, F)."""
    look = compile(check_same)
    one_core, all_cores = compile(weights_loop), compile(weights_loop, parallel=True)

    def run(X, G):
        look(X, G, False)
        C, F = X.shape[3], G.shape[3]
        X, G = np.ascontiguousarray(X), np.ascontiguousarray(G)
        out = np.zeros((n_threads(), 9 * C, F), X.dtype)
        if X.size * 9 * F < WORTH_THREADS or n_threads() == 1:
            one_core(1, X, G, out)
        else:
            all_cores(n_threads(), X, G, out)
        return out.sum(axis=0).reshape(3, 3, C, F)

    return compile(run)


def pool(compile):
    """Compile X → the largest of each 2×2 block, (B, H // 2, W // 2, C)."""
    one_core, all_cores = compile(pool_loop), compile(pool_loop, parallel=True)

    def run(X):
        B, H, L, C = X.shape
        out = np.empty((B, H // 2, L // 2, C), X.dtype)
        if 16 * X.size < WORTH_THREADS or n_threads() == 1:
            one_core(1, X, out)
        else:
            all_cores(n_threads(), X, out)
        return out

    return compile(run)


def pool_gradient(compile):
    """Compile (X, pooled X, G) → the gradient for X."""
    look = compile(check_same)
    one_core, all_cores = compile(pool_gradient_loop), compile(pool_gradient_loop, parallel=True)

    def run(X, best, G):
        look(X, G, True)
        look(X, best, True)
        out = np.zeros_like(X)
        if 16 * X.size < WORTH_THREADS or n_threads() == 1:
            one_core(1, X, best, G, out)
        else:
            all_cores(n_threads(), X, best, G, out)
        return out

    return compile(run)
