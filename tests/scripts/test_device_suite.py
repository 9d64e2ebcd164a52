"""The device suite, rehearsed on a CPU: every section writes what it measures."""

import json
import os
import re
import subprocess
import sys
import types

import numpy as np
import pytest

SECTIONS = (
    *('smoke', 'vision_steps', 'vision_frozen', 'language_steps', 'resnet_steps'),
    *('stored_features', 'jpeg_input', 'compiler_flags'),
)


def test_every_section_is_rehearsed_and_has_its_place_on_the_page(repository, page):
    source = (repository / 'scripts' / 'device_suite.py').read_text()
    run = re.findall(r"(?m)^    '(\w+)': \d+,$", source)
    assert sorted(run) == sorted(SECTIONS) == sorted(name for name, _ in page.SECTIONS)


@pytest.fixture
def page(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / 'scripts'))
    from benchmarks.device import page

    return page


def test_the_page_says_what_was_not_measured_and_why_a_section_ended(page, tmp_path):
    rows = [
        {'row': 'ViT full', 'kind': 'own', 'ftjax_ms': 39.4, 'peak_GiB': None},
        {'row': 'ViT full', 'kind': 'beside', 'eager_ms': 48.2, 'eager_spread': [1.1, 1.2]},
    ]
    found = {'rows': rows, 'left_out': ['timm: not there'], 'ended': 'out of time after 9 s'}
    (tmp_path / 'vision_steps.json').write_text(json.dumps(found))
    (tmp_path / 'notes.md').write_text('## By hand\n')
    page.write(tmp_path)
    text = (tmp_path / 'gpu.md').read_text()
    assert '| ViT full | 39.4 |' in text and '| ViT full | 48.2 | 1.1 .. 1.2 |' in text
    assert 'peak' not in text.split('##')[2]
    assert 'timm: not there' in text and 'ended: out of time after 9 s' in text
    assert text.count('Not measured.') == len(page.SECTIONS) - 1
    assert text.rstrip().endswith('## By hand')
    assert json.loads((tmp_path / 'gpu.json').read_text())['sections']['vision_steps'] == found


def test_a_section_leaves_its_rows_on_disk_as_they_come(repository, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(repository / 'scripts'))
    from benchmarks.device.report import Section

    section = Section('some', tmp_path, 5.0)
    section.row(row='first', kind='own', ms=1.0)
    assert json.loads((tmp_path / 'some.json').read_text())['rows'] == [
        {'row': 'first', 'kind': 'own', 'ms': 1.0}
    ]
    section.leave_out('second', 'no time')
    assert json.loads((tmp_path / 'some.json').read_text())['left_out'] == ['second: no time']


def test_flags_of_the_compiler_are_known_or_refused_with_a_reason(
    repository, monkeypatch, tmp_path
):
    monkeypatch.syspath_prepend(str(repository / 'scripts'))
    from benchmarks.device import compiler_flags
    from benchmarks.device.report import Section

    refused = [options for options in compiler_flags.CANDIDATES if compiler_flags.refusal(options)]
    assert len(refused) < len(compiler_flags.CANDIDATES) / 2, refused
    assert 'No such compile option' in compiler_flags.refusal({'xla_gpu_no_such_flag': True})
    assert compiler_flags.refusal({'xla_gpu_autotune_level': 'much'})
    compiler_flags.run(Section('flags', tmp_path, 5.0), tiny=False)
    found = json.loads((tmp_path / 'flags.json').read_text())
    assert not found['rows'] and found['left_out'] == ['flags of the GPU compiler: no GPU']


def test_programs_are_the_same_wherever_they_were_asked_for(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / 'scripts'))
    import jax
    from benchmarks.device.compiler_flags import instructions

    def made(function):
        return types.SimpleNamespace(program=jax.jit(function).lower(np.ones(3)).compile())

    one, like_it = made(lambda x: jax.numpy.sin(x) + 1), made(lambda x: jax.numpy.sin(x) + 1)
    another = made(lambda x: jax.numpy.sin(x) - 1)
    assert instructions(one) and not [line for line in instructions(one) if 'metadata' in line]
    assert instructions(one) == instructions(like_it) != instructions(another)


def test_tokens_of_logits_are_counted_without_the_kernel(decoder_steps):
    kernels = 'f32[32,250] bf16[250,32]{1,0} s32[4,512]'
    assert decoder_steps.tokens_of_logits(kernels, 250, 32) == 0
    held = kernels + ' f32[4,256,250] bf16[7,250]{0,1}'
    assert decoder_steps.tokens_of_logits(held, 250, 32) == 1024


@pytest.fixture
def decoder_steps(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / 'scripts'))
    from benchmarks.device import decoder_steps

    return decoder_steps


def following(logits, ids, by=1):
    """Mean cross-entropy of the tokens that follow, as transformers defines it."""
    logits = np.asarray(logits, np.float64)[:, : ids.shape[1] - by]
    total = np.log(np.exp(logits).sum(-1))
    picked = np.take_along_axis(logits, ids[:, by:, None], -1)[..., 0]
    return float((total - picked).mean())


