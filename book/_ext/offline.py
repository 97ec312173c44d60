"""What the built book needs to work from disk: one MathJax file, copied from an installed package.

The package `sphinx-mathjax-offline` is itself a Sphinx extension, but it copies all of MathJax
(24 MB). The one file named by ``mathjax_path`` holds everything, fonts included.
"""

from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile


def copy_mathjax(app, exception):
    if exception or app.builder.format != "html":
        return
    package = Path(find_spec("sphinx-mathjax-offline").origin).parent
    target = Path(app.outdir, "_static", app.config.mathjax_path)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        copyfile(package / "static" / app.config.mathjax_path, target)


def setup(app):
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
