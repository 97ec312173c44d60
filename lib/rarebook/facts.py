"""Facts (subject, relation, object) as triples of ids: told, held out, corrupted, asked for.

A fact of the movies table says that a film has a keyword. One that is held out has to leave the
contexts too, in which the film's keywords stand together. So :func:`keyword_bags` makes them of
facts, and is given those of the training part alone.

Source: Bordes et al., Translating embeddings for modeling multi-relational data, 2013; for facts
that give each other away, Toutanova and Chen, Observed versus latent features for knowledge base
and text inference, 2015.
"""

from typing import NamedTuple

import numpy as np

from rarebook import checks

THEME, ABOVE = "has theme", "is a"


class Facts(NamedTuple):
    """Names of entities and of relations, and the facts, int64 (n, 3): subject, relation, object.

    The first ``n_films`` entities are films, the next ``n_words`` keywords, the others labels that
    no keyword is called by.
    """

    entities: np.ndarray
    relations: np.ndarray
    triples: np.ndarray
    n_films: int
    n_words: int

    def words(self, triple):
        """One fact in words."""
        s, r, o = triple
        return str(self.entities[s]), str(self.relations[r]), str(self.entities[o])


def movie_facts(movies):
    """The facts of the movies table: those of its keywords, and those of its labels.

    A film has a theme, a theme is a subgenre, and a subgenre is a genre. One name is one entity,
    whether it stands for a director or an actor, for a country or a place, for a keyword or a
    theme.

    Args:
        movies: of :func:`rarebook.datasets.load_movies`.

    Returns:
        :class:`Facts`.

    Example:
        >>> from rarebook.datasets import load_movies
        >>> facts = movie_facts(load_movies())
        >>> facts.words(facts.triples[-1])
        ('western-comedy', 'is a', 'western')
    """
    told = list(movies.facts)
    n_of_keywords = len(told)
    themes = movies.target_names[-1][movies.Y[:, -1]]
    told += [(film, THEME, theme) for film, theme in zip(movies.films, themes, strict=True)]
    for level in (2, 1):
        below, above = movies.target_names[level], movies.target_names[level - 1]
        told += [
            (name, ABOVE, above[i])
            for name, i in zip(below, movies.parents[level - 1], strict=True)
        ]
    told = [(str(s), r, str(o)) for s, r, o in told]
    films = [str(film) for film in movies.films]
    words = dict.fromkeys(end for s, _, o in told[:n_of_keywords] for end in (s, o))
    entities = list(dict.fromkeys([*films, *words, *(end for s, _, o in told for end in (s, o))]))
    relations = list(dict.fromkeys(r for _, r, _ in told))
    entity, relation = ({name: i for i, name in enumerate(of)} for of in (entities, relations))
    triples = np.array([(entity[s], relation[r], entity[o]) for s, r, o in told])
    n_words = len(words.keys() - set(films))
    return Facts(np.array(entities), np.array(relations), triples, len(films), n_words)


def hold_out(facts, share, *, rng):
    """Facts about films that are left out of the training, drawn at random.

    Every entity and every relation keeps one fact or more. A fact stays where a second one joins
    the same two entities, as with a director who acts in the film: it would give the first one
    away. So do the facts that hold between labels.

    Args:
        facts: :class:`Facts`.
        share: of all facts, above 0, below 1; fewer are left out where these rules allow no more.
        rng: a ``numpy.random.Generator``.

    Returns:
        bool (n,), True where a fact is left out.

    Raises:
        ValueError: if an argument is not allowed.
    """
    share = checks.real_number("share", share, above=0, below=1)
    triples = facts.triples
    left = np.bincount(triples[:, [0, 2]].ravel(), minlength=len(facts.entities))
    left_of_relation = np.bincount(triples[:, 1])
    ends = np.sort(triples[:, [0, 2]], axis=1)
    _, which, times = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    may = (ends[:, 0] < facts.n_films) & (times[which.ravel()] == 1)
    held = np.zeros(len(triples), bool)
    for i in checks.generator("rng", rng).permutation(np.flatnonzero(may)):
        if held.sum() >= share * len(triples):
            break
        s, r, o = triples[i]
        if min(left[s], left[o], left_of_relation[r]) > 1:
            held[i] = True
            left[[s, o]] -= 1
            left_of_relation[r] -= 1
    return held


