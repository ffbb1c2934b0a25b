"""Writers, which post messages through nginx and retry each one, and watchers, which record a room's occupancy."""

import asyncio
import random
from collections.abc import Callable

import httpx

from faults.clients.person import Person
from faults.judge import records
from faults.judge.records import Recorder, now
from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_contracts import errors
from gifchat_contracts.identity import MEMBERSHIP_HEADER
from gifchat_testkit.waiting import until

TIMEOUT_S = 10.0
MEMBERSHIP_TIMEOUT_S = 30.0
_MAX_BACKOFF_S = 1.0


class Writer:
    """Posts one message after the other at random moments, on average `per_s` per second.

    Each message has its own `client_message_id`, and is sent again until the answer is a 201 or a final refusal.
    """

    def __init__(
        self,
        name: str,
        person: Person,
        room: str,
        membership: Callable[[], str | None],
        *,
        recorder: Recorder,
        rng: random.Random,
        per_s: float,
    ) -> None:
        """`membership` returns the user's newest membership; the writer waits until there is one."""
        self.name = name
        self.person = person
        self.room = room
        self.acknowledged = 0
        self._membership = membership
        self._recorder = recorder
        self._rng = rng
        self._per_s = per_s
        self._sent = 0
        self._finishing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Post until `finish`."""
        self._task = asyncio.create_task(self._write_on(), name=f"writer {self.name}")

    async def finish(self, timeout_s: float) -> None:
        """Start no new message, and wait for the last acknowledgement; give it up after `timeout_s`."""
        self._finishing.set()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=timeout_s)
            await cancel_until_done(self._task)
            if done:
                self._task.result()
        self._recorder.close()

    async def post(self, key: str, text: str) -> bool:
        """Post a message until it is acknowledged; return False if a refusal is final."""
        number = 0
        try:
            while True:
                number += 1
                self._recorder.write(records.Attempt(t=now(), room=self.room, key=key, number=number))
                if (answered := await self._attempt(key, text)) is not None:
                    return answered
                await asyncio.sleep(min(_MAX_BACKOFF_S, 0.05 * 2 ** (number - 1)) * self._rng.uniform(0.5, 1.0))
        except asyncio.CancelledError:
            self._recorder.write(records.GaveUp(t=now(), room=self.room, key=key))
            raise

    async def _write_on(self) -> None:
        await until(lambda: self._membership() is not None, MEMBERSHIP_TIMEOUT_S, "a membership to write with")
        while not self._finishing.is_set():
            self._sent += 1
            await self.post(f"{self.name}-{self._sent}", f"{self.name} says {self._sent}")
            try:
                async with asyncio.timeout(self._rng.expovariate(self._per_s)):
                    await self._finishing.wait()
            except TimeoutError:
                continue

    async def _attempt(self, key: str, text: str) -> bool | None:
        """Return True if acknowledged, False if refused for good, None to retry."""
        try:
            answer = await self.person.http.post(
                f"/api/v1/rooms/{self.room}/messages",
                json={"client_message_id": key, "text": text},
                headers={MEMBERSHIP_HEADER: self._membership() or ""},
                timeout=TIMEOUT_S,
            )
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            self._not_acked(key, 0, type(error).__name__)
            return None
        if answer.status_code == httpx.codes.CREATED:
            self.acknowledged += 1
            self._recorder.write(
                records.Acked(t=now(), room=body["room"], key=key, epoch=body["epoch"], seq=body["seq"])
            )
            return True
        self._not_acked(key, answer.status_code, str(body.get("code", "")))
        if body.get("code") == errors.NOT_A_MEMBER.code:
            return False  # The user has lost the seat. Only the reader can take one again, and the room may be full.
        return None if body.get("retry", True) else False

    def _not_acked(self, key: str, status: int, code: str) -> None:
        self._recorder.write(records.NotAcked(t=now(), room=self.room, key=key, status=status, code=code))


class Watcher:
    """Asks for a room's occupancy several times a second, and records it."""

    def __init__(self, person: Person, room: str, recorder: Recorder, every_s: float = 0.25) -> None:
        self.members: int | None = None
        """The occupancy in the last answer."""
        self._person = person
        self.room = room
        self._recorder = recorder
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Ask until `finish`."""
        self._task = asyncio.create_task(self._watch(), name=f"watch {self.room}")

    async def finish(self) -> None:
        """Stop asking."""
        if self._task is not None:
            await cancel_until_done(self._task)
            if not self._task.cancelled():
                self._task.result()
        self._recorder.close()

    async def _watch(self) -> None:
        while True:
            try:
                answer = await self._person.http.get(f"/api/v1/rooms/{self.room}", timeout=2.0)
                body = answer.json()
            except (httpx.HTTPError, ValueError):
                body = None
            if body is not None and answer.status_code == httpx.codes.OK:
                self.members = int(body["members"])
                self._recorder.write(records.Occupancy(t=now(), room=self.room, members=self.members))
            await asyncio.sleep(self._every_s)
