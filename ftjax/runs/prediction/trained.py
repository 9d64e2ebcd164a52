"""A trained network and all that new inputs need of its run: a folder, or any checkpoint."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ftjax.config import SECTIONS, section
from ftjax.data.dataset import Splits
from ftjax.data.images.modes import Whites
from ftjax.data.labels import NO_TASK, labels_of
from ftjax.data.settings import DataSettings
from ftjax.data.unlabelled.chunks import Reading
from ftjax.distributed.sharding import Sharding
from ftjax.errors import UserError, check_name
from ftjax.io.identity.own_parts import restore
from ftjax.io.json.json_reader import LENIENT, read_object
from ftjax.io.json.json_values import JsonObject
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.table_features import TablePreprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import CONFIG, FORMAT
from ftjax.pretrained.run_checkpoint import FOLDER
from ftjax.pytrees import Variables
from ftjax.runs.own_code import check_code
from ftjax.runs.prediction.how_read import READ
from ftjax.tasks import DEFAULT_TASK, Task, task_of
from ftjax.tasks.threshold import Threshold

FILES = (
    *('text_column', 'text_pair_column', 'text_columns', 'path_column', 'label_column', 'units'),
    *('layout', 'delimiter', 'quoting', 'encoding', 'image_root'),
)
"""Fields of `config.data` that say how a file of inputs is read: these may be others than a run's.
What the network sees of an input, its size say, is what it was trained with."""
LARGEST_BATCH = 2**16
"""Inputs a batch that a folder from elsewhere may ask for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A network that answers, and how inputs are made ready for it."""

    init: str
    """What was opened."""
    network: Network
    variables: Variables
    preprocessing: Preprocessing | TextPreprocessing | None
    class_names: tuple[str, ...]
    """Of the head, in the order of the outputs; () where nobody said."""
    settings: DataSettings
    """How its run read inputs; the defaults where there was none."""
    threshold: Threshold | None = None
    """From which probability on the run answered the second of two classes, or each label; None
    for no such."""
    whites: Whites | None = None
    head: bool = True
    """Whether the head is a trained one."""
    run: pathlib.Path | None = None
    """The folder of its run, where there is one."""
    model: pathlib.Path | None = None
    """The folder of its weights, where calibration.json lies beside them."""
    code_changed: str = ''
    """How own code that answers differs from that of the run; '' where it does not."""
    fitted: JsonObject | None = None
    """What was fitted on validation data in this process, in place of that file."""

    @property
    def texts(self) -> bool:
        """Whether it takes texts; else images, or rows of a table."""
        return self.network.vocab_size is not None

    @property
    def task(self) -> Task:
        """What it was trained to do."""
        return task_of(self.settings.task)

    @functools.cached_property
    def placed(self) -> Any:
        """The variables on the devices, put there once."""
        return Sharding().copied(self.variables)

    def reading(self, batch_size: int | None = None, answers: bool = False) -> Reading:
        """How inputs become batches; UserError for a text network without a tokenizer.

        `answers` says whether the head answers: of a language model, how well texts are guessed.
        """
        if self.texts and not isinstance(self.preprocessing, TextPreprocessing):
            raise UserError(
                f'{self.init} came without a tokenizer that can be read; put its tokenizer.json '
                'beside the weights'
            )
        settings = self.settings
        size = settings.eval_batch_size if batch_size is None else batch_size
        if size < 1:
            raise UserError(f'batch_size is {size}; expected at least 1')
        kind = settings.label_kind
        guesses = answers and self.texts and kind.from_inputs and not kind.drawn
        return Reading(
            self.preprocessing,
            size,
            settings.image_size,
            settings.channels,
            self.whites,
            sizes=self.network.is_dense,
            task=settings.task if guesses else NO_TASK,
            fewest_texts=kind.fewest_texts,
        )

    @property
    def table(self) -> TablePreprocessing | None:
        """How rows of a table are read; None for a network of images or texts.

        Raises:
          UserError: a network of tables without what was fitted on its training rows.
        """
        if self.network.takes != 'table':
            return None
        found: object = self.preprocessing
        if not isinstance(found, TablePreprocessing):
            raise UserError(f'{self.init} came without the columns that it takes; use a run of it')
        return found

    def warnings(self) -> list[str]:
        """What has to be said of its answers."""
        changed = self.code_changed
        return [f'{self.init}: {changed} from that of the run'] if changed else []

    def check_head(self) -> None:
        """UserError where there is no trained head to answer."""
        if not self.head or 'head' not in self.network.stages:
            raise UserError(
                f'{self.init} has no trained head, so it has no answers; train one '
                '(scripts/train.py), or write embeddings with --features=STAGE'
            )


def open_trained(
    init: str,
    parts: Sequence[str] = (),
    task: str = '',
    *,
    allow_code_change: bool = False,
    **precision: Any,
) -> Trained:
    """Opens the folder of a run, its `model/`, one of its checkpoints, or any checkpoint.

    Args:
      init: the folder, or whatever `config.init` takes.
      parts: files with parts of the user's own, in place of those of the run.
      task: of a checkpoint that says none; '' for one class an example.
      allow_code_change: whether own code that answers may be another than that of the run.
      **precision: `dtype` of the weights, `options` of the network; see `load_pretrained`.

    Raises:
      UserError: nothing there, damaged, of another kind, or with other code than its run.
    """
    run = run_of(pathlib.Path(init))
    restore(pathlib.Path(init) if run is None else run, parts)
    found = load_pretrained(init, **precision)
    code_changed = '' if run is None else check_code(run, found.network, allow_code_change)
    saved = _saved(found.config)
    settings = _settings(saved.get('data'), init) if saved.get('data') else None
    if settings is None:
        given = _run_data(run) if run is not None else {}
        settings = _settings({k: v for k, v in given.items() if k in READ}, init)
        if task:
            settings = dataclasses.replace(settings, task=task)
        elif not given and found.network.num_classes == 1:
            raise UserError(f'{init} gives one number and does not say its task; set --task')
    several = labels_of(settings.task).several
    if isinstance(found.threshold, tuple) and not several:
        raise UserError(f'{init}: several decision thresholds, and its task is {settings.task}')
    return Trained(
        init=init,
        network=found.network,
        variables=found.variables,
        preprocessing=found.preprocessing,
        class_names=found.class_names,
        settings=settings,
        threshold=found.threshold,
        whites=_whites(saved.get('whites'), init),
        head=found.report.head == 'kept' or found.network.head_kind in ('lm', 'vector'),
        run=run,
        model=_model_folder(pathlib.Path(init)),
        code_changed=code_changed,
    )


def reading_settings(trained: Trained, changes: Mapping[str, Sequence[Any]]) -> DataSettings:
    """How new inputs are read: as the run read its own, but for some fields.

    Raises:
      UserError: a field that does not say how inputs are read, or two values for one.
    """
    for name, values in changes.items():
        if name in READ and name not in FILES:
            raise UserError(
                f'--data.{name} cannot be another than in training; of files of inputs may be set: '
                f'{", ".join(FILES)}'
            )
        check_name(name, FILES, '--data key')
        if len(values) > 1:
            raise UserError(f'--data.{name} is given {len(values)} times; expected once')
    return dataclasses.replace(trained.settings, **{k: v[0] for k, v in changes.items()})


def of_variables(
    init: str,
    network: Network,
    variables: Variables,
    preprocessing: Preprocessing | TextPreprocessing | None,
    settings: DataSettings,
    data: Splits,
) -> Trained:
    """A network that is in memory, as `open_trained` gives one from a folder."""
    kept = {name: getattr(settings, name) for name in READ}
    return Trained(
        init=init,
        network=network,
        variables=jax.device_get(variables),
        preprocessing=preprocessing,
        class_names=data.class_names,
        settings=DataSettings(**kept),
        whites=data.train.whites,
    )


def run_of(path: pathlib.Path) -> pathlib.Path | None:
    """The folder of the run that a path is, or is the model or a checkpoint of; else None."""
    if not path.exists():
        return None  # the name of something shipped, or on the hub
    whole = path.absolute()
    inside = whole.name in ('model', FOLDER) or whole.parent.name == FOLDER
    for folder in (path, *(whole.parents[:2] if inside else ())):
        file = folder / CONFIG
        if file.is_file() and {'init', 'data', 'freeze'} <= set(read_object(file, LENIENT)):
            return folder
    return None


def _model_folder(path: pathlib.Path) -> pathlib.Path | None:
    for folder in (path / 'model', path):
        file = folder / CONFIG
        if file.is_file() and read_object(file, LENIENT).get('format') == FORMAT:
            return folder
    return None


def _saved(config: JsonObject) -> Mapping[str, object]:
    inputs = (config.get('provenance') or {}).get('inputs')
    return inputs if isinstance(inputs, Mapping) else {}


def _run_data(run: pathlib.Path) -> Mapping[str, object]:
    data = read_object(run / CONFIG, LENIENT).get('data')
    return data if isinstance(data, Mapping) else {}


def _settings(fields: object, init: str) -> DataSettings:
    if not isinstance(fields, Mapping):
        raise UserError(f'{init}: what it says of its inputs is no object')
    for name in fields:
        check_name(name, READ, f'{init}: field of its inputs')
    found = section(SECTIONS['data'], {'task': DEFAULT_TASK, **fields}, 'data')
    if found.eval_batch_size > LARGEST_BATCH:
        raise UserError(
            f'{init}: its batches of {found.eval_batch_size} inputs are too large; expected at '
            f'most {LARGEST_BATCH}'
        )
    return found


def _whites(fields: object, init: str) -> Whites | None:
    if fields is None:
        return None
    known = {'whole': int, 'real': float}
    if not isinstance(fields, Mapping) or set(fields) - set(known):
        raise UserError(f'{init}: what is white in its images is {fields!r}; expected {known}')
    for value in fields.values():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise UserError(f'{init}: what is white in its images is {value!r}; expected a number')
        if value is not None and not 0 < value <= 2**32:
            raise UserError(f'{init}: what is white in its images is {value!r}; expected above 0')
    return Whites(**fields)
