"""What happens to executions in a churn, and what a list must show of each of them."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.publisher import Publisher
from gateway.tools.tail.runs import Summary

_ENDS = ("completed", "failed", "canceled")


@dataclass(slots=True)
class Execution:
    """One execution, as its producer knows it."""

    execution_id: str
    organization: str
    workflow_id: str
    status: str = "pending"
    completed: int = 0
    failed: int = 0
    steps: int = 0
    trimmed: bool = False
    """Some of its events are not kept: after another epoch its counts may be unknown."""

    async def begin(self, publisher: Publisher) -> None:
        await publisher.register(self.execution_id, self.organization, self.workflow_id)
        await self._publish(publisher, "execution:started")
        self.status = "running"

    async def step(self, publisher: Publisher, chance: random.Random) -> None:
        """A step that starts, and ends well or badly."""
        self.steps += 1
        node = f"n{self.steps}"
        await self._publish(publisher, "step:started", node)
        if chance.random() < 0.8:
            await self._publish(publisher, "step:completed", node)
            self.completed += 1
        else:
            await self._publish(publisher, "step:failed", node)
            self.failed += 1

    async def end(self, publisher: Publisher, chance: random.Random) -> None:
        status = chance.choice(_ENDS)
        await self._publish(publisher, f"execution:{status}")
        self.status = status

    async def _publish(self, publisher: Publisher, kind: str, node: str | None = None) -> None:
        await publisher.publish(self.execution_id, kind, {"node_id": node} if node else {})

    def matches(self, filters: Mapping[str, str]) -> bool:
        """Whether a list with these filters may show it."""
        return self.status in filters.get("status", self.status).split(",") and (
            filters.get("workflow_id", self.workflow_id) == self.workflow_id
        )

    def fault(self, shown: Summary) -> str | None:
        """What is wrong with *shown*, if anything."""
        found = (shown.workflow_id, shown.status, shown.steps_completed, shown.steps_failed)
        if found == (self.workflow_id, self.status, self.completed, self.failed):
            return None
        if self.trimmed and found == (self.workflow_id, self.status, None, None):
            return None
        return f"{self.execution_id} is {self}, and shown as {shown}"
