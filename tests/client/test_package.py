"""The package as npm would publish it, and in the hands of those who install it."""

import gzip
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

import gateway.client
from gateway.client import write_archive
from tests.npm import MODULES, NODE, NPM
from tests.npm.bundle import BUNDLED, PAGE_BUNDLED, bundle, bundle_page

PACKAGE = Path(gateway.client.__file__).parent
SOURCES = Path(__file__).parent / "consumer"
MOST_BYTES = 14_000
"""Of the hook and all that it needs but React, compressed by gzip: what README says."""
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
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's archive."""
    directory = tmp_path_factory.mktemp("packed")
    write_archive(str(directory))
    [archive] = directory.iterdir()
    return archive


@pytest.fixture(scope="module")
def consumer(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has installed the archive, and has React."""
    project = tmp_path_factory.mktemp("project")
    (project / "package.json").write_text('{"type": "module"}')
    run(NPM, "install", "--no-audit", "--no-fund", packed, cwd=project)
    installed = project / "node_modules"
    assert not (installed / "sse-gateway-client").is_symlink()
    for name in ("react", "react-dom", "@types"):
        (installed / name).symlink_to(MODULES / name)
    shutil.copytree(SOURCES, project, dirs_exist_ok=True)
    return project


def test_the_archive_is_what_npm_would_pack(packed: Path, tmp_path: Path) -> None:
    """Its name, and each file byte by byte: modules, types, README and `package.json`; no Python.
    No file has `import.meta`: bundlers would replace it by a path of the builder's."""
    [said] = orjson.loads(run(NPM, "pack", "--json", PACKAGE, cwd=tmp_path))
    assert packed.name == said["filename"]
    contents = []
    for path in (packed, tmp_path / said["filename"]):
        with tarfile.open(path) as tar:
            contents.append({file.name: read(tar, file) for file in tar if file.isfile()})
    assert contents[0] == contents[1]
    assert len(contents[0]) > 20
    assert not [name for name, text in contents[0].items() if b"import.meta" in text]
    assert not [name for name in contents[0] if name.endswith(".py")]


def read(tar: tarfile.TarFile, file: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(file)
    assert content is not None
    return content.read()


@pytest.mark.parametrize(("make", "kept"), [(bundle, BUNDLED), (bundle_page, PAGE_BUNDLED)])
def test_the_committed_bundles_are_made_of_the_modules_as_they_are(
    tmp_path: Path, make: Callable[[Path], None], kept: Path
) -> None:
    """`make bundle` makes them; no path of the builder's machine is in one."""
    make(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert made.keys() == committed.keys()
    stale = [name for name in made if made[name] != committed[name]]
    assert not stale, "a module has changed: make bundle"
    assert not [name for name, text in committed.items() if str(PACKAGE).encode() in text]


def test_the_hook_with_the_package_is_small() -> None:
    size = len(gzip.compress((BUNDLED / "react.js").read_bytes()))
    assert size <= MOST_BYTES


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
