"""The package as npm would publish it, and in the hands of those who install it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

import gateway.client
from tests.npm import MODULES, NODE, NPM

PACKAGE = Path(gateway.client.__file__).parent
SOURCES = Path(__file__).parent / "consumer"
TSC = MODULES / "typescript" / "bin" / "tsc"


def run(*command: str | Path, cwd: Path) -> str:
    """What *command* prints, without a registry; it must succeed."""
    settings = {"npm_config_offline": "true", "npm_config_loglevel": "error"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The package's archive, and what npm says of it."""
    directory = tmp_path_factory.mktemp("packed")
    [said] = orjson.loads(run(NPM, "pack", "--json", PACKAGE, cwd=directory))
    return directory / said["filename"], said


@pytest.fixture(scope="module")
def consumer(packed: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has installed the archive, and has React."""
    project = tmp_path_factory.mktemp("project")
    (project / "package.json").write_text('{"type": "module"}')
    run(NPM, "install", "--no-audit", "--no-fund", packed[0], cwd=project)
    installed = project / "node_modules"
    assert not (installed / "sse-gateway-client").is_symlink()
    for name in ("react", "react-dom", "@types"):
        (installed / name).symlink_to(MODULES / name)
    shutil.copytree(SOURCES, project, dirs_exist_ok=True)
    return project


def test_contents(packed: tuple[Path, dict[str, Any]]) -> None:
    """What is published are the modules, their types, the README and `package.json`; nothing else,
    no Python."""
    _, said = packed
    published = {file["path"] for file in said["files"]}
    modules = {path.name for path in PACKAGE.glob("*.js")}
    assert len(modules) > 10
    assert published == {*modules, "index.d.ts", "react.d.ts", "README.md", "package.json"}


def test_import_by_name(consumer: Path) -> None:
    """A project that has installed it imports both modules by name in Node; they export what the
    types declare, and nothing else."""
    run(NODE, "exports.mts", cwd=consumer)


def test_types(consumer: Path) -> None:
    """The strict compiler takes what people write, narrows each event by its type, and takes no
    misuse; for all that is exported there is a type, and for nothing else."""
    options = ("--noEmit", "--strict", "--module", "nodenext", "--jsx", "react-jsx")
    run(NODE, TSC, *options, "--types", "react", "usage.tsx", "exports.mts", cwd=consumer)


def test_rendered_by_a_server(consumer: Path) -> None:
    """On a server the hook renders as connecting, and without an id as closed (in the legacy API:
    disconnected); it sends no request, and keeps no process from ending."""
    said = orjson.loads(run(NODE, "server.mjs", cwd=consumer))
    states = ("connecting", "connecting", "closed", "disconnected")
    assert said["rendered"] == [f"<p>{state}</p>" for state in states]
    assert said["asked"] == ["/last"]
