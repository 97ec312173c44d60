"""An update of the memory with many samples that gives exactly what one at a time would give.

Sample i must see what the samples before it have written. So the similarities of all samples with
the keys are computed once, in one product, and the similarities with a slot that has changed are
kept up to date: with q the new sample and K its old key, the similarity of the new key with a later
sample x is (x·K + x·q) / ‖q + K‖, where x·q stands in the product of the batch with itself.
The keys themselves are computed at the end, or when a rule looks at them.
"""

import numpy as np

from rarebook.nearest import averaged, exact, two_largest


def learn(before, Q, y, slots, hits, evicted):
    """Update ``before.memory`` with unit rows Q (B, key_size) and B labels, one after another.

    What happened to sample i is written into ``slots[i]``, ``hits[i]`` and ``evicted[i]``.
    """
    state = before.memory
    batch = state._batch = _Batch(before, Q)
    for i, label in enumerate(y):
        nearest, similarity = batch.nearest(i)
        slot, hits[i], evicted[i] = state._place(before, nearest, label)
        if slot is not None:
            slots[i] = slot
            batch.change(i, slot, similarity if hits[i] else None)
    batch.settle()
    state._batch = None


class _Batch:
    """The similarities of a batch with all keys, as of now, and the keys' changes still to make."""

    def __init__(self, before, Q):
        self.before, self.state, self.Q = before, before.memory, Q
        n, self.n_old = len(Q), before.memory.n_filled
        self.tolerance = self.state.tolerance
        self.S = Q @ self.state._keys[: self.n_old].T
        self.G = Q @ Q.T
        self.changed = np.empty(n, np.int64)  # the slots that have changed, in order
        self.place = {}  # slot: its row in T
        self.T = np.empty_like(self.G)  # T[place[slot], i]: similarity of the slot and sample i
        self.owed = []  # (slot, sample, whether it is averaged): what the keys still lack
        if self.n_old:
            best, second = two_largest(self.S)
            top = self.S[np.arange(n), best]
            self.first = list(zip(best.tolist(), top.tolist(), second.tolist(), strict=True))
        else:
            self.first = [(-1, -np.inf, -np.inf)] * n

    def nearest(self, i):
        """The slot nearest to sample i as the memory now is, and its similarity; -1 if empty."""
        old, u, second = self.first[i]
        n, gap = len(self.place), self.tolerance
        new, v, column = -1, -np.inf, self.T[:n, i]
        if n:
            new = column.argmax()
            v = column.item(new)
        if old in self.place and v <= u + gap:
            row = self.S[i]
            row[self.changed[:n][self.changed[:n] < self.n_old]] = -np.inf
            old = row.argmax()
            u = second = row.item(old)  # whether another is as near is seen below
        if v > u + gap:
            if n == 1 or np.count_nonzero(column >= v - gap) == 1:
                return self.changed.item(new), v
        elif u > v + gap and second < u - gap:
            return old, u
        elif not n and not self.n_old:
            return -1, u
        return self._rescored(i, max(u, v) - gap, column)

    def _rescored(self, i, least, column):
        """The nearest slot among those with a similarity of at least ``least``, taken exactly."""
        n, row = len(self.place), self.S[i]
        row[self.changed[:n][self.changed[:n] < self.n_old]] = -np.inf
        changed = self.changed[:n][np.flatnonzero(column >= least)]
        near = np.sort(np.concatenate([np.flatnonzero(row >= least), changed]))
        if len(changed):
            self.settle()
        products = exact(self.state._keys[near], self.Q[i])
        best = products.argmax()
        return near.item(best), products.item(best)

    def change(self, i, slot, similarity):
        """Sample i is averaged into the slot, to which it has a similarity, or written (None)."""
        self.owed.append((slot, i, similarity is not None))
        place = self.place.get(slot)
        if place is None:
            place = self.place[slot] = len(self.place)
            self.changed[place] = slot
            old = self.S[i + 1 :, slot] if similarity is not None else None
        else:
            old = self.T[place, i + 1 :]
        new = self.T[place, i + 1 :]
        if similarity is None:
            new[:] = self.G[i, i + 1 :]
        elif similarity > 0.5:
            np.add(old, self.G[i, i + 1 :], out=new)
            new *= (2 + 2 * similarity) ** -0.5
        else:  # the sum is short, and dividing by its length would magnify errors
            self.settle()
            np.matmul(self.Q[i + 1 :], self.state._keys[slot], out=new)

    def settle(self):
        """Compute the keys that have changed; those of different slots together."""
        if not self.owed:
            return
        slots, samples, hits = map(np.array, zip(*self.owed, strict=True))
        self.owed = []
        order = np.argsort(slots, kind="stable")  # by slot, and each slot's in order of time
        slots, samples, hits = slots[order], samples[order], hits[order]
        first = np.flatnonzero(np.diff(slots, prepend=-1))
        turns = np.arange(len(slots)) - np.repeat(first, np.diff(first, append=len(slots)))
        self.before.keep_keys(slots[first])
        keys = self.state._keys
        for turn in range(turns.max() + 1):
            part = turns == turn
            now, Q = slots[part], self.Q[samples[part]]
            keys[now] = np.where(hits[part, None], averaged(Q, keys[now]), Q)
