"""Decoding what producers publish: every event passes unchanged, nothing else passes at all."""

import sys
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MessageRefused
from gateway.events.envelope import MAX_TYPE_LENGTH, decode, live, recorded
from gateway.events.ids import EventId
from tests.harness.sse import parse_sse

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
    (b'{"event_type":"a","data":{}}', "no type: it has event_type, data"),
    (b'{"data":{"type":"a","loss":NaN}', "no type can be read: NaN at byte 27"),
    (b"NaN", "not a JSON object but null"),
    (b"[]", "not a JSON object but a list"),
    (b'"type"', "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"{}", "no type: it has {}"),
    (b'{"type":null}', "no type: `type` is not text"),
    (b'{"type":7}', "no type: `type` is not text"),
    (b'{"type":""}', "no type: `type` is not text"),
    (b'{"type":{"a":1}}', "no type: `type` is not text"),
    (b'{"type":"a\\nevent: forged"}', "character"),
    (b'{"type":"a\\rdata: forged"}', "character"),
    (b'{"type":"a\\u0000"}', "character"),
    (b'{"type":"a\\u2028b"}', "character"),
    (b'{"type":"a\\ud800"}', "character"),
    (b'{"type":"' + b"a" * (MAX_TYPE_LENGTH + 1) + b'"}', "longer"),
    (b'{"type":"connected"}', "own"),
    (b'{"type":"heartbeat"}', "own"),
    (b'{"type":"stream:closing"}', "own"),
    (b'{"type":" stream:closing"}', "white space"),
    (b'{"type":"stream:closing "}', "white space"),
    (b'{"type":" "}', "white space"),
    (b'{"type":" connected "}', "white space"),
    (b'{"type":"step:started "}', "white space"),
]


@pytest.mark.parametrize(("payload", "event_type"), USABLE)
def test_a_usable_message_is_one_event(payload: bytes, event_type: str) -> None:
    """A JSON object with a usable type becomes one SSE event of that type."""
    envelope = decode(payload)
    assert (envelope.type, envelope.id) == (event_type, None)
    [seen] = parse_sse(live(envelope).frame)
    assert (seen.event, seen.id) == (event_type, None)


@pytest.mark.parametrize(("payload", "event_type"), USABLE)
def test_the_json_is_kept_byte_for_byte(payload: bytes, event_type: str) -> None:
    """The producer's JSON reaches the browser byte for byte, but for raw line ends around it."""
    [seen] = parse_sse(live(decode(payload)).frame)
    assert seen.data.encode() == payload.strip()


def test_raw_line_ends_are_deleted() -> None:
    """A payload of several lines becomes one line by deleting raw CR and LF, nothing else."""
    payload = b'{\r\n  "type": "a",\n\r\n\n  "data": {"price": 1.10}\r}'
    [seen] = parse_sse(live(decode(payload)).frame)
    assert seen.data == '{  "type": "a",  "data": {"price": 1.10}}'


@pytest.mark.parametrize(("payload", "why"), UNUSABLE)
def test_an_unusable_message_is_refused(payload: bytes, why: str) -> None:
    """Anything but a JSON object with a usable type is refused, and the refusal says why."""
    with pytest.raises(MessageRefused, match=why):
        decode(payload)


SPACES_AND_CONTROLS = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if chr(code).isspace() or unicodedata.category(chr(code)) in {"Zs", "Zl", "Zp", "Cc", "Cf"}
]


@pytest.mark.parametrize("ours", ["stream:closing", "connected", "heartbeat", "step:started", ""])
def test_nothing_invisible_around_a_type(ours: str) -> None:
    """No white space, line end, control or format character of Unicode stands before or after a
    type: a client that strips it would take a producer's event for one of the gateway's."""
    assert len(SPACES_AND_CONTROLS) > 200
    for one in SPACES_AND_CONTROLS:
        for event_type in (one + ours, ours + one, one + ours + one):
            with pytest.raises(MessageRefused):
                decode(orjson.dumps({"type": event_type}))


@pytest.mark.fuzz
@given(st.binary(max_size=200))
def test_any_bytes(payload: bytes) -> None:
    """No bytes whatever do more than be refused or become exactly one event."""
    try:
        event = live(decode(payload))
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


@pytest.mark.fuzz
@given(st.text(max_size=20), _JSON, st.sampled_from([None, 1, 2]), st.booleans())
def test_no_payload_injects(event_type: str, data: object, indent: int | None, ascii: bool) -> None:
    """Whatever type and data a producer sends, the reader sees at most one event, and its data."""
    import json

    text = json.dumps({"type": event_type, "data": data}, indent=indent, ensure_ascii=ascii)
    try:
        envelope = decode(text.encode("utf-8", "surrogatepass"))
    except MessageRefused:
        return
    event = recorded(envelope.type, envelope.body, EventId(5, 7))
    [seen] = parse_sse(event.frame)
    assert (seen.event, seen.id) == (event_type, "5-7")
    assert json.loads(seen.data) == {"id": "5-7", "type": event_type, "data": data}


IDS = [
    (b'{"type":"a","id":"1795377945746-3"}', EventId(1795377945746, 3)),
    (b'{"id":"1-1","type":"a"}', EventId(1, 1)),
    (b'{"id":"9999999999999-1","type":"a"}', EventId(9999999999999, 1)),
]

FOREIGN_IDS = [
    b'{"type":"a","id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","n":1.10}',
    b'{"id":7,"type":"a","n":1.10}',
    b'{"type":"a", "id" : {"x":[1,"}"],"id":2} ,"n":1.10}',
    b'{"type":"a","n":1.10,"id":null}',
    b'{"type":"a","\\u0069d":"-1","n":1.10}',
    b'{"type":"a","id":"1-1-1","n":1.10}',
    b'{"type":"a","id":"99999999999999999999-1","n":1.10}',
    b'{"id":"x","type":"a","id":"y","n":1.10}',
]


@pytest.mark.parametrize(("payload", "event_id"), IDS)
def test_id(payload: bytes, event_id: EventId) -> None:
    """An id of our form makes the message a recorded one; its bytes pass unchanged."""
    envelope = decode(payload)
    assert envelope.id == event_id
    [seen] = parse_sse(live(envelope).frame)
    assert (seen.id, seen.data.encode()) == (str(event_id), payload)


@pytest.mark.parametrize("payload", FOREIGN_IDS)
def test_a_foreign_id_is_replaced(payload: bytes) -> None:
    """An id of any other form makes the message a bare one: it is replaced by the recorded one and
    kept as `source_id`, without touching a byte of the rest."""
    envelope = decode(payload)
    assert envelope.id is None
    [seen] = parse_sse(recorded(envelope.type, envelope.body, EventId(5, 7)).frame)
    assert seen.data.startswith('{"id":"5-7",')
    assert "1.10" in seen.data
    event = seen.json()
    source = event.pop("source_id", None)
    assert event == {"id": "5-7", "type": "a", "n": 1.1}
    published = orjson.loads(payload)["id"]
    assert source == (None if isinstance(published, dict) else published)
