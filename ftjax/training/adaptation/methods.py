"""What `train.adapt` names: a trained network is fitted to inputs of another kind, without labels.

A method is called with a Trained and returns the adapted variables with what it has seen. It never
sees a label of the unlabelled examples: those that stand in that data set are placeholders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ftjax.data import Dataset, Splits
from ftjax.data.joined import joined
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import gather, softmax
from ftjax.freezing.plan.plan import FreezeSettings, Plan, make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.io.json.json_values import JsonObject
from ftjax.leaves import flatten
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings
from ftjax.pytrees import Variables
from ftjax.ranges import above, between
from ftjax.registry import parse, register
from ftjax.training.loop.batch_norm_recalibration import recomputed
from ftjax.training.loop.fit_result import FitResult
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """The `details` of a method."""

    check: Callable[[Plan, Splits], None]
    """Raises UserError, before the training, where the method cannot follow it."""
    by_own_loss: bool = False
    """Whether it trains on by the loss of the run."""


Adapted = tuple[Variables, dict[str, Any]]
"""Variables, and facts for people: how many examples were seen, how many were used.

Where batches have one size, the examples that fill no whole batch are not seen."""
_EPOCHS = above(0)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run that has been trained, and what may be seen of the data that it is for.

    Attributes:
      spec: of the run.
      variables: that it ended with.
      unlabelled: inputs; what stands in the labels means nothing.
      fit: the training loop.
    """

    spec: RunSpec
    variables: Variables
    unlabelled: Dataset
    fit: Callable[[RunSpec], FitResult]

    def on(self, train: Dataset, parts: int = 1, **changes: object) -> RunSpec:
        """The run's wiring with another training split, from where the run ended.

        It validates nothing: no label of the new data is known. Batches can go in so many `parts`.
        """
        none = train.take([])
        size = self.spec.sharding.fitting(min(self.spec.batch_size, len(train)), parts)
        pretrained = self.spec.reference
        if pretrained is None:
            pretrained = flatten(self.spec.variables['params'])
        given: JsonObject = {
            'variables': self.variables,
            'reference': pretrained,
            'batch_size': size,
            'sampler': '',
            **changes,
        }
        return dataclasses.replace(
            self.spec, data=Splits(train=train, val=none, test=none), **given
        )

    @property
    def in_batches(self) -> int:
        """Unlabelled examples of an epoch: as many as fill whole batches."""
        spec = self.on(self.unlabelled)
        return spec.steps_per_epoch * spec.batch_size

    def recomputed(self, variables: Variables) -> dict[str, object]:
        """The variables with BatchNorm's statistics of the unlabelled inputs, in whole batches."""
        stream = self.on(self.unlabelled).stream_of(self.spec.seed, augmented=False)
        batches = (stream.batch(n)['inputs'] for n in range(stream.steps_per_epoch))
        return recomputed(self.spec.network, variables, batches, self.spec.preprocessing)


def check_adaptation(settings: TrainSettings, data: Splits, plan: Plan) -> None:
    """Raises UserError where train.adapt cannot follow the training, or has nothing to go by."""
    name = settings.adapt
    if not name:
        return
    details = parse('adaptation', name).details  # None of a method of one's own
    if details is not None and details.by_own_loss and data.train.columns:
        raise UserError(
            f'train.adapt {name!r} trains on by train.loss {settings.loss!r} with other examples, '
            f'of which nobody knows {", ".join(data.train.columns)}'
        )
    if not data.label_kind.one_class:
        raise UserError(f'train.adapt {name!r} needs one class an example; not {data.task}')
    if data.unlabelled is None or not len(data.unlabelled):
        raise UserError(
            f"train.adapt {name!r} needs unlabelled examples: data.unlabelled='folder:PATH', or "
            "rows without a label that data.missing={'label': 'keep'} keeps"
        )
    if details is not None:
        details.check(plan, data)


def check_statistics(plan: Plan, data: Splits) -> None:
    """UserError for a network without BatchNorm."""
    del data
    if plan.net is not None and not plan.net.stats:
        raise UserError("train.adapt 'bn_adapt' needs a network with BatchNorm; this one has none")


@register('adaptation', 'bn_adapt', source='arXiv:2006.16971', details=Adaptation(check_statistics))
def bn_adapt(run: Trained) -> Adapted:
    """BatchNorm's running statistics, estimated anew on the unlabelled inputs; no weight moves."""
    check_statistics(run.spec.plan, run.spec.splits)
    return run.recomputed(run.variables), {'seen': run.in_batches}


