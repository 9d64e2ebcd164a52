"""Cells of an ablation: how the run of an arm at a rate and a seed becomes a row."""

from ftjax.cells.fields import numbers_of
from ftjax.cells.runner import CellRunner

__all__ = ['CellRunner', 'numbers_of']
