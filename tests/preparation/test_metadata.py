"""The texts of preparations and classes in files: short, exact, and refused where they are not valid."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demitasse import Preparation
from demitasse.errors import FileFormatError, UsageError
from demitasse.preparation import classes_in, metadata_of, preparation_in
from demitasse.preparation.text import of_text, to_text

GOLDEN = {
    "grey 28x28 33.3184 0.0127281": Preparation("grey", (28, 28), 33.3184, 0.0127281),
    "grey 28x28 0 0.00390625": Preparation("grey", (28, 28), scale=1 / 256),
    "rgb 32x64": Preparation("rgb", (32, 64)),
    "bgr 256x256:227x227 104,117,123": Preparation("bgr", (256, 256), (104, 117, 123), crop=(227, 227)),
    "rgb 2x2 0 1,2,3": Preparation("rgb", (2, 2), scale=(1, 2, 3)),
    "grey 1x1 -5e-07 -1e+20": Preparation("grey", (1, 1), -5e-7, -1e20),
}


@pytest.mark.parametrize("text", GOLDEN)
def test_golden_texts(text: str) -> None:
    assert of_text(text) == GOLDEN[text]
    assert to_text(GOLDEN[text]) == text


numbers = st.floats(-(2.0**126), 2.0**126, width=32)
scales = numbers.filter(lambda number: abs(number) > 1e-30)
sizes = st.tuples(st.integers(1, 4096), st.integers(1, 4096))


@given(st.sampled_from(["rgb", "bgr"]), sizes, st.tuples(*[numbers] * 3), st.tuples(*[scales] * 3), st.booleans())
def test_every_preparation_comes_back(
    channels: str, size: tuple[int, int], mean: tuple[float, ...], scale: tuple[float, ...], cropped: bool
) -> None:
    found = Preparation(channels, size, mean, scale, (1, size[1]) if cropped else None)
    assert of_text(to_text(found)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 'channels size"),
        ("grey", "expected 'channels size"),
        ("gray 28x28", "channels is 'gray'; did you mean 'grey'?"),
        ("grey 28", "expected"),
        ("grey 28x28 nan", "expected"),
        ("grey 28x28 inf", "expected"),
        ("grey 28x28 1e39", "expected"),
        ("grey 28x28 0x10", "expected"),
        ("grey 28x28 1e+99", "mean is"),
        ("grey 28x28 1 0", "scale is 0"),
        ("grey 28x28 1,2", "mean is"),
        ("rgb 28x28 1,2,3,4", "mean is"),
        ("grey 28x28 1,", "expected"),
        ("grey 28x28 0 1 2", "expected"),
        ("grey  28x28", "expected"),
        ("grey 28x28\n", "expected"),
        ("grey 1000000000x1", "expected"),
        ("grey 9999x1", "size is"),
        ("grey 0x1", "expected"),
        ("grey ²x1", "expected"),
        ("grey 28x28:29x1", "crop is"),
        ("grey 28x28:1x1:1x1", "expected"),
        ("grey 28x28:", "expected"),
        ("grey 28x28 \x1b[2J", r"28x28 \\x1b\[2J: expected"),
        ("x" * 10**6, r"xxx\.\.\.: expected"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=f"metadata 'input': found .*{message}") as caught:
        preparation_in({"input": text})
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_broken_texts_end_in_one_error() -> None:
    generator = random.Random(0)
    for _ in range(3000):
        text = list(generator.choice(list(GOLDEN)))
        for _ in range(generator.randrange(1, 4)):
            text[generator.randrange(len(text))] = generator.choice("0123456789x:,. e+-grbynaif\0\u0660")
        with suppress(FileFormatError):
            assert isinstance(preparation_in({"input": "".join(text)}), Preparation)


def test_classes() -> None:
    names = ["great white shark", "kwas\u0144y", "a\x1b[31m", "a"]
    assert list(classes_in(metadata_of({}, classes=names)) or ()) == names
    assert classes_in({}) is None
    assert preparation_in({}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "class 0 is called ''"),
        ("a\n", "class 1 is called ''"),
        ("a\n\nb", "class 1 is called ''"),
        ("a\n" + "\x1b" * 1001, r"class 1 is called '(\\x1b){40}', 1,001 characters; expected from 1 to 1,000"),
        ("\n" * 10**7, "found 10,000,001 names; expected at most 1,048,576"),
    ],
)
def test_other_classes_are_refused(text: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(FileFormatError, match=f"metadata 'classes': {message}") as caught:
        classes_in({"classes": text})
    assert str(caught.value).isprintable()
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, "grey 28x28"), "preparation is a str; expected a demitasse.Preparation"),
        (({}, None, "cat"), "classes is 'cat'; expected the names of the classes, in order"),
        (({}, None, []), r"classes is \[\]"),
        (({}, None, ["cat", 3]), r"classes is \['cat', 3\]"),
        (({}, None, ["cat", ""]), "class 1 is called ''"),
        (({}, None, ["cat\ndog"]), "without a line break"),
        (({"input": "28x28"},), "found 28x28: expected .*; give preparation and classes instead"),
        (({"classes": ""},), "class 0 is called ''.*; give preparation and classes instead"),
    ],
)
def test_wrong_use(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        metadata_of(*arguments)  # type: ignore[arg-type]


def test_what_is_given_replaces_what_a_file_had() -> None:
    before = metadata_of({"author": "me"}, Preparation("grey", (2, 2)), ["a", "b"])
    after = metadata_of(before, Preparation("rgb", np.array([3, 3])))  # type: ignore[arg-type]
    assert after == {"author": "me", "input": "rgb 3x3", "classes": "a\nb"}
