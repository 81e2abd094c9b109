"""`make nginx-site`: HTTP/2 in the form that an nginx takes without a warning."""

import subprocess
from pathlib import Path

import pytest

from tests.harness.nginx import SITE
from tests.support import require

ROOT = Path(__file__).parents[2]


def printed(*variables: str) -> str:
    done = subprocess.run(
        [require("make"), "--no-print-directory", "nginx-site", *variables],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("version", "is_new"), [("1.22.1", False), ("1.25.0", False), ("1.25.1", True), ("1.26", True)]
)
def test_the_form_follows_the_version(version: str, is_new: bool) -> None:
    """From 1.25.1 on `http2 on;` takes the place of the word after `ssl`, in one server; nothing
    else differs."""
    old, new = SITE.read_text().splitlines(), printed(f"NGINX_VERSION={version}").splitlines()
    if not is_new:
        assert new == old
        return
    assert [line for line in new if line not in old] == [
        "    listen 443 ssl;",
        "    listen [::]:443 ssl;",
        "    http2 on;",
    ]
    assert [line.replace(" ssl http2;", " ssl;") for line in old] == [
        line for line in new if line != "    http2 on;"
    ]


def test_the_version_is_that_of_this_machines_nginx() -> None:
    """Where none is given."""
    shown = subprocess.run([require("nginx"), "-v"], capture_output=True, text=True).stderr
    version = shown.partition("nginx/")[2].split()[0]
    assert printed() == printed(f"NGINX_VERSION={version}")
