import json

import pytest

from gifchat_chassis.problems import MEDIA_TYPE, problem_body, problem_response, retry_after
from gifchat_contracts import errors


def test_a_body_names_its_code_and_says_what_to_do() -> None:
    code = errors.ROOM_FULL
    assert problem_body(code, "ko", "/api/v1/rooms/1/tickets") == {
        "type": "urn:gifchat:error:room_full",
        "title": code.text("ko"),
        "status": 409,
        "detail": code.text("ko"),
        "code": "room_full",
        "action": "retry",
        "retry": True,
        "instance": "/api/v1/rooms/1/tickets",
    }
    assert problem_body(code, "en", "/")["title"] == code.text("en")
    assert problem_body(code, "en", "/", "Ask again.")["detail"] == "Ask again."


def test_the_instance_is_a_valid_uri_reference() -> None:
    assert problem_body(errors.NOT_FOUND, "en", '/room/방 "<>')["instance"] == "/room/%EB%B0%A9%20%22%3C%3E"


def test_a_response_says_its_language_and_is_not_cached() -> None:
    response = problem_response(errors.NOT_FOUND, "ko", "/x", headers={"Allow": "GET"})
    assert response.status_code == 404
    assert response.media_type == MEDIA_TYPE
    assert response.headers["content-language"] == "ko"
    assert response.headers["vary"] == "Accept-Language"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["allow"] == "GET"
    assert "retry-after" not in response.headers


def test_a_response_lists_the_invalid_parts() -> None:
    wrong = [{"where": "body.title", "message": "too long"}]
    response = problem_response(errors.VALIDATION_FAILED, "en", "/x", wrong=wrong)
    assert json.loads(bytes(response.body))["errors"] == wrong
    assert "errors" not in json.loads(bytes(problem_response(errors.VALIDATION_FAILED, "en", "/x").body))


@pytest.mark.parametrize(("seconds", "header"), [(None, "1"), (0, "1"), (0.2, "1"), (1.01, "2"), (42, "42")])
def test_the_retry_time_is_at_least_one_whole_second(seconds: float | None, header: str) -> None:
    assert retry_after(seconds) == header
    response = problem_response(errors.UNAVAILABLE, "en", "/x", retry_after_s=seconds)
    assert response.headers["retry-after"] == header
