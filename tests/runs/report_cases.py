"""Runs of every task that were never trained: data, answers drawn by chance, and a history."""

import types

import jax
import numpy as np

from ftjax.config import read_config
from ftjax.data import Dataset, Splits
from ftjax.freezing.plan.plan import RunLength, make_plan
from ftjax.models.registry import build
from ftjax.runs.prepare import Prepared
from ftjax.runs.report.run_report import RunReport
from ftjax.tasks import task_of
from ftjax.tasks.statistics import Statistics

HOSTILE = ('<script>alert(1)</script>', 'cat\x1b[2J', 'a|b\n| c | $x$', '" onload="x')
TASKS = ('images', 'two', 'texts', 'pairs', 'regression', 'multilabel', 'masked')
_NET = build(
    'vit',
    {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2, 'num_classes': 4},
)
_SHAPES = jax.eval_shape(_NET.init, jax.random.key(0), _NET.example_input())


def dataset(kind, count, names, draw):
    """A split of `count` examples of one of TASKS."""
    labels = draw.integers(0, len(names), count)
    given = {'name': kind, 'class_names': names, 'labels': labels, 'kind': 'image'}
    texts = [
        f'{names[k]} <b>text</b> number {i} ' + 'word ' * (i % 30) for i, k in enumerate(labels)
    ]
    given['inputs'] = draw.integers(0, 255, (count, 8, 8, 3)).astype(np.uint8)
    if kind in ('texts', 'pairs', 'masked'):
        given |= {'kind': 'text', 'inputs': texts}
    if kind == 'pairs':
        given['inputs'] = [(text, names[0]) for text in texts]
    if kind == 'regression':
        given |= {'task': 'regression', 'labels': draw.normal(size=count), 'class_names': ()}
    if kind == 'multilabel':
        given |= {'task': 'multilabel', 'labels': draw.integers(0, 2, (count, len(names)))}
    if kind == 'masked':
        given |= {'task': 'masked_tokens', 'labels': np.zeros(count), 'class_names': ()}
    return Dataset(**given)


def answers(data, draw, outputs):
    """Outputs drawn by chance, better than it; and the labels that they are for."""
    n = len(data)
    if data.task == 'regression':
        return data.labels[:, None] + 0.5 * draw.normal(size=(n, 1)), data.labels
    if data.task == 'multilabel':
        return 2 * data.labels - 1 + draw.normal(size=data.labels.shape), data.labels
    if data.task == 'masked_tokens':
        labels = draw.integers(0, 11, (n, 6))
        return draw.normal(size=(n, 6, 11)) + 2 * np.eye(11)[labels], labels
    return draw.normal(size=(n, outputs)) + 1.5 * np.eye(outputs)[data.labels], data.labels


def run(kind, *, test=60, names=HOSTILE, freeze='last:1', train=40, groups=False, **changes):
    """(prepared, fitted, result, statistics) of a run, as `finished` has them."""
    draw = np.random.default_rng(3)
    names = names[:2] if kind == 'two' else names
    parts = [dataset(kind, count, names, draw) for count in (train, 30, test)]
    splits = Splits(train=parts[0], val=parts[1], test=parts[2])
    if groups:
        told = {str(i): f'<i>{int(i) % 3}</i>' for i in parts[2].ids}
        splits = Splits(train=parts[0], val=parts[1], test=parts[2], slices={'<b>site': told})
    config = read_config({'init': 'random:vit', 'freeze': freeze, **changes})
    length = RunLength(80, 10)
    plan = make_plan(freeze, _NET, _SHAPES, run_length=length)
    prepared = Prepared(config, splits, _NET, {}, None, {}, plan, length)
    task, found, metrics = task_of(parts[2].task), Statistics({}), {'n': 0, 'task': parts[2].task}
    if test:
        outputs, labels = answers(parts[2], draw, len(names))
        batch = {'labels': labels}
        if kind == 'masked':
            batch['mask'] = np.ones(labels.shape)
        found = task.collected([(outputs, batch)])
        metrics = task.measured(found, parts[2].class_names)
    deciding = task.default_metric
    history = [
        {
            'step': 10 * n,
            'epoch': float(n),
            'train_loss': 2 / n,
            'grad_norm': 1.0 / n,
            'rate': 1e-3,
            'val_loss': 2.2 / n,
            f'val_{deciding}': 1 - 0.5 / n,
            'val_score': 1 - 0.5 / n,
        }
        for n in range(1, 9)
    ]
    result = {
        'metrics': metrics,
        'validation': {deciding: 0.9, 'loss': 0.3},
        'steps': 80,
        'best_step': 80,
        'seed': 0,
        'frozen_unchanged': True,
        'moved_frozen': [],
        'still_trainable': [],
        'params_total': plan.at(0).size(),
        'params_trainable': plan.size_trained,
        'data': {'notes': ['a <note> of the data']},
    }
    return prepared, types.SimpleNamespace(plan=plan, history=history), result, found


def report(kind, **options):
    """The report of such a run."""
    prepared, fitted, result, found = run(kind, **options)
    return RunReport.of(prepared, fitted, result, found, 'a <run>')
