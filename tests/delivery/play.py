"""How a run of a scenario begins and ends, and what must have come true by then."""

import asyncio

from tests.delivery.account import check_order, check_promises, check_view, read_history
from tests.delivery.journal import TERMINAL_TYPES
from tests.delivery.producers import BareProducer
from tests.delivery.reader import Reader
from tests.delivery.stage import Execution, Scenario, Stage, insist
from tests.support import DEADLINE

_LOG_LINES = 15
"""Lines of each gateway's log that a failure shows."""


async def play(scenario: Scenario, seed: int) -> None:
    """Run *scenario* once.

    Raises:
        ExceptionGroup: of AssertionErrors as a rule: somebody saw what must not be, or did not see
            what had to be.
    """
    stage = Stage(scenario, seed)
    try:
        await stage.open()
        async with asyncio.TaskGroup() as tasks:
            stage.tasks = tasks
            await _play(stage)
    except Exception as error:
        error.add_note(_logs(stage))
        raise
    finally:
        await stage.close()


async def _play(stage: Stage) -> None:
    working = [
        stage.spawn(producer.run(execution.stop))
        for execution in stage.executions
        for producer in execution.producers
    ]
    for execution in stage.executions:
        for reader in execution.readers:
            stage.spawn(reader.run())
    try:
        await stage.scenario.disturb(stage)
        await stage.subscribed()
    finally:
        # Also when the run has failed: redis-py under Python 3.11 may swallow a cancellation, and
        # a producer that nobody else stops would never end.
        for execution in stage.executions:
            execution.stop.set()
    await asyncio.gather(*working)
    await asyncio.gather(*[end(stage, execution) for execution in stage.executions])
    await asyncio.gather(*map(all_told, stage.executions))
    # A reader that comes now, to any gateway, gets all of it too.
    for execution in stage.executions:
        stage.spawn(stage.add_reader(execution, Reader).run())
    await asyncio.gather(*map(all_told, stage.executions))
    for execution in stage.executions:
        await check(stage, execution)
    for process in stage.processes:
        assert not process.tracebacks, "a gateway has logged a traceback"


async def end(stage: Stage, execution: Execution) -> None:
    """Announce the last events, the end, and one more that is too late."""
    await _kept(stage, execution)
    for _ in range(stage.chance.randrange(8)):
        await stage.chance.choice(execution.producers).announce()
    if execution.kind == "mixed":
        # Between the two kinds no order is promised, and nothing may come after the end.
        await _kept(stage, execution)
    if stage.scenario.before_the_end is not None:
        await stage.scenario.before_the_end(stage)
    last = stage.chance.choice(execution.producers)
    await last.announce(stage.chance.choice(sorted(TERMINAL_TYPES)))
    await last.announce()
    execution.over.set()


async def _kept(stage: Stage, execution: Execution) -> None:
    """Wait until history has all that was promised."""

    async def nothing_missing() -> None:
        check_promises(await read_history(stage.redis, execution.id), execution.producers)

    await insist(nothing_missing)


async def all_told(execution: Execution, timeout: float = DEADLINE) -> None:
    """Wait until every reader of an execution was told to stop for good (*timeout*: seconds)."""

    async def nobody_waits() -> None:
        waiting = [
            f"{reader.name}: {reader.journal.where()}"
            for reader in execution.readers
            if not reader.done
        ]
        assert not waiting, f"not told of the end: {waiting}"

    await insist(nobody_waits, timeout)


async def check(stage: Stage, execution: Execution) -> None:
    """All that was promised is in history, and every reader has seen all of that."""
    await _kept(stage, execution)
    history = await read_history(stage.redis, execution.id)
    for entry in history:
        stage.names.note(execution.id, entry)
    for producer in execution.producers:
        if stage.scenario.bare_in_order or not isinstance(producer, BareProducer):
            check_order(history, producer)
    for reader in execution.readers:
        try:
            check_view(history, reader.journal.view)
        except AssertionError as complaint:
            complaint.add_note(f"{reader.name}, after {reader.connections} connections")
            raise


def _logs(stage: Stage) -> str:
    components = []
    for number, process in enumerate(stage.processes):
        components.append(f"The last lines of gateway {number}:")
        components += [f"  {line.rstrip()}" for line in list(process.lines)[-_LOG_LINES:]]
    return "\n".join(components)
