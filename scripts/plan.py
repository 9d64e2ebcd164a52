r"""Prints what a config would train and what its steps cost, before any training.

python scripts/plan.py --config=configs/quickstart_train.py --config.freeze=last:2
python scripts/plan.py --list
python scripts/plan.py --list optimizer
python scripts/plan.py --keys data
python scripts/plan.py --keys --markdown
python scripts/plan.py --config=configs/quickstart_train.py --config.freeze=gradual \
    --write-phases=gradual.py
python scripts/plan.py --config=configs/own_data.py --show-augment=augment.png

The file that --write-phases writes is a config: edit its phases, and run it. A run whose device
memory would be more than there is, or than --memory_limit=8GiB says, is refused, with what would
make it fit.
"""

import dataclasses
import pathlib
import sys

from absl import flags

from ftjax.cli import launch

CONFIG = launch.define_config('configs/quickstart_train.py')
LIST = flags.DEFINE_string('list', None, 'Print the parts of a KIND, or of all, and end.')
KEYS = flags.DEFINE_string('keys', None, 'Print the config keys of a SECTION, one KEY, or all.')
MARKDOWN = flags.DEFINE_bool('markdown', False, 'With --list or --keys: tables in Markdown.')
WRITE = flags.DEFINE_string('write-phases', None, 'Write the phases as a config file, and end.')
SHOW = flags.DEFINE_string(
    'show-augment', None, 'Draw a batch before and after data.augment to a FILE.png, and end.'
)

LIMIT = flags.DEFINE_string('memory_limit', None, "The device's memory: 8GiB; its own if not said.")


def main():
    if LIST.value is not None or KEYS.value is not None:
        print_listing()
    elif WRITE.value:
        write_phases(pathlib.Path(WRITE.value))
    elif SHOW.value:
        show_augment(pathlib.Path(SHOW.value))
    else:
        show_plan()


def print_listing():
    """What there is to name in a config, or its keys, for a terminal or in Markdown."""
    from ftjax.cli.listing import list_keys, list_parts
    from ftjax.cli.listing_markdown import keys_markdown, parts_markdown

    if LIST.value is not None:
        lines = (parts_markdown if MARKDOWN.value else list_parts)(LIST.value)
    else:
        lines = (keys_markdown if MARKDOWN.value else list_keys)(KEYS.value or '')
    for line in lines:
        print(line)


def show_augment(file: pathlib.Path):
    """A picture of some training images, each as it is read and after draws of data.augment."""
    from ftjax.errors import UserError
    from ftjax.plotting.augmentations import augmented_figure
    from ftjax.plotting.save import save_figure
    from ftjax.printable import in_figure
    from ftjax.runs.run_spec import run_spec

    if file.suffix.lower() not in ('.png', '.svg', '.pdf'):
        raise UserError(f'--show-augment={file}: expected the name of a .png, .svg or .pdf file')
    _, prepared = prepared_run()
    batch = run_spec(prepared).stream.batch(0)
    names = prepared.data.class_names
    said = (
        [in_figure(names[k]) for k in batch['labels']]
        if batch['labels'].ndim == 1 and names
        else ()
    )
    config = prepared.config
    save_figure(augmented_figure(batch, config.data.augment, config.seed, said), file)
    print(f'{config.data.augment} on {len(batch["labels"])} images of the first batch: {file}')


def prepared_run():
    """The config, ablation section apart, and all that a run of it needs but the weights."""
    from ftjax.config import plain, read_config
    from ftjax.runs.prepare import prepare

    values = plain(CONFIG.value)
    values.pop('ablation', None)
    return values, prepare(read_config(values), weights=False)


