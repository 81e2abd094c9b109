"""Access control of one gateway, built from the settings: one object for `gateway.app`."""

from redis.asyncio import Redis

from gateway.access.jwks import JwksKeys
from gateway.access.keys import FixedKeys, Keys, read_pem, secret_keys
from gateway.access.ownership import (
    BackendOwnership,
    Ownership,
    RegistryOwnership,
    TokenOwnership,
)
from gateway.access.policy import Policy
from gateway.access.quota import Quota
from gateway.access.tickets import Tickets
from gateway.access.tokens import TokenVerifier
from gateway.bus.registry import Registry
from gateway.bus.revocations import Revocations
from gateway.bus.stream_counts import StreamCounts
from gateway.bus.trips import Trips
from gateway.errors import ConfigurationError
from gateway.settings import Settings, variable
from gateway.tasks import Tasks
from gateway.ticker import Ticker

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
"""The settings that `AccessControl.reload` applies; a change of another one needs a restart."""


class AccessControl:
    """Everything that decides about a request before it becomes a stream."""

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        registry: Registry,
        ticker: Ticker,
        trips: Trips,
    ) -> None:
        """Builds it; nothing runs yet.

        Raises:
            ConfigurationError: the keys cannot be used.
        """
        self.revocations = Revocations(redis, trips=trips)
        self.tickets = Tickets(trips)
        self._verifier = TokenVerifier(settings, create_keys(settings))
        self._jwks_url = settings.jwks_url
        self._ownership = _ownership(settings, registry, self.revocations)
        self.policy = Policy(
            self._verifier,
            self.tickets,
            self.revocations,
            self._ownership,
            settings.ownership_wait_seconds,
            keeps_token=settings.ownership == "backend",
        )
        self.stream_counts = StreamCounts(
            redis, ticker, settings.max_streams_per_organization, settings.ownership_wait_seconds
        )
        self.quota = Quota(settings, self.stream_counts)

    @property
    def keys_problem(self) -> str | None:
        """Why no token can be checked, as a sentence."""
        keys = self._verifier.keys
        return keys.never_had if isinstance(keys, JwksKeys) else None

    def storage_lost(self) -> None:
        """Redis has lost its data, registrations too."""
        if isinstance(self._ownership, RegistryOwnership):
            self._ownership.storage_lost()

    def tasks(self) -> Tasks:
        """Its background tasks."""
        keys = self._verifier.keys
        return {"issuer's keys": keys.run} if isinstance(keys, JwksKeys) else {}

    def reload(self, settings: Settings) -> None:
        """Use the keys, algorithms and limits of *settings* from now on (`RELOADED`). Keys at a URL
        are fetched regularly anyway. The rest stays: who decides about an execution, and which
        claim counts, belong together.

        Raises:
            ConfigurationError: they cannot be used, and the old ones stay.
        """
        if settings.jwks_url != self._jwks_url:
            raise ConfigurationError(
                [f"{variable('jwks_url')}: it has changed, and that needs a restart"]
            )
        keys = self._verifier.keys if self._jwks_url else create_keys(settings)
        self._verifier.replace_keys(keys, settings.jwt_algorithms)
        self.quota.reload(settings)

    async def stop(self) -> None:
        """Cancel what is under way; call it when the background tasks have ended."""
        await self.revocations.stop()
        await self.stream_counts.leave()
        if isinstance(self._ownership, BackendOwnership):
            await self._ownership.stop()


def _ownership(settings: Settings, registry: Registry, revocations: Revocations) -> Ownership:
    wait = settings.ownership_wait_seconds
    if settings.ownership == "token":
        return TokenOwnership()
    if settings.ownership == "backend" and settings.backend_url is not None:
        return BackendOwnership(
            settings.backend_url,
            timeout=settings.backend_timeout_seconds,
            cache_seconds=settings.backend_cache_seconds,
            wait=wait,
        )
    return RegistryOwnership(registry, revocations, wait)


def create_keys(settings: Settings) -> Keys:
    """The keys that the settings name; those of a JWKS URL must `run`.

    Raises:
        ConfigurationError: they cannot be used; names the setting.
    """
    if settings.jwks_url is not None:
        return JwksKeys(settings.jwks_url)
    secret = settings.jwt_secret
    name = "jwt_secret" if settings.jwt_secret_file is None else "jwt_secret_file"
    try:
        if settings.jwt_public_key_file is not None:
            name = "jwt_public_key_file"
            return FixedKeys(read_pem(settings.jwt_public_key_file, settings.jwt_algorithms))
        return secret_keys(secret.get_secret_value() if secret else "")
    except ValueError as error:
        raise ConfigurationError([f"{variable(name)}: {error}"]) from None
