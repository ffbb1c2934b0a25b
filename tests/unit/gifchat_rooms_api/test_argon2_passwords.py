import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from gifchat_rooms_api.adapters.argon2_passwords import Argon2Passwords
from gifchat_rooms_api.ports import PasswordsBusyError


@pytest.fixture
async def passwords() -> AsyncIterator[Argon2Passwords]:
    made = Argon2Passwords(workers=2, max_waiting=3)
    yield made
    await made.aclose()


async def test_only_the_password_matches_its_hash(passwords: Argon2Passwords) -> None:
    hashed = await passwords.hash("고양이 🐈")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.matches("고양이 🐈", hashed)
    assert not await passwords.matches("고양이", hashed)
    assert not await passwords.matches("", hashed)
    assert await passwords.hash("고양이 🐈") != hashed


@pytest.mark.parametrize("stored", ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$x", "$2b$12$abc"])
async def test_an_invalid_hash_matches_no_password(passwords: Argon2Passwords, stored: str) -> None:
    assert not await passwords.matches("plain", stored)


async def test_running_and_waiting_hashes_are_bounded(passwords: Argon2Passwords) -> None:
    before = set(threading.enumerate())
    outcomes = await asyncio.gather(*(passwords.hash("x") for _ in range(12)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, PasswordsBusyError)]
    assert len(refused) == 12 - (2 + 3)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 2 + 3
    assert sum(thread.name.startswith("argon2") for thread in set(threading.enumerate()) - before) == 2


async def test_cancelled_callers_give_their_slots_back(passwords: Argon2Passwords) -> None:
    for _ in range(4):
        tasks = [asyncio.create_task(passwords.hash("x")) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        async with asyncio.timeout(10):
            while passwords._in_flight:
                await asyncio.sleep(0.005)
    assert await passwords.hash("x")
