"""The kinds of part that a config names, and the modules that register the shipped ones."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of part."""

    title: str
    """What messages call it."""
    key: str
    """Where a config names it."""
    said: str
    modules: tuple[str, ...] = ()
    """Modules of ftjax that register parts of the kind when they are imported."""
    places: str = ''
    """The module whose PLACES says, by name, which module registers each shipped part: for kinds
    of which a run uses one, which is then imported alone, and of which each brings much along."""
    by: str = ''
    """What registers a part with the `details` that the kind cannot do without; '' if it can."""


_STRATEGIES = (
    *('masks', 'learning_rates', 'unfreezing', 'freezeout', 'random_subsets', 'block_turns'),
    *('data_driven_rates', 'data_driven_blocks', 'data_driven_entries'),
    *('adapter_kinds', 'regularisers', 'weight_averages', 'reinitialise'),
)
_ADAPTERS = ('lora', 'oft', 'ia3', 'ssf', 'bottleneck', 'adapter_plus', 'prompt')

KINDS: dict[str, Kind] = {
    'strategy': Kind(
        'freezing strategy',
        'freeze',
        'what trains, how fast and when',
        tuple(f'ftjax.freezing.strategies.{name}' for name in _STRATEGIES),
        by='@strategy(NAME, KIND) of ftjax.freezing',
    ),
    'task': Kind(
        'task',
        'data.task',
        'how labels are read, learned and measured',
        places='ftjax.tasks.task_places',
        by='@task(NAME) of ftjax.tasks',
    ),
    'loss': Kind(
        'loss',
        'train.loss',
        'what training makes small',
        ('ftjax.tasks.losses', 'ftjax.tasks.distillation'),
    ),
    'column': Kind(
        'column of a loss',
        'train.loss',
        'numbers of each training example that a loss finds in its batch',
        ('ftjax.runs.loss_columns.teacher_logits',),
    ),
    'class_weights': Kind(
        'class weighting',
        'train.class_weights',
        'how much an example of each class counts in the loss',
        ('ftjax.tasks.classes.class_weights',),
    ),
    'metric': Kind(
        'metric',
        'train.metric',
        'what a model is judged by',
        by='@metric(NAME) of ftjax.tasks',
    ),
    'adaptation': Kind(
        'adaptation',
        'train.adapt',
        'how a trained network is fitted to unlabelled inputs',
        ('ftjax.training.adaptation.methods',),
    ),
    'threshold': Kind(
        'decision threshold',
        'train.threshold',
        'the probability from which the second of two classes is answered',
        ('ftjax.tasks.threshold',),
    ),
    'optimizer': Kind(
        'optimizer',
        'optimizer.name',
        'the direction of an update',
        ('ftjax.optim.adam_variants', 'ftjax.optim.optimizers'),
    ),
    'schedule': Kind(
        'schedule', 'schedule.name', 'the learning rate over time', ('ftjax.optim.schedules',)
    ),
    'augmentation': Kind(
        'augmentation',
        'data.augment',
        'random changes of training examples',
        (
            *('ftjax.data.images.augmentation', 'ftjax.data.images.colour'),
            *('ftjax.data.images.degradation', 'ftjax.data.images.policies'),
            *('ftjax.data.images.mixing', 'ftjax.data.text.augmentation'),
        ),
    ),
    'sampler': Kind(
        'sampler',
        'data.sampler',
        'how often training draws each class',
        ('ftjax.data.streams.sampler',),
    ),
    'tta': Kind(
        'test-time augmentation',
        'data.tta',
        'views of a test image whose outputs are averaged',
        ('ftjax.data.images.test_time',),
    ),
    'source': Kind(
        'data.source', 'data.source', 'where examples come from', ('ftjax.data.sources.registry',)
    ),
    'missing': Kind(
        'rule for missing values',
        'data.missing',
        'what becomes of rows without a value',
        ('ftjax.data.missing',),
        by='details=Rule(..) of ftjax.data.missing',
    ),
    'logger': Kind(
        'logger',
        'train.loggers',
        'where metrics go besides metrics.jsonl',
        ('ftjax.training.loop.loggers',),
    ),
    'adapter': Kind(
        'adapter',
        'freeze',
        'parameters added to a frozen network',
        tuple(f'ftjax.models.adapters.{name}' for name in _ADAPTERS),
    ),
    'head': Kind(
        'head of every position',
        'model.head',
        'what answers each position of an image, for segmentation',
        ('ftjax.models.layers.pixel_heads',),
        by='details=PixelHead(..) of ftjax.models.layers.pixel_heads',
    ),
    'model': Kind('model', 'model.name', 'networks', ('ftjax.models.registry',)),
    'family': Kind(
        'pretrained family',
        'init',
        'how checkpoints of a network are read',
        ('ftjax.pretrained.families',),
        by='own_family(NAME, ..) of ftjax.pretrained.families.own',
    ),
}
