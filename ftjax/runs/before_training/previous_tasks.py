"""What finished runs say of a network: which of its weights matter for their tasks."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from ftjax.config import read_saved_config
from ftjax.data import load_data
from ftjax.data.matching import matching_preprocessing
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import Plan, make_plan
from ftjax.io.files.atomic import read_json
from ftjax.leaves import flatten
from ftjax.pytrees import Flat, Variables
from ftjax.runs.network_opening import open_network
from ftjax.tasks.registry import columns_of, loss_of
from ftjax.training.step.run_spec import RunSpec


def importance_of(
    folders: Sequence[str], plan: Plan, shapes: Variables, weights: bool = True
) -> Flat:
    """By leaf, the diagonal Fisher information summed over the tasks of finished runs.

    Args:
      folders: `train.previous`.
      plan: of the run that asks; {} where it asks for nothing.
      shapes: of its leaves; those that a previous run has in the same shape are in what comes back.
      weights: whether it is computed; without, folders are looked at and shapes are given.

    Raises:
      UserError: previous tasks without a regulariser that asks for them, or none of them; a folder
        that holds no finished run, or one whose data changed.
    """
    if bool(folders) != plan.reads_importance:
        raise UserError(
            f"train.previous names {folders[0]!r}, and nothing asks for it; expected freeze='ewc'"
            if folders
            else f'freeze {plan.strategy!r} needs previous tasks; name folders of finished runs in '
            "train.previous, ('runs/first',), and in init the network that it goes on with"
        )
    for folder in folders:
        check_finished(pathlib.Path(folder))
    own = flatten(shapes['params'])
    if not weights:
        return dict(own) if folders else {}
    total: Flat = {}
    for folder in folders:
        place = pathlib.Path(folder).resolve()
        written = (place / 'result.json').stat().st_mtime_ns
        for path, values in fisher_of_run(place, written, examples_of(plan)).items():
            if path in own and own[path].shape == values.shape:
                total[path] = total.get(path, np.zeros((), np.float32)) + values
    if folders and not total:
        raise UserError(f'train.previous {folders[0]!r} has no leaf of this network')
    return total


def check_finished(folder: pathlib.Path) -> None:
    """UserError where a folder holds no finished run."""
    if not (folder / 'result.json').is_file() or not (folder / 'config.json').is_file():
        raise UserError(
            f'train.previous {str(folder)!r} holds no finished run: expected config.json and '
            'result.json, as scripts/train.py --workdir writes them'
        )


@functools.lru_cache(maxsize=4)
def fisher_of_run(folder: pathlib.Path, written: int, examples: int) -> Flat:
    """The diagonal Fisher information of a finished run's network on its training data.

    That of the last few folders is kept, by the time at which their result was written.
    """
    from ftjax.training.loop.fisher import diagonal_fisher  # few runs come after another task

    del written
    config = read_saved_config(read_json(folder / 'config.json'))
    config = dataclasses.replace(config, init=str(folder), model={})
    data = load_data(config.data)
    opened = open_network(config, data)
    if read_json(folder / 'result.json').get('data_fingerprint') != data.fingerprint:
        raise UserError(f'train.previous {str(folder)!r}: its data are no longer what they were')
    if opened.head_is_new:
        raise UserError(f'train.previous {str(folder)!r}: its head is not that of its classes')
    plan = make_plan('full', opened.network, opened.variables, head_is_new=False)
    train = config.train
    if columns_of(loss_of(train.loss, data.task)):
        # A teacher's answers, say: the task is the labels, and the teacher may be gone.
        train = dataclasses.replace(train, loss='')
    spec = RunSpec(
        *(opened.network, opened.variables, plan, data),
        settings=train,
        preprocessing=matching_preprocessing(
            data.train, opened.network, opened.preprocessing, config.data
        ),
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        seed=config.seed,
    )
    return diagonal_fisher(spec, examples)


def fisher_at(spec: RunSpec, plan: Plan) -> Flat:
    """The diagonal Fisher information at a spec's variables, as a plan's regulariser asks for it.

    Of all leaves, whatever the spec's own plan trains: a later task may move others.
    """
    from ftjax.training.loop.fisher import diagonal_fisher

    whole = make_plan('full', spec.network, spec.variables, head_is_new=False)
    return diagonal_fisher(dataclasses.replace(spec, plan=whole), examples_of(plan))


def examples_of(plan: Plan) -> int:
    """Training examples of a previous task that the regularisers of a plan look at."""
    asked = [term for term in plan.of_kind('regulariser') if term.details.importance]
    return max(int(term.arguments['examples']) for term in asked)
