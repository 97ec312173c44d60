"""Updates and queries of a memory in batches, beside a plain loop, a shortcut, and FAISS.

    python benchmarks/memory.py            # prints the figures, writes results/memory.json
    python benchmarks/memory.py --quick    # one round, and the results stay as they are

float32 keys of size 128, full memories of 1,000 to 64,000 slots, batches of 16 and 256, the oldest
slot evicted, noise of 1. The labels follow Zipf's law over 16 times as many labels as there are
slots; the keys of a label lie around a centre. So there are hits and writes; their rate is printed.

* ``ours``: ``Memory.update`` and ``Memory.query``, with all checks.
* ``plain``: one matrix-vector product a sample and changes in place, without checks. It must come
  out in our state to the last bit.
* ``shortcut``: all samples of a batch are compared with the memory as it was before the batch, and
  all changes are made at once. It is not the same: a batch neither finds what it has written itself
  nor averages twice into a key.
* ``approximate``: the shortcut with the checks, label numbers and counts of ``Memory``, as its
  ``update`` would be if it were not exact.
* ``faiss``: the shortcut with the search of FAISS's IndexFlatIP; the keys that change are
  overwritten in the index's own array, which NumPy sees through ``rev_swig_ptr``, as nothing is
  faster (removing and adding them moves all keys behind).

Each contender has a process of its own; they take turns, and the ratios are those of a round. There
is a block with one thread, in the BLAS of NumPy and in FAISS, and one with two. FAISS comes with
``pip install -e .[peers]``; without it the other figures are printed, and the results stay as they
are.

The floor of a batch is the time in which all keys are read once, at the speed with which this
machine's cores together read an array that does not fit their caches, or that of the product Q · Kᵀ
at the speed of a large square product, whichever is longer. ``rules`` is what each rule takes to
name a slot, and a whole update of 256 samples that are all written, in microseconds a sample.
"""

import json
import os
import shutil
import sys
import time
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from measure import bandwidth, in_turns, machine, milliseconds, write

from rarebook.eviction import RULES
from rarebook.memory import Memory, plain_labels
from rarebook.nearest import averaged

D = 128
N_BATCHES = {(1_000, 16): 200, (1_000, 256): 40, (8_000, 16): 60, (8_000, 256): 12}
N_BATCHES |= {(64_000, 16): 20, (64_000, 256): 5}
SIZES = sorted({n for n, _ in N_BATCHES})
K_NEAREST = (1, 16)
THREADS = (1, 2)
ROUNDS = 3
CACHE = Path(__file__).parents[1] / ".cache" / "memory"


# The stream ---------------------------------------------------------------------------------------


def around(centres, rng):
    """Keys around the centres; the nearest of thousands of others is about half as near."""
    return (centres + 0.6 * rng.normal(size=centres.shape)).astype(np.float32)


def fill(n):
    """Save a memory with a pattern of each of the n most frequent labels."""
    rng = np.random.default_rng(n)
    memory = Memory(n, D, rng=np.random.default_rng(1))
    order = rng.permutation(n)
    memory.update(around(centres(order, n), rng), order)
    memory.save(CACHE / f"{n}.safetensors")


@cache
def normal(n, seed):
    return np.random.default_rng(seed).normal(size=(n, D))


def centres(labels, n):
    """The centre of each label, (len(labels), D)."""
    few, rare = normal(n, n + 1), normal(n, n + 2)
    rare = rare[labels % n] * np.where(labels[:, None] >> np.arange(D) % 20 & 1, 1, -1)
    return np.where(labels[:, None] < n, few[labels % n], rare)


def stream(n, size):
    """Batches (B, D) and their labels."""
    rng = np.random.default_rng(n + size)
    p = 1 / np.arange(1, 16 * n + 1)
    labels = rng.choice(16 * n, size=(N_BATCHES[n, size] + 2, size), p=p / p.sum())
    return [around(centres(y, n), rng) for y in labels], list(labels)


# Contenders: each makes a state from the saved memory, and has update and query -------------------


class ours:
    def __init__(self, memory):
        self.memory = memory

    def update(self, q, y):
        return self.memory.update(q, y).hits.sum()

    def query(self, q, k):
        return self.memory.query(q, k, count=False)

    def state(self):
        memory = self.memory
        return memory.keys, np.array(memory.labels), memory.ages, memory.noise


class plain:
    def __init__(self, memory):
        self.K, self.V = memory.keys.copy(), np.array(memory.labels)
        self.noise, self.touched = memory.noise.copy(), memory.n_updates - memory.ages
        self.due, self.rng, self.clock = self.noise - self.touched, memory.rng, memory.n_updates

    def update(self, q, y):
        n_hits = 0
        for q, label in zip(units(q), y.tolist(), strict=True):  # noqa: B020
            slot = (self.K @ q).argmax()
            self.clock += 1
            if self.V[slot] == label:
                n_hits += 1
                total = q.astype(np.float64) + self.K[slot]
                self.K[slot] = total / np.sqrt((total * total).sum())
            else:
                slot = self.due.argmax()
                self.K[slot], self.V[slot], self.noise[slot] = q, label, self.rng.random()
            self.touched[slot], self.due[slot] = self.clock, self.noise[slot] - self.clock
        return n_hits

    def query(self, q, k):
        return [nearest((self.K @ q)[None], k) for q in units(q)]

    def state(self):
        return self.K, self.V, self.clock - self.touched, self.noise


