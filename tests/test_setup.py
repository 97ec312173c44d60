"""tools/setup.sh on stubs of Python and pip, the two requirements files, tools/run_notebooks.py."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
TOOLS = "cat cksum cp dirname env grep mkdir mv rm sh sleep sync tail touch g++"

STUB = """\
#!/bin/sh
case "$*" in
*version_info*) echo "{version} /usr" ;;
*_base_executable*) echo "$0" ;;
*ensurepip*) {venv} ;;
*fcntl*) exec "{python}" "$@" ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip "*) echo "$*" >>pip-calls; sh ./pip-stub ;;
*) exit 1 ;;
esac
"""


class Checkout:
    """A checkout with this script, a PATH of its own, and a pip that does what pip-stub says."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "path"
        self.env = folder / ".venv"
        self.path.mkdir(parents=True)
        (folder / "tools").mkdir()
        shutil.copy(ROOT / "tools/setup.sh", folder / "tools")
        for tool in TOOLS.split():
            if place := shutil.which(tool):
                (self.path / tool).symlink_to(place)
        for name in ("requirements.txt", "requirements-theano.txt", "pyproject.toml"):
            (folder / name).write_text("setuptools==1\n")
        self.pip("true")

    def pip(self, script):
        (self.folder / "pip-stub").write_text(script)

    def pip_calls(self):
        calls = self.folder / "pip-calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return len(lines)

    def python(self, name, version, venv=True):
        stub = self.path / name
        stub.write_text(
            STUB.format(version=version, venv="true" if venv else "exit 1", python=sys.executable)
        )
        stub.chmod(0o755)

    def start(self, *arguments, **variables):
        return subprocess.Popen(
            ["sh", "tools/setup.sh", *arguments],
            cwd=self.folder,
            env={"PATH": str(self.path), **variables},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments, **variables):
        process = self.start(*arguments, **variables)
        _, lines = process.communicate(timeout=30)
        return process.returncode, lines.splitlines()

    def wait_for(self, path):
        for _ in range(500):
            if (self.folder / path).exists():
                return
            time.sleep(0.01)
        raise AssertionError(f"{path} did not appear")


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "a checkout")


@pytest.mark.parametrize(
    ("pythons", "line"),
    [
        ({}, "No Python found. Install Python 3.11 to 3.14, or"),
        ({"python": "2.7.18"}, "Python 2.7.18 is too old. Install Python 3.11 to 3.14, or"),
        ({"python3": "3.10.4"}, "Python 3.10.4 is too old. Install Python 3.11 to 3.14, or"),
        ({"python3": "3.15.0"}, "Python 3.15.0 is too new: PyTensor has no wheel for it yet. Inst"),
    ],
)
def test_no_fitting_python_is_one_clear_line(checkout, pythons, line):
    for name, version in pythons.items():
        checkout.python(name, version)
    code, lines = checkout.call()
    assert (code, len(lines)) == (3, 1)
    assert lines[0].startswith(line)
    assert not checkout.env.exists()


def test_no_venv_module_names_the_package(checkout):
    checkout.python("python3", "3.12.1", venv=False)
    assert checkout.call() == (
        3,
        [
            "Python 3.12.1 has no venv module: "
            "install it (Debian, Ubuntu: apt install python3.12-venv)."
        ],
    )
    assert not checkout.env.exists()


@pytest.mark.parametrize("version", ["3.10.4", "3.15.0", "3.13.1 without venv", "shim"])
def test_another_interpreter_is_found(checkout, version):
    if version == "shim":
        (checkout.path / "python3").write_text("#!/bin/sh\necho no such command >&2; exit 127\n")
        (checkout.path / "python3").chmod(0o755)
    else:
        checkout.python("python3", version.split()[0], venv=" " not in version)
    checkout.python("python3.12", "3.12.1")
    code, lines = checkout.call()
    assert (code, lines[0]) == (0, "Making .venv with Python 3.12.1 ...")


def test_the_interpreter_that_is_named_is_the_only_one_tried(checkout):
    checkout.python("python3", "3.12.1")
    checkout.python("old", "3.10.4")
    assert checkout.call(PYTHON="nowhere")[1][0].startswith("PYTHON=nowhere cannot be run.")
    assert checkout.call(PYTHON="old")[1][0].startswith("Python 3.10.4 is too old.")
    assert not checkout.env.exists()


def test_classic_theano_needs_3_11(checkout):
    checkout.python("python3", "3.12.1")
    code, lines = checkout.call("theano")
    assert (code, len(lines)) == (3, 1)
    assert lines[0].startswith("Python 3.12.1 is too new. Install Python 3.11 (for classic Theano)")


def test_classic_theano_needs_a_compiler(checkout):
    checkout.python("python3", "3.11.2")
    (checkout.path / "g++").unlink(missing_ok=True)
    code, lines = checkout.call("theano")
    assert (code, len(lines)) == (3, 1)
    assert lines[0].startswith("Classic Theano needs a C++ compiler")


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("after connection broken by 'X'", "The package index cannot be reached: check the netw"),
        ("[Errno 28] No space left on device", "The disk is full: make room for 1 GB"),
        ("no such version", "Making .venv failed, for the reason above (all of it: .cache/setup.l"),
    ],
)
def test_a_failed_install_leaves_nothing(checkout, said, line):
    checkout.python("python3", "3.12.1")
    checkout.pip(f'echo "{said}"; exit 1')
    code, lines = checkout.call()
    assert code == 1
    assert lines[-1].startswith(line)
    assert (said in lines) == (said == "no such version")
    assert not checkout.env.exists()
    checkout.pip("true")
    assert checkout.call()[0] == 0


