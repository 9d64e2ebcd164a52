"""What a checkpoint is, learned from its configuration and its headers."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator, Mapping

import jax

from ftjax.errors import UserError
from ftjax.io.json.json_reader import LENIENT, read_object
from ftjax.io.json.json_values import JsonObject
from ftjax.models.adapters.adapted import plain_network, with_overrides
from ftjax.models.registry import build, options_of
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.table_features import is_table, table_of
from ftjax.preprocessing.texts import TextPreprocessing, text_preprocessing_of
from ftjax.pretrained import families, own_format
from ftjax.pretrained.config_values import check_values
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.keymaps.hf_config import TAGGER, architecture, num_labels
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable, identity
from ftjax.pretrained.readers import TensorSource
from ftjax.pretrained.sentence_folder import pooling_of
from ftjax.printable import printable

GENERATION = 'generation_config.json'
OTHER_TASK = re.compile(
    r'For(TokenClassification|QuestionAnswering|MultipleChoice|NextSentencePrediction)$'
)
"""Classes of transformers whose heads are not those of a network with one answer to a text, under
names of those that it has."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of known family whose tensors have not been read."""

    folder: pathlib.Path
    family: str
    """A registered family, or 'ftjax' for our own format."""
    config: JsonObject
    source: TensorSource | None
    """None where only the configuration was asked for."""
    revision: str | None = None
    notes: tuple[str, ...] = ()
    """What the load report says of the configuration and of the tensors' names."""
    options: JsonObject = dataclasses.field(default_factory=dict)
    """Fields of the network that somebody gave and that the configuration has no place for."""
    texts: pathlib.Path | None = None
    """Where the tokenizer is, if in another folder."""

    @property
    def is_own(self) -> bool:
        """Whether it is in our own format."""
        return self.family == own_format.FORMAT

    def network(self, **overrides: object) -> Network:
        """The network that the checkpoint describes, with some fields replaced."""
        with self._explaining(overrides):
            overrides = self._with_pool({**self.options, **overrides})
            if self.is_own:
                name, options = self.config['model'], self.config['options']
                merged = with_overrides if name == 'adapted' else dict.__or__
                network = build(name, merged(options, overrides))
            else:
                made = families.module(self.family).network_from_config
                network = made(dict(self._fields), **overrides)
                if network.takes_tags and self._has_tags(overrides):
                    tags = {'pool': 'none', 'num_classes': num_labels(self.config, TAGGER)}
                    network = made(dict(self._fields), **overrides, **tags)
        # A network takes time to look at that grows with its blocks: not before this is known.
        blocks = len(network.blocks)
        tensors = blocks if self.source is None else len(self.source.names)
        if blocks > tensors:
            raise UserError(
                f'{self.folder / own_format.CONFIG}: a network of {blocks} blocks, and its weights '
                f'are {tensors} tensors'
            )
        return network

    @functools.cached_property
    def _fields(self) -> JsonObject:
        """The configuration, with the tokens at which transformers stops writing."""
        file = self.folder / GENERATION
        if not file.exists():
            return self.config
        found = {k: v for k, v in read_object(file, LENIENT).items() if k == 'eos_token_id'}
        check_values(found, file)
        return self.config if found.get('eos_token_id') is None else {**self.config, **found}

    def _with_pool(self, overrides: Mapping[str, object]) -> dict[str, object]:
        """With the pool of a head that gives a vector, where nobody says another.

        It is that of sentence-transformers' settings beside the weights; else the network's own,
        and the mean for one whose own is none.
        """
        if overrides.get('head') != 'vector' or 'pool' in overrides:
            return dict(overrides)
        found = pooling_of(self.folder)
        if found is None:
            without = {name: value for name, value in overrides.items() if name != 'head'}
            pool = options_of(plain_network(self.network(**without)))[1].get('pool', 'mean')
            found = pool if pool in ('mean', 'last') else 'mean'
        return {**overrides, 'pool': found}

    def _has_tags(self, overrides: Mapping[str, object]) -> bool:
        """Whether the file is of a network that answers for every token, and nobody says other."""
        own = architecture(self.config).endswith(TAGGER)
        return own and not overrides.keys() & {'num_classes', 'pool', 'head'}

    @contextlib.contextmanager
    def _explaining(self, overrides: Mapping[str, object]) -> Iterator[None]:
        """Whatever its configuration makes a family raise becomes one line that names the file.

        Values are checked before; this is for those that are well in themselves and do not go
        together.
        """
        file = self.folder / own_format.CONFIG
        try:
            yield
        except UserError as error:
            if overrides or str(file) in str(error) or not file.exists():
                raise
            told = printable(str(error).removeprefix(f'{file.name}: '))[:1000]
            raise UserError(f'{file}: {told}') from None
        except (
            *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError, AssertionError),
        ) as error:
            reason = f'{type(error).__name__}: {printable(error)[:200]}'
            raise UserError(f'{file}: no network can be made of it ({reason})') from error

    def key_map(self, network: Network) -> KeyMap:
        """The key map that fits the checkpoint's names."""
        if self.is_own:
            names = self.source.names if self.source else ()
            # The head's leaves are known from the file where the network has another or none.
            keys = [*leaf_shapes(network), *(n for n in names if n.startswith('params/head/'))]
            tables = positions_of(self.network(), network)
            return dataclasses.replace(
                identity(own_format.FORMAT, dict.fromkeys(keys)), positions=tables
            )
        names = self.source.names if self.source else ()
        with self._explaining({}):
            found = families.key_map(self.family, self.config, names)
        name = architecture(self.config)
        is_other = bool(OTHER_TASK.search(name))
        if network.head_kind in ('tags', 'vector'):
            own = TAGGER if network.head_kind == 'tags' else 'Model'
            is_other = not re.search(rf'(^|Model|LM|ForPreTraining|{own})$', name)
        return found.without_head(name) if is_other else found

    @property
    def promises_head(self) -> bool:
        """Whether a file without any tensor of a head must be damaged.

        A base model's config.json counts classes too, but names no classifier's class.
        """
        if self.is_own:
            return bool(self.config['options'].get('num_classes'))
        classes = self.config.get('architectures') or []
        return any(re.search(r'For(Sequence|Image)Classification', name) for name in classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the logits; () where the checkpoint does not say."""
        if self.is_own:
            return tuple(self.config.get('class_names') or ())
        labels = self.config.get('id2label')
        if labels:
            try:
                names = tuple(str(labels[key]) for key in sorted(labels, key=int))
            except ValueError:
                raise UserError(
                    f'{self.folder}/config.json: id2label has keys that are not numbers'
                ) from None
            # transformers fills the field with LABEL_0, LABEL_1 .. where nobody gave names.
            return () if all(n == f'LABEL_{i}' for i, n in enumerate(names)) else names
        found = families.module(self.family)
        return tuple(found.class_names(self.config)) if hasattr(found, 'class_names') else ()

    def preprocessing(
        self, network: Network
    ) -> tuple[Preprocessing | TextPreprocessing | None, str]:
        """(preprocessing at the network's own input size, where it is from)."""
        size = input_size(network)
        if size is None:
            saved = self.config.get('preprocessing') if self.is_own else None
            if is_table(saved):
                return table_of(saved, f'{self.folder}/config.json'), 'config.json'
            return text_preprocessing_of(network, self.texts or self.folder, saved)
        if self.is_own:
            if self.config.get('preprocessing') is None:
                raise UserError(f'{self.folder}/config.json: preprocessing is missing')
            fields = self.config['preprocessing']
            with self._explaining({}):
                found, origin = Preprocessing.from_json(fields), 'config.json'
        elif saved := saved_processor(self.folder):
            fields, file = saved
            family = families.module(self.family)
            own = getattr(family, 'OWN_PROCESSOR', getattr(family, 'IMAGE_PROCESSOR', ''))
            found = Preprocessing.from_huggingface(fields, size[2], file, own)
            origin = file.name
        else:
            half = (0.5,) * size[2]
            found = Preprocessing(image_size=size[:2], mean=half, std=half, channels=size[2])
            origin = 'assumed (mean .5, std .5): no preprocessor_config.json beside the weights'
            if hasattr(families.module(self.family), 'preprocessing'):
                with self._explaining({}):
                    usual = families.module(self.family).preprocessing(self.config)
                if usual.channels == size[2]:  # colours have no say in what is grey
                    found, origin = usual, f'the family {self.family}'
        return found.with_size(size[:2]), origin

    @property
    def tokenizer(self) -> pathlib.Path | None:
        """The tokenizer.json beside the weights, if there is one."""
        file = (self.texts or self.folder) / own_format.TOKENIZER
        return file if file.exists() else None


def positions_of(saved: Network, wanted: Network) -> tuple[PositionTable, ...]:
    """The position table of our own file, where the two networks have different grids."""
    grid, table = saved.grid, leaf_shapes(saved).get('params/embed/pos_embed')
    if grid is None or grid == wanted.grid or table is None:
        return ()
    prefix = table.shape[1] - grid[0] * grid[1]
    return (PositionTable('embed/pos_embed', prefix, grid, 'bicubic', antialias=True),)


def saved_processor(folder: pathlib.Path) -> tuple[JsonObject, pathlib.Path] | None:
    """(fields of the image processor of transformers, the file that has them); None without.

    A processor of texts and images of transformers 5, as CLIP's, is saved as one file, which goes
    first where both are there.
    """
    whole, own = folder / 'processor_config.json', folder / 'preprocessor_config.json'
    part = read_object(whole, LENIENT).get('image_processor') if whole.exists() else None
    if isinstance(part, dict):
        return part, whole
    return (read_object(own, LENIENT), own) if own.exists() else None


def input_size(network: Network) -> tuple[int, int, int] | None:
    """(height, width, channels) of the images a network takes; None if it takes none."""
    example = jax.eval_shape(lambda: network.example_input(1))
    shape = getattr(example, 'shape', ())
    return tuple(shape[1:]) if len(shape) == 4 else None
