"""The health canary: a message that is published through Redis and must come back.

A Redis whose pub/sub is dead still answers PING, and a socket may look open for minutes after its
peer has gone. Only a message that comes the same way as the events shows that events can come.
"""

import math
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.bus.errors import describe_code, describe_redis_error
from gateway.bus.node import Node
from gateway.bus.questions import Question
from gateway.contract.keys import canary_channel

STALE_AFTER = 4.5
"""Seconds without a canary after which the subscription counts as dead."""

ANSWERED_WITHIN = 1.0
"""Seconds without an answer after which Redis hangs, and is not deaf."""

_DIGITS = 15
"""Of a number that is ours."""


@dataclass(slots=True)
class Publishing:
    """What one server has made of the canaries that it was asked to publish."""

    accepted: int = 0
    """The number of the last one that it published."""
    asked_at: float = math.inf
    """When it was asked for the one that it has not answered yet."""
    refusal: Exception | None = None
    """Why it did not accept the last one."""

    def question(
        self, number: int, channel: str, canary: str, node: Node | None = None
    ) -> Question:
        """Asks it for one more."""
        self.asked_at = min(self.asked_at, time.monotonic())
        return Question(("PUBLISH", channel, canary), partial(self._answered, number), node)

    def _answered(self, number: int, answer: object) -> None:
        self.asked_at = math.inf
        self.refusal = answer if isinstance(answer, Exception) else None
        if self.refusal is None:
            self.accepted = number


class Canary:
    """This gateway's canary, one in each pipeline of regular `questions`."""

    def __init__(self, prefix: str) -> None:
        # Of this process alone: another instance's canary proves nothing about our subscription.
        self.instance = secrets.token_hex(8)
        self.channel = canary_channel(prefix, self.instance)
        self.published_in_all = 0
        """The number of the last canary: each server is asked to publish one with it."""
        self._publishing = Publishing()
        self._returned_at = float("-inf")

    def questions(self) -> list[Question]:
        """Publishes one more."""
        self.published_in_all += 1
        number = self.published_in_all
        return [self._publishing.question(number, self.channel, str(number))]

    def session_begun(self) -> None:
        """What has not come back yet went to the session before."""

    def returned(self, instance: str, canary: bytes) -> None:
        """The subscription has brought a *canary* of *instance*."""
        if instance == self.instance:
            self._returned_at = time.monotonic()

    def servers(self) -> Sequence[Publishing]:
        """Each that publishes canaries."""
        return [self._publishing]

    @property
    def names(self) -> set[bytes]:
        """Those in the canaries of all servers that accept them."""
        return {b""} if self.published else set()

    @property
    def lost_links(self) -> Iterable[str]:
        """A sentence about each node of a cluster from which nothing arrives."""
        return ()

    @property
    def refusal(self) -> Exception | None:
        """Why no server accepted the last one that it was asked to publish."""
        refusals = [one.refusal for one in self.servers()]
        return None if None in refusals else refusals[0]

    @property
    def published(self) -> bool:
        """Whether Redis accepted the last canary."""
        return self.refusal is None

    @property
    def age(self) -> float:
        """Seconds since the last canary came back; infinite before the first."""
        return time.monotonic() - self._returned_at

    @property
    def problem(self) -> str | None:
        """Why events may not arrive, as a sentence; None while canaries come back."""
        if self.age < STALE_AFTER:
            return None
        if self.refusal is not None:
            return describe_redis_error(self.refusal)
        asked_at = max(one.asked_at for one in self.servers())
        if time.monotonic() - asked_at > ANSWERED_WITHIN:
            return describe_code("timeout")
        if self.age == float("inf"):
            return "No canary has come back through Redis yet: the gateway is starting."
        return (
            f"No canary has come back through Redis for {self.age:.0f} s, though Redis accepts "
            "them: nothing arrives on the subscription. Check the channel rights of the gateway's "
            "user."
        )


def read_canary(canary: bytes) -> tuple[int, bytes]:
    """Its number, 0 for foreign text, and the name of its node; that is empty on a single Redis."""
    number, _, name = canary.partition(b" ")
    return int(number) if number.isdigit() and len(number) <= _DIGITS else 0, name
