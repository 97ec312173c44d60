"""What Numba compiles: loops over the rows of a table W (N, dim) that a step touches.

As in :mod:`rarebook.kernels`, the loops come first, plain Python over arrays, and the functions at
the end return them compiled by the decorator that they are given. Numba does not compare an index
with the array that it points into, and a number that is not finite spreads. So everything that
comes from outside is looked at before anything is written.

An id equal to ``padding`` stands for nothing; -1 means that there is no such id. The Ops that call
these loops are in :mod:`rarebook.symbolic.rows` and :mod:`rarebook.symbolic.bags`.
"""

import numpy as np
from numba import prange
from numba.extending import register_jitable

from rarebook.kernels import WORTH_THREADS, n_threads
from rarebook.kernels import check as check_compressed

# Numbers from which a second core helps to fetch rows that lie anywhere in memory.
WORTH_FETCHING = 1 << 16

WEIGHTS = "weights: received one below 0, nan or infinity; allowed: finite, for a mean at least 0"


def check_ids(ids, n_rows):
    """Raise ValueError unless every id, of an array of any shape, lies in 0 … ``n_rows`` - 1."""
    low, high = np.int64(0), np.int64(-1)
    flat = np.ascontiguousarray(ids).reshape(-1)
    for i in range(len(flat)):
        low, high = min(low, np.int64(flat[i])), max(high, np.int64(flat[i]))
    if low < 0 or high >= n_rows:
        received = "ids: received ids from " + str(low) + " to " + str(high)
        raise ValueError(received + "; allowed: 0 to " + str(n_rows - 1))


def zeros_loop(n_parts, ids, W, out):
    """Set out[part] to the sum of 0 times each number of the part's rows: 0 if they are finite."""
    for part in prange(n_parts):
        total = W.dtype.type(0)
        for i in range(part * len(ids) // n_parts, (part + 1) * len(ids) // n_parts):
            row = W[ids[i]]
            for j in range(len(row)):
                total += row[j] * 0
        out[part] = total


def finite_rows(compile):
    """Compile (W, ids) → whether every number in the rows ``ids`` (n,) of W is finite."""
    one_core, all_cores = compile(zeros_loop), compile(zeros_loop, parallel=True)

    def run(W, ids):
        if not len(ids) or not W.shape[1]:
            return True
        out = np.zeros(n_threads(), W.dtype)
        if len(ids) * W.shape[1] < WORTH_FETCHING or n_threads() == 1:
            one_core(1, ids, W, out)
        else:
            all_cores(n_threads(), ids, W, out)
        return out.sum() == 0

    return compile(run)


def unique_ids(ids, padding):
    """The ids that occur, each once in the order of their first place, and the place of each id.

    ``ids`` (n,); the place of one that is ``padding`` is -1. Found with a hash table.
    """
    size = 8
    while size < 2 * len(ids):
        size *= 2
    table = np.full(size, -1, np.int64)
    rows, places, n_rows = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64), 0
    for i in range(len(ids)):
        if ids[i] == padding:
            places[i] = -1
            continue
        slot = (np.int64(ids[i]) * 0x9E3779B1 >> 7) & (size - 1)
        while table[slot] >= 0 and rows[table[slot]] != ids[i]:
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            rows[n_rows] = ids[i]
            table[slot] = n_rows
            n_rows += 1
        places[i] = table[slot]
    return rows[:n_rows].copy(), places


