"""From the rows of an ablation to its folder: summary, table, verdicts, figures, report."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from ftjax.ablation.racing.account import seeds_run
from ftjax.ablation.report.gate_verdicts import grid_verdicts
from ftjax.ablation.report.results_folder import write_results
from ftjax.ablation.report.setup_facts import setup_of
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.row_types import Rows
from ftjax.ablation.summary.summary import summarise


def write_grid_results(
    folder: pathlib.Path,
    values: Mapping[str, object],
    settings: AblationSettings,
    rows: Rows,
    notes: Sequence[str],
    races: Mapping[str, Mapping[str, object]],
) -> tuple[dict[str, object], str]:
    """Writes what `write_results` writes; returns the summary, and the table as text.

    Args:
      folder: of the ablation; it is there.
      values: the config as plain dicts, without its section `ablation`.
      settings: that section.
      rows, notes, races: from `run_grids`.
    """
    summary = summarise(
        rows,
        reference=settings.reference or next(iter(settings.arms)),
        metric=settings.metric,
        arms=list(settings.arms),
        seeds=seeds_run(races, settings.draws),
        tuning_seeds=settings.tuning_draws if settings.tuning_seeds else None,
        margin=settings.margin,
        outside_prior=settings.outside_prior,
        folds=settings.folds,
        question=settings.question,
        races=races,
        retention=settings.retention_asked,
    )
    table = write_results(
        folder,
        summary,
        title=settings.question or 'Ablation',
        setup=setup_of(values, settings, rows),
        notes=(*settings.notes, *notes),
        gates=grid_verdicts(settings, summary, rows),
    )
    return summary, table
