"""Operator requests to one gateway."""

import http.client
import json
from typing import Any

from gifchat_cli.ports import LOOPBACK


class GatewayRefusedError(Exception):
    """The gateway refused the request; `str()` says why."""


def ask_gateway(port: int, internal_token: str, path: str, content: dict[str, Any]) -> None:
    """POST to an internal route of the gateway on `port`. Blocks; times out after 5 s without an answer.

    Raises:
        GatewayRefusedError: there is no answer, or its status is not 202.
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5.0)
    headers = {"Authorization": f"Bearer {internal_token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", path, json.dumps(content), headers)
        response = connection.getresponse()
        body = response.read(2_000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise GatewayRefusedError(f"port {port} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.ACCEPTED:
        raise GatewayRefusedError(f"port {port} answers {response.status} to {path}: {body}")
