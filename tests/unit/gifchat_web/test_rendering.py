"""A rendered page is kept for everybody, so it may hold nothing of the user for whom it was rendered."""

import json
import re
from typing import Any

import httpx
import pytest

from gifchat_web.app import create_app
from gifchat_web.http import rendering
from gifchat_web.settings import Settings

from .conftest import SECRETS

MARK = re.compile(r"(?:color|you)-[0-9a-f]{32}")


async def create(client: httpx.AsyncClient, **form: str) -> str:
    answer = await client.post("/room", data={"title": "우리 방", "max": "10", **form})
    assert answer.status_code == 302
    return answer.headers["location"]


async def identity_of(client: httpx.AsyncClient) -> dict[str, str]:
    identity: dict[str, str] = (await client.get("/api/v1/session")).json()
    return identity


def data_of(page: httpx.Response) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', page.text, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.fixture
def renderings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The templates that were rendered so far."""
    rendered: list[str] = []
    render = rendering.Pages._render

    def counted(self: rendering.Pages, template: str, *arguments: Any, **values: Any) -> bytes:
        rendered.append(template)
        return render(self, template, *arguments, **values)

    monkeypatch.setattr(rendering.Pages, "_render", counted)
    return rendered


@pytest.mark.parametrize("path", ["/", "/?error=room_full", "room", "/room", "/nowhere"])
async def test_every_page_shows_its_own_user_and_no_other(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, path: str
) -> None:
    room = await create(alice)
    users = [(client, await identity_of(client)) for client in (alice, bob)]
    for _ in range(2):
        for client, identity in users:
            page = await client.get(room if path == "room" else path)
            [other] = [other for _, other in users if other != identity]
            assert data_of(page)["you"] == identity
            header = page.text.partition("</header>")[0].partition("<header")[2]
            assert f'<span class="swatch" data-color="{identity["color"]}"></span>' in header
            assert other["color"] not in header
            assert not MARK.search(page.text)
            assert client.cookies["gifchat_session"] not in page.text


async def test_a_page_that_shows_the_same_is_rendered_once(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, renderings: list[str]
) -> None:
    room = await create(alice)
    for client in (alice, bob, alice):
        await client.get("/")
        await client.get(room)
    assert sorted(renderings) == ["room.html", "rooms.html"]


async def test_a_room_whose_record_changed_is_rendered_again(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    url = await create(alice)
    await alice.get(url)
    room = rooms_api.rooms[url.removeprefix("/room/")]
    for name, value in {"title": "새 이름", "members": 3, "max": 7, "private": True, "slow_mode_s": 5}.items():
        room[name] = value
        assert data_of(await alice.get(url))["room"] == room


async def test_an_error_is_shown_only_to_who_asks_with_it(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    assert "비밀번호가" in (await alice.get("/", params={"error": "비밀번호가 틀렸습니다."})).text
    assert "비밀번호가" not in (await bob.get("/")).text
    assert "허용 인원" in (await bob.get("/", params={"error": "room_full"})).text


async def test_each_language_has_its_own_page(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    room = await create(alice)
    for path in ("/", room):
        for client, language in ((alice, "ko"), (bob, "en"), (alice, "ko"), (bob, "en")):
            page = await client.get(path, headers={"accept-language": language})
            assert f'<html lang="{language}">' in page.text
            assert data_of(page)["language"] == language


async def test_a_private_room_admits_only_who_gave_the_password(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, rooms_api: Any
) -> None:
    room = await create(alice, password="meow")
    for _ in range(2):
        assert 'id="composer"' in (await alice.get(room)).text
        assert 'id="composer"' not in (await bob.get(room)).text
    await bob.post(f"{room}/password", data={"password": "meow"})
    assert 'id="composer"' in (await bob.get(room)).text
    rooms_api.grants.clear()
    assert 'id="composer"' not in (await bob.get(room)).text, "what rooms-api says now counts"


async def test_the_number_of_kept_pages_is_bounded(rooms_api: Any, renderings: list[str]) -> None:
    app = create_app(Settings(session_secrets=SECRETS, rendered_pages_kept=2), rooms_api)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat.test") as client:
        for error in ("banned", "muted", "banned", "kicked", "banned", "muted"):
            await client.get("/", params={"error": error})
    assert len(renderings) == 4, "the first is used all the time and stays, and the second is forgotten for the third"


async def test_a_new_room_and_a_removed_room_change_the_list_at_once(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    assert data_of(await bob.get("/"))["rooms"] == []
    url = await create(alice)
    assert [room["_id"] for room in data_of(await bob.get("/"))["rooms"]] == [url.removeprefix("/room/")]
    await alice.delete(url)
    assert data_of(await bob.get("/"))["rooms"] == []
