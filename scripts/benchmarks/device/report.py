"""What a section of the device suite writes: OUT/SECTION.json, after every row."""

from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any


class Section:
    """The rows of one section, on disk as soon as each is known."""

    def __init__(self, name: str, out: pathlib.Path, left: float):
        self.name, self.file, self.ends = name, out / f'{name}.json', time.monotonic() + left
        self.found: dict[str, Any] = {'section': name, 'rows': [], 'left_out': []}
        self.began = time.monotonic()
        self.write()

    @property
    def left(self) -> float:
        """Seconds that this section may still take."""
        return self.ends - time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the section began."""
        return time.monotonic() - self.began

    def row(self, **values: Any) -> None:
        """Adds a row."""
        self.found['rows'].append(values)
        print(f'[{self.seconds:6.1f} s] {shown(values)}', flush=True)
        self.write()

    def note(self, **values: Any) -> None:
        """Adds what is said once: the device, rates, versions."""
        self.found.update(values)
        self.write()

    def leave_out(self, what: str, why: str) -> None:
        """Says what was not measured."""
        self.found['left_out'].append(f'{what}: {why}')
        print(f'[{self.seconds:6.1f} s] left out: {what}: {why}', flush=True)
        self.write()

    def write(self) -> None:
        """Writes all there is, in one move, so that an end at any moment leaves a whole file."""
        self.found['seconds'] = round(self.seconds, 1)
        fresh = self.file.with_suffix('.part')
        fresh.write_text(json.dumps(self.found, indent=1), encoding='utf-8')
        os.replace(fresh, self.file)


def shown(values: dict[str, Any]) -> str:
    """A row on one line."""
    return ', '.join(f'{k}={short(v)}' for k, v in values.items() if v is not None)


def short(value: Any) -> str:
    """A number with three digits, a pair of them as 'low .. high', anything else as it is."""
    if isinstance(value, float):
        return f'{value:.4g}' if abs(value) < 1e4 else f'{value:.3g}'
    if isinstance(value, list):
        return ' .. '.join(map(short, value))
    return str(value)
