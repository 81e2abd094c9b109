"""Builds what verifies tokens from the settings; anew on SIGHUP, when key files are read again.

Whatever is wrong is raised before anything is replaced, so a gateway that runs keeps its keys.
"""

from gateway.access.jwks import JwksKeys
from gateway.access.keys import FixedKeys, Keys, secret_keys
from gateway.access.pem import read_pem
from gateway.access.tokens import TokenRules, TokenVerifier
from gateway.errors import ConfigurationError
from gateway.settings import Settings, variable


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
