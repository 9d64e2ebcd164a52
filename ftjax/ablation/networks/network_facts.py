"""What a network costs and where it comes from, beside how well its features serve."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.ablation.statistics.row_types import Row
from ftjax.errors import UserError
from ftjax.evaluation.latency import Calls, forward_latency
from ftjax.models.stages import Network
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained import families
from ftjax.pretrained.licence import licence_of
from ftjax.runs.assessment.latency_report import example_batch
from ftjax.runs.prediction.trained import of_variables
from ftjax.runs.prepare import Prepared

BATCHES = (1, 32)
"""Inputs of a batch: for the latency of one, and for how many a second."""
CALLS = Calls(count=20, seconds=0.5)


def network_facts(
    prepared: Prepared, parity: Sequence[Mapping[str, object]] = ()
) -> dict[str, object]:
    """Size, FLOPs and latency of a forward pass, licence, parity: plain JSON.

    Args:
      prepared: the network, with a head for the task.
      parity: rows of results/parity/table.json.
    """
    one, many = (_latency(prepared, size) for size in BATCHES)
    flops = one['flops']
    return {
        'parameters': int(prepared.plan.at(0).size()),
        'flops': flops if flops == flops else None,
        'p50_ms': one['p50_ms'],
        'p95_ms': one['p95_ms'],
        'examples_per_second': many['examples_per_second'],
        'tokens': one.get('length'),
        'licence': licence_of(prepared.config.init),
        'parity': parity_of(prepared.network, prepared.load_report.get('family', ''), parity),
    }


def _latency(prepared: Prepared, size: int) -> dict[str, Any]:
    trained = of_variables(
        prepared.config.init,
        prepared.network,
        prepared.variables,
        prepared.preprocessing,
        prepared.config.data,
        prepared.data,
    )
    preprocessing = prepared.preprocessing
    length = preprocessing.buckets[-1] if isinstance(preprocessing, TextPreprocessing) else None
    inputs = example_batch(trained, size, length)
    return forward_latency(trained.network, trained.placed, trained.preprocessing, inputs, CALLS)


def parity_of(network: Network, family: str, rows: Sequence[Row]) -> dict[str, object] | None:
    """How far outputs of the network's family were from the original library's; None unmeasured.

    Args:
      network: one of the family.
      family: as its load report has it, `vit (timm)`: rows of these names count, else all.
      rows: of results/parity/table.json.

    Returns:
      `family`, `sources`, and `stage_error`, the largest relative one of them.
    """
    try:
        module = _letters(families.family_of_network(network))
    except UserError:  # a network of the user's own
        return None
    known = [row for row in rows if _letters(row['family']).startswith(module)]
    named = re.search(r'\((.+)\)', family)
    of_names = [row for row in known if named and row['source'].startswith(named[1])]
    known = of_names or known
    if not known:
        return None
    worst = max(known, key=lambda row: row['stage_error'])
    return {
        'family': worst['family'],
        'sources': sorted({row['source'] for row in known}),
        'stage_error': float(worst['stage_error']),
    }


def _letters(name: str) -> str:
    return re.sub(r'[^a-z0-9]', '', name.lower())
