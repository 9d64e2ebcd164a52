"""What a config says about data: `config.data`, checked once into a frozen dataclass."""

from __future__ import annotations

import dataclasses
import numbers
import re
from collections.abc import Mapping
from typing import Annotated

from ftjax.data.augmentation import parse_augment
from ftjax.data.images.corruption import parse_corruption
from ftjax.data.labels import DEFAULT_TASK, LabelKind, labels_of
from ftjax.data.labels.own_keys import check_own_keys
from ftjax.data.labels.tags import UNITS
from ftjax.data.masks.mask_values import check_palette
from ftjax.data.missing import read_missing
from ftjax.data.text.trained_tokenizer import wanted
from ftjax.errors import UserError, check_name, shown
from ftjax.field_types import check_fields
from ftjax.ranges import above, at_least, between
from ftjax.registry import find, parse

LAYOUTS = ('header', 'no_header', 'label_first', 'label_last')
QUOTING = ('auto', 'csv', 'none')
CATEGORIES = ('one_hot', 'embed')
VERIFY = ('auto', 'headers', 'decode', 'none')


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which data, how it is split, and how it is read.

    Raises UserError for a value that cannot be meant.

    >>> DataSettings(source='digits', examples_per_class=10).test_fraction
    0.2
    """

    source: str = 'digits'
    """`digits`, `digits:scattered`, `glyphs`, `pages`, `docstrings`, `docstrings:order`,
    `docstrings:unlabelled`, `docstrings:code`, `docstrings:pairs`, `docstrings:questions`,
    `breast_cancer`, `fraud`, `folder:PATH`, `masks:PATH`, `csv:PATH`, `jsonl:PATH`, `conll:PATH`,
    `npz:PATH` or `tfds:NAME[/CONFIG][:SPLIT]`. `$FTJAX_DATA` may stand in a path."""
    unlabelled: str = ''
    """A further source whose labels nothing looks at, for `train.adapt`: a folder with images, or
    as `source`."""
    task: str = DEFAULT_TASK
    """`classification`, `regression` (labels are then float32), `multilabel`: any number of
    classes an example, as 0 and 1 of float32; `token_classification`: a tag for each word of a
    text; `embedding`: vectors of texts that belong together; `text_similarity`: a number for a
    pair of texts, as the cosine of their vectors; `multiple_choice` and `text_ranking`: the right
    one, or the order, of texts that go with another; `masked_tokens`: the hidden words of texts,
    for a network with a language model's head; or `causal_lm`: the tokens that follow, of texts, of
    completions of prompts, or of what an assistant says. Or one that the config file registers."""
    seed: Annotated[int, at_least(0)] = 0
    """Decides the splits and the few-shot subset."""
    test_fraction: Annotated[float, between(0, 1, ends='low')] = 0.2
    """Share of the examples held out for testing, where the source has no test split."""
    folds: Annotated[int, at_least(0)] = 0
    """Cross-validation: the test split is one of so many stratified folds of the training
    examples, instead of `test_fraction`, and a test split that the source has stays out of it;
    0 for none. Each example is in the test split of exactly one fold."""
    fold: Annotated[int, at_least(0)] = 0
    """Which of the `folds` is the test split, from 0."""
    val_fraction: Annotated[float, between(0, 1, ends='low')] = 0.15
    """Share held out for validation, where the source has no validation split."""
    examples_per_class: Annotated[int | None, at_least(1)] = None
    """Few-shot: training examples kept of each class. The smaller subset is in the larger."""
    val_per_class: Annotated[int | None, at_least(1)] = None
    """Validation examples of each class, instead of `val_fraction`."""
    test_per_class: Annotated[int | None, at_least(1)] = None
    """Test examples of each class, instead of `test_fraction`."""
    test_seed: Annotated[int | None, at_least(0)] = None
    """Decides the test split, or the folds, in place of `seed`: the same for every seed."""
    class_names: tuple[str, ...] = ()
    """Names, in label order, for sources that carry none; empty for the source's own."""
    ignore_index: Annotated[int | None, between(0, 255)] = 255
    """The value of masks whose pixels count for nothing; None for no such. Where it is below
    the number of classes these are the other values, in order."""
    palette: tuple[str, ...] = ()
    """The colour of each class, ('#000000', '#ff8000'), in label order: of mask files that are
    pictures in colour, and of the masks that a report and predictions show."""
    sliding: Annotated[float | None, between(0, 1, ends='low')] = None
    """Segmentation: images are looked at in their own size, through windows of `image_size` that
    overlap by this share of a side, 0.33 say, and whose logits are averaged; in training and
    validation each window is an example. None brings every image to `image_size`."""
    image_size: Annotated[tuple[int, int] | None, between(1, 2**16)] = None
    """Height and width in pixels; None for the network's own."""
    window: Annotated[tuple[float, float] | None, between(-1e9, 1e9)] = None
    """Centre and width of the values that DICOM files show, (40.0, 400.0) Hounsfield units say;
    it is kept with the network. None for the network's own, or what each file says."""
    channels: Annotated[int | None, between(1, 3)] = None
    """1 to read images as grey, 3 as RGB; None for as they are (files: RGB)."""
    batch_size: Annotated[int, at_least(1)] = 32
    """Training examples a step."""
    eval_batch_size: Annotated[int, at_least(1)] = 256
    """Examples a batch in evaluation."""
    sampler: str = ''
    """How often an epoch draws each class: `balanced`, all equally often, or `sqrt`, in proportion
    to the square root of their examples; empty for every example once."""
    augment: str = 'none'
    """Comma list of augmentations, `name` or `name:amount`: for images see
    ftjax/data/images/augmentation.py, for texts ftjax/data/text/augmentation.py."""
    tta: str = 'none'
    """Views of each image whose outputs are averaged in the evaluation of a finished run: `flip`,
    `dihedral`, `shift:2`; validation during training looks at images as they are."""
    max_length: Annotated[int | None, at_least(4)] = 128
    """Tokens that a text, or a pair, is cut to, up to what the network takes; None for as many as
    it takes. The default does not exceed a shorter cut that came with the weights."""
    packing: bool = False
    """Whether the texts of a training batch share rows of `max_length` tokens: fewer rows, none
    of them mostly padding, and the same loss. For `causal_lm`."""
    tokenizer: str = ''
    """A tokenizer.json, or a folder with one, instead of the one beside the weights;
    `wordpiece:SIZE`, or `bytes:SIZE` for a decoder, makes one from the training texts."""
    corruption: str = 'none'
    """`gaussian_noise:0.10`, or another of ftjax/data/images/distortions.py with its amount, on
    every image of every split; images in memory only. `label_flip`: class k of K has the label
    K - 1 - k, in every split."""
    label_column: str = 'label'
    """CSV and JSONL: the label's column; TFDS: its feature, if there is one of that name."""
    text_column: str = ''
    """Column with texts; empty to look for `text` or `sentence`."""
    features: tuple[str, ...] = ()
    """CSV and JSONL: columns of a table of numbers and categories, ('age', 'town'), in place of
    texts or images; ('*',) for all columns of numbers that are not label, split or group."""
    categories: str = 'one_hot'
    """How categories of a table enter the network: `one_hot`, or `embed`, by tables that it
    learns."""
    text_columns: tuple[str, ...] = ()
    """Columns of texts that go through the network each by itself, for `embedding`: (anchor,
    positive) and perhaps negatives; empty to look for `anchor`, `positive`, `negative` and other
    usual names."""
    label_scale: Annotated[float, above(0)] = 1.0
    """What labels that are numbers are divided by: 5 for the scores of STS-B, say."""
    text_pair_column: str = ''
    """Column with the second text of a pair; empty for single texts."""
    units: str = 'words'
    """What a text that is given as one string has a tag for, where data.task is
    token_classification: each of its `words`, parted by spaces, or of its `characters`."""
    label_separator: str = '|'
    """Between the labels of one example, for `multilabel`; JSONL may give a list instead."""
    train_file: str = ''
    """CSV and JSONL, where the source is a folder: the training file's name in it; empty to
    look for files called train, val (or dev) and test."""
    val_file: str = ''
    """The validation file beside `train_file`; empty for none."""
    test_file: str = ''
    """The test file beside `train_file`; empty for none."""
    path_column: str = ''
    """Column with image paths, relative to the file; empty to look for `path`, `image`, .."""
    image_root: str = ''
    """Folder that image paths in a table are relative to, and must lie in; empty for the
    table's own. `/` lets absolute paths lead anywhere."""
    slices: tuple[str, ...] = ()
    """CSV and JSONL: columns by whose values the report tells the scores apart."""
    split_column: str = ''
    """CSV and JSONL: column that says train, val or test; empty for none."""
    group_column: str = ''
    """Column, or feature of TFDS, that says which examples belong together: of one patient, one
    speaker. No group is parted by a split, a fold or a few-shot subset; empty for no groups."""
    group_pattern: str = ''
    """As `group_column`, taken from the names of image files, or else from ids: a regular
    expression with a group called group, `(?P<group>patient_\\d+)`."""
    exclude: str = ''
    """A CSV file that `scripts/audit.py --fix` wrote: which examples are left out of the source,
    and which have another label; empty for none."""
    missing: str | Mapping[str, str] = ''
    """CSV and JSONL: what becomes of rows without a value, by column, {'text': 'drop'}: `error`,
    `drop`, `median`, `mean`, `mode`, `constant:VALUE`, and for the label `keep`, which keeps the
    row as an unlabelled example; or one rule for all columns but the label. Empty for `error`."""
    layout: str = 'header'
    """`header`: columns named in the first line. `no_header`: columns are called by their
    place, `0`, `1`, .., in label_column, text_column and their kin. `label_first` and
    `label_last`: no header, a text and its label on each line, parted by the first or the last
    delimiter."""
    delimiter: str = ''
    """One character; empty for a comma in .csv and a tab elsewhere, or what parts the first
    line where that does not."""
    quoting: str = 'auto'
    """What `"` means in a table: `csv`: it encloses cells; `none`: it is part of the text;
    `auto`: as `csv`, but rows that could be meant either way are refused."""
    encoding: str = 'utf-8'
    """Of CSV and JSONL files; UTF-16 and UTF-32 are known by their byte-order mark."""
    verify: str = 'auto'
    """Image files at loading: `headers` of all, `decode` all, `auto`: decode small sets, or `none`:
    a broken file is met when it is read."""
    data_dir: str = ''
    """Where TFDS keeps its data sets; empty for its default."""

    def __post_init__(self):
        object.__setattr__(self, 'image_size', _size(self.image_size))
        check_fields(DataSettings, vars(self), 'data')
        find('task', self.task, 'data.task')  # '' too is refused: a run has labels
        kind = self.label_kind
        check_name(self.layout, LAYOUTS, 'data.layout')
        check_name(self.quoting, QUOTING, 'data.quoting')
        check_name(self.verify, VERIFY, 'data.verify')
        check_name(self.categories, CATEGORIES, 'data.categories')
        check_name(self.units, UNITS, 'data.units')
        object.__setattr__(self, 'features', tuple(self.features))
        object.__setattr__(self, 'text_columns', tuple(self.text_columns))
        object.__setattr__(self, 'palette', tuple(self.palette))
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        changed = {key: value for key, value in vars(self).items() if value != usual[key]}
        check_own_keys(changed, kind, self.task)
        if self.folds == 1:
            raise UserError('data.folds is 1; expected 0 for none, or 2 or more')
        if self.folds and self.test_per_class is not None:
            raise UserError('data.test_per_class and data.folds both say what the test split is')
        if self.fold >= max(1, self.folds):
            raise UserError(f'data.fold is {self.fold}; expected a fold of data.folds={self.folds}')
        for name in ('examples_per_class', 'val_per_class', 'test_per_class'):
            if getattr(self, name) is not None and not kind.one_class:
                raise UserError(f'data.{name} needs one class an example; data.task is {self.task}')
        if self.test_fraction + self.val_fraction >= 1:
            raise UserError('data.test_fraction + data.val_fraction leave nothing to train on')
        if self.sampler:
            parse('sampler', self.sampler)
            if not kind.one_class:
                raise UserError(
                    f'data.sampler needs one class an example; data.task is {self.task}'
                )
        if self.tta not in ('', 'none'):
            parse('tta', self.tta)
        if self.window is not None:
            object.__setattr__(self, 'window', tuple(map(float, self.window)))
            if self.window[1] <= 0:
                raise UserError(
                    f'data.window is {self.window}; expected (centre, width), width above 0'
                )
        if self.channels not in (None, 1, 3):
            raise UserError(f'data.channels is {self.channels!r}; expected 1, 3 or None')
        if not self.label_separator:
            raise UserError('data.label_separator is empty; expected one or more characters')
        if (self.val_file or self.test_file) and not self.train_file:
            raise UserError('data.val_file and data.test_file need data.train_file beside them')
        if len(self.delimiter) > 1:
            raise UserError(f'data.delimiter is {self.delimiter!r}; expected one character')
        object.__setattr__(self, 'class_names', tuple(self.class_names))
        object.__setattr__(self, 'slices', tuple(self.slices))
        if len(set(self.class_names)) < len(self.class_names):
            raise UserError('data.class_names holds a name twice')
        check_palette(self.palette)
        if self.sliding is not None and self.image_size is None:
            raise UserError('data.sliding needs data.image_size, the size of a window')
        kind.check_augmentation(parse_augment(self.augment))
        if parse_augment(self.augment) and kind.from_inputs:
            raise UserError(
                f'data.augment is {self.augment!r}; expected none, data.task {self.task} '
                'changes the texts itself'
            )
        if self.group_column and self.group_pattern:
            raise UserError('data.group_column and data.group_pattern are both set; expected one')
        _check_pattern(self.group_pattern)
        object.__setattr__(self, 'missing', read_missing(self.missing))
        wanted(self.tokenizer)
        parse_corruption(self.corruption)

    def __hash__(self) -> int:  # a mapping has none of its own
        return hash(repr(self))

    @property
    def label_kind(self) -> LabelKind:
        """The kind of labels that the task has."""
        return labels_of(self.task)


def _check_pattern(pattern: str) -> None:
    try:
        named = re.compile(pattern).groupindex
    except re.error as error:
        raise UserError(
            f'data.group_pattern {pattern!r}: no regular expression ({error})'
        ) from None
    if pattern and 'group' not in named:
        raise UserError(
            f'data.group_pattern {pattern!r} names no group; write (?P<group>..) around what names '
            'it'
        )


def _size(size: object) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, numbers.Integral) else size
    try:
        height, width = (int(side) for side in pair)  # pyrefly: ignore
    except (TypeError, ValueError, OverflowError):
        raise UserError(f'data.image_size is {shown(size)}; expected (height, width)') from None
    if min(height, width) < 1:
        raise UserError(f'data.image_size is {shown(size)}; expected positive pixels')
    return height, width
