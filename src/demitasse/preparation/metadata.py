"""The two keys of a file's metadata: ``input``, how images are prepared, and ``classes``, the names of the classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from demitasse.errors import FileFormatError, UsageError, parameter, visible
from demitasse.preparation.preparation import Preparation
from demitasse.preparation.text import of_text, to_text

PREPARATION, CLASSES = "input", "classes"

# classes, and characters of a name
_MOST, _LONGEST = 1 << 20, 1000


def metadata_of(
    metadata: Mapping[str, str], preparation: Preparation | None = None, classes: Iterable[str] | None = None
) -> dict[str, str]:
    """Returns the metadata of a file with the text of a preparation and of the names of classes.

    Args:
        metadata: text by key; it may have the two keys, from another file.
        preparation: replaces that of the metadata; None keeps it.
        classes: replace those of the metadata; None keeps them.

    Raises:
        UsageError: the preparation, the classes, or the texts of their keys are not valid.
    """
    found = dict(metadata)
    if preparation is not None:
        if not isinstance(preparation, Preparation):
            raise UsageError(f"preparation is a {type(preparation).__name__}; expected a demitasse.Preparation")
        found[PREPARATION] = to_text(preparation)
    if classes is not None:
        names = [] if isinstance(classes, str) else list(classes)
        if not names or not all(isinstance(name, str) for name in names):
            raise UsageError(f"classes is {repr(classes)[:100]}; expected the names of the classes, in order")
        if broken := next((name for name in names if "\n" in name), None):
            raise UsageError(f"the name of a class is {broken[:100]!r}; expected one without a line break")
        found[CLASSES] = "\n".join(names)
    try:
        preparation_in(found)
        classes_in(found)
    except FileFormatError as error:
        hint = f"give {parameter('preparation')} and {parameter('classes')} instead of these keys"
        raise UsageError(str(error) if classes is not None else f"{error}; {hint}") from error
    return found


def preparation_in(metadata: Mapping[str, str]) -> Preparation | None:
    """Returns how the metadata of a file says that images are prepared; None if it does not say.

    Raises:
        FileFormatError: the text is not valid.
    """
    if PREPARATION not in metadata:
        return None
    try:
        return of_text(metadata[PREPARATION])
    except FileFormatError as error:
        raise error.within(f"metadata {PREPARATION!r}") from error


def classes_in(metadata: Mapping[str, str]) -> Sequence[str] | None:
    """Returns the names of the classes in the metadata of a file, in order; None if there are none.

    Raises:
        FileFormatError: there are too many names, or one is empty or too long.
    """
    if CLASSES not in metadata:
        return None
    text = metadata[CLASSES]
    if (count := text.count("\n") + 1) > _MOST:
        raise FileFormatError(f"metadata {CLASSES!r}: found {count:,} names; expected at most {_MOST:,}")
    names = text.split("\n")
    for number, name in enumerate(names):
        if not 1 <= len(name) <= _LONGEST:
            raise FileFormatError(
                f"metadata {CLASSES!r}: class {number} is called '{visible(name[:40])}', {len(name):,} characters; "
                f"expected from 1 to {_LONGEST:,}"
            )
    return names
