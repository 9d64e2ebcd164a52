"""The column `teacher_logits`: what a frozen teacher answers to every training example, once.

The logits are those of the examples as they are, in evaluation mode, and are stored as features
are: by a key of the teacher's weights, its preprocessing and the examples. No step computes them.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import json
import logging
import math

import jax
import numpy as np

from ftjax.data.example_columns import Column
from ftjax.distributed.process_group import several
from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.files.cache_folder import cache_folder
from ftjax.registry import register
from ftjax.runs.loss_columns.of_loss import Asked
from ftjax.runs.loss_columns.teacher import Teacher, other_splits, reading_differences, teacher_of
from ftjax.training.feature_cache.compute import OUTPUTS, Passed, passed_on
from ftjax.training.feature_cache.key import compared
from ftjax.training.feature_cache.policy import memory_budget
from ftjax.training.feature_cache.store import Features
from ftjax.training.feature_cache.stored_outputs import StoredOutputs, reporter

_log = logging.getLogger(__name__)
_USED: collections.OrderedDict[str, Features] = collections.OrderedDict()
_MOST = 8
"""Splits whose logits are looked at once a process; those used longest ago go first."""


@register('column', 'teacher_logits', source='arXiv:1503.02531')
def teacher_logits(asked: Asked, teacher: str = '') -> Column:
    """What a finished network answers to each training example, (outputs,) before any softmax."""
    if not teacher:
        raise UserError(
            f'train.loss {asked.config.train.loss!r} needs a teacher: the folder of a finished run '
            "or of weights, 'distillation:teacher=FOLDER'"
        )
    train = asked.train
    found = teacher_of(teacher, train)
    passed = shape_of(found, asked)
    size = asked.config.data.image_size
    facts = {
        'weights': found.weights,
        'network': found.described,
        'preprocessing': (p := found.preprocessing(found.dataset(train))) and compared(p),
        'image_size': found.trained.settings.image_size,
    }
    text = json.dumps(to_jsonable(facts), sort_keys=True)
    return Column(
        count=len(train),
        shape=passed.shapes[OUTPUTS].shape,
        identity=hashlib.sha256(text.encode()).hexdigest(),
        make=functools.partial(logits_of, found, asked, passed),
        notes=tuple(
            notes(found, asked, reading_differences(found, train, asked.preprocessing, size))
        ),
    )


def shape_of(teacher: Teacher, asked: Asked) -> Passed:
    """What the teacher gives for an example; UserError where that is no row of logits."""
    trained, loader = teacher.trained, teacher.loader(asked.train)
    preprocessing = teacher.preprocessing(loader.dataset)
    found = passed_on(trained.network, trained.variables, None, loader, preprocessing)
    if isinstance(found, str):
        raise UserError(f'the teacher {trained.init}: {found}')
    shape = found.shapes[OUTPUTS].shape
    if shape != (asked.train.num_outputs,):
        raise UserError(
            f'the teacher {trained.init} gives {shape} numbers an example; expected '
            f'{asked.train.num_outputs}, one a class'
        )
    return found


def notes(teacher: Teacher, asked: Asked, differences: list[str]) -> list[str]:
    """What people should know: who teaches, and what it does not see as the student does."""
    trained = teacher.trained
    leaves = jax.tree.leaves(trained.variables['params'])
    size = sum(math.prod(leaf.shape) for leaf in leaves)
    said = [
        f'the teacher {trained.init} ({type(trained.network).__name__}, {size:,} parameters) '
        'answers each training example once, before the steps'
    ]
    augment = asked.config.data.augment
    if augment != 'none':
        said.append(
            f'data.augment {augment!r} changes what the student sees; the answers of the teacher '
            'are of the examples as they are'
        )
    other = other_splits(teacher, asked.data)
    if other:
        said.append(
            f'the teacher was trained with other splits: it may have learned from examples of the '
            f'{" and ".join(other)} split here, and what is measured on them is then too good'
        )
    if differences:
        said.append(f'the teacher sees examples otherwise: {", ".join(differences)}')
    return said


def logits_of(teacher: Teacher, asked: Asked, passed: Passed) -> np.ndarray:
    """The logits (N, outputs), stored or computed.

    Raises:
      UserError: the teacher or the data changed meanwhile, or an answer is no finite number.
    """
    variables, loader = teacher.variables(), teacher.loader(asked.train)
    trained, settings = teacher.trained, asked.config.train
    wanted = StoredOutputs(
        network=trained.network,
        variables=variables,
        weights=teacher.weights,
        cut=None,
        loader=loader,
        preprocessing=teacher.preprocessing(loader.dataset),
        image_size=trained.settings.image_size,
        report=reporter(len(loader.dataset)),
    )
    if wanted.key not in _USED:
        _log.info('answers of the teacher %s to %d examples', trained.init, len(loader.dataset))
        _USED[wanted.key] = kept(wanted, passed, settings.cache_folder, settings.cache_bytes)
        while len(_USED) > _MOST:
            _USED.popitem(last=False)
    found = _USED[wanted.key].arrays[OUTPUTS]
    bad = np.flatnonzero(~np.isfinite(np.asarray(found, np.float32)).all(axis=-1))
    if len(bad):
        raise UserError(
            f'the teacher {trained.init} answers {asked.train.ids[bad[0]]!r} with numbers that are '
            f'not finite, and {len(bad) - 1} more of {len(found)} examples'
        )
    return found


def kept(wanted: StoredOutputs, passed: Passed, folder: str | None, most: int) -> Features:
    """In files, for all runs of all processes; in memory where there can be none."""
    if not several():
        try:
            return wanted.in_files(passed.shapes, folder or cache_folder() / 'features')
        except UserError as error:
            if folder is not None:
                raise
            _log.warning('%s; they are kept in memory', error)
    return wanted.in_memory(passed.shapes, memory_budget(most))
