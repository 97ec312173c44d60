"""A network with a memory, trained: the controller learns to give queries that find their label.

The twin of :mod:`rarebook.numeric.memory_network`, which only predicts and remembers.
"""

import time
from copy import deepcopy
from dataclasses import is_dataclass, replace
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from rarebook import checks
from rarebook.backend import T, theano
from rarebook.memory import Update, plain_labels
from rarebook.memory_network import MemoryPredictor
from rarebook.symbolic.compiled import Compiled, compiled, with_stand_ins
from rarebook.symbolic.losses import log_softmax, margin_loss
from rarebook.symbolic.network import Network, outputs
from rarebook.symbolic.optimizers import Adam
from rarebook.symbolic.steps import by_rows, updates


class Learned(NamedTuple):
    """What :meth:`MemoryNetwork.learn` did: the loss before the step, the memory's update."""

    loss: float
    update: Update


class MemoryNetwork(MemoryPredictor):
    """A controller and a memory that learn together.

    The loss of a batch is :func:`~rarebook.symbolic.losses.margin_loss`, with keys fetched from the
    memory: the nearest slot of the right label against the slots of wrong labels among the
    ``n_neighbors`` nearest. The keys are constants. With a head, which may share layers with the
    controller, its negative log-likelihood is added, over the rows whose label it has.

    Args:
        controller: a symbolic :class:`~rarebook.symbolic.network.Network` that ends in ``L2Norm``.
        memory: a :class:`~rarebook.memory.Memory` with the same size and dtype.
        head: a symbolic network that ends in ``Softmax`` and starts with the controller's input, or
            None.
        head_labels: the label of each of its columns.
        optimizer: of :mod:`rarebook.symbolic.optimizers`; None is ``Adam()``.
        margin: at least 0.
        n_neighbors: k, at least 1.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Kaiser et al., Learning to Remember Rare Events, 2017; the post "A Network To Remember".
    """

    def __init__(
        self,
        controller,
        memory,
        *,
        head=None,
        head_labels=None,
        optimizer=None,
        margin=0.1,
        n_neighbors=16,
    ):
        for argument, network in [("controller", controller), ("head", head)]:
            if not isinstance(network, Network) and (network is not None or argument != "head"):
                checks.refuse(argument, type(network).__name__, "a symbolic Network")
        super().__init__(controller, memory, head=head, head_labels=head_labels)
        if head is not None and head[0] is not controller[0]:
            checks.refuse("head", f"a network on {head[0]!r}", "one on the controller's input")
        if memory.dtype != controller[0].dtype:
            checks.refuse("memory", f"keys of {memory.dtype}", f"{controller[0].dtype}")
        self.optimizer = Adam() if optimizer is None else optimizer
        if not hasattr(self.optimizer, "updates") or not is_dataclass(self.optimizer):
            checks.refuse("optimizer", repr(optimizer), "an optimizer such as SGD() or Adam()")
        if getattr(self.optimizer, "defers", False):
            checks.refuse("optimizer", self.optimizer.name, "one that does not wait")
        self.margin = checks.real_number("margin", margin, at_least=0)
        self.n_neighbors = checks.whole_number("n_neighbors", n_neighbors, 1)
        self._state = None

    @property
    def layers(self):
        """The layers of the controller and those that only the head has."""
        own = [] if self.head is None else list(self.head)
        return [*self.controller, *(layer for layer in own if layer not in list(self.controller))]

    @property
    def variables(self):
        """All shared variables, those trained and then those that training keeps beside them."""
        layers = self.layers
        return [
            variable
            for name in ("params", "state")
            for layer in layers
            for variable in getattr(layer, name)
        ]

    def keys(self, X):
        return self.controller.output(X)

    def keys_and_head(self, X):
        layers = [self.controller[-1], self.head[-1]]
        purpose = "keys and head", self._head_config()
        X = self.controller[0].rows(X)
        return outputs(self.controller, layers, self.variables, purpose, X)

    def learn(self, X, y):
        """One step: fetch keys, update the memory with the batch, then the parameters.

        Args:
            X: rows (B, N), as the controller takes them.
            y: B labels, known or new.

        Returns:
            :class:`Learned`.

        Raises:
            ValueError: if an argument is not allowed. Nothing has changed then.
        """
        X = self.controller[0].rows(X)
        q = self.keys(X)
        pairs = self.memory.nearest_pairs(q, y, self.n_neighbors)
        present = (pairs.positives >= 0)[:, None] & (pairs.negatives >= 0)
        keys = self.memory.keys
        inputs = [X, keys[pairs.positives], keys[pairs.negatives], present.astype(keys.dtype)]
        inputs += [keys.dtype.type(self.margin), self.optimizer.learning_rate]
        if self.head is not None:
            inputs.append(self._targets(y))
        for layer in self.layers:
            inputs += layer.draw(self.memory.rng, X.shape[0])
        step = self._step()
        if self._state is None:
            self._state = step.new_state()
        with self.memory.undone_on_error():
            update = self.memory.update(q, y)
            with step.lend(self.variables + self._state) as function:
                loss = float(function(*inputs))
        return Learned(loss, update)

    def fit(self, X, y, *, rng, epochs=10, batch_size=100, clear=False, progress=None):
        """Learn all rows, in batches and in a new order each epoch.

        Args:
            X: (n, N), as the controller takes them.
            y: n labels.
            rng: a ``numpy.random.Generator``, for the order of the rows.
            epochs, batch_size: at least 1.
            clear: whether to empty the memory before each epoch. Otherwise a row meets its own key
                of the epoch before, and the network has little to learn from it.
            progress: whether to show a bar. None: only where standard error is a terminal.

        Returns:
            A list of dicts: ``epoch`` (from 1), ``loss`` (mean over the rows, each taken before its
            step), ``seconds``, ``hits`` (the share of rows that were averaged into a slot),
            ``evicted`` (how many slots were overwritten).

        Raises:
            ValueError: if an argument is not allowed, or a value stops being finite. The network
                and its memory are then what they were before the call.
        """
        X = self.controller[0].rows(X)
        y = np.fromiter(plain_labels("y", y, X.shape[0]), object, X.shape[0])
        checks.generator("rng", rng)
        epochs = checks.whole_number("epochs", epochs, 1)
        batch_size = checks.whole_number("batch_size", batch_size, 1)
        if not len(y):
            checks.refuse("X", "no rows", "one row or more")
        values = [variable.get_value() for variable in self.variables]
        state = self._state and [variable.get_value() for variable in self._state]
        memory, random = self.memory, self.memory.rng.bit_generator.state
        held = {name: deepcopy(value) for name, value in vars(memory).items() if name != "rng"}
        records = []
        try:
            for epoch in tqdm(
                range(1, epochs + 1),
                unit="epoch",
                disable=None if progress is None else not progress,
            ):
                began, losses, done = time.perf_counter(), 0.0, []
                order = rng.permutation(len(y))
                if clear:
                    self.memory.clear()
                for batch in np.split(order, range(batch_size, len(y), batch_size)):
                    loss, update = self.learn(X[batch], y[batch])
                    losses += loss * len(batch)
                    done.append(update)
                if not np.isfinite(losses):
                    checks.refuse("loss", losses, "a finite number; try a smaller learning_rate")
                records.append(
                    {
                        "epoch": epoch,
                        "loss": losses / len(y),
                        "seconds": time.perf_counter() - began,
                        "hits": float(np.concatenate([u.hits for u in done]).mean()),
                        "evicted": sum(e is not None for u in done for e in u.evicted),
                    }
                )
        except BaseException:
            for variable, value in zip(self.variables, values, strict=True):
                variable.set_value(value)
            vars(memory).update(held)
            memory.rng.bit_generator.state = random
            self._state = None
            if state is not None:
                self._state = self._step().new_state()
                for variable, value in zip(self._state, state, strict=True):
                    variable.set_value(value)
            raise
        return records

    def _targets(self, y):
        """One-hot rows (B, C) over the head's columns; zeros for a label that it does not have."""
        labels, columns = plain_labels("y", y), {y: j for j, y in enumerate(self.head_labels)}
        targets = np.zeros((len(labels), len(columns)), self.memory.dtype)
        for i, label in enumerate(labels):
            if label in columns:
                targets[i, columns[label]] = 1
        return targets

    def _step(self):
        """The compiled step for networks of this shape and this optimizer."""
        controller, head, layers = self.controller, self.head, self.layers
        use_rows = by_rows(controller, self.optimizer)

        def build():
            dtype = str(self.memory.dtype)
            rate, margin = T.dscalar("learning_rate"), T.scalar("margin", dtype=dtype)
            positives, present = (
                T.matrix("positives", dtype=dtype),
                T.matrix("present", dtype=dtype),
            )
            negatives = T.tensor3("negatives", dtype=dtype)
            q = controller[-1].train_output
            cost = margin_loss(q, positives, negatives, present, margin)
            inputs = [controller[0].output, positives, negatives, present, margin, rate]
            if head is not None:
                targets = T.matrix("targets", dtype=dtype)
                log_p = log_softmax(head[-1].prev.train_output)
                cost = cost - T.sum(targets * log_p) / T.cast(targets.shape[0], dtype)
                inputs.append(targets)
            inputs += [noise for layer in layers for noise in layer.train_inputs]
            kept = [new for layer in layers for new in layer.new_state()]
            h, S = controller[1].train_output, controller[1].rows_read(controller[0].output)
            variables = self.variables
            stand_ins, (cost, h, *kept) = with_stand_ins(variables, [cost, h, *kept])
            n = len(variables) - len(kept)
            rows = (h, S) if use_rows else None
            cost, kept, pairs, _ = updates(stand_ins[:n], cost, kept, self.optimizer, rate, rows)
            state = [variable for variable, _ in pairs if variable not in stand_ins]
            pairs += zip(stand_ins[n:], kept, strict=True)
            # A controller without parameters has no use for a learning rate.
            step = theano.function(inputs, cost, updates=pairs, on_unused_input="ignore")
            return Compiled(step, stand_ins, state)

        settings = replace(self.optimizer, learning_rate=1e-6)
        return compiled(controller, ("memory", settings, self._head_config(), use_rows), build)

    def _head_config(self):
        """What the head computes besides the controller: its own layers and what they stand on."""
        layers = self.layers
        own = layers[len(self.controller) :]
        return tuple((layer.config(), layers.index(layer.prev)) for layer in own)
