"""What a full memory gives up: rules that pick the slot for a new pattern.

A rule is called as ``rule(memory, label)`` when every slot is taken and a pattern of ``label`` is
to be written. It returns the slot to overwrite, or None: then nothing is written. It may look at

* one number a slot, arrays (n_slots,): ``memory.ages``, ``memory.noisy_ages``, A + noise,
  ``memory.hits``, ``memory.last_used``, and ``memory.label_ids``, the number of the slot's label;
* one number a label, arrays that ``label_ids`` points into: ``memory.label_counts``, the slots that
  the label holds, and ``memory.label_seen``, the samples of it so far;
* ``memory.keys``, ``memory.labels``, ``memory.label_id(label)``, ``memory.n_slots``;
* ``memory.rng``, for random choices; ``memory.rule_state``, a dict of arrays of its own.

A rule of your own is a function of a few lines::

    def worn_out(memory, label):
        return np.argmax(memory.ages / (1 + memory.hits))

Only NumPy is imported.
"""

from dataclasses import dataclass

import numpy as np

from rarebook import checks


@dataclass(frozen=True)
class Oldest:
    """argmax(A + noise): the slot that has gone longest without a hit or a write.

    Source: Kaiser et al., Learning to Remember Rare Events, 2017.
    """

    def __call__(self, memory, label):
        return np.argmax(memory.noisy_ages)


@dataclass(frozen=True)
class LabelAware:
    """argmax((A + noise) · T^γ), where Tᵢ is the share of slots that the label of slot i holds.

    The more slots a label holds, the sooner it gives one up. Where every sample is a write, the
    share of a label of probability p settles in proportion to p^(1/(1 + γ)).

    Args:
        gamma: γ, at least 0. 0 is :class:`Oldest`, 1 the post's rule; with equal shares all values
            decide alike.

    Raises:
        ValueError: if gamma is not allowed.

    Source: the post "Gratitude For The Old" for γ = 1; the family is this book's.
    """

    gamma: float = 1.0

    def __post_init__(self):
        gamma = checks.real_number("gamma", self.gamma, at_least=0)
        object.__setattr__(self, "gamma", gamma)  # a plain float, which a file can hold

    def __call__(self, memory, label):
        shares = memory.label_counts / memory.n_slots
        return np.argmax(memory.noisy_ages * (shares**self.gamma)[memory.label_ids])


@dataclass(frozen=True)
class ClassBalancedReservoir:
    """A label that never was the largest takes a slot of the largest; another replaces its own.

    A label is *full* once it has held the most slots, or as many as any other, at a moment when the
    memory was full. A sample of a label that is not full overwrites a random slot of the labels
    that hold most. One of a full label, which holds m slots and was seen n times, overwrites a
    random slot of its own with probability m / n, and otherwise is not written.

    Source: Chrysakis and Moens, Online Continual Learning from Imbalanced Data, 2020, algorithm 1.
    """

    def __call__(self, memory, label):
        counts, own = memory.label_counts, memory.label_id(label)
        full = counts == counts.max()
        before = memory.rule_state.get("full", full)
        full[: len(before)] |= before
        memory.rule_state["full"] = full
        if not full[own]:
            slots = np.flatnonzero((counts == counts.max())[memory.label_ids])
        elif memory.rng.random() * memory.label_seen[own] < counts[own]:
            slots = np.flatnonzero(memory.label_ids == own)
        else:
            return None
        return slots[memory.rng.integers(len(slots))]


@dataclass(frozen=True)
class LeastRecentlyUsed:
    """argmin of the time of the last read or write.

    A slot is read when it is the nearest to a query or to a sample, whatever its label.
    """

    def __call__(self, memory, label):
        return np.argmin(memory.last_used)


@dataclass(frozen=True)
class LeastOftenHit:
    """The slot with the fewest hits since it was written, among equals the oldest.

    Source: for the counts, Kim et al., Memorization Precedes Generation (MemoryGAN), 2018.
    """

    def __call__(self, memory, label):
        fewest = np.flatnonzero(memory.hits == memory.hits.min())
        return fewest[np.argmax(memory.noisy_ages[fewest])]


RULES = {
    rule.__name__: rule
    for rule in (Oldest, LabelAware, ClassBalancedReservoir, LeastRecentlyUsed, LeastOftenHit)
}
