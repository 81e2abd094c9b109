"""History as the logs read it: pages of events, and whether an id is the first that is kept."""

from collections.abc import Sequence

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.bus.history import History, Page, envelope_of
from gateway.contract.scripts import first_call
from gateway.dataloader import DataLoader
from gateway.errors import RedisUnavailable
from gateway.events.envelope import EventRules, recorded
from gateway.events.history_page import Ending, HistoryPage
from gateway.events.ids import EventId, parse_id
from gateway.metrics import Metrics

_AT_ONCE = 200
"""First ids asked for in one round trip."""

_RULES = EventRules()


class Pages:
    """What `gateway.fanout.log` reads; sharing it among streams is done there."""

    def __init__(
        self,
        redis: Redis,
        history: History,
        metrics: Metrics,
        rules: EventRules = _RULES,
    ) -> None:
        self._redis = redis
        self._history = history
        self._metrics = metrics
        self._rules = rules
        self._firsts: DataLoader[str, EventId | None] = DataLoader(self._read_firsts, _AT_ONCE)

    async def page(
        self,
        execution_id: str,
        cursor: EventId | None,
        *,
        only_valid: bool = False,
        organization_id: str = "",
    ) -> HistoryPage:
        """What follows *cursor*, as far as one page goes; the others: see `History.page`.

        Raises:
            ExecutionNotFound: it is not this organization's.
            RedisUnavailable: Redis could not be asked.
        """
        page = await self._history.page(
            execution_id, cursor, only_valid=only_valid, organization_id=organization_id
        )
        if not only_valid or page.cursor_status == "valid":
            self._metrics.history_reads += 1
        return history_page_of(execution_id, page, cursor, self._metrics, self._rules)

    async def first(self, execution_id: str) -> EventId | None:
        """The first id that history keeps.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        return await self._firsts.ask(execution_id)

    async def _read_firsts(self, asked: Sequence[str]) -> dict[str, EventId | Exception | None]:
        try:
            answers = await scripts.run_all(self._redis, [first_call(one) for one in asked])
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error
        return {
            one: RedisUnavailable(describe_redis_error(answer))
            if isinstance(answer, Exception)
            else parse_id(answer.decode(errors="replace"))
            for one, answer in zip(asked, answers, strict=True)
        }

    async def stop(self) -> None:
        """Give up the questions under way."""
        await self._firsts.stop()


def history_page_of(
    execution_id: str,
    page: Page,
    cursor: EventId | None,
    metrics: Metrics,
    rules: EventRules,
) -> HistoryPage:
    """A page as events. What somebody else wrote into the stream and is no event is left out."""
    ending = None
    if page.terminal is not None:
        ending = Ending(
            page.terminal, page.terminal_type, page.terminal_kept, page.status(rules.terminal_types)
        )
        if not ending.kept:
            # All that is kept came after the end, and is given to no stream.
            return HistoryPage(
                page.cursor_status,
                [],
                page.first,
                ending,
                more=False,
                last=page.last,
                end=ending.id,
                run=page.run,
            )
        if cursor is not None and cursor.is_at_or_after(ending.id):
            return HistoryPage(
                page.cursor_status,
                [],
                page.first,
                ending,
                more=False,
                last=page.last,
                end=cursor,
                run=page.run,
            )
    events = [
        recorded(envelope.type, envelope.body, entry.id)
        for entry in page.entries
        if (envelope := envelope_of(execution_id, entry, metrics, rules)) is not None
    ]
    end = cursor if page.cursor_status == "valid" else None
    if page.entries:
        end = page.entries[-1].id
    return HistoryPage(
        page.cursor_status, events, page.first, ending, page.more, page.last, end, page.run
    )
