"""The entry point of nginx's container renders the template as the embedded cluster does. Docker is not needed."""

import os
import subprocess
from pathlib import Path

import pytest

from gifchat_cli.blueprint import NGINX_TEMPLATE
from gifchat_cli.servers.nginx import render

ENTRYPOINT = NGINX_TEMPLATE.with_name("docker-entrypoint.sh")


def start(work_dir: Path, template: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point with a fake nginx that prints its arguments."""
    commands = work_dir / "bin"
    commands.mkdir()
    (commands / "nginx").write_text('#!/bin/sh\necho "$@"\n')
    (commands / "nginx").chmod(0o755)
    (work_dir / "template").write_text(template)
    environment = {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "NGINX_TEMPLATE": str(work_dir / "template"),
        "RUN_DIR": str(work_dir),
        "TEMP_DIR": str(work_dir / "temp"),
        **settings,
    }
    return subprocess.run(["sh", ENTRYPOINT], env=environment, capture_output=True, text=True, check=False)


def test_every_placeholder_of_the_template_has_a_value(tmp_path: Path) -> None:
    done = start(tmp_path, NGINX_TEMPLATE.read_text())
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"-e stderr -p {tmp_path} -c {tmp_path}/nginx.conf -g daemon off;\n"
    config = (tmp_path / "nginx.conf").read_text()
    assert "${" not in config
    assert "server realtime-gateway:8000 resolve" in config
    assert (tmp_path / "temp").is_dir()


@pytest.mark.parametrize("value", ["a|b", "a&b", r"a\1b", "$remote_addr", "/x/y", 'it\'s "quoted"', ""])
def test_values_are_inserted_literally(tmp_path: Path, value: str) -> None:
    template = "one ${REAL_IP} two ${REAL_IP} $uri ${lower}\n"
    assert start(tmp_path, template, REAL_IP=value).returncode == 0
    assert (tmp_path / "nginx.conf").read_text() == render(template, {"REAL_IP": value})


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    done = start(tmp_path, "${SOMETHING_NEW}\n")
    assert done.returncode == 2
    assert done.stderr == "nginx.conf.template asks for SOMETHING_NEW, which is not set.\n"


@pytest.mark.parametrize(
    ("setting", "variable"),
    [
        ({}, "$remote_addr"),
        ({"LOG_ADDRESSES": "full"}, "$remote_addr"),
        ({"LOG_ADDRESSES": "network"}, "$remote_network"),
    ],
)
def test_a_setting_shortens_the_logged_addresses(tmp_path: Path, setting: dict[str, str], variable: str) -> None:
    assert start(tmp_path, "${LOGGED_ADDRESS}\n", **setting).returncode == 0
    assert (tmp_path / "nginx.conf").read_text() == f"{variable}\n"


def test_an_unknown_value_of_the_setting_is_refused(tmp_path: Path) -> None:
    done = start(tmp_path, "${LOGGED_ADDRESS}\n", LOG_ADDRESSES="some")
    assert (done.returncode, done.stderr) == (2, "LOG_ADDRESSES is some, but must be full or network.\n")
