"""Access control of one gateway, built from the settings: one object for `gateway.app`."""

from collections.abc import Mapping

from redis.asyncio import Redis

from gateway.access.jwks import JwksKeys
from gateway.access.keys import FixedKeys, Issuer, Keys, read_pem, secret_keys
from gateway.access.list_backend import ListAccess
from gateway.access.ownership import (
    BackendOwnership,
    Ownership,
    RegistryOwnership,
    TokenOwnership,
)
from gateway.access.policy import Policy
from gateway.access.publishing import PublishLimits, PublishPolicy
from gateway.access.quota import Quota
from gateway.access.tickets import Tickets
from gateway.access.tokens import TokenVerifier
from gateway.bus.registry import Registry
from gateway.bus.revocations import Revocations
from gateway.bus.stream_counts import StreamCounts
from gateway.bus.trips import Trips
from gateway.errors import ConfigurationError
from gateway.settings import Settings, variable
from gateway.settings.keys import IssuerSettings, KeySettings
from gateway.tasks import Tasks
from gateway.ticker import Ticker

RELOADED = frozenset(
    {
        *KeySettings.model_fields,
        "max_streams_per_organization",
        "max_streams_per_subject",
        "max_streams_per_address",
        "max_opens_per_second",
        "max_polls_per_second",
        "max_tickets_per_second",
        "max_published_events_per_subject",
        "max_published_events_per_organization",
        "max_published_bytes_per_subject",
        "max_published_bytes_per_organization",
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
        self._verifier = TokenVerifier(settings, create_issuers(settings))
        self._ownership = _ownership(settings, registry, self.revocations)
        self.policy = Policy(
            self._verifier,
            self.tickets,
            self.revocations,
            self._ownership,
            settings.ownership_wait_seconds,
            keeps_token=settings.ownership == "backend",
        )
        self.publish_policy = PublishPolicy(self._verifier, self.revocations)
        self.publish_limits = PublishLimits(settings)
        self.lists = ListAccess(
            is_backend=settings.ownership == "backend",
            url=settings.backend_list_url,
            timeout=settings.backend_timeout_seconds,
            cache_seconds=settings.backend_cache_seconds,
        )
        self.stream_counts = StreamCounts(
            redis, ticker, settings.max_streams_per_organization, settings.ownership_wait_seconds
        )
        self.quota = Quota(settings, self.stream_counts)

    @property
    def keys_problem(self) -> str | None:
        """Why tokens cannot be checked, as a sentence."""
        return next((keys.never_had for keys in self._fetched.values() if keys.never_had), None)

    @property
    def _fetched(self) -> dict[str, JwksKeys]:
        """The keys that are fetched, by URL."""
        found = [issuer.keys for issuer in self._verifier.issuers]
        return {keys.url: keys for keys in found if isinstance(keys, JwksKeys)}

    @property
    def keys_age(self) -> float:
        """Seconds since the oldest keys of an issuer were fetched; 0 if none are."""
        return max((keys.age for keys in self._fetched.values()), default=0.0)

    def storage_lost(self) -> None:
        """Redis has lost its data, registrations too."""
        if isinstance(self._ownership, RegistryOwnership):
            self._ownership.storage_lost()

    def tasks(self) -> Tasks:
        """Its background tasks."""
        return {
            "issuer's keys" + (f" {number}" if number > 1 else ""): keys.run
            for number, keys in enumerate(self._fetched.values(), 1)
        }

    def reload(self, settings: Settings) -> None:
        """Use the issuers, keys, algorithms and limits of *settings* from now on (`RELOADED`). Keys
        at a URL are fetched regularly anyway. The rest stays: who decides about an execution, and
        which claim counts, belong together.

        Raises:
            ConfigurationError: they cannot be used, and the old ones stay.
        """
        fetched = self._fetched
        issuers = create_issuers(settings, fetched)
        if {one.jwks_url for one in settings.issuers} - {None} != fetched.keys():
            raise ConfigurationError(
                [f"{variable('jwks_url')}: it has changed, and that needs a restart"]
            )
        self._verifier.replace_issuers(issuers)
        self.quota.reload(settings)
        self.publish_limits.reload(settings)

    async def stop(self) -> None:
        """Cancel what is under way; call it when the background tasks have ended."""
        await self.revocations.stop()
        await self.stream_counts.leave()
        await self.lists.stop()
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


def create_issuers(
    settings: KeySettings, fetched: Mapping[str, JwksKeys] | None = None
) -> list[Issuer]:
    """The issuers that the settings name. *fetched*: keys that are there already, by URL; new ones
    must `run`.

    Raises:
        ConfigurationError: their keys cannot be used; names the setting.
    """
    known = dict(fetched or {})
    return [
        Issuer(_create_keys(one, known), one.jwt_algorithms, one.jwt_issuer, one.jwt_audience)
        for one in settings.issuers
    ]


def _create_keys(settings: KeySettings | IssuerSettings, known: dict[str, JwksKeys]) -> Keys:
    if (url := settings.jwks_url) is not None:
        return known.setdefault(url, JwksKeys(url))
    name = "jwt_secret_file" if settings.jwt_secret_file else "jwt_secret"
    try:
        if settings.jwt_public_key_file is not None:
            name = "jwt_public_key_file"
            return FixedKeys(read_pem(settings.jwt_public_key_file, settings.jwt_algorithms))
        return secret_keys(settings.secrets)
    except ValueError as error:
        raise ConfigurationError([f"{variable(name)}: {error}"]) from None
