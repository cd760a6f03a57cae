"""Explains all errors of a text that protobuf refuses at once, each with file, line and layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from demitasse.caffe.definition.layer_types import current_type, unknown_type
from demitasse.caffe.text.fields import TextField, TextLayer, walk
from demitasse.registry import nearest

_MOST = 30  # errors shown
_FEW = 24  # names listed
_SHOWN = 40  # characters of a value shown
_MOST_HOMES = 4  # messages named that a field may belong to
_KNOWN = "; known: "

# (message, field of an older or another form) -> how to write it in the current form
_TODAY = {
    ("LayerParameter", "blobs_lr"): "write param { lr_mult: ... }, one param for each blob",
    ("LayerParameter", "weight_decay"): "write param { decay_mult: ... }, one param for each blob",
    ("LayerParameter", "blob_share_mode"): "write param { share_mode: ... }, one param for each blob",
    ("LayerParameter", "layer"): "a layer inside of 'layers' is the form of 2013; write layer { ... } by itself",
    ("ConvolutionParameter", "kernelsize"): "write kernel_size",
    ("ConvolutionParameter", "biasterm"): "write bias_term",
    ("PoolingParameter", "kernelsize"): "write kernel_size",
    ("InnerProductParameter", "biasterm"): "write bias_term",
    ("DataParameter", "batchsize"): "write batch_size",
    ("DataParameter", "cropsize"): "write crop_size in transform_param",
    ("DataParameter", "meanfile"): "write mean_file in transform_param",
    ("TransformationParameter", "cropsize"): "write crop_size",
    ("TransformationParameter", "meanfile"): "write mean_file",
    ("V1LayerParameter", "batch_norm_param"): "'layers' is the form of 2014; write layer { type: \"BatchNorm\" ... }",
    ("NetParameter", "input_dims"): "write input_dim, or input_shape { dim: ... }",
    ("SolverParameter", "solver"): "write type",
    ("SolverParameter", "learning_rate"): "write base_lr",
    ("ParamSpec", "lr"): "write lr_mult",
    ("ParamSpec", "decay"): "write decay_mult",
    ("ParamSpec", "weight_decay"): "write decay_mult",
}
_INTEGER = re.compile(r"-?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(\.?[0-9][0-9.]*([eE][-+]?[0-9]+)?[fF]?|inf|infinity|nan)", re.IGNORECASE)
_BOOLEANS = {"true", "True", "t", "1", "false", "False", "f", "0"}
_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class _Fault(NamedTuple):
    line: int
    layer: TextLayer | None
    what: str


def explain(text: str, message: Descriptor, name: str) -> str | None:
    """Returns a message with a line for each error in a text; None if only the structure of the text is wrong.

    Args:
        text: a message in protobuf's text format.
        message: the descriptor of the message.
        name: the name of the file.
    """
    if other := _other_kind(text, message, name):
        return other
    lines: dict[tuple[str, str], list[int]] = {}
    places: dict[tuple[str, str], _Fault] = {}
    for fault in _faults(text, message):
        key = (fault.layer.type if fault.layer else "", fault.what)
        places.setdefault(key, fault)
        lines.setdefault(key, []).append(fault.line)
    shown = [
        _sentence(name, fault, lines[key][1:]) for key, fault in zip(places, _known_once(places.values()), strict=True)
    ]
    shown = shown[:_MOST]
    if len(places) > _MOST:
        shown.append(f"{name}: and {len(places) - _MOST} more errors")
    return "\n".join(shown) or None


def _known_once(faults: Iterable[_Fault]) -> Iterator[_Fault]:
    """Removes the list of known names from all messages but the first with the same list."""
    listed = set()
    for fault in faults:
        what, _, known = fault.what.partition(_KNOWN)
        yield fault._replace(what=what) if known in listed else fault
        listed.add(known)


def _other_kind(text: str, message: Descriptor, name: str) -> str | None:
    """Returns the message for a net given as a solver, or a solver given as a net; None in other cases."""
    other = _OTHER.get(message.name)
    if not other:
        return None
    kind, wanted, command = _KINDS[other], _KINDS[message.name], _FLAGS[message.name]
    theirs = message.file.message_types_by_name[other].fields_by_name
    fields = [field for field in walk(text, message) if field.owner is message]
    foreign = [field for field in fields if not field.known]
    if not foreign or any(field.name not in theirs for field in foreign) or len(foreign) * 2 <= len(fields):
        return None
    first = foreign[0]
    return f"{name}:{first.line}: {first.name!r} is a field of a {kind}: this is a {kind}, not a {wanted}; {command}"


_OTHER = {"NetParameter": "SolverParameter", "SolverParameter": "NetParameter"}
_KINDS = {"NetParameter": "net", "SolverParameter": "solver"}
_FLAGS = {"NetParameter": "give the prototxt of the net itself", "SolverParameter": "give the prototxt of the solver"}


def _sentence(name: str, fault: _Fault, further: list[int]) -> str:
    layer = ""
    if fault.layer and (fault.layer.name or fault.layer.type):
        layer = f"layer {fault.layer.name!r}" + (f" ({fault.layer.type}): " if fault.layer.type else ": ")
    also = f" (also in {'lines' if len(further) > 1 else 'line'} {', '.join(map(str, further))})" if further else ""
    return f"{name}:{fault.line}: {layer}{fault.what}{also}"


def _faults(text: str, message: Descriptor) -> Iterator[_Fault]:
    # a layer's name and type may come after its errors, so all fields are read first
    for field in list(walk(text, message)):
        if (what := _fault(field)) or (what := _type_fault(field)):
            yield _Fault(field.line, field.layer, what)


def _type_fault(field: TextField) -> str | None:
    if field.name != "type" or not field.layer or not field.owner or field.owner.name != "LayerParameter":
        return None
    return unknown_type(field.layer.type)


def _fault(field: TextField) -> str | None:
    if field.owner is None:
        return None
    known = field.known
    if known is None:
        return _unknown(field.owner, field.name)
    if field.again and not _repeats(known):
        return f"{field.name} is given twice in one {_kind(field.owner)}"
    if known.message_type is not None:
        return None if field.value == "{" else _no_message(known, field.value)
    if field.value == "{":
        return f"{field.name} takes {_wanted(known)}, not a block in braces" + _older(known)
    return _bad_value(known, field.value)


def _repeats(known: FieldDescriptor) -> bool:
    return bool(known.default_value == [])  # works in all releases of protobuf


def _unknown(owner: Descriptor, name: str) -> str:
    kind = _kind(owner)
    if today := _TODAY.get((kind, name)):
        return f"{kind} has no field {name!r}: {today}"
    if not name:
        return f"a block in braces in {kind} has no name before it"
    homes = [each.name for each in owner.fields if each.message_type and name in each.message_type.fields_by_name]
    if 0 < len(homes) <= _MOST_HOMES:
        return f"{kind} has no field {name!r}; it belongs in {' or '.join(f'{home} {{ ... }}' for home in homes)}"
    names = [field.name for field in owner.fields]
    near = nearest(name, names)
    if near or len(names) <= _FEW:
        return f"{kind} has no field {name!r}" + (f"; did you mean {near!r}?" if near else _KNOWN + ", ".join(names))
    return f"{kind} has no field {name!r}"


def _kind(owner: Descriptor) -> str:
    return str(owner.full_name).removeprefix("caffe.")


def _no_message(known: FieldDescriptor, value: str) -> str:
    return f"{known.name} takes settings in braces, found {_short(value)}; write {known.name} {{ ... }}"


def _older(known: FieldDescriptor) -> str:
    if known.full_name == "caffe.V1LayerParameter.param":
        return "; 'layers' is the form of 2014; write layer { ... } with its type in quotes"
    return ""


def _bad_value(known: FieldDescriptor, value: str) -> str | None:
    quoted = value[:1] in ("'", '"')
    if known.enum_type is not None:
        return _bad_constant(known, known.enum_type, value)
    if known.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if quoted:
            return None
        is_type = known.full_name == "caffe.LayerParameter.type"
        written = (is_type and current_type(value)) or (value if len(value) <= _SHOWN else "...")
        return f'{known.name} takes a text in quotes, found {_short(value)}; write {known.name}: "{written}"'
    if not quoted and _fits(known, value):
        return None
    hint = f"; write it without quotes: {known.name}: {value[1:-1]}" if quoted and _fits(known, value[1:-1]) else ""
    return f"{known.name} takes {_wanted(known)}, found {_short(value)}{hint}"


def _fits(known: FieldDescriptor, value: str) -> bool:
    if known.cpp_type in _BITS:
        if not _INTEGER.fullmatch(value):
            return False
        least, most = _BITS[known.cpp_type]
        return least <= _whole(value) <= most
    if known.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return value in _BOOLEANS
    return bool(_NUMBER.fullmatch(value))


def _whole(value: str) -> int:
    digits = value.lstrip("-")
    octal = len(digits) > 1 and digits.startswith("0") and digits.isdecimal()
    if len(digits) > _SHOWN:
        return 2**64
    return (-1 if value.startswith("-") else 1) * int(digits, 8 if octal else 0)


def _wanted(known: FieldDescriptor) -> str:
    if known.cpp_type in _BITS:
        least, most = _BITS[known.cpp_type]
        return f"a whole number from {least} to {most}"
    if known.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return "true or false"
    if known.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "a text in quotes"
    return f"one of {', '.join(known.enum_type.values_by_name)}" if known.enum_type else "a number"


def _bad_constant(known: FieldDescriptor, enum: EnumDescriptor, value: str) -> str | None:
    kind = str(enum.full_name).removeprefix("caffe.")
    constant = value.strip("\"'")
    in_quotes = constant != value
    is_old_type = kind == "V1LayerParameter.LayerType"
    if constant in enum.values_by_name:
        return (
            f"{known.name} takes a constant; write it without quotes: {known.name}: {constant}" if in_quotes else None
        )
    if _INTEGER.fullmatch(constant) and not in_quotes:
        number = _whole(constant)
        return None if number in enum.values_by_number else f"{kind} has no value {number}"
    near = nearest(constant, enum.values_by_name)
    hint = f"did you mean {near!r}?" if near else f"known: {', '.join(enum.values_by_name)}"
    if is_old_type and in_quotes:
        hint += f" 'layers' takes such a constant without quotes; for a current type write layer {{ type: {value} }}"
    return f"{kind} has no value {_short(constant)}; {hint}"


def _short(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
