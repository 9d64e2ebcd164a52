"""What each strategy of the catalogue costs on a ViT of 12 blocks, beside its ideal."""

from __future__ import annotations

import gc
import pathlib
import statistics
import time
from typing import Any

IMAGE, WIDTH, DEPTH, BATCH = 112, 192, 12, 8
STEPS, STEPS_PER_EPOCH = 140, 10
TARGET = 1.10
# Where the default says little of this network and run, or acts on another strategy's parts.
WRITTEN = {'blocks': 'blocks:3-8', 'badam': 'badam:10', 'loraplus': 'lora:8+loraplus:16'}
GALORE = 8
OPTIMIZERS = {'full, muon': 'muon', f'full, galore:{GALORE}': f'galore:{GALORE}'}
"""Arms that are full fine-tuning with another optimizer, whose own products count as needed."""
FEATURES = 'head2toe'
BESIDE = {'lora:8,all': 'adapter'}
"""Arms that no strategy's own example is, and what they are."""
CAPTION = (
    f'Every strategy on a ViT of {DEPTH} blocks (width {WIDTH}, {IMAGE} px, batch {BATCH}): '
    'the mean step of a run, over full fine-tuning. Ratio: FLOPs over the ideal, which is the '
    'products of matrices that the plan cannot do without, in closed form '
    '(scripts/benchmarks/ideal_vit.py). Optimizers: those of Muon and GaLore themselves are needed '
    'too; GaLore finds its directions anew every 200 steps, which no row counts. head2toe: a batch '
    'of features of all stages, a forward pass; its head is fitted on what is stored.'
)
COMMAND = 'python scripts/benchmark.py strategies'


def run(folder: pathlib.Path, names: list[str] | None = None, repeats: int = 3) -> list[dict]:
    """Compiles and times the step of every phase of every strategy; writes table and JSON.

    FLOPs, step time and memory are those of the mean step of a run, over full fine-tuning's in
    the same process, whose step is timed in turns with each strategy's. A strategy that looks
    at the data is priced before its first choice, with all open that may train. Rows that the
    folder holds already are kept: an interrupted call goes on where it was.
    """
    import jax
    from benchmarks.tables import rows_here, write

    from ftjax.errors import UserError
    from ftjax.freezing.registry import catalogue
    from ftjax.io.process.progress import Progress
    from ftjax.models.registry import build

    options = {'image_size': IMAGE, 'patch_size': 16, 'width': WIDTH, 'depth': DEPTH, 'heads': 3}
    network = build('vit', {**options, 'num_classes': 10})
    variables = jax.jit(network.init)(jax.random.key(0), network.example_input())
    full = Timed(network, variables, 'full')
    found = {
        WRITTEN.get(entry.name, entry.example): entry.details.kind
        for entry in sorted(catalogue().values(), key=lambda s: (s.details.kind, s.name))
        if not names or entry.name in names
    }
    found |= {
        text: 'optimizer'
        for text, name in OPTIMIZERS.items()
        if not names or name.partition(':')[0] in names
    }
    found |= {text: kind for text, kind in BESIDE.items() if not names or text in names}
    found |= {FEATURES: 'baseline'} if not names or FEATURES in names else {}
    if not found:
        raise UserError(f'no strategy among {names}')
    rows = rows_here(folder, 'strategies')
    with Progress(len(found), 'strategies', unit='strategy') as bar:
        for done, (text, kind) in enumerate(found.items(), 1):
            if text not in rows:
                price = features_priced if text == FEATURES else priced
                found_row = price(network, variables, full, text, repeats)
                rows[text] = {'row': text, 'kind': kind, **found_row}
                gc.collect()
                write(folder, 'strategies', list(rows.values()), CAPTION, COMMAND, show=False)
            bar.update(done, {})
    print((folder / 'strategies.md').read_text(encoding='utf-8'))
    return list(rows.values())


class Timed:
    """A strategy's plan with its compiled steps, one for each program."""

    def __init__(self, network: Any, variables: Any, freeze: str, optimizer: str = 'adamw'):
        from ftjax.freezing.plan.plan import make_plan
        from ftjax.freezing.run_length import RunLength
        from ftjax.freezing.settings import as_settings
        from ftjax.freezing.strategies.adapters import with_adapters
        from ftjax.leaves import flatten
        from ftjax.optim.optimizer import OptimizerSettings
        from ftjax.training.step.run_spec import RunSpec

        self.network, self.variables = with_adapters(as_settings(freeze), network, variables)
        run_length = RunLength(STEPS, STEPS_PER_EPOCH)
        self.plan = make_plan(freeze, self.network, self.variables, run_length=run_length)
        self.spec = RunSpec(
            *(self.network, self.variables, self.plan),
            optimizer=OptimizerSettings(name=optimizer, weight_decay=0.05, clip_norm=1.0),
            batch_size=BATCH,
            importance=flatten(self.variables['params']) if self.plan.reads_importance else {},
        )
        ends = [*(phase.start for phase in self.plan.phases[1:]), STEPS]
        pairs = zip(self.plan.phases, ends, strict=True)
        self.lengths = [end - phase.start for phase, end in pairs]
        self.known: dict[Any, tuple[Any, Any]] = {}

    def compiled(self, phase: Any) -> tuple[Any, Any]:
        """(program, cost) of a phase."""
        from ftjax.training.cost.cost import compile_step, cost_of

        if phase.program not in self.known:
            program = compile_step(self.spec, phase)
            self.known[phase.program] = program, cost_of(program, self.spec, phase)
        return self.known[phase.program]

    def arguments(self, phase: Any) -> tuple[Any, ...]:
        """State, frozen part, batch and rates for a call; the state's buffers are the call's."""
        import jax
        import jax.numpy as jnp
        import numpy as np

        from ftjax.training.step.state import make_state

        tx, ema = self.spec.train_step(phase).tx, self.spec.step_optimizer.ema
        state, frozen = make_state(self.variables, phase, tx, ema)
        if self.plan.of_kind('regulariser'):
            frozen = frozen.replace(reference=jax.tree.map(jnp.array, state.trainable))
            if self.plan.reads_importance:
                frozen = frozen.replace(importance=jax.tree.map(jnp.ones_like, state.trainable))
        batch = {
            'inputs': self.network.example_input(BATCH),
            'labels': jnp.arange(BATCH, dtype=jnp.int32),
            'mask': jnp.ones(BATCH),
        }
        return state, frozen, batch, np.full(len(phase.trainable), 1e-4, np.float32)

    def seconds(self, phase: Any) -> float:
        """Of one step, after one that warms up."""
        import jax

        program, _ = self.compiled(phase)
        state, *rest = self.arguments(phase)
        state, _ = jax.block_until_ready(program(state, *rest))
        began = time.perf_counter()
        jax.block_until_ready(program(state, *rest))
        return time.perf_counter() - began

    def mean(self, of: Any) -> float:
        """The mean over the run of what `of(phase)` gives."""
        values = [of(phase) * n for phase, n in zip(self.plan.phases, self.lengths, strict=True)]
        return sum(values) / sum(self.lengths)


