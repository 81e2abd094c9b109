"""The sample settings: they load, none is forgotten, and what they call a default is one."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigurationError
from gateway.settings import Settings, load
from tests.support import SECRET

CONFIG = Path(__file__).parents[2] / "config"
DEVELOPMENT = CONFIG / "development.toml"
PRODUCTION = CONFIG / "production.toml"


def _written_out() -> dict[str, Any]:
    """The production sample with the "#" taken away from every setting, as it says one can."""
    return tomllib.loads(
        re.sub(r'^#(?=\w+ = |  ["{]|\])', "", PRODUCTION.read_text(), flags=re.MULTILINE)
    )


def test_development() -> None:
    """The development sample loads as it stands."""
    settings = load(DEVELOPMENT)
    assert settings.redis_url == "embedded://"
    assert settings.ownership == "token"


def test_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """The production sample loads once the environment holds a secret."""
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)
    settings = load(PRODUCTION)
    assert settings.ownership == "registry"
    assert settings.cors_origins == ()
    assert settings.log_format == "json"


def test_production_holds_no_secret() -> None:
    """Without a secret from outside, that is the one thing that the production sample lacks."""
    with pytest.raises(ConfigurationError) as caught:
        load(PRODUCTION)
    [mistake] = caught.value.mistakes
    assert mistake.startswith("GATEWAY_JWT_SECRET")


def test_secret_from_file(tmp_path: Path) -> None:
    """The production sample loads with the secret in a file that it names."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    settings = load(PRODUCTION, jwt_secret_file=secret)
    assert settings.secrets == (SECRET,)


@pytest.mark.parametrize("field", Settings.model_fields)
def test_none_forgotten(field: str) -> None:
    """Every setting is in the production sample, but the secret: everybody may read that."""
    assert (field in _written_out()) == (field != "jwt_secret")


def test_commented_out_are_defaults() -> None:
    """A setting that is commented out shows its default, where it has one."""
    text = PRODUCTION.read_text()
    for field, value in _written_out().items():
        default = Settings.model_fields[field].default
        if f"\n#{field} = " in text and default is not None and field != "jwt_algorithms":
            examples = field in ("jwt_secret_file", "jwt_issuers")
            assert value == (list(default) if isinstance(default, tuple) else default) or examples


@pytest.mark.parametrize(
    "key", ["jwt_secret_file", "jwt_public_key_file", "jwks_url", "jwt_issuers"]
)
def test_all_written_out(key: str, tmp_path: Path) -> None:
    """Every value of the production sample, examples too, is one that the gateway takes, with
    either of the keys that exclude each other."""
    file = tmp_path / "file"
    given = _written_out()
    for other in {"jwt_secret_file", "jwt_public_key_file", "jwks_url", "jwt_issuers"} - {key}:
        del given[other]
    if key == "jwt_secret_file":
        file.write_text(SECRET)
        given[key] = file
    elif key == "jwt_issuers":
        for one in ("jwt_algorithms", "jwt_issuer", "jwt_audience"):
            del given[one]
    else:
        given["jwt_algorithms"] = ["RS256"]
    redis_url = tmp_path / "redis_url"
    redis_url.write_text(given.pop("redis_url"))
    Settings.model_validate({**given, "redis_url_file": redis_url})
