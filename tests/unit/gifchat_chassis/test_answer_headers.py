import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from gifchat_chassis.answer_headers import AnswerHeaders, relative_location


async def plain(_request: Request) -> Response:
    return PlainTextResponse("yours")


async def cached(_request: Request) -> Response:
    return PlainTextResponse("everybody's", headers={"Cache-Control": "public"})


async def elsewhere(_request: Request) -> Response:
    return RedirectResponse("http://foreign.example//other.example/room?q=1")


APP = AnswerHeaders(Starlette(routes=[Route("/plain", plain), Route("/cached", cached), Route("/away", elsewhere)]))


async def get(path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://forged.example") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("path", "expected"), [("/plain", "no-store"), ("/cached", "public"), ("/missing", "no-store")]
)
async def test_nothing_is_stored_unless_the_answer_allows_it(path: str, expected: str) -> None:
    assert (await get(path)).headers.get_list("cache-control") == [expected]


@pytest.mark.parametrize(("path", "location"), [("/away", "/other.example/room?q=1"), ("/plain/", "/plain")])
async def test_redirects_are_relative(path: str, location: str) -> None:
    answer = await get(path)
    assert (answer.status_code, answer.headers["location"]) == (307, location)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/room", "/room"),
        ("/", "/"),
        ("?lang=en", "?lang=en"),
        ("/?error=http://x", "/?error=http://x"),
        ("https://a.example", "/"),
        ("HTTP://a.example:1?q=1", "/?q=1"),
        ("//a.example/x", "/x"),
        ("/\\a.example/x", "/x"),
        ("\\\\a.example", "/"),
        ("http://a.example//b.example", "/b.example"),
        ("http://a.example/\\b.example", "/b.example"),
    ],
)
def test_no_location_leads_to_another_site(location: str, expected: str) -> None:
    assert relative_location(location.encode()) == expected.encode()