@pytest.mark.slow
def test_the_decoder_step_scores_tokens_and_never_holds_all_logits(decoder_steps):
    import jax

    from ftjax.models.layers.token_scores import CHUNK, SCORES

    steps = decoder_steps.own_side(tiny=True)
    shape, vocabulary, batch, time = decoder_steps.sizes(tiny=True)
    network, variables = steps.network, steps.phase_state.variables
    inputs = {name: np.asarray(array[0]) for name, array in steps.rest[0]['inputs'].items()}
    outputs = jax.eval_shape(network.apply, variables, inputs)
    assert outputs.shape == (batch, time, SCORES)
    held = decoder_steps.tokens_of_logits(steps.program.as_text(), vocabulary, shape['width'])
    assert 0 < held <= CHUNK < batch * time
    # Without targets the head makes all logits, and the count says so.
    del inputs['targets']
    every = jax.jit(network.apply).lower(variables, inputs).compile()
    text = every.as_text()
    assert decoder_steps.tokens_of_logits(text, vocabulary, shape['width']) == batch * time
    logits, ids = every(variables, inputs), inputs['input_ids']
    right, wrong = following(logits, ids), following(logits, ids, by=2)
    steps.steps(1)
    assert abs(steps.losses[0] - right) < 0.1 * abs(wrong - right)


@pytest.mark.slow
@pytest.mark.torch
def test_the_other_side_of_the_decoder_has_the_same_tokens_and_loss(decoder_steps):
    import torch

    torch.manual_seed(0)
    shape, vocabulary, batch, time = decoder_steps.sizes(tiny=True)
    ids = decoder_steps.made_ids(vocabulary, batch, time)
    given = decoder_steps.training_batch(ids)
    side = decoder_steps.peft_llama(shape, vocabulary, ids)
    np.testing.assert_array_equal(side.batch['ids'].numpy(force=True), given['inputs']['input_ids'])
    with torch.no_grad(), torch.autocast(side.device, torch.bfloat16):
        loss = float(side.loss(side.model, side.batch))
        logits = side.model(input_ids=side.batch['ids']).logits.float().numpy(force=True)
    right, wrong = following(logits, ids), following(logits, ids, by=2)
    assert abs(loss - right) < 0.1 * abs(wrong - right)
    # Ours is the mean over what mask and labels ask for: the same tokens at the same places.
    asked = given['mask'] > 0
    assert asked.sum() == batch * (time - 1)
    np.testing.assert_array_equal(given['labels'][..., 0][asked], ids[:, 1:].ravel())
    np.testing.assert_array_equal(given['inputs']['targets'][asked], ids[:, 1:].ravel())


def smoke(rows):
    (row,) = rows
    assert row['passed'] == 6 and set(row) <= {'row', 'kind', 'passed', 'skipped'}


def language(rows):
    (decoder,) = (row for row in rows if row['row'].startswith('Llama'))
    assert decoder['peft_ms'] > 0 and decoder['tokens_of_logits'] == 1024


def resnet(rows):
    assert [row['row'] for row in rows] == [f'ResNet-50 {s}' for s in ('full', 'last:2', 'head')]
    assert all(row['ftjax_ms'] > 0 for row in rows)


def flags(rows):
    timed, unknown = rows
    assert timed['flag_over_ftjax'] > 0 and timed['loss_gap'] < 1e-5
    assert timed['program'] == 'the same'  # a flag of the GPU compiler, on a CPU
    assert 'No such compile option' in unknown['said']


EXPECTED = {
    'smoke': smoke,
    'language_steps': language,
    'resnet_steps': resnet,
    'compiler_flags': flags,
}


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize('name', SECTIONS)
def test_tiny_sections_run_on_a_cpu(repository, tmp_path, name):
    environment = {
        **os.environ,
        'FTJAX_PYTHON': sys.executable,
        'FTJAX_WHEELS': str(tmp_path / 'none'),
        'TORCHDYNAMO_DISABLE': '1',
        'JAX_PLATFORMS': 'cpu',
        'FTJAX_REHEARSE': '1',
    }
    command = ['bash', 'scripts/device_suite.sh', str(tmp_path / 'out'), '--tiny']
    done = subprocess.run(
        [*command, f'--sections={name}', '--limit=1500'],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    found = json.loads((tmp_path / 'out' / f'{name}.json').read_text())
    assert done.returncode == 0 and found.get('finished'), done.stdout + done.stderr
    assert found['rows']
    assert not [row for row in found['rows'] if row['kind'] == 'failed']
    # What is not measured is what is not installed, never a mistake in a side.
    assert all('ModuleNotFoundError' in text for text in found['left_out']), found['left_out']
    EXPECTED.get(name, lambda rows: None)(found['rows'])
    assert 'TINY SIZES' in (tmp_path / 'out' / 'gpu.md').read_text()
