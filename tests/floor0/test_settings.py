"""Settings: environment over file over default, and all mistakes at once."""

from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.settings import Settings, load, variable

SECRET = "x" * 40

WRONG = [
    ({"GATEWAY_PORT": "eighty"}, "GATEWAY_PORT"),
    ({"GATEWAY_PORT": "70000"}, "GATEWAY_PORT"),
    ({"GATEWAY_HEARTBEAT_SECONDS": "0"}, "GATEWAY_HEARTBEAT_SECONDS"),
    ({"GATEWAY_HEARTBEAT_SECONDS": "nan"}, "GATEWAY_HEARTBEAT_SECONDS"),
    ({"GATEWAY_OWNERSHIP": "everybody"}, "GATEWAY_OWNERSHIP"),
    ({"GATEWAY_LOG_LEVEL": "loud"}, "GATEWAY_LOG_LEVEL"),
    ({"GATEWAY_TERMINAL_TYPES": " , "}, "GATEWAY_TERMINAL_TYPES"),
    ({"GATEWAY_CORS_ORIGINS": "app.example.com"}, "GATEWAY_CORS_ORIGINS"),
    ({"GATEWAY_CORS_ORIGINS": "https://app.example.com/"}, "GATEWAY_CORS_ORIGINS"),
    ({"GATEWAY_CORS_ORIGINS": "*, https://app.example.com"}, "GATEWAY_CORS_ORIGINS"),
    ({"REDIS_URL": "http://localhost"}, "REDIS_URL"),
    ({"GATEWAY_JWT_SECRET": "short"}, "GATEWAY_JWT_SECRET"),
    ({"GATEWAY_JWT_SECRET_FILE": "/nowhere"}, "GATEWAY_JWT_SECRET"),
    ({"GATEWAY_PROT": "1"}, "did you mean GATEWAY_PORT?"),
    ({"GATEWAY_XYZZY": "1"}, "GATEWAY_XYZZY"),
    ({"GATEWAY_CONFIG": "/nowhere.toml"}, "/nowhere.toml"),
]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)


def test_defaults() -> None:
    """With a secret alone, every setting has the default of the contract."""
    settings = load()
    assert settings.redis_url == "redis://localhost:6379/0"
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.ownership == "registry"
    assert settings.ownership_wait_seconds == 5
    assert settings.heartbeat_seconds == 15
    assert settings.write_timeout_seconds == 5
    assert settings.drain_seconds == 3
    assert settings.cors_origins == ()
    assert settings.event_max_bytes == 1024 * 1024


def test_environment_over_file_over_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment wins over the file, the file over the default, the command line over all."""
    file = tmp_path / "gateway.toml"
    file.write_text('port = 1111\nhost = "0.0.0.0"\nheartbeat_seconds = 7\n')
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    monkeypatch.setenv("GATEWAY_PORT", "2222")
    settings = load()
    assert (settings.port, settings.host, settings.heartbeat_seconds) == (2222, "0.0.0.0", 7)
    assert load(file, port=3333).port == 3333


def test_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is comma-separated in the environment and an array in the file."""
    file = tmp_path / "gateway.toml"
    file.write_text('terminal_types = ["done", "over"]\n')
    monkeypatch.setenv("GATEWAY_CORS_ORIGINS", "https://a.example, http://localhost:3000")
    settings = load(file)
    assert settings.terminal_types == ("done", "over")
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")


def test_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, as environment files have them, counts as not set."""
    monkeypatch.setenv("GATEWAY_JWT_ISSUER", "")
    monkeypatch.setenv("GATEWAY_PORT", "")
    settings = load()
    assert (settings.jwt_issuer, settings.port) == (None, 8080)


@pytest.mark.parametrize(("environment", "named"), WRONG)
def test_wrong(environment: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting stops the start with a sentence that names it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert named in str(caught.value)


def test_all_mistakes_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mistake is listed at once, whichever source it comes from."""
    file = tmp_path / "gateway.toml"
    file.write_text('hots = "x"\nqueue_events = 0\n')
    monkeypatch.setenv("GATEWAY_PORT", "x")
    monkeypatch.setenv("GATEWAY_JWT_SECRET", "short")
    monkeypatch.setenv("GATEWAY_OWNERSHP", "token")
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    found = "\n".join(caught.value.mistakes)
    for named in ("HOTS", "QUEUE_EVENTS", "PORT", "JWT_SECRET", "OWNERSHP"):
        assert f"GATEWAY_{named}" in found
    assert len(caught.value.mistakes) == 5


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe"])
def test_broken_file(tmp_path: Path, content: bytes) -> None:
    """A file that is not TOML is named."""
    file = tmp_path / "gateway.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load(file)


def test_secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret may stand in a file, with a line end; both places at once are refused."""
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    monkeypatch.setenv("GATEWAY_JWT_SECRET_FILE", str(file))
    with pytest.raises(ConfigurationError, match="not both"):
        load()
    monkeypatch.delenv("GATEWAY_JWT_SECRET")
    settings = load()
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == SECRET


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings nor a complaint about them shows the secret."""
    assert SECRET not in repr(load())
    monkeypatch.setenv("GATEWAY_JWT_SECRET", "hush")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert "hush" not in str(caught.value)


def test_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any key the start is refused with the sentence that mends it."""
    monkeypatch.delenv("GATEWAY_JWT_SECRET")
    with pytest.raises(ConfigurationError, match="GATEWAY_JWT_SECRET_FILE"):
        load()


def test_every_setting_is_described() -> None:
    """Each setting says what it means, as a sentence."""
    for name, field in Settings.model_fields.items():
        assert name == "jwt_secret" or field.description
        assert (field.description or "x.").endswith(".")
        assert variable(name).isupper()
