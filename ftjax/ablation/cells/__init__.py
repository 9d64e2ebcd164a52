"""Cells of an ablation: how the run of an arm at a rate and a seed becomes a row."""

from ftjax.ablation.cells.row import numbers_of
from ftjax.ablation.cells.run_cell import CellRunner

__all__ = ['CellRunner', 'numbers_of']
