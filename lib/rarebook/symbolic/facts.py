"""Facts (subject, relation, object) on an embedding, beside skip-gram, as Theano expressions.

An entity is a row of E, a relation a row of R. A fact says that its object lies where the relation
takes its subject: s + r ≈ o. The rows are those that skip-gram moves, so that a word which is
rarely seen can learn from what is told about it.

Source: the post "Rare Words Revisited"; Bordes et al., Translating embeddings for modeling
multi-relational data, 2013; for the logistic form of its loss, Sun et al., RotatE, 2019.
"""

from rarebook import checks
from rarebook.backend import T
from rarebook.symbolic.embedding import log_sigmoid, pair_loss
from rarebook.symbolic.rows import lookup
from rarebook.update_rules import RowGradient


def fact_scores(s, r, o):
    """-‖s + r - o‖² for rows s and o of entities and r of relations, the higher the likelier.

    Args:
        s, r, o: Theano variables (…, dim) of shapes that broadcast.

    Returns:
        A Theano variable (…), at most 0.
    """
    return -T.sum(T.sqr(s + r - o), axis=-1)


def fact_loss(scores, margin):
    """-log σ(γ + f₀) - Σₖ log σ(-γ - fₖ), summed over all samples.

    Args:
        scores: a Theano matrix (B, 1 + K), a fact's score f₀ and those of K false statements.
        margin: γ, a squared distance: a fact is to be nearer than it, a false statement farther.

    Returns:
        A scalar of the type of ``scores``.
    """
    margin = T.cast(margin, scores.dtype)
    return -T.sum(log_sigmoid(margin + scores[:, 0])) - T.sum(log_sigmoid(-margin - scores[:, 1:]))


def joint_step(E, R, contexts, facts, *, margin, weight, optimizer, learning_rate):
    """A step that lowers the loss of contexts plus ``weight`` times that of facts.

    The first is :func:`~rarebook.symbolic.embedding.pair_loss`, the second :func:`fact_loss`. Only
    rows of E and of R that the ids name are read and changed. Either part may have no rows.

    Args:
        E: a shared matrix (N, dim), a row an entity.
        R: a shared matrix (n_relations, dim) of its type.
        contexts: integers (P, 2 + K), ids of a word, of its context and of negatives.
        facts: integers (B, 1 + K, 3), each fact and K false statements; the relation of all of
            them is the one that stands in the fact.
        margin: γ, a scalar.
        weight: λ, a scalar, at least 0.
        optimizer: of :mod:`rarebook.symbolic.optimizers`; none whose rows wait.
        learning_rate: a scalar, above 0.

    Returns:
        The two losses before the step, summed over all samples and without the weight, and the
        updates of a Theano function, a list of pairs.

    Raises:
        ValueError: if an argument is not allowed; when the function is called, if an id lies
            outside or a row is not finite. Then nothing is changed.
    """
    shapes = [W.get_value(borrow=True).shape for W in (E, R)]
    if shapes[0][1:] != shapes[1][1:] or E.dtype != R.dtype:
        received = f"{E.dtype} {shapes[0]} and {R.dtype} {shapes[1]}"
        checks.refuse("E and R", received, "matrices of one type with equally long rows")
    if optimizer.defers:
        checks.refuse("optimizer", optimizer.name, "one whose rows do not wait")
    dim, relations = shapes[0][1], facts[:, 0, 1]
    parts = contexts, facts[:, :, 0], facts[:, :, 2]
    ids = T.concatenate([T.flatten(part) for part in parts])
    rows, of_relations = lookup(E, ids), lookup(R, relations)
    stops = [contexts.size, contexts.size + parts[1].size, ids.size]
    starts = [0, *stops[:2]]
    words, s, o = (
        T.reshape(rows[start:stop], (part.shape[0], part.shape[1], dim), ndim=3)
        for part, start, stop in zip(parts, starts, stops, strict=True)
    )
    of_contexts = pair_loss(words)
    of_facts = fact_loss(fact_scores(s, of_relations[:, None, :], o), margin)
    cost = of_contexts + T.cast(weight, E.dtype) * of_facts
    G, G_R = T.grad(cost, [rows, of_relations])
    updates = []
    for W, gradient in [(E, RowGradient(ids, G)), (R, RowGradient(relations, G_R))]:
        state = optimizer.init(W)
        after = optimizer.step(W, state, gradient, learning_rate)
        updates += optimizer.pairs(W, state, *after)
    return of_contexts, of_facts, updates
