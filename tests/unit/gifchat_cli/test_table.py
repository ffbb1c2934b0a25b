from gifchat_cli.table import render_table


def test_names_are_left_aligned_and_numbers_right_aligned() -> None:
    processes = [
        {"name": "gateway-1", "port": 40001, "sockets": 7},
        {"name": "web", "port": 8, "sockets": None},
    ]
    assert render_table(processes, ["name", "port", "sockets"]) == (
        "name        port  sockets\n"
        "gateway-1  40001        7\n"
        "web            8        –"
    )  # fmt: skip


def test_an_empty_table_is_its_heading() -> None:
    assert render_table([], ["name", "pid"]) == "name  pid"


def test_a_wide_table_is_not_wrapped_outside_a_terminal() -> None:
    (_, line) = render_table([{"name": "x" * 300, "kind": "y"}], ["name", "kind"]).splitlines()
    assert line == f"{'x' * 300}  y"
