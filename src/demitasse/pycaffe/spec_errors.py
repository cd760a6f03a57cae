"""Errors of this package that are Python's own as well, since scripts written for pycaffe catch those."""

from __future__ import annotations

from demitasse.errors import UnknownNameError, UsageError


class MismatchError(UsageError, ValueError):
    """An array or a setting that does not fit; a ``ValueError`` in pycaffe."""


class NotATopError(UsageError, TypeError):
    """Something else was given where the top of a layer belongs; a ``TypeError`` in pycaffe."""


class FieldError(UnknownNameError, AttributeError):
    """A message has no such field or value; an ``AttributeError`` in pycaffe."""


class FieldTypeError(UsageError, TypeError):
    """A value of the wrong kind for a field; a ``TypeError`` in pycaffe."""


class NoTopError(UnknownNameError, AttributeError, KeyError):
    """A net has no top of that name; a ``KeyError`` in pycaffe."""

    __str__ = Exception.__str__
