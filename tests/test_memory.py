"""The memory, beside a plain loop over dense arrays that follows the post word by word."""

import math
from collections import Counter
from copy import deepcopy
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from rarebook import memory as module
from rarebook.eviction import (
    ClassBalancedReservoir,
    LabelAware,
    LeastOftenHit,
    LeastRecentlyUsed,
    Oldest,
)
from rarebook.memory import Memory

# The plain loop -----------------------------------------------------------------------------------


class Plain:
    """K, V and A, one sample after another. The nearest is taken from sums in float64."""

    def __init__(self, n_slots, key_size, rng, rule, age_noise, dtype):
        self.n_slots, self.rng, self.rule, self.age_noise = n_slots, rng, rule, age_noise
        self.keys = np.zeros((n_slots, key_size), dtype)
        self.labels = [None] * n_slots
        self.ages, self.hits = np.zeros(n_slots, int), np.zeros(n_slots, int)
        self.noise = np.zeros(n_slots)
        self.order = []  # slots, the last used at the end
        self.seen, self.full = Counter(), set()

    @property
    def n_filled(self):
        return self.n_slots - self.labels.count(None)

    def use(self, slot):
        self.order = [other for other in self.order if other != slot] + [slot]

    def nearest(self, q):
        products = (self.keys[: self.n_filled].astype(np.float64) * unit(q, self.keys)).sum(axis=1)
        return int(np.flatnonzero(products == products.max())[0])

    def learn(self, q, y):
        nearest = self.nearest(q) if self.n_filled else None
        q, hit, evicted = unit(q, self.keys), False, None
        self.seen[y] += 1
        if nearest is not None:
            slot = nearest
            self.use(slot)
            hit = self.labels[slot] == y
        if hit:
            total = q.astype(np.float64) + self.keys[slot]
            length = np.sqrt((total * total).sum())
            zero = length <= 16 * np.finfo(q.dtype).eps
            self.keys[slot] = q if zero else total / length
            self.hits[slot] += 1
        else:
            slot = self.n_filled if self.n_filled < self.n_slots else self.rule(self, y)
            if slot is not None:
                evicted = self.labels[slot]
                self.keys[slot], self.labels[slot], self.hits[slot] = q, y, 0
                self.noise[slot] = self.age_noise * self.rng.random()
        self.ages += 1
        if slot is not None:
            self.ages[slot] = 0
            self.use(slot)
        return -1 if slot is None else int(slot), hit, evicted


def unit(q, keys):
    q = np.asarray(q, np.float64)
    return (q / np.sqrt((q * q).sum())).astype(keys.dtype)


def most(scores):
    return max(range(len(scores)), key=lambda slot: (scores[slot], -slot))


def plain_label_aware(power):
    def rule(plain, label):
        held = Counter(plain.labels)
        shares = [power(held[label] / plain.n_slots) for label in plain.labels]
        old = plain.ages + plain.noise
        return most([a * t for a, t in zip(old, shares, strict=True)])

    return rule


def plain_reservoir(plain, label):
    held = Counter(plain.labels)
    largest = max(held.values())
    plain.full |= {label for label, n in held.items() if n == largest}
    if label not in plain.full:
        slots = [slot for slot, other in enumerate(plain.labels) if held[other] == largest]
    elif plain.rng.random() < held[label] / plain.seen[label]:
        slots = [slot for slot, other in enumerate(plain.labels) if other == label]
    else:
        return None
    return slots[plain.rng.integers(len(slots))]


def plain_least_often_hit(plain, label):
    old = plain.ages + plain.noise
    return most([(-n, a) for n, a in zip(plain.hits, old, strict=True)])


def brightest(memory, label):
    """A rule of one's own that looks at keys."""
    return np.argmax(memory.keys.astype(np.float64).sum(axis=1))


def hesitant(memory, label):
    """A rule of one's own that now and then refuses to write."""
    return None if memory.ages.sum() % 3 == 0 else int(memory.ages.argmin())


RULES = {
    "oldest": (Oldest(), lambda plain, label: most(plain.ages + plain.noise)),
    "label-aware, 0": (LabelAware(0), plain_label_aware(lambda share: 1)),
    "label-aware, 1/2": (LabelAware(0.5), plain_label_aware(math.sqrt)),
    "label-aware": (LabelAware(), plain_label_aware(lambda share: share)),
    "label-aware, 2": (LabelAware(2), plain_label_aware(lambda share: share * share)),
    "reservoir": (ClassBalancedReservoir(), plain_reservoir),
    "least recently used": (LeastRecentlyUsed(), lambda plain, label: plain.order[0]),
    "least often hit": (LeastOftenHit(), plain_least_often_hit),
    "reads keys": (brightest, brightest),
    "refuses": (hesitant, hesitant),
}


# What is compared ---------------------------------------------------------------------------------


def state(memory):
    """All that a memory shows, in a form that == compares bit for bit."""
    arrays = {
        name: getattr(memory, name)
        for name in ("keys", "ages", "noise", "noisy_ages", "hits", "last_used", "label_ids")
    }
    arrays |= {"counts": memory.label_counts, "seen": memory.label_seen}
    arrays |= {f"rule {name}": values for name, values in memory.rule_state.items()}
    return {
        "arrays": {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()},
        "labels": [(type(label), label) for label in memory.labels],
        "known": [(type(label), label) for label in memory.known_labels],
        "numbers": (memory.n_filled, len(memory), memory.n_updates),
        "rng": repr(memory.rng.bit_generator.state),
    }


