"""The settings of keys: what a token must be signed with, and by which issuer."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from gateway.settings.checks import Paths, Words, check_url, is_loopback, read_text, variable

T = TypeVar("T")

MAX_TRIED = 8
"""Most keys that one token is tried with, which bounds the cost of an untrusted token."""

MIN_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""A key is at least as long as its hash (RFC 7518, section 3.2)."""

Algorithm = Literal[
    "HS256", "HS384", "HS512",
    "RS256", "RS384", "RS512", "PS256",
    "ES256", "ES384", "EdDSA",
]  # fmt: skip

_SOURCES = ("jwt_secret_file", "jwt_public_key_file", "jwks_url")


class _Keys(BaseModel):
    # Deferred: a validator of this part alone would be built, and never used.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    # First: the checks of the others look at it.
    jwt_issuers: tuple[Any, ...] = Field((), max_length=0, repr=False)
    jwt_secret_file: Annotated[tuple[Path, ...], Paths] = Field(
        (),
        description="File with the HS secret, or several secrets, one per line, or several files; "
        "for systemd credentials. Read again on SIGHUP.",
    )
    jwt_public_key_file: Path | None = Field(
        None, description="PEM file with the issuer's public key, or several; read again on SIGHUP."
    )
    jwks_url: str | None = Field(
        None, description="Where the issuer publishes its public keys (a JWK set)."
    )
    jwt_secret: SecretStr | None = Field(
        None,
        validate_default=True,
        description="Secret that HS tokens are signed with, or several, one per line: all are "
        "valid, and the first one signs.",
    )
    jwt_algorithms: Annotated[tuple[Algorithm, ...], Words] = Field(
        (),
        validate_default=True,
        description="Algorithms that tokens may be signed with; HS256 if not set and a secret is.",
    )
    jwt_issuer: str | None = Field(None, description="Required `iss` of a token, if set.")
    jwt_audience: str | None = Field(None, description="Required `aud` of a token, if set.")

    @property
    def secrets(self) -> tuple[str, ...]:
        """All secrets, each once; the first one signs."""
        return split_secrets(self.jwt_secret.get_secret_value() if self.jwt_secret else "")

    @field_validator("jwks_url")
    @classmethod
    def _check_jwks_url(cls, value: str | None) -> str | None:
        if value is not None:
            check_url(value)
            parts = urlsplit(value)
            if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                raise ValueError("anyone on the network path could replace the keys: use https://")
        return value

    @field_validator("jwt_secret", mode="before")
    @classmethod
    def _join_secrets(cls, value: object) -> object:
        """A file may have an array."""
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return "\n".join(value)
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """The secrets themselves, or the content of their files; not beside public keys."""
        sources = [name for name in _SOURCES if info.data.get(name)]
        if info.data.get("jwt_issuers"):
            if sources or value is not None:
                raise ValueError(
                    f"each issuer has its own keys: move this into a table of "
                    f"{variable('jwt_issuers')}"
                )
            return None
        if len(sources) + (value is not None) > 1:
            given = ", ".join(variable(name) for name in sources)
            also = f"this or {given}" if value is not None else f"one of {given}"
            raise ValueError(
                f"tokens are checked with one kind of key: set either {also}, not both"
            )
        if files := info.data.get("jwt_secret_file"):
            lines = "\n".join(map(read_text, files)).splitlines()
            value = SecretStr("\n".join(line.strip() for line in lines))
        if value is None and not sources and info.data.keys() >= {*_SOURCES, "jwt_issuers"}:
            raise ValueError(
                "no key to check tokens with: set this or "
                + ", ".join(variable(name) for name in _SOURCES)
            )
        if value is not None:
            _check_lengths(value, "HS256")
            if len(split_secrets(value.get_secret_value())) > MAX_TRIED:
                raise ValueError(f"there are more than {MAX_TRIED} secrets: remove old ones")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _check_algorithms(
        cls, value: tuple[Algorithm, ...], info: ValidationInfo
    ) -> tuple[Algorithm, ...]:
        """Only algorithms of the kind of key that is set (RFC 8725, section 3.1)."""
        if "jwt_secret" not in info.data or info.data.get("jwt_issuers", True):
            return value
        secret: SecretStr | None = info.data["jwt_secret"]
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
            _check_lengths(secret, name)
        return value

    @field_validator("jwt_algorithms", "jwt_issuer", "jwt_audience")
    @classmethod
    def _check_place(cls, value: T, info: ValidationInfo) -> T:
        if value and info.data.get("jwt_issuers"):
            raise ValueError(
                f"each issuer has its own: move this into the tables of {variable('jwt_issuers')}"
            )
        return value


class IssuerSettings(_Keys):
    """One issuer of several: a table of `jwt_issuers`."""

    jwt_issuer: Annotated[str, Field(min_length=1)]


def _tables(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("write it in the TOML file, as a table for each issuer")  # noqa: TRY004
    return value


class KeySettings(_Keys):
    """What tokens are checked with; a part of `AccessSettings`."""

    jwt_issuers: Annotated[tuple[IssuerSettings, ...], BeforeValidator(_tables)] = Field(
        (),
        description="Several issuers, only in the TOML file: a table for each, with its "
        "jwt_issuer, its own keys, jwt_algorithms and jwt_audience.",
    )

    @property
    def issuers(self) -> tuple["IssuerSettings | KeySettings", ...]:
        """`jwt_issuers`, or the one that the other settings describe."""
        return self.jwt_issuers or (self,)

    @field_validator("jwt_issuers")
    @classmethod
    def _check_issuers(cls, value: tuple[IssuerSettings, ...]) -> tuple[IssuerSettings, ...]:
        if len(value) > len({one.jwt_issuer for one in value}):
            raise ValueError("two tables have the same jwt_issuer: name each issuer once")
        return value


def split_secrets(text: str) -> tuple[str, ...]:
    """The secrets in *text*, one a line, each once."""
    lines = [line for line in text.split("\n") if line.strip()]
    # One secret is used to the letter, also with a line break at its end. A key in PEM format is
    # not several secrets: `access.keys` refuses it.
    if len(lines) < 2 or "-----BEGIN" in text:
        return (text,) if text else ()
    return tuple(dict.fromkeys(lines))


def _check_lengths(secrets: SecretStr, algorithm: str) -> None:
    least = MIN_SECRET_BYTES[algorithm]
    given = split_secrets(secrets.get_secret_value()) or ("",)
    for number, secret in enumerate(given, start=1):
        if len(secret.encode()) < least:
            which = "the secret" if len(given) == 1 else f"secret {number} of {len(given)}"
            raise ValueError(
                f"{which} is shorter than {least} bytes, so {algorithm} can be broken (RFC 7518, "
                f"section 3.2): make one with `openssl rand -hex {least}`"
            )
