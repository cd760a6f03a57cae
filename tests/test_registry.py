import pytest

from demitasse.errors import UnknownNameError, UsageError
from demitasse.registry import Registry


@pytest.fixture
def colours() -> Registry[int]:
    registry: Registry[int] = Registry("colour")
    registry.register("Red", "Crimson")(1)
    return registry


def test_finds_by_every_name(colours: Registry[int]) -> None:
    assert colours["Red"] == colours["Crimson"] == 1
    assert list(colours) == ["Red", "Crimson"]
    assert "Blue" not in colours


def test_refuses_a_duplicate(colours: Registry[int]) -> None:
    with pytest.raises(ValueError, match="colour 'Red' is registered twice"):
        colours.register("Red")(2)


def test_names_the_nearest_on_a_miss(colours: Registry[int]) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown colour 'red'; did you mean 'Red'\?"):
        colours["red"]


def test_lists_the_known_where_nothing_is_near(colours: Registry[int]) -> None:
    with pytest.raises(UsageError, match="unknown colour 'xyz'; known: Crimson, Red"):
        colours["xyz"]
