"""Reads the settings: environment over TOML file over systemd's credentials over default."""

import os
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.errors import ConfigurationError
from gateway.settings.checks import CONFIG_VARIABLE, PREFIX, read_text, variable, words
from gateway.settings.table import Settings

CREDENTIALS = ("jwt_secret", "redis_url")
"""Settings that systemd may pass as files (`LoadCredential=` of the unit), by these names."""

_KEYS = {
    "jwt_secret", "jwt_secret_file", "jwt_public_key_file", "jwks_url", "jwt_issuers"
}  # fmt: skip

_MAY_BE_EMPTY = {"organization_claim"}
"""Settings for which an empty variable is a value; another empty variable counts as not set."""


def load(config_file: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings; *overrides* (of the command line, by field name) win over all else.

    *config_file* defaults to the one named by GATEWAY_CONFIG.

    Raises:
        ConfigurationError: lists every mistake, each with its variable.
    """
    mistakes: list[str] = []
    given = _read(config_file, overrides, mistakes)
    # A misspelt setting that does nothing could open access.
    unknown = sorted(given.keys() - Settings.model_fields.keys())
    mistakes += [_unknown(name, given.pop(name)[0]) for name in unknown]
    if given.get("record_bare_events", ("", ""))[1] == "only" and not _KEYS.intersection(given):
        # A recorder checks no tokens; and nobody could make one for a secret that nobody knows.
        given["jwt_secret"] = ("recorder", secrets.token_hex(32))
    try:
        settings = Settings.model_validate({name: value for name, (_, value) in given.items()})
    except ValidationError as error:
        for detail in error.errors():
            # Only the message: the input may be a secret.
            message = detail["msg"].removeprefix("Value error, ")
            name, *inside = map(str, detail["loc"])
            # Of a table in a list: which one, counted from 0, and its name.
            where = f" ({'.'.join(inside)})" if name == "jwt_issuers" and inside else ""
            mistakes.append(f"{variable(name)}{where}: {message}.")
    if mistakes:
        raise ConfigurationError(mistakes)
    return settings


def sources(config_file: Path | None) -> dict[str, tuple[str, Any]]:
    """Each setting that is not left at its default: where it comes from, and its unchecked value.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    mistakes: list[str] = []
    given = _read(config_file, {}, mistakes)
    if mistakes:
        raise ConfigurationError(mistakes)
    return given


def raw(name: str, config_file: Path | None = None) -> str | None:
    """The setting *name* unchecked, or what the file of `<name>_file` holds (of several, a line
    each); None if neither is given.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    given = sources(config_file)
    if f"{name}_file" not in given:
        value = given.get(name, ("", None))[1]
        # Of several secrets a line each.
        return "\n".join(map(str, value)) if isinstance(value, list) else value and str(value)
    files = words(given[f"{name}_file"][1])
    try:
        return "\n".join(
            map(read_text, map(Path, files if isinstance(files, list | tuple) else [files]))
        )
    except ValueError as error:
        raise ConfigurationError([f"{variable(name + '_file')}: {error}."]) from None


def _read(
    config_file: Path | None, overrides: Mapping[str, Any], mistakes: list[str]
) -> dict[str, tuple[str, Any]]:
    """The source and the value of each setting, by field name."""
    if config_file is None and (named := os.environ.get(CONFIG_VARIABLE)):
        config_file = Path(named)
    given: dict[str, tuple[str, Any]] = {}
    for source, values in (
        (str(config_file), _read_file(config_file, mistakes)),
        ("environment", _read_environment(os.environ)),
        ("command line", overrides),
    ):
        given |= {name: (source, value) for name, value in values.items()}
    credentials = _credentials(os.environ, given, mistakes)
    return given | {name: ("systemd", file) for name, file in credentials.items()}


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE
    }
    given["redis_url"] = environment.get("REDIS_URL", "")
    return {name: value for name, value in given.items() if value or name in _MAY_BE_EMPTY}


def _read_file(config_file: Path | None, mistakes: list[str]) -> dict[str, Any]:
    if config_file is None:
        return {}
    # Here, as in `_unknown`: a start without a file, or without a mistake, does without it.
    import tomllib

    try:
        return tomllib.loads(config_file.read_text(encoding="utf-8"))
    except OSError as error:
        mistakes.append(f"The file {config_file} cannot be read: {error.strerror}.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        mistakes.append(f"The file {config_file} is not TOML: {error}.")
    return {}


def _credentials(
    environment: Mapping[str, str], given: Collection[str], mistakes: list[str]
) -> dict[str, Path]:
    """The files that systemd has passed for settings that are not *given*."""
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return {}
    files = {name: Path(directory) / name for name in CREDENTIALS}
    files = {name: file for name, file in files.items() if _has_content(file, mistakes)}
    others = {"jwt_public_key_file", "jwks_url", "jwt_issuers"}
    if "jwt_secret" in files and (keys := others.intersection(given)):
        mistakes.append(
            f"{variable(min(keys))} is set, and systemd passes the credential jwt_secret; "
            "tokens are checked with one kind of key: remove one of the two."
        )
        del files["jwt_secret"]
    return {
        f"{name}_file": file
        for name, file in files.items()
        if name not in given and f"{name}_file" not in given
    }


def _has_content(file: Path, mistakes: list[str]) -> bool:
    # The unit passes an empty credential if there is no file.
    try:
        return bool(file.read_bytes().strip())
    except FileNotFoundError:
        return False
    except OSError as error:
        mistakes.append(f"The credential {file} cannot be read: {error.strerror}.")
        return False


def _unknown(name: str, source: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    hint = f"; did you mean {variable(near[0])}?" if near else "."
    return f"{variable(name)} ({source}) is not a setting of this version{hint}"
