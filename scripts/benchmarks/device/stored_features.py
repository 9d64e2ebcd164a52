"""Steps from stored features, and fifty heads in one program, beside PyTorch."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from benchmarks.device.report import Section
from benchmarks.device.timing import cleared, compared, in_turn
from benchmarks.device.vision_steps import FULL, TINY, torch_side

RATES, SEEDS = 10, 5


def run(section: Section, tiny: bool) -> None:
    """`last:2` and `head` from stored features; then a sweep of heads."""
    from ftjax.data import Splits

    sizes, examples, batch = (TINY, 64, 8) if tiny else (FULL, 2048, 128)
    network, variables, preprocessing = made(sizes)
    data = Splits(
        train=images(examples, sizes), val=images(batch, sizes, 1), test=images(batch, sizes, 2)
    )
    for strategy in ('last:2', 'head'):
        from benchmarks.fit_steps import FitSteps

        began = time.perf_counter()
        ours = FitSteps(network, variables, strategy, data, preprocessing, batch, cached=True)
        filled = time.perf_counter() - began
        sides: dict[str, Any] = {'ftjax': ours}
        try:
            sides['eager'] = torch_side(strategy, sizes, batch, compiled=False)
        except Exception as error:
            section.leave_out(f'{strategy} beside PyTorch', f'{type(error).__name__}: {error}')
        times = in_turn(sides, 0.05 if tiny else 0.6, 3)
        section.row(
            row=f'ViT-B/16 {strategy} cached',
            kind='beside',
            **compared(times),
            seconds_to_store=filled,
            examples=examples,
        )
        cleared()
    sweep(section, network, variables, preprocessing, data, batch, 2.0 if tiny else 10.0)


def made(sizes: dict[str, Any]) -> tuple[Any, Any, Any]:
    """(network, variables, preprocessing)."""
    from benchmarks.device.vision_steps import made as steps_made

    network, variables, _, preprocessing = steps_made(sizes, 1)
    return network, variables, preprocessing


def images(count: int, sizes: dict[str, Any], seed: int = 0) -> Any:
    """Random images."""
    from benchmarks.sides import made_images

    return made_images(count, sizes['image_size'], seed)


def sweep(
    section: Section,
    network: Any,
    variables: Any,
    preprocessing: Any,
    data: Any,
    batch: int,
    epochs: float,
) -> None:
    """Fifty linear heads on features that are ready, beside PyTorch's one after the other."""
    from ftjax.freezing.plan.plan import make_plan
    from ftjax.optim.optimizer import OptimizerSettings
    from ftjax.optim.schedule import ScheduleSettings
    from ftjax.training.feature_cache import store
    from ftjax.training.settings import TrainSettings
    from ftjax.training.step.run_spec import RunSpec
    from ftjax.training.sweeps.vmapped_fit import fit_many

    spec = RunSpec(
        *(network, variables, make_plan('head', network, variables), data),
        optimizer=OptimizerSettings(learning_rate=1.0, weight_decay=0.01),
        schedule=ScheduleSettings(warmup=0.0),
        settings=TrainSettings(epochs=epochs),
        preprocessing=preprocessing,
        batch_size=batch,
    )

    def ours() -> None:
        rates = tuple(np.geomspace(1e-4, 1e-1, RATES).tolist())
        fit_many(spec, dict.fromkeys(range(SEEDS), variables), rates)

    ours()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        ours()
        times.append(time.perf_counter() - began)
    row = {'sweep_seconds': float(np.median(times)), 'heads': RATES * SEEDS, 'epochs': epochs}
    try:
        features = [known.arrays['hidden'] for known in store.kept()]
        vectors = [known for known in features if known.ndim == 2]  # before the head alone
        stored = np.array(max(vectors, key=len), np.float32)
        one = torch_head(stored, np.array(data.train.labels), int(epochs), batch)
        row |= {'torch_seconds': one * RATES * SEEDS, 'torch_over_ftjax': one * RATES * SEEDS}
        row['torch_over_ftjax'] /= row['sweep_seconds']
    except Exception as error:
        section.leave_out('heads beside PyTorch', f'{type(error).__name__}: {error}')
    section.row(row='50 heads in one program', kind='sweep', **row)


def torch_head(features: Any, labels: Any, epochs: int, batch: int) -> float:
    """Seconds of one linear head on the device, the second of two."""
    import torch
    import torch.nn.functional as F

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    x, y = torch.from_numpy(features).to(device), torch.from_numpy(labels).long().to(device)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        head = torch.nn.Linear(x.shape[1], 10).to(device)
        optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.01)
        for _ in range(epochs):
            order = torch.randperm(len(x), device=device)
            for place in range(0, len(x) - batch + 1, batch):
                rows = order[place : place + batch]
                loss = F.cross_entropy(head(x[rows]), y[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            loss.item()
        seconds = time.perf_counter() - began
    return seconds
