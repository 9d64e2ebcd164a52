"""What a device of a mesh holds and moves for each way of placing frozen leaves, as a table."""

from __future__ import annotations

from ftjax.io.process.host_memory import shown_size
from ftjax.training.cost.traffic import choices
from ftjax.training.step.run_spec import RunSpec


def mesh_table(spec: RunSpec) -> str:
    """Lines for people, of the phase that moves most; '' for a mesh without `fsdp`."""
    if spec.sharding.fsdp == 1:
        return ''
    tables = [choices(spec, phase) for phase in spec.plan.phases]
    most = max(tables, key=lambda table: next(iter(table.values())).moved)
    data = spec.sharding.devices // spec.sharding.fsdp
    lines = [f'a device of the mesh {data} x {spec.sharding.fsdp} (data x fsdp), from shapes:']
    for name, one in most.items():
        lines += [
            f'  {name}',
            f'    holds {shown_size(one.held)} between steps, and up to two stages more within '
            f'one: the largest has {shown_size(one.largest_stage)}',
            f'    receives {shown_size(one.moved)} a step: gathers {shown_size(one.forward)} '
            f'forward, {shown_size(one.backward)} backward, sums '
            f'{shown_size(one.reduced + one.copied)} of gradients',
        ]
    return '\n'.join(lines)
