"""Arrays and a few plain values in one file: no pickle, no code, written aside and then renamed.

A file is a zip archive without compression: ``header.json`` and one ``.npy`` a named array, so that
``numpy.load`` reads it as well. What is read is checked against the size of the file before any
memory is taken. The same content gives the same bytes.
"""

import io
import json
import math
import os
import zipfile
from pathlib import Path

import numpy as np

from rarebook import checks

FORMAT = "rarebook"

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
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    header = {"format": FORMAT, "kind": kind, "version": version, **header}
    try:
        with aside.open("wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(zipfile.ZipInfo("header.json"), json.dumps(header))
                for name, values in arrays.items():
                    npy = io.BytesIO()
                    values = np.asarray(values, order="C")
                    np.lib.format.write_array(npy, values, allow_pickle=False)
                    archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_file(path, kind, version):
    """The header and the arrays of a file that :func:`write_file` wrote.

    Raises:
        ValueError: if the file is damaged, holds something else or is of a newer version.
        OSError: if it cannot be opened.
    """
    allowed = f"a whole file that holds a rarebook {kind}"
    with Path(path).open("rb") as file:
        try:
            header, arrays = _contents(file)
        except (
            zipfile.BadZipFile,
            ArithmeticError,
            EOFError,
            LookupError,
            NotImplementedError,  # a compression that zipfile does not know
            RecursionError,
            RuntimeError,  # an encrypted member
            SyntaxError,
            TypeError,
            ValueError,
        ) as error:
            checks.refuse("path", f"{path} ({error or type(error).__name__})", allowed)
    if header.get("format") != FORMAT or header.get("kind") != kind:
        checks.refuse("path", f"{path} with {header.get('kind')!r}", allowed)
    if header.get("version") != version:
        checks.refuse("path", f"{path} of version {header.get('version')!r}", f"version {version}")
    return header, arrays


def _contents(file):
    """The header and the arrays, or one of many errors."""
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not stored or sum(member.file_size for member in members) > size:
            raise ValueError("it would unpack to more than it holds")
        if not all(0 <= member.header_offset < size for member in members):
            raise ValueError("a part that lies outside")
        if len({member.filename for member in members}) != len(members):
            raise ValueError("a name twice")
        data = {member.filename: archive.read(member) for member in members}
    header = json.loads(data.pop("header.json"))
    if not isinstance(header, dict):
        raise ValueError("no header")
    return header, {name.removesuffix(".npy"): _array(part) for name, part in data.items()}


def _array(data):
    """The array in the bytes of a .npy file, a copy."""
    npy = io.BytesIO(data)
    version = np.lib.format.read_magic(npy)
    if version != (1, 0):
        raise ValueError(f"an array in version {version}")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(npy)
    if dtype.kind not in "biuf" or fortran:
        raise ValueError(f"an array of {dtype}")
    rest = data[npy.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"{len(rest)} bytes for shape {shape}")
    return np.frombuffer(rest, dtype).reshape(shape).copy()
