"""The typed table of settings: name, type, bounds, default, meaning; access: `settings.access`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from gateway.events.ending import TERMINAL_TYPES, TerminalTypes, read_terminal_types
from gateway.settings.access import AccessSettings, Seconds
from gateway.settings.checks import Word, Words, port_or_off, read_text, recording, variable
from gateway.settings.redis_url import (
    EMBEDDED_REDIS,
    LOCAL_REDIS,
    check_redis_url,
    is_cluster_url,
)

PublishTo = Literal["pattern", "execution", "both"]


class Settings(AccessSettings):
    """The settings of one gateway; immutable. Times are in seconds, sizes in bytes."""

    redis_url_file: Path | None = Field(
        None, description="Read REDIS_URL from this file, such as a systemd credential."
    )
    redis_url: str = Field(
        LOCAL_REDIS,
        validate_default=True,
        repr=False,  # it may hold a password
        description="Address of Redis: redis://, rediss:// (TLS), unix://, redis+sentinel:// "
        "(sentinels and the master's name), redis+cluster:// (some of its nodes), these two also "
        "with rediss, or embedded:// for a private Valkey that ends with this process.",
    )
    redis_pool_size: int = Field(
        8, ge=2, le=1000, description="Maximum connections to Redis, besides the subscription's."
    )
    host: str = Field(
        "127.0.0.1", description="Address to listen on; :: for all, of IPv6 and IPv4."
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    unix_socket: Path | None = Field(
        None, description="Listen on this unix socket (mode 0660) instead of host and port."
    )
    admin_port: Annotated[int | None, BeforeValidator(port_or_off)] = Field(
        8081,
        ge=0,
        le=65535,
        description="Port of metrics, readiness and the list of streams, on loopback; 0 takes a "
        "free one, off opens none.",
    )
    admin_unix_socket: Path | None = Field(
        None, description="Unix socket (mode 0660) for these instead of that port."
    )
    admin_hosts: Annotated[tuple[str, ...], Words] = Field(
        (),
        description="Host names that requests to that port may use, besides localhost and IP "
        "addresses; for a proxy that passes on its own name.",
    )
    page: bool = Field(
        False, description="Serve a page at / that shows executions to users with a token."
    )
    channel_prefix: str = Field(
        "execution:", min_length=1, description="Prefix of the channel name of every execution."
    )
    terminal_types: Annotated[tuple[str, ...], Words] = Field(
        TERMINAL_TYPES,
        min_length=1,
        description="Types of event that end an execution, as type or type=status: completed, "
        "failed, canceled or ended. Without a status, the event says how it ended (CONTRACT.md).",
    )
    restart_types: Annotated[tuple[str, ...], Words] = Field(
        (),
        description="Types of event that begin a new run under the same id, where they are only "
        "PUBLISHed; `Publisher.restart` needs none.",
    )
    event_max_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        description="Larger events are trimmed: the largest members of their data become null.",
    )
    record_bare_events: Annotated[Literal["on", "off", "only"], BeforeValidator(recording)] = Field(
        "on",
        description="Record events that were only PUBLISHed; off: they are delivered live, and "
        "lost for readers that are not connected; only: be a recorder (`sse-gateway recorder`), "
        "which serves no streams.",
    )
    subscription: Annotated[Literal["pattern", "execution"], Word] = Field(
        "pattern",
        description="Subscribe to all events with one pattern, or to each execution that somebody "
        "watches (SCALING.md).",
    )
    publish_to: Annotated[PublishTo | None, Word] = Field(
        None,
        description="For which kind of subscription this gateway publishes what it gets by HTTP, "
        "or records; if not set, pattern, or both if its own subscription is execution "
        "or Redis is a cluster.",
    )
    history_max_events: int = Field(
        1000, ge=10, description="About how many events of an execution history keeps."
    )
    history_max_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="How many bytes of an execution history keeps."
    )
    history_ttl_seconds: Seconds = Field(
        86_400.0, description="How long history is kept after the end of an execution."
    )
    open_ttl_seconds: Seconds = Field(
        30 * 86_400.0,
        description="How long history is kept after the last event of an open execution.",
    )
    heartbeat_seconds: Seconds = Field(
        15.0, description="A stream silent for this long gets a heartbeat."
    )
    queue_events: int = Field(
        1000, ge=1, description="Maximum events that may wait for one slow reader."
    )
    queue_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, description="Maximum bytes that may wait for one slow reader."
    )
    kept_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Maximum bytes of events that are kept in memory, of all executions together, "
        "for readers that reconnect.",
    )
    write_timeout_seconds: Seconds = Field(
        5.0, description="A reader that takes no data for this long is disconnected."
    )
    poll_bytes: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Memory that all polls together may use, a quarter of it for one "
        "organization; 0 for ten times history_max_bytes, and at least 64 MiB.",
    )
    poll_seconds: Seconds = Field(
        30.0,
        description="How long reading the history of a poll may take, and then sending the answer.",
    )
    list_entries: int = Field(
        10_000, ge=100, description="Maximum executions of one organization that lists know."
    )
    list_bytes: int = Field(
        64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Memory that all open lists together may use, a quarter of it for one "
        "organization.",
    )
    send_buffer_bytes: int = Field(
        256 * 1024,
        ge=4096,
        description="The kernel's send buffer of a stream; a reader that stopped reading fills it.",
    )
    peer_timeout_seconds: Seconds = Field(
        30.0, description="A client that acknowledges nothing (TCP) for this long is gone."
    )
    max_stream_seconds: float = Field(
        0.0, ge=0, description="After this time a stream has to reconnect; 0 for never."
    )
    drain_seconds: float = Field(
        3.0,
        ge=0,
        description="On SIGTERM, streams are closed spread over this time; over at most 0.5 s if "
        "systemd holds the socket, where tabs that reconnect wait.",
    )
    log_format: Annotated[Literal["text", "json"], Word] = Field(
        "text", description="text, or JSON lines."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Word] = Field(
        "info", description="Log lines of this level and above."
    )

    @property
    def is_recorder(self) -> bool:
        """It records bare messages, and serves no streams."""
        return self.record_bare_events == "only"

    @property
    def watches(self) -> bool:
        """It subscribes to what somebody watches, and to nothing else."""
        return self.subscription == "execution" and not self.is_recorder

    @property
    def publishes_to(self) -> PublishTo:
        """`publish_to`, or its default."""
        if self.publish_to is not None:
            return self.publish_to
        return "both" if self.watches or is_cluster_url(self.redis_url) else "pattern"

    @property
    def hands_on(self) -> bool:
        """What it records is published for gateways that subscribe to single executions."""
        return self.is_recorder or self.publishes_to != "pattern"

    @property
    def endings(self) -> TerminalTypes:
        """`terminal_types` with the status of each, where it has one."""
        return read_terminal_types(self.terminal_types)

    @property
    def own_endings(self) -> TerminalTypes | None:
        """`endings` if they are not the standard ones."""
        return None if self.endings == dict.fromkeys(TERMINAL_TYPES) else self.endings

    @property
    def most_poll_bytes(self) -> int:
        """`poll_bytes`, or its default."""
        return self.poll_bytes or max(10 * self.history_max_bytes, 64 * 1024 * 1024)

    @field_validator("terminal_types")
    @classmethod
    def _check_terminal_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        read_terminal_types(value)
        return value

    @field_validator("subscription")
    @classmethod
    def _check_subscription(cls, value: str, info: ValidationInfo) -> str:
        if value == "execution" and info.data.get("record_bare_events") == "on":
            raise ValueError(
                "a gateway that subscribes to single executions receives no bare messages, and "
                f"cannot record them: set {variable('record_bare_events')}=off, and run "
                "`sse-gateway recorder` for workers that PUBLISH them"
            )
        return value

    @field_validator("publish_to")
    @classmethod
    def _check_publish_to(cls, value: str | None, info: ValidationInfo) -> str | None:
        own = info.data.get("subscription")
        is_recorder = info.data.get("record_bare_events") == "only"
        if value is not None and own is not None and not is_recorder and value not in (own, "both"):
            raise ValueError(
                "readers of this gateway would not receive what is published through it: make it "
                f"{own}, as {variable('subscription')} is, or both"
            )
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str, info: ValidationInfo) -> str:
        """The URL itself, or the content of its file."""
        file: Path | None = info.data.get("redis_url_file")
        if file is not None:
            if value != LOCAL_REDIS:
                raise ValueError(f"set either this or {variable('redis_url_file')}, not both")
            value = read_text(file)
        return value if value == EMBEDDED_REDIS else check_redis_url(value)
