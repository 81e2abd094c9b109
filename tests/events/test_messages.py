"""A message that cannot be passed on as it is still counts: the vectors, without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MessageRefused
from gateway.events.envelope import as_bare, decode, one_line, stored, with_id
from gateway.events.ids import EventId
from gateway.events.json_edit import parse
from tests.events.messages import ARRIVE, DROPPED, MAX_BYTES, check

ID = EventId(1795000000000, 7)


def test_every_message_becomes_its_event() -> None:
    """Each vector becomes its event, which is no larger than allowed and does not change again."""
    for vector in ARRIVE:
        envelope = decode(vector["payload"], MAX_BYTES)
        body = stored(envelope.body, MAX_BYTES).body
        assert len(body) <= MAX_BYTES, vector["name"]
        assert stored(body, MAX_BYTES).body == body, vector["name"]
        check(vector, body.decode(), parse(body))


def test_live_and_from_history_are_the_same_bytes() -> None:
    """What a script stored whole and published with its id is edited alike on both ways."""
    for vector in ARRIVE:
        published = vector["payload"].strip()
        if not published.startswith(b"{"):
            continue
        live = decode(with_id(published, ID), MAX_BYTES)
        if live.id != ID:
            # The feed has seen that the producer's own is not one that history gave.
            live = as_bare(live, MAX_BYTES)
        from_history = stored(published, MAX_BYTES)
        assert live.id == ID, vector["name"]
        assert live.body == with_id(from_history.body, ID), vector["name"]


def test_the_digest_is_that_of_the_message_as_it_was_published() -> None:
    """Gateways agree on a message before it is edited: as one line, without a foreign id."""
    payload = b'{ "id": "u-1",\n "type":"a"}'
    assert decode(payload).digest == decode(b'{ "type":"a"}').digest
    for vector in ARRIVE:
        payload = vector["payload"]
        envelope = decode(payload, MAX_BYTES)
        if envelope.edit is not None and b'"id"' not in payload:
            assert envelope.digest == decode(one_line(payload), MAX_BYTES).digest
            assert envelope.digest != decode(envelope.body, MAX_BYTES).digest


def test_what_has_no_usable_type_is_refused_with_the_reason() -> None:
    """Nothing else is refused."""
    for vector in DROPPED:
        with pytest.raises(MessageRefused) as refused:
            decode(vector["payload"], MAX_BYTES)
        assert vector["expect"]["reason"] in str(refused.value), vector["name"]


_VALUES = st.recursive(
    st.sampled_from(["NaN", "-Infinity", "1e400", "1.10", '"\\ud800"', '"a\x00"', '"NaN"', "null"]),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda some: f"[{','.join(some)}]")
        | st.lists(inner, max_size=4).map(
            lambda some: "{" + ",".join(f'"k{n}":{one}' for n, one in enumerate(some)) + "}"
        )
    ),
    max_leaves=40,
)


@pytest.mark.fuzz
@given(_VALUES, st.integers(min_value=120, max_value=400), st.integers(min_value=0, max_value=300))
def test_whatever_has_a_type_arrives_within_the_limit(value: str, limit: int, cut: int) -> None:
    """Also where it is cut off: a JSON object of that type that fits."""
    payload = f'{{"type":"a:b","data":{{"x":{value},"y":[{value}]}}}}'.encode()
    for published in (payload, payload[: max(14, len(payload) - cut)]):
        body = decode(published, limit).body
        assert len(body) <= limit
        assert parse(body)["type"] == "a:b"
        assert live_like_history(published, limit)


def live_like_history(published: bytes, limit: int) -> bool:
    return decode(with_id(published, ID), limit).body == with_id(stored(published, limit).body, ID)


@pytest.mark.parametrize(
    ("value", "is_read"),
    [
        (b'{"a":[' + b"[[[]]]," * 600_000 + b"1]}", False),
        (b'{"a":[' + b'{"id":1},' * 60_000 + b'"' + b"x" * 4_000_000 + b'"]}', True),
    ],
)
def test_a_message_of_too_many_tokens_is_read_at_its_beginning(value: bytes, is_read: bool) -> None:
    """To read all of it would take so long that other executions' events wait. Its type is found
    where it comes before the data, as producers write it."""
    largest = 1024 * 1024
    event = b'{"type":"execution:completed","data":%b,"timestamp":"2026-01-01T00:00:00Z"}' % value
    document = parse(decode(event, largest).body)
    assert document["type"] == "execution:completed"
    assert document["trimmed"] == (["a"] if is_read else ["data"])
    assert ("timestamp" in document) == is_read
    late = b'{"data":%b,"type":"execution:completed","attempt":2}' % value
    assert parse(decode(late, largest).body)["type"] == "execution:completed"


def test_the_type_of_an_inner_object_ends_no_run() -> None:
    """A message that is cut off behind one, and has too many tokens to be read to its end."""
    inner = b'{"data":{"a":[%b1],"b":{"a":1,"type":"execution:completed"}' % (b"[[[]]]," * 600_000)
    for cut_off in (inner, inner + b"}"):
        with pytest.raises(MessageRefused, match="no type can be read: it has 42000"):
            decode(cut_off, 1024 * 1024)
