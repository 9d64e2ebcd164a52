"""A finished network whose answers another one learns from: opened, and held against the data."""

from __future__ import annotations

import collections
import dataclasses
import pathlib

import jax

from ftjax.data.dataset import Dataset, Splits
from ftjax.data.matching import matching_preprocessing
from ftjax.data.streams.loader import Loader
from ftjax.errors import UserError, did_you_mean
from ftjax.io.identity.identity_changes import part
from ftjax.io.json.json_reader import LENIENT, read_object
from ftjax.models.registry import is_recipe
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.locate.locate import RANDOM, locate
from ftjax.pretrained.weights_identity import weights_hash
from ftjax.pytrees import Variables
from ftjax.runs.prediction.trained import Trained, open_trained
from ftjax.training.feature_cache.key import compared, described

_KNOWN: collections.OrderedDict[tuple[object, ...], Teacher] = collections.OrderedDict()
_MOST = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teacher:
    """All that is known of a teacher, but for its weights, which are read when it answers."""

    trained: Trained
    """Its variables are shapes."""
    weights: str
    """Hash of its weights."""
    task: str

    def variables(self) -> Variables:
        """Its weights; UserError where they are no longer those that were looked at first."""
        found = open_trained(self.trained.init, task=self.task).variables
        if weights_hash(found) != self.weights:
            raise UserError(f'the teacher {self.trained.init} changed meanwhile; start again')
        return found

    @property
    def described(self) -> object:
        """Family and fields of its network."""
        return described(self.trained.network)

    @property
    def own_reading(self) -> bool:
        """Whether it says how its run read inputs."""
        return self.trained.model is not None or self.trained.run is not None

    def dataset(self, train: Dataset) -> Dataset:
        """The examples, as the teacher's own run read them."""
        plain = train.with_columns({})
        if not self.own_reading:
            return plain
        settings, whites = self.trained.settings, self.trained.whites or train.whites
        own = {'channels': settings.channels, 'max_length': settings.max_length, 'whites': whites}
        same = all(getattr(plain, name) == value for name, value in own.items())
        return plain if same else dataclasses.replace(plain, **own)

    def preprocessing(self, train: Dataset) -> Preprocessing | TextPreprocessing | None:
        """What makes its inputs of such examples; UserError where nothing does."""
        settings = dataclasses.replace(self.trained.settings, tta='none')
        network, own = self.trained.network, self.trained.preprocessing
        try:
            return matching_preprocessing(train, network, own, settings)
        except UserError as error:
            raise UserError(f'the teacher {self.trained.init}: {error}') from None

    def loader(self, train: Dataset) -> Loader:
        """Reads the examples for it."""
        dataset = self.dataset(train)
        return Loader(dataset, self.trained.settings.image_size, self.preprocessing(dataset))


def teacher_of(init: str, train: Dataset) -> Teacher:
    """The teacher that a loss names.

    Args:
      init: folder of a finished run or of weights, or what else `config.init` takes.
      train: what it is to answer.

    Raises:
      UserError: nothing there, not finished, without a head, or for another task, other inputs or
        other classes.
    """
    try:
        found = _known(init, train.task)
        found.trained.check_head()
    except UserError as error:
        raise UserError(f'the teacher of train.loss: {error}') from None
    trained, where = found.trained, f'the teacher {init}'
    takes = trained.network.takes
    if takes != train.takes:
        raise UserError(f'{where} takes {takes}, and the training examples are {train.takes}')
    if trained.settings.task != train.task:
        raise UserError(f'{where} was trained for {trained.settings.task}, not for {train.task}')
    check_classes(where, trained, train)
    return found


def check_classes(where: str, trained: Trained, train: Dataset) -> None:
    """UserError unless a teacher answers for the classes of the data, in their order."""
    own, names = trained.class_names, train.class_names
    outputs = len(own) or trained.network.num_classes
    if outputs != len(names):
        raise UserError(f'{where} has {outputs} classes, and the data have {len(names)}')
    if not own or own == names:
        return
    for number, (known, name) in enumerate(zip(own, names, strict=True)):
        if known != name:
            raise UserError(
                f'{where} has the class {known!r} as number {number}, where the data have '
                f'{name!r}; {did_you_mean(name, own)} (data.class_names orders those of the data)'
            )


def _known(init: str, task: str) -> Teacher:
    """A teacher that was looked at before in this process, if its files are those of then."""
    if init.startswith(RANDOM):
        raise UserError(f'{init} has random weights: nothing can be learned from it')
    key = init, task, _stamp(init)
    if key not in _KNOWN:
        trained = open_trained(init, task=task)
        weights = weights_hash(trained.variables)
        shapes = jax.eval_shape(lambda tree: tree, trained.variables)
        slim = dataclasses.replace(trained, variables=shapes)
        _KNOWN[key] = Teacher(trained=slim, weights=weights, task=task)
        while len(_KNOWN) > _MOST:
            _KNOWN.popitem(last=False)
    return _KNOWN[key]


def _stamp(init: str) -> tuple[object, ...]:
    """What of the files of a teacher tells at once that they are others now."""
    if is_recipe(init):
        return ()
    place = locate(init, weights=False).path
    files = [place] if place.is_file() else sorted(pathlib.Path(place).rglob('*'))
    found = ((file, file.stat()) for file in files if file.is_file())
    return tuple((str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found)


def reading_differences(
    teacher: Teacher, asked: Dataset, preprocessing: object, image_size: object
) -> list[str]:
    """How the teacher sees examples otherwise than the student, a few words a difference."""
    own = teacher.preprocessing(teacher.dataset(asked))
    mine: dict[str, object] = {} if own is None else compared(own)
    other: dict[str, object] = {}
    if isinstance(preprocessing, (Preprocessing, TextPreprocessing)):
        other = compared(preprocessing)
    if any((teacher.trained.settings.image_size, image_size)):
        mine['data.image_size'] = teacher.trained.settings.image_size
        other['data.image_size'] = image_size
    if type(own) is not type(preprocessing):
        return [f'{type(own).__name__}, not {type(preprocessing).__name__}']
    return [
        f'{name} {_short(mine.get(name))}, not {_short(other.get(name))}'
        for name in mine
        if mine.get(name) != other.get(name)
    ]


def other_splits(teacher: Teacher, data: Splits) -> list[str]:
    """Which of 'val' and 'test' are not those of the teacher's own run, where it says them."""
    run = teacher.trained.run
    file = None if run is None else run / 'result.json'
    found = read_object(file, LENIENT) if file is not None and file.is_file() else {}
    said = part(part(found, 'identity'), 'data')
    splits = {'val': data.val, 'test': data.test}
    return [
        name
        for name, split in splits.items()
        if name in said and len(split) and said[name] != split.fingerprint
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f'{text[:57]}..'
