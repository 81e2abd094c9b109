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
    ({"GATEWAY_CORS_ORIGINS": "https://app.example.com/app"}, "GATEWAY_CORS_ORIGINS"),
    ({"GATEWAY_CORS_ORIGINS": "*, https://app.example.com"}, "GATEWAY_CORS_ORIGINS"),
    ({"REDIS_URL": "http://localhost"}, "REDIS_URL"),
    ({"GATEWAY_JWT_SECRET": "short"}, "GATEWAY_JWT_SECRET"),
    ({"GATEWAY_JWT_SECRET_FILE": "/nowhere"}, "GATEWAY_JWT_SECRET"),
    ({"GATEWAY_PROT": "1"}, "did you mean GATEWAY_PORT?"),
    ({"GATEWAY_XYZZY": "1"}, "GATEWAY_XYZZY"),
    ({"GATEWAY_CONFIG": "/nowhere.toml"}, "/nowhere.toml"),
]

WEAK = [
    # What is set beside a good secret, and the words of the sentence that says what to do.
    ({"GATEWAY_JWT_SECRET": "x" * 31}, "openssl rand -hex 32"),
    ({"GATEWAY_JWT_SECRET": ""}, "GATEWAY_JWT_SECRET_FILE, GATEWAY_JWT_PUBLIC_KEY_FILE"),
    ({"GATEWAY_JWT_ALGORITHMS": "HS256, HS512"}, "openssl rand -hex 64"),
    ({"GATEWAY_JWT_ALGORITHMS": "HS384"}, "openssl rand -hex 48"),
    ({"GATEWAY_JWT_ALGORITHMS": "HS256, RS256"}, "GATEWAY_JWT_PUBLIC_KEY_FILE"),
    ({"GATEWAY_JWT_ALGORITHMS": "none"}, "GATEWAY_JWT_ALGORITHMS"),
    ({"GATEWAY_JWT_PUBLIC_KEY_FILE": "key.pem"}, "not both"),
    ({"GATEWAY_JWKS_URL": "https://login.example/keys"}, "not both"),
    (
        {"GATEWAY_CORS_ORIGINS": "*", "GATEWAY_CORS_CREDENTIALS": "true"},
        "GATEWAY_CORS_CREDENTIALS: with \\*",
    ),
    ({"GATEWAY_CORS_HEADERS": "x-a, *"}, "GATEWAY_CORS_HEADERS: '\\*' is not the name"),
    ({"GATEWAY_CORS_HEADERS": "x-*-a"}, "GATEWAY_CORS_HEADERS: .* write it like x-tenant"),
    ({"GATEWAY_CORS_HEADERS": "x a"}, "GATEWAY_CORS_HEADERS: .* write it like x-tenant"),
    ({"GATEWAY_TOKEN_COOKIE": "a=b"}, "GATEWAY_TOKEN_COOKIE: .* write it like __Host-session"),
    ({"GATEWAY_ORGANIZATION_CLAIM": ""}, "GATEWAY_OWNERSHIP=backend"),
    ({"GATEWAY_OWNERSHIP": "backend"}, "GATEWAY_BACKEND_URL"),
    ({"GATEWAY_BACKEND_URL": "https://app.example"}, "execution_id"),
    ({"GATEWAY_BACKEND_URL": "https://app.example/{execution_id}/{secret}"}, "only .execution_id"),
    ({"GATEWAY_BACKEND_URL": "ftp://app.example/{execution_id}"}, "https://"),
    ({"GATEWAY_TRUSTED_PROXIES": "nginx"}, "GATEWAY_TRUSTED_PROXIES"),
]
WEAK_WITH_PUBLIC_KEYS = [
    ({}, "such as RS256"),
    ({"GATEWAY_JWT_ALGORITHMS": "RS256, HS256"}, "as a secret"),
    ({"GATEWAY_JWKS_URL": "http://login.example/keys"}, "use https://"),
    ({"GATEWAY_JWKS_URL": "HTTP://login.example/keys"}, "use https://"),
    ({"GATEWAY_JWKS_URL": "login.example/keys"}, "start it with https://"),
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


def test_lists_in_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_wrong_setting_is_named(
    environment: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong setting stops the start with a sentence that names it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert named in str(caught.value)


@pytest.mark.parametrize(("environment", "remedy"), WEAK)
def test_a_weak_setting_stops_the_start(
    environment: dict[str, str], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weak configuration stops the start, each with the sentence that says what to do."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=remedy):
        load()


@pytest.mark.parametrize(("environment", "remedy"), WEAK_WITH_PUBLIC_KEYS)
def test_a_weak_setting_with_public_keys_stops_the_start(
    environment: dict[str, str], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With public keys the algorithms must be named, all asymmetric, and a JWKS URL must be
    encrypted."""
    monkeypatch.delenv("GATEWAY_JWT_SECRET")
    monkeypatch.setenv("GATEWAY_JWKS_URL", "https://login.example/keys")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=remedy):
        load()


def test_strong_settings_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same settings, corrected, are accepted: every refusal above has its counterpart."""
    secret = "x" * 64
    for environment in (
        {"GATEWAY_JWT_SECRET": secret, "GATEWAY_JWT_ALGORITHMS": "HS256,HS384,HS512"},
        {"GATEWAY_JWKS_URL": "https://login.example/keys", "GATEWAY_JWT_ALGORITHMS": "ES256"},
        {"GATEWAY_JWKS_URL": "http://127.0.0.1:1/keys", "GATEWAY_JWT_ALGORITHMS": "RS256, PS256"},
        {"GATEWAY_JWT_PUBLIC_KEY_FILE": "key.pem", "GATEWAY_JWT_ALGORITHMS": "EdDSA"},
        {
            "GATEWAY_JWT_SECRET": secret,
            "GATEWAY_CORS_ORIGINS": "*",
            "GATEWAY_CORS_CREDENTIALS": "false",
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8, ::1/128",
        },
        {
            "GATEWAY_JWT_SECRET": secret,
            "GATEWAY_OWNERSHIP": "Backend",
            "GATEWAY_BACKEND_URL": "http://app.internal:8000/{organization_id}/{execution_id}",
            "GATEWAY_ORGANIZATION_CLAIM": "",
        },
    ):
        with monkeypatch.context() as patch:
            patch.delenv("GATEWAY_JWT_SECRET")
            for name, value in environment.items():
                patch.setenv(name, value)
            settings = load()
    assert settings.organization_claim == ""
    assert settings.jwt_algorithms == ("HS256",)


def test_redis_url_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL of Redis may be in a file, since it may have a password; no repr shows it."""
    file = tmp_path / "redis_url"
    file.write_text("redis://:hush@localhost:6379/0\n")
    monkeypatch.setenv("GATEWAY_REDIS_URL_FILE", str(file))
    settings = load()
    assert settings.redis_url == "redis://:hush@localhost:6379/0"
    assert "hush" not in repr(settings)
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    with pytest.raises(ConfigurationError, match="not both"):
        load()


def test_all_mistakes_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    """A file that is not TOML is named."""
    file = tmp_path / "gateway.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load(file)


def test_secret_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_no_key_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any key the start is refused with the sentence that says what to do."""
    monkeypatch.delenv("GATEWAY_JWT_SECRET")
    with pytest.raises(ConfigurationError, match="GATEWAY_JWT_SECRET_FILE"):
        load()


def test_every_setting_is_described() -> None:
    """Each setting says what it means, as a sentence."""
    for name, field in Settings.model_fields.items():
        assert name == "jwt_secret" or field.description
        assert (field.description or "x.").endswith(".")
        assert variable(name).isupper()


def test_origins_are_written_as_browsers_send_them() -> None:
    """What differs only in its spelling would match no page."""
    given = (
        "https://App.Example.com:443, HTTP://localhost:80/,https://bücher.example,http://[::1]:3000"
    )
    assert load(None, jwt_secret=SECRET, cors_origins=given).cors_origins == (
        "https://app.example.com",
        "http://localhost",
        "https://xn--bcher-kva.example",
        "http://[::1]:3000",
    )


@pytest.mark.parametrize(
    "origin",
    ["https://*.example.com", "app.example.com", "null", "https://a.example/x", "https://"],
)
def test_an_origin_that_no_page_has_is_refused(origin: str) -> None:
    """A wildcard within a name too: origins are compared as a whole."""
    with pytest.raises(ConfigurationError, match=r"GATEWAY_CORS_ORIGINS: .* (origin|each)"):
        load(None, jwt_secret=SECRET, cors_origins=origin)
