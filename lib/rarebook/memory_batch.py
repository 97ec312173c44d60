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
        slot, hit, old = state._place(before, nearest, label)
        if slot is not None:
            batch.change(i, slot, similarity if hit else None)
            slots[i] = slot
            if hit:
                hits[i] = True
            else:
                evicted[i] = old
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
        self.changed = []  # the slots that have changed, in order
        self.place = {}  # slot: its row in T
        self.replaced, self.n_replaced = np.empty(n, np.int64), 0  # those of them that S has
        self.T = np.empty_like(self.G)  # T[place[slot], i]: similarity of the slot and sample i
        self.reach = np.full(n, -np.inf, self.G.dtype)  # the largest that T has held for a sample
        self.owed = []  # (slot, sample, whether it is averaged): what the keys still lack
        if self.n_old:
            best, second = two_largest(self.S)
            top = self.S[np.arange(n), best]
            self.first = list(zip(best.tolist(), top.tolist(), second.tolist(), strict=True))
            # What most changes start from, gathered row by row: a column alone is slow to read.
            likely = np.unique(best)
            self.likely = dict(zip(likely.tolist(), self.S[:, likely].T.copy(), strict=True))
        else:
            self.first, self.likely = [(-1, -np.inf, -np.inf)] * n, {}

    def nearest(self, i):
        """The slot nearest to sample i as the memory now is, and its similarity; -1 if empty."""
        old, u, second = self.first[i]
        gap, moved = self.tolerance, old in self.place
        if not moved and second < u - gap and self.reach.item(i) < u - gap:
            return old, u
        n = len(self.changed)
        if not n and not self.n_old:
            return -1, u
        column = self.T[:n, i]
        new = column.argmax() if n else -1
        v = column.item(new) if n else -np.inf
        if moved and v <= second + gap:
            row = self.S[i]
            row[self.replaced[: self.n_replaced]] = -np.inf
            old = row.argmax()
            u = second = row.item(old)  # whether another is as near is seen below
        elif moved:
            u = second
        if v > u + gap:
            if n == 1 or np.count_nonzero(column >= v - gap) == 1:
                return self.changed[new], v
        elif u > v + gap and second < u - gap:
            return old, u
        return self._rescored(i, max(u, v) - gap, column)

    def _rescored(self, i, least, column):
        """The nearest slot among those with a similarity of at least ``least``, taken exactly."""
        row = self.S[i]
        row[self.replaced[: self.n_replaced]] = -np.inf
        near = [self.changed[place] for place in (column >= least).nonzero()[0].tolist()]
        if near:
            self.settle()
        near = np.concatenate([(row >= least).nonzero()[0], np.array(near, np.int64)])
        products = exact(self.state._keys[near], self.Q[i])
        best = products.max()
        return near[products == best].min().item(), best.item()

    def change(self, i, slot, similarity):
        """Sample i is averaged into the slot, to which it has a similarity, or written (None)."""
        self.owed.append((slot, i, similarity is not None))
        place = self.place.get(slot)
        if place is None:
            place = self.place[slot] = len(self.changed)
            self.changed.append(slot)
            if slot < self.n_old:
                self.replaced[self.n_replaced] = slot
                self.n_replaced += 1
            new = self.T[place]
            old = self.likely.get(slot)
            if old is None and similarity is not None:
                old = self.S[:, slot]
        else:
            new = old = self.T[place]
        if similarity is None:
            new[:] = self.G[i]
        elif similarity > 0.5:
            np.add(old, self.G[i], out=new)
            new *= (2 + 2 * similarity) ** -0.5
        else:  # the sum is short, and dividing by its length would magnify errors
            self.settle()
            np.matmul(self.Q, self.state._keys[slot], out=new)
        np.maximum(self.reach, new, out=self.reach)

    def settle(self):
        """Compute the keys that have changed; those of different slots together."""
        if not self.owed:
            return
        keys, owed, self.owed = self.state._keys, self.owed, []
        if len(owed) == 1:  # as often where samples are equal: nothing to put in order
            [(slot, sample, hit)] = owed
            self.before.keep_keys([slot])
            q = self.Q[sample]
            keys[slot] = averaged(q[None], keys[slot][None])[0] if hit else q
            return
        slots, samples, hits = map(np.array, zip(*owed, strict=True))
        order = np.argsort(slots, kind="stable")  # by slot, and each slot's in order of time
        slots, samples, hits = slots[order], samples[order], hits[order]
        first = np.flatnonzero(np.diff(slots, prepend=-1))
        turns = np.arange(len(slots)) - np.repeat(first, np.diff(first, append=len(slots)))
        self.before.keep_keys(slots[first])
        for turn in range(turns.max() + 1):
            part = np.flatnonzero(turns == turn)
            now, Q, hit = slots[part], self.Q[samples[part]], hits[part]
            new = averaged(Q, keys[now]) if hit.any() else Q
            if not hit.all():
                new[~hit] = Q[~hit]
            keys[now] = new
