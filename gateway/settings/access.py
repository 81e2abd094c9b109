"""The settings of access: keys, organizations, ownership, limits, origins.

The gateway does not start with a weak choice, and the message says what to do.
"""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from gateway.settings.checks import (
    Networks,
    Word,
    Words,
    check_url,
    is_loopback,
    read_text,
    variable,
)

MIN_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""A key is at least as long as its hash (RFC 7518, section 3.2)."""

Algorithm = Literal[
    "HS256", "HS384", "HS512",
    "RS256", "RS384", "RS512", "PS256",
    "ES256", "ES384", "EdDSA",
]  # fmt: skip

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=0)]

_KEY_SOURCES = ("jwt_secret_file", "jwt_public_key_file", "jwks_url")


class AccessSettings(BaseModel):
    """Who may watch; a part of `Settings`."""

    # Deferred: a validator of this part alone would be built, and never used.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    jwt_secret_file: Path | None = Field(
        None, description="File with the HS secret, for systemd credentials."
    )
    jwt_public_key_file: Path | None = Field(
        None, description="PEM file with the issuer's public key, or several; read again on SIGHUP."
    )
    jwks_url: str | None = Field(
        None, description="Where the issuer publishes its public keys (a JWK set)."
    )
    jwt_secret: SecretStr | None = Field(
        None, validate_default=True, description="Secret that HS tokens are signed with."
    )
    jwt_algorithms: Annotated[tuple[Algorithm, ...], Words] = Field(
        (),
        validate_default=True,
        description="Algorithms that tokens may be signed with; HS256 if not set and a secret is.",
    )
    jwt_issuer: str | None = Field(None, description="Required `iss` of a token, if set.")
    jwt_audience: str | None = Field(None, description="Required `aud` of a token, if set.")
    jwt_leeway_seconds: float = Field(
        10.0, ge=0, le=300, description="Clock difference allowed when a token's times are read."
    )
    ownership: Annotated[Literal["registry", "backend", "token"], Word] = Field(
        "registry",
        description="What decides who may see an execution: its registration, your backend, or any "
        "valid token.",
    )
    ownership_wait_seconds: Seconds = Field(
        5.0, description="How long a request waits for a registration, or for Redis."
    )
    organization_claim: str = Field(
        "organization_id",
        description="Claim with the organization, or a list of them; a.b looks for b in a. "
        "Empty: the backend decides.",
    )
    backend_url: str | None = Field(
        None,
        validate_default=True,
        description="Asked under ownership `backend`: {execution_id} and {organization_id} are "
        "filled in, and the caller's own credentials are sent along.",
    )
    backend_timeout_seconds: Seconds = Field(
        3.0, description="How long the backend may take to answer."
    )
    backend_cache_seconds: float = Field(
        5.0, ge=0, le=300, description="How long the backend's yes is remembered; a no at most 1."
    )
    cors_origins: Annotated[tuple[str, ...], Words] = Field(
        (), description="Exact origins whose pages may read; * for all, without credentials."
    )
    cors_credentials: bool = Field(
        True,
        validate_default=True,
        description="Pages of those origins may send cookies along; impossible with *.",
    )
    max_connections: Limit = Field(
        0, description="Most streams at once; 0 for as many as file descriptors allow."
    )
    max_streams_per_organization: Limit = Field(
        0, description="Most streams of one organization, over all gateways; 0 for any number."
    )
    max_streams_per_subject: Limit = Field(
        0, description="Most streams of one subject of tokens; 0 for any number."
    )
    max_streams_per_address: Limit = Field(
        0, description="Most streams of one client address; 0 for any number."
    )
    max_opens_per_second: Limit = Field(
        0, description="Most streams that one subject may open in a second; 0 for any number."
    )
    max_polls_per_second: Limit = Field(
        0, description="Most polls of one subject in a second; 0 for any number."
    )
    max_tickets_per_second: Limit = Field(
        0, description="Most tickets of one subject in a second; 0 for any number."
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], Networks] = Field(
        (),
        description="Networks whose X-Forwarded-For is believed; over a unix socket it always is.",
    )
    header_timeout_seconds: Seconds = Field(
        10.0, description="How long a new connection may take to send its request's headers."
    )

    @field_validator("jwks_url")
    @classmethod
    def _check_jwks_url(cls, value: str | None) -> str | None:
        if value is not None:
            check_url(value)
            parts = urlsplit(value)
            if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                raise ValueError("anyone on the network path could replace the keys: use https://")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """The secret itself, or the content of its file; a secret or public keys, not both."""
        sources = [name for name in _KEY_SOURCES if info.data.get(name) is not None]
        if len(sources) + (value is not None) > 1:
            given = ", ".join(variable(name) for name in sources)
            also = f"this or {given}" if value is not None else f"one of {given}"
            raise ValueError(
                f"tokens are checked with one kind of key: set either {also}, not both"
            )
        if info.data.get("jwt_secret_file") is not None:
            value = SecretStr(read_text(info.data["jwt_secret_file"]))
        if value is None and not sources and info.data.keys() >= set(_KEY_SOURCES):
            raise ValueError(
                "no key to check tokens with: set this or "
                + ", ".join(variable(name) for name in _KEY_SOURCES)
            )
        if value is not None:
            _check_length(value, "HS256")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _check_algorithms(
        cls, value: tuple[Algorithm, ...], info: ValidationInfo
    ) -> tuple[Algorithm, ...]:
        """Only algorithms of the kind of key that is set (RFC 8725, section 3.1)."""
        secret: SecretStr | None = info.data.get("jwt_secret")
        if "jwt_secret" not in info.data:
            return value
        symmetric = {name for name in value if name in MIN_SECRET_BYTES}
        if secret is None:
            if not value or symmetric:
                raise ValueError(
                    "name the algorithms that your issuer signs with, such as RS256; HS algorithms "
                    "would use the public key as a secret"
                )
            return value
        if set(value) - symmetric:
            raise ValueError(
                "with a secret only HS256, HS384 and HS512 are possible; for the others set "
                f"{variable('jwt_public_key_file')} or {variable('jwks_url')}"
            )
        value = value or ("HS256",)
        for name in value:
            _check_length(secret, name)
        return value

    @field_validator("organization_claim")
    @classmethod
    def _check_claim(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("ownership", "backend") != "backend":
            raise ValueError(
                "it is empty, so nothing would decide on organizations: name the claim, or set "
                f"{variable('ownership')}=backend"
            )
        return value

    @field_validator("backend_url")
    @classmethod
    def _check_backend_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            if info.data.get("ownership") == "backend":
                raise ValueError(
                    "ownership `backend` needs it: set it like "
                    "https://app.example.com/may-watch/{execution_id}"
                )
            return None
        if "{execution_id}" not in value:
            raise ValueError("it must contain {execution_id}")
        try:
            check_url(value.format(execution_id="x", organization_id="x"))
        except (LookupError, AttributeError):
            raise ValueError("only {execution_id} and {organization_id} are filled in") from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            exact = (
                parts.scheme in ("http", "https") and origin == f"{parts.scheme}://{parts.netloc}"
            )
            if origin != "*" and not exact:
                raise ValueError(
                    f"{origin!r} is not an origin: write it like https://app.example.com"
                )
        if "*" in value and len(value) > 1:
            raise ValueError("* allows every origin already: write it alone, or list the origins")
        return value

    @field_validator("cors_credentials")
    @classmethod
    def _check_credentials(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "*" in info.data.get("cors_origins", ()):
            raise ValueError(
                f"with * in {variable('cors_origins')} any page could use its visitor's "
                "credentials: list the exact origins, or set this to false"
            )
        return value


def _check_length(secret: SecretStr, algorithm: str) -> None:
    least = MIN_SECRET_BYTES[algorithm]
    if len(secret.get_secret_value().encode()) < least:
        raise ValueError(
            f"the secret is shorter than {least} bytes, so {algorithm} can be broken (RFC 7518, "
            f"section 3.2): make one with `openssl rand -hex {least}`"
        )
