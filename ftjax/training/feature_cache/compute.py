"""Outputs of the stages before a cut on whole splits: shapes first, then the numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.augmentation import parse_augment
from ftjax.data.images.on_device import augment, prepare
from ftjax.data.streams.evaluation_batches import EvalBatches
from ftjax.data.streams.loader import Loader
from ftjax.distributed.device_put import on_host
from ftjax.distributed.process_group import several
from ftjax.distributed.sharding import Sharding
from ftjax.leaves import flatten, unflatten
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Flat, Inputs, Variables
from ftjax.xla.late_products import late_products
from ftjax.xla.program_cache import program, replicated

EXAMPLES = 64
"""Examples a batch. Not a setting: with another size the last digits differ, and runs that
share features would depend on which of them came first."""
VIEW_SEED = 0
"""Views are the same for all runs, so that runs of many seeds share them."""
ROUNDING = 1e-2
"""Of features on an accelerator, as a share of their length: below it they count as the same."""
OUTPUTS = 'outputs'
"""The path of what the last stage gives."""
Shapes = dict[str, jax.ShapeDtypeStruct]
_TRACED: dict[Any, Any] = {}


def batch_size() -> int:
    """Examples of a batch, a multiple of the devices."""
    devices = jax.device_count()
    return -(-EXAMPLES // devices) * devices


@dataclasses.dataclass(frozen=True)
class Passed:
    """What one example passes on at a cut, and what that takes to compute."""

    shapes: Shapes
    """Shape and dtype of each leaf, without the batch axis, by path."""
    flops: float
    """Of the forward pass of one example up to the cut; NaN where nobody counts them."""

    @property
    def bytes(self) -> int:
        """Of the features of one example."""
        sizes = (math.prod(x.shape) * jnp.dtype(x.dtype).itemsize for x in self.shapes.values())
        return sum(sizes)


def passed_on(
    network: Network,
    variables: Variables,
    cut: str | None,
    loader: Loader,
    preprocessing: Preprocessing | TextPreprocessing | None,
) -> Passed | str:
    """What the examples of a split pass on at a cut; a reason if it cannot be stored.

    Each leaf must have a row an example, of one shape for all examples: texts of several
    lengths have that only where the stages before the cut pool them.
    """
    if loader.dataset.packed:
        return 'data.packing puts other texts into a row at every step'
    if loader.dataset.label_kind.drawn:
        return 'other tokens are hidden at every step'
    rows = loader.order()
    # The first of the order is the shortest text, the last the longest; images are alike.
    ends = (rows[:1], rows[-1:]) if loader.texts is not None else (rows[:1],)
    found = []
    for some in ends:
        inputs = loader.batch(some)['inputs']
        structure = jax.tree.map(lambda x: (x.shape[1:], str(x.dtype)), inputs)
        key = network, cut, preprocessing, repr(structure)
        if key not in _TRACED:
            if len(_TRACED) > 256:
                _TRACED.clear()
            _TRACED[key] = traced(network, variables, cut, inputs, preprocessing)
        found.append(_TRACED[key])
    reason = next((one for one in found if isinstance(one, str)), None)
    if reason is None and found[0].shapes != found[-1].shapes:
        return (
            f'texts of several lengths flow into {cut!r}; texts that are all padded to one '
            'length (one bucket) can be stored'
        )
    return reason or found[-1]


def traced(
    network: Network,
    variables: Variables,
    cut: str | None,
    inputs: Inputs,
    preprocessing: Preprocessing | TextPreprocessing | None,
) -> Passed | str:
    """What such inputs pass on, found without computing anything."""
    run, outputs = Prefix(network, cut, preprocessing), []
    given: object = None
    for size in (2, 1):
        given = jax.tree.map(
            lambda x, n=size: jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype), inputs
        )
        outputs.append(flatten(jax.eval_shape(run, variables, given)))
    for path, leaf in outputs[0].items():
        if leaf.shape[:1] != (2,) or outputs[1][path].shape != (1, *leaf.shape[1:]):
            to = 'comes out' if cut is None else f'flows into {cut!r}'
            return f'{path!r}, which {to}, has no row for each example'
    costs = jax.jit(run).lower(variables, given).cost_analysis() or {}
    shapes = {p: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for p, x in outputs[1].items()}
    return Passed(shapes, float(costs.get('flops', math.nan)))


@dataclasses.dataclass(frozen=True)
class Prefix:
    """`run(variables, inputs, key)`: the stages before the cut, in evaluation mode.

    Without a cut all of them: {OUTPUTS: what the last one gives}.
    """

    network: Network
    cut: str | None
    preprocessing: Preprocessing | TextPreprocessing | None
    augmentation: str = 'none'

    def __call__(self, variables: Variables, inputs: Inputs, key: Any = None) -> Any:
        if key is not None:
            inputs = augment(inputs, key, self.augmentation)
        if self.preprocessing is not None:
            inputs = prepare(inputs, self.preprocessing)
        with late_products(variables):
            found = self.network.apply(variables, inputs, stop=self.cut)
        return {OUTPUTS: found} if self.cut is None else found


def compute(
    network: Network,
    variables: Variables,
    cut: str | None,
    loader: Loader,
    preprocessing: Preprocessing | TextPreprocessing | None,
    into: Mapping[str, np.ndarray],
    augmentation: str = 'none',
    view: int | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> None:
    """Writes the features of every example of a split to the arrays `into` {path: (N, ..)}.

    Args:
      view: number of an augmented view; None for the examples as they are.
      report: told how many examples are done, from time to time.
    """
    done = 0
    for rows, found in computed(network, variables, cut, loader, preprocessing, augmentation, view):
        for path, leaf in found.items():
            into[path][rows] = leaf
        done += len(rows)
        report(done)


def computed(
    network: Network,
    variables: Variables,
    cut: str | None,
    loader: Loader,
    preprocessing: Preprocessing | TextPreprocessing | None,
    augmentation: str = 'none',
    view: int | None = None,
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """(positions in the split, {path: features}) batch by batch, always the same batches."""
    run = prefix(network, cut, loader, preprocessing, augmentation, view)
    drawn, variables = view if drawn_here(loader, view) else None, replicated(variables)
    places = None if jax.device_count() == 1 else Sharding().examples()
    for number, (rows, inputs) in enumerate(batches_of(loader, augmentation, view)):
        arguments: tuple[Any, ...] = variables, inputs
        if drawn is not None:
            key = jax.random.fold_in(jax.random.key(VIEW_SEED), drawn)
            arguments = *arguments, replicated(jax.random.fold_in(key, number))
        known = program(run, *arguments, places=places)
        found = flatten(on_host(known.call(*arguments)))
        yield rows, {path: np.asarray(leaf)[: len(rows)] for path, leaf in found.items()}


def prefix(
    network: Network,
    cut: str | None,
    loader: Loader,
    preprocessing: Preprocessing | TextPreprocessing | None,
    augmentation: str = 'none',
    view: int | None = None,
) -> Prefix:
    """What `computed` runs: from equal ones comes one compiled program."""
    return Prefix(network, cut, preprocessing, augmentation if drawn_here(loader, view) else 'none')


def drawn_here(loader: Loader, view: int | None) -> bool:
    """Whether a view is drawn on the device: texts are augmented on the host."""
    return view is not None and loader.texts is None


def agree(
    stored: Mapping[str, np.ndarray], rows: np.ndarray, found: Mapping[str, np.ndarray]
) -> bool:
    """Whether stored features of some examples are what was computed again.

    On a CPU to the bit. Elsewhere the compiler may choose other kernels from one process to the
    next, so that rounding may differ.
    """
    for path, leaf in found.items():
        before = np.asarray(stored[path][rows])
        if jax.default_backend() == 'cpu':
            same = before.tobytes() == np.ascontiguousarray(leaf).tobytes()
        else:
            before, after = np.float64(before), np.float64(leaf)
            same = np.linalg.norm(before - after) <= ROUNDING * np.linalg.norm(after)
        if not same:
            return False
    return True


def batches_of(
    loader: Loader, augmentation: str, view: int | None
) -> Iterator[tuple[np.ndarray, Inputs]]:
    """(positions, inputs on the devices) of every example of a split once, padding last.

    Their order depends on nothing but the split. Each of several processes reads its own rows.
    """
    where, order, size = Sharding(), loader.order(), batch_size()
    batches, own = EvalBatches(loader, size), None
    if view is not None and loader.texts is not None:
        draw = (VIEW_SEED, view, parse_augment(augmentation))
        starts = range(0, len(order), size)
        read = (loader.batch(order[first : first + size], size, draw=draw) for first in starts)
    elif several():
        own = size
        read = (batch for batch, _ in batches.of_rows(where.rows(size)))
    else:
        read = iter(batches)
    for number, batch in enumerate(read):
        rows = order[number * size : (number + 1) * size]
        yield rows, where.batch(batch['inputs'], size=own)


def nested(flat: Flat) -> Any:
    """Features by path as what the stage at the cut takes."""
    return unflatten(flat)
