import pytest

from gifchat_cli.servers.nginx import render


def test_placeholders_are_replaced_and_the_variables_of_nginx_stay() -> None:
    assert (
        render("listen ${PORT}; set $x $host${uri}; # ${PORT}", {"PORT": "80"}) == "listen 80; set $x $host${uri}; # 80"
    )


def test_a_value_is_not_read_as_a_template() -> None:
    assert render("${A}", {"A": "${A} $1 \\1"}) == "${A} $1 \\1"


def test_a_missing_and_an_unknown_value_are_mistakes() -> None:
    with pytest.raises(ValueError, match="asks for B"):
        render("${A} ${B}", {"A": ""})
    with pytest.raises(ValueError, match="does not know C"):
        render("${A}", {"A": "", "C": ""})
