"""The settings of a softmax's loss, which both floors share."""

from dataclasses import dataclass

import numpy as np

from rarebook import checks


@dataclass(frozen=True)
class LossSettings:
    """How labels are smoothed, confidence is penalized and classes are weighted.

    Equal settings are equal and have one hash, so that they can be part of a key.

    Args:
        epsilon: ε, at least 0, below 1: the share of each label that is spread over all classes.
        beta: β, at least 0: what a nat of confidence costs.
        threshold: Γ, above 0, in nats: only an entropy below it is penalized. None: any is.
        anneal: at least 0, at most 1: the share of the training over which β rises from 0.
        class_weights: two or more numbers above 0, one a class; only their ratios count. None: all
            classes weigh the same.

    Raises:
        ValueError: if an argument is not allowed.

    Sources: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016, for
    ε; Pereyra et al., Regularizing Neural Networks by Penalizing Confident Output Distributions,
    2017, for β, its annealing and the threshold.
    """

    epsilon: float = 0.0
    beta: float = 0.0
    threshold: float | None = None
    anneal: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self):
        values = {
            "epsilon": checks.real_number("epsilon", self.epsilon, at_least=0, below=1),
            "beta": checks.real_number("beta", self.beta, at_least=0),
            "anneal": checks.proportion("anneal", self.anneal),
        }
        if self.threshold is not None:
            values["threshold"] = checks.real_number("threshold", self.threshold, above=0)
        if self.class_weights is not None:
            values["class_weights"] = checks.class_weights("class_weights", self.class_weights)
        for name, value in values.items():
            object.__setattr__(self, name, value)  # plain floats, which can be hashed

    def beta_at(self, progress):
        """β · min(1, progress / anneal); β itself where ``anneal`` is 0.

        Args:
            progress: the share of the training that is done, at least 0, at most 1.

        Returns:
            A float.

        Raises:
            ValueError: if progress is not allowed.

        Example:
            >>> [LossSettings(beta=0.5, anneal=0.2).beta_at(t) for t in (0, 0.1, 0.2, 1)]
            [0.0, 0.25, 0.5, 0.5]
        """
        progress = checks.proportion("progress", progress)
        return self.beta * min(1.0, progress / self.anneal) if self.anneal else self.beta

    def weights(self, dtype):
        """The class weights, (C,), of which the largest is 1."""
        return (np.array(self.class_weights) / max(self.class_weights)).astype(dtype)
