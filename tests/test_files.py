"""Files of arrays: what goes in comes out, and nothing else is taken for one."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rarebook.files import read_file, write_file

HEADER = {"name": "é", "numbers": [1, 2.5, None], "nested": {"a": [True]}}
ARRAYS = {
    "floats": np.array([[1.5, np.inf], [-0.0, np.nan]], np.float32),
    "long": np.arange(3, dtype=np.int64),
    "flags": np.array([True, False]),
    "bytes": np.arange(256, dtype=np.uint8),
    "none": np.empty((0, 3)),
    "one": np.array(7.0),
}


def write(path, kind="thing", version=1, header=HEADER, arrays=ARRAYS):
    write_file(path, kind, version, header, arrays)
    return path


def archive(path, **members):
    """A zip archive of these members, by hand."""
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("_", "."), data)
    return path


def npy(array, **settings):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **settings)
    return file.getvalue()


def header(**more):
    return json.dumps({"format": "rarebook", "kind": "thing", "version": 1} | more)


def same(arrays, others):
    assert list(arrays) == list(others)
    for name, array in arrays.items():
        assert array.dtype == others[name].dtype and array.shape == others[name].shape
        assert array.tobytes() == others[name].tobytes()


@pytest.mark.parametrize("kind", [str, Path])
def test_what_goes_in_comes_out(tmp_path, kind):
    path = kind(tmp_path / "some name.npz")
    read, arrays = read_file(write(path), "thing", 1)
    assert read == {"format": "rarebook", "kind": "thing", "version": 1, **HEADER}
    same(arrays, ARRAYS)
    for array in arrays.values():
        array[...] = 0  # it is the reader's own
    with np.load(path) as loaded:
        same({name: loaded[name] for name in ARRAYS}, ARRAYS)
    assert os.listdir(tmp_path) == ["some name.npz"]


def test_any_layout_goes_in(tmp_path):
    array = np.arange(12).reshape(3, 4)
    arrays = {"fortran": np.asfortranarray(array), "part": array[::2, ::-1]}
    same(read_file(write(tmp_path / "a", arrays=arrays), "thing", 1)[1], arrays)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    assert write(tmp_path / "a").read_bytes() == write(tmp_path / "b").read_bytes()


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.npz")
    write("a.npz", header={"second": 2})
    assert read_file("a.npz", "thing", 1)[0]["second"] == 2
    assert os.listdir() == ["a.npz"]


def test_a_file_that_cannot_be_written_or_opened(tmp_path):
    for path in (tmp_path / "no" / "folder.npz", write(tmp_path / "file") / "below", tmp_path):
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
        ({"a": np.ones(3)}, {"set": {1}}),
    ],
)
def test_what_a_file_cannot_hold_leaves_the_old_file(tmp_path, arrays, header):
    path = write(tmp_path / "a.npz")
    with pytest.raises((TypeError, ValueError)):
        write(path, arrays=arrays, header=header)
    same(read_file(path, "thing", 1)[1], ARRAYS)
    assert os.listdir(tmp_path) == ["a.npz"]


def test_every_shorter_file_is_refused(tmp_path):
    whole = write(tmp_path / "a", arrays={"a": np.arange(3)}).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "b").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"^path: received .*b.*; allowed: a whole file"):
            read_file(tmp_path / "b", "thing", 1)


def test_a_longer_file_is_refused_or_the_same(tmp_path):
    whole = write(tmp_path / "a").read_bytes()
    for extra in (whole, b"\0", b"PK\5\6" + 18 * b"\0", b"PK\1\2" * 30):
        for data in (whole + extra, extra + whole):
            (tmp_path / "b").write_bytes(data)
            try:
                arrays = read_file(tmp_path / "b", "thing", 1)[1]
            except ValueError as error:
                assert str(error).startswith("path: received ")
            else:
                same(arrays, ARRAYS)


def png():
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"text\n", b"\0" * 1000, png(), pickle.dumps({}), npy(np.ones(3)), b"PK"),
        *(b"PK\5\6" + 18 * b"\0", b"PK\5\6" + 18 * b"\xff", b"PK\3\4" + 200 * b"\xff"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^path: received .*; allowed: a whole file that holds a"):
        read_file(path, "thing", 1)
    assert path.read_bytes() == content


def test_other_archives_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.ones(3))
    with pytest.raises(ValueError, match=r"^path: received .*header.json"):
        read_file(path, "thing", 1)
    np.savez_compressed(path, a=np.ones(3))
    with pytest.raises(ValueError, match=r"^path: received .*unpack"):
        read_file(path, "thing", 1)
    for text in ("", "[]", "7", "{", "\xff", '{"format": "other"}', "[" * 100_000):
        with pytest.raises(ValueError, match=r"^path: received"):
            read_file(archive(path, header_json=text), "thing", 1)
    with pytest.raises(ValueError, match=r"^path: received .* with 'other'"):
        read_file(archive(path, header_json=header(kind="other")), "thing", 1)


@pytest.mark.parametrize("version", [2, 0, "1", None, 1.5])
def test_another_version_is_refused(tmp_path, version):
    path = archive(tmp_path / "a", header_json=header(version=version))
    with pytest.raises(ValueError, match=rf"^path: received .* of version {version!r}; allowed"):
        read_file(path, "thing", 1)


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = np.array([Trap()], object)
    for data in (npy(array, allow_pickle=True), pickle.dumps(Trap())):
        path = archive(tmp_path / "a", header_json=header(), x_npy=data)
        with pytest.raises(ValueError, match=r"^path: received"):
            read_file(path, "thing", 1)
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"^path: received"):
            read_file(path, "thing", 1)
    assert os.listdir(tmp_path) == ["a"]


def described(shape, dtype="<f8", fortran=False):
    """The bytes of an array that says it has this shape, and holds eight bytes."""
    file = io.BytesIO()
    about = {"shape": shape, "descr": dtype, "fortran_order": fortran}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue() + bytes(8)


@pytest.mark.parametrize(
    "data",
    [
        *map(described, [(10**15,), (2**62, 2**62), (-1,), (-1, -1), (2,), (0,), (), (True, 2)]),
        *(described((1,), dtype) for dtype in ("<M8[s]", "<U2", "|V8", "|O", "<c8", "nonsense")),
        *(described((1, 1), fortran=True), b"", b"\x93NUMPY", b"\x93NUMPY\1\0\xff\xff{"),
        *(npy(np.ones(1), version=(2, 0)), npy(np.ones(1)) + b"\0", npy(np.ones(1))[:-1]),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(tmp_path, data):
    path = archive(tmp_path / "a", header_json=header(), x_npy=data)
    if data == described(()):
        assert read_file(path, "thing", 1)[1]["x"] == 0
        return
    with pytest.raises(ValueError, match=r"^path: received"):
        read_file(path, "thing", 1)


def test_a_name_twice_is_refused(tmp_path):
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w") as file, pytest.warns(UserWarning, match=r"Duplicate name"):
        for data in (header(), header(more=1)):
            file.writestr("header.json", data)
    with pytest.raises(ValueError, match=r"a name twice"):
        read_file(path, "thing", 1)
