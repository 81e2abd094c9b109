"""The pictures of the documents."""

from pathlib import Path

PICTURES = Path(__file__).parents[2] / "gateway" / "pictures"
