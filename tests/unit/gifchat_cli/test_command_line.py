import pytest

from gifchat_cli.__main__ import main
from gifchat_cli.bench import arguments


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["scale", "gateways=0"], "a number from 1 to 32"),
        (["scale", "gateways"], "a number from 1 to 32"),
        (["scale", "webs=2"], "KIND must be gateways or rooms-api"),
        (["up", "--port", "70000"], "a port from 1 to 65535"),
        (["up", "--log-days", "0"], "a number of days from 1 to 3650"),
        (["up", "--gateways", "many"], "a number from 1 to 32"),
        (["shed", "gateway-1", "0%"], "a share from 1% to 100%"),
        (["shed", "gateway-1", "half"], "a share from 1% to 100%"),
        (["restart", "nginx"], "gateways or rooms-api, or the name of one"),
        (["restart", "web-1"], "gateways or rooms-api, or the name of one"),
        (["bench", "--rate", "21"], "one user may post at most 20 messages a second"),
        (["bench", "--rate", "nan"], "a number above 0"),
        (["bench", "--max", "60001"], "a number from 1 to 60000"),
        (["bench", "--step", "0"], "a number from 1 to 60000"),
        (["logs", "web", "-n", "-3"], "a number above 0"),
        (["dance"], "invalid choice"),
    ],
)
def test_invalid_arguments_are_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("url", ["https://localhost", "localhost:8080", "http://localhost:99999", "http://localhost/x"])
def test_the_bench_refuses_an_address_that_it_cannot_use(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--url", url]) == 1
    assert capsys.readouterr().err.startswith(f"{url}: an address looks like {arguments.DEFAULT_URL}.")
