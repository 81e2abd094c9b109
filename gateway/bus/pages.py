"""History as the logs read it: pages of events, and the first id that is kept."""

from dataclasses import dataclass

from gateway.bus.history import History, Page, envelope_of
from gateway.events.envelope import STANDARD_RULES, EventRules, recorded
from gateway.events.history_page import Ending, HistoryPage
from gateway.events.ids import EventId
from gateway.metrics import Metrics

_NO_EVENT = EventId(0, 0)


@dataclass(frozen=True, slots=True)
class Pages:
    """What `gateway.fanout.log` reads; sharing it among streams is done there."""

    history: History
    metrics: Metrics
    rules: EventRules = STANDARD_RULES

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
        page = await self.history.page(
            execution_id, cursor, only_valid=only_valid, organization_id=organization_id
        )
        if not only_valid or page.cursor_status == "valid":
            self.metrics.history_reads += 1
        return history_page_of(execution_id, page, cursor, self.metrics, self.rules)

    async def first(self, execution_id: str) -> EventId | None:
        """The first id that history keeps.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        page = await self.history.page(execution_id, _NO_EVENT, only_valid=True)
        return page.first


def history_page_of(
    execution_id: str,
    page: Page,
    cursor: EventId | None,
    metrics: Metrics,
    rules: EventRules,
) -> HistoryPage:
    """A page as events. What somebody else wrote into the stream and is no event is left out."""
    ending, entries, more = None, page.entries, page.more
    end = cursor if page.cursor_status == "valid" else None
    if entries:
        end = entries[-1].id
    if page.terminal is not None:
        status = page.status(rules.terminal_types)
        ending = Ending(page.terminal, page.terminal_type, page.terminal_kept, status)
        if not ending.kept:
            # All that is kept came after the end, and is given to no stream.
            entries, more, end = [], False, ending.id
        elif cursor is not None and cursor.is_at_or_after(ending.id):
            entries, more, end = [], False, cursor
    events = [
        recorded(envelope.type, envelope.body, entry.id)
        for entry in entries
        if (envelope := envelope_of(execution_id, entry, metrics, rules)) is not None
    ]
    return HistoryPage(
        page.cursor_status, events, page.first, ending, more, page.last, end, page.run
    )