def units(q):
    q = q.astype(np.float64)
    return (q / np.sqrt((q * q).sum(axis=1, keepdims=True))).astype(np.float32)


def nearest(S, k):
    """The labels' slots and the similarities of the k largest of each row, in order."""
    rows = np.arange(len(S))[:, None]
    if k == 1:
        slots = S.argmax(axis=1)[:, None]
        return slots, S[rows, slots]
    slots = np.argpartition(S, -k, axis=1)[:, -k:]
    slots = slots[rows, np.argsort(-S[rows, slots], axis=1)]
    return slots, S[rows, slots]


class shortcut(plain):
    def search(self, q, k):
        return nearest(q @ self.K.T, k)

    def query(self, q, k):
        slots, similarities = self.search(normed(q), k)
        return self.V[slots], similarities

    def update(self, q, y):
        q = normed(q)
        slots = self.search(q, 1)[0][:, 0]
        hits = self.V[slots] == y
        total = q[hits] + self.K[slots[hits]]
        self.K[slots[hits]] = normed(total)
        n_writes = len(q) - np.count_nonzero(hits)
        self.touched[slots[hits]] = self.clock + 1 + np.flatnonzero(hits)
        self.due[slots[hits]] = self.noise[slots[hits]] - self.touched[slots[hits]]
        if n_writes:
            oldest = np.argpartition(self.due, -n_writes)[-n_writes:]
            self.K[oldest], self.V[oldest] = q[~hits], y[~hits]
            self.noise[oldest] = self.rng.random(n_writes)
            self.touched[oldest] = self.clock + 1 + np.flatnonzero(~hits)
            self.due[oldest] = self.noise[oldest] - self.touched[oldest]
        self.clock += len(q)
        return len(q) - n_writes


def normed(q):
    return q / np.sqrt(np.einsum("ij,ij->i", q, q))[:, None]


class approximate(ours):
    """The shortcut in the memory's place: with its checks, label numbers and counts."""

    def update(self, q, y):
        memory = self.memory
        Q, labels = memory._queries(q)[0], plain_labels("y", y, len(q))
        with memory.undone_on_error():
            own = [memory._id_of.get(label) for label in labels]
            for i, label in enumerate(labels):
                if own[i] is None:
                    known = memory._id_of.get(label)
                    own[i] = memory._add_label(label) if known is None else known
            own, n, clock = np.array(own), len(memory._label_list), memory.n_updates
            memory._seen[:n] += np.bincount(own, minlength=n)
            nearest = (Q @ memory._keys.T).argmax(axis=1)
            hits = memory._ids[nearest] == own
            slots = nearest[hits]
            memory._keys[slots] = averaged(Q[hits], memory._keys[slots])
            memory._hits += np.bincount(slots, minlength=memory.n_slots)
            n_writes = len(Q) - len(slots)
            if n_writes:
                oldest = np.argpartition(memory._due, -n_writes)[-n_writes:]
                before = memory._ids[oldest]
                memory._counts[:n] -= np.bincount(before, minlength=n)
                memory._counts[:n] += np.bincount(own[~hits], minlength=n)
                memory._keys[oldest], memory._ids[oldest] = Q[~hits], own[~hits]
                memory._hits[oldest] = 0
                memory._noise[oldest] = memory.age_noise * memory.rng.random(n_writes)
                nearest[~hits] = oldest
            memory._touched[nearest] = clock + 1 + np.arange(len(Q))
            memory._used[nearest] = memory._n_events + 1 + np.arange(len(Q))
            memory._due[nearest] = memory._noise[nearest] - memory._touched[nearest]
            memory._n_events += len(Q)
            memory.n_updates += len(Q)
        return len(slots)


class faiss(shortcut):
    def __init__(self, memory):
        import faiss

        super().__init__(memory)
        faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.index = faiss.IndexFlatIP(D)
        self.index.add(self.K)
        self.K = faiss.rev_swig_ptr(self.index.get_xb(), self.K.size).reshape(self.K.shape)

    def search(self, q, k):
        return self.index.search(q, k)[::-1]


CONTENDERS = [ours, plain, shortcut, approximate, faiss]


