"""Evaluations as a user asks for them: on which data, what is said, which files they leave."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftjax.config import Config, read_saved_config
from ftjax.data import Splits, load_data
from ftjax.data.dataset import Dataset
from ftjax.data.other_source import same_source
from ftjax.errors import UserError
from ftjax.evaluation.calibration.reliability_text import reliability_lines, separation_lines
from ftjax.evaluation.prediction_figures import confusion_matrix_figure
from ftjax.io.files.atomic import read_json, write_json
from ftjax.io.files.row_files import check_kind, row_file
from ftjax.plotting.save import save_figure
from ftjax.printable import printable
from ftjax.runs.assessment.evaluated_data import how_data_differ
from ftjax.runs.assessment.examination import Examined, examine
from ftjax.runs.assessment.other_data import other_data, with_classes_of
from ftjax.runs.assessment.unfamiliar_inputs import Scores
from ftjax.runs.own_code import how_code_differs
from ftjax.runs.prediction.calibration_file import read_calibration, save_calibration
from ftjax.runs.prediction.trained import Trained, open_trained
from ftjax.tasks import task_of
from ftjax.tasks.classes.class_table import confusion_text
from ftjax.tasks.metrics import check_metric
from ftjax.tasks.metrics_text import metrics_text
from ftjax.tasks.task import metric_line

Say = Callable[[str], Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What is asked for."""

    init: str
    """The folder of a run, or a checkpoint."""
    is_run: bool = True
    parts: Sequence[str] = ()
    split: str = 'test'
    """Of the run's own data."""
    data: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    """Fields of `config.data` with their values; none for the run's own data."""
    metrics: Sequence[str] = ()
    """Those to be said; none for all."""
    output: str | None = None
    """File for a row an example."""
    calibrate: bool = False
    unfamiliar: Sequence[str] = ()
    """Other inputs, unlabelled or a source, to be told from the test split."""
    task: str = ''
    allow_data_change: bool = False
    allow_code_change: bool = False


_NEEDS = {'val': 'calibrate', 'train': 'unfamiliar', 'test': 'unfamiliar'}
"""Splits of the run, and what of a request needs them."""


@dataclasses.dataclass(frozen=True)
class _Set:
    """Data to evaluate on."""

    name: str
    """As files are called by it."""
    said: str
    dataset: Dataset
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fitted_on: bool = False
    """Whether --calibrate fits on these: the run's validation examples, corrupted or not."""


def evaluate_all(request: EvaluationRequest, say: Say) -> dict[str, dict[str, object]]:
    """Evaluates on each data set, says what was found, writes the files; metrics by name.

    Raises:
      UserError: nothing to open, data that may have been trained on, classes of another network.
    """
    if request.output is not None:
        check_kind(request.output)
    folder = pathlib.Path(request.init)
    if request.is_run and not (folder / 'config.json').exists():
        raise UserError(f'{folder} is no run folder: it holds no config.json')
    trained = open_trained(
        request.init, request.parts, request.task, allow_code_change=request.allow_code_change
    )
    config = read_saved_config(read_json(trained.run / 'config.json')) if trained.run else None
    if config is None and (request.calibrate or request.unfamiliar):
        raise UserError(f'{request.init} is no run: its validation and test splits are not known')
    own, notes = _own(request, trained, config)
    sets = _sets(request, trained, config, own, notes)
    for name in request.metrics:
        check_metric(name, sets[0].dataset.task, trained.network.num_classes, '--metrics')
    if request.calibrate:
        assert own is not None
        _calibrate(trained, own.val, say)
    fitted = read_calibration(trained)
    found, told = {}, {}
    for number, one in enumerate(sets):
        done = examine(trained, one.dataset)
        reliability: Mapping[str, object] = {}
        if fitted is not None:
            task = task_of(one.dataset.task)
            groups = one.dataset.groups if len(one.dataset.groups) else None
            # Of what was fitted nothing is told on the examples that it was fitted on.
            used = None if one.fitted_on else fitted
            reliability = task.reliability(done.outputs, done.labels, used, groups)
        say(f'{chr(10) if number else ""}{printable(one.said)}: {len(one.dataset):,} examples')
        _say(done, request.metrics, reliability, say)
        for note in one.notes.values():
            say(f'warning: {note}')
        found[one.name] = done
        told[one.name] = {**done.metrics, **one.notes}
        if reliability:
            told[one.name]['reliability'] = reliability
    if request.unfamiliar and own is not None:
        _unfamiliar(request, trained, own, told, say)
    _write(request, trained.run if request.is_run else None, found, told)
    return told


