"""A route for hot paths: declared and documented like every FastAPI route, with a short way for valid requests.

FastAPI analyses the declaration again for each request, which costs several times as much as the endpoint. This route
analyses it once, when it is built, and validates with the same pydantic fields. If a request may be invalid, FastAPI's
own handler answers it and says what is wrong. So there is one set of error answers.
"""

from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fastapi import APIRouter, Request, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

_Call = Callable[..., Coroutine[Any, Any, Any]]


class _NotPlainlyValidError(Exception):
    """FastAPI's own handler must answer the request."""


class DirectRoute(APIRoute):
    """Calls the endpoint with validated values.

    The endpoint and its dependencies must be coroutine functions without `yield`. The endpoint must return a
    `Response`. Its parameters may be in the path, the query, a header, or be the whole JSON body. A dependency may run
    twice for a request, so it must only check.
    """

    def __init__(self, *declaration: Any, **options: Any) -> None:
        """See `APIRoute`."""
        super().__init__(*declaration, **options)
        answer_in_full = self.app
        endpoint = _Plan.of(self.dependant)
        has_body = self.body_field is not None

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            try:
                body = await _json(request) if has_body else None
                values = await endpoint.values(request, body)
            except _NotPlainlyValidError:
                await answer_in_full(scope, await _again(request) if has_body else receive, send)
                return
            response: Response = await endpoint.call(**values)
            await response(scope, receive, send)

        self.app = answer


async def _json(request: Request) -> Any:
    kind = request.headers.get("content-type", "")
    if kind != "application/json" and not kind.startswith("application/json;"):
        raise _NotPlainlyValidError
    try:
        return await request.json()
    except (ValueError, RecursionError, ClientDisconnect):
        raise _NotPlainlyValidError from None


async def _again(request: Request) -> Receive:
    """Return a `receive` that starts with the body that was already read."""
    try:
        whole: Message = {"type": "http.request", "body": await request.body(), "more_body": False}
    except ClientDisconnect:
        return request.receive
    messages = iter([whole])

    async def receive() -> Message:
        return next(messages, None) or await request.receive()

    return receive


@dataclass(frozen=True, slots=True)
class _Field:
    """One parameter, with FastAPI's validator."""

    name: str
    alias: str
    required: bool
    default: Any
    validate: Callable[[Any], tuple[Any, Collection[object]]]

    def valid(self, value: Any) -> Any:
        value, errors = self.validate(value)
        if errors:
            raise _NotPlainlyValidError
        return value


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to call the endpoint, or one of its dependencies."""

    call: _Call
    path: Sequence[_Field]
    query: Sequence[_Field]
    headers: Sequence[_Field]
    body: _Field | None
    request_name: str | None
    dependencies: Sequence[tuple[str | None, "_Plan"]]

    @classmethod
    def of(cls, declared: Dependant) -> "_Plan":
        """Return the plan for what FastAPI has read from a signature."""
        if declared.cookie_params or declared.response_param_name or declared.background_tasks_param_name:
            raise TypeError(f"{declared.call} needs a plain FastAPI route")
        body = _fields(declared.body_params)
        return cls(
            cast(_Call, declared.call),
            _fields(declared.path_params),
            _fields(declared.query_params),
            _fields(declared.header_params),
            body[0] if body else None,
            declared.request_param_name or declared.http_connection_param_name,
            [(each.name, cls.of(each)) for each in declared.dependencies],
        )

    async def values(self, request: Request, body: Any) -> dict[str, Any]:
        """Return the arguments of the call."""
        values = {field.name: field.valid(request.path_params[field.alias]) for field in self.path}
        if self.body is not None:
            values[self.body.name] = self.body.valid(body)
        if self.query:
            _take(self.query, request.query_params if request.scope["query_string"] else {}, values)
        if self.headers:
            _take(self.headers, request.headers, values)
        if self.request_name is not None:
            values[self.request_name] = request
        for name, dependency in self.dependencies:
            result = await dependency.call(**await dependency.values(request, body))
            if name is not None:
                values[name] = result
        return values


def _fields(declared: Sequence[Any]) -> list[_Field]:
    return [
        _Field(each.name, each.alias, each.field_info.is_required(), each.get_default(), each.validate)
        for each in declared
    ]


def _take(fields: Sequence[_Field], given: Any, values: dict[str, Any]) -> None:
    for field in fields:
        value = given.get(field.alias)
        if value is not None:
            values[field.name] = field.valid(value)
        elif field.required:
            raise _NotPlainlyValidError
        else:
            values[field.name] = field.default


def json_bytes(value: object) -> bytes:
    """Return a value as the JSON of an answer."""
    return bytes(JSONResponse(value).body)


def direct_router(prefix: str, checks: Sequence[params.Depends], **options: Any) -> APIRouter:
    """Return a router of `DirectRoute`s. Add its routes to the application itself: a nested router costs a search."""
    return APIRouter(
        prefix=prefix,
        dependencies=checks,
        route_class=DirectRoute,
        generate_unique_id_function=route_name,
        **options,
    )


def route_name(route: APIRoute) -> str:
    """Return the operation id of a route."""
    return route.name
