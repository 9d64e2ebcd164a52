"""The Python interface: fine-tuning in four lines, and a trained network that answers."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.config import SECTIONS, Config, read_config, section
from ftjax.data import Splits, load_data
from ftjax.data.audit.overview import findings
from ftjax.data.in_python import splits_in_python
from ftjax.data.sources.registry import IN_PYTHON
from ftjax.errors import UserError, check_name, shown
from ftjax.io.identity.own_parts import check_trains
from ftjax.io.json.json_values import JsonObject
from ftjax.models.built.network import Built
from ftjax.pages.elements import lines, paragraph
from ftjax.plotting.learning_curves import learning_figure
from ftjax.runs.assessment.examination import examine
from ftjax.runs.before_training.rate_range import RateRange, rate_range
from ftjax.runs.built_opening import open_built_network
from ftjax.runs.evaluate import chosen_threshold, decided_statistics, split_metrics
from ftjax.runs.prediction.answering import Answers, answers_to, features_of
from ftjax.runs.prediction.calibration_file import save_calibration
from ftjax.runs.prediction.loaded import Loaded, load
from ftjax.runs.prediction.model_folder import save_model
from ftjax.runs.prediction.trained import Trained, of_variables
from ftjax.runs.prepare import Prepared, prepare
from ftjax.runs.report.run_report import write_report
from ftjax.runs.run import train
from ftjax.runs.training_summary import best_step_of, training_summary
from ftjax.tasks import task_of
from ftjax.tasks.metrics_text import metrics_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)
__all__ = [
    'Answers',
    'Finetuning',
    'Loaded',
    'Prepared',
    'RateRange',
    'finetune',
    'load',
    'prepare',
    'split_metrics',
    'train',
]
SPLITS = ('train', 'val', 'test')


class Finetuning:
    """A run in Python: show the plan, train, evaluate, answer.

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

    def __init__(self, config: Config, data: Splits | None = None, built: Built | None = None):
        self.config = config
        opened = None
        if built is not None:
            data = data if data is not None else load_data(config.data)
            opened = open_built_network(config, data, built)
        self.prepared = prepare(config, data, opened)
        self.result: JsonObject | None = None
        self.variables = self.prepared.variables
        self.history: list[dict[str, float]] = []
        """A dict a validation: step, epoch, losses, metrics, rate."""
        self._fitted: dict[str, object] | None = None
        self._folder: pathlib.Path | None = None
        self._trained: Trained | None = None

    def _repr_html_(self) -> str:
        if self.result is None:
            what = paragraph(f'{self.config.init} on {self.config.data.source}, not trained yet')
        else:
            what = lines(f'{training_summary(self.prepared, self.result)}\ntest split:\n')
            what += lines(metrics_text(self.result['metrics']))
        return what + self.prepared.plan._repr_html_()

    def data(self) -> str:
        """Sizes of the splits, classes, and what is to be known of them."""
        return self.prepared.first_screen()

    def plan(self) -> str:
        """The plan's table."""
        return self.prepared.table()

    def fit(self, workdir: str | pathlib.Path | None = None, progress: bool = True) -> Finetuning:
        """Trains; returns itself. What is to be known of the data is logged as warnings.

        A run that was trained already is not trained again: a warning says so.
        """
        check_trains()
        if self.result is not None:
            _log.warning(
                'this run was trained already (%d steps) and is left as it is; finetune(..) makes '
                'a new one',
                self.result['steps'],
            )
            return self
        for note in findings(self.prepared.data):
            _log.warning('%s', note)
        fitted, self.result = train(self.prepared, workdir, progress)
        self.variables, self.history = fitted.variables, fitted.history
        self._folder = None if workdir is None else pathlib.Path(workdir)
        self._trained = self._fitted = None  # they are of the weights of before
        return self

    run = fit

    def evaluate(self, split: str = 'test') -> dict[str, object]:
        """Metrics of a split, train, val or test, with the weights as they are now."""
        check_name(split, SPLITS, 'split')
        return split_metrics(self.prepared, self.variables, split)

    def predict(self, x: object, *, tta: bool = False, **options: object) -> Answers:
        """What the network answers on new inputs.

        Args:
          x: a folder or a file, as scripts/predict.py takes; or a list or array of texts, pairs of
            texts, images, or paths of images.
          tta: mean of the outputs on each image and its mirror image.
          **options: `top_k`, `probabilities`, `calibrated`, `threshold`, `coverage`; see
            `answer_options`.
        """
        return answers_to(self.trained, x, options, mirrored=tta)

    def features(self, x: object, stage: str | None = None) -> np.ndarray:
        """Embeddings, float32 (n, width), of a stage; of the last before the head if None."""
        return features_of(self.trained, x, stage)

    def calibrate(self) -> dict[str, object]:
        """Fits a temperature, a threshold and prediction sets on the validation split.

        `predict` uses the temperature from then on.
        """
        done = examine(self.trained, self.prepared.data.val)
        self._fitted = task_of(self.prepared.data.task).calibration(done.outputs, done.labels)
        self._trained = None
        return self._fitted

    def mistakes(self, split: str = 'test', limit: int = 20) -> list[dict[str, Any]]:
        """The worst answers on a split, worst first, as its report has them.

        Each has `id` and `position` in the split, and what its task tells: of classes `label`,
        `predicted` and the probability of both.
        """
        check_name(split, SPLITS, 'split')
        self.trained.check_head()
        data, task = getattr(self.prepared.data, split), task_of(self.prepared.data.task)
        found = decided_statistics(self.prepared, self.variables, split)
        index = found.rows['index']
        names = [str(data.ids[i]) for i in index]
        worst = task.mistakes(found, names, data.class_names, limit)
        return [{**one, 'position': int(index[one['position']])} for one in worst]

    def plot(self) -> Figure:
        """Losses, the validation metric, rate and gradient norm by epoch: a matplotlib Figure."""
        metric = self.config.train.metric or task_of(self.prepared.data.task).default_metric
        return learning_figure(self.history, metric, best_step_of(self.result or {}))

    def report(self) -> pathlib.Path:
        """Writes the report of the run's folder again; its path.

        Raises:
          UserError: the run has no folder.
        """
        if self._folder is None:
            raise UserError('a report needs a folder: fit(workdir=..)')
        return write_report(self._folder)

    def lr_find(self, low: float = 1e-6, high: float = 1.0, steps: int = 100) -> RateRange:
        """A range test under the run's own plan: see `rate_range`. The run is not touched."""
        return rate_range(self.prepared, low, high, steps)

    def save(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Writes the network to a folder for `ftjax.load`, `config.init` and the scripts."""
        folder = save_model(
            *(path, self.prepared, self.variables),
            chosen_threshold(self.prepared, self.variables),
        )
        if self._fitted is not None:
            save_calibration(folder, self._fitted)
        return folder

    @property
    def trained(self) -> Trained:
        """The network with its weights as they are now."""
        if self._trained is None:
            prepared = self.prepared
            made = of_variables(
                'the network',
                prepared.network,
                self.variables,
                prepared.preprocessing,
                self.config.data,
                prepared.data,
            )
            head = self.result is not None or not (
                prepared.opened is not None and prepared.opened.head_is_new
            )
            self._trained = dataclasses.replace(
                made,
                head=head,
                fitted=self._fitted,
                threshold=chosen_threshold(prepared, self.variables),
            )
        return self._trained


def finetune(
    init: str | Built, source: object, /, *, freeze: object = 'full', **config: Any
) -> Finetuning:
    """Fine-tuning in four lines: `finetune('glyphs', 'digits', freeze='last:2').fit()`.

    Args:
      init: what `config.init` takes, or a model of your own: `ftjax.models.from_nnx(..)`.
      source: what `config.data.source` takes; `(x, y)`; a dict of these by split; a pandas frame; a
        data set that can be indexed (PyTorch's, grain's); or Splits.
      freeze: what `config.freeze` takes.
      **config: other sections by their names in a config: `data={'batch_size': 8}`,
        `model={'dropout': 0.1}`, `train={..}`; `data_settings` and `model_options` are other names
        of the first two.

    Raises:
      UserError: for whatever in the config, the data or the checkpoint is wrong.
    """
    for short, long in (('data', 'data_settings'), ('model', 'model_options')):
        if long in config:
            config[short] = {**config.get(short, {}), **config.pop(long)}
    settings, splits = dict(config.pop('data', {})), None
    if isinstance(source, str):
        settings['source'] = source
    elif isinstance(source, Splits):
        splits = source
    else:
        settings['source'] = IN_PYTHON
        splits = splits_in_python(source, section(SECTIONS['data'], settings, 'data'))
    built = None if isinstance(init, str) else init
    if built is not None and not isinstance(built, Built):
        raise UserError(
            f'finetune: {shown(built)}; expected what config.init takes, or from_nnx(..)'
        )
    name = init if built is None else built.name
    values = {'init': name, 'freeze': freeze, 'data': settings, **config}
    return Finetuning(read_config(values), splits, built)
