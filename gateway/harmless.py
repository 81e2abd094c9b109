"""Makes the text of strangers harmless for a terminal: the one place that decides how.

Whatever comes from Redis, from a producer, or from a server that answers may hold control
characters that a terminal obeys (it moves, hides, or writes to the clipboard), line ends that look
like lines of ours, or marks that turn the direction of what follows. Every line of the log and all
that a command prints passes here (`gateway.log`, `gateway.cli.output`).
"""

_SPACES = {ord(one): " " for one in "\t\r\n"}


def harmless(text: str) -> str:
    r"""*text* in one line, each character that does not print written as JSON writes it (`\u001b`).

    Inside a string of JSON the meaning stays the same.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def harmless_lines(text: str) -> str:
    """*text* as `harmless` makes it, but in the lines that it has: for words of our own, in which
    others are quoted."""
    return "\n".join(map(harmless, text.split("\n")))


def harmless_json(document: bytes) -> str:
    """A JSON document in one line that means the same, whatever stands in it; also what is no JSON
    is harmless afterwards."""
    text = document.decode("utf-8", "replace")
    # In JSON these stand between the values alone; in a string they are escaped already.
    return harmless(text.translate(_SPACES))


def _escaped(one: str) -> str:
    # As JSON has it: half surrogates too, and a pair of them beyond U+FFFF.
    return "".join(f"\\u{unit.hex()}" for unit in _units(one.encode("utf-16-be", "surrogatepass")))


def _units(encoded: bytes) -> list[bytes]:
    return [encoded[at : at + 2] for at in range(0, len(encoded), 2)]
