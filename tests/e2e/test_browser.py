"""The pages in real browser windows that are connected to different gateways of a cluster."""

import asyncio
import json
import math
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image, ImageDraw
from playwright.async_api import Dialog, Locator, Route, WebSocket, expect

from gifchat_testkit.browser import CHROMIUM, DEADLINE_S, PHONE, Window, Windows, chromium, opened_windows
from gifchat_testkit.cluster import EmbeddedCluster
from gifchat_testkit.pictures import picture
from gifchat_testkit.proxy import TcpProxy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.cluster,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
IMAGE_MAX_BYTES = 150_000
ROOM_PATH = re.compile(r"/room/[0-9a-f]{24}")
POSTS = re.compile(r"/api/v1/rooms/[0-9a-f]{24}/messages$")
HISTORY = re.compile(r"/api/v1/rooms/[0-9a-f]{24}/messages\?")
TICKETS = re.compile(r"/tickets$")
REFUSED = "the server responded with a status of 4"


async def accept(dialog: Dialog) -> None:
    await dialog.accept()


async def same_conversation(first: Window, second: Window, messages: int) -> list[str]:
    """Wait until both windows show so many messages, assert that they show the same, and return what they show."""
    for window in (first, second):
        await expect(window.page.locator("#message-list > .message.sent")).to_have_count(messages)
    shown = await first.conversation()
    assert await second.conversation() == shown
    return shown


# Two windows


async def test_two_windows_on_two_gateways_exchange_text_and_a_gif(windows: Windows, cluster: EmbeddedCluster) -> None:
    alice = await windows.open(gateway="gateway-1")
    bob = await windows.open(gateway="gateway-2")
    room = await alice.create_room("두 관문의 방")
    await bob.enter(room)
    assert (await alice.gateway(), await bob.gateway()) == ("gateway-1", "gateway-2")
    sockets = {name: process["sockets"] for name, process in cluster.processes().items()}
    assert sockets["gateway-1"] > 0
    assert sockets["gateway-2"] > 0

    await bob.say("안녕하세요!")
    await expect(alice.message("안녕하세요!")).to_be_visible()
    await alice.say("반가워요.\n두 번째 줄 🐈")
    await expect(bob.page.locator(".theirs .text")).to_have_text("반가워요.\n두 번째 줄 🐈")
    await bob.pick_gif(picture("gif", 120, 80, frames=4))
    for window in (alice, bob):
        image = window.page.locator(".message.sent .gif img")
        await expect(image).to_have_attribute("src", re.compile(r"^/gif/[0-9a-f]{24}/[0-9a-f]{64}\.gif$"))
        await expect(image).to_have_js_property("naturalWidth", 120)
        await expect(window.page.get_by_role("button", name="GIF 멈추기")).to_be_attached()
    shown = await same_conversation(alice, bob, 3)
    assert shown[:2] == ["안녕하세요!", "반가워요.\n두 번째 줄 🐈"]
    assert shown[2].startswith("/gif/")

    async def chatter(window: Window, who: str) -> None:
        for number in range(5):
            await window.say(f"{who} {number}")

    await asyncio.gather(chatter(alice, "alice"), chatter(bob, "bob"))
    shown = await same_conversation(alice, bob, 13)
    for who in ("alice", "bob"):
        assert [text for text in shown if text.startswith(who)] == [f"{who} {number}" for number in range(5)]


