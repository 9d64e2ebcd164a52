"""The README.md of a bundle: the run's model card, and what the bundle takes and gives."""

from __future__ import annotations

from ftjax.export.model_card import CardFacts, model_card
from ftjax.io.json.json_values import JsonObject
from ftjax.printable import in_markdown
from ftjax.runs.prediction.trained import Trained
from ftjax.serving.bundle.answer_forms.forms import form_of
from ftjax.serving.bundle.signature import Signature

_RAW = {
    'images': "pathlib.Path('image.png').read_bytes()",
    'texts': "'a text'",
    'table': "{'column': 1.0}",
}


def bundle_card(
    trained: Trained,
    signature: Signature,
    files: tuple[JsonObject, JsonObject, JsonObject],
    command: str,
    split: str,
) -> str:
    """The card as Markdown; `files`: config, plan and result; `split`: of goldens and reference."""
    form = form_of(signature)
    usage = [
        *(['import pathlib', ''] if signature.takes == 'images' else []),
        'from ftjax import serving',
        '',
        "bundle = serving.load('FOLDER')  # verifies hashes and golden outputs",
        f'print(bundle.predict([{form.example or _RAW[signature.takes]}]))',
    ]
    card = model_card(
        CardFacts(
            model_class=type(trained.network).__name__,
            config=files[0],
            plan=files[1],
            result=files[2],
            takes=signature.takes,
            library='ftjax',
            usage='\n'.join(usage),
            command=command,
        )
    )
    return card + '\n'.join(['', *sections(signature, split), ''])


_SPLITS = {'val': 'validation', 'test': 'test', 'train': 'training'}


def sections(signature: Signature, split: str) -> list[str]:
    """Inputs, outputs and what the folder holds of the data, as lines of Markdown."""
    rows = [
        f'| {name} | {one.dtype} | (batch, {", ".join(map(str, one.shape))}) '
        f'| {one.low:g} to {one.high:g} | {one.unit} |'
        for name, one in signature.inputs.items()
    ]
    classes = ', '.join(in_markdown(name) for name in signature.class_names[:50])
    decided = (
        form_of(signature).gives
        or {
            'softmax': f'one of {len(signature.class_names)} classes: {classes}',
            'sigmoid': f'any of {len(signature.class_names)} labels: {classes}',
            'none': f'{signature.outputs} numbers an example',
        }[signature.activation]
    )
    lines = ['## Inputs', '', '| array | dtype | shape | range | unit |', '|---|---|---|---|---|']
    lines += [*rows, '', *(f'- {in_markdown(step)}' for step in signature.preprocessing), '']
    lines += ['## Answers', '', f'- {decided}']
    if signature.temperature != 1:
        lines.append(f'- logits are divided by a temperature of {signature.temperature:.4g}')
    if signature.threshold is not None:
        lines.append(f'- answered from a probability of {signature.threshold} on')
    shares = ', '.join(f'{name} {share:g}' for name, share in signature.tolerance.items())
    return [
        *lines,
        '',
        '## What this folder says of the data',
        '',
        f'goldens.safetensors and goldens.json hold examples of the {_SPLITS[split]} split as they '
        'are; '
        'reference.safetensors holds embeddings and ids of some more; run.json holds the config of '
        'the run and what each test example scored. Who gets the folder gets these.',
        '',
        f'Outputs may differ from the goldens by these shares of the largest output: {shares}. '
        'bundle.json says until when JAX promises to run the programs; '
        '`scripts/export.py --refresh` makes them anew.',
    ]
