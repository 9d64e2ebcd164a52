"""The batches of a phase that starts at its cut: made, or found, as `Sources` has decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from ftjax.training.feature_cache.sources import Sources


def from_stored(
    sources: Sources,
    decision: Decision,
    passed: Passed,
    phase_state: PhaseState,
    bar: Progress | None = None,
) -> tuple[FeatureStream, FeatureBatches]:
    """Training and validation batches of what the stages before the cut pass on.

    Args:
      sources: of the run.
      decision: where features are kept.
      passed: what both splits pass on.
      phase_state: of the run, in its present phase.
      bar: that does not count the time in which features are computed.
    """
    cut = phase_state.phase.cut
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
            preprocessing=sources.preprocessing,
            image_size=sources.image_size,
            augmentation=sources.augmentation,
            view=view,
            report=reporter(len(loader.dataset)) if sources.tell else silent,
            around=lambda: (bar or Progress(1, '', enabled=False)).excluded('computing features'),
        )
        if decision.files:
            folder = sources.settings.cache_folder or cache_folder() / 'features'
            return wanted.in_files(passed.shapes, folder)
        return wanted.in_memory(passed.shapes, sources.budget)

    stream, validation = sources.stream, sources.validation
    shown = [None] if sources.views == 1 else range(sources.views)
    views = [stored(stream.loader, view) for view in shown]
    return FeatureStream(stream, views), FeatureBatches(validation, stored(validation.loader))
