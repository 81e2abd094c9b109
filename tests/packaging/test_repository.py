"""The repository as a whole: nothing in it ties it to one machine or one registry."""

import re

from tests.packaging.checkout import ROOT, files

# In pieces, since this file is one of those that are looked through.
REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "--index" + "-url")
MACHINE = ("/work" + "/", "/root" + "/", "/opt/" + "wheels")


def _found(words: tuple[str, ...]) -> list[str]:
    pattern = re.compile("|".join(re.escape(word) for word in words).encode())
    return [
        f"{path}: {match[0].decode()}"
        for path in files()
        for match in pattern.finditer((ROOT / path).read_bytes())
    ]


def test_no_registry() -> None:
    """No file names a package registry: which one is used is for the user's pip to know."""
    assert _found(REGISTRIES) == []


def test_no_machine() -> None:
    """No file holds a path of the machine that it was written on."""
    assert _found((*MACHINE, f"{ROOT}/")) == []