def check_norms(plan: Plan, data: Splits) -> None:
    """UserError for a network without norms before its head."""
    del data
    if plan.net is not None and not plan.net.norms - plan.net.head:
        raise UserError("train.adapt 'tent' needs norms before the head; this network has none")


@register(
    'adaptation',
    'tent',
    source='arXiv:2006.10726',
    ranges={'epochs': _EPOCHS, 'rate': above(0)},
    details=Adaptation(check_norms),
)
def tent(run: Trained, epochs: float = 1.0, rate: float = 1e-3) -> Adapted:
    """Scales and biases of the norms, trained to make the entropy of predictions small.

    Batches are normalised by themselves meanwhile; afterwards running statistics are estimated
    on the unlabelled inputs. Adam as in the source, which adapts batch by batch as they arrive;
    here the examples are gone through `epochs` times first.
    """
    check_norms(run.spec.plan, run.spec.splits)
    spec = run.on(run.unlabelled)
    settings = TrainSettings(
        epochs=epochs, loss='entropy', keep='last', cache='off', eval_every=1e9
    )
    length = RunLength(settings.total(spec.steps_per_epoch), spec.steps_per_epoch)
    freeze = FreezeSettings(strategy='norm', head='freeze', norm='train', noise='off')
    plan = make_plan(freeze, spec.network, run.variables, head_is_new=False, run_length=length)
    fitted = run.fit(
        dataclasses.replace(
            spec,
            plan=plan,
            settings=settings,
            optimizer=OptimizerSettings(name='adam', learning_rate=rate),
            schedule=ScheduleSettings(name='constant'),
            augmentation='none',
        )
    )
    seen = {'seen': run.in_batches, 'steps': fitted.steps}
    return run.recomputed(fitted.variables), seen


def check_training_on(plan: Plan, data: Splits) -> None:
    """UserError for a plan that changes on the way, or examples that cannot stand beside others."""
    if len(plan.phases) > 1 or plan.choose_at:
        raise UserError(
            f"train.adapt 'pseudo_labels' trains on as the run did, and freeze {plan.strategy!r} "
            'changes what trains on the way'
        )
    if plan.term('weights') is not None:
        raise UserError(
            f"train.adapt 'pseudo_labels' trains one network on, and freeze {plan.strategy!r} "
            'averages weights by validation; no label of the new data is known'
        )
    if data.unlabelled is not None:
        joined(data.train.take([0]), data.unlabelled.take([0]))


@register(
    'adaptation',
    'pseudo_labels',
    source='Lee 2013, ICML workshop on challenges in representation learning',
    ranges={'confidence': between(0, 1), 'epochs': _EPOCHS},
    details=Adaptation(check_training_on, by_own_loss=True),
)
def pseudo_labels(run: Trained, confidence: float = 0.9, epochs: float = 1.0) -> Adapted:
    """Trains on with examples whose predicted class is this probable, beside the labelled ones.

    What trains, and how, is as in the run itself. Classes are those that the network predicts:
    what it gets wrong with confidence is learned too, and nothing here can tell.
    """
    spec, unlabelled = run.spec, run.unlabelled
    check_training_on(spec.plan, spec.splits)
    batches = spec.batches_of(unlabelled)
    found = gather(predict(spec.network, run.variables, batches, spec.preprocessing))
    probabilities = softmax(found.outputs)
    sure = probabilities.max(axis=1) >= confidence
    labels = probabilities.argmax(axis=1).astype(np.int32)
    counts = np.bincount(labels[sure], minlength=probabilities.shape[1])
    seen: dict[str, object] = {
        'seen': len(unlabelled),
        'used': int(sure.sum()),
        'used_by_class': dict(zip(unlabelled.class_names, counts.tolist(), strict=True)),
    }
    if not sure.any():
        return run.variables, seen
    named = dataclasses.replace(unlabelled, labels=labels).take(np.flatnonzero(sure))
    train = joined(spec.splits.train, named)
    both = run.on(train, spec.optimizer.accumulate, sampler=spec.sampler)
    settings = dataclasses.replace(
        spec.settings,
        epochs=epochs,
        steps=None,
        threshold='',
        keep='last',
        patience=None,
        cache='off',
        cache_views=1,
        eval_every=1e9,
    )
    # What the run has re-initialised and estimated is trained on, not made anew.
    phases = tuple(dataclasses.replace(phase, reinit=()) for phase in spec.plan.phases)
    plan = dataclasses.replace(spec.plan, recompute=False, phases=phases)
    fitted = run.fit(dataclasses.replace(both, settings=settings, plan=plan))
    return fitted.variables, {**seen, 'steps': fitted.steps}
