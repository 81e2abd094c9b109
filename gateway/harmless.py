"""Makes untrusted text safe for a terminal: every log line and all command output pass here.

Text from Redis, a producer or a server may contain control characters that a terminal obeys (it
moves the cursor, hides text, writes to the clipboard), line ends that fake a line, or marks that
reverse the direction of text.
"""

import re
from functools import lru_cache

_SPACES = {ord(one): " " for one in "\t\r\n"}


def harmless(text: str) -> str:
    r"""*text* in one line, with each character that is not printable as JSON writes it (`\u001b`).

    Inside a JSON string the meaning stays the same.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def harmless_lines(text: str) -> str:
    """*text* as `harmless` makes it, but with its line ends: for our text that quotes others."""
    return "\n".join(map(harmless, text.split("\n")))


def harmless_json(document: bytes) -> str:
    """A JSON document in one line, with the same meaning; harmless even if it is not JSON."""
    # In JSON these occur only between values; in a string they are escaped.
    return harmless(document.decode("utf-8", "replace").translate(_SPACES))


@lru_cache(maxsize=4096)
def _escaped(character: str) -> str:
    # As in JSON: UTF-16 units, so a pair beyond U+FFFF; a lone surrogate too.
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return re.sub("....", r"\\u\g<0>", units)
