"""The feature cache: a run starts at its cut, from outputs that are computed once.

What stages before the cut pass on is a function of their weights and of the example, where no
noise, batch statistics or augmentation enters. It is computed once for each key
(key.py), kept in memory or in files (store.py), and shared by all runs of a
process, those of an ablation for instance, whose stages before the cut are the same. When they
are used again one batch is computed once more, and its bits are compared, unless the very program
that made them is still there.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ftjax.data.augmentation import parse_augment
from ftjax.data.streams.loader import Batch
from ftjax.distributed.process_group import least, several
from ftjax.errors import UserError
from ftjax.freezing.plan.phase import Phase
from ftjax.io.process.progress import Progress
from ftjax.training.feature_cache.key import prefix_of
from ftjax.training.feature_cache.policy import Decision, Uses, decide, memory_budget, refusal
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec

if TYPE_CHECKING:
    from ftjax.training.feature_cache.compute import Passed

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the steps of a phase get their batches from."""

    start: str | None
    """The stage that batches enter at; None for the first, whose inputs are raw."""
    batches: Iterator[Batch]
    validation: Any
    """Batches of the validation split, for the same stage."""


class Sources:
    """Decides phase by phase whether a run starts at its cut, and has the features made."""

    def __init__(self, spec: RunSpec, tell: bool = False):
        """`tell` logs what is decided."""
        self.spec = spec
        self.stream, self.validation, self.settings = spec.stream, spec.validation, spec.settings
        self.preprocessing, augmentation = spec.preprocessing, spec.augmentation
        self.augmentation, self.tell = augmentation, tell
        self.total, self.every, settings = spec.steps, spec.validate_every, spec.settings
        self.phase: Phase | None = None
        self.source: Source
        self.lines: list[str] = []
        """What was decided, a line a phase."""
        augmented = bool(parse_augment(augmentation))
        self.views = settings.cache_views if augmented else 1
        if settings.cache_views > 1 and not augmented:
            raise UserError(
                f'train.cache_views is {settings.cache_views} and data.augment is '
                f'{augmentation!r}: all views would be the same'
            )

    def of(self, phase_state: PhaseState, done: int, bar: Progress | None = None) -> Source:
        """The source of the phase state's present phase, whose next step is `done`.

        Raises:
          UserError: the cache is 'on' and cannot be used, with the reason.
        """
        if self.phase is phase_state.phase:
            return self.source
        self.phase = phase_state.phase
        decision, passed = self.decided(phase_state)
        if self.settings.cache != 'off':
            line = f'from step {phase_state.phase.start}: {decision.line}'
            if line not in self.lines:  # of an interrupted run that goes on
                self.lines.append(line)
            if self.tell:
                _log.info('%s', decision.line)
        if not decision.store or passed is None:
            self.source = Source(None, self.stream.iterate(done), self.validation)
            return self.source
        from ftjax.training.feature_cache.from_stored import from_stored

        views, validation = from_stored(
            *(self.spec, phase_state, decision, passed),
            views=self.views,
            budget=self.budget,
            tell=self.tell,
            bar=bar,
        )
        self.source = Source(phase_state.phase.cut, views.iterate(done), validation)
        return self.source

    def decided(self, phase_state: PhaseState) -> tuple[Decision, Passed | None]:
        """What to do in the phase state's present phase."""
        mode, phases = self.settings.cache, phase_state.plan.phases
        if mode == 'off':
            return Decision(False, False, "train.cache is 'off'"), None

        def refused(phase: Phase) -> str | None:
            if self.views > 1 and self.stream.dataset.label_kind.moves:
                return 'labels move with the images, and views of these alone are stored'
            return refusal(phase_state.plan, phase, self.augmentation, self.views)

        def passed_in(phase: Phase) -> Passed | str:
            return refused(phase) or self.passed(phase_state, phase.cut)

        passed = passed_in(phase_state.phase)
        if isinstance(passed, str):
            # A phase without a cache is no mistake while another has one.
            hopeless = mode == 'on' and all(isinstance(passed_in(one), str) for one in phases)
        else:
            uses = self.uses(phase_state)
            found = decide(mode, phase_state.phase.cut, passed, uses, self.budget)
            if not (found.files and several()):
                return found, passed
            passed = 'files of features are not shared by the processes of a run'
            hopeless = mode == 'on'
        if hopeless:
            raise UserError(f"train.cache='on' is not possible: {passed}")
        return Decision(False, False, f'features not stored: {passed}'), None

    def passed(self, phase_state: PhaseState, cut: str) -> Passed | str:
        """What both splits pass on at a cut; a reason if that cannot be stored."""
        from ftjax.training.feature_cache import compute  # most phases store nothing

        network = phase_state.network
        variables = prefix_of(network, phase_state.as_trained(averaged=False), cut)
        loaders = self.stream.loader, self.validation.loader
        train, val = (
            compute.passed_on(network, variables, cut, loader, self.preprocessing)
            for loader in loaders
        )
        if isinstance(train, str) or isinstance(val, str):
            return train if isinstance(train, str) else val
        if train.shapes != val.shapes:
            return f'training and validation examples differ in what flows into {cut!r}'
        return train

    def uses(self, phase_state: PhaseState) -> Uses:
        """How often the present phase asks for the stages before its cut."""
        first = phase_state.phase.start
        ends = [phase.start for phase in phase_state.plan.phases if phase.start > first]
        steps = min([*ends, self.total]) - first
        train, val = len(self.stream.dataset), len(self.validation.dataset)
        passes = steps * self.stream.batch_size + max(1, steps // self.every) * val
        return Uses(self.views * train + val, passes)

    @property
    def budget(self) -> int:
        """Bytes of memory that features may take."""
        return least(memory_budget(self.settings.cache_bytes))