def test_only_what_changed_is_done_again(checkout):
    checkout.python("python3", "3.12.1")
    checkout.python("python3.13", "3.13.1")
    assert checkout.call()[0] == 0
    assert checkout.pip_calls() == 2
    assert checkout.call() == (0, [])
    assert checkout.call(PYTHON="python3") == (0, [])
    assert checkout.pip_calls() == 0

    (checkout.folder / "pyproject.toml").write_text("changed")
    assert checkout.call() == (0, [])
    assert checkout.pip_calls() == 1

    (checkout.folder / "requirements.txt").write_text("changed")
    assert checkout.call()[1][0] == "Making .venv with Python 3.12.1 ..."
    assert checkout.call(PYTHON="python3.13")[1][0] == "Making .venv with Python 3.13.1 ..."
    assert checkout.call() == (0, [])

    moved = checkout.folder.rename(checkout.folder.with_name("moved"))
    checkout.folder, checkout.path = moved, moved / "path"
    assert checkout.call()[1][0] == "Making .venv with Python 3.12.1 ..."


def test_a_library_that_does_not_install_costs_only_its_own_step(checkout):
    checkout.python("python3", "3.12.1")
    assert checkout.call()[0] == 0
    (checkout.folder / "pyproject.toml").write_text("changed")
    checkout.pip("echo wrong; exit 1")
    assert checkout.call()[0] == 1
    checkout.pip_calls()
    checkout.pip("true")
    assert checkout.call() == (0, [])
    assert checkout.pip_calls() == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_call_cleans_up_at_once(checkout, how):
    if signal.getsignal(how) == signal.SIG_IGN:
        pytest.skip("run in the background, where a shell cannot trap this signal")
    checkout.python("python3", "3.12.1")
    checkout.pip("touch started; exec sleep 20")
    process = checkout.start()
    checkout.wait_for("started")
    os.killpg(process.pid, how)
    _, lines = process.communicate(timeout=10)
    assert process.returncode == 130
    assert lines.splitlines()[-1] == "Stopped; the next call starts again."
    assert not checkout.env.exists()


def test_a_killed_call_is_not_taken_for_finished(checkout):
    checkout.python("python3", "3.12.1")
    checkout.pip("touch .venv/half started; exec sleep 20")
    process = checkout.start()
    checkout.wait_for("started")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert (checkout.env / "half").exists()
    checkout.pip("true")
    assert checkout.call()[1][0] == "Making .venv with Python 3.12.1 ..."
    assert not (checkout.env / "half").exists()


def test_the_second_of_two_calls_waits_and_finds_the_work_done(checkout):
    checkout.python("python3", "3.12.1")
    checkout.pip("touch started; sleep 0.3")
    first = checkout.start()
    checkout.wait_for("started")
    assert checkout.call() == (0, ["Another call is setting up: waiting for it to end ..."])
    first.communicate(timeout=10)
    assert first.returncode == 0
    assert checkout.pip_calls() == 2


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("requirements.txt", ["pytensor", "data", "book", "test"]),
        ("requirements-theano.txt", ["theano", "data", "test"]),
    ],
)
def test_the_pins_meet_pyproject(file, extras):
    text = (ROOT / file).read_text()
    assert "make lock" in text and "://" not in text
    pins = {}
    for line in text.splitlines():
        if re.match(r"\w", line):
            pin = Requirement(line)
            pins.setdefault(pin.name, []).append(str(pin.specifier).removeprefix("=="))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["build-system"]["requires"] + project["project"]["dependencies"]
    for extra in extras:
        wanted += project["project"]["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        versions = pins.get(requirement.name, [])
        assert versions, f"{requirement} is not in {file}: make lock"
        for version in versions:
            assert requirement.specifier.contains(version), f"{requirement}, {file}: {version}"


def test_run_notebooks_writes_what_does_not_vary(tmp_path):
    cell = nbformat.v4.new_code_cell("print(1)", metadata={"execution": {"then": "1"}})
    notebook = nbformat.v4.new_notebook(cells=[cell])
    fails = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(notebook, tmp_path / "good.ipynb")
    nbformat.write(fails, tmp_path / "bad.ipynb")
    before = (tmp_path / "bad.ipynb").read_text()
    result = subprocess.run(
        [sys.executable, ROOT / "tools/run_notebooks.py", "good.ipynb", "bad.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr
    assert (tmp_path / "bad.ipynb").read_text() == before
    assert sorted(p.name for p in tmp_path.glob("*.*")) == ["bad.ipynb", "good.ipynb"]

    ran = nbformat.read(tmp_path / "good.ipynb", as_version=4)
    assert ran.cells[0].outputs[0].text == "1\n"
    assert ran.cells[0].metadata == {}
    assert ran.metadata.kernelspec.name == "python3"
    assert "version" not in ran.metadata.language_info
