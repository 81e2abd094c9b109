"""How a run ended, checked with vectors that the JavaScript client reads too."""

from pathlib import Path

import orjson
import pytest

from gateway.events.ending import STANDARD, ending_of_type, ending_status, read_terminal_types

VECTORS = Path(__file__).parent / "vectors" / "endings.jsonl"


def test_every_ending_has_its_status() -> None:
    """Each vector's terminal event gives its status."""
    vectors = [orjson.loads(line) for line in VECTORS.read_bytes().splitlines()]
    assert len(vectors) > 50
    for one in vectors:
        types = one.get("terminal_types", STANDARD)
        assert (
            ending_status(one["type"], one["data"], types, one.get("trimmed")) == one["status"]
        ), one["name"]


def test_no_success_is_guessed_where_the_data_is_not_known() -> None:
    """Of an end that is no longer kept, only the setting or a standard type says `completed`."""
    types = read_terminal_types(["job:done", "run.over=completed", "run.failed"])
    found = {one: ending_of_type(one, types) for one in (*types, "execution:completed")}
    assert found == {
        "job:done": "ended",
        "run.over": "completed",
        "run.failed": "failed",
        "execution:completed": "completed",
    }


def test_pairs_are_read() -> None:
    """A type may have a status; the last `=` divides them."""
    read = read_terminal_types(["run.failed", "a=b=canceled", "over=ended"])
    assert read == {"run.failed": None, "a=b": "canceled", "over": "ended"}


@pytest.mark.parametrize("word", ["run.over=running", "run.over=cancelled", "run.over=", "=failed"])
def test_a_pair_that_makes_no_sense_is_refused(word: str) -> None:
    """A status that does not exist is refused, with those that do."""
    with pytest.raises(ValueError, match=r"is not a terminal type.*completed, failed, canceled or"):
        read_terminal_types([word])
