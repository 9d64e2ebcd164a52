r"""Writes a finished run's network for others: a bundle to deploy, StableHLO, ONNX, or PyTorch.

    python scripts/train.py --config=configs/quickstart_train.py --workdir=runs/digits
    python scripts/export.py --workdir=runs/digits --format=bundle --output=bundles/digits
    python scripts/serve.py --bundle=bundles/digits

`bundle` is a folder that proves itself: programs by jax.export for CPU, CUDA and TPU with any
number of examples a batch, weights beside them, a signature, golden inputs with outputs, reference
statistics of the validation split, a card, and the SHA-256 of every file. `ftjax.serving.load`
opens it with jax and numpy, without flax. What it answers is what the task says: classes, values,
tags and spans of words, masks, vectors, cosines, choices, orders; a language model writes up to
--new_tokens after a beginning, greedy or drawn. A network that guesses hidden tokens has no answer
to a whole text, and is refused. JAX promises to run its programs for six months; then

    python scripts/export.py --refresh --bundle=bundles/digits --output=bundles/digits_new

makes them anew from the weights. `stablehlo` writes the program alone, as text and as portable
bytecode, with its weights. `onnx` writes a model that onnxruntime runs, with signature and goldens,
equal to 1e-5 or not at all; jax2onnx needs an environment of its own, which
scripts/to_onnx/make_environment.sh makes.

`hf` is a folder that transformers opens with the same logits: safetensors, config.json with the
classes' names, preprocessor_config.json or the tokenizer, and a model card.

    python scripts/train.py --config=configs/quickstart_train.py --workdir=runs/lora \
        --config.init=glyphs_cls --config.freeze=lora:8
    python scripts/export.py --workdir=runs/lora --format=hf --output=exports/merged
    python scripts/export.py --workdir=runs/lora --format=hf --output=exports/lora --adapters=peft

A run that began with --config.init=hf://ORG/NAME is exported in the same way. Of the shipped
networks `glyphs` and `docstrings` pool by a mean, which transformers has no class for: they are
refused there. Adapters are merged into the weights; with `--adapters=peft` LoRA, OFT and IA3
are written in PEFT's own format instead, for `peft.PeftModel.from_pretrained`.

    python scripts/export.py --workdir=runs/lora --output=exports/hub --push_to_hub=ORG/NAME

also uploads the folder, card and plan included. A repository that this makes is private unless
--public says otherwise; one that exists stays as visible as it is. The token is huggingface_hub's.
"""

import pathlib

from absl import flags

from ftjax.cli import launch

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a finished run.')
PARTS = launch.define_own_parts()
ALLOW_CODE = launch.define_allow_code_change()
OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder to make; not there yet, or empty.', required=True
)
FORMAT = flags.DEFINE_enum(
    'format', 'hf', ['hf', 'bundle', 'stablehlo', 'onnx'], 'What is written.'
)
REFRESH = flags.DEFINE_bool('refresh', False, "Make a bundle's programs anew from its weights.")
BUNDLE = flags.DEFINE_string('bundle', None, 'The bundle that --refresh begins with.')
DTYPE = flags.DEFINE_enum(
    'dtype', 'source', ['source', 'float32'], 'hf: what trained as in the source, or as trained.'
)
NEW_TOKENS = flags.DEFINE_integer(
    'new_tokens', 64, 'bundle, stablehlo of a language model: tokens that are written at most.'
)
PUSH = flags.DEFINE_string(
    'push_to_hub', '', 'hf: ORG/NAME of the hub to upload the folder to as well; needs a token.'
)
PUBLIC = flags.DEFINE_bool('public', False, 'hf: whether a repository that this makes is public.')
ADAPTERS = flags.DEFINE_enum(
    'adapters', 'merged', ['merged', 'peft'], 'hf: what becomes of adapters.'
)

FOR_FORMATS = {
    'dtype': ('hf',),
    'adapters': ('hf',),
    'public': ('hf',),
    'new_tokens': ('bundle', 'stablehlo'),
}


def main():
    from ftjax.errors import UserError
    from ftjax.serving.bundle.manifest import MANIFEST, manifest_digest

    if REFRESH.value and (BUNDLE.value is None or WORKDIR.value is not None):
        raise UserError('--refresh takes --bundle=OLD, and no --workdir')
    if not REFRESH.value and (BUNDLE.value is not None or WORKDIR.value is None):
        raise UserError('expected --workdir=RUN, or --refresh with --bundle=OLD')
    if PUSH.value and (REFRESH.value or FORMAT.value != 'hf'):
        raise UserError('--push_to_hub uploads what --format=hf writes')
    if REFRESH.value and FORMAT.present and FORMAT.value != 'bundle':
        raise UserError(f'--refresh makes a bundle, and --format is {FORMAT.value}')
    if PUBLIC.value and not PUSH.value:
        raise UserError('--public is for --push_to_hub')
    written = 'refresh' if REFRESH.value else FORMAT.value
    for name, formats in FOR_FORMATS.items():
        if flags.FLAGS[name].present and written not in formats:
            told = f'--{written}' if REFRESH.value else f'--format={written}'
            raise UserError(f'--{name} is for --format={" or ".join(formats)}, not for {told}')
    folder = write(BUNDLE.value or WORKDIR.value or '')
    for file in sorted(path for path in folder.rglob('*') if path.is_file()):
        print(f'{file.stat().st_size:>14,}  {file}')
    if (folder / MANIFEST).exists():
        print(f'sha256 of {MANIFEST}: {manifest_digest(folder)}')
    if PUSH.value:
        print(f'pushed to hf://{PUSH.value}')


def write(source: str) -> pathlib.Path:
    """Writes what was asked for, of a run's folder or a bundle; the folder."""
    import jax

    from ftjax.io.identity.own_parts import restore
    from ftjax.io.process.provenance import command_line

    output, parts, command = OUTPUT.value, PARTS.value, command_line()
    own = {'parts': parts, 'allow_code_change': ALLOW_CODE.value}
    if REFRESH.value or FORMAT.value != 'hf':
        # Kernels that only one platform has must not be inside.
        jax.config.update('jax_platforms', 'cpu')
    if REFRESH.value:
        from ftjax.serving.making.refresh import refresh

        return refresh(source, output, parts=parts)
    if FORMAT.value == 'bundle':
        from ftjax.serving.making.write_bundle import write_bundle

        return write_bundle(source, output, **own, command=command, new_tokens=NEW_TOKENS.value)
    if FORMAT.value == 'stablehlo':
        from ftjax.serving.making.stablehlo import write_stablehlo

        return write_stablehlo(source, output, **own, new_tokens=NEW_TOKENS.value)
    if FORMAT.value == 'onnx':
        from ftjax.serving.making.onnx_folder import write_onnx

        converter = pathlib.Path(__file__).with_name('to_onnx') / 'convert_bundle.py'
        return write_onnx(source, output, converter, **own, command=command)
    from ftjax.export.weights import export_weights

    restore(pathlib.Path(source), parts)
    return export_weights(
        source,
        output,
        adapters=ADAPTERS.value,
        dtype=DTYPE.value,
        command=command,
        push_to=PUSH.value,
        private=not PUBLIC.value,
        allow_code_change=ALLOW_CODE.value,
    )


if __name__ == '__main__':
    launch.run(main)
