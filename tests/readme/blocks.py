"""The documents for users as data: their fenced blocks, the commands in them, what they print.

It runs nothing: that is `test_commands`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PUBLISHING = ROOT / "gateway" / "publisher" / "README.md"
CLIENT = ROOT / "gateway" / "client" / "README.md"
CLIENT_IN_PORTUGUESE = CLIENT.with_name("README.pt-BR.md")

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "gateway/**/*.md", "nginx/*.md", "systemd/*.md", "tests/*/README.md")
    for path in ROOT.glob(pattern)
)

_FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_PROMPT = "$ "


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A shell command, and the lines that the document shows below it."""

    text: str
    shown: str = ""


def blocks(document: Path, *languages: str) -> list[Block]:
    """The fenced blocks of *document* in these *languages* (or all), in their order."""
    found = [Block(*match.groups()) for match in _FENCE.finditer(document.read_text())]
    return [block for block in found if not languages or block.language in languages]


def code(document: Path) -> str:
    """All that *document* shows as code, in blocks and within sentences."""
    prose = _FENCE.sub("", document.read_text())
    return "\n".join([*(block.text for block in blocks(document)), *_INLINE.findall(prose)])


def commands(document: Path) -> list[Command]:
    """The shell commands of *document*, in their order."""
    return [one for block in blocks(document, "sh", "console") for one in commands_of(block)]


def commands_of(block: Block) -> list[Command]:
    """The commands of a `console` block (after a prompt, with output) or an `sh` block (bare)."""
    bare = block.language == "sh"
    found: list[Command] = []
    continued = False
    for line in block.text.splitlines():
        if continued:
            found[-1] = Command(f"{found[-1].text}\n{line}")
        elif bare and line.strip():
            found.append(Command(line))
        elif line.startswith(_PROMPT):
            found.append(Command(line.removeprefix(_PROMPT)))
        elif not bare:
            assert found, f"a document shows output that no command printed: {line}"
            found[-1] = Command(found[-1].text, f"{found[-1].shown}{line}\n")
        continued = line.endswith("\\")
    return found
