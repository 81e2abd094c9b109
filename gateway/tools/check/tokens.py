"""Looks at the keys that tokens are checked with: usable, fetched where they are published, and
readable for nobody else.

What cannot be a key at all (a short secret, an algorithm that does not fit) is a mistake of the
settings already.
"""

import asyncio
import stat
import tomllib
from pathlib import Path

from gateway.access.jwks import JwksKeys
from gateway.access.verification import create_keys
from gateway.errors import ConfigurationError, Unavailable
from gateway.settings import Settings, variable
from gateway.tools.check.finding import Finding, Topic
from gateway.tools.check.table import shown

_TOPIC = Topic("Keys")


async def check_tokens(settings: Settings, config_file: Path | None) -> list[Finding]:
    """Findings about the keys, and the files that hold secrets."""
    try:
        keys = create_keys(settings)
    except ConfigurationError as error:
        return [_TOPIC.error(one, "Until then nothing starts.") for one in error.mistakes]
    if isinstance(keys, JwksKeys):
        found = await _check_published(keys, settings.jwt_algorithms)
    else:
        source = "The secret" if settings.jwt_secret is not None else "The issuer's public key"
        found = [_TOPIC.ok(f"{source} can be used with {', '.join(settings.jwt_algorithms)}.")]
    return [*found, *_check_files(settings, config_file)]


async def _check_published(keys: JwksKeys, algorithms: tuple[str, ...]) -> list[Finding]:
    """Fetch them as a gateway does when it starts."""
    fetching = asyncio.create_task(keys.run())
    try:
        fit = {name: bool(await keys.candidates(name, None)) for name in algorithms}
    except Unavailable:
        return [
            _TOPIC.error(
                f"The issuer's keys cannot be fetched from {variable('jwks_url')}: "
                f"{keys.problem or 'no answer in time'}.",
                "Until they can, every token is refused: see that this machine reaches that "
                "address, and that it answers with a JWK set.",
            )
        ]
    finally:
        fetching.cancel()
        await asyncio.wait([fetching])
    useless = [name for name, found in fit.items() if not found]
    if len(useless) == len(fit):
        return [
            _TOPIC.error(
                f"The issuer publishes no key for {' or '.join(useless)}.",
                f"Set {variable('jwt_algorithms')} to what it signs with.",
            )
        ]
    found = [_TOPIC.ok("The issuer's keys were fetched, and can be used.")]
    if useless:
        found.append(
            _TOPIC.note(
                f"The issuer publishes no key for {' or '.join(useless)} now.",
                f"Take it out of {variable('jwt_algorithms')} if it never will.",
            )
        )
    return found


def _check_files(settings: Settings, config_file: Path | None) -> list[Finding]:
    """Files with a secret in them that everybody on this machine may read."""
    files = {
        variable("jwt_secret_file"): settings.jwt_secret_file,
        variable("redis_url_file"): settings.redis_url_file,
    }
    if config_file is not None and _holds_a_secret(config_file):
        files["the configuration, which holds a secret"] = config_file
    return [
        _TOPIC.warning(
            f"Everybody on this machine can read {path} ({name}).",
            f"chmod o-r {path}, or give it to systemd as a credential.",
        )
        for name, path in files.items()
        if path is not None and path.stat().st_mode & stat.S_IROTH
    ]


def _holds_a_secret(config_file: Path) -> bool:
    given = tomllib.loads(config_file.read_text(encoding="utf-8"))
    url = given.get("redis_url", "")
    return "jwt_secret" in given or shown(url) != url
