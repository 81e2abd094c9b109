"""The JavaScript package, and the archive that npm installs."""

import gzip
import io
import tarfile
from json import loads  # noqa: TID251 -- `make build` has nothing but the standard library.
from pathlib import Path

HERE = Path(__file__).parent


def archive() -> tuple[str, bytes]:
    """The archive's name, and what `npm install` takes: the files that `package.json` lists.

    The same files give the same bytes.
    """
    package = loads((HERE / "package.json").read_bytes())
    names = {"package.json"}
    for pattern in package["files"]:
        found = {
            str(path.relative_to(HERE)) for path in HERE.glob(pattern.removeprefix("!").lstrip("/"))
        }
        names = names - found if pattern.startswith("!") else names | found
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in sorted(names):
            data = (HERE / name).read_bytes()
            # npm's archives have everything below one directory.
            file = tarfile.TarInfo(f"package/{name}")
            file.size = len(data)
            tar.addfile(file, io.BytesIO(data))
    return f"{package['name']}-{package['version']}.tgz", gzip.compress(packed.getvalue(), mtime=0)


def write_archive(directory: str) -> None:
    """Write it there."""
    name, data = archive()
    Path(directory).mkdir(exist_ok=True)
    Path(directory, name).write_bytes(data)
