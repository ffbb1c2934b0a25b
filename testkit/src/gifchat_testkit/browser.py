"""Real browser windows on a cluster. Each window has a new user, on a gateway that the test may choose.

A window collects errors and warnings from its console, such as violations of the content security policy. At the end,
`complaints` may only contain what the test allowed with `expects`.
"""

import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, FilePayload, Locator, Page, async_playwright, expect

from gifchat_testkit import affinity
from gifchat_testkit.cluster import EmbeddedCluster

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DEADLINE_S = 15.0
DESKTOP = (1280, 800)
PHONE = (390, 844)

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
)
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <match target="pattern">
    <edit name="family" mode="prepend" binding="strong"><string>Noto Sans CJK KR</string></edit>
  </match>
</fontconfig>
"""
_LOCALES = {"ko": "ko-KR", "en": "en-US"}
_CONVERSATION = """() => [...document.querySelectorAll("#message-list > .message")].map((row) =>
    row.querySelector(".text, .deleted")?.textContent ?? row.querySelector("img")?.getAttribute("src") ?? "?")"""


@asynccontextmanager
async def chromium(folder: Path, *arguments: str) -> AsyncIterator[Browser]:
    """Start a headless browser. Font settings in `folder` make screenshots look the same on every machine.

    `arguments` are added to its command line.
    """
    fonts = folder / "fonts.conf"
    fonts.write_text(_FONTS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[*_ARGUMENTS, *arguments],
            env={**os.environ, "FONTCONFIG_FILE": str(fonts)},
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Window:
    """A browser window with one page."""

    cluster: EmbeddedCluster
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    _expected: list[str] = field(default_factory=list)

    def expects(self, *patterns: str) -> None:
        """Allow browser complaints that match these regular expressions, because the test causes them."""
        self._expected += patterns

    def check(self) -> None:
        """Check that the console shows no unexpected complaint.

        Raises:
            AssertionError: it shows one.
        """
        unexpected = [words for words in self.complaints if not any(re.search(each, words) for each in self._expected)]
        assert not unexpected, f"the console shows {unexpected}"

    # Location

    async def go(self, path: str) -> None:
        """Open a path of the cluster."""
        await self.page.goto(self.cluster.url + path)

    async def enter(self, path: str) -> None:
        """Open a room and wait until the page has joined it."""
        await self.go(path)
        await self.is_in()

    async def is_in(self) -> None:
        """Wait until the page has joined its room."""
        await expect(self.page.locator("#messages")).to_have_attribute("aria-busy", "false")

    @property
    def path(self) -> str:
        """The path and query of the page."""
        return self.page.url.removeprefix(self.cluster.url)

    async def gateway(self) -> str:
        """Return the name of the gateway to which nginx routes this window."""
        cookies = {cookie["name"]: cookie["value"] for cookie in await self.context.cookies() if "name" in cookie}
        names = {affinity.tag_in(self.cluster.log(name)): name for name in _gateways(self.cluster)}
        return names[cookies[affinity.COOKIE]]

    # Forms

    async def create_room(self, title: str, password: str = "") -> str:
        """Create a room with the form, wait until the page has joined it, and return its path."""
        await self.go("/room")
        await self.page.locator("[name=title]").fill(title)
        await self.page.locator("[name=password]").fill(password)
        await self.page.locator("form .primary").click()
        await self.is_in()
        return self.path

    async def give_password(self, password: str) -> None:
        """Fill in the password form of a room."""
        await self.page.locator("[name=password]").fill(password)
        await self.page.locator("form .primary").click()

    # Chat

    async def say(self, text: str) -> None:
        """Write a message and press Enter."""
        box = self.page.locator("#text")
        await box.fill(text)
        await box.press("Enter")

    async def pick_gif(self, data: bytes, name: str = "cat.gif", mime_type: str = "image/gif") -> None:
        """Choose a file with the button and the browser's file picker."""
        async with self.page.expect_file_chooser() as chooser:
            await self.page.locator("#gif-button").click()
        await (await chooser.value).set_files(FilePayload(name=name, mimeType=mime_type, buffer=data))

    async def conversation(self) -> list[str]:
        """Return the shown messages in order: texts, and URLs of pictures."""
        shown: list[str] = await self.page.evaluate(_CONVERSATION)
        return shown

    def message(self, text: str) -> Locator:
        """Locate the rows of messages with exactly this text."""
        exactly = self.page.locator(".text, .deleted").filter(has_text=re.compile(f"^{re.escape(text)}$"))
        return self.page.locator("#message-list > .message", has=exactly)

    def line(self, text: str) -> Locator:
        """Locate the system lines that contain this text."""
        return self.page.locator("#message-list > .line").filter(has_text=text)

    async def color(self) -> str:
        """Return the user's colour."""
        return str(await self.page.evaluate("JSON.parse(document.getElementById('page-data').textContent).you.color"))

    async def user_id(self) -> str:
        """Return the user's id."""
        return str(await self.page.evaluate("JSON.parse(document.getElementById('page-data').textContent).you.user_id"))

    async def choose(self, message: Locator, choice: str) -> None:
        """Choose an entry of a message's menu as the owner, and wait until the menu closes."""
        await message.hover()
        await message.locator(".manage").click()
        await self.page.locator("dialog").get_by_role("button", name=choice, exact=True).click()
        await expect(self.page.locator("dialog")).to_have_count(0)

    # The API, with the page's session

    async def make_room(self, title: str, password: str) -> str:
        """Create a room owned by this user, and return its path."""
        return f"/room/{(await self._api('POST', '/rooms', {'title': title, 'password': password}))['_id']}"

    async def post(self, room: str, client_message_id: str, text: str) -> None:
        """Post a text into the room with this path."""
        message = {"client_message_id": client_message_id, "text": text}
        await self._api("POST", f"{room.replace('/room/', '/rooms/')}/messages", message)

    async def mute(self, room: str, user_id: str, seconds: int) -> datetime:
        """Mute a user in the room with this path, as its owner; return the end of the mute."""
        path = f"{room.replace('/room/', '/rooms/')}/mutes/{user_id}"
        return datetime.fromisoformat((await self._api("PUT", path, {"seconds": seconds}))["until"])

    async def log(self, room: str) -> list[dict[str, Any]]:
        """Return the newest page of history of the room with this path."""
        items: list[dict[str, Any]] = (await self._api("GET", f"{room.replace('/room/', '/rooms/')}/messages"))["items"]
        return items

    async def _api(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = await self.context.request.fetch(
            f"{self.cluster.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json", "Origin": self.cluster.url},
        )
        assert answer.ok, await answer.text()
        content: dict[str, Any] = await answer.json()
        return content


