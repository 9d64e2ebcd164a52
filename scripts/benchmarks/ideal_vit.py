"""The arithmetic that a training step of a ViT needs, in closed form, for any set of leaves.

Counted are products of matrices (2 operations a multiply-add) and what adapters add. The step
needs the forward pass; for every operation above the lowest trained leaf the gradient of its
inputs; for every trained weight its own gradient. All else (norms, activations, softmax, the
update) is left out, so a compiled step lies a few percent above.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

LEVELS = ('norm1', 'attn/in', 'attn/scores', 'attn/out', 'norm2', 'mlp/fc1', 'mlp/fc2', 'after')


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation: where it stands, what it costs forward, and the leaf it multiplies by."""

    level: tuple[int, int]
    """(stage, level inside the stage), in the order of the forward pass."""
    flops: float
    weight: str = ''
    """Path of the weight; '' for a product of activations, whose gradient costs twice."""


def operations(network, shapes: dict[str, tuple[int, ...]], batch: int) -> list[Operation]:
    """All products of a forward pass of `batch` images, those of adapters included."""
    size = network.image_size if isinstance(network.image_size, int) else network.image_size[0]
    patches = (size // network.patch_size) ** 2
    prompts = [shape[0] for path, shape in shapes.items() if path.endswith('/prompt_tokens')]
    tokens = patches + 1 + max(prompts, default=0)
    found = []
    for path, shape in shapes.items():
        stage = path.split('/')[0]
        name = path.rsplit('/', 1)[-1]
        at = network.stages.index(stage), level_of(path)
        rows = batch * {'embed': patches, 'norm': patches + 1, 'head': 1}.get(stage, tokens)
        if name in ('kernel', 'lora_a', 'lora_b', 'adapter_down', 'adapter_up'):
            inside = 1.0
            for length in shape:
                inside *= length
            found.append(Operation(at, 2 * rows * inside, path))
        elif name in ('ssf_scale', 'ssf_shift', 'ia3_input', 'ia3_output'):
            found.append(Operation(at, rows * shape[0], path))
    for stage, name in enumerate(network.stages):
        if name in network.blocks:
            scores = 2 * 2 * batch * tokens * tokens * network.width
            found.append(Operation((stage, LEVELS.index('attn/scores')), scores))
    return found


def level_of(path: str) -> int:
    """The place of a leaf inside its block, in the order of the forward pass."""
    if any(part in path for part in ('attn/query', 'attn/key', 'attn/value')):
        return LEVELS.index('attn/in')
    for number, name in enumerate(LEVELS):
        if f'/{name}/' in path:
            return number
    if '/prompt_' in path:
        return 0
    return LEVELS.index('after') if '/adapter_' in path else 0


def ideal_flops(
    network, shapes: dict[str, tuple[int, ...]], trained: Collection[str], batch: int
) -> float:
    """Operations of one training step in which the leaves of `trained` train."""
    found = operations(network, shapes, batch)
    lowest = min((network.stages.index(p.split('/')[0]), level_of(p)) for p in trained)
    total = 0.0
    for operation in found:
        total += operation.flops
        above = operation.level > lowest
        if not operation.weight:
            total += 2 * operation.flops if above else 0
            continue
        # Adapters sit beside their layer: B needs no input's gradient unless A trains too.
        same = operation.weight.endswith(('lora_b', 'adapter_up')) and operation.level == lowest
        total += operation.flops if above or same else 0
        total += operation.flops if operation.weight in trained else 0
    return total


def forward_flops(network, shapes: dict[str, tuple[int, ...]], batch: int, last: str) -> float:
    """Operations of a forward pass up to a stage, that one included."""
    until = network.stages.index(last)
    found = operations(network, shapes, batch)
    return sum(operation.flops for operation in found if operation.level[0] <= until)


def muon_flops(shapes: dict[str, tuple[int, ...]], iterations: int = 5) -> float:
    """Operations of Muon's own products: a quintic iteration of every matrix.

    Of a matrix X, m x n with m <= n: X X^T, its square, and that times X.
    """
    total = 0.0
    for shape in shapes.values():
        if len(shape) == 2:
            m, n = sorted(shape)
            total += iterations * (2 * m * m * n + 2 * m**3 + 2 * m * m * n)
    return total


def galore_flops(shapes: dict[str, tuple[int, ...]], rank: int) -> float:
    """Operations of GaLore's own products: gradients to `rank` directions, updates back."""
    matrices = [shape for shape in shapes.values() if len(shape) == 2]
    return sum(2 * 2 * m * n * min(rank, m, n) for m, n in matrices)
