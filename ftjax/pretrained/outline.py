"""A pretrained network before its weights are read: all that names and headers tell."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.io.json.json_values import JsonObject
from ftjax.leaves import flatten, unflatten
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained import own_format
from ftjax.pretrained.built_models import OpenedModel, placed
from ftjax.pretrained.checkpoint import Checkpoint
from ftjax.pretrained.explain import Explanation
from ftjax.pretrained.initialise import leaf_shapes, random_variables
from ftjax.pretrained.keymaps.keymap import KeyMap
from ftjax.pretrained.locate.hub_ids import checked_note
from ftjax.pretrained.own_format import check_hash
from ftjax.pretrained.report import LoadReport
from ftjax.pretrained.strict_load import Held, Sharding, load_into, report


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A network, its variables and what travels with them."""

    network: Network
    variables: dict
    """{'params': .., 'batch_stats': .. where there are any}: nested dicts of jax.Array."""
    report: LoadReport
    preprocessing: Preprocessing | TextPreprocessing | None
    """Of images or of texts; None for a text network that came without a tokenizer."""
    class_names: tuple[str, ...]
    """Of the head, in the order of the logits; () for a new head or where nobody said."""
    source: str
    """The init string."""
    revision: str | None
    """The commit, for what comes from the hub."""
    family: str
    """The family of the names it came under; 'ftjax' for our own format."""
    config: JsonObject
    """The checkpoint's configuration, as found."""
    tokenizer: pathlib.Path | None
    """tokenizer.json, for text."""

    @property
    def threshold(self) -> float | tuple[float, ...] | None:
        """From which probability the second of two classes, or each label, is answered."""
        own = self.family == own_format.FORMAT and self.report.head == 'kept'
        found = self.config.get('decision_threshold') if own else None
        return tuple(found) if isinstance(found, list) else found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outline:
    """A network, its leaves' shapes and how its tensors fit; `load` reads the weights."""

    init: str
    checkpoint: Checkpoint
    network: Network
    keymap: KeyMap | None
    """None for random weights, as is the next."""
    explanation: Explanation | None
    asked_names: tuple[str, ...]
    head_policy: str
    seed: int

    @property
    def head(self) -> str:
        """'kept', 'new' or 'none'."""
        if self.explanation is not None:
            return self.explanation.head
        return 'new' if 'head' in self.network.stages else 'none'

    @functools.cached_property
    def shapes(self) -> dict[str, object]:
        """The variables as jax.ShapeDtypeStruct, in float32."""
        return unflatten(leaf_shapes(self.network))

    @functools.cached_property
    def preprocessing(self) -> tuple[Preprocessing | TextPreprocessing | None, str]:
        """(preprocessing at the network's own input size, where it is from)."""
        return self.checkpoint.preprocessing(self.network)

    def report(self, dtype: DTypeLike = jnp.float32, held: Held | None = None) -> LoadReport:
        """The load report, known before anything is read."""
        if self.explanation is None:
            found = LoadReport(
                source=self.init,
                family=self.checkpoint.family,
                initialised=dict.fromkeys(flatten(self.shapes), 'random weights were asked for'),
                head=self.head,
            )
        else:
            assert self.checkpoint.source is not None and self.keymap is not None
            found = report(self.explanation, self.checkpoint.source, self.keymap, dtype, held)
        preprocessing, origin = self.preprocessing
        notes = (*found.notes, *self.checkpoint.notes)
        if note := checked_note(self.init, self.checkpoint.folder / own_format.CONFIG):
            notes = (*notes, note)
        if preprocessing is not None or origin.startswith('none:'):
            notes = (*notes, f'preprocessing: {origin}')
        return dataclasses.replace(found, notes=notes)

    def load(
        self,
        dtype: DTypeLike = jnp.float32,
        *,
        held: Held | None = None,
        sharding: Sharding | None = None,
        host: bool = False,
    ) -> Pretrained:
        """The network with its weights.

        Args:
          dtype: of the parameters; running statistics are float32 always.
          held: (leaf key, dtype in the file) -> dtype, for parameters of several dtypes.
          sharding: (leaf key, shape) -> sharding, for more than one device.
          host: leave the leaves in host memory, as NumPy arrays.

        Raises:
          UserError: tensors that are damaged.
        """
        checkpoint, found = self.checkpoint, self.report(dtype, held)
        if self.explanation is None:
            variables = random_variables(self.network, self.seed, dtype)
            variables = jax.device_get(variables) if host else placed(variables, sharding)
        else:
            assert checkpoint.source is not None and self.keymap is not None
            if checkpoint.is_own:
                check_hash(checkpoint.source.path, checkpoint.config)
            variables, _ = load_into(
                *(self.network, checkpoint.source, self.keymap),
                head=self.head_policy,
                seed=self.seed,
                dtype=dtype,
                held=held,
                sharding=sharding,
                host=host,
            )
        return Pretrained(
            network=self.network,
            variables=variables,
            report=found,
            preprocessing=self.preprocessing[0],
            class_names=checkpoint.class_names if self.head == 'kept' else self.asked_names,
            source=self.init,
            revision=checkpoint.revision,
            family=checkpoint.family,
            config=checkpoint.config,
            tokenizer=checkpoint.tokenizer,
        )


@dataclasses.dataclass(frozen=True)
class BuiltOutline:
    """The same of a network that a registered function builds with its weights."""

    init: str
    asked_names: tuple[str, ...]
    opened: Callable[[DTypeLike], OpenedModel]

    @functools.cached_property
    def _found(self) -> OpenedModel:
        return self.opened(jnp.float32)

    @property
    def network(self) -> Network:
        """For the classes of the task."""
        return self._found.network

    @property
    def head(self) -> str:
        """'kept', 'new' or 'none'."""
        return self._found.report.head

    @property
    def shapes(self) -> dict[str, object]:
        """The variables as jax.ShapeDtypeStruct."""
        return jax.eval_shape(lambda tree: tree, self._found.variables)

    @property
    def preprocessing(self) -> tuple[Preprocessing | TextPreprocessing | None, str]:
        """(preprocessing, '')."""
        return self._found.preprocessing, ''

    def report(self, dtype: DTypeLike = jnp.float32, held: Held | None = None) -> LoadReport:
        """Where each leaf is from."""
        del dtype, held
        return self._found.report

    def load(
        self,
        dtype: DTypeLike = jnp.float32,
        *,
        held: Held | None = None,
        sharding: Sharding | None = None,
        host: bool = False,
    ) -> Pretrained:
        """The network with its weights, all of one dtype."""
        del held
        found = self._found if jnp.dtype(dtype) == jnp.float32 else self.opened(dtype)
        variables = placed(found.variables, sharding)
        return Pretrained(
            network=found.network,
            variables=jax.device_get(variables) if host else variables,
            report=found.report,
            preprocessing=found.preprocessing,
            class_names=found.class_names or self.asked_names,
            source=self.init,
            revision=None,
            family=found.report.family,
            config={},
            tokenizer=None,
        )