async def test_joins_leaves_and_typing_are_shown(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open(language="en")
    room = await alice.create_room("현관")
    await bob.enter(room)
    color = await bob.color()
    await expect(alice.line(f"{color}님이 입장하셨습니다.")).to_have_count(1)
    await expect(alice.page.locator("#room-occupancy")).to_have_text("2 / 10명")
    await expect(bob.page.locator("#room-occupancy")).to_have_text("2 of 10")

    await bob.page.locator("#text").press_sequentially("…")
    await expect(alice.page.locator("#typing")).to_have_text(f"{color}님이 입력하고 있습니다…")
    await bob.page.reload()
    await bob.is_in()
    await bob.say("a reload is no leave")
    await expect(alice.message("a reload is no leave")).to_be_visible()
    await expect(alice.page.locator("#typing")).to_have_text("")
    await expect(alice.page.locator(".line")).to_have_count(1)

    await bob.page.close()
    # The gateway keeps the seat for ten seconds.
    await expect(alice.line(f"{color}님이 퇴장하셨습니다.")).to_have_count(1, timeout=25_000)
    await expect(alice.page.locator("#room-occupancy")).to_have_text("1 / 10명")


# Sending


async def test_a_message_is_pending_until_it_is_stored(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    room = await alice.create_room("천천히")
    await bob.enter(room)
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await alice.page.route(POSTS, hold)
    await alice.say("가는 중")
    await expect(alice.page.locator(".message.pending")).to_contain_text("보내는 중…")
    await bob.say("먼저 갑니다")
    await expect(alice.message("먼저 갑니다")).to_be_visible()
    assert await alice.conversation() == ["먼저 갑니다", "가는 중"]
    assert await bob.conversation() == ["먼저 갑니다"]
    released.set()
    assert await same_conversation(alice, bob, 2) == ["먼저 갑니다", "가는 중"]
    await expect(alice.page.get_by_text("보내는 중…")).to_have_count(0)


async def test_retrying_a_failed_message_sends_it_once(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    room = await alice.create_room("끊긴 길")
    await bob.enter(room)
    alice.expects("ERR_FAILED")
    await alice.page.route(POSTS, lambda route: route.abort())
    await alice.say("다시 갈게요")
    failed = alice.page.locator(".message.failed")
    await expect(failed).to_contain_text("보내지 못했습니다. 서버에 연결할 수 없습니다.")
    await bob.say("아무것도 안 왔어요")
    await expect(alice.message("아무것도 안 왔어요")).to_be_visible()
    assert await bob.conversation() == ["아무것도 안 왔어요"]

    await alice.page.unroute(POSTS)
    await failed.get_by_role("button", name="다시 보내기").click()
    assert await same_conversation(alice, bob, 2) == ["아무것도 안 왔어요", "다시 갈게요"]
    await expect(failed).to_have_count(0)
    assert [entry["data"].get("chat") for entry in await alice.log(room)] == ["아무것도 안 왔어요", "다시 갈게요"]


async def test_a_message_whose_response_was_lost_is_stored_once(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    room = await alice.create_room("잃어버린 대답")
    await bob.enter(room)
    alice.expects("ERR_FAILED")
    tried: list[str] = []

    async def lose_the_first_answer(route: Route) -> None:
        tried.append(json.loads(route.request.post_data or "{}")["client_message_id"])
        answer = await route.fetch()
        await (route.abort() if len(tried) == 1 else route.fulfill(response=answer))

    await alice.page.route(POSTS, lose_the_first_answer)
    await alice.say("한 번만")
    await expect(bob.message("한 번만")).to_have_count(1)
    async with asyncio.timeout(15):
        while len(tried) < 2:
            await asyncio.sleep(0.05)
    await alice.say("그다음")
    assert await same_conversation(alice, bob, 2) == ["한 번만", "그다음"]
    assert tried[0] == tried[1] != tried[2]
    assert len(await alice.log(room)) == 2


async def test_a_file_that_is_not_a_picture_is_refused_and_can_be_discarded(windows: Windows) -> None:
    alice = await windows.open(language="en")
    room = await alice.create_room("Pictures only")
    alice.expects(REFUSED)
    await alice.pick_gif(b"<!doctype html><script>alert(1)</script>", name="x.gif")
    failed = alice.page.locator(".message.failed")
    await expect(failed).to_contain_text("Not sent.")
    await expect(failed.get_by_role("button", name="Try again")).to_have_count(0)
    await failed.get_by_role("button", name="Discard").click()
    await expect(alice.page.locator(".message")).to_have_count(0)
    assert await alice.log(room) == []


async def test_space_is_reserved_for_a_picture_before_it_loads(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open(phone=True)
    room = await alice.create_room("자리")
    sizes = ((900, 300), (200, 1_000), (8, 8))
    for shown, (width, height) in enumerate(sizes, start=1):
        await alice.pick_gif(picture("png", width, height), name="cat.png", mime_type="image/png")
        await expect(alice.page.locator(".message.sent .gif")).to_have_count(shown)
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await bob.page.route("**/gif/**", hold)
    await bob.page.goto(bob.cluster.url + room, wait_until="commit")
    await bob.is_in()
    images = await bob.page.locator(".gif img").all()
    assert len(images) == len(sizes)
    for image in images:
        await expect(image).to_have_js_property("complete", False)
    before = [await image.bounding_box() for image in images]
    released.set()
    for image, (width, _height) in zip(images, sizes, strict=True):
        await expect(image).to_have_js_property("naturalWidth", width)
    assert [await image.bounding_box() for image in images] == before
    for box, (width, height) in zip(before[:2], sizes, strict=False):
        assert box is not None
        assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.02), (
            "a picture keeps its proportions"
        )


# A lost connection


async def test_a_killed_gateway_shows_a_banner_and_loses_no_message(windows: Windows, cluster: EmbeddedCluster) -> None:
    alice, bob = await windows.open(gateway="gateway-3"), await windows.open(gateway="gateway-1")
    room = await bob.create_room("버티는 방")
    await alice.enter(room)
    await alice.say("먼저")
    await expect(bob.message("먼저")).to_be_visible()
    assert await alice.gateway() == "gateway-3"

    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await alice.page.route(TICKETS, hold)
    alice.expects("WebSocket connection to .* failed")
    pid = cluster.kill("gateway-3")
    banner = alice.page.locator("#banner")
    await expect(banner).to_have_text("연결이 끊겼습니다. 다시 연결하는 중…")
    await expect(banner).to_be_visible()
    await bob.say("그동안")
    await expect(bob.page.locator(".sent").filter(has_text="그동안")).to_be_visible()
    assert await alice.conversation() == ["먼저"]

    released.set()
    await expect(banner).to_be_hidden()
    await expect(alice.message("그동안")).to_have_count(1)
    await alice.say("나중")
    assert await same_conversation(alice, bob, 3) == ["먼저", "그동안", "나중"]
    assert await alice.gateway() in ("gateway-1", "gateway-2")
    await expect(bob.line("퇴장")).to_have_count(0)
    await asyncio.to_thread(cluster.wait_for, "gateway-3", lambda process: process["ready"] and process["pid"] != pid)


async def test_the_page_says_when_it_is_offline(windows: Windows) -> None:
    alice = await windows.open(language="en")
    await alice.create_room("On a train")
    alice.expects("ERR_INTERNET_DISCONNECTED", "WebSocket connection to .* failed")
    await alice.context.set_offline(True)
    await expect(alice.page.locator("#banner")).to_have_text("You are offline.")
    await alice.context.set_offline(False)
    await expect(alice.page.locator("#banner")).to_be_hidden()


WAKE_UP = """() => new Promise((resolve) => {
    const woken = performance.now();
    const banner = document.getElementById("banner");
    const look = () => banner.hidden || resolve((performance.now() - woken) / 1000);
    new MutationObserver(look).observe(banner, {attributes: true});
    for (const state of ["hidden", "visible"]) {
        Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }
    dispatchEvent(new Event("focus"));
})"""
"""Pretends that the page was hidden and wakes it up. Returns the seconds until the banner is shown."""
KNOWN_WITHIN_S = 3.0
PROBED = re.compile(r'^43/chat,\d+\[\{"ok":true,"time":"[^"]+"\}\]$')
MUTE_S = 5


def row_of(window: Window, room: str) -> Locator:
    """Return the row of the room with this path in the list."""
    return window.page.locator(f'tr[data-room="{room.removeprefix("/room/")}"]')


@asynccontextmanager
async def windows_behind_a_proxy(cluster: EmbeddedCluster, folder: Path) -> AsyncIterator[tuple[Windows, TcpProxy]]:
    """Windows of a separate browser, and a proxy between it and the cluster. The cluster's URL stays the same."""
    port = urlsplit(cluster.url).port
    assert port is not None
    async with TcpProxy(port) as proxy:
        route = f"--host-resolver-rules=MAP localhost:{port} 127.0.0.1:{proxy.port}"
        async with chromium(folder, route) as browser, opened_windows(browser, cluster) as windows:
            yield windows, proxy


async def test_a_room_page_that_wakes_up_on_a_dead_connection_says_so_and_recovers(
    windows: Windows, cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    bob = await windows.open()
    room = await bob.create_room("잠든 전화기")
    async with windows_behind_a_proxy(cluster, tmp_path) as (sleepers, proxy):
        alice = await sleepers.open(phone=True)
        alice.expects("WebSocket")
        await alice.enter(room)
        assert proxy.connections > 0
        await bob.say("먼저")
        await expect(alice.message("먼저")).to_be_visible()
        banner = alice.page.locator("#banner")

        proxy.stall()
        await bob.say("자는 동안")
        await expect(bob.page.locator(".sent")).to_have_count(2)
        await expect(banner).to_be_hidden()
        async with asyncio.timeout(DEADLINE_S):
            assert await alice.page.evaluate(WAKE_UP) <= KNOWN_WITHIN_S
        await expect(banner).to_have_text("연결이 끊겼습니다. 다시 연결하는 중…")
        await bob.say("깨어난 뒤")
        await expect(bob.page.locator(".sent")).to_have_count(3)
        assert await alice.conversation() == ["먼저"]

        await proxy.heal()
        await expect(banner).to_be_hidden()
        assert await same_conversation(alice, bob, 3) == ["먼저", "자는 동안", "깨어난 뒤"]
        await alice.say("다 봤어요")
        assert (await same_conversation(alice, bob, 4))[-1] == "다 봤어요"


async def test_a_list_page_that_wakes_up_on_a_dead_connection_says_so_and_recovers(
    windows: Windows, cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    bob = await windows.open()
    async with windows_behind_a_proxy(cluster, tmp_path) as (sleepers, proxy):
        alice = await sleepers.open(phone=True)
        alice.expects("WebSocket")
        await alice.go("/")
        before = await bob.create_room("잠들기 전의 방")
        await expect(row_of(alice, before)).to_be_visible()
        banner = alice.page.locator("#banner")
        await expect(banner).to_be_hidden()

        proxy.stall()
        meanwhile = await bob.create_room("자는 동안 생긴 방")
        await expect(banner).to_be_hidden()
        async with asyncio.timeout(DEADLINE_S):
            assert await alice.page.evaluate(WAKE_UP) <= KNOWN_WITHIN_S
        await expect(banner).to_have_text("연결이 끊겼습니다. 다시 연결하는 중…")
        await expect(row_of(alice, meanwhile)).to_have_count(0)

        await proxy.heal()
        await expect(banner).to_be_hidden()
        await expect(row_of(alice, meanwhile)).to_have_count(1)


async def test_a_page_that_wakes_up_on_a_live_connection_keeps_it(windows: Windows) -> None:
    alice = await windows.open()
    lines: list[WebSocket] = []
    sent: list[str] = []
    answered = asyncio.Event()

    def record(line: WebSocket) -> None:
        lines.append(line)
        line.on("framesent", lambda frame: sent.append(str(frame)))
        line.on("framereceived", lambda frame: answered.set() if PROBED.search(str(frame)) else None)

    alice.page.on("websocket", record)
    await alice.create_room("선잠")
    await alice.page.evaluate(f"void ({WAKE_UP})()")
    async with asyncio.timeout(DEADLINE_S):
        await answered.wait()
    assert sum("probe" in frame for frame in sent) == 1, "one wake-up sends one probe"
    await expect(alice.page.locator("#banner")).to_be_hidden()
    assert [line.is_closed() for line in lines] == [False]


# The clock


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_mute_ends_by_the_servers_clock(windows: Windows, hours: int) -> None:
    alice, bob = await windows.open(), await windows.open()
    room = await alice.create_room("틀린 시계")
    await bob.page.add_init_script(f"""
        const Right = Date, wrongBy = {hours} * 3_600_000;
        globalThis.Date = class extends Right {{
            constructor(...when) {{ if (when.length > 0) super(...when); else super(Right.now() + wrongBy); }}
            static now() {{ return Right.now() + wrongBy; }}
        }};
    """)
    await bob.enter(room)
    assert await bob.page.evaluate("Date.now()") == pytest.approx((time.time() + hours * 3_600) * 1_000, abs=60_000)
    until = await alice.mute(room, await bob.user_id(), MUTE_S)
    await expect(bob.page.locator("#text")).to_be_disabled(timeout=MUTE_S * 1_000)
    await bob.page.wait_for_function("() => !document.getElementById('text').disabled")
    late_s = (datetime.now(UTC) - until).total_seconds()
    assert 0 <= late_s < 2
    await bob.say("다시 말합니다")
    await expect(alice.message("다시 말합니다")).to_be_visible()
    await expect(bob.page.locator(".message.sent")).to_have_count(1)


async def test_scrolling_up_loads_older_messages_and_keeps_the_scroll_position(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    room = await alice.create_room("긴 이야기")
    said = [f"이야기 {number:03}" for number in range(1, 121)]
    for number, text in enumerate(said):
        await alice.post(room, f"story-{number}", text)
    await expect(alice.message(said[-1])).to_be_visible()
    assert await alice.conversation() == said

    await bob.enter(room)
    await expect(bob.message(said[-1])).to_be_in_viewport()
    assert await bob.conversation() == said[-50:]
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await bob.page.route(HISTORY, hold)
    await bob.page.locator("#messages").hover()
    async with bob.page.expect_request(HISTORY):
        await bob.page.mouse.wheel(0, -100_000)
    looked_at = bob.message(said[-48])
    await expect(looked_at).to_be_in_viewport()
    before = await looked_at.bounding_box()
    released.set()
    await expect(bob.page.locator(".message")).to_have_count(100)
    after = await looked_at.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(after["y"] - before["y"]) < 2, "the scroll position has moved"

    await alice.say("끝")
    await expect(bob.page.locator("#jump")).to_be_visible()
    await expect(looked_at).to_be_in_viewport()
    await bob.page.mouse.wheel(0, -100_000)
    await expect(bob.page.locator(".message")).to_have_count(121)
    assert await bob.conversation() == [*said, "끝"]
    await expect(bob.page.locator("#older")).to_be_hidden()
    await bob.page.locator("#jump").click()
    await expect(bob.message("끝")).to_be_in_viewport()


# What people write


async def test_the_page_counts_a_text_like_the_server_and_says_what_is_wrong_with_it(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    room = await alice.create_room("글자 수")
    await bob.enter(room)
    box, left = alice.page.locator("#text"), alice.page.locator("#characters-left")
    await box.fill("🎉" * 1_899)
    await expect(left).to_have_text("")
    await box.fill("👍🏽" * 1_900)
    await expect(left).to_have_text("100자 남았습니다.")
    note = alice.page.locator("#composer-note")
    for wrong, words in (
        ("🎉" * 2_001, "메시지는 2,000자, 16KiB까지 보낼 수 있습니다."),
        ("👨‍👩‍👧‍👦" * 656, "메시지는 2,000자, 16KiB까지 보낼 수 있습니다."),
        ("a" + "\n" * 101 + "b", "줄바꿈은 100개까지 쓸 수 있습니다."),
        ("\u3164\u200b", "보이는 글자를 하나 이상 입력해 주세요."),
    ):
        await alice.say(wrong)
        await expect(note).to_have_text(words)
        await expect(box).to_have_value(wrong)
    await alice.say("👍🏽" * 2_000)
    await expect(left).to_have_text("")
    await alice.say("\u1112\u1161\u11ab\u202e\x07글")
    await expect(bob.message("한글")).to_be_visible()
    assert await same_conversation(alice, bob, 2) == ["👍🏽" * 2_000, "한글"]


async def test_a_form_says_what_is_wrong_with_a_title(windows: Windows) -> None:
    alice = await windows.open()
    await alice.go("/room")
    field = alice.page.locator("[name=title]")
    problem = "field => field.validationMessage"
    for wrong, words in (
        ("🎉" * 81, "방 제목은 80자, 1KiB까지 쓸 수 있습니다."),
        ("\u3164", "보이는 글자를 하나 이상 입력해 주세요."),
    ):
        await field.fill(wrong)
        assert await field.evaluate(problem) == words
    await field.fill("🎉" * 80)
    assert await field.evaluate(problem) == ""
    await alice.create_room("gpj.\u202egif.exe")
    await expect(alice.page.locator("#room-title")).to_have_text("gpj.gif.exe")


# The room list


async def test_the_room_list_is_updated_live(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    await alice.go("/")
    await expect(alice.page.locator("#rooms, #rooms-empty").locator("visible=true")).not_to_have_count(0)
    room = await bob.create_room("새로 생긴 방", password="비밀")
    row = alice.page.locator(f'tr[data-room="{room.removeprefix("/room/")}"]')
    await expect(row.locator(".cell-title")).to_have_text("새로 생긴 방")
    await expect(row.locator(".cell-kind")).to_have_text("비밀방")
    await expect(row.locator(".cell-owner")).to_have_text(await bob.color())
    await expect(row.locator(".cell-members")).to_have_text("1 / 10")

    await alice.page.get_by_placeholder("방 제목 검색").fill("없는 제목")
    await expect(alice.page.locator("#rooms-empty")).to_have_text("검색 결과가 없습니다.")
    await expect(row).to_have_count(0)
    await alice.page.get_by_placeholder("방 제목 검색").fill("생긴")
    await expect(row).to_be_visible()
    assert alice.path == f"/?q={quote('생긴')}&sort=newest"

    await bob.page.locator("#room-settings").click()
    await bob.page.locator("dialog [name=title]").fill("다시 생긴 방")
    await bob.page.locator("dialog [name=open]").check()
    await bob.page.get_by_role("button", name="저장").click()
    await expect(row.locator(".cell-title")).to_have_text("다시 생긴 방")
    await expect(row.locator(".cell-kind")).to_have_text("공개방")
    bob.page.on("dialog", accept)
    await bob.page.locator("#room-settings").click()
    await bob.page.get_by_role("button", name="방 삭제").click()
    await expect(bob.page.get_by_role("heading", name="방이 삭제되었습니다.")).to_be_visible()
    await expect(row).to_have_count(0)


async def test_a_room_created_while_the_list_loads_is_shown(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await alice.page.route("**/main.js", hold)
    await alice.page.goto(f"{alice.cluster.url}/", wait_until="commit")
    await expect(alice.page.locator(".page-head")).to_be_visible()
    room = await bob.create_room("틈새")
    row = alice.page.locator(f'tr[data-room="{room.removeprefix("/room/")}"]')
    await expect(row).to_have_count(0)
    released.set()
    await expect(row).to_be_visible()


# Private rooms


async def test_a_private_room_asks_for_its_password(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    room = await alice.create_room("우리끼리", password="맞는 비밀번호")
    await expect(alice.page.locator("#room-kind")).to_have_text("비밀방")
    bob.expects(REFUSED)
    await bob.go(room)
    await bob.give_password("틀린 비밀번호")
    await expect(bob.page.get_by_role("alert")).to_have_text("비밀번호가 틀렸습니다.")
    await expect(bob.page.locator("[name=password]")).to_have_value("")
    await bob.page.get_by_role("link", name="English").click()
    await expect(bob.page.get_by_text("This room needs a password.")).to_be_visible()
    await bob.give_password("맞는 비밀번호")
    await bob.is_in()
    assert bob.path == room
    await bob.say("in")
    await expect(alice.message("in")).to_be_visible()
    await bob.page.reload()
    await bob.is_in()
    await expect(bob.message("in")).to_be_visible()


async def test_a_link_with_a_password_leaves_no_trace_of_it(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    room = await alice.create_room("링크로", password="s3cret-in-a-link")
    await bob.go("/")
    await bob.go(f"{room}?password=s3cret-in-a-link")
    await bob.is_in()
    assert bob.path == room
    assert "s3cret" not in await bob.page.content()
    traces = await bob.page.evaluate(
        """() => JSON.stringify([document.referrer, history.state, document.cookie,
            {...localStorage}, {...sessionStorage},
            performance.getEntries().map(({name}) => name)])"""
    )
    assert "s3cret" not in traces
    await bob.page.go_back()
    assert bob.path == "/"
    await bob.page.go_forward()
    await bob.is_in()
    assert bob.path == room

    await bob.go(f"{room}?password=wr0ng-in-a-link")
    await expect(bob.page.get_by_role("alert")).to_have_text("비밀번호가 틀렸습니다.")
    assert bob.path == "/"
    assert "wr0ng" not in await bob.page.content()


# Languages


@pytest.mark.parametrize(
    ("language", "rooms", "new", "missing", "placeholder", "joined"),
    [
        ("ko", "채팅방 목록", "채팅방 만들기", "요청한 페이지를 찾을 수 없습니다.", "메시지", "님이 입장하셨습니다."),
        ("en", "Chat rooms", "New room", "There is nothing at this address.", "Message", " joined."),
    ],
)
async def test_pages_use_the_browsers_language(
    windows: Windows, language: str, rooms: str, new: str, missing: str, placeholder: str, joined: str
) -> None:
    alice, bob = await windows.open(language=language), await windows.open()
    for path, heading in (("/", rooms), ("/room", new)):
        await alice.go(path)
        await expect(alice.page.get_by_role("heading", level=1)).to_have_text(heading)
        await expect(alice.page.locator("html")).to_have_attribute("lang", language)
    room = await alice.create_room("Babel")
    await expect(alice.page.get_by_placeholder(placeholder, exact=True)).to_be_visible()
    await bob.enter(room)
    await expect(alice.line(f"{await bob.color()}{joined}")).to_be_visible()

    alice.expects(REFUSED)
    await alice.go("/nowhere")
    await expect(alice.page.get_by_role("heading", level=1)).to_have_text(missing)
    other = {"ko": "English", "en": "한국어"}[language]
    await alice.page.get_by_role("link", name=other).click()
    await expect(alice.page.get_by_role("heading", level=1)).not_to_have_text(missing)
    await alice.go("/")
    await expect(alice.page.get_by_role("heading", level=1)).to_have_text(
        {"ko": "Chat rooms", "en": "채팅방 목록"}[language]
    )


# Cross-site scripting

XSS = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=pwned=1>",
    "<svg/onload=pwned=1>",
    "</script><script>pwned=1</script>",
    "'\"><details open ontoggle=pwned=1>",
    "{{7*7}}${7*7}<b>x</b>",
    "javascript:pwned=1//",
    "<!--</title></textarea><iframe srcdoc='<script>parent.pwned=1</script>'>",
)


async def test_user_content_is_shown_as_text_everywhere(windows: Windows) -> None:
    alice, bob = await windows.open(), await windows.open()
    alerts: list[str] = []
    for window in (alice, bob):
        window.page.on("dialog", lambda dialog: alerts.append(dialog.message))
    bob.expects(REFUSED)

    async def untouched(window: Window) -> None:
        assert await window.page.evaluate("() => 'pwned' in window") is False
        assert await window.page.locator("main :is(script, iframe, svg, b, details), main img[src=x]").count() == 0

    await alice.go("/")
    rooms = []
    for title in XSS:
        rooms.append(await alice.make_room(title, password="pw"))
        await alice.enter(rooms[-1])
        await expect(alice.page.locator("#room-title")).to_have_text(title)
        await expect(alice.page).to_have_title(f"{title} · GIF Chat")
        await untouched(alice)
    for text in XSS:
        await alice.say(text)
    await bob.go(f"{rooms[-1]}?password=pw")
    await bob.is_in()
    await expect(bob.page.locator(".message .text")).to_have_text(list(XSS))
    await expect(alice.page.locator(".message.sent .text")).to_have_text(list(XSS))
    await alice.page.locator("#room-settings").click()
    await expect(alice.page.locator("dialog [name=title]")).to_have_value(XSS[-1])
    for window in (alice, bob):
        await untouched(window)

    await bob.go("/")
    for room, title in zip(rooms, XSS, strict=True):
        await expect(bob.page.locator(f'tr[data-room="{room.removeprefix("/room/")}"] .cell-title')).to_have_text(title)
    await untouched(bob)
    for room, text in zip(rooms[:4], XSS, strict=False):
        await bob.go(room)
        await bob.give_password(text)
        await expect(bob.page.get_by_role("alert")).to_have_text("비밀번호가 틀렸습니다.")
        await untouched(bob)
    for text in XSS:
        await bob.go(f"/?error={quote(text)}&q={quote(text)}")
        await expect(bob.page.get_by_role("alert")).to_have_count(0)
        await expect(bob.page.get_by_placeholder("방 제목 검색")).to_have_value(text)
        await untouched(bob)
    assert alerts == []


async def test_the_content_security_policy_blocks_injected_code_and_reports_it(windows: Windows) -> None:
    alice = await windows.open()
    await alice.go("/")
    alice.expects("Content Security Policy")
    async with alice.page.expect_console_message():
        await alice.page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.pwned = 1";
                document.body.append(script);
            }"""
        )
    assert await alice.page.evaluate("() => 'pwned' in window") is False
    assert any("Content Security Policy" in words for words in alice.complaints)


# The owner


async def test_the_owner_moderates_the_room(windows: Windows) -> None:
    alice, bob = await windows.open(gateway="gateway-1"), await windows.open(gateway="gateway-2")
    room = await alice.create_room("질서")
    await bob.enter(room)
    await expect(bob.page.locator("#room-settings")).to_be_hidden()
    await bob.say("첫 번째")
    await bob.say("두 번째")
    await expect(alice.message("두 번째")).to_be_visible()
    await expect(bob.page.locator(".manage")).to_have_count(0)

    await alice.choose(alice.message("첫 번째"), "메시지 삭제")
    for window in (alice, bob):
        await expect(window.page.locator(".message")).to_have_text(
            [re.compile("삭제된 메시지입니다."), re.compile("두 번째")]
        )

    await alice.choose(alice.message("두 번째"), "10분 동안 채팅 금지")
    await expect(bob.page.locator("#text")).to_be_disabled()
    await expect(bob.page.locator("#composer-note")).to_have_text(re.compile("까지 메시지를 보낼 수 없습니다."))
    await alice.choose(alice.message("두 번째"), "채팅 금지 해제")
    await expect(bob.page.locator("#text")).to_be_enabled()
    await bob.say("세 번째")
    await expect(alice.message("세 번째")).to_be_visible()

    await alice.page.locator("#room-settings").click()
    await alice.page.locator("dialog [name=slow_mode_s]").select_option("300")
    await alice.page.get_by_role("button", name="저장").click()
    for window in (alice, bob):
        await expect(
            window.line("방장이 슬로 모드를 켰습니다. 메시지를 300초에 한 번만 보낼 수 있습니다.")
        ).to_be_visible()
    bob.expects(REFUSED)
    await bob.say("네 번째")
    await expect(bob.page.locator(".message", has_text="네 번째")).to_have_class(re.compile("sent|failed"))
    await bob.say("다섯 번째")
    await expect(bob.page.locator(".message.failed").last).to_contain_text("보내지 못했습니다.")

    await alice.choose(alice.message("두 번째"), "내보내기")
    await expect(bob.page.get_by_role("heading", name="방장이 이 방에서 내보냈습니다.")).to_be_visible()
    await expect(bob.page.locator("#composer")).to_be_hidden()
    await bob.page.get_by_role("link", name="목록으로").last.click()
    await expect(bob.page.get_by_role("heading", name="채팅방 목록")).to_be_visible()

    carol = await windows.open()
    await carol.enter(room)
    alice.page.on("dialog", accept)
    await alice.page.locator("#room-settings").click()
    await alice.page.get_by_role("button", name="방 삭제").click()
    for window in (alice, carol):
        await expect(window.page.get_by_role("heading", name="방이 삭제되었습니다.")).to_be_visible()
    await carol.go(room)
    await expect(carol.page.get_by_role("alert")).to_have_text("존재하지 않는 방입니다.")


# On a phone


async def fits(window: Window, width: int) -> None:
    """Assert that nothing overflows the screen and that every control is large enough for a finger."""
    assert await window.page.evaluate("() => document.documentElement.scrollWidth") <= width
    small = await window.page.evaluate(
        """() => [...document.querySelectorAll("button, a, input:not([type=checkbox]), select, textarea")]
            .filter((node) => node.checkVisibility({visibilityProperty: true}))
            .filter((node) => !node.matches(".visually-hidden, .skip-link, .link"))
            .map((node) => [node.outerHTML, node.getBoundingClientRect()])
            .filter(([, box]) => box.height < 36 || box.left < 0 || box.right > innerWidth)
            .map(([html, box]) => [html, box.height, box.left, box.right])"""
    )
    assert small == []


async def test_the_pages_work_on_a_phone(windows: Windows) -> None:
    alice, bob = await windows.open(phone=True), await windows.open()
    width, height = PHONE
    room = await alice.create_room("주머니 속의 아주아주아주아주아주아주아주아주아주아주 긴 제목", password="pw")
    await bob.go(f"{room}?password=pw")
    await bob.is_in()
    await alice.page.locator("#text").fill("https://example.com/" + "x" * 300)
    await alice.page.locator("#send").tap()
    await expect(bob.page.locator(".theirs")).to_have_count(1)
    for number in range(30):
        await bob.post(room, f"many-{number}", f"많은 말 {number}")
    await bob.pick_gif(picture("gif", 900, 300, frames=2))
    await expect(alice.page.locator(".gif img")).to_have_js_property("naturalWidth", 900)
    await expect(alice.page.locator(".gif img")).to_be_in_viewport(ratio=1)
    await fits(alice, width)
    composer = await alice.page.locator("#composer").bounding_box()
    assert composer is not None
    assert composer["y"] + composer["height"] <= height

    # The on-screen keyboard takes half of the screen.
    await alice.page.set_viewport_size({"width": width, "height": 420})
    await expect(alice.page.locator("#composer")).to_be_in_viewport(ratio=1)
    await expect(alice.page.locator(".message").last).to_be_in_viewport()
    await alice.page.set_viewport_size({"width": width, "height": height})

    await alice.page.locator(".theirs .manage").last.tap()
    await fits(alice, width)
    await alice.page.get_by_role("button", name="닫기").tap()
    await alice.page.locator("#room-settings").tap()
    await fits(alice, width)
    await alice.page.get_by_role("button", name="닫기").tap()
    carol = await windows.open(phone=True)
    for path in ("/", "/room", room):
        await carol.go(path)
        await fits(carol, width)


# Screenshots for the documents


def cat(size: int = 240) -> bytes:
    """Return a GIF of a cat that blinks and turns its head."""
    frames = []
    for step in range(12):
        image = Image.new("RGB", (size, size * 3 // 4), "#ffd9a0")
        draw = ImageDraw.Draw(image)
        sway = round(8 * math.sin(step * math.tau / 12))
        left, top, right, bottom = 60 + sway, 48, 180 + sway, 156
        for ear in (left + 4, right - 44):
            draw.polygon([(ear, top + 34), (ear + 20, top - 26), (ear + 40, top + 34)], fill="#5b4636")
        draw.ellipse((left, top, right, bottom), fill="#5b4636")
        for eye in (left + 30, right - 50):
            open_ = 2 if step in (5, 6) else 20
            draw.ellipse((eye, 92 - open_ // 2, eye + 20, 92 + open_ // 2), fill="#ffe36e")
            draw.ellipse((eye + 7, 92 - open_ // 2, eye + 13, 92 + open_ // 2), fill="#222")
        middle = (left + right) // 2
        draw.polygon([(middle - 6, 110), (middle + 6, 110), (middle, 118)], fill="#ff9aa2")
        for side in (-1, 1):
            for rise in (-6, 2, 10):
                draw.line((middle + side * 14, 118, middle + side * 62, 114 + rise), fill="#ffd9a0", width=2)
        frames.append(image.quantize(16))
    out = BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=90, loop=0)
    return out.getvalue()


async def take(window: Window, name: str) -> None:
    """Take a screenshot of the window. With SCREENSHOTS set, write it to docs/images/."""
    data = await window.page.screenshot()
    assert len(data) < IMAGE_MAX_BYTES, name
    if os.environ.get("SCREENSHOTS"):
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / name).write_bytes(data)


async def test_screenshots_for_the_documents(windows: Windows) -> None:
    alice = await windows.open(gateway="gateway-1", language="en")
    bob = await windows.open(gateway="gateway-2", language="en", phone=True)
    await alice.create_room("Late night jazz", password="blue")
    await alice.create_room("주말 등산 모임")
    await bob.create_room("A hundred thousand viewers")
    room = await alice.create_room("Cats of the world")
    await bob.enter(room)
    await expect(alice.page.locator(".line")).to_be_visible()
    for window, text in (
        (bob, "안녕하세요! Is this where the cats are?"),
        (alice, "It is. Each of us is on another gateway, and the cats come in order all the same."),
        (bob, "Then here is mine:"),
    ):
        await window.say(text)
        await expect(window.message(text)).to_be_visible()
    await bob.pick_gif(cat())
    for window in (alice, bob):
        await expect(window.page.locator(".message.sent .gif img")).to_have_js_property("naturalWidth", 240)
    await alice.say("고양이다! What is its name?")
    for window, device in ((alice, "desktop"), (bob, "phone")):
        await expect(window.page.locator(".message.sent")).to_have_count(5)
        for scheme in ("", "-dark"):
            await window.page.emulate_media(color_scheme="dark" if scheme else "light")
            await take(window, f"room-{device}{scheme}.png")
    for window, device in ((alice, "desktop"), (bob, "phone")):
        await window.go("/")
        await expect(window.page.locator("#rooms tbody tr").first).to_be_visible()
        for scheme in ("", "-dark"):
            await window.page.emulate_media(color_scheme="dark" if scheme else "light")
            await take(window, f"rooms-{device}{scheme}.png")
