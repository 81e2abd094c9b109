"""`python -m tests.pictures`, which is `make pictures`: draws the documents' pictures again."""

import asyncio

from tests.pictures import PICTURES
from tests.pictures.draw import draw

if __name__ == "__main__":
    asyncio.run(draw(PICTURES))
