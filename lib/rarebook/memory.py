"""A memory of keys, labels and ages that remembers rare events.

The memory is three arrays, with one entry a slot: unit vectors K (n_slots, key_size), labels V and
ages A. A query finds the slot whose key is nearest. An update with a query q and its label y
averages q into the nearest key if the label there is y; otherwise it writes q and y into another
slot, an empty one as long as there is one, and then one that a rule of :mod:`rarebook.eviction`
gives up.

Everything here is plain NumPy. Similarities come from matrix products; where two of them are so
close that rounding could have swapped them, the sums are taken again in float64, one product at a
time, so that a query finds the same slot alone and in a batch. Among equals the lowest slot wins.

Source: Kaiser et al., Learning to Remember Rare Events, 2017; the post "A Network To Remember".
"""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from rarebook import checks, memory_batch, memory_files
from rarebook.eviction import Oldest
from rarebook.nearest import averaged, exact, largest, unit_rows

CHUNK = 256  # samples of an update that are worked on at a time
WHOLE = 256  # slots that are copied in the time in which one is looked at by itself
PRODUCTS = 1 << 23  # similarities, or numbers of keys found, that a query holds at a time


class Neighbours(NamedTuple):
    """What a query finds, the nearest slot first; arrays (B, k), or (k,) for a single query."""

    labels: np.ndarray
    similarities: np.ndarray
    slots: np.ndarray
    confidences: np.ndarray


class Update(NamedTuple):
    """What an update did with each sample; arrays (B,), or single values for a single sample.

    ``slots``: the slot that was averaged or written, -1 where the rule refused to write.
    ``hits``: whether it was averaged. ``evicted``: the label that was overwritten, or None.
    """

    slots: np.ndarray
    hits: np.ndarray
    evicted: np.ndarray


class Pairs(NamedTuple):
    """Slots for a loss: ``positives`` (B,) of the right label, ``negatives`` (B, k) of wrong ones.

    -1 stands where there is none.
    """

    positives: np.ndarray
    negatives: np.ndarray