def keyword_bags(facts, triples, labels=False):
    """The contexts: the keywords that a film has by these facts.

    Args:
        facts: :class:`Facts`.
        triples: those of its facts that may be used, (n, 3).
        labels: whether the film's theme, subgenre and genre stand among its keywords.

    Returns:
        ``words``, int64 (m,), entities, and ``offsets``, int64 (n_films + 1,); film i has
        ``words[offsets[i] : offsets[i + 1]]``, each of them once.

    Raises:
        ValueError: if triples are none of the entities.
    """
    triples = check_triples("triples", triples, len(facts.entities))
    relations = facts.relations[triples[:, 1]]
    pairs = [np.sort(triples[~np.isin(relations, [THEME, ABOVE])][:, [0, 2]], axis=1)]
    if labels:
        above = dict(triples[relations == ABOVE][:, [0, 2]].tolist())
        level = triples[relations == THEME][:, [0, 2]]
        while len(level):
            pairs.append(level)
            more = [(film, above[label]) for film, label in level.tolist() if label in above]
            level = np.array(more, np.int64).reshape(-1, 2)
    pairs = np.unique(np.concatenate(pairs), axis=0)
    offsets = np.searchsorted(pairs[:, 0], np.arange(facts.n_films + 1))
    return pairs[:, 1], offsets


def draw_contexts(words, offsets, n_negatives, *, rng):
    """For each word of each bag another word of that bag, and negatives.

    A bag has no order, so any other word of it is as good a context. Negatives are drawn with
    probability proportional to count^0.75, as word2vec does.

    Args:
        words, offsets: of :func:`keyword_bags`.
        n_negatives: K, at least 1.
        rng: a ``numpy.random.Generator``.

    Returns:
        int64 (P, 2 + K): the word, its context, the negatives; P counts the words that are not
        alone in their bag.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Mikolov et al., Distributed representations of words and phrases, 2013.

    Example:
        >>> words, offsets = np.array([5, 6, 7]), np.array([0, 2, 3])
        >>> draw_contexts(words, offsets, 1, rng=np.random.default_rng(0))[:, :2].tolist()
        [[5, 6], [6, 5]]
    """
    n_negatives = checks.whole_number("n_negatives", n_negatives, 1)
    checks.generator("rng", rng)
    words = checks.id_array("words", words, np.inf, ndim=1)
    offsets = checks.offsets("offsets", offsets, len(words))
    sizes = np.repeat(np.diff(offsets), np.diff(offsets))
    starts = np.repeat(offsets[:-1], np.diff(offsets))
    at = np.flatnonzero(sizes > 1)
    steps = rng.integers(1, sizes[at])
    others = starts[at] + (at - starts[at] + steps) % sizes[at]
    chances = np.cumsum(np.bincount(words, minlength=1) ** 0.75)
    drawn = rng.random((len(at), n_negatives)) * chances[-1]
    negatives = np.searchsorted(chances, drawn, side="right")
    return np.column_stack([words[at], words[others], negatives])


