"""A Redis whose answers get lost."""

from tests.redis_proxy import RedisProxy


class LosingProxy(RedisProxy):
    """Cuts the connection instead of the next `lose` answers."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.lose = 0

    async def may_answer(self) -> bool:
        if self.lose:
            # The command went through; its answer is lost.
            self.lose -= 1
            return False
        return True
