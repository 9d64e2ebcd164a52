"""The batches of a phase that starts at its cut: made, or found, as `Sources` has decided."""

from __future__ import annotations

from ftjax.data.streams.loader import Loader
from ftjax.distributed.device_put import on_host
from ftjax.distributed.process_group import several
from ftjax.io.files.cache_folder import cache_folder
from ftjax.io.process.progress import Progress
from ftjax.pretrained.weights_identity import weights_hash
from ftjax.training.feature_cache.compute import Passed
from ftjax.training.feature_cache.key import prefix_of
from ftjax.training.feature_cache.policy import Decision
from ftjax.training.feature_cache.store import Features
from ftjax.training.feature_cache.stored_batches import FeatureBatches, FeatureStream
from ftjax.training.feature_cache.stored_outputs import StoredOutputs, reporter, silent
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec


def from_stored(
    spec: RunSpec,
    phase_state: PhaseState,
    decision: Decision,
    passed: Passed,
    *,
    views: int,
    budget: int,
    tell: bool = False,
    bar: Progress | None = None,
) -> tuple[FeatureStream, FeatureBatches]:
    """Training and validation batches of what the stages before the cut pass on.

    Args:
      spec: of the run.
      phase_state: of the run, in its present phase.
      decision: where features are kept.
      passed: what both splits pass on.
      views: of each training example that are stored; 1 for the example as it is.
      budget: bytes of memory that features may take.
      tell: whether progress is said.
      bar: that does not count the time in which features are computed.
    """
    cut, bar = phase_state.phase.cut, bar or Progress(1, '', enabled=False)
    variables = prefix_of(phase_state.network, phase_state.as_trained(averaged=False), cut)
    variables = on_host(variables) if several() else variables
    weights = weights_hash(variables)

    def stored(loader: Loader, view: int | None = None) -> Features:
        wanted = StoredOutputs(
            network=phase_state.network,
            variables=variables,
            weights=weights,
            cut=cut,
            loader=loader,
            preprocessing=spec.preprocessing,
            image_size=spec.image_size,
            augmentation=spec.augmentation,
            view=view,
            report=reporter(len(loader.dataset)) if tell else silent,
            around=lambda: bar.excluded('computing features'),
        )
        if decision.files:
            folder = spec.settings.cache_folder or cache_folder() / 'features'
            return wanted.in_files(passed.shapes, folder)
        return wanted.in_memory(passed.shapes, budget)

    stream, validation = spec.stream, spec.validation
    found = [stored(stream.loader, view) for view in ([None] if views == 1 else range(views))]
    return FeatureStream(stream, found), FeatureBatches(validation, stored(validation.loader))
