"""Bundles that were changed, or made to do harm: refused with the reason, before they run."""

import json
import os
import pathlib
import shutil

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from image_requests import objects

from ftjax import serving
from ftjax.errors import UserError
from ftjax.io.files.atomic import read_json, write_json
from ftjax.serving.bundle.exported_programs import read_program
from ftjax.serving.bundle.goldens import read_goldens, write_goldens
from ftjax.serving.bundle.manifest import manifest_digest, write_manifest
from ftjax.serving.bundle.reference import read_reference
from ftjax.serving.making.write_bundle import write_bundle


@pytest.fixture
def copy(images, tmp_path):
    """A bundle that a test may spoil."""
    return pathlib.Path(shutil.copytree(images.bundle, tmp_path / 'bundle'))


def sealed(folder):
    """Writes a manifest that goes with what is there now."""
    (folder / 'bundle.json').unlink()
    write_manifest(folder, {'jax': jax.__version__})


def refused(folder, said, **how):
    with pytest.raises(UserError, match=said):
        serving.load(folder, **how)


def test_a_changed_byte(copy):
    data = bytearray((copy / 'model.safetensors').read_bytes())
    data[-1] ^= 1
    (copy / 'model.safetensors').write_bytes(data)
    refused(copy, r'model.safetensors is not the file that bundle.json names')


def test_a_missing_file_a_longer_one_and_one_that_nobody_named(copy):
    (copy / 'README.md').write_text('short')
    refused(copy, 'README.md has 5 bytes')
    (copy / 'README.md').unlink()
    refused(copy, 'README.md: No such file')
    (copy / 'extra.pkl').write_bytes(b'\x80\x04.')
    refused(copy, "holds 'extra.pkl', which bundle.json does not name")


@pytest.mark.parametrize(
    'name', ['../run/config.json', '/etc/passwd', 'a/b.json', '..', '.hidden.json', 'a\\b.json']
)
def test_paths_out_of_the_folder(copy, name):
    manifest = read_json(copy / 'bundle.json')
    manifest['files'][name] = {'sha256': '0' * 64, 'bytes': 1}
    write_json(copy / 'bundle.json', manifest)
    refused(copy, 'is no name of a file of a bundle')


def test_links_pipes_and_a_pickle_with_its_hash(copy, images):
    target = images.bundle / 'config.json'
    (copy / 'config.json').unlink()
    (copy / 'config.json').symlink_to(target)
    refused(copy, 'config.json is a link')
    (copy / 'config.json').unlink()
    os.mkfifo(copy / 'config.json')
    refused(copy, 'config.json is no plain file')
    (copy / 'config.json').unlink()
    shutil.copy(target, copy / 'config.json')
    (copy / 'weights.pkl').write_bytes(b'\x80\x04.')
    sealed(copy)
    refused(copy, 'weights.pkl is a kind of file that no bundle holds')


@pytest.mark.parametrize('name', ['model', 'goldens', 'reference'])
@pytest.mark.parametrize('save', [np.save, np.savez])
def test_arrays_of_numpy_with_a_pickle_in_place_of_safetensors(copy, name, save):
    (copy / f'{name}.safetensors').write_bytes(objects(save))
    sealed(copy)
    with pytest.raises(UserError, match=f'{name}.safetensors'):
        loaded = serving.load(copy)
        read_reference(copy, loaded.signature)


def test_json_that_is_too_large_too_deep_or_of_other_fields(copy):
    signature = read_json(copy / 'signature.json')
    for changes, said in (
        ({'temperature': 0}, 'temperature is 0'),
        ({'class_names': ['a']}, '1 class names for 3 outputs'),
        ({'activation': 'exec'}, "activation is 'exec'"),
        ({'more': 1}, "unknown .*field 'more'"),
        ({'lengths': [16]}, 'do not go together'),
    ):
        write_json(copy / 'signature.json', {**signature, **changes})
        sealed(copy)
        refused(copy, said)
    (copy / 'signature.json').write_text('[' * 500 + ']' * 500)
    sealed(copy)
    refused(copy, 'nested more than')
    (copy / 'bundle.json').write_text(json.dumps({'format': 'x' * 2**21}))
    refused(copy, 'cannot be read|more than')


def test_another_bundle_than_the_one_asked_for(copy):
    digest = manifest_digest(copy)
    assert serving.load(copy, sha256=digest, goldens=False).digest == digest
    refused(copy, 'not the one asked for', sha256='0' * 64)


def test_a_version_of_the_format_from_the_future(copy):
    write_json(copy / 'bundle.json', {**read_json(copy / 'bundle.json'), 'version': 3})
    refused(copy, 'install a newer one')


def test_outputs_that_are_not_those_of_the_goldens(copy):
    goldens = read_goldens(copy)
    write_goldens(copy, type(goldens)(goldens.inputs, goldens.outputs + 1e-3, goldens.ids))
    sealed(copy)
    refused(copy, 'differ by .* of the largest')
    assert serving.load(copy, goldens=False).class_names == ('ant', 'bee', 'cat')


def test_weights_of_another_network(copy):
    from ftjax.serving.bundle.goldens import read_arrays, write_arrays

    arrays = read_arrays(copy / 'model.safetensors')
    arrays['params/head/dense/bias'] = np.zeros(4, np.float32)
    write_arrays(copy / 'model.safetensors', arrays)
    sealed(copy)
    refused(copy, r'takes float32 \(3,\) as argument')
    del arrays['params/head/dense/bias']
    write_arrays(copy / 'model.safetensors', arrays)
    sealed(copy)
    refused(copy, 'takes other arrays')


def test_a_program_that_is_none_or_calls_back_into_python(copy, tmp_path):
    (copy / 'program.jaxexport').write_bytes(b'\0' * 100)
    sealed(copy)
    refused(copy, 'cannot read it .*--refresh')

    def calls(x):
        return jax.ffi.ffi_call('system', jax.ShapeDtypeStruct((3,), jnp.float32))(x)

    allowed = [jax.export.DisabledSafetyCheck.custom_call('system')]
    export = jax.export.export(jax.jit(calls), disabled_checks=allowed)
    path = tmp_path / 'calls.jaxexport'
    path.write_bytes(bytes(export(jax.ShapeDtypeStruct((3,), jnp.float32)).serialize()))
    with pytest.raises(UserError, match=r'calls code outside XLA \(system\)'):
        read_program(path)


def test_nothing_is_left_where_an_export_fails(images, tmp_path):
    with pytest.raises(UserError, match='is no run folder'):
        write_bundle(tmp_path, tmp_path / 'out')
    with pytest.raises(UserError, match='is there already'):
        write_bundle(images.run, images.bundle)
    assert not (tmp_path / 'out').exists()