class Corruptions:
    """Draws statements that are not among the known facts, each a fact with one end exchanged.

    The new end is one that the known facts have in this place of this relation: a director for a
    director. Where ten draws find known facts alone, any entity will do.

    Args:
        known: facts, integers (n, 3), such as the training part. Those that are held out do not
            belong here; to spare them would tell the model which they are.
        n_entities: N, at least 1.

    Raises:
        ValueError: if an argument is not allowed, or a relation joins an entity with all N.

    Source: Bordes et al., Translating embeddings for modeling multi-relational data, 2013; there
    the new end is any entity.

    Example:
        >>> wrong = Corruptions([[0, 0, 2], [1, 0, 3]], n_entities=4)
        >>> wrong.draw(np.array([[0, 0, 2]]), 3, rng=np.random.default_rng(0)).tolist()
        [[[0, 0, 2], [0, 0, 3], [1, 0, 2], [1, 0, 2]]]
    """

    def __init__(self, known, n_entities):
        self.n_entities = checks.whole_number("n_entities", n_entities, 1)
        known = check_triples("known", known, n_entities)
        self.known = np.unique(self._key(known))
        for place in (0, 2):
            rest = np.delete(known, place, axis=1)
            if len(rest) and np.unique(rest, axis=0, return_counts=True)[1].max() >= n_entities:
                checks.refuse("known", "an entity joined with all", "facts that leave false ones")
        # The distinct ends of each relation in one array, subjects and then objects.
        keys = [np.unique(known[:, 1] * n_entities + known[:, place]) for place in (0, 2)]
        bounds = np.arange(known[:, 1].max(initial=-1) + 2) * n_entities
        self.bounds = [np.searchsorted(key, bounds) for key in keys]
        self.ends = [key % n_entities for key in keys]

    def draw(self, triples, n_negatives, *, rng):
        """Each fact and n_negatives corruptions of it, int64 (B, 1 + K, 3), the fact first.

        Args:
            triples: known facts, (B, 3).
            n_negatives: K, at least 1.
            rng: a ``numpy.random.Generator``.

        Raises:
            ValueError: if an argument is not allowed, or a triple is not a known fact.
        """
        triples = check_triples("triples", triples, self.n_entities)
        n_negatives = checks.whole_number("n_negatives", n_negatives, 1)
        checks.generator("rng", rng)
        if not np.isin(self._key(triples), self.known).all():
            checks.refuse("triples", "one that is not known", "known facts")
        out = np.repeat(triples[:, None], 1 + n_negatives, axis=1)
        wrong = out[:, 1:].reshape(-1, 3)
        todo, tries = np.arange(len(wrong)), 0
        while len(todo):
            wrong[todo] = self._exchanged(out[todo // n_negatives, 0], tries < 10, rng)
            todo, tries = todo[np.isin(self._key(wrong[todo]), self.known)], tries + 1
        out[:, 1:] = wrong.reshape(-1, n_negatives, 3)
        return out

    def _exchanged(self, triples, of_its_kind, rng):
        """The triples with one end exchanged."""
        triples, u = triples.copy(), rng.random(len(triples))
        is_object = rng.random(len(triples)) < 0.5
        for side, at in enumerate((np.flatnonzero(~is_object), np.flatnonzero(is_object))):
            if of_its_kind:
                first, stop = (self.bounds[side][triples[at, 1] + i] for i in (0, 1))
                ends = self.ends[side][first + (u[at] * (stop - first)).astype(np.int64)]
            else:
                ends = (u[at] * self.n_entities).astype(np.int64)
            triples[at, 2 * side] = ends
        return triples

    def _key(self, triples):
        s, r, o = triples.T
        return (r * self.n_entities + s) * self.n_entities + o


def candidates(triples, place, known, facts):
    """Which entities compete for one end of each fact: those of its kind that no fact names.

    Of its kind are those that stand in this place of this relation in the known facts. Those that
    make another fact are left out ("filtered"), whether the model knows that fact or not; the
    answer itself competes.

    Args:
        triples: the questions, (B, 3).
        place: 0 where the subject is asked for, 2 for the object.
        known: the facts of the training part.
        facts: all facts.

    Returns:
        bool (B, N) for N entities; row i is for question i.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Bordes et al., 2013, for the filter.
    """
    if place not in (0, 2):
        checks.refuse("place", repr(place), "0 or 2")
    N = len(facts.entities)
    triples = check_triples("triples", triples, N)
    known = check_triples("known", known, N)
    of_kind = np.zeros((len(facts.relations), N), bool)
    of_kind[known[:, 1], known[:, place]] = True
    allowed = of_kind[triples[:, 1]]
    given = 2 - place
    of_question = {}
    for fact in facts.triples:
        of_question.setdefault((fact[1], fact[given]), []).append(fact[place])
    for row, fact in zip(allowed, triples, strict=True):
        row[of_question.get((fact[1], fact[given]), [])] = False
        row[fact[place]] = True
    return allowed


def check_triples(argument, triples, n_entities):
    """Triples (n, 3) int64 whose ends are entities and whose relations are at least 0."""
    triples = checks.id_array(argument, triples, np.inf, ndim=2)
    if triples.shape[1] != 3:
        checks.refuse(argument, f"shape {triples.shape}", "(n, 3): subject, relation, object")
    checks.ids(argument, triples[:, [0, 2]], n_entities)
    return triples.astype(np.int64, copy=False)