def show_plan():
    """The table by stage, the cut, and the cost beside that of full fine-tuning."""
    from flax.traverse_util import flatten_dict

    from ftjax.export.weights import export_in_words
    from ftjax.freezing.partition import combine
    from ftjax.freezing.plan.plan import make_plan
    from ftjax.models.adapters.adapted import plain_network
    from ftjax.runs.assessment.forgetting import general_data
    from ftjax.runs.before_training.mesh_plan import mesh_table
    from ftjax.runs.run_spec import run_spec
    from ftjax.training.cost.cost import forward_flops, plan_cost

    _, prepared = prepared_run()
    print(prepared.first_screen())
    print()
    print(prepared.table())
    general = general_data(prepared)  # a run refuses what it cannot compare; so does its plan
    if general is not None:
        print(f'forgetting is measured on {len(general):,} examples of {general.name}')
    print(export_in_words(prepared.network))
    net, spec = prepared.network, run_spec(prepared)
    cost, bare = plan_cost(spec), plain_network(net)
    leaves = flatten_dict(dict(spec.variables['params']), sep='/')
    own = {path: leaf for path, leaf in leaves.items() if not net.is_adapter_leaf(path)}
    own = {**spec.variables, 'params': combine(own)}
    full = make_plan('full', bare, own)
    whole = plan_cost(dataclasses.replace(spec, network=bare, variables=own, plan=full))
    forward = forward_flops(spec)
    print(f'\na step of {spec.batch_size} examples, from the compiled program:')
    for phase, one in cost.phases if len(cost.phases) > 1 else ():
        print(
            f'  from step {phase.start:<6} FLOPs {one.flops / whole.flops:.3f}, optimizer state '
            f'{one.optimizer_bytes / max(whole.optimizer_bytes, 1):.3f}, temporary memory '
            f'{one.temporary_bytes / max(whole.temporary_bytes, 1):.3f} of full'
        )
    if len(cost.phases) > 1:
        print('the mean step of the whole run, and memory at its highest:')
    print(f'  FLOPs             {cost.flops:.4g}, {cost.flops / whole.flops:.3f} of full')
    print(f'    forward         {forward:.4g}')
    print(f'    backward, rest  {cost.flops - forward:.4g}')
    print(
        f'  optimizer state   {cost.optimizer_bytes:,} bytes, '
        f'{cost.optimizer_bytes / max(whole.optimizer_bytes, 1):.3f} of full'
    )
    print(
        f'  temporary memory  {cost.temporary_bytes:,} bytes, '
        f'{cost.temporary_bytes / max(whole.temporary_bytes, 1):.3f} of full'
    )
    if table := mesh_table(spec):
        print(f'\n{table}')
    show_memory(prepared)


def show_memory(prepared):
    """What the run holds on the device, by what holds it; an error if that is more than it has."""
    from ftjax.errors import UserError
    from ftjax.io.process.host_memory import shown_size
    from ftjax.runs.before_training.memory_advice import advice, suggestions
    from ftjax.runs.before_training.memory_plan import run_memory
    from ftjax.training.cost.memory_limit import device_limit, read_size

    limit = device_limit() if LIMIT.value is None else read_size(LIMIT.value)
    memory = run_memory(prepared)
    print(f'\n{memory.table()}', flush=True)
    if limit is None:
        print('how much memory the device has is not known; --memory_limit=8GiB says it')
    elif memory.peak <= limit:
        print(f'it fits: the device has {shown_size(limit)}')
    else:
        told = suggestions(prepared, memory, limit)
        print(advice(told, limit), flush=True)
        fitting = [one for one in told if one.peak <= limit]
        best = f'; {fitting[0].change} would fit' if fitting else ''
        raise UserError(
            f'the run needs {memory.said} of device memory and there is {shown_size(limit)}{best}'
        )


def write_phases(file: pathlib.Path):
    """A config file with the phases of the plan as rules, which makes the same plan."""
    from ftjax.cli.config_file import write_config_file
    from ftjax.freezing.plan.as_config import written

    values, prepared = prepared_run()
    values['freeze'] = written(prepared.plan, prepared.config.freeze)
    strategy = prepared.plan.strategy
    write_config_file(file, values, f'The phases of {strategy!r}, written out to be edited.')
    print(f'{len(prepared.plan.phases)} phases in {file}')


def with_values(argv):
    """The words of a command, `--list` and `--keys` with the word after them or `all`.

    >>> with_values(['plan.py', '--list', 'optimizer', '--keys'])
    ['plan.py', '--list=optimizer', '--keys=all']
    >>> with_values(['plan.py', '--list='])
    ['plan.py', '--list=all']
    """
    words, found = list(argv), []
    while words:
        word = words.pop(0)
        if word in ('--list', '--keys', '--show-augment'):
            default = 'augment.png' if word == '--show-augment' else 'all'
            word += f'={words.pop(0) if words and not words[0].startswith("-") else default}'
        elif word in ('--list=', '--keys='):
            word += 'all'
        found.append(word)
    return found


if __name__ == '__main__':
    launch.run(main, with_values(sys.argv))
