"""The course of a run in a line or two: which weights it ended with, and whether it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftjax.runs.prepare import Prepared
from ftjax.tasks import task_of


def course_text(prepared: Prepared, result: Mapping[str, Any]) -> str:
    """Best validation, early stop and which weights are kept.

    Args:
      prepared: the run.
      result: what its result.json holds.
    """
    per_epoch, steps = prepared.run_length.steps_per_epoch, result.get('steps') or 0
    settings, task = prepared.config.train, task_of(prepared.data.task)
    lines = []
    if result.get('stopped_early'):
        whole = prepared.run_length.steps / per_epoch
        lines.append(f'stopped early after {steps / per_epoch:.4g} of {whole:.4g} epochs')
    best, validation = result.get('best_step') or -1, result.get('validation') or {}
    metric = task.metric(settings.metric or task.default_metric)
    value = None if metric is None else metric.value_in(validation)
    if best > 0 and metric is not None and value is not None:
        kept = 'these weights are kept' if settings.keep == 'best' else 'the last weights are kept'
        lines.append(
            f'best validation at step {best:,} of {steps:,} (epoch {best / per_epoch:.4g}): '
            f'{metric.label} {value:.4g}; {kept}'
        )
    return '\n'.join(lines) or f'{steps:,} steps, no validation'