class Windows:
    """Opens windows; at the end closes them and checks their complaints."""

    def __init__(self, browser: Browser, cluster: EmbeddedCluster, stack: AsyncExitStack) -> None:
        self._browser = browser
        self._cluster = cluster
        self._stack = stack
        self.opened: list[Window] = []

    async def open(
        self, *, gateway: str | None = None, language: str = "ko", dark: bool = False, phone: bool = False
    ) -> Window:
        """Open a window for a new user; `gateway` names the gateway to route it to."""
        width, height = PHONE if phone else DESKTOP
        context = await self._browser.new_context(
            locale=_LOCALES[language],
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": height},
            is_mobile=phone,
            has_touch=phone,
        )
        self._stack.push_async_callback(context.close)
        if gateway is not None:
            tag = affinity.tag_in(self._cluster.log(gateway))
            await affinity.learn(self._cluster.url, tag)
            await context.add_cookies([{"name": affinity.COOKIE, "value": tag, "url": self._cluster.url}])
        page = await context.new_page()
        page.set_default_timeout(DEADLINE_S * 1000)
        window = Window(self._cluster, context, page)
        page.on(
            "console",
            lambda message: window.complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: window.complaints.append(f"uncaught: {error}"))
        self.opened.append(window)
        return window


@asynccontextmanager
async def opened_windows(browser: Browser, cluster: EmbeddedCluster) -> AsyncIterator[Windows]:
    """Provide windows until the block ends."""
    expect.set_options(timeout=DEADLINE_S * 1000)
    async with AsyncExitStack() as stack:
        windows = Windows(browser, cluster, stack)
        yield windows
        for window in windows.opened:
            window.check()


def _gateways(cluster: EmbeddedCluster) -> dict[str, dict[str, Any]]:
    return {name: process for name, process in cluster.processes().items() if process["kind"] == "gateway"}
