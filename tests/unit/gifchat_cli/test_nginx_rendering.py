import pytest

from gifchat_cli.servers.nginx import render


def test_placeholders_are_replaced_but_nginx_variables_stay() -> None:
    assert (
        render("listen ${PORT}; set $x $host${uri}; # ${PORT}", {"PORT": "80"}) == "listen 80; set $x $host${uri}; # 80"
    )


def test_placeholders_in_a_value_stay() -> None:
    assert render("${A}", {"A": "${A} $1 \\1"}) == "${A} $1 \\1"


def test_missing_and_unknown_values_raise() -> None:
    with pytest.raises(ValueError, match="asks for B"):
        render("${A} ${B}", {"A": ""})
    with pytest.raises(ValueError, match="does not know C"):
        render("${A}", {"A": "", "C": ""})
