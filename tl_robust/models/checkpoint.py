"""Public checkpoints: files or torchvision's weights, read without running pickled code, to full state dicts.

The names in a file are matched with the network's in every one of these ways, and the way that fills the most tensors
of the network is taken, on ties the first:

1. with no renaming, then with the network's ``ALIASES`` (with ``rename`` alone, where it is given);
2. as they stand, then without what ``torch.compile`` and sharding put between the parts (``_orig_mod`` and the like);
3. with no prefix removed from the file's names, then without one made of ``module``, ``model``, ``network`` and the
   like, in any order and up to eight deep, the shortest first;
4. with no prefix added to them, then with one of that kind that the network's names have.

Prefixes are removed before, and added after renaming. Nothing is left out: a tensor that is missing, has no place or
has another shape is an error, so that a network never starts from half a checkpoint.
"""

from __future__ import annotations

import hashlib
import itertools
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tl_robust.errors import DataError
from tl_robust.models.base import Normalize
from tl_robust.models.checkpoint_file import OBJECTS, TORCH, Entry, entries, of_tensors

WRAPPERS = frozenset(  # parts of names that say where a network stood, not what is in it
    {"module", "model", "network", "net", "backbone", "encoder", "_orig_mod", "_forward_module"}
)
INNER = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
DEEP, WAYS = 8, 32  # parts of a prefix, and prefixes that are tried
KINDS = f"a file ending in .safetensors, .npz, {', '.join(TORCH[:-1])} or {TORCH[-1]}"
NAMED = "the name of torchvision weights such as ResNet18_Weights.IMAGENET1K_V1"


def load_checkpoint(
    where: str, root: Path, network: nn.Module, rename: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """A full state dict for ``network`` from a public checkpoint.

    Args:
        where: A file, absolute or relative to ``root``, or the name of torchvision weights, which are downloaded into
            torch's hub folder once.
        root: Folder of the data.
        network: Says which names, shapes and types are wanted; not changed, and may be on the meta device.
        rename: Prefixes of the file's names and what they are in the network, in place of the network's ``ALIASES``.
            A prefix ends at a dot or with the name; ``""`` fits every name; the longest that fits counts.

    Returns:
        One tensor on the CPU, with memory of its own, for every name of ``network.state_dict()``, in its order. Numbers
        have the network's type. Counters ``num_batches_tracked`` that the file lacks are 0.

    Raises:
        DataError: The file is missing, damaged or of another kind, does not fit the network exactly, or holds values
            that are not finite.
    """
    if _is_name(where):
        _check_normalization(where, network)
    with ExitStack() as stack:
        given, own = _entries(where, root, stack), network.state_dict()
        aliases = getattr(network, "ALIASES", {})
        places = _places(list(given), own, [{}, aliases] if rename is None else [rename])
        _check_fit(where, network, given, own, places)  # by what the file declares, before memory is taken
        with _readable(where, root):
            state = {
                name: _own_memory(given[places[name]].read(), value.dtype)
                if name in places
                else torch.zeros(value.shape, dtype=value.dtype, device="cpu")
                for name, value in own.items()
            }
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    if broken:
        raise DataError(f"checkpoint {where!r} holds values that are not finite ({_some(broken)}): use an intact file.")
    return state


def checkpoint_digest(where: str, root: Path) -> str:
    """What a checkpoint is, for a key: 64 hexadecimal digits.

    Args:
        where: As for :func:`load_checkpoint`.
        root: Folder of the data.

    Returns:
        SHA-256 of the file, or of name and URL of torchvision weights: the URL carries a hash of the file, which is
        checked when it is loaded. Nothing is downloaded.

    Raises:
        DataError: No such file or weights.
    """
    if _is_name(where):
        return hashlib.sha256(f"{where}\n{_weights(where).url}".encode()).hexdigest()
    path = _path(where, root)
    try:
        return _sha256(path)
    except OSError as error:
        raise DataError(f"checkpoint {path} cannot be read ({_cause(error)}): make it readable.") from error


def _entries(where: str, root: Path, stack: ExitStack) -> dict[str, Entry]:
    if _is_name(where):
        return of_tensors(_fetched(where))
    path = _path(where, root)
    with _readable(where, root):
        return entries(path, stack)


@contextmanager
def _readable(where: str, root: Path) -> Iterator[None]:
    """One sentence in place of whatever is raised while a file is read; the cause stays attached."""
    try:
        yield
    except Exception as error:
        path = root / where
        raise DataError(
            f"checkpoint {path} cannot be read ({_cause(error)}): expected the tensors of a state dict in the format "
            f"that {path.suffix} says; replace the damaged file, or save the state dict alone."
        ) from error


def _own_memory(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype).clone(memory_format=torch.contiguous_format)


def _check_fit(
    where: str, network: nn.Module, given: Mapping[str, Entry], own: Mapping[str, Tensor], places: Mapping[str, str]
) -> None:
    used = set(places.values())
    misfits = {
        "missing in the file": [
            name for name in own if name not in places and not name.endswith("num_batches_tracked")
        ],
        "no place in the network": [name for name in given if name not in used],
        "other shapes": [
            f"{name}: file {list(given[there].shape)}, network {list(own[name].shape)}"
            for name, there in places.items()
            if given[there].shape != own[name].shape
        ],
        "other types": [
            f"{name}: file {given[there].dtype}, network {own[name].dtype}"
            for name, there in places.items()
            if given[there].dtype.is_floating_point != own[name].is_floating_point()
        ],
    }
    if any(misfits.values()):
        found = "; ".join(f"{what}: {_some(names)}" for what, names in misfits.items() if names)
        raise DataError(
            f"checkpoint {where!r} does not fit network {type(network).__module__.rpartition('.')[2]!r} ({found}): "
            "check the network and its settings, or the number of classes."
        )


def _places(given: list[str], own: Mapping[str, Tensor], renamings: list[Mapping[str, str]]) -> dict[str, str]:
    """The file's name for each name of the network that the best way of matching fills."""
    plain = [_unwrapped(name) for name in given]
    ways = []
    for renaming, names in itertools.product(renamings, [given] if plain == given else [given, plain]):
        for strip, add in itertools.product(_prefixes(names), _prefixes(own)):
            renamed = [add + _renamed(name.removeprefix(strip), renaming) for name in names]
            if len(set(renamed)) == len(given):  # two tensors with one name would hide each other
                ways.append({new: name for new, name in zip(renamed, given, strict=True) if new in own})
    return max(ways, key=len, default={})


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in INNER)


