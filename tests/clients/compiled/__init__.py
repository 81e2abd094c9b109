"""Followers that are compiled first: which libraries, and how they are run.

`make clients` builds them (`build.py`).
"""

import re
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
_LOCKED = {"Go": "go/go.mod", "Rust": "rust/Cargo.lock", "Java": "java/pom.xml"}
_COMMANDS = {
    "Go": (str(BUILD / "go" / "followers"),),
    "Rust": (str(BUILD / "rust" / "debug" / "followers"),),
    "Java": ("java", "-cp", f"{BUILD}/java/classes:{BUILD}/java/lib/*", "Follow"),
}


def available() -> dict[str, str]:
    """The libraries that can be run here, by name, and their language. Without any the test is
    skipped, with CI set too: compilers of three languages are nothing that this project installs
    from the distribution."""
    found = {name: one for name, one in LIBRARIES.items() if (BUILD / one.lower()).exists()}
    if not found:
        pytest.skip("no follower is built: `make clients` builds those whose compiler is here")
    return found


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
