"""Asks servers whether they are ready."""

import http.client
import json
from typing import Any

from gifchat_cli.ports import LOOPBACK


class NotReadyError(Exception):
    """A server is not ready (yet)."""


def get_health(port: int, path: str = "/health/ready", timeout_s: float = 2.0) -> dict[str, Any]:
    """Ask a service whether it is ready. Blocks.

    Returns:
        The JSON object in the answer; empty if the answer is something else.

    Raises:
        NotReadyError: there is no answer, or its status is not 200.
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotReadyError(f"port {port} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise NotReadyError(f"port {port} answers {response.status} to {path}: {body[:200].decode(errors='replace')}")
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