class Memory:
    """Keys, labels and ages of ``n_slots`` patterns.

    Args:
        n_slots: at least 1.
        key_size: the length of a key, at least 1.
        rng: a ``numpy.random.Generator``, for the noise and for rules that draw lots.
        eviction: a rule of :mod:`rarebook.eviction` or a function (memory, label) → slot or None.
        age_noise: when a slot is written, a number drawn uniformly from [0, age_noise) comes with
            it, which rules add to its age. 1 breaks ties between equal ages at random and never
            overrules a difference; the paper's ±8 is 16, since only differences matter.
        dtype: of the keys, "float32" or "float64".

    A label is an integer, a string, a tuple or any other hashable value; equal ones, such as 1 and
    True, are one label, as in a dict. None and nan are not labels.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> memory = Memory(n_slots=4, key_size=2, rng=np.random.default_rng(0))
        >>> memory.update([[1, 0], [0, 1], [3, 4]], ["day", "night", "night"]).hits.tolist()
        [False, False, True]
        >>> memory.query([1, 1], k=2).labels.tolist()
        ['night', 'day']
    """

    def __init__(self, n_slots, key_size, *, rng, eviction=None, age_noise=1.0, dtype="float32"):
        self.n_slots = checks.whole_number("n_slots", n_slots, 1)
        self.key_size = checks.whole_number("key_size", key_size, 1)
        self.rng = checks.generator("rng", rng)
        self.eviction = Oldest() if eviction is None else eviction
        if not callable(self.eviction):
            checks.refuse("eviction", repr(eviction), "a function (memory, label) → slot or None")
        self.age_noise = checks.real_number("age_noise", age_noise, at_least=0)
        self.dtype = checks.float_dtype("dtype", dtype)
        self._batch = None  # an update at work, which may owe us keys
        self._before = None  # what to go back to if it fails
        self.clear()

    def clear(self):
        """Forget everything: slots, labels and counts. Only ``rng`` goes on from where it is."""
        self.n_filled = 0  # the slots 0 … n_filled - 1 are taken
        self.n_updates = 0  # samples so far: the clock that ages are read from
        self.rule_state = {}
        self._n_events = 0
        self._keys = np.zeros((self.n_slots, self.key_size), self.dtype)
        self._ids = np.full(self.n_slots, -1)
        self._touched = np.zeros(self.n_slots, np.int64)
        self._used = np.zeros(self.n_slots, np.int64)
        self._hits = np.zeros(self.n_slots, np.int64)
        self._noise = np.zeros(self.n_slots)
        self._due = np.zeros(self.n_slots)  # noise - touched: the larger, the older
        self._label_list, self._id_of = [], {}
        self._label_array = None  # the labels as an array, made when a query needs it
        self._counts, self._seen = np.zeros(8, np.int64), np.zeros(8, np.int64)

    # What is stored -------------------------------------------------------------------------------

    @property
    def keys(self):
        """The unit vectors K (n_slots, key_size), zeros in an empty slot.

        Read only, and a view, as are all arrays here: copy it to keep it.
        """
        if self._batch is not None:
            self._batch.settle()
        return read_only(self._keys)

    @property
    def labels(self):
        """The label V of each slot, a list; None for an empty one."""
        return [None if i < 0 else self._label_list[i] for i in self._ids.tolist()]

    @property
    def ages(self):
        """The ages A, int64 (n_slots,), updates since the slot was averaged or written, or since
        the start.

        A += 1 after each sample, and 0 for the slot that it changed.
        """
        return self.n_updates - self._touched

    @property
    def noise(self):
        """float64 (n_slots,) in [0, age_noise), drawn when the slot was written. Read only."""
        return read_only(self._noise)

    @property
    def noisy_ages(self):
        """A + noise, float64 (n_slots,)."""
        return self.n_updates + self._due

    @property
    def hits(self):
        """int64 (n_slots,), how often the slot was averaged since it was written. Read only."""
        return read_only(self._hits)

    @property
    def last_used(self):
        """int64 (n_slots,), the larger, the later the slot was last read or written. Read only."""
        return read_only(self._used)

    @property
    def label_ids(self):
        """int64 (n_slots,), the number of each slot's label, -1 for an empty one. Read only."""
        return read_only(self._ids)

    @property
    def known_labels(self):
        """All labels seen so far, a list; a label's place in it is its number."""
        return list(self._label_list)

    @property
    def label_counts(self):
        """int64 (n_labels,), how many slots each known label holds, in the order of
        ``known_labels``. Read only, and a view: copy it to keep it.
        """
        return read_only(self._counts[: len(self._label_list)])

    @property
    def label_seen(self):
        """int64 (n_labels,), how many samples of each known label came, in the order of
        ``known_labels``. Read only, and a view: copy it to keep it.
        """
        return read_only(self._seen[: len(self._label_list)])

    def label_id(self, label):
        """The number of a known label.

        Raises:
            KeyError: if no sample of it has come.
            TypeError: if it is not hashable.
        """
        return self._id_of[label]

    def __len__(self):
        return self.n_filled

    def __repr__(self):
        n_labels = int(np.count_nonzero(self.label_counts))
        return (
            f"Memory({self.n_filled:,} of {self.n_slots:,} slots × {self.key_size}, "
            f"{n_labels:,} label{'s' * (n_labels != 1)}, "
            f"{self.n_updates:,} update{'s' * (self.n_updates != 1)}, "
            f"{getattr(self.eviction, '__name__', self.eviction)})"
        )

    def table(self, max_rows=12):
        """The slots as text, a line each: slot, label, age, hits and the start of the key.

        Where more than ``max_rows`` are taken, the middle is left out; the empty ones are counted.
        """
        max_rows = checks.whole_number("max_rows", max_rows, 2)
        n, width = self.n_filled, min(self.key_size, 4)
        head = n if n <= max_rows else (max_rows + 1) // 2
        shown = [*range(head), *range(n - max_rows + head, n)] if n > max_rows else range(n)
        labels, ages = self.labels, self.ages
        lines = [("slot", "label", "age", "hits", "key")]
        for slot in shown:
            label = " ".join(str(labels[slot]).split())
            label = label if len(label) <= 24 else f"{label[:23]}…"
            key = " ".join(f"{value:+.2f}" for value in self.keys[slot, :width])
            key += " …" * (self.key_size > width)
            lines.append((f"{slot:,}", label, f"{ages[slot]:,}", f"{self.hits[slot]:,}", key))
        if n > max_rows:
            lines.insert(head + 1, ("…", "…", "…", "…", "…"))
        wide = [max(len(line[column]) for line in lines) for column in range(4)]
        text = [
            f"{slot:>{wide[0]}}  {label:<{wide[1]}}  {age:>{wide[2]}}  {hits:>{wide[3]}}  {key}"
            for slot, label, age, hits, key in lines
        ]
        n_empty = self.n_slots - n
        if n_empty:
            text.append(f"and {n_empty:,} empty slot{'s' * (n_empty != 1)}")
        return "\n".join(text)

    def __str__(self):
        return f"{self!r}\n{self.table()}"

    # Reading --------------------------------------------------------------------------------------

    def query(self, q, k=1, *, inverse_temperature=40.0, count=True):
        """The k slots whose keys are nearest to q, by the cosine similarity q · Kᵀ / ‖q‖.

        Args:
            q: (B, key_size) or (key_size,), of any length above 0.
            k: at least 1. Where fewer slots are taken, all of these are found. Empty slots never.
            inverse_temperature: t, at least 0, of the confidences.
            count: whether the nearest slot counts as read, for
                :class:`~rarebook.eviction.LeastRecentlyUsed`.

        Returns:
            :class:`Neighbours`: ``labels``, int64 if all known labels are integers, otherwise
            objects; ``similarities`` in [-1, 1], the largest first; ``slots``, int64;
            ``confidences``, exp(t · sᵢ) / Σⱼ exp(t · sⱼ) over the k slots. Arrays (B, k), or (k,)
            for a single q.

        Raises:
            ValueError: if an argument is not allowed, a query has length 0, or no slot is taken.
        """
        Q, single = self._queries(q)
        k = checks.whole_number("k", k, 1)
        t = checks.real_number("inverse_temperature", inverse_temperature, at_least=0)
        if not self.n_filled:
            checks.refuse("memory", "no slot taken", "one or more: update it first")
        slots, similarities = self._nearest(Q, k)
        if count:
            self._used[slots[:, 0]] = self._n_events + 1 + np.arange(len(Q))
            self._n_events += len(Q)
        if self._label_array is None:
            self._label_array = as_array(self._label_list)
        with np.errstate(over="ignore"):  # exp(-inf) is 0
            e = np.exp(t * (similarities - similarities[:, :1]))
        confidences = (e / e.sum(axis=1, keepdims=True)).astype(self.dtype)
        found = Neighbours(
            self._label_array[self._ids[slots]],
            similarities.clip(-1, 1).astype(self.dtype),
            slots,
            confidences,
        )
        return Neighbours(*(part[0] for part in found)) if single else found

    def nearest_pairs(self, q, y, k=1):
        """For each query and its label, the slots that a margin loss compares.

        The negatives are those of the k nearest slots that have another label, the nearest first.
        The positive is the nearest slot with the label y, among the k nearest or not.

        Args:
            q: (B, key_size), of any length above 0.
            y: B labels; one that no slot has gets no positive.
            k: at least 1.

        Returns:
            :class:`Pairs`: ``positives`` int64 (B,) and ``negatives`` int64 (B, k), filled up with
            -1. All are -1 where no slot is taken.

        Raises:
            ValueError: if an argument is not allowed or a query has length 0.
        """
        Q, single = self._queries(q)
        y = plain_labels("y", [y] if single else y, len(Q))
        k = checks.whole_number("k", k, 1)
        positives, negatives = np.full(len(Q), -1), np.full((len(Q), k), -1)
        if self.n_filled and len(Q):
            slots, _ = self._nearest(Q, k)
            ids = np.array([self._id_of.get(label, -2) for label in y])
            right = self._ids[slots] == ids[:, None]
            first = right.argmax(axis=1)
            rows = np.arange(len(Q))
            positives = np.where(right[rows, first], slots[rows, first], -1)
            for i in np.flatnonzero((positives < 0) & (ids >= 0)):
                own = np.flatnonzero(self._ids == ids[i])
                if len(own):
                    positives[i] = own[np.argmax(exact(self._keys[own], Q[i]))]
            order = np.argsort(right, axis=1, kind="stable")  # the wrong ones first
            wrong = np.where(right, -1, slots)
            negatives[:, : slots.shape[1]] = np.take_along_axis(wrong, order, axis=1)
        return Pairs(positives[0], negatives[0]) if single else Pairs(positives, negatives)

    # Writing --------------------------------------------------------------------------------------

    def update(self, q, y):
        """Learn samples one after another.

        For each q, made a unit vector, and its label y, n is the nearest slot. Then

        * if V[n] = y: K[n] ← (q + K[n]) / ‖q + K[n]‖, or q where the sum is zero;
        * otherwise K[m] ← q, V[m] ← y for an empty slot m, the lowest, or where there is none for
          the slot that the rule returns; nothing is written if it returns None.

        Last, A ← A + 1 for all slots, and 0 for n or m. A batch gives exactly what its samples give
        one at a time.

        Args:
            q: (B, key_size), or (key_size,) for a single sample; of any length above 0.
            y: B labels, or a single one.

        Returns:
            :class:`Update`: what happened to each sample.

        Raises:
            ValueError: if an argument is not allowed, a query has length 0, or the rule returns
                neither a slot nor None. Nothing has changed then.
        """
        Q, single = self._queries(q)
        y = plain_labels("y", [y] if single else y, len(Q))
        slots, hits = np.full(len(Q), -1), np.zeros(len(Q), bool)
        evicted = np.full(len(Q), None, object)
        with self.undone_on_error(len(Q)) as before:
            for start in range(0, len(Q), CHUNK):
                part = slice(start, start + CHUNK)
                run = self._learn_one if len(Q[part]) == 1 else memory_batch.learn
                run(before, Q[part], y[part], slots[part], hits[part], evicted[part])
        if single:
            return Update(int(slots[0]), bool(hits[0]), evicted[0])
        return Update(slots, hits, evicted)

    @contextmanager
    def undone_on_error(self, n_samples=1):
        """Within the ``with``, updates are undone if an exception leaves it.

        Args:
            n_samples: how many are to come, about; they need not be all.
        """
        outer, self._before = self._before, _Before(self, n_samples)
        try:
            yield self._before
            if outer is not None:  # which may have to undo this as well
                outer.slots += self._before.slots
                outer.keys += self._before.keys
        except BaseException:
            self._before.restore()
            raise
        finally:
            self._before = outer

    def refresh(self, slots, q):
        """Set the keys of filled slots anew, for patterns whose encoding has changed.

        Labels, ages and all else stay.

        Args:
            slots: (B,), different filled slots.
            q: (B, key_size), of any length above 0.

        Raises:
            ValueError: if an argument is not allowed or a query has length 0.
        """
        slots = checks.id_array("slots", slots, self.n_filled, ndim=1)
        if len(np.unique(slots)) != len(slots):
            checks.refuse("slots", "a slot twice", "slots that differ")
        Q = unit_rows("q", q, (len(slots), self.key_size), self.dtype)
        self._keys[slots] = Q

    # Files ----------------------------------------------------------------------------------------

    def save(self, path):
        """Write the memory to a file, from which :meth:`load` makes one that goes on the same way.

        The file holds the state of ``rng`` too. It is written aside and renamed: one that is there
        already stays whole until the new one is. A rule of your own is not in it.

        Raises:
            ValueError: if a label is not an integer, a string, a float or a tuple of such.
            OSError: if the file cannot be written.
        """
        memory_files.save(self, path)

    @classmethod
    def load(cls, path, *, eviction=None, rng=None):
        """The memory that :meth:`save` wrote to ``path``.

        Args:
            eviction: the rule; None: the one in the file, if it is one of :mod:`rarebook.eviction`.
            rng: a ``numpy.random.Generator``; None: one in the state that was saved.

        Raises:
            ValueError: if the file is damaged, foreign or of another version, or the rule is
                missing.
            OSError: if the file cannot be opened.
        """
        return memory_files.load(cls, path, eviction, rng)

    # How it is done -------------------------------------------------------------------------------

    def _learn_one(self, before, Q, y, slots, hits, evicted):
        """The plain form of an update, for one sample; results go into the last three arrays."""
        nearest = self._nearest(Q, 1)[0][0, 0] if self.n_filled else -1
        slot, hits[0], evicted[0] = self._place(before, int(nearest), y[0])
        if slot is not None:
            before.keep_keys([slot])
            self._keys[slot] = averaged(Q, self._keys[[slot]])[0] if hits[0] else Q[0]
            slots[0] = slot

    def _place(self, before, nearest, label):
        """Find the slot for a sample whose nearest slot is known, and record all but the key.

        Returns the slot or None, whether it was hit, and the label that it held if it was not.
        """
        own = self._id_of.get(label)
        if own is None:
            own = self._add_label(label)
        self._seen[own] += 1
        slot, hit, old = nearest, False, None
        if nearest >= 0:
            before.keep(nearest)
            self._n_events += 1
            self._used[nearest] = self._n_events
            hit = self._ids.item(nearest) == own
        if hit:
            self._hits[slot] += 1
        elif (slot := self._free_slot(label)) is not None:
            before.keep(slot)
            if slot == self.n_filled:
                self.n_filled += 1
            else:
                old = self._ids.item(slot)
                self._counts[old] -= 1
                old = self._label_list[old]
            self._ids[slot], self._hits[slot] = own, 0
            self._counts[own] += 1
            self._noise[slot] = self.age_noise * self.rng.random()
        self.n_updates = now = self.n_updates + 1
        if slot is not None:
            self._n_events += 1
            self._touched[slot], self._used[slot] = now, self._n_events
            self._due[slot] = self._noise.item(slot) - now
        return slot, hit, old

    def _free_slot(self, label):
        """The slot that a new pattern gets, or None."""
        if self.n_filled < self.n_slots:
            return self.n_filled
        slot = self.eviction(self, label)
        if slot is None:
            return None
        try:
            number = checks.whole_number("slot", slot, 0)
        except ValueError:
            number = self.n_slots
        if number >= self.n_slots:
            checks.refuse(
                "eviction", f"{slot!r} from the rule", f"a slot, 0 to {self.n_slots - 1}, or None"
            )
        return number

    def _add_label(self, label):
        n = len(self._label_list)
        if n == len(self._counts):
            self._counts, self._seen = (np.resize(a, 2 * n) for a in (self._counts, self._seen))
        self._counts[n] = self._seen[n] = 0
        self._label_list.append(label)
        self._label_array = None
        self._id_of[label] = n
        return n

    # Searching ------------------------------------------------------------------------------------

    @property
    def tolerance(self):
        """16 · (key_size + 8) · u, by how much two equal similarities can come out apart.

        A float product of unit vectors is off by key_size · u at most, u being half the dtype's
        epsilon. In a similarity that :mod:`rarebook.memory_batch` keeps up to date, an error e
        becomes one of at most (1/√3 + 1/3) · e + (key_size/√3 + 5) · u, which stays below
        (6.5 · key_size + 56) · u, and two are compared.
        """
        return 8 * (self.key_size + 8) * float(np.finfo(self.dtype).eps)

    def _nearest(self, Q, k):
        """The k nearest slots and their exact similarities, (B, min(k, n_filled)) each."""
        k, keys = min(k, self.n_filled), self.keys[: self.n_filled]
        rows = max(1, PRODUCTS // max(self.n_filled, k * self.key_size))
        parts = [(np.empty((0, k), np.int64), np.empty((0, k)))]
        for start in range(0, len(Q), rows):
            parts.append(largest(Q[start : start + rows], keys, k, self.tolerance))
        slots, similarities = zip(*parts, strict=True)
        return np.concatenate(slots), np.concatenate(similarities)

    # What is let in -------------------------------------------------------------------------------

    def _queries(self, q):
        """Unit rows (B, key_size), and whether q was a single vector."""
        if not checks.is_sparse(q):
            q = checks.as_array("q", q, f"an array of shape (n, {self.key_size})")
        single = q.ndim == 1
        q = q[None] if single else q
        return unit_rows("q", q, (None, self.key_size), self.dtype), single


class _Before:
    """What a memory was before an update, as far as the update has changed it."""

    def __init__(self, memory, n_samples=1):
        self.memory = memory
        self.numbers = memory.n_filled, memory.n_updates, memory._n_events
        self.random = memory.rng.bit_generator.state
        self.rule_state = {name: np.copy(values) for name, values in memory.rule_state.items()}
        self.n_labels = len(memory._label_list)
        self.label_counts = memory._counts.copy(), memory._seen.copy()
        self.slots, self.keys = [], []
        self.columns = [
            getattr(memory, f"_{name}")
            for name in ("ids", "touched", "used", "hits", "noise", "due")
        ]
        # Many slots are copied faster together than some of them one by one.
        self.whole = n_samples * WHOLE > memory.n_slots
        if self.whole:
            self.slots.append((slice(None), [column.copy() for column in self.columns]))

    def keep(self, slot):
        """To be called before anything but the slot's key changes."""
        if not self.whole:
            self.slots.append((slot, [column.item(slot) for column in self.columns]))

    def keep_keys(self, slots):
        """To be called before the keys of these slots change."""
        self.keys.append((slots, self.memory._keys[slots]))

    def restore(self):
        """Undo the update."""
        memory = self.memory
        memory.n_filled, memory.n_updates, memory._n_events = self.numbers
        memory.rng.bit_generator.state = self.random
        memory.rule_state = self.rule_state
        for label in memory._label_list[self.n_labels :]:
            del memory._id_of[label]
        del memory._label_list[self.n_labels :]
        memory._label_array = None
        memory._counts, memory._seen = self.label_counts
        for slot, values in reversed(self.slots):
            for column, value in zip(self.columns, values, strict=True):
                column[slot] = value
        for slots, keys in reversed(self.keys):
            memory._keys[slots] = keys
        memory._batch = None


def plain_labels(argument, y, n=None):
    """Labels as a list of plain Python values, ``n`` of them where it is given.

    Raises:
        ValueError: if there are more or fewer, or one cannot be a label.
    """
    in_order = hasattr(y, "__getitem__") and not isinstance(y, (str, bytes, dict))
    if not in_order or getattr(y, "ndim", 1) != 1 or n not in (None, len(y)):
        received = f"{len(y)} labels" if in_order and getattr(y, "ndim", 1) == 1 else repr(y)
        checks.refuse(argument, received, f"{'n' if n is None else n} labels, one a query")
    if isinstance(y, np.ndarray) and y.dtype.kind in "iub":
        return y.tolist()
    y = [label.item() if isinstance(label, np.generic) else label for label in y]
    for label in y:
        try:
            hash(label)
            fine = label is not None and bool(label == label)
        except TypeError:
            fine = False
        if not fine:
            received = f"the label {label!r}"
            checks.refuse(argument, received, "integers, or other hashable values but None, nan")
    return y


def as_array(labels):
    """Labels as int64 (n,) where all are integers that fit, otherwise as objects (n,)."""
    if all(type(label) is int and abs(label) < 2**63 for label in labels):
        return np.array(labels, np.int64)
    array = np.empty(len(labels), object)
    array[:] = labels
    return array


def read_only(array):
    """A view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
