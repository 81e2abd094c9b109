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


def test_help_lists_every_target(project: Project) -> None:
    """So does `make` alone."""
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    said = project.make("help").stdout
    assert re.findall(r"^  make ([\w-]+) +\w", said, re.MULTILINE) == phony.split()
    assert project.make().stdout == said


def _without(module: str) -> str:
    """A change that hides *module* from Python."""
    return (
        "import importlib.util; real = importlib.util.find_spec; "
        f"importlib.util.find_spec = lambda name: None if name == {module!r} else real(name)"
    )


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ("sys.version_info = (2, 7, 18)", "make PYTHON=python3.11 run"),
        ("sys.version_info = (3, 10, 14)", "make PYTHON=python3.11 run"),
        ("raise SystemExit(1)", "make PYTHON=python3.11 run"),
        (_without("venv"), "apt-get install python3-venv"),
        (_without("ensurepip"), "apt-get install python3-venv"),
    ],
)
def test_an_unfit_python_gets_one_line_with_the_remedy(
    project: Project, change: str, remedy: str
) -> None:
    project.python(change)
    done = project.make("run")
    [line] = done.stderr.splitlines()
    assert remedy in line
    assert (done.returncode, done.stdout) == (2, "")


def test_the_tested_versions_are_installed_once(project: Project) -> None:
    """A change of what is needed installs them again."""
    target = ".venv/.embedded"
    first = project.make(target)
    assert (first.returncode, len(first.stdout.splitlines()), first.stderr) == (0, 1, "")
    assert project.make(target).returncode == 0
    [told] = project.told()
    assert told.endswith("--constraint config/constraints.txt --editable .[embedded,loadtest]")
    os.utime(project.directory / "setup.cfg", (2**32, 2**32))
    project.make(target)
    assert len(project.told()) == 2


def test_a_failed_install_is_done_again(project: Project) -> None:
    (project.directory / "pip-fails").touch()
    assert project.make(".venv/.dev").returncode == 2
    (project.directory / "pip-fails").unlink()
    assert project.make(".venv/.dev").returncode == 0
    assert len(project.told()) == 2
    # What the tests need holds all that `make run` needs.
    assert project.make("--question", ".venv/.embedded").returncode == 0


def test_an_environment_that_does_not_work_is_replaced(project: Project) -> None:
    (project.directory / ".venv" / "bin").mkdir(parents=True)
    (project.directory / ".venv" / "bin" / "python").symlink_to("/nonexistent/python3.10")
    assert project.make(".venv/.embedded").returncode == 0
    assert len(project.told()) == 1


def test_constraints_hold_names_and_versions_only() -> None:
    lines = (ROOT / "config" / "constraints.txt").read_text().splitlines()
    assert len(lines) > 40
    assert [line for line in lines if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)] == []


def test_ci_calls_every_target_that_tests() -> None:
    called = set(re.findall(r"make ([\w-]+)", (ROOT / ".ci" / "run").read_text()))
    assert {
        "lint",
        "test",
        "test-oldest",
        "test-python",
        "browsers",
        "npm",
        "installs",
        "prices",
        "delivery",
        "fuzz",
        "clients",
        "build",
    } <= called


@pytest.mark.parametrize("target", ["test-oldest", "test-python"])
def test_the_unit_tests_exist(target: str) -> None:
    """pytest would end at once where one does not."""
    command = [require("make"), "--dry-run", target]
    shown = subprocess.run(command, env=without_make(), cwd=ROOT, capture_output=True, text=True)
    named = re.findall(r" (tests/\S+)", shown.stdout)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_pre_commit_runs_make_lint() -> None:
    config = ROOT / ".pre-commit-config.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(config)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert re.findall(r"entry: (.*)", config.read_text()) == ["make lint"]
