"""What one link of the subscription subscribes to: all events by one pattern, or single channels.

Single channels are those of executions that somebody watches, and of open lists. Each one is
confirmed separately, since messages before the confirmation are missed; and each is kept for some
seconds after its last reader has left, since readers reconnect.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from redis.exceptions import ResponseError

from gateway.contract.keys import (
    LIST_MARK,
    canary_channel,
    channel_pattern,
    execution_of_live,
    live_channel,
)

UNWATCH_AFTER = 5.0
"""Seconds after which a channel is given up that nobody needs any more."""

_AT_ONCE = 500
"""Channels in one command: other clients of Redis wait meanwhile."""

_UNHEARD_SECONDS = 5.0
"""So long after an event was found in history its message may still come."""

_UNCONFIRMED = "Redis has not confirmed yet that the gateway hears this execution."

Command = tuple[str | bytes, ...]


class Channels(Protocol):
    """What a `Subscription` subscribes to, one link after the other."""

    name: str
    """As the log has it."""
    first: bytes
    """The channel or pattern whose confirmation begins a session."""
    send_soon: Callable[[], None]
    """Called when there is more to `take`."""

    def begin(self) -> Command:
        """A link begins: what to send first; what was confirmed on another link is so no more."""

    def take(self) -> list[Command]:
        """What else is to be sent on it."""

    def answered(self, channel: bytes) -> None:
        """Redis has confirmed this."""

    def refused(self, refusal: ResponseError) -> None:
        """Redis has refused something that was sent. Raises it if the link has to begin again."""

    def ended(self, channel: bytes) -> None:
        """Redis says that the subscription to this one has ended."""

    def heard(self, channel: bytes) -> None:
        """A message has come there, of a channel that was subscribed to by its name."""

    def problem_of(self, execution_id: str) -> str | None:
        """Why no event of this execution can arrive on a link that is confirmed."""

    def confirmed(self, execution_id: str) -> Awaitable[None]:
        """Wait until there is no such reason."""


class Pattern:
    """Everything that is published under *prefix*, whether or not somebody watches it."""

    def __init__(self, prefix: str) -> None:
        self.name = channel_pattern(prefix)
        self.first = self.name.encode()
        self.send_soon: Callable[[], None] = lambda: None

    def begin(self) -> Command:
        return ("PSUBSCRIBE", self.name)

    def take(self) -> list[Command]:
        return []

    def answered(self, channel: bytes) -> None:
        """There is nothing else."""

    def refused(self, refusal: ResponseError) -> None:
        raise refusal

    def ended(self, channel: bytes) -> None:
        """Only what is subscribed to on a shard ends unasked."""

    def heard(self, channel: bytes) -> None:
        """Its messages say by which pattern they come."""

    def problem_of(self, execution_id: str) -> None:
        return None

    async def confirmed(self, execution_id: str) -> None:
        """With the link."""


class Watched:
    """The channels that somebody needs; call `tick` every second."""

    def __init__(self, prefix: str, instance: str) -> None:
        """*instance*: whose canary shows that messages arrive."""
        self.name = "the executions that somebody watches"
        self._list_prefix = f"{prefix}{LIST_MARK}"
        self.first = canary_channel(prefix, instance).encode()
        # The second one has no messages: without the right to such channels the link has none to
        # begin with, not only once somebody watches.
        self._begin: Command = ("SUBSCRIBE", self.first, live_channel(f"!{instance}"))
        self._idle: dict[bytes, float] = {}
        """Since when nobody needs these, in loop time, the longest first."""
        self._needed: set[bytes] = set()
        """All others."""
        self._asked: set[bytes] = set()
        """SUBSCRIBE was sent on this link, or is to be; no answer has come."""
        self._confirmed: set[bytes] = set()
        self._joining: list[bytes] = []
        self._leaving: list[bytes] = []
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._unheard: dict[bytes, float] = {}
        """Of these an event was found in history, in loop time, and no message came since."""
        self.send_soon: Callable[[], None] = lambda: None
        self.on_confirmed: Callable[[str], None] = lambda _: None
        """Called with an execution whose events arrive from now on: earlier ones are missed."""
        self.on_list_confirmed: Callable[[str], None] = lambda _: None
        """The same, with the digest of an organization whose list is open."""

    def __len__(self) -> int:
        """How many channels there are."""
        return len(self._needed) + len(self._idle)

    # For the hub and the lists.

    def watch(self, execution_id: str) -> None:
        """Somebody watches it from now on; `confirmed` says when its events arrive."""
        self.join(live_channel(execution_id).encode())

    def unwatch(self, execution_id: str) -> None:
        """Nobody watches it any more."""
        self._leave(live_channel(execution_id).encode())

    def watch_list(self, digest: str) -> None:
        """The list of the organization with this digest is open from now on."""
        self.join(self.list_channel(digest))

    def unwatch_list(self, digest: str) -> None:
        """It is not any more."""
        self._leave(self.list_channel(digest))

    def list_channel(self, digest: str) -> bytes:
        """That of the list of the organization with this digest."""
        return f"{self._list_prefix}{digest}".encode()

    def join(self, channel: bytes) -> None:
        """The same of any channel."""
        self._needed.add(channel)
        self._idle.pop(channel, None)
        if channel not in self._confirmed and channel not in self._asked:
            self._asked.add(channel)
            self._joining.append(channel)
            self.send_soon()

    def channels(self) -> list[bytes]:
        """All, needed or kept for a while."""
        return [*self._needed, *self._idle]

    def __contains__(self, channel: bytes) -> bool:
        return channel in self._needed or channel in self._idle

    def drop(self, channel: bytes) -> bool:
        """It is not of this link any more; whether somebody needs it."""
        is_needed = channel in self._needed
        self._needed.discard(channel)
        self._idle.pop(channel, None)
        self._asked.discard(channel)
        self._confirmed.discard(channel)
        self._unheard.pop(channel, None)
        return is_needed

    def _leave(self, channel: bytes) -> None:
        if channel in self._needed:
            self._needed.remove(channel)
            self._idle[channel] = asyncio.get_running_loop().time()

    def tick(self) -> None:
        """Give up what nobody has needed for a while."""
        before = asyncio.get_running_loop().time() - UNWATCH_AFTER
        for channel, since in list(self._idle.items()):
            if since > before:
                break
            # Whose SUBSCRIBE has no answer yet stays: so an answer is always to the last command.
            if channel not in self._asked:
                self._forget(channel)
                self._confirmed.discard(channel)
                self._leaving.append(channel)
        if self._leaving:
            self.send_soon()

    def _forget(self, channel: bytes) -> None:
        del self._idle[channel]
        self._unheard.pop(channel, None)
        if (waiting := self._waiting.pop(channel, None)) is not None:
            waiting.set_result(None)

    # For the link.

    def begin(self) -> Command:
        for channel in list(self._idle):
            self._forget(channel)
        self._confirmed.clear()
        self._unheard.clear()
        self._leaving.clear()
        self._joining = list(self._needed)
        self._asked = set(self._joining)
        return self._begin

    def take(self) -> list[Command]:
        # A channel that is in both was given up before somebody came again.
        commands = [
            *_commands("UNSUBSCRIBE", self._leaving),
            *_commands("SUBSCRIBE", [one for one in self._joining if one in self._asked]),
        ]
        self._leaving, self._joining = [], []
        return commands

    def answered(self, channel: bytes) -> None:
        if channel not in self._asked:
            return
        self._asked.discard(channel)
        self._confirmed.add(channel)
        if (execution_id := execution_of_live(channel)) is not None:
            self.on_confirmed(execution_id)
        else:
            self.on_list_confirmed(channel.decode().removeprefix(self._list_prefix))
        if (waiting := self._waiting.pop(channel, None)) is not None and not waiting.done():
            waiting.set_result(None)

    def refused(self, refusal: ResponseError) -> None:
        raise refusal

    def ended(self, channel: bytes) -> None:
        """Only what is subscribed to on a shard ends unasked."""

    def heard(self, channel: bytes) -> None:
        if self._unheard:
            self._unheard.pop(channel, None)

    def problem_of(self, execution_id: str) -> str | None:
        is_confirmed = live_channel(execution_id).encode() in self._confirmed
        return None if is_confirmed else _UNCONFIRMED

    async def confirmed(self, execution_id: str) -> None:
        channel = live_channel(execution_id).encode()
        while channel not in self._confirmed:
            if (waiting := self._waiting.get(channel)) is None:
                waiting = self._waiting[channel] = asyncio.get_running_loop().create_future()
            # Others may wait for it too.
            await asyncio.shield(waiting)

    # For health.

    def unheard(self, execution_id: str) -> None:
        """An event of it was found in history, and no message had come."""
        channel = live_channel(execution_id).encode()
        if channel in self._confirmed:
            self._unheard.setdefault(channel, asyncio.get_running_loop().time())

    @property
    def problem(self) -> str | None:
        """Why events come late, as a sentence."""
        before = asyncio.get_running_loop().time() - _UNHEARD_SECONDS
        found = sum(since < before for since in self._unheard.values())
        if not found:
            return None
        return (
            f"Events of {found} watched executions are in their histories and did not come on "
            "their own channels, so they are shown late: have their producers publish there "
            "(GATEWAY_PUBLISH_TO, or publish_to of a Publisher, with the rights that `sse-gateway "
            "check --acl` prints), and run `sse-gateway recorder` for those that only PUBLISH."
        )


def _commands(name: str, channels: list[bytes]) -> Iterator[Command]:
    for at in range(0, len(channels), _AT_ONCE):
        yield (name, *channels[at : at + _AT_ONCE])
