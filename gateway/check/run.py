"""All that `sse-gateway check` looks at, in the order in which it is told. All of it always."""

from collections.abc import Sequence
from pathlib import Path

from gateway.check.configuration import check_settings
from gateway.check.finding import Finding
from gateway.check.machine import check_addresses, check_files
from gateway.check.proxy import Options, check_url
from gateway.check.redis_server import check_redis
from gateway.check.tokens import check_tokens
from gateway.settings import Settings


async def check(
    settings: Settings, config_file: Path | None, urls: Sequence[str], options: Options
) -> list[Finding]:
    """Look at everything; nothing that is wrong with one thing keeps the others from being told."""
    findings = [
        *check_settings(settings),
        *await check_tokens(settings, config_file),
        *await check_redis(settings),
        *check_files(settings),
        *await check_addresses(settings),
    ]
    for url in urls:
        findings += await check_url(url, settings, options)
    return findings
