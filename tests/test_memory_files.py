"""A memory that was away in a file goes on as if it had not been."""

import errno
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from rarebook import files
from rarebook.eviction import RULES, LabelAware, Oldest
from rarebook.files import read_file, write_file
from rarebook.memory import Memory
from support import clean_environment
from test_memory import goes_on, same, state

NAMES = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]
GENERATORS = [getattr(np.random, name) for name in NAMES]


def drops_every_third(memory, label):
    """A rule of one's own, with a state."""
    calls = memory.rule_state.setdefault("calls", np.array(0))
    calls += 1
    return None if calls % 3 == 0 else memory.rng.integers(memory.n_slots)


def used(eviction=None, bits=np.random.PCG64, n=40, labels=None, **settings):
    """A memory after ``n`` samples and a query."""
    memory = Memory(
        **({"n_slots": 8, "key_size": 3} | settings),
        rng=np.random.Generator(bits(3)),
        eviction=eviction,
    )
    rng = np.random.default_rng(0)
    Q, y = rng.normal(size=(n, 3)), rng.integers(5, size=n).tolist()
    memory.update(Q, y if labels is None else [labels[i] for i in y])
    if n:
        memory.query(Q[:5])
    memory.rng.integers(9, size=3, dtype=np.uint32)  # half of a number is left over
    return memory


@pytest.mark.parametrize("bits", GENERATORS)
@pytest.mark.parametrize("rule", [*(rule() for rule in RULES.values()), LabelAware(0.5)], ids=repr)
def test_it_goes_on_as_if_it_had_not_been_away(tmp_path, rule, bits):
    memory = used(rule, bits)
    before = state(memory)
    memory.save(tmp_path / "a.safetensors")
    assert state(memory) == before
    loaded = Memory.load(tmp_path / "a.safetensors")
    assert loaded.eviction == rule and type(loaded.rng.bit_generator) is bits
    goes_on(loaded, memory)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 2, 40])
@pytest.mark.parametrize("age_noise", [0, 1, 16.5])
def test_every_degree_of_filling(tmp_path, n, dtype, age_noise):
    memory = used(n=n, dtype=dtype, age_noise=age_noise)
    memory.save(tmp_path / "a.safetensors")
    loaded = Memory.load(tmp_path / "a.safetensors")
    assert (loaded.dtype, loaded.age_noise) == (dtype, age_noise)
    goes_on(loaded, memory)


@pytest.mark.parametrize(
    "labels",
    [
        *(
            [5, -3, 2**70, 0, 10**15],
            [True, "1", 1.5, "", "é\ud800\n"],
            [0, 0.5, -1e300, 1e-300, 7],
        ),
        *([("a", 1), ("a", (2, "b")), (), ((),), (1.0, False)], [float("inf"), 1, 2, 3, 4]),
        [*map(str, range(5))],
    ],
    ids=repr,
)
def test_labels_come_back(tmp_path, labels):
    memory = used(labels=labels)
    memory.save(tmp_path / "a.safetensors")
    loaded = Memory.load(tmp_path / "a.safetensors")
    found, before = loaded.query(np.eye(3)).labels, memory.query(np.eye(3)).labels
    assert found.dtype == before.dtype and found.tolist() == before.tolist()
    goes_on(loaded, memory)


