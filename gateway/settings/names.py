"""What a setting is called in the environment."""

PREFIX = "GATEWAY_"
CONFIG_VARIABLE = "GATEWAY_CONFIG"


def variable(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return "REDIS_URL" if field == "redis_url" else PREFIX + field.upper()