def priced(network: Any, variables: Any, full: Timed, text: str, repeats: int) -> dict[str, Any]:
    """The row of one strategy, as `text` writes it, or of an optimizer."""
    import jax
    from benchmarks.ideal_vit import ideal_flops

    optimizer = OPTIMIZERS.get(text, 'adamw')
    freeze = text.partition(',')[0] if text in OPTIMIZERS else text
    timed = full if text == 'full' else Timed(network, variables, freeze, optimizer)
    whole = full.plan.at(0)
    shapes = shapes_of(timed.variables)
    own_products = optimizer_flops(optimizer, shapes)
    flops = timed.mean(lambda phase: timed.compiled(phase)[1].flops)
    ideal = timed.mean(lambda p: ideal_flops(network, shapes, p.trainable, BATCH)) + own_products
    reference = full.compiled(whole)[1]
    own = {path: shape for path, shape in shapes.items() if not timed.network.is_adapter_leaf(path)}
    best = ideal_flops(network, own, own, BATCH)
    ratios = []
    for _ in range(repeats):
        base, seen = full.seconds(whole), {}
        for phase in timed.plan.phases:
            if phase.program not in seen:
                seen[phase.program] = timed.seconds(phase)
        ratios.append(timed.mean(lambda p, seen=seen: seen[p.program]) / base)
    costs = [timed.compiled(phase)[1] for phase in timed.plan.phases]
    row = {
        'ratio': flops / ideal,
        'flops_of_full': flops / reference.flops,
        'ideal_of_full': ideal / best,
        'time_of_full': statistics.median(ratios),
        'spread': [min(ratios), max(ratios)],
        'memory_of_full': max(c.temporary_bytes for c in costs) / reference.temporary_bytes,
        'optimizer_of_full': max(c.optimizer_bytes for c in costs) / reference.optimizer_bytes,
        'programs': len(timed.known),
        'target': TARGET,
    }
    if timed is not full:
        timed.known.clear()
        jax.clear_caches()
    return row


def optimizer_flops(optimizer: str, shapes: dict[str, tuple[int, ...]]) -> float:
    """Operations of the products that an optimizer needs for itself."""
    from benchmarks.ideal_vit import galore_flops, muon_flops

    name, _, rank = optimizer.partition(':')
    if name == 'galore':
        return galore_flops(shapes, int(rank))
    return muon_flops(shapes) if name == 'muon' else 0.0


def features_priced(
    network: Any, variables: Any, full: Timed, text: str, repeats: int
) -> dict[str, Any]:
    """The row of a batch of features of all stages, as Head2Toe stores them."""
    import jax
    from benchmarks.ideal_vit import forward_flops, ideal_flops

    from ftjax.evaluation.stage_features import StageForward
    from ftjax.xla.program_cache import program

    whole = full.plan.at(0)
    reference, shapes = full.compiled(whole)[1], shapes_of(variables)
    stages = tuple(name for name in network.stages if name != 'head')
    run = StageForward(network, None, stages)
    inputs = jax.device_put(network.example_input(BATCH))
    made = program(run, variables, inputs)
    temporary = getattr(made.call.memory_analysis(), 'temp_size_in_bytes', 0)
    ideal = forward_flops(network, shapes, BATCH, stages[-1])
    ratios = []
    jax.block_until_ready(made.call(variables, inputs))
    for _ in range(repeats):
        base, began = full.seconds(whole), time.perf_counter()
        jax.block_until_ready(made.call(variables, inputs))
        ratios.append((time.perf_counter() - began) / base)
    return {
        'ratio': made.flops / ideal,
        'flops_of_full': made.flops / reference.flops,
        'ideal_of_full': ideal / ideal_flops(network, shapes, shapes, BATCH),
        'time_of_full': statistics.median(ratios),
        'spread': [min(ratios), max(ratios)],
        'memory_of_full': temporary / reference.temporary_bytes,
        'optimizer_of_full': 0.0,
        'programs': 1,
        'target': TARGET,
    }


def shapes_of(variables: Any) -> dict[str, tuple[int, ...]]:
    """{path: shape} of parameters."""
    from ftjax.leaves import flatten

    return {path: tuple(leaf.shape) for path, leaf in flatten(variables['params']).items()}
