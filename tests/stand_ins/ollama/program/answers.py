# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the models of the stand-in say: the same to the same question."""

from __future__ import annotations

import hashlib
import re
import typing as t

WORDS = (
    "a the one more every small large quiet model server answer question token layer memory host fleet night "
    "day river stone glass light reads writes holds finds keeps gives waits runs"
).split()
FACTS = (("capital of france", "Paris"), ("capital of japan", "Tokyo"), ("capital of italy", "Rome"))


def answer(prompt: str, form: t.Any = None) -> str:
    text = next((reply for known, reply in FACTS if known in prompt.lower()), "")
    if not text:
        seed = hashlib.sha256(prompt.encode()).digest()
        text = " ".join(WORDS[number % len(WORDS)] for number in seed[:12]).capitalize() + "."
    return '{"answer": "%s"}' % text if form else text


def tokens(text: str) -> t.List[str]:
    return re.findall(r"\s*\S+", text) or [""]


def vector(text: str, length: int) -> t.List[float]:
    """A unit vector that depends on the text."""
    numbers: t.List[float] = []
    while len(numbers) < length:
        block = hashlib.sha256(("%d %s" % (len(numbers), text)).encode()).digest()
        numbers += [byte / 127.5 - 1 for byte in block]
    numbers = numbers[:length]
    norm = sum(number * number for number in numbers) ** 0.5
    return [number / norm for number in numbers]
