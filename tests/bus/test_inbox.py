"""The inbox of all links: what waits is counted, and a feed that is far behind stops reading."""

import pytest

from gateway.bus import inbox
from gateway.bus.inbox import Inbox, Message, MessageBatch, SubscriptionSession
from gateway.bus.since import Since


async def test_what_is_taken_counts_no_more_though_another_link_has_something_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading stops when so much waits, not when so much has come since nothing waited."""
    monkeypatch.setattr(inbox, "INBOX_BYTES", 250)
    box, message = Inbox(), Message(b"execution:run-1", b"x" * 100)
    links = [MessageBatch(SubscriptionSession(str(n), Since(0)), []) for n in range(2)]
    links[1] = box.put(links[1], message)
    for turn in range(10):
        links[turn % 2] = box.put(links[turn % 2], message)
        assert (await box.batch()).session.name == str((turn + 1) % 2)
        assert (box.bytes, box.room.is_set()) == (100, True)
    for _ in range(2):
        links[0] = box.put(links[0], message)
    assert (box.bytes, box.room.is_set()) == (300, False)
    while box.bytes:
        await box.batch()
    assert box.room.is_set()
