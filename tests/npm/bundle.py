"""Makes the one-file forms of the browser client, and what is served of the page: `make bundle`.

They are committed, since those who install the gateway have no Node; a test compares them with the
modules that they are made of.
"""

import re
import subprocess
from pathlib import Path

import gateway.client
import gateway.page
from tests.npm import MODULES, NODE

CLIENT = Path(gateway.client.__file__).parent
BUNDLED = CLIENT / "bundled"
PAGE = Path(gateway.page.__file__).parent
PAGE_BUNDLED = PAGE / "bundled"

_MINIFY = Path(__file__).with_name("minify.mjs")
_ENTRIES = ("index", "react", "executions", "react-executions")
_COMMON = (
    "--bundle",
    "--minify",
    "--external:react",
    "--log-level=warning",
    "--log-override:empty-import-meta=error",
)
_LANGUAGES = ("en", "pt")
_BLOCKS = "html|head|body|meta|link|title|h[1-3]|p|nav|main|section|div|form|ul|ol|dl|dt|dd|option"
# In a document: what a browser leaves out, or needs not.
_UNSEEN = (
    (r"\s+", " "),
    (r" ?/?>", ">"),
    (rf" ?(</?(?:{_BLOCKS})\b[^>]*>) ?", r"\1"),
    (r"</(dt|dd|option)>", ""),
    (r'="([\w./#:+-]*\w)"', r"=\1"),
)
_FORMS = (
    # What a gateway serves.
    ("--format=esm", f"--inject:{CLIENT / 'served.js'}"),
    # For `require`, which is how Jest loads a package.
    ("--format=cjs", "--out-extension:.js=.cjs"),
)


def bundle(directory: Path) -> None:
    """Write each as an ES module and for `require`."""
    for form in _FORMS:
        _write(directory, *[CLIENT / f"{name}.js" for name in _ENTRIES], *form)


def bundle_page(directory: Path) -> None:
    """Write what a gateway serves of the page: its scripts, of which one imports the client from
    the gateway, and its texts in one language; its styles; and its document without the spaces and
    quotes that nobody needs."""
    others = ("/api/*", *(f"*/{language}.js" for language in _LANGUAGES))
    for name in ("page", "front", *_LANGUAGES):
        external = [f"--external:{other}" for other in others]
        _write(directory, PAGE / f"{name}.js", "--format=esm", *external)
    for style in ("page.css", "run.css"):
        _made(directory, PAGE / style)
        made = (directory / style).read_text(encoding="utf-8")
        # esbuild leaves a space before the value of a variable.
        (directory / style).write_text(re.sub(r"(--[\w-]+): ", r"\1:", made), encoding="utf-8")
    document = (PAGE / "index.html").read_text(encoding="utf-8")
    document = re.sub(r"<!--.*?-->", "", document, flags=re.DOTALL)
    for found, less in _UNSEEN:
        document = re.sub(found, less, document)
    (directory / "index.html").write_text(document, encoding="utf-8")


def _made(directory: Path, *entries_and_options: str | Path) -> list[Path]:
    """What esbuild makes of the entries."""
    esbuild = MODULES / "esbuild" / "bin" / "esbuild"
    command = [NODE, esbuild, *entries_and_options, *_COMMON, f"--outdir={directory}"]
    subprocess.run(command, check=True, timeout=60)
    return list(directory.iterdir())


def _write(directory: Path, *entries_and_options: str | Path) -> None:
    made = directory / "made"
    files = _made(made, *entries_and_options)
    subprocess.run([NODE, _MINIFY, MODULES, *files], check=True, timeout=60)
    for file in files:
        file.replace(directory / file.name)
    made.rmdir()


if __name__ == "__main__":
    bundle(BUNDLED)
    bundle_page(PAGE_BUNDLED)
