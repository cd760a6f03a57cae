"""Seeded damage to files, as chance and malice do it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

SIZES = ["0", "1", "2", "3", "5", "7", "64", "1000", "65536", "2147483647", "4294967295"]
NUMBERS = [*SIZES, "-1", "-2", "0.5", "1e39", "-inf", "nan", "9223372036854775807", "99999999999999999999", "9" * 5000]
WORDS = [
    "true",
    "TRAIN",
    "TEST",
    "MAX",
    "AVE",
    "SUM",
    "data",
    '"data"',
    '"x"',
    "layer",
    "layers",
    "dim",
    "{",
    "}",
    "[",
    ",",
]
_TOKEN = re.compile(r'"[^"]*"|[\w.+-]+|[^\w\s]')
_FIELD = re.compile(r'\w+\s*:\s*("[^"]*"|[\w.+-]+)')
_MESSAGE = re.compile(r"\w+\s*:?\s*{[^{}]*(?:{[^{}]*}[^{}]*)*}")


def _one(pattern: re.Pattern[str], text: str, random: random.Random) -> re.Match[str] | None:
    found = list(pattern.finditer(text))
    return random.choice(found) if found else None


def _pieces(text: str) -> list[str]:
    return _TOKEN.findall(text)


def swap(text: str, random: random.Random) -> str:
    """Exchanges two tokens."""
    tokens = _pieces(text)
    one, other = random.randrange(len(tokens)), random.randrange(len(tokens))
    tokens[one], tokens[other] = tokens[other], tokens[one]
    return " ".join(tokens)


def _kind(value: str) -> str:
    return "text" if value[0] == '"' else "number" if value[0].isdigit() else "word"


def exchange(text: str, random: random.Random) -> str:
    """Puts the value of another field, of the same kind, in the place of one."""
    one = _one(_FIELD, text, random)
    if one is None:
        return text
    alike = [
        m[1]
        for m in _FIELD.finditer(text)
        if (m[1][0] == '"', m[1][0].isdigit()) == (one[1][0] == '"', one[1][0].isdigit())
    ]
    return text[: one.start(1)] + random.choice(alike) + text[one.end(1) :]


def delete(text: str, random: random.Random) -> str:
    """Takes a field or a message out, or just some tokens."""
    found = _one(random.choice((_FIELD, _FIELD, _MESSAGE, _TOKEN)), text, random)
    return text[: found.start()] + text[found.end() :] if found else text


def number(text: str, random: random.Random) -> str:
    """Puts another number, often a huge one, in the place of one to three."""
    places = list(re.finditer(r"(?<=[:\s])-?\d[\d.e-]*", text))
    pool = random.choice((SIZES, SIZES, NUMBERS))
    for place in sorted(random.sample(places, min(len(places), random.randint(1, 3))), key=lambda m: -m.start()):
        text = text[: place.start()] + random.choice(pool) + text[place.end() :]
    return text


def word(text: str, random: random.Random) -> str:
    """Puts another word in the place of one."""
    tokens = _pieces(text)
    tokens[random.randrange(len(tokens))] = random.choice(WORDS)
    return " ".join(tokens)


def repeat(text: str, random: random.Random) -> str:
    """Says a field or a message again, now and then very often."""
    found = _one(random.choice((_FIELD, _FIELD, _MESSAGE)), text, random)
    return text[: found.end()] + f" {found[0]}" * random.choice((1, 1, 2, 200)) + text[found.end() :] if found else text


def nest(text: str, random: random.Random) -> str:
    """Opens messages or lists, deeper than a parser may like."""
    at = random.choice([match.end() for match in re.finditer(r"[{:]", text)])
    return text[:at] + random.choice(("{", "[", "layer {", "<")) * random.choice((1, 30, 3000)) + text[at:]


def characters(text: str, random: random.Random) -> str:
    """Changes characters."""
    data = bytearray(text.encode())
    for _ in range(random.randint(1, 4)):
        data[random.randrange(len(data))] = random.randrange(128)
    return data.decode()


TEXT: tuple[Callable[[str, random.Random], str], ...] = (
    number,
    exchange,
    delete,
    repeat,
    number,
    exchange,
    swap,
    word,
    nest,
    characters,
)


def texts(seeds: list[str], count: int, seed: int = 0) -> Iterator[str]:
    """Yields damaged texts, one kind of damage after the other, sometimes two at once."""
    source = random.Random(seed)
    for index in range(count):
        text = TEXT[index % len(TEXT)](seeds[index % len(seeds)] if index % 3 else source.choice(seeds), source)
        yield source.choice(TEXT)(text, source) if source.random() < 0.2 and _pieces(text) and "{" in text else text


def binaries(seeds: list[bytes], count: int, seed: int = 0) -> Iterator[bytes]:
    """Yields damaged files: bits and bytes changed, parts cut, moved, repeated, and lengths made huge."""
    source = random.Random(seed)
    for index in range(count):
        data = bytearray(seeds[index % len(seeds)])
        for _ in range(source.choice((1, 1, 2, 5))):
            _damage(data, source)
        yield bytes(data)


def _damage(data: bytearray, source: random.Random) -> None:
    if not data:
        return
    # the front of a file says what the rest is
    at = source.randrange(len(data)) if source.random() < 0.5 else source.randrange(min(len(data), 400))
    kind = source.randrange(6)
    if kind == 0:
        data[at] ^= 1 << source.randrange(8)
    elif kind == 1:
        data[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
    elif kind == 2:
        del data[at : at + source.choice((1, 2, 8, 100, len(data)))]
    elif kind == 3:
        data[at:at] = data[at : at + source.choice((1, 2, 8, 100))]
    elif kind == 4:
        data[at : at + 1] = b"\xff\xff\xff\xff\x07"  # 2^31 - 1 as protobuf writes it
    else:
        other = source.randrange(len(data))
        data[at : at + 8], data[other : other + 8] = data[other : other + 8], data[at : at + 8]
