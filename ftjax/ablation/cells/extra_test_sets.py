"""Test sets beside the task's own: shifted ones, and what a network was pretrained on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from ftjax.ablation.cells.row import numbers_of
from ftjax.config import Config, read_config
from ftjax.data import Dataset, load_data
from ftjax.data.load import load_test
from ftjax.data.matching import matching_preprocessing
from ftjax.data.other_source import NOT_OF_OTHERS, same_source
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import is_named
from ftjax.data.text.trained_tokenizer import wanted
from ftjax.errors import UserError, check_name
from ftjax.evaluation.split_outputs import split_outputs
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.open import load_pretrained, outline
from ftjax.pytrees import Variables
from ftjax.runs.prepare import Prepared
from ftjax.tasks import task_of

HEADS = ('task', 'source', 'vector')
CUTS = {'test_fraction', 'test_per_class', 'folds', 'fold'}
"""Settings that say which part of a source is its test split."""


@dataclasses.dataclass(frozen=True)
class FurtherTest:
    """A test set, and the network that is evaluated on it."""

    name: str
    dataset: Dataset
    settings: DataSettings
    network: Network
    preprocessing: Preprocessing | TextPreprocessing | None
    head: object = None
    """Variables whose head stands in for the trained one; None to keep that."""
    parts: tuple[str, ...] = ()
    """Of the variables, those that the network has; () for all."""

    def metrics(self, variables: Variables, threshold: Any = None) -> dict[str, float | None]:
        """Of a run's final variables, at the decision threshold of the run if it has one."""
        if self.head is not None:
            trunk = {k: v for k, v in variables['params'].items() if k != 'head'}
            variables = {**variables, 'params': {**trunk, 'head': self.head}}
        if self.parts:
            kept = {k: v for k, v in variables['params'].items() if k in self.parts}
            variables = {**variables, 'params': kept}
        of = self.dataset
        outputs = split_outputs(self.network, variables, of, self.settings, self.preprocessing)
        another = self.head is not None or self.parts  # another head, other classes
        own = None if another else threshold
        task = task_of(of.task)
        return numbers_of(task.measure(outputs, of.class_names, own, groups=of.groups))


def further_tests(prepared: Prepared, given: Mapping[str, object]) -> list[FurtherTest]:
    """The further test sets of a run, read and checked before it is trained.

    A test set of the network's first task is left out where the network has no head of it: one
    with random weights has forgotten nothing.

    Args:
      prepared: the run.
      given: name to a source or to changes of `config.data`; see AblationSettings.

    Raises:
      UserError: an unknown key, or classes that are not those of the head.
    """
    return [test for name in given if (test := further_test(prepared, name, given[name]))]


def further_test(prepared: Prepared, name: str, given: object) -> FurtherTest | None:
    """One of them."""
    settings, head = further_settings(prepared.config.data, name, given)
    dataset = further_dataset(prepared.config.data, name, given)
    own = prepared.preprocessing
    if wanted(settings.tokenizer) is not None and isinstance(own, TextPreprocessing):
        # Made from the training texts: from others it would be another one.
        settings = dataclasses.replace(settings, tokenizer=own.tokenizer)
    if head == 'task':
        check_classes(name, dataset, prepared.data.class_names, 'the task')
        preprocessing = matching_preprocessing(
            dataset, prepared.network, prepared.preprocessing, settings
        )
        return FurtherTest(name, dataset, settings, prepared.network, preprocessing)
    config = prepared.config
    if head == 'vector':
        return vector_test(config, name, dataset, settings) if config.init else None
    if not config.init or config.init.startswith('random:'):
        return None
    source = load_pretrained(
        config.init,
        image_size=config.data.image_size,
        seed=config.seed,
        options=dict(config.model) or None,
    )
    if source.report.head != 'kept':
        return None
    check_classes(name, dataset, source.class_names, config.init)
    network, variables = with_adapters(config.freeze, source.network, source.variables, config.seed)
    preprocessing = matching_preprocessing(dataset, network, source.preprocessing, settings)
    own = variables['params'].get('head')
    # A head without weights is the table of words once more, that of the run's own trunk.
    parts = tuple(variables['params']) if own is None else ()
    return FurtherTest(name, dataset, settings, network, preprocessing, own, parts)