def _prefixes(names: Iterable[str]) -> list[str]:
    """Prefixes of wrappers' names that some names have, and none; the shortest first."""
    found = {""}
    for name in names:
        parts = itertools.takewhile(WRAPPERS.__contains__, name.split(".", DEEP)[:DEEP])
        found.update(itertools.accumulate(f"{part}." for part in parts))
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))[:WAYS]


def _renamed(name: str, renaming: Mapping[str, str]) -> str:
    fitting = [prefix for prefix in renaming if prefix == "" or f"{name}.".startswith(f"{prefix}.")]
    if not fitting:
        return name
    prefix = max(fitting, key=len)
    return ".".join(part for part in (renaming[prefix], name.removeprefix(prefix).lstrip(".")) if part)


def _path(where: str, root: Path) -> Path:
    path = root / where
    if path.suffix not in (".safetensors", ".npz", *TORCH):
        raise DataError(f"checkpoint {where!r} is of no known kind: expected {KINDS}, or {NAMED}.")
    if not path.is_file():
        raise DataError(f"checkpoint {path} not found: expected {KINDS}; check the path, or put the file there.")
    return path


def _is_name(where: str) -> bool:
    return re.fullmatch(r"\w+_Weights\.\w+", where) is not None


def _weights(name: str) -> Any:
    from torchvision import models  # slow to import

    try:
        return models.get_weight(name)
    except (ValueError, KeyError) as error:
        raise DataError(
            f"torchvision has no weights {name!r}: expected a name such as ResNet18_Weights.IMAGENET1K_V1; see "
            "torchvision's list of models and weights."
        ) from error


def _fetched(name: str) -> Any:
    url = str(_weights(name).url)
    cached = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    try:
        digits = torch.hub.HASH_REGEX.search(cached.name)
        if cached.is_file() and digits and not _sha256(cached).startswith(digits[1]):  # torch checks while downloading
            raise DataError("another hash than its name says")
        state = _weights(name).get_state_dict(check_hash=True, progress=False, weights_only=True, map_location="cpu")
        of_tensors(state)
        return state
    except Exception as error:  # of the network, of the disk or of reading
        if cached.is_file():
            what, todo = f"file {cached} cannot be used", "remove it, so that it is downloaded again"
        else:
            what, todo = "they cannot be downloaded", f"check the network, or put {url} into {cached.parent} by hand"
        raise DataError(f"torchvision weights {name!r}: {what} ({_cause(error)}); {todo}.") from error


def _check_normalization(name: str, network: nn.Module) -> None:
    """The weights of torchvision say which mean and spread they expect; the network must normalize with the same."""
    expected, layer = getattr(_weights(name), "transforms", None), getattr(network, "normalize", None)
    if expected is None or not isinstance(layer, Normalize) or layer.mean.is_meta:
        return
    for what, wanted in (("mean", expected().mean), ("std", expected().std)):
        found = getattr(layer, what).flatten().tolist()
        if any(abs(one - other) > 1e-4 for one, other in zip(found, wanted, strict=True)):
            raise DataError(
                f"torchvision weights {name!r} expect images normalized with {what} {list(wanted)}, but the network "
                f"has {[round(value, 4) for value in found]}: use other weights of this network."
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _some(names: Iterable[str]) -> str:
    """Up to five of ``names``, then a count."""
    every = list(names)
    return ", ".join(every[:5]) + (f" and {len(every) - 5} more" if len(every) > 5 else "")


def _cause(error: Exception) -> str:
    text = (str(error).splitlines() or [""])[0].split(". ")[0].rstrip(".")
    if isinstance(error, DataError):
        return text
    if isinstance(error, pickle.UnpicklingError) or "pickle" in text:  # torch and numpy advise to run the code
        return OBJECTS
    if isinstance(error, LookupError | EOFError):  # their texts say nothing to a reader of this message
        return "unexpected content"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
