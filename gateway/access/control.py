"""Puts together all that decides who may watch, from the settings: one object for `gateway.app`.

It decides nothing itself: that is `policy` (who may see what) and `quota` (how much of it).
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from redis.asyncio import Redis

from gateway.access.backend import BackendOwnership
from gateway.access.jwks import JwksKeys
from gateway.access.keys import FixedKeys, Keys, read_pem, secret_keys
from gateway.access.ownership import Ownership, RegistryOwnership, TokenOwnership
from gateway.access.policy import Policy
from gateway.access.quota import Quota, QuotaLimits
from gateway.access.tickets import Tickets, TicketStore
from gateway.access.tokens import TokenRules, TokenVerifier
from gateway.bus.registry import Registry
from gateway.bus.revocations import Revocations
from gateway.bus.stream_counts import StreamCounts
from gateway.errors import ConfigurationError
from gateway.fanout.hub import Hub
from gateway.settings import Settings, variable

RELOADED = frozenset(
    {
        "jwt_secret",
        "jwt_secret_file",
        "jwt_public_key_file",
        "jwt_algorithms",
        "max_streams_per_organization",
        "max_streams_per_subject",
        "max_streams_per_address",
        "max_opens_per_second",
        "max_polls_per_second",
        "max_tickets_per_second",
    }
)
"""The settings that `Door.reload` goes by; every other one takes a restart."""


class AccessControl:
    """Everything between a request and a stream."""

    def __init__(self, settings: Settings, redis: Redis, registry: Registry) -> None:
        """Builds it; nothing runs yet.

        Raises:
            ConfigurationError: the keys cannot be used.
        """
        self.revocations = Revocations(redis)
        self._ticket_store = TicketStore(redis)
        self.tickets = Tickets(self._ticket_store)
        self.verifier = create_verifier(settings)
        self._jwks_url = settings.jwks_url
        self._backend = _backend(settings)
        self.policy = Policy(
            self.verifier,
            self.tickets,
            self.revocations,
            self._backend or _ownership(settings, registry),
            settings.ownership_wait_seconds,
            keeps_token=self._backend is not None,
        )
        limits = _limits(settings)
        self.stream_counts = StreamCounts(
            redis, limits.per_organization, settings.ownership_wait_seconds
        )
        self.quota = Quota(limits, self.stream_counts)

    def components(self, hub: Hub) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What runs in the background, by name; streams of *hub* that are revoked are closed."""
        keys = self.verifier.keys
        return {
            "revocations": partial(self.revocations.run, hub),
            "census": self.stream_counts.run,
            **({"issuer's keys": keys.run} if isinstance(keys, JwksKeys) else {}),
        }

    def reload(self, settings: Settings) -> None:
        """Go by the keys, algorithms and limits of *settings* from now on (`RELOADED`). Keys at an
        issuer's URL are fetched again by themselves. Everything else stays as it was at the start:
        who decides about an execution, and which claim counts, belong together.

        Raises:
            ConfigurationError: they cannot be used, and the old ones stay.
        """
        if settings.jwks_url != self._jwks_url:
            raise ConfigurationError(
                [f"{variable('jwks_url')}: it has changed, and that takes a restart"]
            )
        keys = self.verifier.keys if self._jwks_url else create_keys(settings)
        self.verifier.replace_keys(keys, settings.jwt_algorithms)
        self.quota.replace(_limits(settings))

    async def stop(self) -> None:
        """Give up what is under way; to be called when the background tasks have ended."""
        await self.revocations.stop()
        await self._ticket_store.stop()
        await self.stream_counts.leave()
        if self._backend is not None:
            await self._backend.close()


def _limits(settings: Settings) -> QuotaLimits:
    return QuotaLimits(
        settings.max_streams_per_organization,
        settings.max_streams_per_subject,
        settings.max_streams_per_address,
        settings.max_opens_per_second,
        settings.max_polls_per_second,
        settings.max_tickets_per_second,
    )


def _backend(settings: Settings) -> BackendOwnership | None:
    if settings.ownership != "backend" or settings.backend_url is None:
        return None
    return BackendOwnership(
        settings.backend_url,
        timeout=settings.backend_timeout_seconds,
        remember=settings.backend_cache_seconds,
        wait=settings.ownership_wait_seconds,
    )


def _ownership(settings: Settings, registry: Registry) -> Ownership:
    if settings.ownership == "token":
        return TokenOwnership()
    return RegistryOwnership(registry, settings.ownership_wait_seconds)


def create_keys(settings: Settings) -> Keys:
    """The keys that the settings name; those of a JWKS URL must be `run` to be fetched.

    Raises:
        ConfigurationError: they cannot be used; names the setting.
    """
    if settings.jwks_url is not None:
        return JwksKeys(settings.jwks_url)
    if settings.jwt_public_key_file is not None:
        name = "jwt_public_key_file"
    else:
        name = "jwt_secret" if settings.jwt_secret_file is None else "jwt_secret_file"
    try:
        if settings.jwt_public_key_file is not None:
            return FixedKeys(read_pem(settings.jwt_public_key_file, settings.jwt_algorithms))
        return secret_keys(settings.jwt_secret.get_secret_value() if settings.jwt_secret else "")
    except ValueError as error:
        raise ConfigurationError([f"{variable(name)}: {error}"]) from None


def create_verifier(settings: Settings) -> TokenVerifier:
    """The verifier of a gateway with these settings.

    Raises:
        ConfigurationError: as `create_keys`.
    """
    rules = TokenRules(
        organization_claim=settings.organization_claim,
        algorithms=settings.jwt_algorithms,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_seconds=settings.jwt_leeway_seconds,
        reads_executions=settings.ownership == "token",
    )
    return TokenVerifier(rules, create_keys(settings))
