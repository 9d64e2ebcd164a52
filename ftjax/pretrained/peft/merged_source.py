"""The tensors of a network with an adapter of PEFT merged into them, as they are read."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Mapping

import numpy as np

from ftjax.errors import UserError
from ftjax.pretrained.live_names import renamed
from ftjax.pretrained.peft.adapter_folder import AdapterFolder
from ftjax.pretrained.peft.merging import FIRST, Shape, fits, with_ia3, with_lora, with_oft
from ftjax.pretrained.readers import TensorSource
from ftjax.pretrained.readers.tensor_source import Header

START = 'base_model.model.'
MERGED, BROUGHT = 'merged with its adapter', 'brought by its adapter'
PART = re.compile(
    r'(.+)\.(lora_[AB]\.weight|lora_embedding_[AB]|lora_magnitude_vector|oft_R\.weight|ia3_l)'
    r'(?:\.weight)?'
)
OTHER_PART = re.compile(r'\.(lora|oft|ia3|boft|vera|adalora)_\w')


class MergedSource(TensorSource):
    """The base's tensors under the base's names; adapted ones are merged, in float32.

    `whole` are the names of those that the adapter brings along: trained heads, norms, biases, and
    tables of embeddings, which may be adapted too.
    """

    def __init__(self, base: TensorSource, adapter: AdapterFolder, family: str):
        self.path = base.path
        self._base, self._adapter, self._tensors = base, adapter, adapter.open()
        self._family = family
        names = LiveNames(base.names, family)
        self._merged: dict[str, dict[str, str]] = collections.defaultdict(dict)
        self.whole: dict[str, str] = {}
        for name in self._tensors.names:
            for at, part in self._placed(name, names):
                place, key = (self._merged[at], part) if part else (self.whole, at)
                if key in place:
                    raise UserError(
                        f'{self._tensors.path}: {place[key]} and {name} are both for {at}'
                    )
                place[key] = name
        if not (self._merged or self.whole):
            raise UserError(f'{self._tensors.path}: no tensor of an adapter is in it')
        whole = {at: self._tensors.headers[name] for at, name in self.whole.items()}
        self.headers = {**base.headers, **whole}
        for at in self._merged:
            self._check(at)
            self.headers[at] = Header(np.dtype(np.float32), self.shape(at))

    def _placed(self, tensor: str, names: LiveNames) -> Iterator[tuple[str, str]]:
        """(name in the base, part of the adapter or '') that a tensor of the adapter acts on."""
        name = tensor.removeprefix(START)
        found = PART.fullmatch(name)
        if found is None:
            if OTHER_PART.search(name):
                raise UserError(f'{self._tensors.path}: tensor {name} is of no known kind')
            if '.original_module.' in name:  # what a module was before it trained
                return
            name = re.sub(r'\.modules_to_save\.(default\.)?|\.base_layer\.', '.', name)
            yield names.of(name) or name, ''
            return
        module, part = found.groups()
        at = names.of(f'{module}.weight')
        if at is None:
            raise UserError(
                f'{self._tensors.path}: the adapter acts on {module}, which the network in '
                f'{self._base.path} has not; is that the network it was trained on?'
            )
        yield at, part
        bias = names.of(f'{module}.bias')
        if part == 'ia3_l' and bias and self._tensors.shape(tensor)[1:] == (1,):
            yield bias, part

    def _check(self, at: str) -> None:
        """UserError where the parts of a layer do not make one, or do not fit its weights."""
        parts, shape = self._merged[at], self.shape(at)
        for first, second in FIRST.items():
            if (first in parts) != (second in parts):
                raise UserError(
                    f'{self._tensors.path}: of {at} one of {first} and {second} is missing'
                )
        if self._adapter.fields.get('use_dora') and 'lora_magnitude_vector' not in parts:
            raise UserError(f'{self._tensors.path}: {at} has no lora_magnitude_vector of DoRA')
        shapes = {part: self._tensors.shape(name) for part, name in parts.items()}
        if not fits(shape[::-1] if self._is_turned(shape, shapes) else shape, shapes):
            raise UserError(
                f'{self._tensors.path}: {at} has shape {shape} in the network, which does not go '
                f'with {", ".join(f"{part} {found}" for part, found in shapes.items())}'
            )

    def _made(self, at: str, weight: np.ndarray) -> np.ndarray:
        """What the adapter makes of a tensor of the base."""
        fields, names = self._adapter.fields, self._merged[at]
        tensors = {part: self._tensors.read(name) for part, name in names.items()}
        tensors = {part: tensor.astype(np.float32) for part, tensor in tensors.items()}
        turned = self._is_turned(weight.shape, {part: x.shape for part, x in tensors.items()})
        weight = weight.T if turned else weight
        if 'ia3_l' in tensors:
            made = with_ia3(weight, tensors['ia3_l'])
        elif 'oft_R.weight' in tensors:
            made = with_oft(weight, tensors['oft_R.weight'], fields)
        else:
            made = with_lora(weight, tensors, self._alpha(names), fields)
        return made.T if turned else made

    def _is_turned(self, shape: Shape, parts: Mapping[str, Shape]) -> bool:
        """Whether the layer is a Conv1D of transformers: (inputs, outputs)."""
        if len(shape) != 2 or 'lora_embedding_A' in parts:
            return False
        if shape[0] != shape[1]:  # then the shapes tell
            if 'lora_B.weight' in parts:
                return parts['lora_B.weight'][:1] == shape[1:]
            if 'ia3_l' in parts:
                return parts['ia3_l'] in ((shape[1], 1), (1, shape[0]))
        return bool(self._adapter.fields.get('fan_in_fan_out')) or self._family == 'gpt2'

    def _alpha(self, names: Mapping[str, str]) -> float:
        """That of a layer: of the first pattern that its module's name ends with, as in PEFT."""
        fields = self._adapter.fields
        found = PART.fullmatch(next(iter(names.values())).removeprefix(START))
        assert found is not None
        for pattern, alpha in (fields.get('alpha_pattern') or {}).items():
            if re.match(rf'(.*\.)?({pattern})$', found[1]):
                return float(alpha)
        return float(fields.get('lora_alpha', 8))

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the tensors that are not the base's."""
        return tuple({**self._merged, **self.whole})

    def file_of(self, name: str) -> str:
        # As if the base had been saved merged: what comes along has a place in its files.
        return self._base.file_of(name if name in self._base.headers else self._base.names[-1])

    def change_of(self, name: str) -> str:
        return MERGED if name in self._merged else BROUGHT if name in self.whole else ''

    def read(self, name: str) -> np.ndarray:
        whole = self.whole.get(name)
        found = self._base.read(name) if whole is None else self._tensors.read(whole)
        return self._made(name, found.astype(np.float32)) if name in self._merged else found


class LiveNames:
    """From names in a live model to those of tensors in a file.

    A file may lack the first parts of the names, or have more of them.
    """

    def __init__(self, names: tuple[str, ...], family: str):
        # Adapters that were made with transformers 4 have the names in files.
        self._exact = {name: name for name in names}
        self._exact |= {renamed(family, name): name for name in names}

    def of(self, live: str) -> str | None:
        """The tensor in the file; None where there is none, or not one alone."""
        if live in self._exact:
            return self._exact[live]
        found = [
            name
            for other, name in self._exact.items()
            if live.endswith(f'.{other}') or other.endswith(f'.{live}')
        ]
        return found[0] if len(set(found)) == 1 else None
