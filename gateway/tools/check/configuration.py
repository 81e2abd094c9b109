"""Checks settings that are valid, and still may not be what was intended."""

import asyncio
import stat
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.access.control import create_issuers
from gateway.access.jwks import JwksKeys
from gateway.access.keys import Issuer
from gateway.errors import ConfigurationError, Unavailable
from gateway.settings import Settings, variable
from gateway.settings.keys import MIN_SECRET_BYTES
from gateway.tools.check.finding import Finding, Topic, shown
from gateway.tools.check.token import explain

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


_TOPIC_OF_KEYS = Topic("Keys")


async def check_tokens(
    settings: Settings,
    config_file: Path | None,
    token: str | None = None,
    organization: str | None = None,
    *,
    offline: bool = False,
) -> list[Finding]:
    """Findings about the keys, the files with secrets, and *token*, which is to be used for
    *organization*; *offline* fetches no keys."""
    try:
        issuers = create_issuers(settings)
    except ConfigurationError as error:
        remedy = "Correct it: the gateway does not start before."
        return [_TOPIC_OF_KEYS.error(mistake, remedy) for mistake in error.mistakes]
    found = []
    async with fetching(issuers, fetches=not offline):
        for issuer in issuers:
            found += await _check_keys(issuer, offline=offline)
        if token is not None:
            found += await explain(token, issuers, settings, organization, offline=offline)
    return [*found, *_check_files(settings, config_file)]


@asynccontextmanager
async def fetching(issuers: Sequence[Issuer], *, fetches: bool) -> AsyncIterator[None]:
    """Fetch the keys of *issuers* that are at a URL, as a gateway does, for this block."""
    urls = {issuer.keys.url: issuer.keys for issuer in issuers if isinstance(issuer.keys, JwksKeys)}
    tasks = [asyncio.create_task(keys.run()) for keys in urls.values() if fetches]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _check_keys(issuer: Issuer, *, offline: bool) -> list[Finding]:
    keys, algorithms = issuer.keys, issuer.algorithms
    who = issuer.name or "The issuer"
    whose = f"{who}'s"
    if not isinstance(keys, JwksKeys):
        source = "secret" if algorithms[0] in MIN_SECRET_BYTES else "public key"
        return [_TOPIC_OF_KEYS.ok(f"{whose} {source} can be used with {', '.join(algorithms)}.")]
    if offline:
        return [_TOPIC_OF_KEYS.note(f"{whose} keys at {variable('jwks_url')} were not fetched.")]
    try:
        fit = {name: bool(await keys.candidates(name, None)) for name in algorithms}
    except Unavailable:
        return [
            _TOPIC_OF_KEYS.error(
                f"{whose} keys cannot be fetched from {variable('jwks_url')}: "
                f"{keys.problem or 'no answer in time'}.",
                "Check that this machine reaches that address, and that it answers with a JWK set: "
                "without keys every token is refused.",
            )
        ]
    useless = [name for name, found in fit.items() if not found]
    if len(useless) == len(fit):
        return [
            _TOPIC_OF_KEYS.error(
                f"{who} publishes no key for {' or '.join(useless)}.",
                f"Set {variable('jwt_algorithms')} to the algorithms that it signs with.",
            )
        ]
    found = [_TOPIC_OF_KEYS.ok(f"{whose} keys were fetched and can be used.")]
    if useless:
        found.append(
            _TOPIC_OF_KEYS.note(
                f"{who} publishes no key for {' or '.join(useless)} now.",
                f"Remove it from {variable('jwt_algorithms')} if it never will.",
            )
        )
    return found


def _check_files(settings: Settings, config_file: Path | None) -> list[Finding]:
    """Warnings for files with a secret that every user of this machine may read."""
    secrets = {file for issuer in settings.issuers for file in issuer.jwt_secret_file}
    files = [(variable("jwt_secret_file"), file) for file in sorted(secrets)]
    if settings.redis_url_file is not None:
        files.append((variable("redis_url_file"), settings.redis_url_file))
    if config_file is not None and _holds_a_secret(config_file):
        files.append(("the configuration, which holds a secret", config_file))
    return [
        _TOPIC_OF_KEYS.warning(
            f"Every user of this machine can read {path} ({name}).",
            f"chmod o-r {path}, or give it to systemd as a credential.",
        )
        for name, path in files
        if path.stat().st_mode & stat.S_IROTH
    ]


def _holds_a_secret(config_file: Path) -> bool:
    given = tomllib.loads(config_file.read_text(encoding="utf-8"))
    url = given.get("redis_url", "")
    tables = [given, *given.get("jwt_issuers", ())]
    return any("jwt_secret" in table for table in tables) or shown(url) != url
