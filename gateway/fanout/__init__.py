"""From one event to the subscribers of its execution. Knows asyncio, neither Redis nor HTTP."""
