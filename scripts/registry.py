"""Versions of bundles: publish, list, promote, roll back, compare.

    python scripts/registry.py publish bundles/digits --name=digits --registry=versions
    python scripts/registry.py list --registry=versions
    python scripts/registry.py promote digits@1 production --reason='first one' --registry=versions
    python scripts/serve.py --model=digits@production --registry=versions

A registry is a plain folder, or a place that fsspec knows: s3://bucket/versions, gs://.., and so
on; --registry may be left out where $FTJAX_REGISTRY says it. A version is a bundle, verified, under
a name and a number that counts up, and never changes; the same bytes published twice are the same
version. digits@3, digits@latest, digits@staging and digits@production name versions.

    python scripts/registry.py publish bundles/digits2 --name=digits --note='more digits'
    python scripts/registry.py diff digits@production digits@latest --output=diff.html
    python scripts/registry.py promote digits@latest production --reason='+2 points on new data'
    python scripts/registry.py rollback digits production --reason='wrong on 7s'
    python scripts/registry.py list digits

`promote` and `rollback` check all files first. A rollback goes to what the stage held before; the
history only grows. `diff` compares data, config, metrics (paired where both runs had the same test
examples), and the answers on the inputs of --on, without labels, or on the golden inputs of both.
`publish --to_mlflow` also registers the version in MLflow, as a pyfunc model that loads the bundle.
"""

import contextlib
import os
import pathlib
import sys

from absl import flags

from ftjax.cli import launch
from ftjax.cli.flag_parsing import words_apart

REGISTRY = flags.DEFINE_string('registry', None, 'Folder or URL; else $FTJAX_REGISTRY.')
NAME = flags.DEFINE_string('name', None, 'publish: the name of the model.')
NOTE = flags.DEFINE_string('note', '', 'publish: what is to be said of the version.')
TO_MLFLOW = flags.DEFINE_bool('to_mlflow', False, 'publish: also to $MLFLOW_TRACKING_URI.')
REASON = flags.DEFINE_string('reason', '', 'promote, rollback: why, for those who come later.')
ON = flags.DEFINE_string('on', None, 'diff: inputs, as scripts/predict.py takes them.')
OUTPUT = flags.DEFINE_string('output', None, 'diff: page (.html) to write.')
COMMANDS = {
    'publish': ('BUNDLE',),
    'list': ('[NAME]',),
    'promote': ('NAME@VERSION', 'STAGE'),
    'rollback': ('NAME', 'STAGE'),
    'diff': ('A', 'B'),
}
OWN_FLAGS = {
    'publish': ('name', 'note', 'to_mlflow'),
    'promote': ('reason',),
    'rollback': ('reason',),
    'diff': ('on', 'output'),
}


def main(words):
    from ftjax.errors import UserError, check_name
    from ftjax.serving.versions.registry import Registry

    if not words:
        raise UserError(f'which command? There are {", ".join(COMMANDS)}')
    command, *given = words
    check_name(command, COMMANDS, 'command')
    expected = COMMANDS[command]
    least = sum(not word.startswith('[') for word in expected)
    if not least <= len(given) <= len(expected):
        raise UserError(
            f'{command} takes {" ".join(expected)}, and {len(given)} words are given: '
            f'python scripts/registry.py {command} {" ".join(expected)} --registry=URL'
        )
    for other, names in OWN_FLAGS.items():
        for name in names:
            if flags.FLAGS[name].present and name not in OWN_FLAGS.get(command, ()):
                raise UserError(f'--{name} is for {other}, not for {command}')
    url = REGISTRY.value or os.environ.get('FTJAX_REGISTRY', '')
    if not url:
        raise UserError('where is the registry? --registry=FOLDER_OR_URL, or $FTJAX_REGISTRY')
    registry = Registry(url)
    {
        'publish': publish,
        'list': show,
        'promote': promote,
        'rollback': rollback,
        'diff': compare,
    }[command](registry, *given)


def publish(registry, bundle):
    from ftjax.errors import UserError
    from ftjax.serving.versions import publishing

    if NAME.value is None:
        raise UserError('publish needs --name=NAME')
    done = publishing.publish(registry, bundle, NAME.value, note=NOTE.value)
    version = done.version
    if done.new:
        print(f'{version} is published: {len(version.files)} files, SHA-256 {version.sha256}')
    elif done.repaired:
        print(f'{version} is the same bundle; its stored files were damaged, and are good again')
    else:
        print(f'{version} is the same bundle, published {version.when}: nothing is changed')
    if TO_MLFLOW.value:
        from ftjax.serving.versions.mlflow_sink import to_mlflow

        print(f'in MLflow: {to_mlflow(registry, version)}')


def show(registry, name=''):
    from ftjax.serving.versions.version_listing import list_models, list_versions

    print('\n'.join(list_versions(registry, name) if name else list_models(registry)))


def promote(registry, reference, stage):
    from ftjax.serving.versions import promotions

    done = promotions.promote(registry, reference, stage, REASON.value)
    version = f'{done.event.name}@{done.event.version}'
    print(f'{version} is in {stage}' + ('' if done.new else ' already: nothing is changed'))


def rollback(registry, name, stage):
    from ftjax.serving.versions import promotions

    event = promotions.rollback(registry, name, stage, REASON.value).event
    print(f'{name}@{event.version} is in {stage} again')


def compare(registry, first, second):
    from ftjax.errors import UserError
    from ftjax.io.files.atomic import write_text
    from ftjax.io.process.progress import Progress
    from ftjax.io.process.provenance import command_line, provenance
    from ftjax.serving.comparison.diff_page import diff_page
    from ftjax.serving.comparison.diff_text import diff_text
    from ftjax.serving.comparison.version_diff import diff

    output = OUTPUT.value and pathlib.Path(OUTPUT.value)
    if output and output.suffix not in ('.html', '.htm'):
        raise UserError(f'--output={output}: expected a name that ends in .html')
    with contextlib.ExitStack() as stack:
        bars = []

        def tell(done, total):
            if not bars:
                bars.append(stack.enter_context(Progress(total, 'answers', unit='inputs')))
            bars[0].update(done)

        found = diff(registry, first, second, on=ON.value, progress=tell)
    print('\n'.join(diff_text(found)))
    if output:
        write_text(output, diff_page(found, command_line(), provenance()))
        print(f'\n{output}')


if __name__ == '__main__':
    # Words that are no flags are taken out before launch sees them.
    words, rest = words_apart(sys.argv)
    launch.run(lambda: main(words), rest)
