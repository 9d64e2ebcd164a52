"""Rows on interrupted runs that have a checkpoint or their metrics damaged before they go on."""

import shutil

from faults.ends import end_of

DAMAGE = ('one bit', 'ten bits', 'truncated', 'emptied', 'deleted', 'half-written folder')


def damage(folder, how, draw):
    """Damages a run that was interrupted; returns what was done."""
    steps = sorted(int(p.name) for p in (folder / 'checkpoints').iterdir() if p.name.isdecimal())
    step = steps[-1] if draw.random() < 0.6 else draw.choice(steps)
    place = folder / 'checkpoints' / str(step)
    if how == 'half-written folder':
        shutil.copytree(place, place.with_name(f'{step + 1}.orbax-checkpoint-tmp'))
        (place.with_name(f'{step + 1}.orbax-checkpoint-tmp') / 'manifest' / 'metadata').unlink()
        return f'checkpoint {step + 1} half written'
    files = sorted(path for path in place.rglob('*') if path.is_file() and path.stat().st_size)
    path = folder / 'metrics.jsonl' if draw.random() < 0.1 else draw.choice(files)
    data = bytearray(path.read_bytes())
    if how == 'deleted':
        path.unlink()
    else:
        if how in ('truncated', 'emptied'):
            data = data[: draw.randrange(len(data)) if how == 'truncated' else 0]
        for _ in range({'one bit': 1, 'ten bits': 10}.get(how, 0)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
    return f'{path.relative_to(folder)} {how} (checkpoints {steps})'


def damaged(server, sources, folder, how, count, expected, draw):
    """A row on `count` runs that go on after a damage of one kind."""
    row = {'case': f'damage: {how}', 'tried': 0, 'lost': 0, 'what': []}
    for number in range(count):
        case = draw.choice(sorted(sources))
        run = folder / f'damaged-{how.replace(" ", "-")}-{number}'
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(sources[case], run)
        what = damage(run, how, draw)
        server.finish(case, run)
        row['tried'] += 1
        row['lost'] += end_of(run) != expected[case]
        row['what'].append(f'{case}: {what}')
    return row
