"""Predicting with a memory: what the memory networks of both floors have in common."""

import numpy as np

from rarebook import checks
from rarebook.memory import Memory, as_array, plain_labels


class MemoryPredictor:
    """A controller, which turns rows into queries, and the memory that they are looked up in.

    Args:
        controller: a network whose last layer gives queries (B, M), such as one that ends in
            ``L2Norm``.
        memory: a :class:`~rarebook.memory.Memory` with ``key_size`` M.
        head: a network that ends in a softmax over ``head_labels``, or None.
        head_labels: the label of each of the softmax's columns.

    Raises:
        ValueError: if an argument is not allowed.
    """

    def __init__(self, controller, memory, *, head=None, head_labels=None):
        if not isinstance(memory, Memory):
            checks.refuse("memory", repr(memory), "a rarebook.memory.Memory")
        if controller[-1].size != memory.key_size:
            received = f"queries of size {controller[-1].size}"
            checks.refuse("controller", received, f"{memory.key_size}, the memory's key_size")
        head_labels = [] if head_labels is None else plain_labels("head_labels", head_labels)
        n_columns = 0 if head is None else head[-1].size
        if len(set(head_labels)) != n_columns or len(head_labels) != n_columns:
            received = f"{len(set(head_labels))} different labels"
            checks.refuse("head_labels", received, f"{n_columns}, one a column of the head")
        self.controller, self.memory = controller, memory
        self.head, self.head_labels = head, head_labels

    def keys(self, X):
        """The queries for rows X, (B, M)."""
        raise NotImplementedError

    def keys_and_head(self, X):
        """The queries and what the head gives for rows X, shared layers computed once."""
        raise NotImplementedError

    def remember(self, X, y):
        """Write rows X and their labels into the memory, or average them in.

        The controller stays as it is. See :meth:`rarebook.memory.Memory.update`.
        """
        return self.memory.update(self.keys(X), y)

    @property
    def labels(self):
        """The labels of :meth:`predict_proba`'s columns: those of the memory, then of the head."""
        return list(dict.fromkeys(self.memory.known_labels + self.head_labels))

    def predict_proba(self, X, k=1, *, inverse_temperature=40.0, head_weight=0.0):
        """(1 - w) · p_memory + w · p_head for each label.

        p_memory is the sum of the confidences, exp(t · s) / Σ exp(t · s), of those of the k nearest
        slots that have the label.

        Args:
            X: rows, as the controller takes them.
            k: at least 1.
            inverse_temperature: t, at least 0.
            head_weight: w, from 0 to 1; 0 without a head.

        Returns:
            (B, C), a column for each of ``labels``.

        Raises:
            ValueError: if an argument is not allowed, or the memory is empty.
        """
        return self._found(X, k, inverse_temperature, head_weight)[0]

    def _found(self, X, k, inverse_temperature=40.0, head_weight=0.0):
        """What :meth:`predict_proba` returns, and the similarity (B,) of the nearest slot."""
        w = checks.real_number("head_weight", head_weight, at_least=0)
        if w > (self.head is not None):
            checks.refuse("head_weight", repr(w), "0 to 1, and 0 without a head")
        q, p_head = self.keys_and_head(X) if w else (self.keys(X), None)
        found = self.memory.query(q, k, inverse_temperature=inverse_temperature, count=False)
        labels = {label: column for column, label in enumerate(self.labels)}
        p = np.zeros((len(found.slots), len(labels)), found.confidences.dtype)
        columns = self.memory.label_ids[found.slots]  # the memory's labels come first
        np.add.at(p, (np.arange(len(p))[:, None], columns), (1 - w) * found.confidences)
        if w:
            p[:, [labels[label] for label in self.head_labels]] += w * p_head
        return p, found.similarities[:, 0]

    def predict(self, X, k=1, *, at_least=-1.0, unknown=None, **settings):
        """The label of the largest :meth:`predict_proba`; with k = 1, that of the nearest slot.

        Args:
            X: rows, as the controller takes them.
            k, settings: see :meth:`predict_proba`.
            at_least: a similarity; where that of the nearest slot is below, ``unknown`` is
                predicted.
            unknown: a label or None.

        Returns:
            (B,), int64 if all labels are integers, otherwise objects.

        Raises:
            ValueError: if an argument is not allowed, or the memory is empty.
        """
        at_least = checks.real_number("at_least", at_least)
        p, nearest = self._found(X, k, **settings)
        best = p.argmax(axis=1)
        labels = [*self.labels, unknown]
        if at_least > -1:
            best[nearest < at_least] = len(labels) - 1
        else:
            del labels[-1]
        return as_array(labels)[best]
