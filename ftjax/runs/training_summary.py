"""A training in a line or two: which weights it ended with, and whether it stopped early."""

from __future__ import annotations

from ftjax.io.json.json_values import JsonObject
from ftjax.runs.assessment.forgetting import forgetting_text
from ftjax.runs.prepare import Prepared
from ftjax.training.loop.validation import deciding_metric, decision


def best_step_of(result: JsonObject) -> int | None:
    """The step of the best validation; None of averaged weights, which are of no step."""
    return None if result.get('averaged') else result.get('best_step')


def training_summary(prepared: Prepared, result: JsonObject) -> str:
    """Best validation, early stop and which weights are kept.

    Args:
      prepared: the run.
      result: what its result.json holds.
    """
    per_epoch, steps = prepared.run_length.steps_per_epoch, result.get('steps') or 0
    settings = prepared.config.train
    lines = []
    if result.get('stopped_early'):
        whole = prepared.run_length.steps / per_epoch
        told = f'stopped early after {steps / per_epoch:.4g} of {whole:.4g} epochs'
        if settings.patience:
            times = f'{settings.patience} validation{"" if settings.patience == 1 else "s"}'
            label = deciding_metric(settings, prepared.data.task).label
            told += f': {times} without a better {label} (train.patience)'
        lines.append(told)
    # The training chose its weights by what was measured before an adaptation.
    adapted = result.get('adapted') or {}
    validation = adapted.get('validation_before') or result.get('validation') or {}
    if validation:
        best = -1 if 'averaged' in result else result.get('best_step') or steps
        lines.append(decision(settings, prepared.data.task, validation, best, steps))
    if result.get('forgetting'):
        lines.append(forgetting_text(result['forgetting']))
    return '\n'.join(lines) or f'{steps:,} steps, no validation'
