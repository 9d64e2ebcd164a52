r"""Audits the data of a config before anything is trained on them.

    python scripts/audit.py --config=configs/finetune.py --workdir=runs/audit \
        --config.data.source=folder:PATH --fix=clean.csv

Looked for are: copies within and across splits, exact and near; one input under several labels;
likely label errors; classes without examples; broken, dark, blurred, tiny and turned images;
damaged, empty and cut texts; groups in two splits; shifts between splits. WORKDIR gets audit.html,
audit.json and audit.csv. The data are not touched: --fix writes a cleaned index, and
--config.data.exclude=clean.csv leaves out, or labels anew, what it says. Look through it first.
With an exclude already the new index holds what that one says too; an example that it keeps stays
kept.

Near copies, label errors and shifts are also looked for in the features of config.init, unless
--nofeatures.
"""

import os
import pathlib

from absl import flags

from ftjax.cli import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()
FIX = flags.DEFINE_string('fix', None, 'Write a cleaned index there, for config.data.exclude.')
FEATURES = flags.DEFINE_bool('features', True, 'Compare features of the pretrained network too.')


def main():
    from ftjax.io.files.lock import run_lock

    check_fix()
    folder = pathlib.Path(WORKDIR.value)
    with run_lock(folder):  # made before the work, which may take minutes
        audit(folder)


def check_fix():
    """UserError where --fix cannot be written, or is there already."""
    from ftjax.errors import UserError

    if FIX.value is None:
        return
    fix = pathlib.Path(FIX.value)
    if fix.exists():
        raise UserError(f'--fix={fix} exists already; choose another file')
    above = next(place for place in fix.absolute().parents if place.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f'--fix={fix}: {above} is no folder that can be written to')


def audit(folder):
    from ftjax.config import plain, read_config
    from ftjax.data.audit.overview import sizes
    from ftjax.data.audit.quick import leak_line
    from ftjax.data.audit.records import cleaned_index, earlier_records, index_text, with_earlier
    from ftjax.io.files.atomic import write_text
    from ftjax.runs.before_training.audit import audit_data

    values = plain(CONFIG.value)
    values.pop('ablation', None)
    config = read_config(values)
    found = audit_data(config, FEATURES.value)
    found.write(folder)
    print(sizes(found.opened.splits))
    print(leak_line(found.audit) or 'there is no held-out split')
    print('\n'.join(found.lines()) or 'nothing was found')
    print(f'features: {found.source}')
    print(f'{len(found.records):,} rows in {folder / "audit.csv"}; see {folder / "audit.html"}')
    if FIX.value is not None:
        fix = pathlib.Path(FIX.value)
        every = with_earlier(found.records, earlier_records(config.data.exclude))
        write_text(fix, index_text(every))
        actions = [record.action for record in cleaned_index(every)]
        counts = ', '.join(
            f'{name} {actions.count(name):,}' for name in ('drop', 'relabel', 'review')
        )
        print(f'{fix}: {counts}; --config.data.exclude={fix} applies it')


if __name__ == '__main__':
    launch.run(main)
