import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gifchat_chassis import revocations
from gifchat_chassis.revocations import (
    KEPT_S,
    OVERLAP_MS,
    FollowRevocations,
    Revocation,
    RevocationsUnavailableError,
    RevokedSessions,
    page_from_json,
    page_to_json,
)
from gifchat_contracts.identity import SESSION_TTL_S
from gifchat_contracts.ids import UserId
from gifchat_testkit.virtual_time import VirtualTimeLoop

ANNE, BOB, CARL = (UserId(digit * 24) for digit in "abc")
DAY_MS = 24 * 3_600_000


class Store:
    """A list of revocations that records what was asked for."""

    def __init__(self) -> None:
        self.revocations: list[Revocation] = []
        self.asked: list[int] = []
        self.down = False

    async def since(self, at_ms: int) -> Sequence[Revocation]:
        self.asked.append(at_ms)
        if self.down:
            raise RevocationsUnavailableError("down")
        return [each for each in self.revocations if each.at_ms >= at_ms][: revocations.PAGE_MAX]


def test_a_revocation_is_known_until_no_cookie_of_its_session_can_be_valid() -> None:
    now_s = 1_000_000.0
    revoked = RevokedSessions(lambda: now_s)
    assert ANNE not in revoked
    assert revoked.add(Revocation(ANNE, int(now_s * 1_000)))
    assert not revoked.add(Revocation(ANNE, int(now_s * 1_000) + 5))
    revoked.add(Revocation(BOB, int(now_s * 1_000) + DAY_MS))
    now_s += SESSION_TTL_S + 60
    revoked.forget_expired()
    assert ANNE in revoked
    now_s = 1_000_000.0 + KEPT_S + 1
    revoked.forget_expired()
    assert (ANNE in revoked, BOB in revoked, len(revoked)) == (False, True, 1)


async def test_only_new_revocations_are_read_and_told_once() -> None:
    store, revoked, told = Store(), RevokedSessions(lambda: 0.0), list[UserId]()
    follow = FollowRevocations(revoked, store.since, 1.0, told.append)
    store.revocations = [Revocation(ANNE, 7 * DAY_MS)]
    await follow.catch_up()
    store.revocations.append(Revocation(BOB, 7 * DAY_MS - OVERLAP_MS))
    await follow.catch_up()
    await follow.catch_up()
    assert told == [ANNE, BOB], "a revocation that became readable late is not missed"
    assert store.asked == [0, 7 * DAY_MS - OVERLAP_MS, 7 * DAY_MS - OVERLAP_MS]


async def test_all_pages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "PAGE_MAX", 2)
    store, revoked = Store(), RevokedSessions(lambda: 0.0)
    store.revocations = [Revocation(UserId(f"{number:024x}"), 5 + number // 2) for number in range(9)]
    await FollowRevocations(revoked, store.since, 1.0).catch_up()
    assert len(revoked) == 9


def test_a_store_that_is_down_is_asked_again() -> None:
    async def follow() -> None:
        store, revoked = Store(), RevokedSessions(lambda: 0.0)
        store.revocations, store.down = [Revocation(ANNE, 5)], True
        task = asyncio.create_task(FollowRevocations(revoked, store.since, 2.0).run())
        await asyncio.sleep(5)
        assert ANNE not in revoked
        store.down = False
        await asyncio.sleep(2)
        assert ANNE in revoked
        task.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(follow())


def test_a_page_survives_json() -> None:
    page = [Revocation(ANNE, 1), Revocation(CARL, 2)]
    assert page_from_json(page_to_json(page)) == page


@pytest.mark.parametrize("answer", [None, [], {}, {"revoked": 1}, {"revoked": [[ANNE]]}, {"revoked": [["x", 1]]}])
def test_another_answer_is_refused(answer: Any) -> None:
    with pytest.raises(RevocationsUnavailableError):
        page_from_json(answer)