def lookup_loop(n_parts, ids, W, out):
    """Set out[i] to row ids[i] of W; ids (n,), out (n, dim)."""
    for part in prange(n_parts):
        for i in range(part * len(ids) // n_parts, (part + 1) * len(ids) // n_parts):
            source, target = W[ids[i]], out[i]
            for j in range(len(source)):
                target[j] = source[j]


def lookup(compile):
    """Compile (W, ids) → the rows of W that the ids (n,) name, (n, dim)."""
    look = compile(check_ids)
    one_core, all_cores = compile(lookup_loop), compile(lookup_loop, parallel=True)

    def run(W, ids):
        look(ids, len(W))
        out = np.empty((len(ids), W.shape[1]), W.dtype)
        if out.size < WORTH_FETCHING or n_threads() == 1:
            one_core(1, ids, W, out)
        else:
            all_cores(n_threads(), ids, W, out)
        return out

    return compile(run)


def pair_loop(n_parts, rows, losses):
    """Set losses (B,) to the loss over pairs, and the rows (B, k, dim) to its gradient."""
    for part in prange(n_parts):
        r, for_r = np.empty(rows.shape[2], rows.dtype), np.empty(rows.shape[2], rows.dtype)
        for i in range(part, len(rows), n_parts):
            total = 0.0
            for j in range(len(r)):
                r[j], for_r[j] = rows[i, 0, j], 0
            for k in range(1, rows.shape[1]):
                other, score = rows[i, k], rows.dtype.type(0)
                for j in range(len(r)):
                    score += r[j] * other[j]
                # A positive counts like a negative with the opposite score.
                against = -score if k == 1 else score
                small = np.exp(-abs(against))  # at most 1, so that nothing overflows
                total += np.log1p(small) + max(against, 0)
                error = (1 if against > 0 else small) / (1 + small)  # σ of it
                error = rows.dtype.type(-error if k == 1 else error)
                for j in range(len(r)):
                    for_r[j] += error * other[j]
                    other[j] = error * r[j]
            for j in range(len(r)):
                rows[i, 0, j] = for_r[j]
            losses[i] = total


def pair_loss(in_place, compile):
    """Compile rows (B, k, dim) → the loss over pairs, summed, and its gradient for the rows."""
    one_core, all_cores = compile(pair_loop), compile(pair_loop, parallel=True)

    def run(rows):
        if rows.shape[1] < 2:
            raise ValueError("rows: received less than two a sample; allowed: (B, k, dim), k > 1")
        G, losses = rows if in_place else rows.copy(), np.empty(len(rows), np.float64)
        if rows.size < WORTH_FETCHING or n_threads() == 1:
            one_core(1, G, losses)
        else:
            all_cores(n_threads(), G, losses)
        return np.asarray(losses.sum()).astype(rows.dtype), G

    return compile(run)


def add_rows_loop(n_parts, ids, padding, alpha, G, W):
    """Add alpha G[i] to row ids[i] of W for every i; ids (n,), G (n, dim).

    A row of W belongs to one part, by a hash of its id, so no two write the same one.
    """
    for part in prange(n_parts):
        for i in range(len(ids)):
            row = ids[i]
            if row != padding and ((row * 0x9E3779B1 >> 12) & 0xFFFF) * n_parts >> 16 == part:
                target, g = W[row], G[i]
                for j in range(len(g)):
                    target[j] += alpha * g[j]


def step_check(weight_decay, compile):
    """Compile (W, ids, G, n, rate) → ValueError unless a step may be taken with them.

    G has ``n`` rows; ``rate`` is a 0-dimensional array.
    """
    look, sound = compile(check_ids), finite_rows(compile)

    def check(W, ids, G, n, rate):
        if len(G) != n or G.shape[1] != W.shape[1]:
            raise ValueError(
                "G: received a shape that does not fit; allowed: that of the rows read"
            )
        look(ids, len(W))
        number = rate.item()
        if not (number > 0 and number - number == 0):
            raise ValueError("learning_rate: received 0, less, nan or infinity; allowed: above 0")
        if number * weight_decay >= 1:
            raise ValueError("learning_rate: received too much; allowed: below 1 / weight_decay")
        if not sound(W, ids):
            raise ValueError("W: received nan or infinity; allowed: finite numbers")
        if not sound(G, np.arange(len(G))):
            raise ValueError("G: received nan or infinity; allowed: finite gradients")

    return compile(check)


def add_rows(padding, in_place, compile):
    """Compile (W, ids, G, rate) → W less rate · G[i] in row ids[i], for every i."""
    check = step_check(0.0, compile)
    one_core, all_cores = compile(add_rows_loop), compile(add_rows_loop, parallel=True)

    def add(W, ids, G, rate):
        check(W, ids, G, len(ids), rate)
        out = W if in_place else W.copy()
        if G.size < WORTH_FETCHING or n_threads() == 1:
            one_core(1, ids, padding, -rate.item(), G, out)
        else:
            all_cores(n_threads(), ids, padding, -rate.item(), G, out)
        return out

    return compile(add)


def sum_rows(W, rows, places, owners, factors, G):
    """The sum of factors[i] · G[owners[i]] over all i with the same place, one row each."""
    sums = np.zeros((len(rows), W.shape[1]), W.dtype)
    for i in range(len(places)):
        if places[i] >= 0:
            target, g, factor = sums[places[i]], G[owners[i]], factors[i]
            for j in range(len(g)):
                target[j] += factor * g[j]
    return sums


def coalesce(padding, weight_decay, compile):
    """Compile (W, ids, G, rate) → the rows that ids name, each once, and the sum of G for each."""
    check, unique, add_up = (
        step_check(weight_decay, compile),
        compile(unique_ids),
        compile(sum_rows),
    )

    def run(W, ids, G, rate):
        check(W, ids, G, len(ids), rate)
        rows, places = unique(ids, padding)
        ones = np.ones(len(ids), W.dtype)
        return rows, add_up(W, rows, places, np.arange(len(ids)), ones, G)

    return compile(run)


def coalesce_product(format, weight_decay, compile):
    """Compile (B, N, indptr, indices, data, W, G, rate) → the columns that X has, and their XᵀG."""
    check, unique, add_up = (
        step_check(weight_decay, compile),
        compile(unique_ids),
        compile(sum_rows),
    )
    look, by_rows = compile(check_compressed), format == "csr"

    def run(n_rows, n_columns, indptr, indices, data, W, G, rate):
        if n_columns != len(W):
            raise ValueError(
                "X: received a width that does not fit; allowed: one column a row of W"
            )
        if by_rows:
            look(n_rows, n_columns, indptr, indices, data)
        else:
            look(n_columns, n_rows, indptr, indices, data)
        majors = np.empty(indptr[-1], indices.dtype)
        for i in range(len(indptr) - 1):
            for entry in range(indptr[i], indptr[i + 1]):
                majors[entry] = i
        minors = indices[: indptr[-1]]
        ids, owners = (minors, majors) if by_rows else (majors, minors)
        check(W, ids, G, n_rows, rate)
        rows, places = unique(ids, -1)
        return rows, add_up(W, rows, places, owners, data, G)

    return compile(run)


def columns(format, compile):
    """Compile (B, N, indptr, indices, data) → the column of each entry of X, (nnz,) int64."""
    look = compile(check_compressed)

    def of_rows(n_rows, n_columns, indptr, indices, data):
        look(n_rows, n_columns, indptr, indices, data)
        return indices[: indptr[-1]].astype(np.int64)

    def of_columns(n_rows, n_columns, indptr, indices, data):
        look(n_columns, n_rows, indptr, indices, data)
        return np.repeat(np.arange(n_columns), np.diff(indptr))

    return compile(of_rows if format == "csr" else of_columns)


def set_rows(in_place, compile):
    """Compile (W, rows, values) → W with these rows, in W itself or not; the ids are checked."""

    def put(W, rows, values):
        out = W if in_place else W.copy()
        for i in range(len(rows)):
            out[rows[i]] = values[i]
        return out

    return compile(put)


def tick(compile):
    """Compile (t, rows) → t + 1."""

    def run(t, rows):
        return np.asarray(t.item() + 1)

    return compile(run)


def remember(weight_decay, in_place, compile):
    """Compile (history, t, rate) → history with step t; see ``update_rules.remember``."""

    def run(history, t, rate):
        step, number = t.item(), rate.item()
        out = history
        if step == len(history):
            out = np.zeros((2 * step, 2))
            out[:step] = history
        elif not in_place:
            out = history.copy()
        out[step, 0] = number
        out[step, 1] = out[step - 1, 1] + np.log(1 - number * weight_decay)
        return out

    return compile(run)


def only_decay(W, slots, row, last, t, n_terms, history, settings):
    """The weight decay of steps last + 1 … t, for one row of W."""
    w, keep = W[row], np.empty(1, W.dtype)
    keep[0] = decay_between(history, last, t)
    for j in range(len(w)):
        w[j] *= keep[0]


@register_jitable
def decay_between(history, last, t):
    """The product of 1 - ηλ over the steps last + 1 … t."""
    return np.exp(history[t, 1] - history[last, 1])


def replay_momentum(W, slots, row, last, t, n_terms, history, settings):
    """Momentum's steps last + 1 … t with g = 0, for one row."""
    w, u, stop = W[row], slots[0][row], min(t, last + n_terms)
    power, taken = 1.0, 0.0
    for step in range(last + 1, stop + 1):
        power *= settings[0]
        taken = taken * decay_between(history, step - 1, step) + history[step, 0] * power
    factors = np.empty(3, W.dtype)
    factors[0] = decay_between(history, last, t)
    factors[1] = taken * decay_between(history, stop, t)
    factors[2] = settings[0] ** (t - last)
    for j in range(len(w)):
        w[j] = factors[0] * w[j] - factors[1] * u[j]
        u[j] *= factors[2]


def replay_rmsprop(W, slots, row, last, t, n_terms, history, settings):
    """RMSprop's steps last + 1 … t with g = 0, for one row: v decays, and W where λ is not 0."""
    w, v, factors = W[row], slots[0][row], np.empty(2, W.dtype)
    factors[0], factors[1] = decay_between(history, last, t), settings[0] ** (t - last)
    for j in range(len(w)):
        w[j] *= factors[0]
        v[j] *= factors[1]


def replay_adam(W, slots, row, last, t, n_terms, history, settings):
    """Adam's steps last + 1 … t with g = 0, for one row."""
    beta1, beta2, epsilon = settings
    w, m, v = W[row], slots[0][row], slots[1][row]
    moving = False
    for j in range(len(m)):
        moving |= m[j] != 0
    stop = min(t, last + n_terms) if moving else last
    power1, power2 = beta1**last, beta2**last
    factors = np.empty(5, W.dtype)
    factors[0], factors[1] = beta1, beta2
    for step in range(last + 1, stop + 1):
        power1 *= beta1
        power2 *= beta2
        root = np.sqrt(1 - power2)
        factors[2] = history[step, 0] * root / (1 - power1)
        factors[3] = epsilon * root
        factors[4] = decay_between(history, step - 1, step)
        keep_m, keep_v, rate, floor, keep = factors
        for j in range(len(w)):
            m_j, v_j = keep_m * m[j], keep_v * v[j]
            m[j], v[j] = m_j, v_j
            w[j] = keep * w[j] - rate * m_j / (np.sqrt(v_j) + floor)
    factors[0], factors[1] = beta1 ** (t - stop), beta2 ** (t - stop)
    factors[2] = decay_between(history, stop, t)
    for j in range(len(w)):
        m[j] *= factors[0]
        v[j] *= factors[1]
        w[j] *= factors[2]


REPLAYS = {"Momentum": replay_momentum, "RMSprop": replay_rmsprop, "Adam": replay_adam}


def catch_up(rule, settings, n_terms, padding, in_place, compile):
    """Compile (W, last, t, history, ids, then the slots) → W, last and the slots, rows ids at t.

    ``rule`` is one of REPLAYS, or None for the weight decay alone; see ``update_rules.catch_up``.
    """
    look, sound = compile(check_ids), finite_rows(compile)
    # Under NumPy's rules no division is tested for zero, so several numbers are taken at a time.
    replay = compile(REPLAYS[rule] if rule else only_decay, error_model="numpy")

    def walk(W, last, t, history, ids, slots):
        now = t.item()
        for row in ids:
            if row != padding and last[row] < now:
                replay(W, slots, row, last[row], now, n_terms, history, settings)
                last[row] = now

    walk = compile(walk)

    def check(W, ids):
        look(ids, len(W))
        if not sound(W, ids):
            raise ValueError("W: received nan or infinity; allowed: finite numbers")

    check = compile(check)

    def run_0(W, last, t, history, ids):
        check(W, ids)
        if not in_place:
            W, last = W.copy(), last.copy()
        walk(W, last, t, history, ids, (W,))
        return W, last

    def run_1(W, last, t, history, ids, a):
        check(W, ids)
        if not in_place:
            W, last, a = W.copy(), last.copy(), a.copy()
        walk(W, last, t, history, ids, (a,))
        return W, last, a

    def run_2(W, last, t, history, ids, a, b):
        check(W, ids)
        if not in_place:
            W, last, a, b = W.copy(), last.copy(), a.copy(), b.copy()
        walk(W, last, t, history, ids, (a, b))
        return W, last, a, b

    slots = {None: run_0, "Adam": run_2}
    return compile(slots.get(rule, run_1))


def bag_loop(n_parts, ids, weights, padding, mean, W, out):
    """Set out[i] to the sum or the weighted mean of the rows of W that row i of ``ids`` names.

    ids (B, L), weights (B, L), or (0, 0) for ones; ``mean`` 0 or 1; out (B, dim).
    """
    for part in prange(n_parts):
        named, factors = np.empty(ids.shape[1], np.int64), np.empty(ids.shape[1], W.dtype)
        for i in range(part, len(ids), n_parts):
            n, total = 0, 0.0
            for position in range(ids.shape[1]):
                if ids[i, position] != padding:
                    factor = weights[i, position] if len(weights) else 1.0
                    named[n], factors[n] = ids[i, position], factor
                    total += factor
                    n += 1
            if mean:
                for entry in range(n):
                    factors[entry] = factors[entry] / total if total else 0.0
            target, entry = out[i], 0
            for j in range(len(target)):
                target[j] = 0
            # Four rows at a time, so that the target is read and written a quarter as often.
            while entry + 4 <= n:
                a, b, c, d = (
                    W[named[entry]],
                    W[named[entry + 1]],
                    W[named[entry + 2]],
                    W[named[entry + 3]],
                )
                of_a, of_b = factors[entry], factors[entry + 1]
                of_c, of_d = factors[entry + 2], factors[entry + 3]
                for j in range(len(target)):
                    target[j] += of_a * a[j] + of_b * b[j] + of_c * c[j] + of_d * d[j]
                entry += 4
            while entry < n:
                a, of_a = W[named[entry]], factors[entry]
                for j in range(len(target)):
                    target[j] += of_a * a[j]
                entry += 1


def check_weights(ids, weights, mean):
    """Raise ValueError unless there is one weight an id, finite and, for a mean, at least 0."""
    if weights.shape != ids.shape:
        raise ValueError("weights: received another shape than that of ids; allowed: one an id")
    for row in weights:
        for weight in row:
            if not (weight - weight == 0 and (weight >= 0 or not mean)):
                raise ValueError(WEIGHTS)


def embedding_bag(mode, weighted, padding, compile):
    """Compile (W, ids) or (W, ids, weights) → the sums or means of the rows, (B, dim)."""
    look, look_at_weights, mean = compile(check_ids), compile(check_weights), int(mode == "mean")
    one_core, all_cores = compile(bag_loop), compile(bag_loop, parallel=True)

    def run(W, ids, weights):
        look(ids, len(W))
        out = np.empty((len(ids), W.shape[1]), W.dtype)
        if ids.size * W.shape[1] < WORTH_THREADS or n_threads() == 1:
            one_core(1, ids, weights, padding, mean, W, out)
        else:
            all_cores(n_threads(), ids, weights, padding, mean, W, out)
        return out

    run = compile(run)

    def plain(W, ids):
        return run(W, ids, np.empty((0, 0), W.dtype))

    def with_weights(W, ids, weights):
        look_at_weights(ids, weights, mean)
        return run(W, ids, weights)

    return compile(with_weights if weighted else plain)


def unpad(mode, weighted, padding, dtype, compile):
    """Compile ids or (ids, weights) → the rows of the averaging matrix: factors, ids, offsets."""
    look_at_weights, mean = compile(check_weights), int(mode == "mean")
    zero = np.zeros(1, dtype)

    def run(ids, weights):
        n, entry = 0, 0
        for row in ids:
            for i in row:
                n += i != padding
        factors, flat = np.empty(n, zero.dtype), np.empty(n, np.int32)
        offsets = np.zeros(len(ids) + 1, np.int32)
        for i in range(len(ids)):
            start, total = entry, 0.0
            for position in range(ids.shape[1]):
                if ids[i, position] != padding:
                    factor = weights[i, position] if len(weights) else 1.0
                    flat[entry], factors[entry] = ids[i, position], factor
                    total += factor
                    entry += 1
            if mean:
                for other in range(start, entry):
                    factors[other] = factors[other] / total if total else 0.0
            offsets[i + 1] = entry
        return factors, flat, offsets

    run = compile(run)

    def plain(ids):
        return run(ids, np.empty((0, 0), zero.dtype))

    def with_weights(ids, weights):
        look_at_weights(ids, weights, mean)
        return run(ids, weights)

    return compile(with_weights if weighted else plain)


def bag_max(compile):
    """Compile (W, ids, offsets) → the largest of each column in a bag, and the id that it is from.

    Of equal ones the first in the bag wins. An empty bag gives 0, and the id -1.
    """
    look, look_at_offsets = compile(check_ids), compile(check_offsets)

    def run(W, ids, offsets):
        look(ids, len(W))
        look_at_offsets(offsets, len(ids))
        out = np.zeros((len(offsets) - 1, W.shape[1]), W.dtype)
        winners = np.full(out.shape, -1, np.int64)
        for bag in range(len(out)):
            best, winner = out[bag], winners[bag]
            for entry in range(offsets[bag], offsets[bag + 1]):
                row = W[ids[entry]]
                for j in range(len(row)):
                    if winner[j] < 0 or row[j] > best[j]:
                        best[j], winner[j] = row[j], ids[entry]
        return out, winners

    return compile(run)


def to_winners(compile):
    """Compile (W, winners, G) → zeros (N, dim) with G[b, j] added in row winners[b, j]."""

    def run(W, winners, G):
        out = np.zeros_like(W)
        for bag in range(len(winners)):
            for j in range(winners.shape[1]):
                if winners[bag, j] >= 0:
                    out[winners[bag, j], j] += G[bag, j]
        return out

    return compile(run)


def check_offsets(offsets, n):
    """Raise ValueError unless the offsets rise from 0 to ``n``."""
    sound = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == n
    for i in range(len(offsets) - 1):
        sound &= offsets[i] <= offsets[i + 1]
    if not sound:
        raise ValueError("offsets: received others; allowed: from 0 rising to the number of ids")


def shares(mode, compile):
    """Compile (factors, offsets) → the factors; for a mean, each one's share of its bag's sum."""
    look, mean = compile(check_offsets), mode == "mean"

    def run(factors, offsets):
        look(offsets, len(factors))
        out = factors.copy()
        for bag in range(len(offsets) - 1):
            total = 0.0
            for entry in range(offsets[bag], offsets[bag + 1]):
                weight = factors[entry]
                if not (weight - weight == 0 and (weight >= 0 or not mean)):
                    raise ValueError(WEIGHTS)
                total += weight
            if mean:
                for entry in range(offsets[bag], offsets[bag + 1]):
                    out[entry] = factors[entry] / total if total else 0.0
        return out

    return compile(run)
