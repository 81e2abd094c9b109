"""The make targets: listed, careful with what they find, and clear about what is missing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.checkout import ROOT, without_make
from tests.support import require

# Stands for any Python: asked something, it says what the real one would with `{change}` done
# first; told to make an environment, it makes one of `_IN_VENV`.
_PYTHON = """#!{real}
import os, shutil, sys
if sys.argv[1] == "-c":
    {change}
    exec(sys.argv[2])
else:
    assert sys.argv[1:] == ["-m", "venv", "--clear", ".venv"], sys.argv
    shutil.rmtree(".venv", ignore_errors=True)
    os.makedirs(".venv/bin")
    shutil.copy("in-venv", ".venv/bin/python")
"""

# Stands for the Python of an environment: says that it works, and writes down what pip is told;
# warns as what builds the package does.
_IN_VENV = """#!/bin/sh
[ "$1" = -c ] && echo yes && exit
[ "$PYTHONWARNINGS" = ignore ] || echo "BuildBackendWarning: Editable installation." >&2
echo "$*" >> pip-was-told
[ ! -e pip-fails ]
"""


class Project:
    """A directory with this project's Makefile, and a Python of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "config").mkdir()
        for name in ("Makefile", "setup.cfg", "pyproject.toml", "config/constraints.txt"):
            shutil.copy(ROOT / name, directory / name)
        self.add("in-venv", _IN_VENV)
        self.python()

    def add(self, name: str, script: str) -> None:
        (self.directory / name).write_text(script)
        (self.directory / name).chmod(0o755)

    def python(self, change: str = "pass") -> None:
        self.add("python", _PYTHON.format(real=sys.executable, change=change))

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [require("make"), *arguments, f"PYTHON={self.directory}/python"],
            env=without_make(),
            cwd=self.directory,
            capture_output=True,
            text=True,
        )

    def told(self) -> list[str]:
        """What pip was told."""
        return (self.directory / "pip-was-told").read_text().splitlines()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_help(project: Project) -> None:
    """`make help`, and `make` alone, list every target with what it does."""
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    said = project.make("help").stdout
    assert re.findall(r"^  make ([\w-]+) +\w", said, re.MULTILINE) == phony.split()
    assert project.make().stdout == said


@pytest.mark.parametrize("version", ["(2, 7, 18)", "(3, 9, 2)", "(3, 10, 14)"])
def test_too_old(project: Project, version: str) -> None:
    """Too old a Python gets one sentence that says what to do."""
    project.python(f"sys.version_info = {version}")
    done = project.make("run")
    [line] = done.stderr.splitlines()
    shown = ".".join(version.strip("()").split(", ")[:2])
    assert f"Python 3.11 or newer is needed; this one is {shown}: " in line
    assert "install python3.11 and call make PYTHON=python3.11 run.  Stop." in line
    assert (done.returncode, done.stdout) == (2, "")


def test_missing_python(project: Project) -> None:
    """No Python at all gets one sentence that says what to do."""
    (project.directory / "python").unlink()
    done = project.make("test")
    [line] = done.stderr.splitlines()
    assert "/python cannot be started: install python3.11 and call make" in line
    assert done.stdout == ""


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_missing_venv(project: Project, module: str) -> None:
    """A Python without its venv module gets one sentence that says what to do."""
    project.python(
        "import importlib.util; real = importlib.util.find_spec; "
        f"importlib.util.find_spec = lambda name: None if name == {module!r} else real(name)"
    )
    done = project.make("run")
    [line] = done.stderr.splitlines()
    assert "venv module of this Python is missing: install it" in line
    assert "apt-get install python3-venv" in line
    assert (done.returncode, done.stdout) == (2, "")


def test_installs_once(project: Project) -> None:
    """The tested versions are installed once, and all that is said is that they are; a change of
    what is needed installs them again."""
    target = ".venv/.embedded"
    first = project.make(target)
    said = "Installing into .venv (this time only) ...\n"
    assert (first.returncode, first.stdout, first.stderr) == (0, said, "")
    assert project.make(target).returncode == 0
    constrained = "-m pip install --quiet --constraint config/constraints.txt --editable"
    assert project.told() == [f"{constrained} .[embedded,loadtest]"]
    os.utime(project.directory / "setup.cfg", (2**32, 2**32))
    project.make(target)
    assert len(project.told()) == 2


def test_failed_install(project: Project) -> None:
    """An install that failed is done again, in the environment that it left behind."""
    (project.directory / "pip-fails").touch()
    assert project.make(".venv/.dev").returncode == 2
    (project.directory / "pip-fails").unlink()
    assert project.make(".venv/.dev").returncode == 0
    assert len(project.told()) == 2
    # What the tests need holds all that `make run` needs.
    assert project.make("--question", ".venv/.embedded").returncode == 0


def test_broken_environment(project: Project) -> None:
    """An environment that does not work is made anew."""
    (project.directory / ".venv" / "bin").mkdir(parents=True)
    (project.directory / ".venv" / "bin" / "python").symlink_to("/nonexistent/python3.10")
    assert project.make(".venv/.embedded").returncode == 0
    assert len(project.told()) == 1


def test_versions_only() -> None:
    """The constraints hold names and versions, nothing else."""
    lines = (ROOT / "config" / "constraints.txt").read_text().splitlines()
    assert len(lines) > 40
    assert [line for line in lines if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)] == []


def test_oldest_is_in_ci() -> None:
    """CI runs the tests with the oldest versions: each file that the target names exists, and those
    of the rules that a version below a floor has broken are among them."""
    assert "\n    step make test-oldest\n" in (ROOT / ".ci" / "run").read_text()
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    [named] = re.findall(r"^OLDEST := \$\(addprefix tests/,(.*)\)$", makefile, re.MULTILINE)
    assert {"access", "http/test_request_limits.py", "http/test_pipelining.py"} <= set(
        named.split()
    )
    assert [name for name in named.split() if not (ROOT / "tests" / name).exists()] == []


def test_pre_commit() -> None:
    """What pre-commit runs is `make lint`, and pre-commit takes the file as valid."""
    config = ROOT / ".pre-commit-config.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert re.findall(r"entry: (.*)", config.read_text()) == ["make lint"]
