r"""Which pretrained network, on my data? Compares networks by what they give a linear head.

    python scripts/compare.py --config=configs/finetune.py --workdir=runs/networks \
        --inits=hf://ORG/A,hf://ORG/B,glyphs --config.data.source=folder:PATH

Every network is frozen and run once over the data: nothing is fine-tuned. On its features stand
LogME (You et al. 2021) and a linear probe, whose penalty is chosen on validation; the network with
the best probe on validation is chosen, and the others are compared with it on the same test
examples, with intervals that hold together. Beside them stand parameters, FLOPs, latency, licence
and parity with the original library. `random:INIT` among the names is the same network without
its weights: what the data alone give.

Writes comparison.html and comparison.json. Of the config its data and its options of the network
are used; `init`, `freeze` and whatever concerns training are not. All names are tried before
anything is computed.
"""

import pathlib
import re
import shlex
import sys

from absl import flags

from ftjax.cli import launch

CONFIG = launch.define_config('configs/finetune.py')
WORKDIR = launch.define_workdir()
INITS = flags.DEFINE_list('inits', None, 'Networks: what config.init takes, with commas between.')
flags.mark_flag_as_required('inits')
PARITY = pathlib.Path(__file__).resolve().parents[1] / 'results' / 'parity' / 'table.json'


def main():
    from ftjax.ablation.networks.network_page import network_text
    from ftjax.ablation.networks.network_ranking import check_networks, compare_networks
    from ftjax.config import plain, read_config
    from ftjax.data import load_data
    from ftjax.data.audit.overview import overview
    from ftjax.io.files.atomic import read_json
    from ftjax.io.files.lock import run_lock

    values = plain(CONFIG.value)
    values.pop('ablation', None)
    inits = [init.strip() for init in INITS.value or ()]
    data = load_data(read_config(values).data)
    print(overview(data), flush=True)
    check_networks(values, inits, data)
    folder = pathlib.Path(WORKDIR.value)
    with run_lock(folder):
        parity = read_json(PARITY) if PARITY.exists() else ()
        found = compare_networks(values, inits, data, parity=parity)
        write(folder, found, data)
    print(f'\n{network_text(found)}\n\nWhy: {folder / "comparison.html"}')


def write(folder, found, data):
    """comparison.json and comparison.html."""
    from ftjax.ablation.networks.network_page import network_page
    from ftjax.data.audit.overview import findings, sizes
    from ftjax.io.files.atomic import to_jsonable, write_json, write_text
    from ftjax.io.process.provenance import command_line, provenance

    made = to_jsonable({'command': command_line(), **provenance()})
    found = to_jsonable(found)
    write_json(folder / 'comparison.json', {**found, 'provenance': made})
    given = [word for word in sys.argv[1:] if re.match(r'--?config(\.(?!init=)[^=]+)?=', word)]
    words = ['python', 'scripts/advise.py', f'--workdir={folder / "advice"}', *given]
    command = shlex.join([*words, f'--config.init={found["choice"]}'])
    told = (sizes(data), *findings(data))
    page = network_page(found, data=told, command=command, provenance=made)
    write_text(folder / 'comparison.html', page)


if __name__ == '__main__':
    launch.run(main)
