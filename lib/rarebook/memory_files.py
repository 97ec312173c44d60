"""A memory as a file, and back: all of it, so that it goes on as if it had never been away."""

from dataclasses import asdict

import numpy as np

from rarebook import checks
from rarebook.eviction import RULES
from rarebook.files import DAMAGED, read_file, write_file

VERSION = 1
COLUMNS = {"touched": "_touched", "used": "_used", "hits": "_hits"}
GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def save(memory, path):
    """Write a memory to ``path``; see :meth:`rarebook.memory.Memory.save`."""
    write_file(path, "memory", VERSION, *memory_parts(memory))


def memory_parts(memory):
    """All of a memory: a header that JSON can hold, and a dict of arrays."""
    n, rule = memory.n_filled, memory.eviction
    name = type(rule).__name__
    header = {
        "n_slots": memory.n_slots,
        "key_size": memory.key_size,
        "age_noise": memory.age_noise,
        "n_updates": memory.n_updates,
        "n_events": memory._n_events,
        "labels": [as_json(label) for label in memory._label_list],
        "eviction": [name, asdict(rule)] if RULES.get(name) is type(rule) else None,
        "rng": _plain(memory.rng.bit_generator.state),
    }
    arrays = {name: getattr(memory, column)[:n] for name, column in COLUMNS.items()}
    arrays |= {"keys": memory.keys[:n], "noise": memory.noise[:n], "label_seen": memory.label_seen}
    # With the -1 of each empty slot, so that no small file asks for much memory.
    arrays["label_ids"] = memory.label_ids
    arrays |= {f"rule_{name}": np.asarray(value) for name, value in memory.rule_state.items()}
    return header, arrays


def load(Memory, path, eviction=None, rng=None):
    """The memory in the file ``path``; see :meth:`rarebook.memory.Memory.load`."""
    if rng is not None:
        checks.generator("rng", rng)
    header, arrays = read_file(path, "memory", VERSION)
    needs_rule(header, eviction)
    try:
        return memory_from_parts(Memory, header, arrays, eviction, rng)
    except DAMAGED as error:
        checks.refuse("path", f"{path} ({error})", "a whole file that holds a rarebook memory")


def needs_rule(header, eviction):
    """Refuse a missing rule where the file could not hold it."""
    if eviction is None and header.get("eviction") is None:
        checks.refuse("eviction", "None", "the rule of the memory in the file, which is your own")


def memory_from_parts(Memory, header, arrays, eviction=None, rng=None):
    """The memory with the parts that :func:`memory_parts` gave, or one of many errors."""
    if eviction is None:
        name, settings = header["eviction"]
        eviction = RULES[name](**settings)
    keys, ids = arrays.pop("keys"), arrays.pop("label_ids")
    n = len(keys)
    if len(ids) != header["n_slots"] or (ids[n:] != -1).any():
        raise ValueError(f"{len(ids)} label_ids for {header['n_slots']} slots")
    memory = Memory(
        header["n_slots"],
        header["key_size"],
        rng=_generator(header["rng"]) if rng is None else rng,
        eviction=eviction,
        age_noise=header["age_noise"],
        dtype=keys.dtype,
    )
    memory.n_filled = n
    memory.n_updates = checks.whole_number("n_updates", header["n_updates"], n)
    memory._n_events = checks.whole_number("n_events", header["n_events"], n)
    if max(memory.n_updates, memory._n_events) >= 2**62:
        raise ValueError(f"{memory.n_updates} updates, {memory._n_events} events")
    labels = [from_json(label) for label in header["labels"]]
    memory._label_list, memory._id_of = labels, {label: i for i, label in enumerate(labels)}
    if n > memory.n_slots or len(memory._id_of) != len(labels) or None in memory._id_of:
        raise ValueError(f"{n} keys, {len(labels)} labels")
    memory._keys[:n] = checks.array("keys", keys, (n, memory.key_size), keys.dtype)
    if n and np.abs(np.linalg.norm(keys.astype(float), axis=1) - 1).max() > 1e-3:
        raise ValueError("keys that are not of length 1")
    memory._noise[:n] = checks.array("noise", arrays.pop("noise"), (n,), memory._noise.dtype)
    for name, column in COLUMNS.items():
        getattr(memory, column)[:n] = _integers(name, arrays.pop(name), n)
    memory._ids[:n] = checks.ids("label_ids", _integers("label_ids", ids[:n], n), len(labels))
    memory._due[:n] = memory._noise[:n] - memory._touched[:n]
    size = max(8, len(labels))
    memory._counts = np.bincount(memory._ids[:n], minlength=size)
    memory._seen = np.zeros(size, np.int64)
    memory._seen[: len(labels)] = _integers("label_seen", arrays.pop("label_seen"), len(labels))
    memory.rule_state = {name.removeprefix("rule_"): values for name, values in arrays.items()}
    return memory


def _integers(name, values, n):
    values = checks.id_array(name, values, np.inf, ndim=1)
    if len(values) != n:
        checks.refuse(name, f"{len(values)} numbers", n)
    return values


def as_json(label):
    """A label as JSON holds it: a tuple as a list."""
    if type(label) is tuple:
        return [as_json(part) for part in label]
    if type(label) not in (bool, int, float, str):
        checks.refuse(
            "label", repr(label), "integers, strings, floats and tuples of them in a file"
        )
    return label


def from_json(label):
    """The label that :func:`as_json` was given: its lists are tuples again."""
    return tuple(map(from_json, label)) if isinstance(label, list) else label


def _plain(state):
    """The state of a bit generator with its arrays as lists."""
    if isinstance(state, dict):
        return {name: _plain(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, (np.ndarray, np.generic)) else state


def _generator(state):
    """The generator with a state that :func:`_plain` gave."""
    if state["bit_generator"] not in GENERATORS:
        raise ValueError(f"the generator {state['bit_generator']!r}")
    bits = getattr(np.random, state["bit_generator"])()

    def like(now, saved):
        if isinstance(now, dict):
            return {name: like(value, saved[name]) for name, value in now.items()}
        if isinstance(saved, int) and saved < 0:
            raise ValueError(f"{saved} in the state of a generator")
        return np.array(saved, now.dtype) if isinstance(now, np.ndarray) else saved

    state = like(bits.state, state)
    # NumPy follows these two unchecked: how much of an array of random numbers is used up.
    for name, values, end in [("pos", state["state"], 624), ("buffer_pos", state, 4)]:
        if not 0 <= values.get(name, 0) <= end:
            raise ValueError(f"{name} {values[name]}")
    bits.state = state
    return np.random.Generator(bits)
