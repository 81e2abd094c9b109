"""Checks settings that are valid, and still may not be what was intended."""

import asyncio
import stat
import tomllib
from pathlib import Path

from gateway.access.control import create_keys
from gateway.access.jwks import JwksKeys
from gateway.errors import ConfigurationError, Unavailable
from gateway.settings import Settings, variable
from gateway.tools.check.finding import Finding, Topic, shown

STOP_TIMEOUT = 40.0
"""Seconds: `TimeoutStopSec` of the unit in systemd/."""

MARGIN = 10.0
"""Seconds that stopping takes at most, besides the drain."""

_USUAL_SILENCE = 60.0
"""Seconds without a byte after which most proxies cut a connection."""

_TOPIC = Topic("Settings")


def check_settings(settings: Settings) -> list[Finding]:
    """Findings about the settings alone."""
    found = [_TOPIC.ok("The settings are complete, and each is valid.")]
    if settings.drain_seconds + MARGIN > STOP_TIMEOUT:
        found.append(
            _TOPIC.warning(
                f"{variable('drain_seconds')} is {settings.drain_seconds:g}: with the unit's "
                f"TimeoutStopSec of {STOP_TIMEOUT:g} systemd kills the gateway during its drain.",
                f"Set TimeoutStopSec to {settings.drain_seconds + MARGIN:g} or more.",
            )
        )
    if settings.heartbeat_seconds >= _USUAL_SILENCE:
        found.append(
            _TOPIC.warning(
                f"{variable('heartbeat_seconds')} is {settings.heartbeat_seconds:g}: most proxies "
                f"cut a stream that is silent for {_USUAL_SILENCE:g} s.",
                "Set it to 30 or less.",
            )
        )
    if settings.ownership == "token":
        found.append(
            _TOPIC.note(
                "Ownership is `token`: any valid token may watch any execution, whatever its "
                "organization, unless its claim `executions` lists them.",
                f"{variable('ownership')}=registry keeps organizations apart.",
            )
        )
    if "*" in settings.cors_origins:
        found.append(
            _TOPIC.note(
                f"{variable('cors_origins')} is *: pages of any origin may read.",
                "List the origins of your pages.",
            )
        )
    return found


_TOKENS_TOPIC = Topic("Keys")


async def check_tokens(settings: Settings, config_file: Path | None) -> list[Finding]:
    """Findings about the keys, and the files that hold secrets."""
    try:
        keys = create_keys(settings)
    except ConfigurationError as error:
        remedy = "Correct it: the gateway does not start before."
        return [_TOKENS_TOPIC.error(mistake, remedy) for mistake in error.mistakes]
    if isinstance(keys, JwksKeys):
        found = await _check_published(keys, settings.jwt_algorithms)
    else:
        source = "The secret" if settings.jwt_secret is not None else "The issuer's public key"
        found = [
            _TOKENS_TOPIC.ok(f"{source} can be used with {', '.join(settings.jwt_algorithms)}.")
        ]
    return [*found, *_check_files(settings, config_file)]


async def _check_published(keys: JwksKeys, algorithms: tuple[str, ...]) -> list[Finding]:
    """Fetch the issuer's keys as a gateway does when it starts."""
    fetching = asyncio.create_task(keys.run())
    try:
        fit = {name: bool(await keys.candidates(name, None)) for name in algorithms}
    except Unavailable:
        return [
            _TOKENS_TOPIC.error(
                f"The issuer's keys cannot be fetched from {variable('jwks_url')}: "
                f"{keys.problem or 'no answer in time'}.",
                "Check that this machine reaches that address, and that it answers with a JWK set: "
                "without keys every token is refused.",
            )
        ]
    finally:
        fetching.cancel()
        await asyncio.wait([fetching])
    useless = [name for name, found in fit.items() if not found]
    if len(useless) == len(fit):
        return [
            _TOKENS_TOPIC.error(
                f"The issuer publishes no key for {' or '.join(useless)}.",
                f"Set {variable('jwt_algorithms')} to the algorithms that it signs with.",
            )
        ]
    found = [_TOKENS_TOPIC.ok("The issuer's keys were fetched and can be used.")]
    if useless:
        found.append(
            _TOKENS_TOPIC.note(
                f"The issuer publishes no key for {' or '.join(useless)} now.",
                f"Remove it from {variable('jwt_algorithms')} if it never will.",
            )
        )
    return found


def _check_files(settings: Settings, config_file: Path | None) -> list[Finding]:
    """Warnings for files with a secret that every user of this machine may read."""
    files = {
        variable("jwt_secret_file"): settings.jwt_secret_file,
        variable("redis_url_file"): settings.redis_url_file,
    }
    if config_file is not None and _holds_a_secret(config_file):
        files["the configuration, which holds a secret"] = config_file
    return [
        _TOKENS_TOPIC.warning(
            f"Every user of this machine can read {path} ({name}).",
            f"chmod o-r {path}, or give it to systemd as a credential.",
        )
        for name, path in files.items()
        if path is not None and path.stat().st_mode & stat.S_IROTH
    ]


def _holds_a_secret(config_file: Path) -> bool:
    given = tomllib.loads(config_file.read_text(encoding="utf-8"))
    url = given.get("redis_url", "")
    return "jwt_secret" in given or shown(url) != url
