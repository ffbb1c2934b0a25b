"""Non-finite numbers: every route with a body or a query refuses them, and no answer contains one."""

import json
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN
from gifchat_rooms_api.app import create_app
from gifchat_rooms_api.settings import Settings

from .conftest import Api

pytestmark = pytest.mark.servers

NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"]
FIELDS = ["title", "max", "password", "slow_mode_s", "client_message_id", "text", "gif", "user_id", "color", "seconds"]
BODIES = [
    "{}",
    "[{}]",
    '{{"unknown":{}}}',
    '{{"rooms":{}}}',
    '{{"rooms":[{}]}}',
    '{{"client_message_id":"k","text":"hi","unknown":{}}}',
    *(f'{{{{"{field}":{{}}}}}}' for field in FIELDS),
]
ROUTES = sorted(
    (method, str(route.path))
    for route in iter_route_contexts(create_app(Settings()).routes)
    for method in route.methods or set()
    if method in ("POST", "PUT", "PATCH") and not str(route.path).endswith("/gifs")
)
QUERIES = [
    ("/api/v1/rooms", ("limit", "cursor", "sort")),
    ("/api/v1/rooms/{room_id}/messages", ("limit", "before", "after")),
    ("/internal/v1/rooms/{room_id}/log", ("limit", "before", "after", "newest")),
]


@pytest.fixture
async def owner(api: Api) -> tuple[httpx.AsyncClient, dict[str, str]]:
    """A client with all permissions, and its room."""
    anne = await api.user("anne")
    room = await anne.room()
    headers = {"Authorization": f"Bearer {DEVELOPMENT_TOKEN}", "Content-Type": "application/json"}
    client = await api.client("http://test", headers=headers, cookies=anne.http.cookies)
    return client, {"room_id": room["_id"], "user_id": "1" * 24}


def check_refusal(answer: httpx.Response, what: str) -> None:
    assert answer.headers["content-type"] == "application/problem+json", what
    document = json.loads(answer.content, parse_constant=no_constant)
    assert (answer.status_code, document["code"]) == (422, "validation_failed"), what


def no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def test_the_service_has_routes_with_bodies() -> None:
    assert len(ROUTES) == 10


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_body_with_a_non_finite_number_is_refused(
    owner: tuple[httpx.AsyncClient, dict[str, str]], method: str, path: str
) -> None:
    client, names = owner
    for number in NUMBERS:
        for template in BODIES:
            body = template.format(number)
            check_refusal(await client.request(method, path.format(**names), content=body), body)


@pytest.mark.parametrize(("path", "parameters"), QUERIES)
async def test_a_query_with_a_non_finite_number_is_refused(
    owner: tuple[httpx.AsyncClient, dict[str, str]], path: str, parameters: tuple[str, ...]
) -> None:
    client, names = owner
    for number in [*NUMBERS, "inf", "nan", "1e3"]:
        for parameter in parameters:
            check_refusal(await client.get(path.format(**names), params={parameter: number}), f"{parameter}={number}")
