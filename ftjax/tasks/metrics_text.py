"""Metrics as text for a terminal, whether they were just made or read from a file."""

from __future__ import annotations

from ftjax.errors import UserError
from ftjax.evaluation.metric import MetricValues
from ftjax.tasks.registry import task_of
from ftjax.tasks.task import metric_line


def metrics_text(metrics: MetricValues, where: str = '') -> str:
    """The lines or the table of what a task's `measure` found.

    Args:
      metrics: as they were made, or read from a file.
      where: which file, for the error.

    Raises:
      UserError: metrics of a file lack something, or hold something of another type.
    """
    try:
        if metrics.get('n') == 0 and not metrics.get('texts'):  # of texts tokens are counted
            return 'there is no test split: nothing was measured on held-out examples'
        task = task_of(metrics['task'])
        own = [name for name in task.own_metrics if name in metrics]
        return '\n'.join([task.text(metrics), *(metric_line(metrics, n, n, '.6g') for n in own)])
    except KeyError as error:
        if not where:
            raise
        raise UserError(f'{where} have no {error.args[0]!r}; not of an evaluation') from None
    except (TypeError, ValueError, AttributeError) as error:
        if not where or isinstance(error, UserError):
            raise
        told = ' '.join(str(error).split())
        raise UserError(f'{where} are not of an evaluation: {told}') from None
