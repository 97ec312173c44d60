import itertools
import warnings

import numpy as np
import pytest
from scipy.stats import spearmanr

from rarebook.texts import (
    WORD_PAIRS,
    load_newsgroup_words,
    load_word_pairs,
    word_similarity,
)


def loaded(load, *arguments):
    """The data, or the test is skipped with the reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on each try to download
        try:
            return load(*arguments)
        except OSError as error:
            pytest.skip(f"the data is neither here nor to be fetched: {error}")


@pytest.fixture(scope="module")
def text():
    return loaded(load_newsgroup_words)


def test_the_words_are_what_the_docstring_says(text):
    assert text.n_raw == 4_741_726 and text.words.shape == (4_616_203,)
    assert len(text.vocabulary) == len(text.counts) == 34_652
    assert text.words.dtype == np.int32
    assert len(text.offsets) == 18_847 and text.offsets[0] == 0
    assert text.offsets[-1] == len(text.words) and (np.diff(text.offsets) >= 0).all()
    np.testing.assert_array_equal(np.bincount(text.words), text.counts)
    assert text.counts.min() == 5 and list(text.vocabulary[:3]) == ["the", "to", "of"]
    order = sorted(zip(-text.counts, text.vocabulary, strict=True))
    assert [word for _, word in order] == list(text.vocabulary)


def test_the_words_are_those_of_the_posts(text):
    from rarebook.datasets import newsgroup_posts

    train, test = newsgroup_posts()
    assert len(train.data) == 11_314
    for i, post in [(0, train.data[0]), (11_314, test.data[0])]:
        words = text.vocabulary[text.words[text.offsets[i] : text.offsets[i + 1]]]
        letters = "".join(c if "a" <= c <= "z" else " " for c in post.lower()).split()
        known = set(text.vocabulary)
        assert list(words) == [word for word in letters if len(word) > 1 and word in known]


@pytest.mark.parametrize("min_count", [0, 2.5, "many", None])
def test_the_words_refuse(min_count):
    with pytest.raises(ValueError, match=r"^min_count: received"):
        load_newsgroup_words(min_count)


def test_more_frequent_than_any_word_is_refused(text):
    with pytest.raises(ValueError, match=rf"^min_count: received .*at most {text.counts[0]}"):
        load_newsgroup_words(int(text.counts[0]) + 1)


@pytest.mark.parametrize("name, n, best", [("ws353", 353, 10), ("men", 3000, 50)])
def test_word_pairs(name, n, best):
    pairs, scores = loaded(load_word_pairs, name)
    assert pairs.shape == (n, 2) and scores.shape == (n,) and scores.dtype == np.float64
    assert scores.min() >= 0 and scores.max() == best
    assert all(word == word.lower() for pair in pairs for word in pair)
    first = {"ws353": ("love", "sex", 6.77), "men": ("sun", "sunlight", 50)}[name]
    assert (*pairs[0], scores[0]) == first


@pytest.mark.parametrize("name", ["WS353", "simlex", None])
def test_other_word_pairs_are_refused(name):
    with pytest.raises(ValueError, match=r"^name: received .*; allowed: 'ws353' or 'men'"):
        load_word_pairs(name)


def test_a_file_in_the_folder_is_taken_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "wordsim").mkdir()
    file = tmp_path / "wordsim" / WORD_PAIRS["men"][0]
    file.write_bytes(b"Sun moon\t2.5\r\ncat Dog 1\n")
    monkeypatch.setenv("RAREBOOK_DATA", str(tmp_path))
    pairs, scores = load_word_pairs("men")
    assert pairs.tolist() == [["sun", "moon"], ["cat", "dog"]] and scores.tolist() == [2.5, 1]


def test_similarity_is_spearmans_of_the_cosines(rng):
    vectors, words = rng.normal(size=(8, 5)), np.array(list("abcdefgh"))
    pairs = list(itertools.combinations(words, 2))
    scores = rng.random(28)
    cosines = []
    for a, b in pairs:
        v, w = vectors[list(words).index(a)], vectors[list(words).index(b)]
        cosines.append(v @ w / np.sqrt(v @ v) / np.sqrt(w @ w))
    rho, covered = word_similarity(vectors, words, pairs, scores)
    assert covered == 28 and rho == pytest.approx(spearmanr(cosines, scores).statistic)
    more = [*pairs, ("a", "unknown"), ("unknown", "b")]
    assert word_similarity(vectors, words, more, [*scores, 5, 6]) == (rho, 28)
    scaled = vectors * rng.uniform(1, 9, size=(8, 1))
    assert word_similarity(scaled, words, pairs, scores)[0] == pytest.approx(rho)


def test_a_vector_of_zeros_has_cosine_zero():
    vectors = np.array([[1.0, 0], [1, 1], [0, 0], [-1, 0]])
    pairs = [("a", "b"), ("a", "c"), ("a", "d")]
    assert word_similarity(vectors, list("abcd"), pairs, [3, 2, 1]) == (pytest.approx(1), 3)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("vectors", ([[1.0, 2], [3, 4]], ["a"], [("a", "a")], [1])),
        ("vectors", ([[1.0, np.nan]], ["a"], [("a", "a")], [1])),
        ("scores", ([[1.0, 2]], ["a"], [("a", "a")], [1, 2])),
        ("scores", ([[1.0, 2]], ["a"], [("a", "a"), ("a", "a")], [1, np.inf])),
        ("pairs", ([[1.0, 2]], ["a"], [("a", "b"), ("a", "a")], [1, 2])),
    ],
)
def test_similarity_refuses(name, arguments):
    with pytest.raises(ValueError, match=rf"^{name}: received .*; allowed: "):
        word_similarity(*arguments)
