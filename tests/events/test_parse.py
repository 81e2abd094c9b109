"""Reading JSON that browsers accept and orjson does not."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events.json_edit import parse

HALVES = [
    (rb'"\ud800"', "\ufffd"),
    (rb'"\udc00\ud83d\ude00\ud83d"', "\ufffd\U0001f600\ufffd"),
    (rb'"\uD83D\uDE00 \uDBFF"', "\U0001f600 \ufffd"),
    (rb'"\\ud800 \ud800"', "\\ud800 \ufffd"),
    (rb'"\\\ud800"', "\\\ufffd"),
    (rb'{"\ud800":1}', {"\ufffd": 1}),
]


@pytest.mark.parametrize(("payload", "value"), HALVES)
def test_half_a_surrogate_pair_is_replaced(payload: bytes, value: object) -> None:
    """Half a surrogate pair becomes the replacement character, and nothing else changes."""
    assert parse(payload) == value


@pytest.mark.fuzz
@given(st.text(alphabet=st.characters() | st.sampled_from("\\ud8\ud800\udc00\ud83d\ude00")))
def test_escaped_text_is_read_as_in_a_browser(text: str) -> None:
    """Whatever text a producer escapes is read as a browser would show it."""
    shown = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert parse(json.dumps(text).encode()) == shown


@pytest.mark.parametrize("payload", [b"", b"{", rb'"\ud800', b'"\xff"', b"NaN"])
def test_what_is_not_json_is_refused(payload: bytes) -> None:
    """What is not JSON is still refused."""
    with pytest.raises(orjson.JSONDecodeError):
        parse(payload)
