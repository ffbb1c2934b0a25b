"""GIFs over HTTP: upload, storage, serving, and the messages that show them."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from gifchat_contracts import errors, limits
from gifchat_rooms_api.settings import Settings
from gifchat_testkit.pictures import exif_with_orientation, picture, pixels, png_chunk

from .conftest import Api, Rounds, StartApi, User

pytestmark = pytest.mark.servers

MISSING = "65f0c0ffee0123456789abcd"
REVALIDATED = "public, max-age=0, s-maxage=2, must-revalidate"
TYPES = {"gif": "image/gif", "png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


@pytest.fixture
async def anne(api: Api) -> User:
    return await api.user("anne")


@pytest.fixture
async def site(api: Api) -> httpx.AsyncClient:
    """A client without a session."""
    return await api.client("http://test")


async def send(user: User, room: dict[str, Any], data: bytes, **options: Any) -> httpx.Response:
    return await user.http.post(f"/rooms/{room['_id']}/gifs", files={"gif": ("x", data)}, **options)


async def post(user: User, room: dict[str, Any], gif: dict[str, Any], key: str = "k") -> httpx.Response:
    body = {"client_message_id": key, "gif": gif["id"]}
    return await user.http.post(f"/rooms/{room['_id']}/messages", json=body)


async def posted(user: User, room: dict[str, Any], data: bytes, key: str = "k") -> dict[str, Any]:
    """Upload and post a GIF, and return what the upload returned."""
    gif = await uploaded(user, room, data)
    assert (await post(user, room, gif, key)).status_code == 201
    return gif


async def uploaded(user: User, room: dict[str, Any], data: bytes) -> dict[str, Any]:
    answer = await send(user, room, data)
    assert answer.status_code == 201, answer.text
    gif: dict[str, Any] = answer.json()
    return gif


@pytest.mark.parametrize(("extension", "frames"), [("gif", 5), ("png", 1), ("jpg", 1), ("webp", 3)])
async def test_an_upload_is_served_with_its_still(
    anne: User, site: httpx.AsyncClient, extension: str, frames: int
) -> None:
    data, room = picture(extension, frames=frames), await anne.room()
    answer = await send(anne, room, data)
    assert answer.status_code == 201, answer.text
    gif = answer.json()
    assert (gif["content_type"], gif["width"], gif["height"], gif["frames"]) == (TYPES[extension], 40, 30, frames)
    assert answer.headers["location"] == gif["url"] == f"/gif/{gif['file']}"

    served = await site.get(gif["url"])
    assert served.status_code == 200
    assert gif["file"] == f"{room['_id']}/{gif['id']}.{extension}"
    assert sha256(served.content).hexdigest() == gif["id"]
    assert len(served.content) == gif["bytes"] == int(served.headers["content-length"])
    assert pixels(served.content) == pixels(data)

    still = await site.get(gif["still_url"])
    assert (still.status_code, still.headers["content-type"]) == (200, "image/png")
    assert pixels(still.content) == pixels(data)[:1]


async def test_files_are_revalidated_and_served_with_security_headers(anne: User, site: httpx.AsyncClient) -> None:
    gif = await posted(anne, await anne.room(), picture("gif", frames=2))
    for url, content_type in ((gif["url"], "image/gif"), (gif["still_url"], "image/png")):
        served = await site.get(url)
        expected = {
            "content-type": content_type,
            "cache-control": REVALIDATED,
            "etag": f'"{sha256(served.content).hexdigest()}"',
            "accept-ranges": "bytes",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; sandbox",
        }
        assert dict(served.headers) | expected == dict(served.headers)
        head = await site.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == served.headers["content-length"]


async def test_a_gif_that_no_message_shows_is_served_but_not_cached(anne: User, site: httpx.AsyncClient) -> None:
    gif = await uploaded(anne, await anne.room(), picture("gif"))
    for url in (gif["url"], gif["still_url"]):
        served = await site.get(url)
        assert (served.status_code, served.headers["cache-control"]) == (200, "private, no-store")


async def test_shared_caches_keep_a_file_for_as_long_as_the_setting_says(start_api: StartApi) -> None:
    api: Api = await start_api(gif_cache_seconds=3)
    anne = await api.user("anne")
    gif = await posted(anne, await anne.room(), picture("gif"))
    served = await (await api.client("http://test")).get(gif["url"])
    assert "s-maxage=3" in served.headers["cache-control"]


async def test_a_cached_file_is_not_sent_again(anne: User, site: httpx.AsyncClient) -> None:
    gif = await posted(anne, await anne.room(), picture("gif"))
    etag = (await site.get(gif["url"])).headers["etag"]
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = await site.get(gif["url"], headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert answer.headers["cache-control"] == REVALIDATED
    assert (await site.get(gif["url"], headers={"if-none-match": '"x"'})).status_code == 200


async def test_ranges_are_served_only_if_the_etag_matches(anne: User, site: httpx.AsyncClient) -> None:
    gif = await uploaded(anne, await anne.room(), picture("png", 800, 600))
    whole = (await site.get(gif["url"])).content
    size = len(whole)
    for asked, start, stop in (("0-9", 0, 10), ("100-", 100, size), ("-7", size - 7, size), ("5-999999", 5, size)):
        part = await site.get(gif["url"], headers={"range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, whole[start:stop])
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert int(part.headers["content-length"]) == stop - start
    etag = f'"{gif["id"]}"'
    meant = await site.get(gif["url"], headers={"range": "bytes=0-9", "if-range": etag})
    another = await site.get(gif["url"], headers={"range": "bytes=0-9", "if-range": '"another"'})
    assert (meant.status_code, another.status_code, another.content) == (206, 200, whole)
    outside = await site.get(gif["url"], headers={"range": f"bytes={size}-"})
    assert (outside.status_code, outside.json()["code"]) == (416, "range_not_satisfiable")
    assert outside.headers["content-range"] == f"bytes */{size}"
    assert outside.headers["cache-control"] == "no-store"


async def test_a_large_file_is_served_completely(anne: User, site: httpx.AsyncClient) -> None:
    out = BytesIO()
    Image.effect_noise((1_100, 1_000), 90).save(out, "PNG")
    gif = await uploaded(anne, await anne.room(), out.getvalue())
    assert gif["bytes"] > 3 * 255 * 1024
    served = (await site.get(gif["url"])).content
    assert sha256(served).hexdigest() == gif["id"]
    part = await site.get(gif["url"], headers={"range": "bytes=261119-522241"})
    assert part.content == served[261_119:522_242]


@pytest.mark.parametrize(
    "file",
    [
        f"{'ab' * 32}.gif",
        f"{'ab' * 32}.still.png",
        "x.gif",
        f"{'AB' * 32}.gif",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "é.gif",
    ],
)
async def test_a_missing_file_is_404(site: httpx.AsyncClient, file: str) -> None:
    for folder in (f"{MISSING}/", "x/", ""):
        answer = await site.get(f"/gif/{folder}{file}")
        assert answer.status_code == 404
    assert answer.json()["code"] in ("gif_not_found", "not_found")


async def test_a_wrong_extension_is_404(anne: User, site: httpx.AsyncClient) -> None:
    gif = await posted(anne, await anne.room(), picture("png"))
    assert (await site.get(gif["url"])).status_code == 200
    assert (await site.get(gif["url"].replace(".png", ".gif"))).json()["code"] == "gif_not_found"


async def test_concurrent_uploads_of_a_picture_store_it_once(api: Api, anne: User) -> None:
    bob = await api.user("bob")
    rooms = {anne.session_id: await anne.room(), bob.session_id: await bob.room()}
    data = picture("gif", frames=2)
    gifs = await asyncio.gather(*(uploaded(user, rooms[user.session_id], data) for user in (anne, bob) * 4))
    assert {gif["id"] for gif in gifs} == {gifs[0]["id"]}
    await uploaded(anne, rooms["anne"], data)
    assert await api.database["gifs"].count_documents({}) == 1
    assert await api.database["gif_files.files"].count_documents({}) == 2


async def test_metadata_is_removed_and_the_picture_is_upright(anne: User, site: httpx.AsyncClient) -> None:
    data = picture("jpg", exif=exif_with_orientation(6), comment=b"taken at home")
    gif = await uploaded(anne, await anne.room(), data)
    served = (await site.get(gif["url"])).content
    assert (gif["width"], gif["height"]) == (30, 40)
    for secret in (b"a photographer", b"taken at home", b"Exif"):
        assert secret in data or secret == b"Exif"
        assert secret not in served


def undecodable() -> bytes:
    png = picture("png")
    at = png.index(b"IDAT") - 4
    return png[:at] + png_chunk(b"IDAT", b"no zlib stream") + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", errors.GIF_WRONG_TYPE),
        (b"BM" + bytes(100), errors.GIF_WRONG_TYPE),
        (b"", errors.GIF_WRONG_TYPE),
        (b"GIF89a" + b"x" * limits.GIF_MAX_BYTES, errors.GIF_TOO_LARGE),
        (b"GIF89a\xff\xff\xff\xff\0\0\0\x2c\0\0\0\0\1\0\1\0\0\2\0;", errors.GIF_TOO_MANY_PIXELS),
        (b"GIF89a\1\0\1\0\0\0\0" + b"\x2c\0\0\0\0\1\0\1\0\0\2\0" * 1_001 + b";", errors.GIF_TOO_MANY_PIXELS),
        (picture("jpg")[:200], errors.GIF_BROKEN),
        (undecodable(), errors.GIF_BROKEN),
    ],
    ids=["svg", "bmp", "empty", "11 MiB", "65535 x 65535", "1001 frames", "truncated", "does not decode"],
)
async def test_a_bad_file_is_refused_with_its_code_and_not_stored(
    api: Api, anne: User, data: bytes, code: errors.ErrorCode
) -> None:
    answer = await send(anne, await anne.room(), data)
    assert (answer.status_code, answer.json()["code"]) == (code.status, code.code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert await api.database["gifs"].count_documents({}) == 0
    assert await api.database["gif_files.files"].count_documents({}) == 0


async def test_file_names_and_declared_types_are_ignored(anne: User, site: httpx.AsyncClient) -> None:
    url = f"/rooms/{(await anne.room())['_id']}/gifs"
    lie = {"gif": ("../../x.svg", picture("png"), "image/svg+xml")}
    gif = (await anne.http.post(url, files=lie)).json()
    assert (gif["content_type"], (await site.get(gif["url"])).headers["content-type"]) == ("image/png", "image/png")
    truth = {"gif": ("x.gif", b"<html>", "image/gif")}
    assert (await anne.http.post(url, files=truth)).json()["code"] == "gif_wrong_type"


async def test_a_body_that_is_not_an_upload_is_refused(anne: User) -> None:
    url = f"/rooms/{(await anne.room())['_id']}/gifs"
    for answer, code in (
        (await anne.http.post(url, json={"gif": "x"}), "malformed"),
        (await anne.http.post(url), "malformed"),
        (await anne.http.post(url, files={"file": picture("gif")}), "validation_failed"),
        (await anne.http.post(url, files=[("gif", picture("gif")), ("gif", picture("png"))]), "validation_failed"),
    ):
        assert answer.json()["code"] == code


async def test_only_users_who_may_post_can_upload(api: Api, anne: User) -> None:
    bob = await api.user("bob")
    room = await anne.room()
    data = picture("gif")
    await api.settle(room)
    assert (await send(bob, room, data)).json()["code"] == "not_a_member"
    await api.take_seats(room, bob.who.user_id)
    assert (await send(bob, room, data, headers=bob.membership(room))).status_code == 201
    await anne.http.put(f"/rooms/{room['_id']}/mutes/{bob.who.user_id}")
    assert (await send(bob, room, data, headers=bob.membership(room))).json()["code"] == "muted"
    assert (await send(bob, {"_id": MISSING}, data)).json()["code"] == "room_not_found"
    stranger = await api.stranger()
    answer = await stranger.post(f"/rooms/{room['_id']}/gifs", files={"gif": data})
    assert answer.json()["code"] == "session_required"


def half_a_form(more: asyncio.Event, read: asyncio.Event) -> AsyncIterator[bytes]:
    async def pieces() -> AsyncIterator[bytes]:
        read.set()
        yield b"--x\r\nContent-Disposition: form-data; name=gif\r\n\r\n"
        await more.wait()
        yield b"x\r\n--x--\r\n"

    return pieces()


async def half_sent(user: User, room: dict[str, Any]) -> tuple["asyncio.Task[httpx.Response]", asyncio.Event]:
    """Start an upload, wait until its body is being read, and return it with the event that lets it go on."""
    more, read = asyncio.Event(), asyncio.Event()
    headers = {"content-type": "multipart/form-data; boundary=x"}
    posting = user.http.post(f"/rooms/{room['_id']}/gifs", content=half_a_form(more, read), headers=headers)
    task = asyncio.create_task(posting)
    async with asyncio.timeout(10):
        await read.wait()
    return task, more


async def test_half_sent_uploads_take_only_the_slots_of_their_address(start_api: StartApi) -> None:
    api: Api = await start_api(uploads_in_flight=3, uploads_in_flight_per_address=2)
    anne, bob = await api.user("anne"), await api.user("bob", "203.0.113.8")
    carl = await api.user("carl", "203.0.113.9")
    room = await anne.room()
    halves = [await half_sent(anne, room) for _ in range(2)]
    refused = await send(anne, room, picture("gif"))
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert "retry-after" in refused.headers
    await uploaded(bob, await bob.room(), picture("gif"))
    halves.append(await half_sent(bob, await bob.room()))
    assert (await send(carl, await carl.room(), picture("gif"))).json()["code"] == "unavailable"
    for task, more in halves:
        more.set()
        assert (await task).json()["code"] == "gif_wrong_type"
    await uploaded(anne, room, picture("gif"))


async def test_a_half_sent_upload_is_cut_and_its_slot_is_free_again(start_api: StartApi) -> None:
    api: Api = await start_api(uploads_in_flight=2, uploads_in_flight_per_address=1, upload_stall_timeout=0.05)
    anne = await api.user("anne")
    room = await anne.room()
    task, _ = await half_sent(anne, room)
    async with asyncio.timeout(10):
        assert (await task).json()["code"] == "unavailable"
    await uploaded(anne, room, picture("gif"))


async def test_the_body_of_a_caller_who_may_not_upload_is_never_read(api: Api, anne: User) -> None:
    room = await anne.room()
    read = asyncio.Event()
    for caller, code in ((await api.stranger(), "session_required"), ((await api.user("bob")).http, "not_a_member")):
        body = half_a_form(asyncio.Event(), read)
        headers = {"content-type": "multipart/form-data; boundary=x"}
        async with asyncio.timeout(10):
            answer = await caller.post(f"/rooms/{room['_id']}/gifs", content=body, headers=headers)
        assert answer.json()["code"] == code
    assert not read.is_set()


async def test_uploads_are_rate_limited_before_they_are_read(api: Api, anne: User) -> None:
    bob, room = await api.user("bob"), await anne.room()
    at_once = Settings().uploads_per_user
    codes = [(await send(anne, room, b"x")).json()["code"] for _ in range(at_once + 1)]
    assert codes == ["gif_wrong_type"] * at_once + ["rate_limited"]
    assert (await send(bob, await bob.room(), b"x")).json()["code"] == "gif_wrong_type"


async def test_a_message_shows_an_uploaded_gif(api: Api, anne: User) -> None:
    room = await anne.room()
    gif = await uploaded(anne, room, picture("gif", frames=2))
    url = f"/rooms/{room['_id']}/messages"
    posted = await anne.http.post(url, json={"client_message_id": "k", "gif": gif["id"]})
    assert posted.status_code == 201
    message = posted.json()
    assert message["gif"] == gif["file"]
    assert message["gif_info"] == {key: gif[key] for key in ("url", "still_url", "width", "height", "frames")}
    assert (await anne.http.get(url)).json()["items"][0]["data"] == message
    missing = await anne.http.post(url, json={"client_message_id": "l", "gif": "ab" * 32})
    assert (missing.status_code, missing.json()["code"]) == (404, "gif_not_found")


async def test_a_gif_stays_while_a_message_shows_it(
    janitor: Rounds, api: Api, anne: User, site: httpx.AsyncClient
) -> None:
    room, other = await anne.room(), await anne.room()
    shown, unshown = await posted(anne, room, picture("gif")), await uploaded(anne, room, picture("png"))
    both = await posted(anne, room, picture("webp"), "k1")
    assert (await post(anne, other, both)).status_code == 201
    in_other = f"/gif/{other['_id']}/{both['id']}.webp"

    async def served() -> list[int]:
        return [(await site.get(url)).status_code for url in (shown["url"], unshown["url"], in_other)]

    await janitor.whole()
    assert await served() == [200, 200, 200]
    api.clock.forward(hours=2)
    await janitor.whole()
    assert await served() == [200, 404, 200]
    assert (await anne.http.delete(f"/rooms/{room['_id']}")).status_code == 204
    api.clock.forward(hours=2)
    await janitor.whole()
    assert await served() == [404, 404, 200]
    assert await api.database["gif_files.files"].count_documents({}) == 2


async def statuses(site: httpx.AsyncClient, gif: dict[str, Any]) -> list[int]:
    """Return the status of every way to get the GIF: whole, with an ETag, a part, without a body, and its still."""
    etag = {"if-none-match": f'"{gif["id"]}"'}
    answers = [
        await site.get(gif["url"]),
        await site.get(gif["url"], headers=etag),
        await site.get(gif["url"], headers={"range": "bytes=0-1"}),
        await site.head(gif["url"]),
        await site.get(gif["still_url"]),
    ]
    return [answer.status_code for answer in answers]


SERVED, GONE = [200, 304, 206, 200, 200], [404, 404, 404, 404, 404]


async def test_the_address_of_a_gif_dies_with_its_message(anne: User, site: httpx.AsyncClient) -> None:
    room = await anne.room()
    gif = await posted(anne, room, picture("gif"))
    assert await statuses(site, gif) == SERVED
    assert (await anne.http.delete(f"/rooms/{room['_id']}/messages/1")).status_code == 204
    assert await statuses(site, gif) == GONE


async def test_the_address_of_a_gif_dies_with_its_room(anne: User, site: httpx.AsyncClient) -> None:
    room = await anne.room()
    gif = await posted(anne, room, picture("gif"))
    assert (await anne.http.delete(f"/rooms/{room['_id']}")).status_code == 204
    assert await statuses(site, gif) == GONE


async def test_the_same_gif_in_another_room_keeps_no_deleted_address_alive(anne: User, site: httpx.AsyncClient) -> None:
    room, other = await anne.room(), await anne.room()
    gif, same = await posted(anne, room, picture("gif")), await posted(anne, other, picture("gif"))
    assert gif["id"] == same["id"]
    assert gif["url"] != same["url"]
    await anne.http.delete(f"/rooms/{room['_id']}/messages/1")
    assert (await statuses(site, gif), await statuses(site, same)) == (GONE, SERVED)


async def test_a_gif_that_a_room_shows_twice_is_served_until_both_messages_are_deleted(
    anne: User, site: httpx.AsyncClient
) -> None:
    room = await anne.room()
    gif = await posted(anne, room, picture("gif"), "first")
    assert (await post(anne, room, gif, "second")).status_code == 201
    await anne.http.delete(f"/rooms/{room['_id']}/messages/1")
    assert await statuses(site, gif) == SERVED
    await anne.http.delete(f"/rooms/{room['_id']}/messages/2")
    assert await statuses(site, gif) == GONE


async def test_whoever_knows_only_its_id_cannot_bring_a_deleted_gif_back(
    api: Api, anne: User, site: httpx.AsyncClient
) -> None:
    bob = await api.user("bob")
    room, bobs = await anne.room(), await bob.room()
    gif = await posted(anne, room, picture("gif"))
    await anne.http.delete(f"/rooms/{room['_id']}/messages/1")
    assert (await post(bob, bobs, gif)).json()["code"] == "gif_not_found"
    await uploaded(anne, room, picture("gif"))
    assert await statuses(site, gif) == GONE


async def test_the_bytes_of_a_deleted_gif_are_removed_later(janitor: Rounds, api: Api, anne: User) -> None:
    room = await anne.room()
    await posted(anne, room, picture("gif"))
    assert (await anne.http.delete(f"/rooms/{room['_id']}/messages/1")).status_code == 204
    api.clock.forward(hours=2)
    await janitor.whole()
    assert await api.database["gif_files.files"].count_documents({}) == 0


async def test_a_gif_stays_while_its_message_may_be_in_flight(janitor: Rounds, start_api: StartApi) -> None:
    api: Api = await start_api(unreferenced_gif_ttl=0)
    anne = await api.user("anne")
    room = await anne.room()
    gif = await uploaded(anne, room, picture("gif"))
    api.clock.forward(seconds=50)
    await janitor.whole()
    posted = await anne.http.post(f"/rooms/{room['_id']}/messages", json={"client_message_id": "k", "gif": gif["id"]})
    assert posted.status_code == 201
