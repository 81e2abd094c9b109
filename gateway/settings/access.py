"""The settings of access: organizations, ownership, limits, origins.

The gateway does not start with a weak choice, and the message says what to do.
"""

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from gateway.settings.checks import Networks, Word, Words, check_url, normal_origin, variable
from gateway.settings.keys import KeySettings

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=0)]

_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]{1,64}", re.ASCII)
"""The name of a header or a cookie (RFC 9110, section 5.6.2)."""


class AccessSettings(KeySettings):
    """Who may watch; a part of `Settings`."""

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
    backend_list_url: str | None = Field(
        None,
        description="Asked under ownership `backend`, with the caller's own token, which "
        "executions of a list may be shown (POST, CONTRACT.md); {organization_id} is filled in. "
        "Without it there are no lists then.",
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
    cors_headers: Annotated[tuple[str, ...], Words] = Field(
        (),
        description="More request headers that these pages may send; x-name-* for all that begin "
        "with x-name-.",
    )
    token_cookie: str | None = Field(
        None,
        description="Name of a cookie whose value is a token, for pages of this origin over HTTPS "
        "and of cors_origins.",
    )
    cors_credentials: bool | None = Field(
        None,
        description="Pages of those origins may send cookies along; impossible with *. If not set, "
        "they may where there is a token_cookie.",
    )
    max_connections: Limit = Field(
        0, description="Maximum streams at once; 0 for as many as file descriptors allow."
    )
    max_streams_per_organization: Limit = Field(
        0, description="Maximum streams of one organization, over all gateways; 0 for no limit."
    )
    max_streams_per_subject: Limit = Field(
        0, description="Maximum streams of one subject of tokens; 0 for no limit."
    )
    max_streams_per_address: Limit = Field(
        0, description="Maximum streams of one client address; 0 for no limit."
    )
    max_opens_per_second: Limit = Field(
        0, description="Maximum streams that one subject may open in a second; 0 for no limit."
    )
    max_polls_per_second: Limit = Field(
        0, description="Maximum polls of one subject in a second; 0 for no limit."
    )
    max_tickets_per_second: Limit = Field(
        0, description="Maximum tickets of one subject in a second; 0 for no limit."
    )
    publish: bool = Field(
        False,
        description="Accept events by HTTP from workers whose tokens have the right to publish.",
    )
    publish_claim: str = Field(
        "scope",
        min_length=1,
        description="Claim with that right, as words in a text or as a list; a.b looks for b in a.",
    )
    publish_scope: Annotated[str, Field(min_length=1)] = Field(
        "executions:publish", description="The word in that claim that is the right to publish."
    )
    max_published_events_per_subject: Limit = Field(
        0, description="Maximum events that one subject may publish in a second; 0 for no limit."
    )
    max_published_events_per_organization: Limit = Field(
        0, description="Maximum events of one organization in a second; 0 for no limit."
    )
    max_published_bytes_per_subject: Limit = Field(
        0, description="Maximum bytes of events of one subject in a second; 0 for no limit."
    )
    max_published_bytes_per_organization: Limit = Field(
        0, description="Maximum bytes of events of one organization in a second; 0 for no limit."
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], Networks] = Field(
        (),
        description="Networks whose X-Forwarded-For is trusted; a unix socket always is.",
    )
    header_timeout_seconds: Seconds = Field(
        10.0, description="How long a new connection may take to send its request's headers."
    )

    @field_validator("organization_claim")
    @classmethod
    def _check_claim(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("ownership", "backend") != "backend":
            raise ValueError(
                "it is empty, so nothing would decide on organizations: name the claim, or set "
                f"{variable('ownership')}=backend"
            )
        return value

    @field_validator("publish_scope")
    @classmethod
    def _check_scope(cls, value: str) -> str:
        if any(character.isspace() for character in value):
            raise ValueError("it is one word: leave out white space")
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

    @field_validator("backend_list_url")
    @classmethod
    def _check_list_url(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                check_url(value.format(organization_id="x"))
            except (LookupError, AttributeError):
                raise ValueError("only {organization_id} is filled in") from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Each as browsers send it: another one would match no page."""
        if "*" in value and len(value) > 1:
            raise ValueError("* allows every origin already: write it alone, or list the origins")
        return value if value == ("*",) else tuple(dict.fromkeys(map(normal_origin, value)))

    @property
    def publish_right(self) -> tuple[str, str] | None:
        """The claim and the word in it that allow to publish; None if nobody may."""
        return (self.publish_claim, self.publish_scope) if self.publish else None

    @property
    def with_cookies(self) -> bool:
        """Whether pages of listed origins may send cookies along."""
        if self.cors_credentials is not None:
            return self.cors_credentials
        return self.token_cookie is not None

    @field_validator("cors_headers")
    @classmethod
    def _check_headers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for header in value:
            if not _TOKEN.fullmatch(header) or "*" in header[:-1] or header == "*":
                raise ValueError(
                    f"{header!r} is not the name of a header: write it like x-tenant, or "
                    "x-tenant-* for all that begin with x-tenant-"
                )
        return value

    @field_validator("token_cookie")
    @classmethod
    def _check_cookie(cls, value: str | None) -> str | None:
        if value is not None and not _TOKEN.fullmatch(value):
            raise ValueError(f"{value!r} is not the name of a cookie: write it like __Host-session")
        return value

    @field_validator("cors_credentials")
    @classmethod
    def _check_credentials(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value and "*" in info.data.get("cors_origins", ()):
            raise ValueError(
                f"with * in {variable('cors_origins')} any page could use its visitor's "
                "credentials: list the exact origins, or set this to false"
            )
        return value
