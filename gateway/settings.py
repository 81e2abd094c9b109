"""Every setting of the gateway in one typed table: name, type, bounds, default, meaning.

A value comes from the environment, else from the TOML file, else from the default here. All
mistakes are reported together, each naming its variable. It does not act on any setting. pydantic
checks, since it is maintained and collects every mistake by itself.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from gateway.errors import ConfigurationError

PREFIX = "GATEWAY_"
CONFIG_VARIABLE = "GATEWAY_CONFIG"
EMBEDDED_REDIS = "embedded://"
MIN_SECRET_BYTES = 32
TERMINAL_TYPES = (
    "execution:completed",
    "execution:failed",
    "execution:canceled",
    "execution:cancelled",
)
_REDIS_SCHEMES = ("redis", "rediss", "unix", "embedded")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """The settings of one gateway; immutable. Times are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    redis_url: str = Field(
        "redis://localhost:6379/0",
        description="Where Redis is: redis://, rediss://, unix://, or embedded:// for a private "
        "Valkey that lives and dies with this process.",
    )
    redis_pool_size: int = Field(
        8, ge=2, le=1000, description="Most connections to Redis beside the subscription's."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    unix_socket: Path | None = Field(
        None, description="Listen on this unix socket (mode 0660) instead of host and port."
    )
    jwt_secret_file: Path | None = Field(
        None, description="File that holds the HS256 secret, for systemd credentials."
    )
    jwt_secret: SecretStr | None = Field(
        None, validate_default=True, description="Secret that HS256 tokens are signed with."
    )
    jwt_issuer: str | None = Field(None, description="Required `iss` of a token, if set.")
    jwt_audience: str | None = Field(None, description="Required `aud` of a token, if set.")
    jwt_leeway_seconds: float = Field(
        10.0, ge=0, le=300, description="Clock difference allowed when a token's times are read."
    )
    organization_claim: str = Field(
        "organization_id",
        min_length=1,
        description="Claim that holds the organization, or a list of them.",
    )
    ownership: Literal["registry", "token"] = Field(
        "registry",
        description="Who decides whose execution it is: what was registered, or any valid token.",
    )
    ownership_wait_seconds: Seconds = Field(
        5.0, description="How long a request waits for a registration, or for Redis."
    )
    channel_prefix: str = Field(
        "execution:", min_length=1, description="Begins the channel name of every execution."
    )
    terminal_types: tuple[str, ...] = Field(
        TERMINAL_TYPES, min_length=1, description="Types of event that end an execution."
    )
    event_max_bytes: int = Field(
        1024 * 1024, ge=1024, description="Larger messages are dropped, counted and logged."
    )
    record_bare_events: bool = Field(
        True,
        description="Record events that were only PUBLISHed; without it they are delivered live "
        "alone, and lost to whoever is not connected.",
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
        description="How long history is kept after the last event of one that has not ended.",
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
    write_timeout_seconds: Seconds = Field(
        5.0, description="A reader that takes nothing for this long is closed."
    )
    send_buffer_bytes: int = Field(
        256 * 1024,
        ge=4096,
        description="Kernel send buffer of a stream: what a frozen reader can tie up.",
    )
    peer_timeout_seconds: Seconds = Field(
        30.0, description="A peer that acknowledges nothing for this long has vanished."
    )
    max_stream_seconds: float = Field(
        0.0, ge=0, description="A stream older than this is asked to reconnect; 0 for never."
    )
    max_connections: int = Field(
        0, ge=0, description="Most streams at once; 0 for as many as there are file descriptors."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Exact origins whose pages may read; * for all, without credentials."
    )
    drain_seconds: float = Field(
        3.0, ge=0, description="On SIGTERM, streams are closed spread over this time."
    )
    log_format: Literal["text", "json"] = Field("text", description="Lines for people or JSON.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe lines to log."
    )

    @field_validator("terminal_types", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """A comma-separated list in the environment, an array in the file."""
        if isinstance(value, str):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        if urlsplit(value).scheme not in _REDIS_SCHEMES:
            raise ValueError(f"begin it with one of {', '.join(_REDIS_SCHEMES)} and ://")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr:
        """The secret itself, or the content of `jwt_secret_file`; exactly one of the two."""
        file: Path | None = info.data.get("jwt_secret_file")
        if value is not None and file is not None:
            raise ValueError(f"set either this or {PREFIX}JWT_SECRET_FILE, not both")
        if file is not None:
            value = _read_secret(file)
        if value is None:
            raise ValueError(f"no key to check tokens with: set this or {PREFIX}JWT_SECRET_FILE")
        if len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(
                f"shorter than {MIN_SECRET_BYTES} bytes, so it can be guessed (RFC 7518, section "
                "3.2): make one with `openssl rand -hex 32`"
            )
        return value

    @field_validator("log_level", "log_format", "ownership", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            exact = (
                parts.scheme in ("http", "https") and origin == f"{parts.scheme}://{parts.netloc}"
            )
            if origin != "*" and not exact:
                raise ValueError(f"{origin!r} is no origin: write it like https://app.example.com")
        if "*" in value and len(value) > 1:
            raise ValueError("* allows every origin already: write it alone, or list the origins")
        return value


def load(config_file: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings; *overrides* (of the command line, by field name) win over all else.

    *config_file* defaults to the one named by GATEWAY_CONFIG. An empty variable counts as not set.

    Raises:
        ConfigurationError: with every mistake, each naming its variable.
    """
    if config_file is None and (named := os.environ.get(CONFIG_VARIABLE)):
        config_file = Path(named)
    mistakes: list[str] = []
    given = {
        **_known(_read_file(config_file, mistakes), str(config_file), mistakes),
        **_known(_read_environment(os.environ), "the environment", mistakes),
        **overrides,
    }
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        mistakes += [_sentence(detail) for detail in error.errors()]
    if mistakes:
        raise ConfigurationError(mistakes)
    return settings


def variable(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return "REDIS_URL" if field == "redis_url" else PREFIX + field.upper()


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE and value
    }
    if url := environment.get("REDIS_URL"):
        given["redis_url"] = url
    return given


def _read_file(config_file: Path | None, mistakes: list[str]) -> dict[str, Any]:
    if config_file is None:
        return {}
    try:
        return tomllib.loads(config_file.read_text(encoding="utf-8"))
    except OSError as error:
        mistakes.append(f"The file {config_file} cannot be read: {error.strerror}.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        mistakes.append(f"The file {config_file} is not TOML: {error}.")
    return {}


def _known(given: dict[str, Any], source: str, mistakes: list[str]) -> dict[str, Any]:
    """*given* without unknown names: a misspelt setting that does nothing can open a door."""
    for field in [field for field in given if field not in Settings.model_fields]:
        del given[field]
        near = difflib.get_close_matches(field, Settings.model_fields, n=1)
        hint = f"; did you mean {variable(near[0])}?" if near else "."
        mistakes.append(f"{variable(field)} in {source} is no setting of this version{hint}")
    return given


def _read_secret(file: Path) -> SecretStr:
    try:
        return SecretStr(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file {file} cannot be read: {error}") from None


def _sentence(detail: ErrorDetails) -> str:
    # Only the message: the input may be a secret.
    return f"{variable(str(detail['loc'][0]))}: {detail['msg'].removeprefix('Value error, ')}."
