"""Our side: the steps that `fit` makes, by its programs, from its streams and its cache."""

from __future__ import annotations

from typing import Any

import numpy as np


class FitSteps:
    """A fine-tuning on data in memory that has entered its first phase."""

    def __init__(
        self,
        network: Any,
        variables: Any,
        freeze: str,
        data: Any,
        preprocessing: Any,
        batch: int,
        *,
        cached: bool = False,
        longest: int | None = None,
    ):
        """`longest`: most steps of a call; None for those of `fit`."""
        from ftjax.data import TrainStream, eval_batches
        from ftjax.freezing.added import with_added
        from ftjax.freezing.optimizer import OptimizerSettings
        from ftjax.freezing.plan import make_plan
        from ftjax.freezing.settings import as_settings
        from ftjax.training.cache import Sources
        from ftjax.training.calls import many
        from ftjax.training.course import Course, StepSettings
        from ftjax.training.settings import TrainSettings

        network, variables = with_added(as_settings(freeze), network, variables)
        plan = make_plan(freeze, network, variables)
        optimizer = OptimizerSettings(learning_rate=1e-3, weight_decay=0.01)
        course = Course(network, variables, plan, optimizer, StepSettings(preprocessing))
        course.enter(0)
        settings = TrainSettings(cache='on' if cached else 'off')
        stream = TrainStream(data.train, batch, 0, preprocessing=preprocessing)
        whole = settings.calls(network, variables['params'])
        whole = whole if longest is None else min(whole, longest)
        validation = eval_batches(data.val, 8, preprocessing=preprocessing)
        sources = Sources(stream.in_runs(whole), validation, settings, preprocessing=preprocessing)
        self.course, self.source = course, sources.of(course, 0)
        calls = settings.calls(network, variables['params'], self.source.start)
        self.chunk = calls if longest is None else min(calls, longest)
        self.run, self.key = many(course.step(self.source.start)), course.key(self.source.start)
        self.known: Any = None

    @property
    def trainable(self) -> int:
        """Parameters that train."""
        return self.course.phase.size(trainable_only=True)

    @property
    def size(self) -> int:
        """Parameters of the network."""
        return self.course.phase.size()

    def steps(self, count: int) -> int:
        """Runs at least so many steps, in whole calls; how many it were."""
        made = 0
        while made < count:
            self.call()
            made += self.chunk
        return made

    def call(self) -> None:
        """One call, as `Dispatch` makes it: batches in, losses and norms out."""
        from ftjax.data.text_batches import stacked
        from ftjax.training.dispatch import model_inputs
        from ftjax.training.programs import program

        course, layout, count = self.course, self.course.layout, self.chunk
        group = [next(self.source.batches) for _ in range(count)]
        rates = np.full((count, len(course.phase.trainable)), 1e-3, np.float32)
        batch = stacked([model_inputs(one) for one in group], course.settings.preprocessing)
        batch = layout.batch(batch, axis=1, size=len(group[0]['index']))
        arguments = (course.state, course.frozen, batch, *layout.copied((rates, np.int32(0))))
        places = (layout.of_state(course.state), layout.whole) if layout.devices > 1 else None
        self.known = program(self.key, self.run, *arguments, donate=(0,), places=places)
        course.state, metrics = self.known.call(*arguments)
        losses = {name: np.asarray(values) for name, values in metrics.items()}['loss']
        if not np.isfinite(losses).all():
            raise FloatingPointError(f'a loss of the benchmark is no number: {losses}')

    @property
    def flops(self) -> float:
        """Of a step, as compiled; of a call's loop the compiler counts the body once."""
        from ftjax.training.cost import flops_of

        return flops_of(self.known.call)

    @property
    def peak_bytes(self) -> int:
        """What a call takes at most: its arguments, results and what lies between."""
        memory = self.known.call.memory_analysis()
        parts = ('argument_size', 'output_size', 'temp_size')
        total = sum(getattr(memory, f'{part}_in_bytes', 0) for part in parts)
        return int(total - getattr(memory, 'alias_size_in_bytes', 0))
