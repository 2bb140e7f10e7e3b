"""A fair queue: one question at a time, in turn between lanes, and within a lane between clients.

So a client who asks much waits behind itself alone, and programs that ask for ranges do not turn the page off.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PAGES, RANGES = "pages", "ranges"  # the lanes: what people look at, and what programs ask for
MAX_OF_CLIENT = 10  # questions that one client may have waiting
MAX_OF_LANE = 100  # a range of a large platform is some 0.2 s of work, and nobody waits for minutes


class Busy(Exception):
    """Too much waits already, of this client or of all; try again in some seconds."""


class FairQueue:
    """Gives turns, one at a time. For the thread of one event loop."""

    def __init__(self) -> None:
        self._lanes: dict[str, OrderedDict[str, deque[asyncio.Future[None]]]] = {
            PAGES: OrderedDict(),
            RANGES: OrderedDict(),
        }
        self._of_client: Counter[str] = Counter()
        self._of_lane: Counter[str] = Counter()
        self._is_taken = False

    @asynccontextmanager
    async def turn(self, lane: str, client: str) -> AsyncIterator[None]:
        """Inside it is the client's turn, and nobody else's. Raises Busy."""
        # safeguard: share-of-a-client
        if self._of_client[client] >= MAX_OF_CLIENT or self._of_lane[lane] >= MAX_OF_LANE:
            raise Busy
        self._of_client[client] += 1
        self._of_lane[lane] += 1
        try:
            await self._wait(lane, client)
            try:
                yield
            finally:
                self._pass_on()
        finally:
            self._of_lane[lane] -= 1
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]

    async def _wait(self, lane: str, client: str) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes[lane].setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given the turn, and will not use it
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the turn to whoever has waited longest of the next client of the next lane."""
        for lane in list(self._lanes):
            clients = self._lanes[lane]
            while clients:
                client, turns = clients.popitem(last=False)
                turn = turns.popleft()
                if turns:
                    clients[client] = turns  # behind all others
                if not turn.done():
                    self._lanes[lane] = self._lanes.pop(lane)  # safeguard: lanes-take-turns
                    turn.set_result(None)
                    return
        self._is_taken = False