def same(*memories):
    first, *others = map(state, memories)
    for other in others:
        for name, value in first.items():
            assert other[name] == value, name


def as_plain(memory, plain):
    assert memory.labels == plain.labels
    assert memory.keys.tobytes() == plain.keys.tobytes()
    assert memory.ages[: plain.n_filled].tolist() == plain.ages[: plain.n_filled].tolist()
    assert memory.noise.tolist() == plain.noise.tolist()
    assert memory.hits.tolist() == plain.hits.tolist()
    assert np.argsort(memory.last_used[: plain.n_filled]).tolist() == plain.order
    assert memory.rng.bit_generator.state == plain.rng.bit_generator.state
    held = Counter(plain.labels)
    known = memory.known_labels
    assert memory.label_counts.tolist() == [held[label] for label in known]
    assert dict(zip(known, memory.label_seen.tolist(), strict=True)) == plain.seen
    assert known == list(plain.seen)  # in the order of their first samples
    for slot, number in enumerate(memory.label_ids.tolist()):
        assert number == (-1 if plain.labels[slot] is None else known.index(plain.labels[slot]))


# Streams ------------------------------------------------------------------------------------------


def queries(kind, n, key_size, rng):
    if kind == "grid":  # many ties that are exact
        Q = rng.integers(-1, 2, size=(n, key_size)).astype(float)
        Q[~Q.any(axis=1), 0] = 1
        return Q
    centres = rng.normal(size=(3, key_size))[rng.integers(3, size=n)]
    if kind == "near ties":
        return centres + 1e-7 * rng.normal(size=(n, key_size))
    if kind == "opposite":
        return centres * rng.choice([-1.0, 1.0], size=(n, 1))
    return centres + 0.3 * rng.normal(size=(n, key_size))  # clusters


