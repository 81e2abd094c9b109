"""The interface of the scripts that producers in any language may call: their keys and arguments.

The values are those that the builders of `gateway.contract` give, so this cannot differ from what
`gateway.publisher` sends.
"""

from dataclasses import asdict, dataclass
from typing import Any

from gateway.contract.registration import Registration
from gateway.contract.scripts import (
    FORMER_RUN_TTL_MS,
    Call,
    HistoryLimits,
    Script,
    publish_call,
)

VERSION = 1
"""Of the interface: another one when a key or an argument gets another place or meaning, or a new
one is required."""

# An id of the form that builders take, which the text replaces.
_ID = "EXECUTION_ID"
_TIMES = (
    ("open_ttl_ms", "milliseconds that history is kept until the end"),
    ("history_ttl_ms", "milliseconds that history is kept after the end"),
    ("meta_ttl_ms", "milliseconds that `meta` is kept after the end"),
)
_RUN_KEYS = (("events", "the history"), ("meta", "the state of the history, and the owner"))


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key or argument; its place is that in its list."""

    name: str
    value: str
    """Its default, or its form."""
    meaning: str
    optional: bool = False
    """Whether it may be left out, with all optional ones that follow it."""


@dataclass(frozen=True, slots=True)
class Interface:
    """How one script is called, and what it answers."""

    script: Script
    keys: list[Parameter]
    arguments: list[Parameter]
    answer: str

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""

        return {
            "sha": self.script.sha,
            "keys": [asdict(one) for one in self.keys],
            "arguments": [asdict(one) for one in self.arguments],
            "answer": self.answer,
        }


def _interface(
    call: Call,
    keys: tuple[tuple[str, str], ...],
    arguments: tuple[tuple[str, str], ...],
    required: tuple[int, int],
    answer: str,
) -> Interface:
    """*required*: how many of *keys* and of *arguments* must be given."""

    def described(
        values: list[Any], names: tuple[tuple[str, str], ...], required: int
    ) -> list[Parameter]:
        return [
            Parameter(name, _text(value), meaning, place >= required)
            for place, (value, (name, meaning)) in enumerate(zip(values, names, strict=True))
        ]

    return Interface(
        call.script,
        described(call.keys, keys, required[0]),
        described(call.arguments, arguments, required[1]),
        answer,
    )


def _text(value: bytes | str | int) -> str:
    text = value.decode() if isinstance(value, bytes) else str(value)
    return text.replace(_ID, "<execution_id>")


def interfaces(channel_prefix: str = "execution:") -> dict[str, Interface]:
    """The scripts by their names, in the order in which a producer needs them."""
    return {"register": _register(), "publish": _publish(channel_prefix)}


def _register() -> Interface:
    return _interface(
        Registration(_ID, "<organization_id>", "<workflow_id>").call(
            HistoryLimits(), in_cluster=True
        ),
        (*_RUN_KEYS, ("memory", "only on a cluster: what later calls have to know")),
        (
            ("organization_id", "which may watch the execution"),
            ("workflow_id", "which the execution is a run of; empty for none"),
            *_TIMES,
        ),
        (2, 5),
        "`registered`, or `same` if it was already. Nothing is written if it is `organization_id` "
        "or `workflow_id` (the execution has another one), or `forgotten` (it was deleted)",
    )


def _publish(channel_prefix: str) -> Interface:
    return _interface(
        publish_call(
            _ID,
            b"<event>",
            channel=f"{channel_prefix}{_ID}",
            idempotency_key="<idempotency_key>",
            terminal_type="",
            limits=HistoryLimits(),
            restart_ttl_ms=FORMER_RUN_TTL_MS,
            former_run="<name>",
            live="PUBLISH",
        ),
        (
            *_RUN_KEYS,
            ("once", "of this event's idempotency key: a call with it again gets the same id. On a "
             "cluster `sse:{<execution_id>}:memory`"),
            ("former_events", "only for an event that restarts the run; <name>: 16 hex digits, "
             "new for each call"),
            ("former_meta", "the same"),
        ),
        (
            ("max_events", "events that the history keeps, about"),
            ("max_bytes", "bytes that the history keeps"),
            *_TIMES,
            ("channel", "where the event is published; empty for nowhere but as `live` says"),
            ("once_ttl_ms", "milliseconds that the idempotency key is known"),
            ("terminal_type", "`<type>=<status>` of an event that ends the run, like "
             "`execution:completed=completed`; empty for any other"),
            ("event", "the JSON object, without `id` and without white space before it"),
            ("kind", "`started`, `completed` or `failed` of a `step:…` event; empty for any other. "
             "Without it, the run's steps are not counted"),
            ("moment", "when it happened, as ISO 8601; empty for not known"),
            ("began", "the epoch of an id that this producer got before: an event of a former run "
             "is refused then; empty for the first event"),
            ("former_ttl_ms", "milliseconds that the former run is kept; only for an event that "
             "restarts the run"),
            ("live", "publishes the event on `sse:{<execution_id>}:live` too, for gateways that "
             "subscribe to what is watched (`SPUBLISH` on a cluster); empty, or left out: not"),
            ("field", "only on a cluster: `once:<idempotency_key>`"),
        ),
        (3, 9),
        "the event's id, `<epoch>-<seq>`; the error RESTARTED (the event is of a former run) or "
        "FORGOTTEN (the execution was deleted)",
    )  # fmt: skip
