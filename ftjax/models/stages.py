"""The stage contract: a network is a sequence of named stages, and can run any part of it.

The first level of `params` (and of `batch_stats`) is the tuple `network.stages`, in depth
order. Everything that needs to know about depth (which blocks are last, layer-wise rates,
where the backward pass stops, what can be cached) reads it off that tuple.

Names are canonical across families, so that a freezing rule written for one reads the same
for another: `embed` or `stem` first, `block_00 ..` or `stage1_block0 ..` for the blocks,
`norm`, `pooler`, `head` last; inside a stage `attn`, `mlp`, names containing `norm` for
normalisation layers, `kernel` and `bias` for weights.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax

from ftjax.errors import UserError
from ftjax.models.layers.row_products import row_products
from ftjax.models.linen_stages import linen_stage
from ftjax.models.several_texts import run_stage
from ftjax.models.stage_boundary import DEEP, written
from ftjax.models.stage_names import stage_slice
from ftjax.pytrees import Inputs


@dataclasses.dataclass(frozen=True)
class Mode:
    """How one stage runs: with or without noise, by running or by batch statistics."""

    deterministic: bool = True
    """No dropout and no stochastic depth; the stage needs no random key."""
    batch_stats: bool = False
    """Normalise by the batch and update the running statistics (BatchNorm only)."""


ROLES = {
    'norm': re.compile(r'(^|/)[a-z_]*norm\d*[a-z_]*/(scale|bias)$'),
    'attention': re.compile(r'/attn/'),
    'position': re.compile(r'/pos_embed|/position'),
    'mlp': re.compile(r'/mlp/'),
}
"""What names of leaves mean."""
EVAL = Mode()
TRAIN = Mode(deterministic=False, batch_stats=True)
Modes = Mode | Mapping[str, Mode]


def mode_of(modes: Modes, stage: str) -> Mode:
    """The mode of one stage; a stage that a mapping does not name runs in EVAL."""
    return modes if isinstance(modes, Mode) else modes.get(stage, EVAL)


class Network(nn.Module):
    """A linen module whose `__call__` runs stages [start, stop) and returns what they pass on.

    Subclasses define `stages`, `make_stage(name)`, `example_input` and the field `num_classes`;
    a stage is a linen module called as `stage(hidden, mode)`. What flows between stages is a
    small pytree of arrays with a leading batch axis: `{'hidden': ..}` and whatever later stages
    need, an attention mask for instance. The first stage takes the raw inputs, the last returns
    logits of shape (batch, num_classes), float32.

    All other attributes that code outside a family's own files reads are declared here with
    their defaults. A family overrides one by a field with a default value, or by a property.
    """

    def __init_subclass__(cls, **options: Any):
        for name in inspect.get_annotations(cls):
            if name in Network.__dict__ and name not in cls.__dict__:
                raise UserError(f'network {cls.__name__}: the field {name!r} needs a default value')
        super().__init_subclass__(**options)

    @property
    def num_classes(self) -> int:
        """Outputs of the head; 0 for no head, or for the head of a language model."""
        return 0

    @property
    def vocab_size(self) -> int | None:
        """Rows of the table of tokens; None for a network that takes images."""
        return None

    @property
    def takes(self) -> str:
        """What an example is: `images`, `texts` or `table`."""
        return 'images' if self.vocab_size is None else 'texts'

    @property
    def target_scale(self) -> float:
        """The deviation of the values of a regression whose head standardises them; 1 for none."""
        return 1.0

    @property
    def table_codes(self) -> tuple[int, ...]:
        """Codes of each category of a table that the network embeds."""
        return ()

    @property
    def is_reconstruction(self) -> bool:
        """Whether the head answers with the features of a table."""
        return False

    @property
    def max_positions(self) -> int | None:
        """Rows of the position table of a text network; None for no limit."""
        return None

    @property
    def longest_text(self) -> int | None:
        """The most tokens that a text may have; None for no limit."""
        return self.max_positions

    @property
    def token_types(self) -> int:
        """How many values `token_type_ids` has: 2 or more where the texts of a pair differ."""
        return 0

    @property
    def pad_id(self) -> int | None:
        """The token that fills up short texts; None or -1 for the tokenizer's own choice."""
        return None

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end a text, of a language model; () where it says none."""
        return ()

    @property
    def is_lm(self) -> bool:
        """Whether the head is a language model's: logits (batch, time, vocab_size)."""
        return False

    @property
    def is_decoder(self) -> bool:
        """Whether the head guesses the next token from those before it; see `Decoder`."""
        return False

    @property
    def head_kind(self) -> str:
        """What the outputs are, where not numbers of a whole example: `LabelKind.head` says it."""
        if self.is_dense:
            return 'dense'
        return 'lm' if self.is_lm else 'features' if self.is_reconstruction else ''

    @property
    def takes_tags(self) -> bool:
        """Whether `pool='none'` makes its head one of every token, `head_kind` 'tags'."""
        return False

    @property
    def is_dense(self) -> bool:
        """Whether the head gives logits of each position: (batch, rows, columns, classes)."""
        return False

    @property
    def tapped(self) -> tuple[str, ...]:
        """Stages whose `feature_map` flows on to the head as well: `tap_0`, `tap_1`, .."""
        return ()

    @property
    def grid(self) -> tuple[int, int] | None:
        """(down, across) of the table of positions, prefixes apart; None: no table, or square."""
        return None

    @property
    def offset_grid(self) -> tuple[int, int] | None:
        """(down, across) of the patches whose offsets have rows in a table; None for no such.

        Such a table is of no use to another grid, even to one with as many rows.
        """
        return None

    @property
    def noiseless(self) -> bool:
        """Whether no stage draws random numbers in training; False where it is not known."""
        return False

    @property
    def ties(self) -> Mapping[str, str | tuple[str, ...]]:
        """Stage -> paths below params of leaves of an earlier stage, for `shared_leaf`."""
        return {}

    @property
    def runs(self) -> Mapping[str, int]:
        """Stage -> how often it runs with one set of weights, where that is more than once."""
        return {}

    @property
    def vocabulary_leaves(self) -> tuple[str, ...]:
        """Paths of tables that its stages can take in slices; see `layers/vocabulary_slices.py`."""
        return ()

    @property
    def is_local(self) -> bool:
        """Whether it cannot be built again from its name and fields in another process."""
        return False

    @property
    def made_of(self) -> tuple[object, ...]:
        """Classes and functions of a user's own that it runs, beyond its own class."""
        return ()

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in depth order: the first level of the parameter tree."""
        raise self._missing('stages')

    @property
    def blocks(self) -> tuple[str, ...]:
        """The stages that `last:k` and its kin count: not the embedding, norms or head."""
        return tuple(name for name in self.stages if re.search(r'block_?\d', name))

    @property
    def sections(self) -> tuple[tuple[str, ...], ...]:
        """Contiguous groups of stages for surgical fine-tuning; the first holds the stem.

        `stage1_block0` and `stage1_block1` are one group, `block_00` is a group of its own.
        """
        pairs = itertools.groupby(self.blocks, lambda name: name.partition('_block')[0])
        first, *others = (tuple(names) for _, names in pairs)
        return ((*self.stages[: self.stages.index(first[0])], *first), *others)

    def make_stage(self, name: str) -> Callable[..., Any]:
        """The constructor of one stage's module, all but its name: `partial(Block, heads=3)`.

        The module itself is built inside `__call__`, where linen binds it to its scope. The class
        may be one of NNX: it is built with `rngs=`, called with what flows (the array, where
        `hidden` alone flows), and follows the mode as `train()` and `eval()` say.
        """
        raise self._missing('make_stage')

    def has_role(self, path: str, role: str) -> bool:
        """Whether a leaf is one of those that a strategy means by a key of ROLES, 'norm' say.

        By its name, 'block_00/norm1/scale', unless a network says more.
        """
        return ROLES[role].search(path) is not None

    def feature_map(self, hidden: jax.Array) -> jax.Array:
        """What a block passes on as a map (batch, rows, columns, width); for `tapped` stages."""
        return hidden

    def own_initial(self, key: jax.Array) -> dict[str, Any]:
        """Flat random variables of a network whose `init` cannot draw them: 'params/..' -> array.

        {} where `init` draws all.
        """
        del key
        return {}

    def is_adapter_leaf(self, path: str) -> bool:
        """Whether a parameter was added by an adapter and is none of the network's own."""
        del path
        return False

    def example_input(self, batch_size: int = 1) -> Inputs:
        """Inputs of the right shape and dtype, all zeros: for init, tracing and cost."""
        raise self._missing('example_input')

    def _missing(self, attribute: str) -> UserError:
        return UserError(
            f'network {type(self).__name__} ({type(self).__module__}) does not define '
            f'{attribute!r}; expected stages, make_stage and example_input (ftjax/models/README.md)'
        )

    @nn.compact
    def __call__(
        self,
        inputs: object,
        *,
        start: str | None = None,
        stop: str | None = None,
        modes: Modes = EVAL,
        taps: Sequence[str] = (),
    ) -> Any:
        """Runs the stages from `start` up to, not including, `stop`.

        Args:
          inputs: what the stage `start` takes: raw inputs for the first stage, else the
            output of the stage before it.
          start: first stage to run; None for the first of all.
          stop: stage to stop before; None to run to the end.
          modes: one Mode for all stages, or a mapping from stage to Mode (EVAL if absent).
          taps: stages whose outputs are wanted as well.

        Returns:
          The output of the last stage run; with taps, (that, {stage: its output}).
        """
        state, seen = inputs, {}
        with row_products():
            for name in stage_slice(self.stages, start, stop):
                made = linen_stage(self.make_stage(name), name, name == self.stages[-1])
                state = run_stage(made(name=name), state, mode_of(modes, name))
                state = written(state) if len(self.blocks) >= DEEP else state
                if name in self.tapped:
                    number = self.tapped.index(name)
                    state = {**state, f'tap_{number}': self.feature_map(state['hidden'])}
                if name in taps:
                    seen[name] = state
        return (state, seen) if taps else state
