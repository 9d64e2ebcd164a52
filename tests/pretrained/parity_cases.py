"""All cases of the parity engine: those of every module parity_*.py here that has CASES."""

from __future__ import annotations

import importlib
import pathlib


def all_cases() -> dict:
    """Case by name, over all modules; the names of goldens' folders."""
    cases: dict = {}
    for path in sorted(pathlib.Path(__file__).parent.glob('parity_*.py')):
        if path.stem == pathlib.Path(__file__).stem:
            continue
        found = getattr(importlib.import_module(path.stem), 'CASES', {})
        assert not set(found) & set(cases), set(found) & set(cases)
        cases.update(found)
    return cases
