"""Writes a finished run's network for PyTorch: a folder that transformers opens.

    python scripts/train.py --config=configs/quickstart_train.py --workdir=runs/lora \
        --config.init=glyphs_cls --config.freeze=lora:8
    python scripts/export_weights.py --workdir=runs/lora --output=exports/merged
    python scripts/export_weights.py --workdir=runs/lora --output=exports/lora --adapters=peft

A run that began with --config.init=hf://ORG/NAME is exported in the same way. Of the shipped
networks `glyphs` and `docstrings` pool by a mean, which transformers has no class for: they are
refused.

The folder holds safetensors, config.json with the classes' names, preprocessor_config.json or
the tokenizer, and a model card. `transformers.AutoModelFor...from_pretrained(FOLDER)` opens
it with the same logits. Adapters are merged into the weights; with `--adapters=peft` LoRA and
IA3 are written in PEFT's own format instead, for `peft.PeftModel.from_pretrained`.

    python scripts/export_weights.py --workdir=runs/lora --output=exports/hub --push_to_hub=ORG/NAME

also uploads the folder, card and plan included. A repository that this makes is private unless
--public says otherwise; one that exists stays as visible as it is. The token is huggingface_hub's.
"""

import pathlib

from absl import flags

from ftjax.cli import launch

WORKDIR = launch.define_workdir()
PARTS = launch.define_own_parts()
OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder to make; not there yet, or empty.', required=True
)
FORMAT = flags.DEFINE_enum('format', 'hf', ['hf'], 'Of the folder: hf, as transformers has it.')
DTYPE = flags.DEFINE_enum(
    'dtype', 'source', ['source', 'float32'], 'Of what trained: as in the source, or as trained.'
)
PUSH = flags.DEFINE_string(
    'push_to_hub', '', 'ORG/NAME of the hub to upload the folder to as well; needs a token.'
)
PUBLIC = flags.DEFINE_bool('public', False, 'Whether a repository that this makes is public.')
ADAPTERS = flags.DEFINE_enum('adapters', 'merged', ['merged', 'peft'], 'What becomes of adapters.')


def main():
    from ftjax.export.weights import export_weights
    from ftjax.io.identity.own_parts import restore
    from ftjax.io.process.provenance import command_line

    restore(pathlib.Path(WORKDIR.value), PARTS.value)
    folder = export_weights(
        WORKDIR.value,
        OUTPUT.value,
        adapters=ADAPTERS.value,
        dtype=DTYPE.value,
        command=command_line(),
        push_to=PUSH.value,
        private=not PUBLIC.value,
    )
    for file in sorted(path for path in folder.rglob('*') if path.is_file()):
        print(f'{file.stat().st_size:>14,}  {file}')
    if PUSH.value:
        print(f'pushed to hf://{PUSH.value}')


if __name__ == '__main__':
    launch.run(main)
