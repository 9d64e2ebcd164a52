"""The folder of a run: started, recognised, checked."""

from __future__ import annotations

import pathlib

from ftjax.config import config_differences, read_saved_config
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import Plan
from ftjax.io.files.atomic import read_json, write_json
from ftjax.io.files.owned_files import check_way
from ftjax.io.identity.own_parts import remember
from ftjax.models.registry import options_of
from ftjax.pretrained.own_format import save_description
from ftjax.runs.prediction.how_read import how_read
from ftjax.runs.prepare import Prepared
from ftjax.training.checkpoints.run_identity import FLAG, PlanChange, RunIdentity, saved_identity
from ftjax.training.sweeps.weight_averaging import member_folder

NO_RESULT = ('mesh', 'mesh_rules', 'train.report', 'data.slices')
"""What changes no number: where things lie on the devices, and what is told of them."""


FOLDERS = ('checkpoints', 'model', 'network', 'profile')


PLAN_SECTIONS = ('freeze', 'optimizer', 'schedule', 'train')


def start_folder(
    folder: pathlib.Path,
    prepared: Prepared,
    allow_plan_change: bool = False,
    identity: RunIdentity | None = None,
) -> PlanChange:
    """Writes what is decided before training; refuses a folder that holds another run.

    Where only the plan differs, nothing is written unless that is allowed: the checkpoints
    are looked at first.

    Raises:
      UserError: another run, or one that was made from other inputs.
    """
    change = check_folder(folder, prepared, allow_plan_change)
    saved = saved_identity(member_folder(folder, prepared.plan))
    if saved is not None and identity is not None:
        identity.check(*saved, folder)
    if change.keys and not change.allowed:
        return change
    folder.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:  # a link is refused before the training, not after it
        check_way(folder / name, itself=True)
    write_json(folder / 'config.json', prepared.config.to_json())
    write_json(folder / 'plan.json', prepared.plan.to_json())
    write_json(folder / 'load_report.json', prepared.load_report)
    network, names = prepared.network, prepared.data.class_names
    inputs = how_read(prepared.config.data, prepared.data)
    save_description(folder / 'network', network, prepared.preprocessing, names, {'inputs': inputs})
    # With `init=RUN` the network's parts stand in no config.
    family = prepared.load_report.get('family')
    remember(folder, prepared.config.to_json(), options_of(network), family)
    return change


def check_folder(
    folder: pathlib.Path, prepared: Prepared, allow_plan_change: bool = False
) -> PlanChange:
    """How the config of the run in a folder differs, if there is one; nothing is written.

    Raises:
      UserError: another run, which no change of plan leads to.
    """
    known = folder / 'config.json'
    if not known.exists():
        return PlanChange((), allow_plan_change)
    try:
        before = read_saved_config(read_json(known))
    except UserError as error:
        raise UserError(f'{known}: {error}; choose another --workdir') from error
    keys = [k for k in config_differences(before, prepared.config) if k not in NO_RESULT]
    other = [key for key in keys if key.split('.')[0] not in PLAN_SECTIONS]
    # Where the first run of the new plan goes on: its checkpoints are held against it there.
    checkpoints = member_folder(folder, prepared.plan) / 'checkpoints'
    if other or (keys and not any(checkpoints.glob('[0-9]*'))):
        differs = ', '.join(other or keys)
        raise UserError(
            f'{folder} holds a run of another config ({differs} differs); choose another --workdir'
        )
    if keys and (folder / 'result.json').exists():
        raise UserError(
            f'{folder} holds a finished run of another config ({", ".join(keys)} differs); '
            f'choose another --workdir ({FLAG} is for interrupted runs)'
        )
    return PlanChange(tuple(keys), allow_plan_change)


def write_choices(folder: pathlib.Path, plan: Plan) -> None:
    """plan.json with the phases that choices made, choices.json, and a picture of `by_stage`."""
    from ftjax.plotting.heatmaps import choices_over_time  # few plans choose
    from ftjax.plotting.save import save_figure

    write_json(folder / 'plan.json', plan.to_json())
    write_json(folder / 'choices.json', [choice.to_json() for choice in plan.choices])
    # A strategy of one's own may give no numbers by stage: nothing of it is drawn.
    found = [(c.step, c.evidence['by_stage']) for c in plan.choices if 'by_stage' in c.evidence]
    if found:
        drawn = choices_over_time(found, list(plan.at(0).stages), plan.strategy)
        save_figure(drawn, folder / 'choices.png')
