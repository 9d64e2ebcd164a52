"""Which pretrained network: all of them on the same data, judged by what they give a head.

Each network is frozen and run once over every example. On the stored features stand: LogME, from
training examples alone; and a linear probe, the optimum of `freeze='head'`, its penalty chosen on
validation. The network with the best probe on validation is the choice, and the reference: the
test split has chosen nothing, and all differences to it are paired over test examples, with
intervals that hold together (statistics/paired_ratios.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.ablation.networks.network_facts import network_facts
from ftjax.ablation.statistics.margin import default_margin
from ftjax.ablation.statistics.paired_ratios import differences_to
from ftjax.config import merged, read_config
from ftjax.data import Splits
from ftjax.data.dataset import Dataset
from ftjax.errors import UserError
from ftjax.evaluation.ratio import Ratio
from ftjax.io.process.progress import Progress
from ftjax.pretrained.inspection import inspect
from ftjax.pretrained.locate.locate import RANDOM
from ftjax.printable import printable
from ftjax.runs.before_training.frozen_features import frozen_features
from ftjax.runs.prepare import Prepared, prepare
from ftjax.tasks import task_of
from ftjax.tasks.statistics import Statistics, grouped
from ftjax.training.sweeps.label_probes import probe_outputs, target_columns
from ftjax.training.sweeps.linear_probe import PATH
from ftjax.training.sweeps.log_evidence import log_evidence

Say = Callable[[str], Any]


def check_networks(values: Mapping[str, object], inits: Sequence[str], data: Splits) -> None:
    """Opens every network on the data, and gives none of them back.

    Raises:
      UserError: fewer than two names, one twice, one that cannot be opened or does not take the
        data; labels that no linear model has; no validation or test split.
    """
    if len(set(inits)) < 2 or not all(inits):
        several = f'{len(set(inits))} network{"" if len(set(inits)) == 1 else "s"}'
        raise UserError(f'{several} to compare; expected two or more: --inits=a,b')
    for init in inits:
        if inits.count(init) > 1:
            raise UserError(f'--inits names {init} twice')
    for name, part in (('val', data.val), ('test', data.test)):
        if not len(part):
            raise UserError(
                f'{data.train.name}: there is no {name} split; set data.{name}_fraction'
            )
    kind = data.label_kind
    if kind.from_inputs or kind.head or data.train.labels.ndim > 2:
        raise UserError(
            f'networks are compared by a linear probe, which needs a label for each example; '
            f'data.task is {data.task}'
        )
    for init in inits:
        inspect(init.removeprefix(RANDOM))  # headers of all, before the weights of one are read
    for init in inits:
        _prepared(values, init, data)


def compare_networks(
    values: Mapping[str, object],
    inits: Sequence[str],
    data: Splits,
    *,
    parity: Sequence[Mapping[str, object]] = (),
    say: Say = print,
    progress: bool = True,
) -> dict[str, object]:
    """Runs, judges and measures networks; plain JSON.

    Args:
      values: the config as plain dicts; `init` and `freeze` are not looked at.
      inits: what `config.init` takes, two or more.
      data: of the config.
      parity: rows of results/parity/table.json.
      say: is told a line for each network that is done.
      progress: whether it is shown.

    Returns:
      `networks`, best on validation first, the first being `choice`; `metric`, `margin`,
      `confidence`, and what stands in the rows: see `_judged` and `network_facts`.
    """
    rows, ratios = [], {}
    for number, init in enumerate(inits, 1):
        prepared = _prepared(values, init, data)
        row, ratios[init] = _judged(prepared, f'{number} of {len(inits)} {init}', progress)
        rows.append(row | network_facts(prepared, parity))
        test = f'{ratios[init].metric.label} {row["test"]:.4g}'
        say(f'{printable(init)}: LogME {row["logme"]:.4g}, test {test} of the probe')
    metric = ratios[inits[0]].metric
    rows.sort(key=lambda row: (-metric.sign * row['validation'], row['parameters']))
    choice, groups = (
        rows[0]['init'],
        grouped(Statistics({'index': np.arange(len(data.test))}), data.test.groups).rows.get(
            'group'
        ),
    )
    margin = default_margin(metric)
    found = differences_to(ratios, choice, margin=margin, groups=groups)
    for row in rows:
        if row['init'] != choice:
            one = found[row['init']]
            bounds = (one.low, one.high) if np.isfinite(one.low) else (None, None)
            row['difference'] = {
                'estimate': one.difference,
                'low': bounds[0],
                'high': bounds[1],
                'verdict': one.verdict,
                'p': one.p,
            }
    return {
        'networks': rows,
        'choice': choice,
        'metric': metric.name,
        'higher_is_better': metric.higher_is_better,
        'margin': margin,
        'confidence': 0.95,
        'task': data.task,
        'examples': {'train': len(data.train), 'val': len(data.val), 'test': len(data.test)},
        'groups': None if groups is None else int(groups.max()) + 1,
    }


def _prepared(values: Mapping[str, object], init: str, data: Splits) -> Prepared:
    return prepare(read_config(merged(values, {'init': init, 'freeze': 'head'})), data)


def _judged(prepared: Prepared, name: str, progress: bool) -> tuple[dict[str, Any], Ratio]:
    """A network's row, and its metric on the test split by units.

    `logme`; `validation` and `test` of the probe with `interval`; its inverse `penalty`, and
    whether that is on the `edge` of those tried; `width` of the features, and the `seconds` that
    they took.
    """
    data, config = prepared.data, prepared.config
    parts = (data.train, data.val, data.test)
    began = time.perf_counter()
    with Progress(sum(map(len, parts)), name, unit='examples', enabled=progress) as bar:
        features = frozen_features(
            prepared.network,
            prepared.variables,
            parts,
            prepared.preprocessing,
            config.data.image_size,
            bar.update,
            cut=prepared.network.stages[-1],
        )
    seconds = time.perf_counter() - began
    train, val, test = np.split(features, np.cumsum([len(part) for part in parts])[:-1])
    kind, outputs, labels = data.label_kind, data.num_outputs, data.train.labels
    on_val, on_test = probe_outputs(kind, train, labels, outputs, (val, test))
    scores = np.array([_measured(each, data.val)[1] for each in on_val], np.float64)
    signed = _ratio(data.test, on_test[0]).metric.sign * scores
    if np.isnan(signed).all():
        raise UserError(f'{prepared.config.init}: the probe has no score on the validation split')
    tied = np.flatnonzero(signed == np.nanmax(signed))
    best = int(tied[(len(tied) - 1) // 2])
    metrics, value = _measured(on_test[best], data.test)
    ratio = _ratio(data.test, on_test[best])
    if value is None:
        raise UserError(
            f'{prepared.config.init}: {ratio.metric.name} is undefined on the test split'
        )
    interval = metrics.get(f'{ratio.metric.name}_interval') or ratio.interval()
    row = {
        'init': config.init,
        'logme': log_evidence(train, target_columns(kind, labels, outputs)),
        'validation': float(scores[best]),
        'test': value,
        'interval': None if interval is None else [float(bound) for bound in interval],
        'metrics': metrics,
        'penalty': PATH[best],
        'edge': best in (0, len(PATH) - 1) and len(tied) == 1,
        'width': int(features.shape[1]),
        'seconds': seconds,
    }
    return row, ratio


def _measured(outputs: np.ndarray, dataset: Dataset) -> tuple[dict[str, Any], float | None]:
    """All metrics on a split, and the value of the one that networks are compared by."""
    found = _statistics(outputs, dataset)
    return task_of(dataset.task).measured(found, dataset.class_names), _of(found, dataset).value


def _ratio(dataset: Dataset, outputs: np.ndarray) -> Ratio:
    return _of(_statistics(outputs, dataset), dataset)


def _of(found: Statistics, dataset: Dataset) -> Ratio:
    ratio = task_of(dataset.task).ratio(found)
    if ratio is None:
        raise UserError(f'data.task {dataset.task} has no metric that is a ratio of sums')
    return ratio


def _statistics(outputs: np.ndarray, dataset: Dataset) -> Statistics:
    pairs = [(outputs, {'labels': dataset.labels})]
    return grouped(task_of(dataset.task).collected(pairs), dataset.groups)
