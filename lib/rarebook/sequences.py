"""Lists of different length as arrays: padded to a matrix, or flat with offsets; and back."""

import numpy as np

from rarebook import checks


def pad_sequences(sequences, padding=0, length=None):
    """Lists of ids as a matrix (B, L), filled up at the end with ``padding``.

    Args:
        sequences: B lists or vectors of integers, at least 0; any may be empty. The id that is the
            padding must not occur: the way back would lose it. Ids that start at 0 are moved up by
            one first, ``[ids + 1 for ids in sequences]``.
        padding: the id that stands for nothing.
        length: L, at least the longest; None: the longest, at least 1.

    Returns:
        An int64 matrix (B, L).

    Raises:
        ValueError: if an argument is not allowed. Nothing is cut off.

    Source: the post "Padded Word Indexes For Embeddings With Theano".

    Example:
        >>> pad_sequences([[1], [2, 3], [], [2, 10, 11]]).tolist()
        [[1, 0, 0], [2, 3, 0], [0, 0, 0], [2, 10, 11]]
    """
    padding = checks.whole_number("padding", padding, 0)
    flat, offsets = flatten_sequences(sequences)
    if (flat == padding).any():
        row = np.searchsorted(offsets, np.flatnonzero(flat == padding)[0], side="right") - 1
        received = f"the padding id {padding} in sequences[{row}]"
        checks.refuse("sequences", received, "other ids; moving all up by one makes room for 0")
    lengths = np.diff(offsets)
    longest = int(lengths.max(initial=0))
    length = max(1, longest) if length is None else checks.whole_number("length", length, 0)
    if length < longest:
        checks.refuse("length", repr(length), f"at least {longest}, the longest sequence")
    ids = np.full((len(lengths), length), padding, np.int64)
    ids[np.arange(length) < lengths[:, None]] = flat
    return ids


def unpad_sequences(ids, padding=0):
    """The inverse of :func:`pad_sequences`: a list of int64 vectors, without the padding.

    Args:
        ids: an integer matrix (B, L); the padding may stand anywhere in a row.
        padding: the id that stands for nothing.

    Raises:
        ValueError: if the ids are not an integer matrix.

    Example:
        >>> [row.tolist() for row in unpad_sequences([[0, 0, 1], [2, 3, 0], [0, 0, 0]])]
        [[1], [2, 3], []]
    """
    padding = checks.whole_number("padding", padding, 0)
    ids = checks.id_array("ids", ids, np.inf, ndim=2).astype(np.int64)
    kept = ids != padding
    return split_sequences(ids[kept], np.concatenate([[0], np.cumsum(kept.sum(axis=1))]))


def flatten_sequences(sequences):
    """Lists of ids as one vector, and the offsets at which each begins and the last one ends.

    Args:
        sequences: B lists or vectors of integers, at least 0; any may be empty.

    Returns:
        ids (n,) and offsets (B + 1,), int64: list i is ``ids[offsets[i]:offsets[i + 1]]``.

    Raises:
        ValueError: if one of them is not a list of integers, or an id is negative.

    Example:
        >>> ids, offsets = flatten_sequences([[1], [], [2, 3]])
        >>> ids.tolist(), offsets.tolist()
        ([1, 2, 3], [0, 1, 1, 3])
    """
    if isinstance(sequences, (str, bytes)) or not hasattr(sequences, "__iter__"):
        checks.refuse("sequences", repr(sequences)[:40], "a list of lists of integers")
    rows = [
        checks.id_array(f"sequences[{i}]", row, np.inf, ndim=1) for i, row in enumerate(sequences)
    ]
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    ids = np.concatenate(rows) if rows else np.zeros(0)
    return ids.astype(np.int64), offsets


def split_sequences(ids, offsets):
    """The inverse of :func:`flatten_sequences`: a list of vectors.

    Raises:
        ValueError: if ids or offsets are not integer vectors, or the offsets do not fit.

    Example:
        >>> [row.tolist() for row in split_sequences([1, 2, 3], [0, 1, 1, 3])]
        [[1], [], [2, 3]]
    """
    ids = checks.id_array("ids", ids, np.inf, ndim=1)
    offsets = checks.offsets("offsets", offsets, len(ids))
    return np.split(ids, offsets[1:-1]) if len(offsets) > 1 else []
