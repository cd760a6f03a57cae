"""Errors that are also instances of Python's exceptions, since scripts written for pycaffe catch those."""

from __future__ import annotations

from demitasse.errors import UnknownNameError, UsageError


class MismatchError(UsageError, ValueError):
    """An array or a setting does not match; a ``ValueError`` in pycaffe."""


class NotATopError(UsageError, TypeError):
    """A value is not the top of a layer; a ``TypeError`` in pycaffe."""


class FieldError(UnknownNameError, AttributeError):
    """A message has no such field or value; an ``AttributeError`` in pycaffe."""


class FieldTypeError(UsageError, TypeError):
    """A value has the wrong type for a field; a ``TypeError`` in pycaffe."""


class NoTopError(UnknownNameError, AttributeError, KeyError):
    """A net has no top with that name; a ``KeyError`` in pycaffe."""

    __str__ = Exception.__str__
