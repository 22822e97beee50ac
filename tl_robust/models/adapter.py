"""PEFT's LoRA adapters, merged into the tensors of their base by the formula; peft itself is not needed.

``W + s B A`` with ``s = alpha / r`` (Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022,
section 4.1), or ``s = alpha / sqrt(r)`` (Kalajdzievski, "A rank stabilization scaling factor for fine-tuning with
LoRA", 2023).

Axes: R rank, O outputs, I inputs, h and w the kernel of a convolution.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tl_robust.errors import DataError
from tl_robust.models.checkpoint_file import Entry, entries
from tl_robust.models.folders import read_json
from tl_robust.text import first_few

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
PLAIN = {  # options that change nothing once the tensors are there
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core",
    "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision",
    "target_modules", "task_type", "use_rslora",
}  # fmt: skip
STARTS = (True, False, None, "gaussian", "orthogonal")  # ways to draw A and B that leave the base as it is


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter.

    Attributes:
        folder: Where its files lie.
        rank: R, and of modules that fit a pattern instead.
        alpha: Likewise.
        rslora: ``s`` divides by the root of R.
        transposed: The base's weights are ``[I,O]``.
        heads: Names of modules that it replaces as a whole.
        base: What it says it was trained on; empty where it does not.
    """

    folder: Path
    rank: tuple[float, Mapping[str, float]]
    alpha: tuple[float, Mapping[str, float]]
    rslora: bool
    transposed: bool
    heads: tuple[str, ...]
    base: str

    @classmethod
    def read(cls, folder: Path) -> Adapter:
        """The adapter of a folder; its tensors are not read yet.

        Raises:
            DataError: It is of another kind, has an unknown option, or is damaged.
        """
        said = read_json(folder / CONFIG)
        where = f"adapter {folder}"
        if said.get("peft_type") != "LORA":
            raise DataError(f"{where} has peft_type {said.get('peft_type')!r}: only 'LORA' can be merged.")
        if (bias := said.get("bias", "none")) != "none":
            raise DataError(f"{where} has bias {bias!r}: only adapters with bias 'none' can be merged.")
        for option, value in said.items():
            if option not in {*PLAIN, "bias"} and value:
                raise DataError(f"{where} has the option {option!r} ({str(value)[:60]}), which is not known here.")
        if (start := said.get("init_lora_weights")) not in STARTS:
            raise DataError(
                f"{where} has init_lora_weights {start!r}, which changes its base: convert it to plain LoRA."
            )
        if not (folder / TENSORS).is_file():
            raise DataError(f"{where} has no {TENSORS}: save it in this format.")
        heads = said.get("modules_to_save") or []
        if not isinstance(heads, list) or not all(isinstance(head, str) and head for head in heads):
            raise DataError(f"{where} has modules_to_save {heads!r}: expected a list of names.")
        return cls(
            folder,
            _numbers(said, "r", "rank_pattern", where),
            _numbers(said, "lora_alpha", "alpha_pattern", where),
            bool(said.get("use_rslora")),
            bool(said.get("fan_in_fan_out")),
            tuple(heads),
            str(said.get("base_model_name_or_path") or ""),
        )

    @property
    def digest(self) -> str:
        """SHA-256 of its two files, for the key of what is made with it."""
        digests = [hashlib.sha256((self.folder / name).read_bytes()).digest() for name in (CONFIG, TENSORS)]
        return hashlib.sha256(b"".join(digests)).hexdigest()

    def merged(
        self, base: Mapping[str, Entry], stack: ExitStack, renamed: Callable[[str], str] = str
    ) -> dict[str, Entry]:
        """The tensors of the base with the adapter in them.

        Args:
            base: Tensors of the base by name.
            stack: Keeps the adapter's file open until they are read.
            renamed: What the network calls a tensor that the adapter names.

        Raises:
            DataError: The adapter does not fit the base, lacks a head that it declares, or is damaged.
        """
        try:
            own = entries(self.folder / TENSORS, stack)
        except Exception as error:
            raise self._error(f"cannot be read ({str(error).splitlines()[0]}): replace the damaged file") from error
        foreign = [name for name in own if not name.startswith(PREFIX)]
        if foreign:
            raise self._error(f"has tensors that peft does not name so ({first_few(foreign, 3)})")
        parts = {name.removeprefix(PREFIX): entry for name, entry in own.items()}
        lows = {name for name in parts if re.search(r"\.lora_[AB]\.weight$", name)}
        heads, missing = self._heads(parts.keys() - lows)
        if missing:
            raise self._error(f"declares modules_to_save {missing}, but its file has no tensor of that: save it whole")
        result = {
            name: entry
            for name, entry in base.items()
            if not any(name.startswith(f"{head}.") or f".{head}." in name for head in set(heads.values()))
        }
        result |= {renamed(name): parts[name] for name in heads}
        for module in sorted({name.rpartition(".lora_")[0] for name in lows}):
            name = renamed(f"{module}.weight")
            pair = [parts.get(f"{module}.lora_{part}.weight") for part in "AB"]
            if name not in result or None in pair:
                raise self._error(
                    f"changes {module!r}, which {'its base lacks' if None not in pair else 'needs both A and B'}"
                )
            result[name] = self._sum(module, result[name], *pair)  # type: ignore[arg-type]
        return result

    def _heads(self, names: set[str]) -> tuple[dict[str, str], list[str]]:
        """The module of each whole tensor, and the declared modules of which there is none."""
        found: dict[str, str] = {}
        for name in sorted(names):
            for head in self.heads:
                if place := re.search(rf"(^|\.){re.escape(head)}\.", name):
                    found[name] = name[: place.end() - 1]
        if rest := names - found.keys():
            raise self._error(f"has tensors that are no LoRA and no modules_to_save ({first_few(sorted(rest), 3)})")
        told = set(found.values())
        return found, [head for head in self.heads if not any(f".{name}".endswith(f".{head}") for name in told)]

    def _sum(self, module: str, base: Entry, a: Entry, b: Entry) -> Entry:
        rank, alpha = (_fitting(module, *numbers) for numbers in (self.rank, self.alpha))
        scale = alpha / (math.sqrt(rank) if self.rslora else rank)
        if a.shape[:1] != (rank,) or b.shape[1:2] != (rank,):
            raise self._error(f"has matrices {list(b.shape)} and {list(a.shape)} for {module!r}, not of rank {rank:g}")
        linear = len(base.shape) == len(a.shape) == len(b.shape) == 2
        shape: tuple[int, ...] = (b.shape[0], *a.shape[1:])
        shape = shape[::-1] if linear and self.transposed else shape
        if not (linear or (len(base.shape) == len(a.shape) == 4 and b.shape[2:] == (1, 1))) or shape != base.shape:
            raise self._error(
                f"changes {module!r} by a tensor {list(shape)}, but its base has {list(base.shape)} there"
            )
        return Entry(base.shape, base.dtype, partial(_plus, base, a, b, scale, linear and self.transposed))

    def _error(self, what: str) -> DataError:
        return DataError(f"adapter {self.folder} {what}.")


def _plus(base: Entry, a: Entry, b: Entry, scale: float, transposed: bool) -> Tensor:
    low_RI, high_OR = a.read().float(), b.read().float().flatten(1)
    change = torch.einsum("or,r...->o...", high_OR, low_RI) * scale
    return base.read().float() + (change.T if transposed else change)


def _fitting(module: str, usual: float, patterns: Mapping[str, float]) -> float:
    """The number of the first pattern that a module's name ends with, as peft looks for it."""
    fits = (number for pattern, number in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", module))
    return next(fits, usual)


def _numbers(said: Mapping[str, Any], key: str, patterns: str, where: str) -> tuple[float, Mapping[str, float]]:
    usual, special = said.get(key, 8), said.get(patterns) or {}
    try:
        if not isinstance(special, dict):
            raise TypeError
        for pattern in special:
            re.compile(pattern)
        for number in (usual, *special.values()):
            if type(number) not in (int, float) or not number > 0:
                raise TypeError
    except (TypeError, re.error) as error:
        raise DataError(f"{where} has {key} {usual!r} and {patterns} {special!r}: expected numbers above 0.") from error
    return usual, special
