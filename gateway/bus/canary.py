"""The health canary: a message that is published through Redis and must come back.

A Redis whose pub/sub is dead still answers PING, and a socket may look open for minutes after its
peer has gone. Only a message that comes the same way as the events shows that events can come.
"""

import secrets
import time

from gateway.bus.errors import describe_code, describe_redis_error
from gateway.bus.questions import Question
from gateway.contract.keys import canary_channel

STALE_AFTER = 4.5
"""Seconds without a canary after which the subscription counts as dead."""

ANSWERED_WITHIN = 1.0
"""Seconds without an answer after which Redis hangs, and is not deaf."""


class Canary:
    """This gateway's canary, one in each pipeline of regular `questions`."""

    def __init__(self, prefix: str) -> None:
        # Of this process alone: another instance's canary proves nothing about our subscription.
        self.instance = secrets.token_hex(8)
        self.channel = canary_channel(prefix, self.instance)
        self.published_in_all = 0
        """How many were published so far; each says which one it is."""
        self._returned_at = float("-inf")
        self._asked_at = float("inf")
        """When the one was published that Redis has not answered yet."""
        self.refusal: Exception | None = None
        """Why Redis did not accept the last one that it was asked to."""

    def questions(self) -> list[Question]:
        """Publishes one more."""
        self.published_in_all += 1
        self._asked_at = time.monotonic()
        return [Question(("PUBLISH", self.channel, str(self.published_in_all)), self._accepted)]

    def _accepted(self, answer: object) -> None:
        self._asked_at = float("inf")
        self.refusal = answer if isinstance(answer, Exception) else None

    def returned(self, instance: str) -> None:
        """The subscription has brought a canary of *instance*."""
        if instance == self.instance:
            self._returned_at = time.monotonic()

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
        if time.monotonic() - self._asked_at > ANSWERED_WITHIN:
            return describe_code("timeout")
        if self.age == float("inf"):
            return "No canary has come back through Redis yet: the gateway is starting."
        return (
            f"No canary has come back through Redis for {self.age:.0f} s, though Redis accepts "
            "them: nothing arrives on the subscription. Check the channel rights of the gateway's "
            "user."
        )
