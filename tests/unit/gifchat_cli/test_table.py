from gifchat_cli.table import render_table


def test_names_go_to_the_left_and_numbers_to_the_right() -> None:
    processes = [
        {"name": "gateway-1", "port": 40001, "sockets": 7},
        {"name": "web", "port": 8, "sockets": None},
    ]
    assert render_table(processes, ["name", "port", "sockets"]) == (
        "name        port  sockets\n"
        "gateway-1  40001        7\n"
        "web            8        –"
    )  # fmt: skip


def test_an_empty_table_is_its_headline() -> None:
    assert render_table([], ["name", "pid"]) == "name  pid"
