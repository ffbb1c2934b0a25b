"""GIF Chat in containers for tests: images built from this repository, started with `docker compose`.

`engine_problem` says why these tests cannot run on this machine. If it gives a reason, they are skipped.
"""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from testcontainers.compose import DockerCompose

from gifchat_cli.ports import free_port

ROOT = Path(__file__).parents[3]
BASE_IMAGES = {
    "PYTHON_IMAGE": "python:3.11-slim",
    "NGINX_IMAGE": "nginx:1.31",
    "MONGO_IMAGE": "mongo:6",
    "VALKEY_IMAGE": "valkey/valkey:9-alpine",
}
"""The defaults of `docker-compose.yml`; environment variables override them."""

IMAGE_TAG = "test"
"""Always the same tag, so that tests leave only one set of images, and the next build reuses their layers."""

COMMAND_TIMEOUT_S = 240.0
_POLL_INTERVAL_S = 0.2

Inspected = dict[str, Any]
"""The output of `docker inspect` for one container."""


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `docker …` and wait until it exits."""
    return subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_TIMEOUT_S,
    )


def engine_problem() -> str | None:
    """Return why containers cannot be tested here, or None if they can."""
    if shutil.which("docker") is None:
        return "no Docker: there is no `docker` command"
    if docker("info").returncode != 0:
        return "no Docker: its engine does not answer"
    if docker("compose", "version").returncode != 0:
        return "no Docker Compose: `docker compose` is not installed (is DOCKER_CONFIG set?)"
    for variable, default in BASE_IMAGES.items():
        image = os.environ.get(variable, default)
        if docker("image", "inspect", image).returncode != 0 and docker("pull", "--quiet", image).returncode != 0:
            return f"no image {image}: it is not here and cannot be pulled; set {variable} to another image"
    return None


@dataclass(frozen=True, slots=True)
class ComposeStack:
    """A running project of `docker-compose.yml`."""

    running: DockerCompose
    port: int

    @property
    def url(self) -> str:
        """The address for browsers."""
        return f"http://localhost:{self.port}"

    def compose(self, *arguments: str) -> str:
        """Run `docker compose …` for this project, and return its output.

        Raises:
            AssertionError: the command failed; the message has its output.
        """
        _, *command = self.running.docker_compose_command()
        answer = docker(*command, *arguments)
        assert answer.returncode == 0, (
            f"docker compose {' '.join(arguments)}:\n{(answer.stdout + answer.stderr)[-6_000:]}"
        )
        return answer.stdout

    def up(self, gateways: int) -> None:
        """Start everything, and wait until every container is healthy.

        Raises:
            AssertionError: a container did not get healthy; the message has the logs.
        """
        try:
            self.compose("up", "--wait", "--no-build", "--scale", f"realtime-gateway={gateways}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('ps', '--all')}\n{self.logs(tail=40)}") from None

    def logs(self, *services: str, tail: int = 200) -> str:
        """Return the end of the logs."""
        return self.compose("logs", "--no-color", "--tail", str(tail), *services)

    def containers(self, service: str | None = None) -> list[Inspected]:
        """Return the containers of a service, or all containers, running or not."""
        ids = self.compose("ps", "--all", "--quiet", *([service] if service else [])).split()
        found: list[Inspected] = json.loads(docker("inspect", *ids).stdout)
        return found

    def ask(self, container: Inspected, path: str) -> Any:
        """Send a request to a Python service from inside its container, and return the JSON of the answer."""
        return json.loads(self.get(container, path))

    def get(self, container: Inspected, path: str) -> str:
        """Send a request to a Python service from inside its container, and return the text of the answer."""
        url = f"http://127.0.0.1:8000{path}"
        code = f"from urllib.request import urlopen; print(urlopen({url!r}, timeout=5).read().decode())"
        answer = docker("exec", container["Id"], "python", "-I", "-c", code)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout


@contextmanager
def compose_stack(gateways: int, env: Mapping[str, str] | None = None) -> Iterator[ComposeStack]:
    """Build the images and start everything. After the block, remove all containers, networks and volumes."""
    port = free_port()
    settings = {
        "COMPOSE_PROJECT_NAME": f"gifchat-test-{uuid4().hex[:8]}",
        "GIFCHAT_VERSION": IMAGE_TAG,
        "PORT": str(port),
        "LOG_LEVEL": "info",
        **(env or {}),
    }
    with tempfile.TemporaryDirectory(prefix="gifchat-compose-") as folder:
        env_file = Path(folder) / "stack.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        with DockerCompose(ROOT, build=True, env_file=str(env_file)) as running:
            stack = ComposeStack(running, port)
            stack.up(gateways)
            yield stack


async def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait until `condition` holds. It may block: it runs in a thread, so this process's clients keep running.

    Raises:
        AssertionError: it did not hold within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(_POLL_INTERVAL_S)
