"""Precompile the headers that g++ reads for every expression of classic Theano.

usage: RAREBOOK_BACKEND=theano python tools/precompile_headers.py FOLDER

Prints flags for g++ under which an expression takes half the time to compile: less optimization,
no symbols for a debugger, and these headers. What g++ cannot take precompiled, since another flag
differs, it reads as usual.
"""

import os
import subprocess
import sys
from pathlib import Path

HEADERS = """\
#include <Python.h>
#include <iostream>
#include "theano_mod_helper.h"
#include <math.h>
#include <numpy/arrayobject.h>
#include <numpy/arrayscalars.h>
"""
QUICK = ["-O1", "-g0", "-march=native"]


def main(folder):
    os.environ["THEANO_FLAGS"] = f"gcc.cxxflags={' '.join(QUICK)}"
    from rarebook.backend import theano

    cmodule = theano.gof.cmodule
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "headers.h"
    if set(" ,") & set(str(path)):  # Theano splits its flags there
        return QUICK
    path.write_text(HEADERS)
    flags = ["-g", "-O3", "-fno-math-errno", *cmodule.GCC_compiler.compile_args()]
    flags += [f"-I{directory}" for directory in cmodule.std_include_dirs()]
    aside = folder / "headers.tmp"
    command = [theano.config.cxx, *flags, "-fvisibility=hidden", "-x", "c++-header", str(path)]
    subprocess.run([*command, "-o", str(aside)], check=True)
    os.replace(aside, folder / "headers.h.gch")
    return [*QUICK, "-include", str(path)]


if __name__ == "__main__":
    print(*main(Path(sys.argv[1]).absolute()))
