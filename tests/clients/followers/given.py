"""What a follower in Python is given, and what it tells, a line of JSON at a time."""

import os

URL = os.environ["STREAM_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}", "X-Organization-ID": "acme"}
TYPES = ("step:started", "execution:completed")


def say(data: str) -> None:
    """An event, as the gateway sent it."""
    print(data.strip(), flush=True)


def again() -> None:
    """It is this program, and not the library, that connects again."""
    print('{"again": true}', flush=True)


def over(who: str) -> None:
    """Nothing will follow: who has noticed?"""
    print(f'{{"over": "{who}"}}', flush=True)
