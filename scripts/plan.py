"""Prints what a config would train and what a step of it costs, before any training.

python scripts/plan.py --config=configs/quickstart_train.py --config.freeze=last:2
python scripts/plan.py --list
"""

from absl import flags

from ftjax import launch

CONFIG = launch.define_config('configs/quickstart_train.py')
LIST = flags.DEFINE_bool('list', False, 'Print the strategies there are, and end.')


def main():
    if LIST.value:
        list_strategies()
    else:
        show_plan()


def show_plan():
    """The table by stage, the cut, and the cost beside that of full fine-tuning."""
    from ftjax.config import plain, read_config
    from ftjax.freezing.plan import make_plan
    from ftjax.preparation import prepare
    from ftjax.training.cost import forward_flops, step_cost

    values = plain(CONFIG.value)
    values.pop('ablation', None)
    config = read_config(values)
    prepared = prepare(config)
    print(prepared.table())
    net, variables, batch = prepared.network, prepared.variables, config.data.batch_size
    task = prepared.data.task
    cost = step_cost(net, variables, prepared.plan, config.optimizer, batch, task)
    whole = step_cost(
        net, variables, make_plan('full', net, variables), config.optimizer, batch, task
    )
    forward = forward_flops(net, variables, batch)
    print(f'\na step of {batch} examples, from the compiled program:')
    print(f'  FLOPs             {cost.flops:.4g}, {cost.flops / whole.flops:.3f} of full')
    print(f'    forward         {forward:.4g}')
    print(f'    backward, rest  {cost.flops - forward:.4g}')
    print(
        f'  optimizer state   {cost.optimizer_bytes:,} bytes, '
        f'{cost.optimizer_bytes / whole.optimizer_bytes:.3f} of full'
    )
    print(
        f'  temporary memory  {cost.temporary_bytes:,} bytes, '
        f'{cost.temporary_bytes / max(whole.temporary_bytes, 1):.3f} of full'
    )


def list_strategies():
    """One line a strategy: an example of its string, its kind and what it does."""
    from ftjax.freezing.registry import catalogue

    for found in sorted(catalogue().values(), key=lambda s: (s.kind, s.name)):
        print(f'{found.example:18} {found.kind:12} {found.summary}')


if __name__ == '__main__':
    launch.run(main)
