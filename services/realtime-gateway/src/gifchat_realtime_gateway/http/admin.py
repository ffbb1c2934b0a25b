"""Routes for operators, to move some or all clients away. The public listener does not expose them."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gifchat_chassis.internal_token import InternalToken
from gifchat_chassis.problems import problem_response
from gifchat_contracts import errors


def admin_routes(
    drain: Callable[[], Awaitable[None]], shed: Callable[[float], Awaitable[None]], internal_token: str
) -> list[Route]:
    """Return `POST /internal/v1/drain` and `POST /internal/v1/shed {"share": 0.3}`. Both answer 202 at once."""
    token = InternalToken(internal_token)
    working: set[asyncio.Task[None]] = set()

    def start(work: Awaitable[None]) -> Response:
        task = asyncio.ensure_future(work)
        working.add(task)
        task.add_done_callback(working.discard)
        return JSONResponse({"ok": True}, 202)

    def for_operators(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            if not token.matches(request.headers.get("authorization")):
                return problem_response(errors.INTERNAL_ONLY, "en", request.url.path)
            return await handle(request)

        return checked

    async def drain_node(_request: Request) -> Response:
        return start(drain())

    async def shed_share(request: Request) -> Response:
        try:
            content = await request.json()
        except (ValueError, RecursionError):
            return problem_response(errors.MALFORMED, "en", request.url.path)
        match content:
            case {"share": int() | float() as share} if not isinstance(share, bool) and 0 < share <= 1:
                return start(shed(share))
            case _:
                return problem_response(errors.VALIDATION_FAILED, "en", request.url.path)

    return [
        Route("/internal/v1/drain", for_operators(drain_node), methods=["POST"]),
        Route("/internal/v1/shed", for_operators(shed_share), methods=["POST"]),
    ]
