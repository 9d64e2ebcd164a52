r"""Trains a deployed network on with new labelled data, and publishes a candidate; never more.

    python scripts/update.py --bundle=bundles/digits --data.source=folder:NEW --workdir=runs/update
    python scripts/update.py --registry=registry --model=digits@production \
        --data.source=folder:NEW --strategies=same,head,last:1 --workdir=runs/update

It goes on from the weights of the bundle with what trained before (`same`: adapters too; a strategy
that begins weights at random is refused), or compares several ways of freezing. Learning rate and
epochs are those of the bundle's run unless they are given. So are the fields of config.data, but
for those that cut one source into splits or say how its file is read (seed, fractions,
split_column, class_names, encoding, delimiter and their kin): they are at their defaults, and a
note names those that the run had set. Any may be set as --data.KEY=VALUE.

The deployed network and all that were trained are compared on the test splits of the new data and
of the old: what is lost on the old is forgetting. The candidate is the best on the validation
splits of both. Networks are compared example by example: only classification, multilabel,
regression and multiple_choice can be compared, other tasks are refused before anything is trained.

It writes update.md, update.json and the candidate's bundle to --workdir. With --registry the
candidate becomes the next version of the model, with these results, and what differs from the
deployed one is said. Promoting is another command, for a person: scripts/registry.py promote.

A bundle does not say which file registered the parts of the user's own that its run had:
--config=FILE.py does.
"""

import pathlib

from absl import flags

from ftjax.cli import launch

BUNDLE = flags.DEFINE_string('bundle', None, 'Folder of the deployed bundle.')
REGISTRY = flags.DEFINE_string('registry', None, 'Folder or URL of a registry of versions.')
MODEL = flags.DEFINE_string('model', None, 'Deployed version: NAME@production.')
WORKDIR = launch.define_workdir()
PARTS = launch.define_own_parts()
DATA = launch.define_data('The new data.')
STRATEGIES = flags.DEFINE_list('strategies', ['same'], 'What trains; several are compared.')
RATE = flags.DEFINE_float('learning_rate', None, 'Another one than before.', lower_bound=0)
EPOCHS = flags.DEFINE_float('epochs', None, 'Another number than before.', lower_bound=0)
FORGETTING = flags.DEFINE_bool('forgetting', True, 'Compare on the old data too.')


def main():
    from ftjax.errors import UserError
    from ftjax.io.process.provenance import command_line
    from ftjax.serving.updating.update_model import (
        TEXT,
        UpdateRequest,
        check_strategies,
        update_model,
    )

    changes = DATA()
    several = [name for name, values in changes.items() if len(values) > 1]
    if several:
        raise UserError(f'--data.{several[0]} is given more than once')
    version = registry = None
    url, name = REGISTRY.value, MODEL.value
    if BUNDLE.value is not None and url is None and name is None:
        folder = pathlib.Path(BUNDLE.value)
    elif BUNDLE.value is None and url is not None and name is not None:
        from ftjax.serving.versions.registry import Registry

        registry = Registry(url)
        version = registry.resolve(name)
        folder = registry.open(version)
    else:
        raise UserError('expected --bundle=DIR, or --registry=URL with --model=NAME@production')
    workdir = pathlib.Path(WORKDIR.value)
    found = update_model(
        UpdateRequest(
            bundle=folder,
            data={name: values[0] for name, values in changes.items()},
            workdir=workdir,
            strategies=check_strategies(STRATEGIES.value),
            learning_rate=RATE.value,
            epochs=EPOCHS.value,
            forgetting=FORGETTING.value,
            parts=PARTS.value,
            command=command_line(),
        )
    )
    print((workdir / TEXT).read_text(encoding='utf-8'))
    print(f'candidate: {found.candidate}')
    if registry is not None and version is not None:
        for line in published(registry, version, found):
            print(line)


def published(registry, version, found):
    """Publishes the candidate; what to say of it, line by line."""
    from ftjax.serving.comparison.diff_text import diff_text
    from ftjax.serving.comparison.version_diff import diff
    from ftjax.serving.versions.publishing import publish

    old = f'{version.name}@{version.number}'
    facts = {'updated_from': old, 'update': found.facts}
    made = publish(registry, found.candidate, version.name, facts=facts).version
    new = f'{made.name}@{made.number}'
    return [f'published: {new}, not promoted', *diff_text(diff(registry, old, new))]


if __name__ == '__main__':
    launch.run(main)
