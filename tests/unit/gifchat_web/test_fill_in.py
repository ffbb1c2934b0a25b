import pytest

from gifchat_web.domain.fill_in import fill_in

ROOMS = {"one": "{count} room", "other": "{count} rooms"}


@pytest.mark.parametrize(("count", "expected"), [(0, "0 rooms"), (1, "1 room"), (2, "2 rooms"), (21, "21 rooms")])
def test_the_count_chooses_the_plural_form(count: int, expected: str) -> None:
    assert fill_in(ROOMS, {"count": count}) == expected


def test_a_language_without_plural_forms_uses_the_one_that_it_has() -> None:
    assert fill_in({"other": "방 {count}개"}, {"count": 1}) == "방 1개"


def test_a_particle_fits_the_value_before_it() -> None:
    text = "‘{title}’{을/를} 삭제하시겠습니까?"
    assert fill_in(text, {"title": "점심 방"}) == "‘점심 방’을 삭제하시겠습니까?"
    assert fill_in(text, {"title": "커피"}) == "‘커피’를 삭제하시겠습니까?"


def test_a_value_is_not_read_as_a_pattern() -> None:
    assert fill_in("{title}!", {"title": "{count} {을/를}"}) == "{count} {을/를}!"


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill_in("{title}", {})
