"""From what is prepared to the one wiring of its run."""

from __future__ import annotations

from ftjax.distributed.sharding import Sharding
from ftjax.runs.prepare import Prepared
from ftjax.training.step.run_spec import RunSpec


def run_spec(prepared: Prepared) -> RunSpec:
    """The run of a config, as everything that runs or prices it takes it.

    Raises:
      UserError: the config's mesh has another number of devices, or its batch cannot be shared
        out over them.
    """
    config = prepared.config
    sharding = Sharding.of(config.mesh, config.mesh_rules)
    leaves, parts = prepared.plan.at(0).leaves, config.optimizer.accumulate
    sharding.check(leaves, config.data.batch_size, parts)
    return RunSpec(
        prepared.network,
        prepared.variables,
        prepared.plan,
        prepared.data,
        optimizer=config.optimizer,
        schedule=config.schedule,
        settings=config.train,
        preprocessing=prepared.preprocessing,
        batch_size=config.data.batch_size,
        eval_batch_size=config.data.eval_batch_size,
        augmentation=config.data.augment,
        sampler=config.data.sampler,
        image_size=config.data.image_size,
        seed=config.seed,
        sharding=sharding,
        importance=prepared.importance,
    )