def _own(
    request: EvaluationRequest, trained: Trained, config: Config | None
) -> tuple[Splits | None, dict[str, str]]:
    """The run's own data where they are needed, and what is to be said of them.

    Raises:
      UserError: a split that is needed, or code of the user's, is no longer that of the run.
    """
    folder, notes = trained.run, {}
    if config is None or folder is None:
        return None, notes
    changed = how_code_differs(folder, trained.network)
    if changed and not request.allow_code_change:
        raise UserError(
            f'{folder}: {changed} from that of the run; --allow_code_change evaluates with what '
            'there is now and says so'
        )
    sources = request.data.get('source', [config.data.source])
    own_source = any(same_source(source, config.data.source) for source in sources)
    needed = [request.split] if own_source else []
    needed += [name for name, asked in _NEEDS.items() if getattr(request, asked)]
    if not needed:
        return None, {'code_changed': changed} if changed else notes
    own = load_data(config.data)
    for split in dict.fromkeys(needed):
        differs = how_data_differ(folder, own, trained.class_names, split)
        if differs and not request.allow_data_change:
            raise UserError(
                f'{folder}: {differs}; --allow_data_change evaluates on what there is now and '
                'says so'
            )
        notes |= {'data_changed': differs} if differs else {}
    return own, notes | ({'code_changed': changed} if changed else {})


def _sets(
    request: EvaluationRequest,
    trained: Trained,
    config: Config | None,
    own: Splits | None,
    notes: Mapping[str, str],
) -> list[_Set]:
    if own is not None and not request.data:
        dataset = getattr(own, request.split)
        if not len(dataset):
            raise UserError(
                f'{dataset.name}: there is no {request.split} split to evaluate on; set '
                f'data.{request.split}_fraction, or choose another split'
            )
        said = f'{request.split} split'
        return [_Set(request.split, said, dataset, notes, request.split == 'val')]
    changes = dict(request.data)
    if config is None:
        changes.setdefault('task', [trained.settings.task])
    base = config.data if config is not None else None
    sets: list[_Set] = []
    for settings, dataset in other_data(base, changes, request.split):
        outputs = trained.network.num_classes
        aligned = with_classes_of(dataset, trained.class_names, outputs)
        shift = '' if settings.corruption == 'none' else f' {settings.corruption}'
        said = f'{settings.source}{shift}'
        name = re.sub(r'[^\w.-]+', '_', said).strip('_.')[-80:]
        while name in {one.name for one in sets} | {'train', 'val', 'test'}:
            name += '_'
        own_source = base is not None and same_source(settings.source, base.source)
        sets.append(_Set(name, said, aligned, notes, own_source and request.split == 'val'))
    return sets


def _calibrate(trained: Trained, val: Dataset, say: Say) -> None:
    if not len(val):
        raise UserError(f'{val.name}: no validation examples to fit on; set data.val_fraction')
    if trained.model is None:
        raise UserError(f'{trained.init}: no model/ folder to keep what is fitted beside')
    done = examine(trained, val)
    fitted = task_of(val.task).calibration(done.outputs, done.labels)
    path = save_calibration(trained.model, fitted)
    say(
        f'temperature {fitted["temperature"]:.4g}, fitted on {fitted["n"]:,} validation examples, '
        f'kept in {path}'
    )
    if fitted['n'] < 100:
        say(f'warning: {fitted["n"]} examples are few to fit on')


def _unfamiliar(
    request: EvaluationRequest,
    trained: Trained,
    own: Splits,
    told: dict[str, dict[str, Any]],
    say: Say,
) -> None:
    """AUROC of scores between the run's test split and other inputs."""
    assert trained.run is not None
    base = read_saved_config(read_json(trained.run / 'config.json')).data
    scores = Scores.fit(trained, own)
    first = told[next(iter(told))]
    for source in request.unfamiliar:
        found = scores.against(source, base)
        say(f'\n{printable(source)}')
        for line in separation_lines(found):
            say(line)
        first.setdefault('unfamiliar', {})[source] = found


def _say(
    done: Examined, wanted: Sequence[str], reliability: Mapping[str, object], say: Say
) -> None:
    metrics = done.metrics
    if wanted:
        task = task_of(metrics['task'])
        for name in wanted:
            metric = task.metric(name)
            key = next((k for k in metric.names if k in metrics), name) if metric else name
            say(metric_line(metrics, key, name, '.6g'))
        return
    say(metrics_text(metrics))
    if 'confusion_matrix' in metrics:
        say(f'\n{confusion_text(metrics)}')
    if reliability:
        say('')
        for line in reliability_lines(reliability):
            say(line)


def _write(
    request: EvaluationRequest,
    folder: pathlib.Path | None,
    found: Mapping[str, Examined],
    told: Mapping[str, Mapping[str, object]],
) -> None:
    for name, metrics in told.items():
        if folder is not None:
            write_json(folder / f'evaluation_{name}.json', metrics)
        if folder is not None and 'confusion_matrix' in metrics:
            figure = confusion_matrix_figure(dict(metrics))
            save_figure(figure, folder / f'confusion_{name}.png')
    if request.output is not None:
        with row_file(request.output) as write:
            for name, done in found.items():
                for row in done.rows():
                    write({'data': name, **row} if len(found) > 1 else row)
