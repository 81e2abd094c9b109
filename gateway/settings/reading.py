"""Reads the settings: environment over TOML file over systemd's credentials over default.

All mistakes are reported together.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import ConfigurationError
from gateway.settings.checks import CONFIG_VARIABLE, PREFIX, variable
from gateway.settings.table import Settings

CREDENTIALS = ("jwt_secret", "redis_url")
"""Settings that systemd may hand over as files (`LoadCredential=` of the unit), by these names."""

_MAY_BE_EMPTY = {"organization_claim"}
"""Settings whose empty variable is a value; any other one that is empty counts as not set."""


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
    given = {**_credentials(os.environ, given, mistakes), **given}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        mistakes += [_sentence(detail) for detail in error.errors()]
    if mistakes:
        raise ConfigurationError(mistakes)
    return settings


def sources(config_file: Path | None) -> dict[str, tuple[str, Any]]:
    """Of each setting that is not left at its default: where it comes from, and what stands there,
    which is not checked.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    mistakes: list[str] = []
    given = {
        name: (str(config_file), one) for name, one in _read_file(config_file, mistakes).items()
    }
    if mistakes:
        raise ConfigurationError(mistakes)
    for name, one in _read_environment(os.environ).items():
        given[name] = ("environment", one)
    said = {name: one for name, (_, one) in given.items()}
    # What is wrong with a credential is for `load` to say.
    for name, file in _credentials(os.environ, said, []).items():
        given[name] = ("systemd", file)
    return given


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE
    }
    given = {name: value for name, value in given.items() if value or name in _MAY_BE_EMPTY}
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


def _credentials(
    environment: Mapping[str, str], given: Mapping[str, Any], mistakes: list[str]
) -> dict[str, Any]:
    """What systemd has handed over and is not *given*: an empty credential is none."""
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return {}
    files = {name: Path(directory) / name for name in CREDENTIALS}
    files = {name: file for name, file in files.items() if _says_something(file, mistakes)}
    if "jwt_secret" in files and (keys := given.keys() & {"jwt_public_key_file", "jwks_url"}):
        mistakes.append(
            f"{variable(min(keys))} is set, and systemd hands over the credential jwt_secret; "
            "tokens are checked with one kind of key: remove one of the two."
        )
        del files["jwt_secret"]
    return {
        f"{name}_file": file
        for name, file in files.items()
        if not given.keys() & {name, f"{name}_file"}
    }


def _says_something(file: Path, mistakes: list[str]) -> bool:
    try:
        return bool(file.read_bytes().strip())
    except FileNotFoundError:
        return False
    except OSError as error:
        mistakes.append(f"The credential {file} cannot be read: {error.strerror}.")
        return False


def _known(given: dict[str, Any], source: str, mistakes: list[str]) -> dict[str, Any]:
    """*given* without unknown names: a misspelt setting that does nothing can open a door."""
    for field in [field for field in given if field not in Settings.model_fields]:
        del given[field]
        near = difflib.get_close_matches(field, Settings.model_fields, n=1)
        hint = f"; did you mean {variable(near[0])}?" if near else "."
        mistakes.append(f"{variable(field)} in {source} is no setting of this version{hint}")
    return given


def _sentence(detail: ErrorDetails) -> str:
    # Only the message: the input may be a secret.
    return f"{variable(str(detail['loc'][0]))}: {detail['msg'].removeprefix('Value error, ')}."
