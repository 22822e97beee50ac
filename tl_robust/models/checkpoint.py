"""Full state dicts from public checkpoints, which are files or torchvision's weights; no pickled code runs.

The names in a file are matched with the network's in every one of these ways, and the way that fills the most tensors
of the network is taken, on ties the first:

1. with no renaming, then with the network's ``ALIASES`` (with ``rename`` alone, where a caller sets it);
2. as they stand, then without the words that ``torch.compile`` and sharding put into them (``_orig_mod`` and the like);
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
from tl_robust.models.adapter import Adapter
from tl_robust.models.base import Normalize, classifier_names, network_name
from tl_robust.models.checkpoint_file import OBJECTS, TORCH, Entry, entries, of_tensors
from tl_robust.text import first_few

# Words at the start of names that say what a network was wrapped in, not what is in the network.
WRAPPERS = frozenset({"module", "model", "network", "net", "backbone", "encoder", "_orig_mod", "_forward_module"})
INNER = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})  # such words inside names
DEEP, WAYS = 8, 32  # words that a prefix may have, and prefixes that are tried
KINDS = f"a file ending in .safetensors, .npz, {', '.join(TORCH[:-1])} or {TORCH[-1]}"
NAMED = "the name of torchvision weights such as ResNet18_Weights.IMAGENET1K_V1"


def load_checkpoint(
    where: str,
    root: Path,
    network: nn.Module,
    rename: Mapping[str, str] | None = None,
    adapter: Adapter | None = None,
) -> dict[str, Tensor]:
    """A full state dict for ``network`` from a public checkpoint.

    Args:
        where: A file, absolute or relative to ``root``, or the name of torchvision weights, which are downloaded into
            torch's hub folder once.
        root: Folder of the data.
        network: Says which names, shapes and types are wanted; not changed, and may be on the meta device.
        rename: Prefixes of the file's names and what they are in the network, in place of the network's ``ALIASES``.
            A prefix ends at a dot or with the name, and ``""`` fits every name. Of several that fit, the longest is
            taken.
        adapter: A LoRA adapter that is merged into the tensors; its names are those of the file.

    Returns:
        For every name of ``network.state_dict()``, in its order, one tensor on the CPU with memory of its own and the
        network's type. Counters ``num_batches_tracked`` that the file lacks are 0.

    Raises:
        DataError: The file is missing, damaged or of another kind, does not fit the network exactly, or holds values
            that are not finite.
    """
    if _is_name(where):
        _check_normalization(where, network)
    with ExitStack() as stack:
        stored, own = _entries(where, root, stack), network.state_dict()
        names_here = getattr(network, "names_here", None)
        if names_here is not None and rename is None:  # a library that calls its tensors otherwise by now
            stored = {new: stored[name] for name, new in names_here(list(stored)).items()}
        if adapter is not None:
            new_name = str if names_here is None else lambda name: names_here([name]).get(name, name)
            stored = adapter.merged(stored, stack, new_name)
        aliases = getattr(network, "ALIASES", {})
        places = _places(list(stored), own, [{}, aliases] if rename is None else [rename])
        _check_fit(where, network, stored, own, places)  # by what the file declares, before memory is taken
        with _readable(where, root):
            state = {
                name: stored[places[name]].read().to(value.dtype).clone(memory_format=torch.contiguous_format)
                if name in places
                else torch.zeros(value.shape, dtype=value.dtype, device="cpu")
                for name, value in own.items()
            }
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    if broken:
        names = first_few(broken, 5, count=True)
        raise DataError(f"checkpoint {where!r} holds values that are not finite ({names}): use an intact file.")
    return state


def checkpoint_digest(where: str, root: Path) -> str:
    """What identifies a checkpoint, with the arguments of :func:`load_checkpoint`, in the key of a training from it.

    Returns:
        SHA-256 in 64 hexadecimal digits, of the file or of name and URL of torchvision weights: the URL carries a hash
        of the file, which is checked when it is loaded. Nothing is downloaded.

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


def classes_in(where: str, root: Path, network: nn.Module, rename: Mapping[str, str] | None = None) -> int:
    """Number of classes of the last layer that a checkpoint holds, with the arguments of :func:`load_checkpoint`.

    Args:
        where: As there.
        root: As there.
        network: With any number of classes; may be on the meta device.
        rename: As there.

    Raises:
        DataError: As there, or the file has no last layer of this network.
    """
    own, last = network.state_dict(), classifier_names(network)
    with ExitStack() as stack:
        stored = _entries(where, root, stack)
        places = _places(list(stored), own, [{}, getattr(network, "ALIASES", {})] if rename is None else [rename])
        counts = {stored[places[name]].shape[0] for name in last if name in places and stored[places[name]].shape}
    if len(counts) != 1:
        names = first_few(sorted(last), 3)
        raise DataError(
            f"checkpoint {where!r} has no last layer of network {network_name(network)!r} ({names}): check the network "
            "and its settings, or use a file with its head."
        )
    return int(counts.pop())


