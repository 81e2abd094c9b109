"""Readers of several executions on one stream: each execution has a journal, as for its own."""

from typing import Any

import orjson

from tests.delivery.habits import Fidgety
from tests.delivery.journal import Allowed, Journal, Names
from tests.delivery.reader import Reader
from tests.delivery.stage import Stage
from tests.harness.sse import Seen


class SetJournal(Journal):
    """What a reader of several executions sees, shared out to the journals of each."""

    def __init__(self, journals: dict[str, Journal], names: Names, allowed: Allowed) -> None:
        super().__init__("", names, allowed)
        self._journals = journals
        self._told: set[str] = set()

    def connecting(self, cursor: str | None = None) -> None:
        self._told.clear()
        for one in self._journals.values():
            one.connecting()

    def take(self, seen: Seen) -> None:
        data = seen.json()
        if seen.event == "connected":
            assert data["execution_ids"] == list(self._journals)
            for name, one in self._journals.items():
                if not one.ended:
                    text = orjson.dumps({"execution_id": name}).decode()
                    one.take(Seen("connected", text))
        elif seen.event == "heartbeat":
            assert seen.id is None
        elif "execution_id" not in data:
            assert seen.event == "stream:closing"
            for one in self._journals.values():
                if not one.ended:
                    one.take(Seen(seen.event, seen.data))
        else:
            self._take_of_one(seen, data)

    def _take_of_one(self, seen: Seen, data: Any) -> None:
        name = data["execution_id"]
        begin = f'{{"execution_id":"{name}",'
        assert seen.data.startswith(begin), seen
        assert name not in self._told, f"{seen} after stream:ended"
        one = self._journals[name]
        if seen.event == "stream:ended":
            assert one.ended, f"{seen} before the end"
            self._told.add(name)
        else:
            assert (seen.id is None) == ("id" not in data), seen
            one.take(Seen(seen.event, "{" + seen.data.removeprefix(begin), data.get("id")))

    def disconnected(self, clean: bool) -> None:
        for one in self._journals.values():
            one.disconnected(clean)

    def refused(self, status: int) -> None:
        for one in self._journals.values():
            one.refused(status)


class SetReader(Fidgety):
    """A tab that follows all executions by one stream, and is cut at random."""

    names: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        named = "".join(f"execution_id={one}&" for one in self.names)
        return f"/api/v1/sse/executions/stream?{named}"


class _Member(Reader):
    """The part of one execution, for what is compared at the end."""

    whole: SetReader

    @property
    def done(self) -> bool:
        return self.whole.done

    @done.setter
    def done(self, value: bool) -> None:
        """Only the whole is done."""


def follow_all(stage: Stage, number: int) -> SetReader:
    """A reader of all executions of *stage*, which is to be run."""
    allowed = stage.scenario.allowed
    journals = {one.id: Journal(one.id, stage.names, allowed) for one in stage.executions}
    name = f"SetReader {number}"
    chance = stage.chance_of(name)
    last = stage.executions[-1].over
    whole = SetReader(
        name,
        lambda: chance.choice(stage.gateways).port,
        SetJournal(journals, stage.names, allowed),
        last,
        chance,
    )
    whole.names = tuple(journals)
    for execution in stage.executions:
        member = _Member(name, lambda: 0, journals[execution.id], last, chance)
        member.whole = whole
        execution.readers.append(member)
    return whole
