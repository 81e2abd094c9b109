"""REDIS_URL: what it may be, and that every mistake is found before anything is connected."""

from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.settings import load
from gateway.settings.redis_url import parse_sentinel_url, shown
from tests.base.test_settings import SECRET

SECRETS = ("hush", "pssst")

RIGHT = [
    "redis://localhost:6379/0",
    "redis://user:hush@redis.example.com",
    "redis:///1",
    "redis://[::1]:6379/0?client_name=gateway",
    "rediss://user:hu%2Fsh@redis.example.com:6380/0?ssl_check_hostname=false",
    "redis://localhost:6379/0?protocol=2&health_check_interval=5",
    "unix:///run/redis/redis.sock?db=2",
    "unix://user:hush@/run/redis/redis.sock",
    "embedded://",
    "redis+sentinel://one/events",
    "redis+sentinel://user:hush@one:26379,[::1]:26380,three/events/1",
    "rediss+sentinel://one,two/events?sentinel_password=pssst&ssl_cert_reqs=none",
]

WRONG = [
    ("localhost:6379", "start it with one of"),
    ("http://user:hush@localhost", "start it with one of"),
    ("redis://:hush/pssst@localhost/0", "special character of the password"),
    ("redis://:[hush@localhost/0", "special character of the password"),
    ("redis://localhost:hush/0", "special character of the password"),
    ("redis://localhost:6379/hush", "number of a database"),
    ("redis://localhost/0?protocol=3", "there: protocol (leave it out, since it changes what"),
    ("redis://localhost/0?socket_timeout=3", "socket_timeout (leave it out, since the gateway has"),
    (
        "redis://localhost/0?max_connections=3",
        "max_connections (leave it out; the gateway's own is",
    ),
    ("redis://localhost/0?ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs (start the URL with rediss://"),
    ("rediss://localhost/0?ssl_cert_reqs=CERT_SOME", "ssl_cert_reqs"),
    ("redis://localhost/0?ssl_ca_certs=/nowhere", "not supported there: ssl_ca_certs"),
    ("redis://localhost/0?sentinel_password=hush", "not supported there: sentinel_password"),
    ("redis://localhost/0?health_check_interval=hush", "health_check_interval"),
    ("rediss://:hush@localhost?ssl_ca_certs=/nowhere", "ssl_ca_certs names /nowhere"),
    ("rediss://:hush@localhost?ssl_cert_reqs=some", "ssl_cert_reqs"),
    ("unix://run/redis.sock", "three slashes"),
    ("unix://", "three slashes"),
    ("redis+sentinel://:hush@one:26379", "name the master"),
    ("redis+sentinel://:hush@one:26379/", "name the master"),
    ("redis+sentinel://:hush@one:26379/events/pssst", "number of a database"),
    ("redis+sentinel://:hush@one:26379,/events", "special character of the password"),
    ("redis+sentinel://:hush@one:port/events", "special character of the password"),
    ("redis+sentinel://:hush@one/events?sentinel=pssst", "not supported there: sentinel"),
    ("redis+sentinel://one/events?ssl_ca_certs=/nowhere", "not supported there: ssl_ca_certs"),
    ("rediss+sentinel://:hush@one/events?ssl_ca_certs=/nowhere", "ssl_ca_certs names /nowhere"),
]


@pytest.mark.parametrize("url", RIGHT)
def test_valid_urls_are_accepted(url: str) -> None:
    """Each form that is promised is taken as it is."""
    assert load(None, redis_url=url, jwt_secret=SECRET).redis_url == url


@pytest.mark.parametrize(("url", "remedy"), WRONG)
def test_an_invalid_url_is_explained_without_its_password(
    url: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake is one of the settings, names REDIS_URL and what to do, and shows no password."""
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(ConfigurationError) as caught:
        load(None, jwt_secret=SECRET)
    [mistake] = caught.value.mistakes
    assert mistake.startswith("REDIS_URL: ")
    assert remedy in mistake
    assert not any(secret in mistake for secret in SECRETS)


@pytest.mark.parametrize(
    ("celerys", "meant"),
    [("CERT_NONE", "none"), ("CERT_OPTIONAL", "optional"), ("ssl.CERT_REQUIRED", "required")],
)
def test_celerys_words_for_certificates_are_understood(celerys: str, meant: str) -> None:
    url = "rediss://localhost/0?ssl_cert_reqs={}&db=1"
    given = url.format(celerys)
    assert load(None, redis_url=given, jwt_secret=SECRET).redis_url == url.format(meant)


def test_a_bad_certificate_is_found_at_the_start(tmp_path: Path) -> None:
    """A file that is no certificate is found at the start, not at the first connection."""
    file = tmp_path / "authority.pem"
    file.write_text("nothing\n")
    with pytest.raises(ConfigurationError, match="TLS cannot be set up with ssl_ca_certs"):
        load(None, redis_url=f"rediss://localhost?ssl_ca_certs={file}", jwt_secret=SECRET)


def test_sentinel_url_is_parsed() -> None:
    """A Sentinel URL says where the sentinels are and who may ask them, and nothing that is meant
    for them goes to the master, nor the other way round."""
    url = parse_sentinel_url(
        "rediss+sentinel://user:hush@one,two:26380/my%20events/3"
        "?sentinel_username=asking&sentinel_password=pssst&ssl_check_hostname=no"
    )
    assert url.sentinels == (("one", 26379), ("two", 26380))
    assert url.master == "my events"
    assert url.tls
    assert url.options == {
        "username": "user",
        "password": "hush",
        "db": 3,
        "ssl_check_hostname": False,
    }
    assert url.sentinel_options == {
        "username": "asking",
        "password": "pssst",
        "ssl_check_hostname": False,
    }
    assert not any(secret in repr(url) for secret in SECRETS)


def test_messages_show_no_password() -> None:
    """What a banner shows says where Redis is, and no secret."""
    assert shown("unix://user:hush@/run/redis.sock?password=pssst") == "unix:///run/redis.sock"
    assert shown("redis+sentinel://:hush@one,two/events?sentinel_password=pssst") == (
        "redis+sentinel://one,two/events"
    )