def _entries(where: str, root: Path, stack: ExitStack) -> dict[str, Entry]:
    if _is_name(where):
        return of_tensors(_fetched(where))
    path = _path(where, root)
    with _readable(where, root):
        return entries(path, stack)


@contextmanager
def _readable(where: str, root: Path) -> Iterator[None]:
    """Make one sentence of whatever is raised while a file is read; the cause stays attached."""
    try:
        yield
    except Exception as error:
        path = root / where
        raise DataError(
            f"checkpoint {path} cannot be read ({_cause(error)}): expected the tensors of a state dict in the format "
            f"that {path.suffix} says; replace the damaged file, or save the state dict alone."
        ) from error


def _check_fit(
    where: str, network: nn.Module, stored: Mapping[str, Entry], own: Mapping[str, Tensor], places: Mapping[str, str]
) -> None:
    used, pairs = set(places.values()), [(name, stored[place], own[name]) for name, place in places.items()]
    misfits = {
        "missing in the file": [
            name for name in own if name not in places and not name.endswith("num_batches_tracked")
        ],
        "no place in the network": [name for name in stored if name not in used],
        "other shapes": [
            f"{name}: file {list(entry.shape)}, network {list(value.shape)}"
            for name, entry, value in pairs
            if entry.shape != value.shape
        ],
        "other types": [
            f"{name}: file {entry.dtype}, network {value.dtype}"
            for name, entry, value in pairs
            if entry.dtype.is_floating_point != value.is_floating_point()
        ],
    }
    if any(misfits.values()):
        reasons = "; ".join(f"{what}: {first_few(names, 5, count=True)}" for what, names in misfits.items() if names)
        raise DataError(
            f"checkpoint {where!r} does not fit network {network_name(network)!r} ({reasons}): "
            "check the network and its settings, or the number of classes."
        )


def _places(stored: list[str], own: Mapping[str, Tensor], renamings: list[Mapping[str, str]]) -> dict[str, str]:
    """The file's name for each name of the network that the best way of matching fills."""
    plain = [".".join(word for word in name.split(".") if word not in INNER) for name in stored]
    ways = []
    for renaming, names in itertools.product(renamings, [stored] if plain == stored else [stored, plain]):
        for strip, add in itertools.product(_prefixes(names), _prefixes(own)):
            renamed = [add + _renamed(name.removeprefix(strip), renaming) for name in names]
            if len(set(renamed)) == len(stored):  # two tensors with one name would hide each other
                ways.append({new: name for new, name in zip(renamed, stored, strict=True) if new in own})
    return max(ways, key=len, default={})


def _prefixes(names: Iterable[str]) -> list[str]:
    """Prefixes made of wrappers' words that any name has, and the empty one; the shortest first."""
    prefixes = {""}
    for name in names:
        words = itertools.takewhile(WRAPPERS.__contains__, name.split(".", DEEP)[:DEEP])
        prefixes.update(itertools.accumulate(f"{word}." for word in words))
    return sorted(prefixes, key=lambda prefix: (prefix.count("."), prefix))[:WAYS]


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
        if cached.is_file() and digits and not _sha256(cached).startswith(digits[1]):  # torch only checks downloads
            raise DataError("another hash than its name says")
        state = _weights(name).get_state_dict(check_hash=True, progress=False, weights_only=True, map_location="cpu")
        of_tensors(state)
        return state
    except Exception as error:  # the network, the disk or the reader of the file may fail
        if cached.is_file():
            what, todo = f"file {cached} cannot be used", "remove it, so that it is downloaded again"
        else:
            what, todo = "they cannot be downloaded", f"check the network, or put {url} into {cached.parent} by hand"
        raise DataError(f"torchvision weights {name!r}: {what} ({_cause(error)}); {todo}.") from error


def _check_normalization(name: str, network: nn.Module) -> None:
    """Check that the network normalizes images with the mean and spread that torchvision says its weights expect."""
    expected, layer = getattr(_weights(name), "transforms", None), getattr(network, "normalize", None)
    if expected is None or not isinstance(layer, Normalize) or layer.mean.is_meta:
        return
    for what, wanted in (("mean", expected().mean), ("std", expected().std)):
        own = getattr(layer, what).flatten().tolist()
        if any(abs(value - channel) > 1e-4 for value, channel in zip(own, wanted, strict=True)):
            raise DataError(
                f"torchvision weights {name!r} expect images normalized with {what} {list(wanted)}, but the network "
                f"has {[round(value, 4) for value in own]}: use other weights of this network."
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cause(error: Exception) -> str:
    text = (str(error).splitlines() or [""])[0].split(". ")[0].rstrip(".")
    if isinstance(error, DataError):
        return text
    if isinstance(error, pickle.UnpicklingError) or "pickle" in text:  # their own texts advise to run the code
        return OBJECTS
    if isinstance(error, LookupError | EOFError):  # its own text would tell a reader nothing
        return "unexpected content"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
