"""systemd's credentials: secrets in files that only the gateway's user may read."""

from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.settings import Settings, load
from tests.support import SECRET

OTHER = "another" + SECRET
REDIS = "redis://:hush@127.0.0.1:6379/0"


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a service to which both were passed by systemd."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "jwt_secret").write_text(SECRET + "\n")
    (directory / "redis_url").write_text(REDIS + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    return directory


def secret(settings: Settings) -> str:
    assert settings.jwt_secret is not None
    return settings.jwt_secret.get_secret_value()


def test_credentials_are_used(credentials: Path) -> None:
    """The secret and the URL of Redis that systemd passes are used, if nothing else is set; other
    files there are ignored."""
    (credentials / "port").write_text("1")
    settings = load()
    assert (secret(settings), settings.redis_url, settings.port) == (SECRET, REDIS, 8080)


@pytest.mark.usefixtures("credentials")
def test_file_and_environment_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over the file, and the file over what systemd passes, whether they give
    the value or another file."""
    secret_file = tmp_path / "secret"
    secret_file.write_text(OTHER)
    config = tmp_path / "gateway.toml"
    config.write_text(f'jwt_secret_file = "{secret_file}"\nredis_url = "redis://file"\n')
    settings = load(config)
    assert (secret(settings), settings.redis_url) == (OTHER, "redis://file")
    monkeypatch.setenv("REDIS_URL", "redis://environment")
    assert load(config).redis_url == "redis://environment"
    monkeypatch.setenv("GATEWAY_JWT_SECRET", OTHER)
    assert secret(load()) == OTHER


def test_an_empty_credential_is_none(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty line, which the unit gives where there is no file, is no credential."""
    for name in ("jwt_secret", "redis_url"):
        (credentials / name).write_text("\n")
    with pytest.raises(ConfigurationError, match="no key to check tokens with"):
        load()
    monkeypatch.setenv("GATEWAY_JWT_SECRET", OTHER)
    assert load().redis_url == "redis://localhost:6379/0"


@pytest.mark.parametrize("keys", ["GATEWAY_JWKS_URL", "GATEWAY_JWT_PUBLIC_KEY_FILE"])
def test_two_kinds_of_key_are_a_mistake(
    credentials: Path, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret beside public keys is a mistake, said once, that names where each comes from;
    without the secret the same settings are none."""
    monkeypatch.setenv(keys, "https://login.example/keys")
    monkeypatch.setenv("GATEWAY_JWT_ALGORITHMS", "RS256")
    with pytest.raises(ConfigurationError) as caught:
        load()
    [mistake] = caught.value.mistakes
    assert mistake.startswith(f"{keys} is set, and systemd passes the credential jwt_secret")
    (credentials / "jwt_secret").unlink()
    assert load().jwt_secret is None


def test_a_credential_is_checked(credentials: Path) -> None:
    """What is passed by systemd is checked like anything else, and no mistake repeats it."""
    (credentials / "jwt_secret").write_text("hush")
    with pytest.raises(ConfigurationError, match="GATEWAY_JWT_SECRET: the secret is sh") as caught:
        load()
    assert "hush" not in str(caught.value)


def test_an_unreadable_credential_is_named(credentials: Path) -> None:
    """A credential that cannot be read is named, and why."""
    (credentials / "redis_url").unlink()
    (credentials / "redis_url").mkdir()
    with pytest.raises(ConfigurationError, match="redis_url cannot be read: Is a directory"):
        load()