@pytest.mark.parametrize(
    "label",
    [b"raw", frozenset([1]), 1j, ("a", b"b"), (np.int64(1),), Path("a"), Oldest()],
    ids=repr,
)
def test_labels_that_a_file_does_not_hold(tmp_path, label):
    memory = used()
    memory.save(tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    memory.update([1, 2, 3], label)
    with pytest.raises(ValueError, match=r"^label: received .*; allowed: integers, strings"):
        memory.save(tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == whole
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_rule_of_ones_own_is_handed_in_again(tmp_path):
    memory = used(drops_every_third)
    assert memory.rule_state["calls"].shape == ()
    memory.save(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"^eviction: received None; allowed: the rule of the mem"):
        Memory.load(tmp_path / "a.safetensors")
    goes_on(Memory.load(tmp_path / "a.safetensors", eviction=drops_every_third), memory)


def test_a_class_of_the_same_name_is_not_ours(tmp_path):
    class Oldest:
        def __call__(self, memory, label):
            return 0

    used(Oldest()).save(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"^eviction: received None"):
        Memory.load(tmp_path / "a.safetensors")


def test_another_rule_and_another_generator_may_be_handed_in(tmp_path):
    memory = used(Oldest())
    memory.save(tmp_path / "a.safetensors")
    rng = np.random.default_rng(9)
    loaded = Memory.load(tmp_path / "a.safetensors", eviction=LabelAware(2), rng=rng)
    assert loaded.rng is rng and loaded.eviction == LabelAware(2)
    memory.rng, memory.eviction = np.random.default_rng(9), LabelAware(2)
    goes_on(loaded, memory)
    with pytest.raises(ValueError, match=r"^rng: received 5"):
        Memory.load(tmp_path / "a.safetensors", rng=5)
    with pytest.raises(ValueError, match=r"received 5"):
        Memory.load(tmp_path / "a.safetensors", eviction=5)


def test_a_class_of_ones_own_comes_back(tmp_path):
    class Mine(Memory):
        pass

    used().save(tmp_path / "a.safetensors")
    assert type(Mine.load(tmp_path / "a.safetensors")) is Mine


def test_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    memory = used()
    for path in ("a", Path("b.safetensors"), str(tmp_path / "c d"), tmp_path / "é.safetensors"):
        memory.save(path)
        same(Memory.load(path), memory)
    assert sorted(os.listdir()) == ["a", "b.safetensors", "c d", "é.safetensors"]
    for path in ("no/folder.safetensors", tmp_path / "a" / "b", tmp_path):
        with pytest.raises(OSError):
            memory.save(path)
        with pytest.raises(OSError):
            Memory.load(path)
    assert sorted(os.listdir()) == ["a", "b.safetensors", "c d", "é.safetensors"]


# Damage -------------------------------------------------------------------------------------------


def tiny():
    memory = Memory(3, 2, rng=np.random.default_rng(0))
    memory.update([[1, 0], [0, 1], [1, 1]], ["a", "b", "a"])
    return memory


def test_every_shorter_file_is_refused(tmp_path):
    tiny().save(tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    for length in [*range(0, len(whole), 7), *range(len(whole) - 30, len(whole))]:
        (tmp_path / "b").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"^path: received"):
            Memory.load(tmp_path / "b")


@pytest.mark.parametrize("flip", [0xFF, 0x01])
def test_a_flipped_byte_is_refused(tmp_path, flip):
    tiny().save(tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    with (tmp_path / "a").open("r+b", buffering=0) as file:
        for i, byte in enumerate(whole):
            os.pwrite(file.fileno(), bytes([byte ^ flip]), i)
            with pytest.raises(ValueError, match=r"^path: received "):
                Memory.load(tmp_path / "a")
            os.pwrite(file.fileno(), bytes([byte]), i)


def rewritten(path, header=(), arrays=(), drop=()):
    """The same file with other contents, and sums that fit them."""
    old, stored = read_file(path, "memory", 1)
    header = {k: v for k, v in {**old, **dict(header)}.items() if k not in drop}
    for name in ("kind", "version"):
        header.pop(name)
    stored = {k: v for k, v in {**stored, **dict(arrays)}.items() if k not in drop}
    write_file(path, "memory", 1, header, stored)
    return path


@pytest.mark.parametrize(
    "header",
    [
        *({"n_slots": n} for n in (0, 1, -1, 2.5, "4", None, True, 10**13, 10**30)),
        *({"key_size": n} for n in (0, 3, "2", None, 10**13)),
        *({"age_noise": noise} for noise in (-1, "1", None)),
        *({"n_updates": n} for n in (-1, 1, 1.5, None, 10**30)),
        *({"n_events": n} for n in (-1, 1, 1.5, None, 10**30)),
        *(
            {"labels": labels}
            for labels in (7, [], ["a"], ["a", "a"], [None, 1], [{}, 1], {}, None)
        ),
        *({"eviction": rule} for rule in (7, [], ["X", {}], ["Oldest", []], ["Oldest", {"a": 1}])),
        *({"eviction": rule} for rule in ([[], {}], ["LabelAware", {"gamma": -1}])),
        *({"rng": state} for state in (None, 7, {}, {"bit_generator": "PCG64"})),
        *({"rng": {"bit_generator": name}} for name in ("default_rng", "seed", [], None)),
    ],
    ids=repr,
)
def test_a_header_that_does_not_fit_is_refused(tmp_path, header):
    tiny().save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"^path: received .*; allowed: a whole file that holds a"):
        Memory.load(rewritten(tmp_path / "a", header))


@pytest.mark.parametrize(
    "arrays",
    [
        *({"keys": np.eye(*shape)} for shape in ((3, 2), (4, 2), (2, 3), (1, 2))),
        *({"keys": keys} for keys in (np.ones(2), np.array(1.0), np.ones((2, 2)), 2 * np.eye(2))),
        *({"keys": keys} for keys in (np.eye(2, dtype=int), np.full((2, 2), np.nan))),
        *({"noise": noise} for noise in (np.ones(3), np.array([0, np.inf]), np.ones((2, 1)))),
        *(
            {name: np.array(values)}
            for name in ("touched", "used", "hits", "label_seen")
            for values in ([0], [0, 1, 0], [0, -1], [0.0, 1.0], [[0, 1]], [True, False])
        ),
        *(
            {"label_ids": np.array(values)}
            for values in (
                *([0], [0, 1], [0, 1, 0], [0, -1, -1], [0, 2, -1], [0, 1, -2], [-1, 1, -1]),
                *([0, 1, -1, -1], [0.0, 1.0, -1.0], [[0, 1, -1]], [True, False, True], 7),
            )
        ),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays):
    tiny().save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"^path: received .*; allowed: a whole file that holds a"):
        Memory.load(rewritten(tmp_path / "a", arrays=arrays))


def test_what_is_missing_is_missed(tmp_path):
    tiny().save(tmp_path / "a")
    header, arrays = read_file(tmp_path / "a", "memory", 1)
    for name in [*(set(header) - {"kind", "version"}), *arrays]:
        tiny().save(tmp_path / "a")
        with pytest.raises(ValueError, match=r"^(path|eviction): received"):
            Memory.load(rewritten(tmp_path / "a", drop=[name]))


@pytest.mark.parametrize(
    ("bits", "change"),
    [
        (np.random.MT19937, lambda rng: rng["state"].update(pos=10**9)),
        (np.random.MT19937, lambda rng: rng["state"].update(pos=-1)),
        (np.random.MT19937, lambda rng: rng["state"].update(key=[1, 2])),
        (np.random.MT19937, lambda rng: rng["state"].update(key="1")),
        (np.random.Philox, lambda rng: rng.update(buffer_pos=-(10**9))),
        (np.random.Philox, lambda rng: rng.update(buffer_pos=5)),
        (np.random.Philox, lambda rng: rng.update(buffer=[1])),
        (np.random.PCG64, lambda rng: rng["state"].update(inc=-1)),
        (np.random.PCG64, lambda rng: rng.update(uinteger=10**30)),
    ],
)
def test_a_generator_that_numpy_would_follow_anywhere_is_refused(tmp_path, bits, change):
    path = tmp_path / "a"
    used(bits=bits).save(path)
    rng = read_file(path, "memory", 1)[0]["rng"]
    change(rng)
    with pytest.raises(ValueError, match=r"^path: received"):
        Memory.load(rewritten(path, {"rng": rng}))
    Memory.load(path, rng=np.random.default_rng(0))  # the saved one is not looked at


def test_a_newer_version_is_refused(tmp_path):
    write_file(tmp_path / "a", "memory", 2, {}, {})
    with pytest.raises(ValueError, match=r"^path: received .* of version 2; allowed: version 1"):
        Memory.load(tmp_path / "a")


def test_another_kind_is_refused(tmp_path):
    write_file(tmp_path / "a", "network", 1, {}, {})
    with pytest.raises(
        ValueError, match=r"with 'network'; allowed: a whole file that holds a rare"
    ):
        Memory.load(tmp_path / "a")


# Trouble on the way -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_no_space_leaves_the_old_file(tmp_path, monkeypatch, where):
    old, new = used(), used(n=50)
    old.save(tmp_path / "a")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = state(new)
    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space"):
        patch.setattr(files.os, where, full)
        new.save(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"] and state(new) == before
    same(Memory.load(tmp_path / "a"), old)


def test_no_space_in_the_middle_leaves_the_old_file(tmp_path, monkeypatch):
    used().save(tmp_path / "a")
    used(n=50).save(tmp_path / "b")
    whole = (tmp_path / "b").stat().st_size
    (tmp_path / "b").unlink()
    for size in range(0, whole, 100):

        class Full(io.FileIO):
            def write(self, data, size=size):
                if self.tell() + memoryview(data).nbytes > size:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(data)

        with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space"):
            patch.setattr(files, "open", Full, raising=False)
            used(n=50).save(tmp_path / "a")
        assert os.listdir(tmp_path) == ["a"]
        same(Memory.load(tmp_path / "a"), used())


SAVER = """
import numpy as np
from rarebook.memory import Memory

memories = []
for size in (1, 2):
    memory = Memory(4000 * size, 64, rng=np.random.default_rng(size))
    memory.update(np.random.default_rng(size).normal(size=(4000, 64)), range(4000))
    memories.append(memory)
print("ready", flush=True)
while True:
    for memory in memories:
        memory.save("a")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_that_is_killed_leaves_a_whole_file(tmp_path):
    draw = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER],
            cwd=tmp_path,
            env=clean_environment(OPENBLAS_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.03 + 0.1 * draw.random())
            process.kill()
        if "a" in os.listdir(tmp_path):
            loaded = Memory.load(tmp_path / "a")
            assert len(loaded) == 4000 and loaded.n_slots in (4000, 8000)
        strays = [name for name in os.listdir(tmp_path) if name != "a"]
        assert len(strays) <= 1 and all(name.endswith(".tmp") for name in strays)
        for name in strays:
            (tmp_path / name).unlink()
    assert os.listdir(tmp_path) == ["a"]


def test_the_file_is_plain(tmp_path):
    tiny().save(tmp_path / "a")
    header, arrays = read_file(tmp_path / "a", "memory", 1)
    assert header["labels"] == ["a", "b"] and header["eviction"] == ["Oldest", {}]
    assert json.loads(json.dumps(header)) == header
    assert {name: a.dtype.kind for name, a in arrays.items()} == {
        **dict.fromkeys(["keys", "noise"], "f"),
        **dict.fromkeys(["label_ids", "touched", "used", "hits", "label_seen"], "i"),
    }
    copy = deepcopy(tiny())
    copy.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
