"""Arrays and a few plain values in one file: no pickle, no code, written aside and then renamed.

A file is in the safetensors format, so that other programs read it as well: eight bytes with the
length of a header, the header in JSON with name, dtype, shape and place of each array, and then
their numbers. The format leaves room for text of one's own: ``rarebook`` has our plain values, and
``crc32`` the checksum of all bytes behind it. Nothing is read before the header fits the size of
the file. The same content gives the same bytes.

Source: the format of the package safetensors, https://huggingface.co/docs/safetensors.
"""

import json
import math
import os
import zlib

import numpy as np

from rarebook import checks

CODES = {"BOOL": "?", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
CODES |= {"I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
CODES |= {"U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8"}
DTYPES = {name: np.dtype(code) for name, code in CODES.items()}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
START = b'{"__metadata__":{"crc32":"'
LONGEST = 100_000_000  # bytes of a header

# What a whole file with contents that do not fit may raise where they are put together.
DAMAGED = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


def write_file(path, kind, version, header, arrays):
    """Write ``header`` and ``arrays`` to ``path``, so that the file is whole at any moment.

    A process that is killed leaves the old file or the new one, and at most a hidden file beside it
    that ends in ``.tmp``.

    Args:
        path: of the file; one that exists is replaced.
        kind: what the file holds, such as "memory".
        version: of its layout, a whole number.
        header: a dict that JSON can hold.
        arrays: a dict of arrays of booleans, integers or floats.

    Raises:
        OSError: if the file cannot be written. An old file is still there then.
    """
    stored = {name: _plain(name, values) for name, values in arrays.items()}
    # The widest numbers first, so that each array lies at a multiple of its numbers' width.
    order = sorted(stored, key=lambda name: (-stored[name].itemsize, -stored[name].nbytes))
    ours = json.dumps({"kind": kind, "version": version, **header})
    entries, end = {"__metadata__": {"crc32": f"{0:08x}", "rarebook": ours}}, 0
    for name in order:
        values, start = stored[name], end
        end += values.nbytes
        entries[name] = {
            "dtype": NAMES[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    parts = [text[len(START) + 8 :], *(stored[name].data for name in order)]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    path = os.fspath(path)
    folder, name = os.path.split(path)
    aside = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with open(aside, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + START + b"%08x" % checksum)
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        if os.path.exists(aside):
            os.remove(aside)


def read_file(path, kind, version):
    """The header and the arrays of a file that :func:`write_file` wrote.

    Raises:
        ValueError: if the file is damaged, holds something else or is of a newer version.
        OSError: if it cannot be opened.
    """
    allowed = f"a whole file that holds a rarebook {kind}"
    with open(os.fspath(path), "rb") as file:
        try:
            header, arrays = _contents(file)
        except (*DAMAGED, RecursionError) as error:
            checks.refuse("path", f"{path} ({error or type(error).__name__})", allowed)
    if header.get("kind") != kind:
        checks.refuse("path", f"{path} with {header.get('kind')!r}", allowed)
    if header.get("version") != version:
        checks.refuse("path", f"{path} of version {header.get('version')!r}", f"version {version}")
    return header, arrays


def _plain(name, values):
    """``values`` in C order and little endian, if a file can hold them."""
    values = np.asarray(values, order="C")
    dtype = values.dtype.newbyteorder("<")
    if dtype not in NAMES:
        checks.refuse(name, f"values of dtype {dtype}", "booleans, integers or floats")
    return values.astype(dtype, copy=False)


def _contents(file):
    """The header and the arrays, or one of many errors."""
    size = os.fstat(file.fileno()).st_size - 8
    length = int.from_bytes(file.read(8), "little")
    if not len(START) + 8 <= length <= min(size, LONGEST):
        raise ValueError("no header")
    text = file.read(length)
    if not text.startswith(START):
        raise ValueError("no checksum")
    entries = json.loads(text, object_pairs_hook=_once)
    metadata, end = entries.pop("__metadata__"), 0
    arrays = []
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
        start = end
        end += math.prod(checks.whole_number("shape", n, 0) for n in shape) * dtype.itemsize
        if entry["data_offsets"] != [start, end]:
            raise ValueError(f"{entry} from {start} to {end}")
        arrays.append((name, slice(start, end), dtype, shape))
    if end != size - length:
        raise ValueError(f"{size - length} bytes for {end} of arrays")
    data = np.empty(end + 64, np.uint8)
    data = data[-data.__array_interface__["data"][0] % 64 :][:end]  # a product is faster from here
    read = file.readinto(data)
    checksum = zlib.crc32(data, zlib.crc32(text[len(START) + 8 :]))
    if read != end or metadata["crc32"] != f"{checksum:08x}":
        raise ValueError(f"a checksum that is {checksum:08x}")
    header = json.loads(metadata["rarebook"], object_pairs_hook=_once)
    if not isinstance(header, dict):
        raise ValueError("no plain values")
    return header, {name: data[at].view(dtype).reshape(shape) for name, at, dtype, shape in arrays}


def _once(pairs):
    """A dict, if no name comes twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found
