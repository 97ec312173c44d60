"""What the rules give up: by hand, in the long run, and against one another."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook.eviction import (
    RULES,
    ClassBalancedReservoir,
    LabelAware,
    LeastOftenHit,
    LeastRecentlyUsed,
    Oldest,
)
from rarebook.memory import Memory


def memory_of(labels, eviction, age_noise=0.0, seed=0):
    """A full memory with these labels, of which the first two differ; key i is unit vector i."""
    n = len(labels)
    memory = Memory(
        n, n + 1, rng=np.random.default_rng(seed), eviction=eviction, age_noise=age_noise
    )
    eye = np.eye(n, n + 1)
    for i, label in enumerate(labels):
        nearest = next((j for j in range(i) if labels[j] != label), i)
        assert memory.update(eye[nearest], label) == (i, False, None)
        memory.refresh([i], eye[i : i + 1])
    return memory


def hit(memory, *slots):
    for slot in slots:
        assert memory.update(np.eye(memory.key_size)[slot], memory.labels[slot]).hits


def write(memory, label):
    """The slot that a new pattern gets; its key points away from the others."""
    update = memory.update(-np.ones(memory.key_size), label)
    assert not update.hits
    return update.slots


def test_the_rules_know_their_names():
    assert all(name == rule.__name__ for name, rule in RULES.items())
    assert repr(RULES["LabelAware"]()) == "LabelAware(gamma=1.0)"
    assert LabelAware(np.float32(0.5)) == LabelAware(0.5) != LabelAware(1)
    assert type(LabelAware(np.int8(2)).gamma) is float


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_each_rule_goes_on_after_a_file_as_if_nothing_had_been(rule, tmp_path):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(300, 6)), rng.choice(9, 300, p=np.arange(1, 10) / 45)
    memory = Memory(12, 6, rng=rng, eviction=rule())
    memory.update(X[:150], y[:150])
    memory.save(tmp_path / "memory")
    again = Memory.load(tmp_path / "memory")
    assert again.eviction == rule()
    updates = [m.update(X[150:], y[150:]) for m in (memory, again)]
    for one, other in zip(*updates, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(memory.keys, again.keys)
    assert set(updates[0].slots[~updates[0].hits]) - {-1} <= set(range(12))


@pytest.mark.parametrize("gamma", [-1, -1e-9, np.nan, np.inf, "1", None, True])
def test_a_bad_gamma_is_refused(gamma):
    with pytest.raises(ValueError, match=r"^gamma: received .*; allowed: a finite number, at le"):
        LabelAware(gamma)


# By hand ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "slot"),
    [
        (Oldest(), 0),
        (LabelAware(0), 0),
        (LabelAware(), 1),
        (LabelAware(0.5), 0),
        (LabelAware(2), 1),
    ],
)
def test_the_worked_example_of_the_post(rule, slot):
    """Age 50, share 0.2 against age 15, share 0.8: 10 < 12, so the frequent label goes."""
    memory = memory_of(["rare", *["frequent"] * 4], rule)
    hit(memory, *[2, 3, 4] * 10, 1, *[2, 3, 4] * 5)
    assert memory.ages[:2].tolist() == [50, 15] and memory.ages[2:].max() < 15
    assert write(memory, "new") == slot


@given(
    n_labels=st.integers(1, 5),
    each=st.integers(1, 4),
    gamma=st.sampled_from([0, 0.5, 1, 2, 30]),
    noise=st.sampled_from([0, 1, 16]),
    hits=st.lists(st.integers(0, 19), max_size=30),
)
def test_with_equal_shares_all_decide_as_the_oldest(n_labels, each, gamma, noise, hits):
    labels = list(range(n_labels)) * (each if n_labels > 1 else 1)
    hits = [slot % len(labels) for slot in hits]
    chosen = []
    for rule in (Oldest(), LabelAware(gamma)):
        memory = memory_of(labels, rule, noise)
        hit(memory, *hits)
        chosen.append(write(memory, "new"))
    assert chosen[0] == chosen[1] == oldest_by_hand(len(labels), hits, noise)


def oldest_by_hand(n, hits, noise):
    """The slot that has waited longest, from the order of hits alone; with noise, from the sum."""
    ages = np.arange(n)[::-1] + len(hits)
    for i, slot in enumerate(hits):
        ages[slot] = len(hits) - 1 - i
    return int(np.argmax(ages + noise * np.random.default_rng(0).random(n)))


def test_noise_of_one_breaks_ties_and_no_more():
    for seed in range(20):
        memory = Memory(3, 3, rng=np.random.default_rng(seed))
        memory.update(np.eye(3), [*"abc"])
        assert write(memory, "d") == 0


def test_noise_of_sixteen_overrules_small_differences():
    lost = Counter()
    for seed in range(100):
        memory = Memory(3, 3, rng=np.random.default_rng(seed), age_noise=16)
        memory.update(np.eye(3), [*"abc"])
        lost[write(memory, "d")] += 1
    assert min(lost.values()) > 15 and len(lost) == 3


def test_least_recently_used_counts_reads_and_writes():
    memory = memory_of([*"abcd"], LeastRecentlyUsed())
    eye = np.eye(5)
    memory.query(eye[[0, 2]])  # 1, 3, 0, 2
    assert write(memory, "e") == 1  # key 1 is gone; the nearest to the new key was read
    memory = memory_of([*"abcd"], LeastRecentlyUsed())
    memory.query(eye[[0, 2]], count=False)
    assert write(memory, "e") == 1, "slot 0, the nearest, is read by the update itself"
    memory = memory_of([*"abcd"], LeastRecentlyUsed())
    hit(memory, 0)
    memory.query(eye[1], k=4)  # the nearest alone counts
    memory.update(eye[2] + 0.1 * eye[3], "other")  # reads 2, and writes to the least recent, 3
    assert memory.labels == ["a", "b", "c", "other"]
    assert np.argsort(memory.last_used).tolist() == [0, 1, 2, 3]


def test_least_often_hit_takes_the_oldest_of_the_fewest():
    memory = memory_of([*"abcd"], LeastOftenHit())
    hit(memory, 0, 0, 2, 1, 3, 3)
    assert memory.hits.tolist() == [2, 1, 1, 2]
    assert write(memory, "e") == 2  # hit once, before slot 1
    assert memory.hits.tolist() == [2, 1, 0, 2]
    assert memory.update([0, 1, 0, 0, -9], "f").slots == 2  # never hit


def test_the_reservoir_by_hand():
    memory = memory_of([*"abaa"], ClassBalancedReservoir())
    # c is not full: it takes one of a, which holds most; then a and b hold two, one, and so on.
    taken = write(memory, "c")
    assert taken in (0, 2, 3) and memory.label_counts.tolist() == [2, 1, 1]
    assert memory.rule_state["full"].tolist() == [True, False, False]
    # b is not full either, and takes another one of a.
    assert memory.update(-np.eye(5)[1], "b").evicted == "a"
    assert memory.label_counts.tolist() == [1, 2, 1]


def test_a_full_label_of_the_reservoir_replaces_its_own_with_probability_m_over_n():
    written, n = 0, 1500
    for seed in range(n):
        memory = memory_of([*"abaa"], ClassBalancedReservoir(), seed=seed)
        hit(memory, 0, 0, 2)  # a holds three slots and was seen six times
        slot, _, evicted = memory.update(np.eye(5)[1], "a")  # the nearest is b
        assert (slot, evicted) == (-1, None) or (slot in (0, 2, 3) and evicted == "a")
        written += slot >= 0
    assert abs(written / n - 3 / 7) < 0.04


def test_the_reservoir_may_lose_a_label_for_good():
    memory = memory_of(["a"], ClassBalancedReservoir())
    assert memory.update([-1, 0], "b").evicted == "a"
    for _ in range(5):
        assert memory.update([1, 0], "a") == (-1, False, None)
    assert memory.labels == ["b"] and memory.label_seen.tolist() == [6, 1]


# In the long run ----------------------------------------------------------------------------------


def shares_in_the_long_run(rule, p, n_slots=1000, n_events=16_000, burn_in=10_000):
    """The mean share of slots that each label holds where every sample is a write.

    Keys are drawn at random until the nearest one has another label.
    """
    rng = np.random.default_rng(7)
    memory = Memory(n_slots, 8, rng=rng, eviction=rule)
    memory.update(np.eye(len(p), 8), range(len(p)))
    held, n_counted = np.zeros(len(p)), 0
    for i, label in enumerate(rng.choice(len(p), size=n_events, p=p)):
        fits = []
        while not len(fits):
            Q = rng.normal(size=(12, 8))
            fits = np.flatnonzero(memory.query(Q, count=False).labels[:, 0] != label)
        assert not memory.update(Q[fits[0]], label).hits
        if i >= burn_in:
            held, n_counted = held + memory.label_counts, n_counted + 1
    return held / n_counted / n_slots


@pytest.mark.parametrize("gamma", [0, 1, 2])
def test_shares_settle_in_proportion_to_a_root(gamma):
    p = np.array([0.80, 0.18, 0.02])
    law = p ** (1 / (1 + gamma)) / (p ** (1 / (1 + gamma))).sum()
    if gamma == 1:
        np.testing.assert_allclose(law, [0.613, 0.291, 0.097], atol=5e-4)
    np.testing.assert_allclose(shares_in_the_long_run(LabelAware(gamma), p), law, atol=0.01)
