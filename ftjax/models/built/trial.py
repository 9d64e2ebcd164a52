"""A trial of a model that was just wrapped, on shapes alone: what else would only show in a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from ftjax.errors import UserError
from ftjax.leaves import flatten, unflatten
from ftjax.models.built.network import BuiltNetwork, Structure, built_network, head_shapes
from ftjax.models.stages import EVAL
from ftjax.pytrees import Variables


def tried(structure: Structure, variables: Variables) -> BuiltNetwork:
    """The network of a structure whose stages run in evaluation, for any number of examples.

    A head that keeps its number of outputs when its leaves get another counts as one that cannot be
    made anew: that is refused where a task has other classes, and not before.

    Raises:
      UserError: naming the stage that changes its variables in evaluation, or that runs for one
        number of examples alone.
    """
    shapes = jax.eval_shape(lambda: variables)
    network = built_network(structure)
    given = jax.tree.leaves(structure.example)[0].shape[0]
    _run(network, shapes, given, lambda stage, why: f'stage {stage!r} does not run in {why}')
    before = _run(network, shapes, given + 1, _fixed)
    if structure.head and not network.is_lm and not _remade(network, shapes, before):
        network = built_network(dataclasses.replace(structure, head={}))
    return network


def _run(network: BuiltNetwork, shapes: Any, examples: int, said: Callable[[str, str], str]) -> Any:
    """Shapes of what the last stage is given."""
    hidden = before = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((examples, *x.shape[1:]), x.dtype), network.structure.example
    )
    for stage, stop in zip(network.stages, [*network.stages[1:], None], strict=True):
        before = hidden
        try:
            hidden = _stage(network, shapes, before, stage, stop)
        except UserError:
            raise
        except Exception as error:
            reason = ' '.join(str(error).split())[:200]
            why = f'evaluation, of {examples} examples ({type(error).__name__}: {reason})'
            if 'immutable' in reason or 'ShapeDtypeStruct' in reason:  # of linen, of NNX
                why += (
                    '; does it ask for batch statistics there? `use_running_average` or `train` '
                    'must follow the mode that the stage is given'
                )
            raise UserError(said(stage, why)) from error
        for leaf in jax.tree.leaves(hidden):
            if not leaf.shape or leaf.shape[0] != examples:
                got = f'an array of shape {tuple(leaf.shape)} for {examples} examples'
                raise UserError(_fixed(stage, got))
    return before


def _fixed(stage: str, why: str) -> str:
    return (
        f'stage {stage!r} is for one number of examples alone: {why}; write x.shape[0], or -1, for '
        'the examples'
    )


def _stage(network: BuiltNetwork, shapes: Any, hidden: Any, stage: str, stop: str | None) -> Any:
    def run(variables: Any, hidden: Any) -> Any:
        return network.apply(variables, hidden, start=stage, stop=stop, modes=EVAL)

    return jax.eval_shape(run, shapes, hidden)


def _remade(network: BuiltNetwork, shapes: Any, hidden: Any) -> bool:
    """Whether the head gives one output more if its leaves do."""
    classes = network.num_classes + 1
    leaves: dict[str, Any] = dict(flatten(shapes))
    for key, shape in head_shapes(network.structure, classes).items():
        path = f'params/head/{key}'
        leaves[path] = jax.ShapeDtypeStruct(shape, leaves[path].dtype)
    wider = network.clone(num_classes=classes)
    try:
        out = _stage(wider, unflatten(leaves), hidden, 'head', None)
    except Exception:  # whatever a model's own code raises
        return False
    return out.shape[-1] == classes
