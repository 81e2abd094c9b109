"""Decoding what producers publish: every event passes unchanged, nothing else passes at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MessageRefused
from gateway.events.envelope import MAX_TYPE_LENGTH, decode
from tests.support import parse_sse

USABLE = [
    (b'{"type":"step:started","data":{}}', "step:started"),
    (b'  {"type":"step:started"}\r\n', "step:started"),
    (b'{"data":{"type":"inner"},"type":"outer"}', "outer"),
    (b'{"type":"a","price":1.10,"big":123456789012345678901234567890}', "a"),
    ('{"type":"início","data":"ação"}'.encode(), "início"),
    (b'{"type":"a","data":"\\ud800"}', "a"),
    (b'{"type":"a","data":"\\ud83d\\ude00 \\udc00"}', "a"),
    ('{"type":"a","data":"line\u2028separator"}'.encode(), "a"),
    (b'{"type":"a","data":"escaped \\r\\n\\n data: x"}', "a"),
]

UNUSABLE = [
    (b"", "not JSON"),
    (b"hello", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b'{"type":"a","data":"\xff"}', "not JSON"),
    (b'{"type":"a","data":"\xed\xa0\x80"}', "not JSON"),
    (b'{"type":"a","data":"\x00"}', "not JSON"),
    (b'{"type":"a","data":NaN}', "not JSON"),
    (b'{"type":"a"', "not JSON"),
    (b'{"type":"a","data":"\\ud800"', "not JSON"),
    (b"[]", "not a JSON object"),
    (b'"type"', "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"{}", "missing"),
    (b'{"type":null}', "missing"),
    (b'{"type":7}', "missing"),
    (b'{"type":""}', "missing"),
    (b'{"type":{"a":1}}', "missing"),
    (b'{"type":"a\\nevent: forged"}', "character"),
    (b'{"type":"a\\rdata: forged"}', "character"),
    (b'{"type":"a\\u0000"}', "character"),
    (b'{"type":"a\\u2028b"}', "character"),
    (b'{"type":"a\\ud800"}', "character"),
    (b'{"type":"' + b"a" * (MAX_TYPE_LENGTH + 1) + b'"}', "longer"),
    (b'{"type":"connected"}', "own"),
    (b'{"type":"heartbeat"}', "own"),
    (b'{"type":"stream:closing"}', "own"),
]


@pytest.mark.parametrize(("payload", "event_type"), USABLE)
def test_usable(payload: bytes, event_type: str) -> None:
    """A JSON object with a usable type becomes one SSE event of that type."""
    event = decode(payload)
    assert event.type == event_type
    [seen] = parse_sse(event.frame)
    assert seen.event == event_type


@pytest.mark.parametrize(("payload", "event_type"), USABLE)
def test_bytes_are_kept(payload: bytes, event_type: str) -> None:
    """The producer's JSON reaches the browser byte for byte, but for raw line ends around it."""
    [seen] = parse_sse(decode(payload).frame)
    assert seen.data.encode() == payload.strip()


def test_raw_line_ends_are_deleted() -> None:
    """A payload of several lines becomes one line by deleting raw CR and LF, nothing else."""
    payload = b'{\r\n  "type": "a",\n\r\n\n  "data": {"price": 1.10}\r}'
    [seen] = parse_sse(decode(payload).frame)
    assert seen.data == '{  "type": "a",  "data": {"price": 1.10}}'


@pytest.mark.parametrize(("payload", "why"), UNUSABLE)
def test_unusable(payload: bytes, why: str) -> None:
    """Anything but a JSON object with a usable type is refused, and the refusal says why."""
    with pytest.raises(MessageRefused, match=why):
        decode(payload)


@given(st.binary(max_size=200))
def test_any_bytes(payload: bytes) -> None:
    """No bytes whatever do more than be refused or become exactly one event."""
    try:
        event = decode(payload)
    except MessageRefused:
        return
    [seen] = parse_sse(event.frame)
    assert (seen.event, seen.id, seen.retry) == (event.type, None, None)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.text(max_size=20), _JSON, st.sampled_from([None, 1, 2]), st.booleans())
def test_no_payload_injects(event_type: str, data: object, indent: int | None, ascii: bool) -> None:
    """Whatever type and data a producer sends, the reader sees at most one event, and its data."""
    import json

    text = json.dumps({"type": event_type, "data": data}, indent=indent, ensure_ascii=ascii)
    try:
        event = decode(text.encode("utf-8", "surrogatepass"))
    except MessageRefused:
        return
    [seen] = parse_sse(event.frame)
    assert seen.event == event_type
    assert json.loads(seen.data) == {"type": event_type, "data": data}
