"""Strict loading, tensor by tensor: at no time are there two copies of the parameters."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ftjax.errors import UserError
from ftjax.leaves import stage_of, unflatten
from ftjax.models.stages import Network
from ftjax.pretrained.explain import Explanation, explain
from ftjax.pretrained.initialise import cast, random_leaves
from ftjax.pretrained.keymaps.keymap import KeyMap
from ftjax.pretrained.positions import resize_table
from ftjax.pretrained.readers import TensorSource
from ftjax.pretrained.report import LoadReport
from ftjax.pytrees import Flat

Sharding = Callable[[str, tuple[int, ...]], jax.sharding.Sharding]
Held = Callable[[str, np.dtype], DTypeLike]
"""(leaf key, dtype in the file; float32 of a new leaf) -> the dtype to hold a parameter in."""
BLOCK = 2**22
"""Entries that are looked at at once."""


def load_into(
    network: Network,
    source: TensorSource,
    keymap: KeyMap,
    *,
    head: str = 'auto',
    seed: int = 0,
    dtype: DTypeLike = jnp.float32,
    held: Held | None = None,
    sharding: Sharding | None = None,
    host: bool = False,
) -> tuple[dict, LoadReport]:
    """Loads a checkpoint into a network's variables.

    Tensors are read one at a time, brought into layout, dtype and sharding, and dropped, so
    host memory peaks at the parameters plus about twice the largest tensor.

    Args:
      network: with the number of classes wanted.
      source: the checkpoint.
      keymap: the family's names and layouts.
      head: 'auto', 'keep' or 'new'; see `explain`.
      seed: for leaves that are initialised.
      dtype: of the parameters; running statistics are float32 always.
      held: gives each parameter a dtype of its own, in place of `dtype`.
      sharding: (leaf key, shape) -> where the leaf goes; None for the default device.
      host: leave the leaves in host memory, as NumPy arrays.

    Returns:
      Variables {'params': .., 'batch_stats': .. where there are any} and the report.

    Raises:
      UserError: anything unexplained (see `explain`), or a value that is not finite.
    """
    plan = explain(network, source, keymap, head)
    _check_ties(network, source, keymap, plan)

    def place(key, leaf):
        if host:
            return _own(np.asarray(leaf))
        leaf = _own(leaf) if isinstance(leaf, np.ndarray) else leaf
        return jax.device_put(leaf, sharding(key, leaf.shape) if sharding else None)

    leaves: Flat = {}
    for name, match in plan.reads.items():
        tensor = source.read(name)
        _check_finite(tensor, name, source)
        for key, leaf in zip(match.keys, match.rule.forward(tensor), strict=True):
            if key in plan.resizes:
                leaf = _resized(key, leaf, plan, keymap)
            leaves[key] = place(key, _cast_once(leaf, wanted(key, leaf.dtype, dtype, held)))
        del tensor, leaf
    initial = random_leaves(network, plan.initialised, seed) if plan.initialised else {}
    for key, leaf in initial.items():
        want = wanted(key, np.dtype(np.float32), dtype, held)
        leaves[key] = place(key, cast(key, leaf, want))
    variables = unflatten({key: leaves[key] for key in plan.keys})
    return variables, report(plan, source, keymap, dtype, held)


def wanted(key: str, have: np.dtype, dtype: DTypeLike, held: Held | None) -> np.dtype:
    """The dtype that a leaf is held in: of a parameter as asked for, of statistics float32."""
    if not key.startswith('params/'):
        return np.dtype(np.float32)
    return np.dtype(dtype if held is None else held(key, have))


def report(
    plan: Explanation,
    source: TensorSource,
    keymap: KeyMap,
    dtype: DTypeLike,
    held: Held | None = None,
) -> LoadReport:
    """The report of a load, known before it is done."""
    loaded: dict[str, str] = {}
    transformed: dict[str, str] = {}
    for name, match in plan.reads.items():
        for index, key in enumerate(match.keys):
            changes = [source.change_of(name)] if source.change_of(name) else []
            if len(match.keys) > 1:
                changes.append(f'part {index + 1} of {len(match.keys)}')
            if match.rule.layout.name != 'copy':
                changes.append(match.rule.layout.name)
            if key in plan.resizes:
                old, new = plan.resizes[key]
                changes.append(f'resized {old[0]}x{old[1]} to {new[0]}x{new[1]}')
            have = source.dtype(name)
            want = wanted(key, have, dtype, held)
            if have != want and jnp.issubdtype(have, jnp.floating):
                changes.append(f'{have} to {want}')
            if changes:
                transformed[key] = f'{name}: ' + ', '.join(changes)
            else:
                loaded[key] = name
    return LoadReport(
        source=str(source.path),
        family=keymap.family,
        loaded={key: loaded[key] for key in plan.keys if key in loaded},
        transformed={key: transformed[key] for key in plan.keys if key in transformed},
        initialised=plan.initialised,
        skipped=plan.skipped,
        head=plan.head,
    )


def _check_ties(network: Network, source: TensorSource, keymap: KeyMap, plan: Explanation) -> None:
    """UserError where a file has weights of its own for a stage that shares those of another.

    A file may rightly hold the shared table twice. With two different ones transformers does not
    share it, whatever config.json says.
    """
    tables = {match.keys: name for name, match in plan.reads.items()}
    for name in plan.skipped:
        match = keymap.match(name)
        leaf = network.ties.get(stage_of(match.keys[0])) if match else None
        table = tables.get((f'params/{leaf}',))
        if match is None or table is None or source.shape(name) != source.shape(table):
            continue
        if not np.array_equal(source.read(name), source.read(table)):
            raise UserError(
                f'{source.path}: config.json says that {name!r} is {table!r} once more '
                '(tie_word_embeddings), and the file has another tensor there; open it with '
                '--config.model.tied=False (load_pretrained: options={"tied": False}), as '
                'transformers does, or remove the tensor if it is left over'
            )


def _check_finite(tensor: np.ndarray, name: str, source: TensorSource) -> None:
    if not jnp.issubdtype(tensor.dtype, jnp.floating):
        return
    flat = tensor.reshape(-1)
    blocks = (flat[start : start + BLOCK] for start in range(0, flat.size, BLOCK))
    bad = sum(block.size - np.count_nonzero(np.isfinite(block)) for block in blocks)
    if bad:
        raise UserError(
            f'{source.path}: tensor {name!r} has {bad} of {tensor.size} values that are NaN or '
            'infinite: the checkpoint is damaged, or comes from a run that diverged'
        )


def _own(leaf: np.ndarray) -> np.ndarray:
    """A leaf whose memory holds nothing else: a view would keep the whole source tensor alive."""
    base: object = leaf
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    alone = isinstance(base, np.ndarray) and base.nbytes == leaf.nbytes
    return leaf if alone and leaf.flags.c_contiguous else np.array(leaf, order='C')


def _resized(key: str, leaf: np.ndarray, plan: Explanation, keymap: KeyMap) -> np.ndarray:
    table = keymap.position_table(key)
    assert table is not None  # only position tables are in `resizes`
    old, new = plan.resizes[key]
    return resize_table(
        leaf,
        old,
        new,
        prefix_tokens=table.prefix_tokens,
        method=table.method,
        antialias=table.antialias,
    )


def _cast_once(leaf: np.ndarray, want: np.dtype) -> np.ndarray:
    same = leaf.dtype == want or not jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf if same else leaf.astype(want, order='C')
