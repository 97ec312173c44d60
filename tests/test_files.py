"""Files of arrays: what goes in comes out, and nothing else is taken for one."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from rarebook.files import START, read_file, write_file
from support import clean_environment

HEADER = {"name": "é\ud800", "numbers": [1, 2.5, None], "nested": {"a": [True]}}
ARRAYS = {
    "floats": np.array([[1.5, np.inf], [-0.0, np.nan]], np.float32),
    "long": np.arange(3, dtype=np.int64),
    "flags": np.array([True, False]),
    "bytes": np.arange(255, dtype=np.uint8),
    "half": np.arange(3, dtype=np.float16),
    "none": np.empty((0, 3)),
    "one": np.array(7.0),
}


def write(path, kind="thing", version=1, header=HEADER, arrays=ARRAYS):
    write_file(path, kind, version, header, arrays)
    return path


def by_hand(path, entries=(), header=(), data=b"", metadata=(), text=None):
    """A file of these parts with a checksum that fits them, whatever they are."""
    ours = json.dumps({"kind": "thing", "version": 1} | dict(header))
    about = {"crc32": "0" * 8, "rarebook": ours} | dict(metadata)
    whole = json.dumps({"__metadata__": about} | dict(entries), separators=(",", ":")).encode()
    rest = (whole if text is None else text)[len(START) + 8 :]
    checksum = b"%08x" % zlib.crc32(rest + data)
    length = (len(START) + 8 + len(rest)).to_bytes(8, "little")
    Path(path).write_bytes(length + START + checksum + rest + data)
    return path


def entry(shape, data_offsets, dtype="F64"):
    return {"dtype": dtype, "shape": shape, "data_offsets": data_offsets}


def same(arrays, others):
    assert sorted(arrays) == sorted(others)
    for name, array in arrays.items():
        assert array.dtype == others[name].dtype and array.shape == others[name].shape
        assert array.tobytes() == others[name].tobytes()


@pytest.mark.parametrize("kind", [str, Path])
def test_what_goes_in_comes_out(tmp_path, kind):
    path = kind(tmp_path / "some name.safetensors")
    read, arrays = read_file(write(path), "thing", 1)
    assert read == {"kind": "thing", "version": 1, **HEADER}
    same(arrays, ARRAYS)
    for array in arrays.values():
        assert array.flags.aligned
        array[...] = 0  # it is the reader's own
    same(read_file(path, "thing", 1)[1], ARRAYS)
    assert os.listdir(tmp_path) == ["some name.safetensors"]


def test_other_programs_read_it(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="needs safetensors")
    same(safetensors.load_file(write(tmp_path / "a")), ARRAYS)


def test_any_layout_goes_in(tmp_path):
    array = np.arange(12).reshape(3, 4)
    arrays = {"fortran": np.asfortranarray(array), "part": array[::2, ::-1]}
    same(read_file(write(tmp_path / "a", arrays=arrays), "thing", 1)[1], arrays)
    big = write(tmp_path / "b", arrays={"big": array.astype(">i8")})
    same(read_file(big, "thing", 1)[1], {"big": array})


def test_the_same_content_gives_the_same_bytes_everywhere(tmp_path):
    """Whatever the Python, the NumPy, the machine."""
    data = write(tmp_path / "a").read_bytes()
    assert hashlib.sha256(data).hexdigest()[:32] == "d79083eefe9eac63cf5822572dffd8ef"


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.safetensors")
    write("a.safetensors", header={"second": 2})
    assert read_file("a.safetensors", "thing", 1)[0]["second"] == 2
    assert os.listdir() == ["a.safetensors"]


def test_a_file_that_cannot_be_written_or_opened(tmp_path):
    for path in (tmp_path / "no" / "folder", write(tmp_path / "file") / "below", tmp_path):
        with pytest.raises(OSError):
            write(path)
        with pytest.raises(OSError):
            read_file(path, "thing", 1)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("arrays", "header"),
    [
        ({"a": np.array([{}], object)}, {}),
        ({"fine": np.ones(3), "a": np.array([None])}, {}),
        ({"a": np.ones(2, complex)}, {}),
        ({"a": np.array(["text"])}, {}),
        ({"a": np.ones(3)}, {"set": {1}}),
    ],
)
def test_what_a_file_cannot_hold_leaves_the_old_file(tmp_path, arrays, header):
    path = write(tmp_path / "a")
    with pytest.raises((TypeError, ValueError)):
        write(path, arrays=arrays, header=header)
    same(read_file(path, "thing", 1)[1], ARRAYS)
    assert os.listdir(tmp_path) == ["a"]


def refused(path, reason=""):
    with pytest.raises(ValueError, match=rf"^path: received .*{reason}.*; allowed: a whole file"):
        read_file(path, "thing", 1)


def test_every_shorter_and_every_longer_file_is_refused(tmp_path):
    whole, other = write(tmp_path / "a").read_bytes(), tmp_path / "b"
    for length in range(len(whole)):
        other.write_bytes(whole[:length])
        refused(other)
    for extra in (b"\0", b" ", whole):
        for data in (whole + extra, extra + whole):
            other.write_bytes(data)
            refused(other)


def test_every_flipped_bit_is_refused(tmp_path):
    path = write(tmp_path / "a", arrays={name: ARRAYS[name] for name in ("floats", "none")})
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            refused(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"text\n", b"\0" * 1000, b"\xff" * 1000, b"\x93NUMPY", b"PK\3\4", pickle.dumps({})],
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    refused(path)
    assert path.read_bytes() == content


def test_files_of_other_programs_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    refused(tmp_path / "a.npz")
    text = json.dumps({"x": entry([1], [0, 8])}).encode()
    (tmp_path / "b").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    refused(tmp_path / "b", "no checksum")


def test_another_kind_is_refused(tmp_path):
    refused(by_hand(tmp_path / "a", header={"kind": "other"}), "with 'other'")


@pytest.mark.parametrize("version", [2, 0, "1", None, 1.5])
def test_another_version_is_refused(tmp_path, version):
    path = by_hand(tmp_path / "a", header={"version": version})
    with pytest.raises(ValueError, match=rf"^path: received .* of version {version!r}; allowed"):
        read_file(path, "thing", 1)


def test_what_is_made_by_hand_is_read(tmp_path):
    """So what the tests below refuse is refused for its own reason."""
    entries = {"x": entry([2, 1], [0, 16]), "y": entry([3], [16, 19], "U8")}
    _, arrays = read_file(by_hand(tmp_path / "a", entries, data=bytes(19)), "thing", 1)
    same(arrays, {"x": np.zeros((2, 1)), "y": np.zeros(3, np.uint8)})


@pytest.mark.parametrize(
    "entry",
    [
        *(entry([10**15], [0, 8]), entry([10**15], [0, 8 * 10**15]), entry([2**62] * 2, [0, 8])),
        *(entry([-1], [0, -8]), entry([-1, -1], [0, 8]), entry([2], [0, 8]), entry([0], [0, 0])),
        *(entry([1], [8, 16]), entry([1], [-8, 0]), entry([1], [8, 0]), entry([1], [0, 8, 9])),
        *(entry(7, [0, 8]), entry("1", [0, 8]), entry([1.0], [0, 8]), entry([True], [0, 8])),
        *(entry([1], [0, 8], dtype) for dtype in ("O", "|O", "V8", "F32", "<f8", None, [])),
        *({}, [], None, 7, "x", {"dtype": "F64", "shape": [1]}),
    ],
    ids=str,
)
def test_an_array_that_is_not_what_it_says_is_refused(tmp_path, entry):
    refused(by_hand(tmp_path / "a", {"x": entry}, data=bytes(8)))


def test_arrays_that_overlap_are_refused(tmp_path):
    for second in (entry([1], [0, 8]), entry([1], [4, 12]), entry([1], [16, 24])):
        entries = {"x": entry([1], [0, 8]), "y": second}
        refused(by_hand(tmp_path / "a", entries, data=bytes(24)))


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":1,"a":2}'])
def test_plain_values_that_are_none_are_refused(tmp_path, text):
    refused(by_hand(tmp_path / "a", metadata={"rarebook": text.decode("latin-1")}))
    refused(by_hand(tmp_path / "a", text=START + b"0" * 8 + b'"' + text))


def test_a_name_twice_is_refused(tmp_path):
    text = START + b'00000000","rarebook":"{}"},"x":' + json.dumps(entry([0], [0, 0])).encode()
    text += b"," + text[text.index(b'"x"') :] + b"}"
    refused(by_hand(tmp_path / "a", text=text), "a name twice")


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(Trap())
    Path("a").write_bytes(data)
    refused("a")
    np.savez("b.npz", x=np.array([Trap()], object))
    refused("b.npz")
    for dtype in ("O", "U8"):
        refused(by_hand("c", {"x": entry([len(data) + 1], [0, len(data)], dtype)}, data=data))
    _, arrays = read_file(
        by_hand("c", {"x": entry([len(data)], [0, len(data)], "U8")}, data=data), "thing", 1
    )
    assert arrays["x"].tobytes() == data  # bytes are bytes
    assert not Path("sprung").exists()


def test_names_are_only_names(tmp_path):
    (tmp_path / "in").mkdir()
    arrays = {"../out": np.ones(2), "/etc/passwd": np.ones(1), "": np.ones(3)}
    same(read_file(write(tmp_path / "in" / "a", arrays=arrays), "thing", 1)[1], arrays)
    assert os.listdir(tmp_path) == ["in"] and os.listdir(tmp_path / "in") == ["a"]


MEASURED = """
import sys
from rarebook.files import read_file

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line)

before = peak()
for path in sys.argv[1:]:
    try:
        read_file(path, "thing", 1)
    except ValueError:
        continue
    raise SystemExit(f"{path} was read")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_small_file_takes_little_memory(tmp_path):
    """Whatever it says; the last ones say that they are, and hold nothing."""
    paths = [
        by_hand(tmp_path / f"{i}", {"x": entry(shape, [0, n])}, data=bytes(8))
        for i, (shape, n) in enumerate([([2**40], 2**43), ([2**40], 8), ([2**31, 2**31], 2**65)])
    ]
    for name, start in [("hole", b""), ("long", (2**30).to_bytes(8, "little") + START)]:
        paths.append(tmp_path / name)
        with paths[-1].open("wb") as file:
            file.write(start)
            file.truncate(2**32)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *paths],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 10_000
