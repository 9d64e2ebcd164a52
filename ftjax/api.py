"""The Python interface: fine-tuning in four lines."""

from __future__ import annotations

import logging
import pathlib
from typing import Any

from ftjax.config import Config, read_config
from ftjax.data import Splits
from ftjax.data.audit.overview import findings, overview
from ftjax.pages.elements import lines, paragraph
from ftjax.runs.course import course_text
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.prepare import Prepared, prepare
from ftjax.runs.run import train
from ftjax.tasks.metrics_text import metrics_text

_log = logging.getLogger(__name__)
__all__ = ['Finetuning', 'Prepared', 'finetune', 'prepare', 'split_metrics', 'train']


class Finetuning:
    """A run in Python: show the plan, run, evaluate, report.

    >>> run = finetune(
    ...     'random:glyphs',
    ...     'digits:scattered',
    ...     freeze='head',
    ...     train={'steps': 2},
    ...     data_settings={'examples_per_class': 2},
    ... )
    >>> print(run.plan().split(chr(10))[0])
    freeze = 'head', from step 0
    """

    def __init__(self, config: Config, data: Splits | None = None):
        self.config = config
        self.prepared = prepare(config, data)
        self.result: dict[str, Any] | None = None
        self.variables = self.prepared.variables

    def _repr_html_(self) -> str:
        if self.result is None:
            what = paragraph(f'{self.config.init} on {self.config.data.source}, not trained yet')
        else:
            what = lines(f'{course_text(self.prepared, self.result)}\ntest split:\n')
            what += lines(metrics_text(self.result['metrics']))
        return what + self.prepared.plan._repr_html_()

    def data(self) -> str:
        """Sizes of the splits, classes, and what is to be known of them."""
        return overview(self.prepared.data)

    def plan(self) -> str:
        """The plan's table."""
        return self.prepared.table()

    def run(self, workdir: str | pathlib.Path | None = None, progress: bool = True) -> Finetuning:
        """Trains; returns itself. What is to be known of the data is logged as warnings."""
        for note in findings(self.prepared.data):
            _log.warning('%s', note)
        fitted, self.result = train(self.prepared, workdir, progress)
        self.variables = fitted.variables
        return self

    def evaluate(self, split: str = 'test') -> dict[str, Any]:
        """Metrics of a split with the weights as they are now."""
        return split_metrics(self.prepared, self.variables, split)


def finetune(model: str, data: str | Splits, *, freeze: Any = 'full', **config: Any) -> Finetuning:
    """Fine-tuning in four lines: `finetune('glyphs', 'digits', freeze='last:2').run()`.

    Args:
      model: what `config.init` takes.
      data: what `config.data.source` takes, or Splits.
      freeze: what `config.freeze` takes.
      **config: other sections as dicts; `data_settings` for those of `config.data`,
        `model_options` for those of `config.model`.
    """
    settings = dict(config.pop('data_settings', {}))
    if 'model_options' in config:
        config['model'] = config.pop('model_options')
    if isinstance(data, str):
        settings['source'] = data
    values = {'init': model, 'freeze': freeze, 'data': settings, **config}
    return Finetuning(read_config(values), None if isinstance(data, str) else data)
