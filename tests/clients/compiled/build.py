"""Builds the followers of each language whose compiler is here, and whose packages can be had."""

import shutil
import subprocess
import sys

from tests.clients.compiled import BUILD, HERE, LANGUAGES

_PROGRAMS = {"Go": ("go",), "Rust": ("cargo",), "Java": ("mvn", "javac")}
_DOWNLOAD_SECONDS = 300


def build(language: str) -> None:
    """Builds its followers, or says why not. A program that does not compile is an error
    (`subprocess.CalledProcessError`); a registry that does not answer is nobody's fault here."""
    source, target = HERE / language.lower(), BUILD / language.lower()
    shutil.rmtree(target, ignore_errors=True)
    if missing := [name for name in _PROGRAMS[language] if shutil.which(name) is None]:
        print(f"{language} is left out: {' and '.join(missing)} not found")
        return
    download, *compiling = {
        "Go": (
            ["go", "mod", "download"],
            ["go", "build", "-o", str(target / "followers"), "."],
        ),
        "Rust": (
            ["cargo", "fetch", "--quiet", "--locked"],
            ["cargo", "build", "--quiet", "--locked", "--offline", "--target-dir", str(target)],
        ),
        "Java": (
            ["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies",
             f"-DoutputDirectory={target}/lib", "-DincludeScope=runtime"],
            ["javac", "-cp", f"{target}/lib/*", "-d", f"{target}/classes", "Follow.java"],
        ),
    }[language]  # fmt: skip
    try:
        subprocess.run(download, cwd=source, check=True, timeout=_DOWNLOAD_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(target, ignore_errors=True)
        print(f"{language} is left out: its packages could not be downloaded: {error}")
        return
    for command in compiling:
        subprocess.run(command, cwd=source, check=True, timeout=1200)


if __name__ == "__main__":
    for one in LANGUAGES:
        build(one)
        sys.stdout.flush()
