"""The documents' pictures: they are there, small, shown somewhere, and can be drawn again."""

import re
from pathlib import Path

from tests.pictures import PICTURES
from tests.pictures.draw import draw
from tests.readme.blocks import DOCUMENTS

MOST_BYTES = 300_000


def test_every_picture_is_small_and_shown_in_a_document() -> None:
    """SVG or PNG; that each picture of a document exists is for tests/readme."""
    text = "".join(document.read_text() for document in DOCUMENTS)
    pictures = sorted(PICTURES.iterdir())
    assert pictures
    for picture in pictures:
        assert picture.suffix in (".svg", ".png")
        assert picture.stat().st_size < MOST_BYTES, picture.name
        assert f"pictures/{picture.name}" in text, f"no document shows {picture.name}"


def test_no_picture_loads_anything() -> None:
    """An SVG has no font, picture or script of another host."""
    for picture in PICTURES.glob("*.svg"):
        found = re.findall(r"(?:href|src|url\()\s*=?\s*['\"]?(?!#)\w+:", picture.read_text())
        assert found == [], picture.name


async def test_make_pictures_draws_them(tmp_path: Path) -> None:
    """Each picture but the diagram, which is drawn by hand; faster, and with a smaller load."""
    load = ("--tabs", "5", "--executions", "1", "--events", "5", "--rate", "50")
    await draw(tmp_path, pace=20, load=load)
    drawn = {picture.name: picture for picture in tmp_path.iterdir()}
    assert set(drawn) == {picture.name for picture in PICTURES.iterdir()} - {
        "overview.svg",
        "scaling.svg",
    }
    assert "completed" in drawn["tail.svg"].read_text()
    assert drawn["page-dark.png"].read_bytes() != drawn["page-light.png"].read_bytes()
