"""History as the logs read it: pages of events."""

from gateway.bus.history import History, Page, envelope_of
from gateway.events.envelope import EventRules, recorded
from gateway.events.history_page import Ending, HistoryPage
from gateway.events.ids import EventId
from gateway.metrics import Metrics

_RULES = EventRules()


class Pages:
    """What `gateway.fanout.log` reads; sharing it among streams is done there."""

    def __init__(self, history: History, metrics: Metrics, rules: EventRules = _RULES) -> None:
        self._history = history
        self._metrics = metrics
        self._rules = rules

    async def page(
        self,
        execution_id: str,
        cursor: EventId | None,
        *,
        only_valid: bool = False,
        organization_id: str = "",
    ) -> HistoryPage:
        """What follows *cursor*, as far as one page goes; the rest is as in `History.page`.

        What somebody else wrote into the stream and is no event is left out.
        """
        page = await self._history.page(
            execution_id, cursor, only_valid=only_valid, organization_id=organization_id
        )
        if not only_valid or page.cursor_status == "valid":
            self._metrics.history_reads += 1
        ending, entries, more = _ending(page, self._rules), page.entries, page.more
        end = cursor if page.cursor_status == "valid" else None
        if ending is not None and not ending.kept:
            # All that is kept came after the end, and is given to no stream.
            entries, more, end = [], False, ending.id
        elif ending is not None and cursor is not None and cursor.is_at_or_after(ending.id):
            entries, more, end = [], False, cursor
        elif entries:
            end = entries[-1].id
        events = [
            recorded(envelope.type, envelope.body, entry.id)
            for entry in entries
            if (envelope := envelope_of(execution_id, entry, self._metrics, self._rules))
            is not None
        ]
        return HistoryPage(
            page.cursor_status, events, page.first, ending, more,
            page.last, end, page.run, page.former,
        )  # fmt: skip


def _ending(page: Page, rules: EventRules) -> Ending | None:
    if page.terminal is None:
        return None
    status = page.status(rules.terminal_types)
    return Ending(page.terminal, page.terminal_type, page.terminal_kept, status)
