"""The typed table of settings: name, type, bounds, default, meaning; access: `settings.access`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from gateway.events.ending import TERMINAL_TYPES, TerminalTypes, read_terminal_types
from gateway.settings.access import AccessSettings, Seconds
from gateway.settings.checks import Word, Words, port_or_off, read_text, variable
from gateway.settings.redis_url import EMBEDDED_REDIS, LOCAL_REDIS, check_redis_url


class Settings(AccessSettings):
    """The settings of one gateway; immutable. Times are in seconds, sizes in bytes."""

    redis_url_file: Path | None = Field(
        None, description="File that holds REDIS_URL, for systemd credentials."
    )
    redis_url: str = Field(
        LOCAL_REDIS,
        validate_default=True,
        repr=False,  # it may hold a password
        description="Where Redis is: redis://, rediss:// (TLS), unix://, redis+sentinel:// or "
        "rediss+sentinel:// with the sentinels and the name of the master, or embedded:// for a "
        "private Valkey that starts and ends with this process.",
    )
    redis_pool_size: int = Field(
        8, ge=2, le=1000, description="Most connections to Redis, besides the subscription's."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
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
        description="Host names that requests to that port may have (a proxy's), besides localhost "
        "and IP addresses.",
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
    record_bare_events: bool = Field(
        True,
        description="Record events that were only PUBLISHed; otherwise they are delivered live, "
        "and lost for readers that are not connected.",
    )
    history_max_events: int = Field(
        1000, ge=10, description="Events of an execution that history keeps, about."
    )
    history_max_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="Bytes of an execution that history keeps."
    )
    history_ttl_seconds: Seconds = Field(
        86_400.0, description="How long history is kept after the end of an execution."
    )
    open_ttl_seconds: Seconds = Field(
        30 * 86_400.0,
        description="How long history is kept after the last event of an execution without an end.",
    )
    heartbeat_seconds: Seconds = Field(
        15.0, description="A stream silent for this long gets a heartbeat."
    )
    queue_events: int = Field(
        1000, ge=1, description="Most events that may wait for one slow reader."
    )
    queue_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, description="Most bytes that may wait for one slow reader."
    )
    kept_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Most bytes of events that are kept in memory, of all executions together, "
        "for readers that come back.",
    )
    write_timeout_seconds: Seconds = Field(
        5.0, description="A reader that takes nothing for this long is closed."
    )
    poll_bytes: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Memory that all polls together may hold, a quarter of it for one "
        "organization; 0 for ten times history_max_bytes, and at least 64 MiB.",
    )
    poll_seconds: Seconds = Field(
        30.0,
        description="How long the history of a poll may take to be read, and its reader to read "
        "the answer.",
    )
    send_buffer_bytes: int = Field(
        256 * 1024,
        ge=4096,
        description="Kernel send buffer of a stream: what a frozen reader can tie up.",
    )
    peer_timeout_seconds: Seconds = Field(
        30.0, description="A peer that acknowledges nothing for this long is gone."
    )
    max_stream_seconds: float = Field(
        0.0, ge=0, description="A stream older than this is asked to reconnect; 0 for never."
    )
    drain_seconds: float = Field(
        3.0, ge=0, description="On SIGTERM, streams are closed spread over this time."
    )
    log_format: Annotated[Literal["text", "json"], Word] = Field(
        "text", description="Lines for people or JSON."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Word] = Field(
        "info", description="Least severe lines to log."
    )

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
