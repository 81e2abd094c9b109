"""Followers that are compiled first: which libraries, how they are built, how they are run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD = HERE.parents[2] / "build" / "clients"

LIBRARIES = {
    "launchdarkly/eventsource": "Go",
    "r3labs/sse": "Go",
    "tmaxmax/go-sse": "Go",
    "eventsource-client": "Rust",
    "reqwest-eventsource": "Rust",
    "okhttp-eventsource": "Java",
    "spring-webflux": "Java",
}
LANGUAGES = ("Go", "Rust", "Java")
_NEEDED = {"Go": ("go",), "Rust": ("cargo",), "Java": ("mvn", "javac")}
_LOCKED = {"Go": "go/go.mod", "Rust": "rust/Cargo.lock", "Java": "java/pom.xml"}
_COMMANDS = {
    "Go": (str(BUILD / "go" / "followers"),),
    "Rust": (str(BUILD / "rust" / "debug" / "followers"),),
    "Java": ("java", "-cp", f"{BUILD}/java/classes:{BUILD}/java/lib/*", "Follow"),
}


def available() -> dict[str, str]:
    """The libraries that can be run here, by name, and their language; `make clients` builds those
    whose toolchain is there first. Without any the test is skipped, with CI set too: compilers of
    three languages are nothing that this project installs from the distribution."""
    build = os.environ.get("BUILD_CLIENTS") == "yes"
    found = {
        language
        for language, programs in _NEEDED.items()
        if all(map(shutil.which, programs)) and (build or (BUILD / language.lower()).exists())
    }
    if not found:
        pytest.skip("no follower is built: `make clients` builds those whose compiler is here")
    if build:
        for language in sorted(found):
            _build(language)
    return {name: language for name, language in LIBRARIES.items() if language in found}


def command_of(name: str) -> tuple[str, ...]:
    """What runs the follower with the library *name*."""
    return *_COMMANDS[LIBRARIES[name]], name


def version_of(name: str) -> str:
    """The version that is built, as the language's own file says."""
    locked = (HERE / _LOCKED[LIBRARIES[name]]).read_text()
    found = re.search(
        rf'{name}(?:/v\d+)?(?: v|"\nversion = "|</artifactId>\s*<version>)([\d.]+)', locked
    )
    assert found is not None, f"{name} has no version in {_LOCKED[LIBRARIES[name]]}"
    return found[1]


def _build(language: str) -> None:
    source, target = HERE / language.lower(), BUILD / language.lower()
    commands = {
        "Go": [["go", "build", "-o", str(target / "followers"), "."]],
        "Rust": [["cargo", "build", "--quiet", "--locked", "--target-dir", str(target)]],
        "Java": [
            ["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies",
             f"-DoutputDirectory={target}/lib", "-DincludeScope=runtime"],
            ["javac", "-cp", f"{target}/lib/*", "-d", f"{target}/classes", "Follow.java"],
        ],
    }  # fmt: skip
    for command in commands[language]:
        subprocess.run(command, cwd=source, check=True, timeout=1200)