def measure(contender):
    """Milliseconds a batch, the share of hits, and a sum over the state that comes out."""
    figures = {}
    for n, size in N_BATCHES:
        model = contender(Memory.load(CACHE / f"{n}.safetensors"))
        batches, times, n_hits = stream(n, size), [], 0
        for q, y in zip(*batches, strict=True):
            start = time.perf_counter()
            hits = model.update(q, y)
            times.append(time.perf_counter() - start)
            n_hits += int(hits)
        figures[f"update {n} {size}"] = 1e3 * float(np.median(times[2:]))
        figures[f"hits {n} {size}"] = n_hits / len(times) / size
        figures[f"state {n} {size}"] = checksum(model.state())
        for k in K_NEAREST:
            turn = iter(range(10**9))

            def call(model=model, k=k, turn=turn, Q=batches[0]):
                model.query(Q[next(turn) % len(Q)], k)

            figures[f"query {k} {n} {size}"] = milliseconds(call, 0.2, 3)
    return figures


def checksum(arrays):
    total = 0
    for array in arrays:
        total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return total


def rules():
    """Microseconds of each rule alone, and of an update with nothing but writes, a sample."""
    figures, rng = {}, np.random.default_rng(0)
    for n in SIZES:
        for name, rule in RULES.items():
            memory = Memory.load(CACHE / f"{n}.safetensors", eviction=rule())
            memory.update(rng.normal(size=D), 0)
            figures[f"{name} {n}"] = 1e3 * milliseconds(lambda m=memory: m.eviction(m, 0), 0.1)
            times = []
            for turn in range(5):
                Q, y = rng.normal(size=(256, D)), [(turn, i) for i in range(256)]
                start = time.perf_counter()
                memory.update(Q, y)
                times.append(time.perf_counter() - start)
            figures[f"{name} {n} update"] = 1e6 * float(np.median(times)) / 256
    return figures


def floor():
    """Milliseconds for the keys to be read, or for the product where that is longer."""
    A = np.ones((2048, 2048), np.float32)
    flops = 2 * len(A) ** 3 / milliseconds(lambda: A @ A)
    bytes_a_ms = bandwidth()
    of = {
        f"{n} {size}": max(4 * n * D / bytes_a_ms, 2 * n * size * D / flops)
        for n, size in N_BATCHES
    }
    return of | {"gigabytes a second": bytes_a_ms / 1e6, "gigaflops": flops / 1e6}


def block(threads, n_rounds):
    """The figures with so many threads, and the ratios of each round."""
    for name in ("OPENBLAS", "OMP", "MKL", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    rounds, median = in_turns([*CONTENDERS, rules], n_rounds)
    names = [contender.__name__ for contender in CONTENDERS if contender.__name__ in median]
    ratios = {}
    print(
        f"\n{threads} thread{'s' * (threads > 1)}: {median['floor']['gigaflops']:.0f} Gflop/s, "
        f"{median['floor']['gigabytes a second']:.0f} GB/s"
    )
    print(f"{'ms':22}" + "".join(f"{name:>10}" for name in [*names, "floor"]))
    for what in median["ours"]:
        kind, *_, n, size = what.split()
        if kind == "state":
            for one in rounds:
                assert one["ours"][what] == one["plain"][what], what
            continue
        if kind == "hits":
            print(f"{what:22}" + "".join(f"{median[name][what]:10.3f}" for name in names))
            continue
        least = median["floor"][f"{n} {size}"]
        print(f"{what:22}" + "".join(f"{median[name][what]:10.3f}" for name in names), end="")
        print(f"{least:10.3f}")
        ratios[what] = {
            name: sorted(one[name][what] / one["ours"][what] for one in rounds)
            for name in names[1:]
        }
        ratios[what]["floor"] = least / median["ours"][what]
    print("\ntimes as fast as     " + "".join(f"{name:>10}" for name in [*names[1:], "floor"]))
    for what, of in ratios.items():
        print(f"{what:22}" + "".join(f"{np.median(ratio):10.2f}" for ratio in of.values()))
    print("\nmicroseconds a write, and of the rule alone")
    for name in RULES:
        pairs = [
            (median["rules"][f"{name} {n} update"], median["rules"][f"{name} {n}"]) for n in SIZES
        ]
        print(f"{name:24}" + "".join(f"{update:10.1f} ({alone:.1f})" for update, alone in pairs))
    return {"median": median, "times as fast as": ratios}


def main(quick):
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)
    for n in SIZES:
        fill(n)
    blocks = {f"{threads} threads": block(threads, 1 if quick else ROUNDS) for threads in THREADS}
    if quick or "faiss" not in blocks["1 threads"]["median"]:
        print("results/memory.json stays as it is")
        return
    record = machine("numpy", "faiss-cpu")
    setting = {"key size": D, "slots": SIZES, "k": K_NEAREST}
    write("memory", record | {"setting": setting, **blocks})


if __name__ == "__main__":
    if sys.argv[1:] in ([], ["--quick"]):
        main(bool(sys.argv[1:]))
    elif sys.argv[1] in ("floor", "rules"):
        print(json.dumps(globals()[sys.argv[1]]()))
    else:
        try:
            print(json.dumps(measure(globals()[sys.argv[1]])))
        except ModuleNotFoundError:
            print("null")
