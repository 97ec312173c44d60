"""Padding and flattening, and the way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook.sequences import flatten_sequences, pad_sequences, split_sequences, unpad_sequences

ragged = st.lists(st.lists(st.integers(1, 50), max_size=6), max_size=7)


def lists(vectors):
    return [vector.tolist() for vector in vectors]


@given(sequences=ragged, extra=st.integers(0, 3))
def test_padding_loses_nothing(sequences, extra):
    longest = max([1, *map(len, sequences)])
    ids = pad_sequences(sequences)
    assert ids.shape == (len(sequences), longest) and ids.dtype == np.int64
    assert lists(unpad_sequences(ids)) == sequences
    wide = pad_sequences(sequences, length=longest + extra)
    assert wide.shape[1] == longest + extra and lists(unpad_sequences(wide)) == sequences
    other = pad_sequences(sequences, padding=60)
    assert (other == 60).sum() == (ids == 0).sum()
    assert lists(unpad_sequences(other, padding=60)) == sequences


@given(sequences=ragged)
def test_flattening_loses_nothing(sequences):
    ids, offsets = flatten_sequences(sequences)
    assert len(offsets) == len(sequences) + 1 and ids.dtype == offsets.dtype == np.int64
    assert lists(split_sequences(ids, offsets)) == sequences


def test_padding_may_stand_anywhere():
    assert lists(unpad_sequences([[0, 0, 1], [2, 0, 3], [0, 0, 0]])) == [[1], [2, 3], []]


def test_arrays_and_mixed_rows_are_taken():
    rows = [np.array([1, 2], np.int32), (3,), np.array([], int), []]
    assert pad_sequences(rows).tolist() == [[1, 2], [3, 0], [0, 0], [0, 0]]
    assert pad_sequences([]).shape == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 0]],), r"sequences: received the padding id 0 in sequences\[0\]"),
        (([[], [1], [2, 3]], 3), r"sequences: received the padding id 3 in sequences\[2\]"),
        (([[1, 2]], 0, 1), "length: received 1; allowed: at least 2"),
        (([[1]], -1), "padding: received -1"),
        (([[1.5]],), r"sequences\[0\]: received the type float64"),
        (([[1], ["a"]],), r"sequences\[1\]: received"),
        (([[-1]],), r"sequences\[0\]: received the id -1"),
        (([[[1]]],), r"sequences\[0\]: received shape"),
        (([1, 2],), r"sequences\[0\]: received shape"),
        (("12",), "sequences: received '12'"),
        ((3,), "sequences: received 3"),
    ],
)
def test_what_cannot_be_padded_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        pad_sequences(*arguments)


def test_what_cannot_be_taken_apart_is_refused():
    for ids in ([1, 2], [[0.5]], [[-1]], [[1], [2, 3]]):
        with pytest.raises(ValueError, match=r"^ids: received"):
            unpad_sequences(ids)
    for offsets in ([], [0, 1], [1, 2], [0, 2, 1, 2], [0.0, 2.0]):
        with pytest.raises(ValueError, match=r"^offsets: received"):
            split_sequences([1, 2], offsets)