@st.composite
def streams(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    key_size = draw(st.sampled_from([1, 2, 3, 9, 40]))
    n = draw(st.integers(1, 50))
    kind = draw(st.sampled_from(["grid", "near ties", "opposite", "clusters"]))
    labels = [f"label {i}" for i in rng.integers(draw(st.integers(1, 6)), size=n)]
    settings = {
        "n_slots": draw(st.integers(1, 12)),
        "key_size": key_size,
        "age_noise": draw(st.sampled_from([0, 1, 16])),
        "dtype": draw(st.sampled_from(["float32", "float64"])),
    }
    cuts = sorted(set(draw(st.lists(st.integers(0, n), max_size=4))) | {0, n})
    return settings, queries(kind, n, key_size, rng), labels, cuts


def memories(settings, rule, plain_rule):
    learners = [Memory(rng=np.random.default_rng(5), eviction=rule, **settings) for _ in range(2)]
    return *learners, Plain(rng=np.random.default_rng(5), rule=plain_rule, **settings)


@pytest.mark.parametrize("name", RULES)
@given(stream=streams(), count=st.booleans())
def test_a_batch_gives_what_one_sample_at_a_time_gives(name, stream, count):
    settings, Q, y, cuts = stream
    batched, single, plain = memories(settings, *RULES[name])
    for start, stop in pairwise(cuts):
        update = batched.update(Q[start:stop], y[start:stop])
        samples = list(zip(Q[start:stop], y[start:stop], strict=True))
        alone = [single.update(q, label) for q, label in samples]
        expected = [plain.learn(q, label) for q, label in samples]
        assert list(zip(*(part.tolist() for part in update), strict=True)) == expected
        assert [tuple(one) for one in alone] == expected
        same(batched, single)
        as_plain(batched, plain)
        batched.query(Q[: start + 1], count=count)
        for q in Q[: start + 1]:
            single.query(q, k=2, count=count)
            if count:
                plain.use(plain.nearest(q))
        same(batched, single)
        as_plain(single, plain)


@pytest.mark.parametrize("n_slots", [40, 1000])
@pytest.mark.parametrize("name", RULES)
def test_more_samples_than_are_worked_on_at_a_time(name, n_slots, rng):
    n = 2 * module.CHUNK + 45
    Q = np.concatenate([queries(k, n, 8, rng) for k in ("clusters", "near ties", "opposite")])
    Q = rng.permutation(Q)[:n]
    y = rng.integers(4, size=n)
    y[rng.integers(n, size=n // 8)] += 10
    settings = {"n_slots": n_slots, "key_size": 8, "age_noise": 1, "dtype": "float32"}
    batched, single, plain = memories(settings, *RULES[name])
    update = batched.update(Q, y)
    alone = [single.update(q, label) for q, label in zip(Q, y, strict=True)]
    for q, label in zip(Q, y, strict=True):
        plain.learn(q, int(label))
    same(batched, single)
    as_plain(batched, plain)
    assert update.slots.tolist() == [one.slots for one in alone]
    assert update.hits.any() and not update.hits.all()


# Worked by hand -----------------------------------------------------------------------------------


def small(**settings):
    """Three of four slots: day at (1, 0), night at (0, 1), noon at (-1, 0)."""
    memory = Memory(4, 2, rng=np.random.default_rng(0), **settings)
    memory.update([[2, 0], [0, 3], [-1, 0]], ["day", "night", "noon"])
    return memory


def test_a_hit_averages_and_a_miss_writes():
    memory = small()
    assert memory.update([3, 4], "night") == (1, True, None)
    expected = np.array([0.6, 1.8]) / np.sqrt(3.6)
    np.testing.assert_allclose(memory.keys[1], expected, rtol=1e-6)
    assert memory.ages.tolist() == [3, 0, 1, 4] and memory.hits.tolist() == [0, 1, 0, 0]
    assert memory.update([1, 0], "night") == (3, False, None)
    assert memory.labels == ["day", "night", "noon", "night"]
    assert memory.ages.tolist() == [4, 1, 2, 0]
    # Full: the oldest goes, and the update names what was lost.
    assert memory.update([1, 0.1], "eve") == (0, False, "day")
    assert memory.label_counts.tolist() == [0, 2, 1, 1]
    assert memory.label_seen.tolist() == [1, 3, 1, 1] and memory.label_id("eve") == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("opposite", [[-3, -4], [-3.0000001, -4], [-3, -4.0000001]])
def test_the_opposite_of_a_key_replaces_it(opposite, dtype):
    for batch in (False, True):
        memory = Memory(1, 2, rng=np.random.default_rng(0), dtype=dtype)
        memory.update([3, 4], "a")
        q, y = ([opposite] * 2, ["a"] * 2) if batch else (opposite, "a")
        memory.update(q, y)
        assert np.isfinite(memory.keys).all()
        assert abs(np.linalg.norm(memory.keys[0]) - 1) < 1e-6
        if opposite == [-3, -4]:
            np.testing.assert_allclose(memory.keys[0], [-0.6, -0.8], rtol=1e-6)


def test_a_label_that_is_new_in_a_batch_is_averaged_there():
    memory = Memory(3, 2, rng=np.random.default_rng(0))
    update = memory.update([[1, 0], [1, 0.1], [1, 0.2]], ["new"] * 3)
    assert update.slots.tolist() == [0, 0, 0] and update.hits.tolist() == [False, True, True]
    assert update.evicted.tolist() == [None] * 3 and memory.known_labels == ["new"]


def test_noise_is_drawn_at_a_write_alone():
    memory, rng = small(age_noise=16), np.random.default_rng(0)
    drawn = 16 * rng.random(3)
    memory.update([3, 4], "night")
    assert memory.noise.tolist() == [*drawn, 0]
    assert memory.rng.bit_generator.state == rng.bit_generator.state
    np.testing.assert_allclose(memory.noisy_ages, memory.ages + memory.noise, rtol=1e-12)


def test_equal_keys_the_lowest_slot_wins():
    memory = Memory(3, 2, rng=np.random.default_rng(0))
    memory.update([[1, 0], [0, 1]], ["a", "b"])
    memory.update([1, 0], "b")
    memory.refresh([2], [[1, 0]])
    assert memory.query([1, 0], k=3).slots.tolist() == [0, 2, 1]
    assert memory.query([1, 0]).labels.tolist() == ["a"]
    assert memory.query([[-1, 0]], k=2).slots.tolist() == [[1, 0]]


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_query_may_have_any_length(scale, dtype):
    memory = Memory(2, 2, rng=np.random.default_rng(0), dtype=dtype)
    memory.update([[scale, 0], [0, scale]], [0, 1])
    assert memory.keys.tolist() == [[1, 0], [0, 1]]
    found = memory.query([scale, scale], k=2)
    np.testing.assert_allclose(found.similarities, np.sqrt([0.5, 0.5]), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_layout_of_an_array_makes_no_difference(dtype, rng):
    Q, y = rng.normal(size=(30, 19)), rng.integers(3, size=30)
    wide = np.zeros((30, 38))
    wide[:, ::2] = Q
    learners = []
    for same_values in (Q, np.asfortranarray(Q), wide[:, ::2], Q[:, ::-1].copy()[:, ::-1], list(Q)):
        memory = Memory(9, 19, rng=np.random.default_rng(1), dtype=dtype)
        memory.update(same_values, y)
        learners.append(memory)
    same(*learners)


def test_what_is_handed_in_is_not_changed(rng):
    Q, y = rng.normal(size=(20, 3)).astype("float32"), list("ab" * 10)
    before = Q.copy(), list(y)
    memory = Memory(20, 3, rng=rng)
    memory.update(Q, y)
    memory.query(Q)
    memory.nearest_pairs(Q, y)
    memory.refresh(range(2), Q[:2])
    assert Q.tolist() == before[0].tolist() and y == before[1]
    keys = memory.keys.copy()
    Q[:] = 7
    assert memory.keys.tolist() == keys.tolist()
    with pytest.raises(ValueError, match=r"read-only"):
        memory.keys[0] = 0


def test_no_samples_change_nothing():
    memory = small()
    before = state(memory)
    update = memory.update(np.empty((0, 2)), [])
    assert [part.shape for part in update] == [(0,)] * 3
    found = memory.query(np.empty((0, 2)), k=2)
    assert [part.shape for part in found] == [(0, 2)] * 4
    pairs = memory.nearest_pairs(np.empty((0, 2)), [], k=2)
    assert (pairs.positives.shape, pairs.negatives.shape) == ((0,), (0, 2))
    memory.refresh([], np.empty((0, 2)))
    assert state(memory) == before


# Labels -------------------------------------------------------------------------------------------


def labelled(*labels):
    memory = Memory(len(labels), len(labels), rng=np.random.default_rng(0))
    memory.update(np.eye(len(labels)), list(labels))
    return memory.query(np.eye(len(labels))).labels


def test_integers_come_back_as_int64():
    for labels in ([3, 1, -(2**63) + 1], np.array([3, 1, 2], np.int8), [2**63 - 1, 0, 5]):
        found = labelled(*labels)
        assert found.dtype == np.int64 and found.ravel().tolist() == list(labels)


@pytest.mark.parametrize(
    "labels",
    [
        ("a", "b"),
        (1, "b"),
        ((1, 2), (1, 3)),
        (frozenset([1]), b"raw"),
        (2**63, 0),
        (-(2**70), 0),
        (0.5, 1),
        (True, 0),
        (float("inf"), ()),
    ],
)
def test_other_labels_come_back_as_objects(labels):
    found = labelled(*labels)
    assert found.dtype == object and found.shape == (2, 1)
    assert [(type(label), label) for label in found.ravel()] == [(type(x), x) for x in labels]


def test_equal_labels_are_one_label():
    memory = Memory(9, 1, rng=np.random.default_rng(0))
    memory.update([[1]] * 5, [1, True, 1.0, np.int8(1), np.float32(1)])
    assert memory.known_labels == [1] and type(memory.known_labels[0]) is int
    assert memory.label_seen.tolist() == [5] and len(memory) == 1
    memory.update([[1]] * 2, np.array(["a", "a"]))
    assert memory.known_labels == [1, "a"] and type(memory.known_labels[1]) is str


def test_labels_are_those_of_now():
    def ask(memory, label):
        asked.append(memory.query(np.eye(3)).labels.dtype)
        raise RuntimeError

    memory, asked = Memory(2, 3, rng=np.random.default_rng(0), eviction=ask), []
    memory.update(np.eye(3)[:2], [1, 2])
    assert memory.query(np.eye(3)[:2]).labels.tolist() == [[1], [2]]
    with pytest.raises(RuntimeError):
        memory.update([0, 0, 1], "three")
    assert memory.query(np.eye(3)[:2]).labels.dtype == np.int64 and asked == [object]
    memory.eviction = Oldest()
    memory.update([0, 0, 1], 4)
    assert memory.query(np.eye(3)[[2, 1]]).labels.tolist() == [[4], [2]]
    memory.update([1, 0, 0], 2**70)
    assert memory.query(np.eye(3)[[0]]).labels.tolist() == [[2**70]]


def test_many_labels(rng):
    n = 100
    memory = Memory(n, 64, rng=rng)
    memory.update(rng.normal(size=(n, 64)), [f"label {i}" for i in range(n)])
    assert memory.label_counts.tolist() == [1] * n == memory.label_seen.tolist()
    assert [memory.label_id(label) for label in memory.labels] == list(range(n))
    with pytest.raises(KeyError):
        memory.label_id("another")


# Reading ------------------------------------------------------------------------------------------


@st.composite
def filled(draw):
    """A memory, partly filled, and queries, many of which are nearest to several keys."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    key_size = draw(st.sampled_from([1, 2, 9, 33]))
    kind = draw(st.sampled_from(["grid", "near ties", "opposite", "clusters"]))
    n = draw(st.integers(1, 20))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    memory = Memory(n + draw(st.integers(0, 3)), key_size, rng=rng, dtype=dtype)
    Q = queries(kind, n + 6, key_size, rng)
    memory.update(Q[:n], list(range(n)))
    memory.update(Q[:n], rng.integers(3, size=n))
    memory.refresh(np.arange(len(memory)), Q[: len(memory)])
    return memory, Q[rng.permutation(n + 6)[:6]]


def by_hand(memory, q, k):
    """The k nearest slots and the similarities, from a sort of all of them."""
    n = memory.n_filled
    products = (memory.keys[:n].astype(np.float64) * unit(q, memory.keys)).sum(axis=1)
    slots = sorted(range(n), key=lambda slot: (-products[slot], slot))[:k]
    return slots, products[slots].clip(-1, 1).astype(memory.dtype).tolist()


@given(case=filled(), k=st.integers(1, 25), t=st.sampled_from([0, 1, 40]))
def test_query_finds_the_nearest_of_all(case, k, t):
    memory, Q = case
    found = memory.query(Q, k, inverse_temperature=t, count=False)
    width = min(k, memory.n_filled)
    assert [part.shape for part in found] == [(6, width)] * 4
    assert found.similarities.dtype == found.confidences.dtype == memory.dtype
    assert found.labels.dtype == found.slots.dtype == np.int64
    for i, q in enumerate(Q):
        slots, similarities = by_hand(memory, q, k)
        assert found.slots[i].tolist() == slots
        assert found.similarities[i].tolist() == similarities
        assert found.labels[i].tolist() == [memory.labels[slot] for slot in slots]
        exps = np.exp(t * (found.similarities[i].astype(float) - similarities[0]))
        np.testing.assert_allclose(found.confidences[i], exps / exps.sum(), 1e-4, 1e-6)
        assert abs(found.confidences[i].sum() - 1) < 1e-5
        alone = memory.query(q, k, inverse_temperature=t, count=False)
        for part, row in zip(alone, found, strict=True):
            assert part.shape == (width,) and part.tolist() == row[i].tolist()


@given(case=filled(), k=st.integers(1, 25), products=st.sampled_from([1, 40, 200]))
def test_many_queries_are_taken_in_parts(case, k, products):
    memory, Q = case
    whole = memory.query(Q, k)
    with mock.patch.object(module, "PRODUCTS", products):
        parts = memory.query(Q, k)
    for part, of_whole in zip(parts, whole, strict=True):
        assert part.tolist() == of_whole.tolist()


def test_many_queries_for_many_keys_need_little_room():
    n, key_size = 64, 512
    memory = Memory(n, key_size, rng=np.random.default_rng(0))
    memory.update(np.eye(n, key_size), range(n))
    with mock.patch.object(module, "largest", side_effect=module.largest) as calls:
        memory.query(np.tile(np.eye(n, key_size), (8, 1)), k=n)
    assert max(len(call.args[0]) for call in calls.call_args_list) <= module.PRODUCTS / n / key_size


def test_empty_slots_are_never_found():
    memory = Memory(5, 3, rng=np.random.default_rng(0))
    memory.update([[-1, -1, 0], [-1, 0, 0]], ["a", "b"])
    found = memory.query([[1, 0.5, 0], [0, 0, 1]], k=5)
    assert found.slots.tolist() == [[1, 0], [0, 1]] and (found.similarities <= 0).all()
    assert memory.update([1, 0, 0], "b") == (2, False, None)  # nearest is a, as both are far


def test_confidences_by_hand():
    memory = small()
    found = memory.query([1, 0], k=2, inverse_temperature=np.log(2))
    assert found.similarities.tolist() == [1, 0]
    np.testing.assert_allclose(found.confidences, [2 / 3, 1 / 3], rtol=1e-6)
    assert (
        memory.query([1, 0], k=3, inverse_temperature=0).confidences.tolist()
        == [np.float32(1 / 3)] * 3
    )
    assert memory.query([1, 0], k=3, inverse_temperature=1e308).confidences.tolist() == [1, 0, 0]


def test_similarities_stay_within_one(rng):
    Q = rng.normal(size=(500, 3))
    memory = Memory(500, 3, rng=rng)
    memory.update(Q, range(500))
    memory.refresh(np.arange(500), Q)
    assert memory.query(Q).similarities.max() == 1
    assert memory.query(-Q, k=500).similarities.min() == -1


def test_query_counts_as_a_read_or_not():
    memory = small()
    before = state(memory)
    memory.query([[1, 0], [0, 1]], k=3, count=False)
    assert state(memory) == before
    memory.query([[1, 0], [0, 1], [1, 0]], k=3)
    assert np.argsort(memory.last_used[:3]).tolist() == [2, 1, 0]
    assert {**state(memory), "arrays": 0} == {**before, "arrays": 0}
    assert memory.ages.tolist() == [2, 1, 0, 3] and memory.hits.tolist() == [0] * 4


@given(case=filled(), k=st.integers(1, 25), seed=st.integers(0, 99))
def test_nearest_pairs_by_hand(case, k, seed):
    memory, Q = case
    y = np.random.default_rng(seed).integers(-1, 6, size=len(Q))
    before = state(memory)
    pairs = memory.nearest_pairs(Q, y, k)
    assert state(memory) == before
    assert pairs.positives.dtype == pairs.negatives.dtype == np.int64
    for i, (q, label) in enumerate(zip(Q, y.tolist(), strict=True)):
        slots, _ = by_hand(memory, q, memory.n_filled)
        right = [slot for slot in slots if memory.labels[slot] == label]
        wrong = [slot for slot in slots[:k] if memory.labels[slot] != label]
        assert pairs.positives[i] == (right[0] if right else -1)
        assert pairs.negatives[i].tolist() == wrong + [-1] * (k - len(wrong))
        alone = memory.nearest_pairs(q, label, k)
        assert alone.positives == pairs.positives[i]
        assert alone.negatives.tolist() == pairs.negatives[i].tolist()


def test_nearest_pairs_of_an_empty_memory():
    pairs = Memory(4, 2, rng=np.random.default_rng(0)).nearest_pairs([[1, 0]], ["a"], k=3)
    assert pairs.positives.tolist() == [-1] and pairs.negatives.tolist() == [[-1] * 3]


# Refreshing and printing --------------------------------------------------------------------------


def test_refresh_sets_keys_alone():
    memory = small()
    before = state(memory)
    memory.refresh(np.array([2, 0], np.uint8), [[0, -5], [3, 4]])
    np.testing.assert_allclose(memory.keys[:3], [[0.6, 0.8], [0, 1], [0, -1]], rtol=1e-6)
    after = state(memory)
    assert after["arrays"].pop("keys") != before["arrays"].pop("keys")
    assert after == before


def test_it_prints_what_it_holds():
    memory = small()
    memory.update([3, 4], "night")
    assert repr(memory) == "Memory(3 of 4 slots × 2, 3 labels, 4 updates, Oldest())"
    assert str(memory).splitlines() == [
        repr(memory),
        "slot  label  age  hits  key",
        "   0  day      3     0  +1.00 +0.00",
        "   1  night    0     1  +0.32 +0.95",
        "   2  noon     1     0  -1.00 +0.00",
        "and 1 empty slot",
    ]
    assert memory.table(2).splitlines() == [
        "slot  label  age  hits  key",
        "   0  day      3     0  +1.00 +0.00",
        "   …  …        …     …  …",
        "   2  noon     1     0  -1.00 +0.00",
        "and 1 empty slot",
    ]


def test_it_prints_briefly():
    memory = Memory(1200, 5, rng=np.random.default_rng(0), eviction=hesitant)
    assert str(memory).splitlines()[1:] == [
        "slot  label  age  hits  key",
        "and 1,200 empty slots",
    ]
    memory.update([[1, 0, 0, 0, 9]], [("a tuple", "that is much longer than others")])
    assert repr(memory) == "Memory(1 of 1,200 slots × 5, 1 label, 1 update, hesitant)"
    row = memory.table().splitlines()[1]
    assert row.split("  ")[1:3] == [" 0", "('a tuple', 'that is mu…"]
    assert row.endswith("+0.11 +0.00 +0.00 +0.00 …")
    memory.update([[0, 1, 0, 0, 0]], ["two\nlines"])
    assert memory.table().splitlines()[2].split("  ")[1:3] == [" 1", "two lines"]


# What is refused, and that nothing has changed then -----------------------------------------------


def drawing(memory, label):
    """A rule that draws lots and remembers its calls in an array that it changes in place."""
    calls = memory.rule_state.setdefault("calls", np.zeros(1, int))
    calls += 1
    return memory.rng.integers(memory.n_slots)


def busy(eviction=drawing, **settings):
    """A full memory of eight slots, whose rule has been called."""
    rng = np.random.default_rng(3)
    memory = Memory(8, 3, rng=rng, eviction=eviction, **settings)
    memory.update(rng.normal(size=(40, 3)), rng.integers(3, size=40))
    return memory


def goes_on(memory, twin):
    """Both give the same from now on."""
    same(memory, twin)
    rng = np.random.default_rng(4)
    Q, y = rng.normal(size=(30, 3)), rng.integers(6, size=30)
    for one, other in zip(memory.update(Q, y), twin.update(Q, y), strict=True):
        assert one.tolist() == other.tolist()
    memory.query(Q), twin.query(Q)
    same(memory, twin)


def test_a_copy_goes_on_as_the_original():
    memory = busy()
    goes_on(memory, deepcopy(memory))


BAD_QUERIES = [
    ([[0, 0, 0]], r"a row of length 0"),
    ([[1, 2, 3], [0, 0, 0]], r"a row of length 0"),
    ([0.0, 0.0, 0.0], r"a row of length 0"),
    ([1, np.nan, 0], r"nan or infinity"),
    ([[1, 2, -np.inf]], r"nan or infinity"),
    ([[1, 2]], r"shape \(1, 2\); allowed: an array of shape \(n, 3\)"),
    ([1, 2, 3, 4], r"shape \(1, 4\)"),
    ([], r"shape \(1, 0\)"),
    (np.ones((1, 1, 3)), r"shape \(1, 1, 3\)"),
    (5, r"shape \(\)"),
    (None, r"shape \(\)"),
    ("abc", r"shape \(\)"),
    ([[1, 2, 3], [1, 2]], r"rows of different lengths"),
    ([1, 2, None], r"values of dtype object"),
    ([1, 2, 1j], r"values of dtype complex128"),
    (["1", "2", "3"], r"values of dtype"),
    (scipy.sparse.csr_matrix(np.eye(3)), r"a sparse matrix"),
    (scipy.sparse.coo_array(np.eye(3)), r"a sparse matrix"),
]
BAD_LABELS = [
    ([[1], [2]], r"the label \[1\]"),
    ([{}, 1], r"the label \{\}"),
    ([1, None], r"the label None"),
    ([float("nan"), 1], r"the label nan"),
    ([1, np.float32("nan")], r"the label nan"),
    ([1, (2, [3])], r"the label \(2, \[3\]\)"),
    ([1, np.array(1)], r"the label array\(1\)"),
    ([1], r"1 labels; allowed: 2 labels"),
    ([1, 2, 3], r"3 labels; allowed: 2 labels"),
    ("ab", r"'ab'|2 labels"),
    (7, r"7; allowed: 2 labels"),
    (None, r"None; allowed"),
    (np.array(3), r"array\(3\)"),
    (np.ones((2, 1)), r"array"),
    ({1, 2}, r"\{1, 2\}"),
    ({1: 1, 2: 2}, r"\{1: 1, 2: 2\}"),
    (iter([1, 2]), r"<list_iterator"),
]


@pytest.mark.parametrize(("q", "message"), BAD_QUERIES)
def test_bad_queries_are_refused(q, message):
    memory = busy()
    twin = deepcopy(memory)
    for call in (
        memory.query,
        lambda q: memory.update(q, "a"),
        lambda q: memory.nearest_pairs(q, "a"),
    ):
        with pytest.raises(ValueError, match=rf"^q: received .*{message}"):
            call(q)
    goes_on(memory, twin)


@pytest.mark.parametrize(("y", "message"), BAD_LABELS)
def test_bad_labels_are_refused(y, message):
    memory = busy()
    twin = deepcopy(memory)
    for call in (memory.update, memory.nearest_pairs):
        with pytest.raises(ValueError, match=rf"^y: received .*({message})"):
            call([[1, 0, 0], [0, 1, 0]], y)
    goes_on(memory, twin)


class Ambiguous:
    """Compares as pandas.NA does."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise TypeError("ambiguous")


@pytest.mark.parametrize("y", [[1], {}, None, float("nan"), np.ones(2), np.nan, Ambiguous()])
def test_a_single_label_is_refused(y):
    memory = busy()
    twin = deepcopy(memory)
    for call in (memory.update, memory.nearest_pairs):
        with pytest.raises(ValueError, match=r"^y: received the label .*; allowed: integers"):
            call([1, 0, 0], y)
    goes_on(memory, twin)


@pytest.mark.parametrize("k", [0, -1, True, 1.5, "1", None])
def test_a_bad_k_is_refused(k):
    memory = busy()
    twin = deepcopy(memory)
    for call in (lambda: memory.query([1, 0, 0], k), lambda: memory.nearest_pairs([1, 0, 0], 1, k)):
        with pytest.raises(ValueError, match=r"^k: received .*; allowed: a whole number"):
            call()
    goes_on(memory, twin)


@pytest.mark.parametrize("t", [-1, np.nan, np.inf, "40", None, True])
def test_a_bad_temperature_is_refused(t):
    memory = busy()
    twin = deepcopy(memory)
    with pytest.raises(ValueError, match=r"^inverse_temperature: received"):
        memory.query([1, 0, 0], inverse_temperature=t)
    goes_on(memory, twin)


def test_an_empty_memory_answers_no_query():
    with pytest.raises(ValueError, match=r"^memory: received no slot taken; allowed: one or more"):
        Memory(2, 2, rng=np.random.default_rng(0)).query([1, 0])


@pytest.mark.parametrize(
    ("slots", "q", "message"),
    [
        ([0, 0], np.eye(3)[:2], r"^slots: received a slot twice"),
        ([8], np.eye(3)[:1], r"^slots: received ids from 8 to 8"),
        ([-1], np.eye(3)[:1], r"^slots: received ids from -1"),
        ([1.5], np.eye(3)[:1], r"^slots: received the type float64"),
        ([True], np.eye(3)[:1], r"^slots: received the type bool"),
        ([[0]], np.eye(3)[:1], r"^slots: received shape \(1, 1\)"),
        (0, np.eye(3)[:1], r"^slots: received shape \(\)"),
        ([0, 1], np.eye(3), r"^q: received shape \(3, 3\); allowed: .* \(2, 3\)"),
        ([0, 1], [[1, 0, 0], [0, 0, 0]], r"^q: received a row of length 0"),
        ([0, 1], [[1, 0, 0], [0, 0, np.nan]], r"^q: received nan"),
        ([0], [1, 0, 0], r"^q: received shape \(3,\)"),
    ],
)
def test_a_bad_refresh_is_refused(slots, q, message):
    memory = busy()
    twin = deepcopy(memory)
    with pytest.raises(ValueError, match=message):
        memory.refresh(slots, q)
    goes_on(memory, twin)


def test_an_empty_slot_is_not_refreshed():
    memory = small()
    with pytest.raises(ValueError, match=r"^slots: received ids from 3 to 3; allowed: 0 to 2"):
        memory.refresh([3], [[1, 0]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_slots": 0}, r"^n_slots: received 0; allowed: a whole number, at least 1"),
        ({"n_slots": 2.0}, r"^n_slots: received 2.0"),
        ({"key_size": True}, r"^key_size: received True"),
        ({"rng": 0}, r"^rng: received 0; allowed: a numpy.random.Generator"),
        ({"rng": np.random}, r"^rng: received"),
        ({"eviction": "oldest"}, r"^eviction: received 'oldest'; allowed: a function"),
        ({"age_noise": -1}, r"^age_noise: received -1"),
        ({"age_noise": np.inf}, r"^age_noise: received inf"),
        ({"dtype": "float16"}, r"^dtype: received 'float16'"),
        ({"dtype": ">f4"}, r"^dtype: received '>f4'"),
        ({"dtype": None}, r"^dtype: received None"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Memory(**({"n_slots": 2, "key_size": 2, "rng": np.random.default_rng(0)} | settings))


@pytest.mark.parametrize("max_rows", [1, 2.5, True])
def test_a_bad_table_is_refused(max_rows):
    with pytest.raises(ValueError, match=r"^max_rows: received"):
        small().table(max_rows)


class After:
    """The rule ``drawing`` for so many calls; then it fails, or returns something else."""

    def __init__(self, calls, failure):
        self.calls, self.failure = calls, failure

    def __call__(self, memory, label):
        slot = drawing(memory, label)
        calls = memory.rule_state["calls"][0]
        if calls % 5 == 0:
            memory.keys.sum()  # so that the keys are computed, now and then
        if calls <= self.calls:
            return slot
        memory.rule_state["more"] = np.zeros(2)
        if isinstance(self.failure, BaseException):
            raise self.failure
        return self.failure


@pytest.mark.parametrize("calls", [0, 1, 40, 300])
@pytest.mark.parametrize(
    "failure",
    [
        *(-1, 8, 10**30, 1.5, "a", True, np.True_, np.float64(2), [1], np.array([1]), np.nan),
        *(RuntimeError("the rule"), KeyboardInterrupt(), SystemExit()),
    ],
)
def test_a_rule_that_fails_undoes_the_whole_update(failure, calls):
    rule = After(10**9, failure)
    memory = busy(rule)
    made = int(memory.rule_state["calls"][0])
    twin = deepcopy(memory)
    rule.calls = made + calls
    Q = np.random.default_rng(6).normal(size=(700, 3))
    y = [f"new {i % 50}" if i % 3 else i % 4 for i in range(1, 701)]  # the last is new
    expected = type(failure) if isinstance(failure, BaseException) else ValueError
    message = None if expected is not ValueError else r"^eviction: received .* from the rule; allow"
    for n in (1, 700) if not calls else (700,):
        with pytest.raises(expected, match=message):
            memory.update(Q[-n:], y[-n:])
        same(memory, twin)
        with pytest.raises(KeyError):
            memory.label_id("new 1")
    rule.calls = 10**9
    goes_on(memory, twin)


def test_an_update_that_fails_while_the_memory_fills_is_undone():
    memory = Memory(6, 3, rng=np.random.default_rng(0), eviction=After(2, KeyboardInterrupt()))
    memory.update([[1, 0, 0]], ["a"])
    twin = deepcopy(memory)
    rng = np.random.default_rng(1)
    with pytest.raises(KeyboardInterrupt):
        memory.update(rng.normal(size=(30, 3)), [*"abcdefghij"] * 3)
    same(memory, twin)
    assert len(memory) == 1 and memory.known_labels == ["a"] and "calls" not in memory.rule_state


def test_a_rule_sees_the_memory_as_it_is_and_cannot_change_it():
    seen = []

    def rule(memory, label):
        seen.append(state(memory))
        for name in ("keys", "noise", "hits", "last_used", "label_ids"):
            with pytest.raises(ValueError, match=r"read-only"):
                getattr(memory, name)[0] = 1
        for name in ("label_counts", "label_seen"):
            with pytest.raises(ValueError, match=r"read-only"):
                getattr(memory, name)[0] = 1
        memory.ages[:] = 0
        memory.noisy_ages[:] = 0
        memory.labels[0] = memory.known_labels[0] = "mine"
        seen.append(state(memory))
        return memory.ages.argmax()

    rng = np.random.default_rng(2)
    Q, y = rng.normal(size=(40, 3)), rng.integers(4, size=40)
    memory = Memory(4, 3, rng=np.random.default_rng(0), eviction=rule)
    memory.update(Q, y)
    in_batch, seen = seen, []
    memory = Memory(4, 3, rng=np.random.default_rng(0), eviction=rule)
    for q, label in zip(Q, y, strict=True):
        memory.update(q, label)
    assert in_batch == seen and in_batch[::2] == in_batch[1::2] and len(seen) > 20


def test_a_rule_may_query():
    def crowded(memory, label):
        return memory.query(memory.keys[0], k=2, count=False).slots[-1]

    rng = np.random.default_rng(2)
    Q, y = rng.normal(size=(60, 3)), rng.integers(4, size=60)
    batched, single = (
        Memory(5, 3, rng=np.random.default_rng(0), eviction=crowded) for _ in range(2)
    )
    batched.update(Q, y)
    for q, label in zip(Q, y, strict=True):
        single.update(q, label)
    same(batched, single)


def test_several_updates_are_undone_together():
    memory = busy()
    twin = deepcopy(memory)
    rng = np.random.default_rng(1)
    with pytest.raises(KeyError), memory.undone_on_error():
        for n in (1, 30, 300):
            memory.update(rng.normal(size=(n, 3)), [*range(n)])
        raise KeyError
    goes_on(memory, twin)


@pytest.mark.parametrize("fails", [False, True])
def test_an_update_that_fails_is_undone_within_others_too(fails):
    rule = After(10**9, RuntimeError())
    memory = busy(rule)
    start = deepcopy(memory)
    rng = np.random.default_rng(1)
    Q, y = rng.normal(size=(60, 3)), [*range(60)]
    try:
        with memory.undone_on_error():
            memory.update(Q[:30], y[:30])
            twin = deepcopy(memory)
            rule.calls = int(memory.rule_state["calls"][0]) + 5
            with pytest.raises(RuntimeError):
                memory.update(Q, y)
            rule.calls = 10**9
            same(memory, twin)
            memory.update(Q, y)
            twin.update(Q, y)
            same(memory, twin)
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        twin = start
    goes_on(memory, twin)