def vector_test(config: Config, name: str, dataset: Dataset, settings: DataSettings) -> FurtherTest:
    """A test set of the vectors that reach the task's head, which is left out."""
    kind = dataset.label_kind
    if kind.head != 'vector':
        raise UserError(
            f"also_evaluate {name!r}: head 'vector' needs a task of vectors beside it, "
            f"'task': 'text_similarity'; it is {dataset.task!r}"
        )
    options = {**config.model_options, **kind.network_options}
    found = outline(config.init, num_classes=0, seed=config.seed, options=options)
    network, shapes = with_adapters(config.freeze, found.network, found.shapes, config.seed)
    preprocessing = matching_preprocessing(dataset, network, found.preprocessing[0], settings)
    parts = tuple(shapes['params'])
    return FurtherTest(name, dataset, settings, network, preprocessing, parts=parts)


def further_settings(base: DataSettings, name: str, given: Any) -> tuple[DataSettings, str]:
    """The data settings of a further test set, and whose head it is for: one of HEADS."""
    changes = {'source': given} if isinstance(given, str) else dict(given)
    head = check_name(changes.pop('head', 'task'), HEADS, f'head of also_evaluate {name!r}:')
    # Only the test split is used: what is kept of the others must not ask too much of them.
    kept = {**dataclasses.asdict(base), 'examples_per_class': None, 'val_per_class': None}
    if head != 'task':
        kept['class_names'] = ()
    if head == 'vector':
        kept['test_per_class'] = None  # there are no classes
    if not same_source(changes.get('source', base.source), base.source):
        kept |= NOT_OF_OTHERS
    return read_config({'data': {**kept, **changes}}).data, head


def further_dataset(base: DataSettings, name: str, given: object) -> Dataset:
    """The examples of a further test set, before anybody asks whether a head fits them."""
    settings, head = further_settings(base, name, given)
    return further_split(settings, scored_whole(base, head, given))


def scored_whole(base: DataSettings, head: str, given: Any) -> bool:
    """Whether a further test set is scored on all it gives, and not on a split drawn from it.

    So it is for data of its own, of which nothing was trained on. A shifted version of the
    task's data, what ftjax makes itself and what the network was pretrained on are scored on
    the test split of `data.seed`: the rest of them may have been trained on. `test_fraction`
    or `folds` among the changes ask for that too.
    """
    changes = {'source': given} if isinstance(given, str) else dict(given)
    source = changes.get('source', base.source)
    other = not same_source(source, base.source) and is_named(source)
    return head != 'source' and other and not CUTS & set(changes)


@functools.lru_cache(maxsize=8)
def further_split(settings: DataSettings, whole: bool) -> Dataset:
    """The examples of a further test set, kept for the next run."""
    return load_test(settings) if whole else load_data(settings).test


def check_classes(name: str, dataset: Dataset, wanted: tuple[str, ...], whose: str) -> None:
    """UserError unless a data set has the classes of a head, in its order."""
    if not len(dataset):
        raise UserError(f'also_evaluate {name!r}: {dataset.name} holds no examples')
    if dataset.class_names != wanted:
        raise UserError(
            f'also_evaluate {name!r}: {dataset.name} has classes {few(dataset.class_names)}, '
            f'{whose} has {few(wanted)}; the same in the same order are expected'
        )


def few(names: tuple[str, ...]) -> str:
    """Class names, the first of them where they are many.

    >>> few(('a', 'b')), few(tuple('abcdef'))
    ('a, b', 'a, b, c, .. (6)')
    """
    if len(names) <= 4:
        return ', '.join(names) or 'none'
    return f'{", ".join(names[:3])}, .. ({len(names)})'
