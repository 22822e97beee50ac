"""Attacks of other libraries under their own names: ``external`` with ``of: torchattacks:PGD``.

Axes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tl_robust.attacks.base import ATTACKS, Attack
from tl_robust.attacks.norms import NORMS, per_sample
from tl_robust.attacks.problem import Problem
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.seeding import derive

Maker = Callable[..., Any]
Settings = dict[str, Any]


def _torchattacks(make: Maker, model: nn.Module, clean: Tensor, label: Tensor, settings: Settings, eps: Any) -> Any:
    attack = make(model, **settings)
    attack.set_device(clean.device)
    return attack(clean, label)


def _torchattack(make: Maker, model: nn.Module, clean: Tensor, label: Tensor, settings: Settings, eps: Any) -> Any:
    return make(model=model, device=clean.device, **settings)(clean, label)


def _foolbox(make: Maker, model: nn.Module, clean: Tensor, label: Tensor, settings: Settings, eps: Any) -> Any:
    foolbox = importlib.import_module("foolbox")
    if "distance" in settings:
        settings["distance"] = getattr(foolbox.distances, settings["distance"])
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=clean.device)
    return make(**settings)(wrapped, clean, label, epsilons=eps)[
        0
    ]  # foolbox clips its second result to eps, the first is what it found


def _adv_lib(make: Maker, model: nn.Module, clean: Tensor, label: Tensor, settings: Settings, eps: Any) -> Any:
    return make(model, clean, label, **settings)


@dataclass(frozen=True)
class Library:
    """How one library is found and asked.

    Attributes:
        module: Where its attacks stand.
        ask: Makes an attack, with settings, and runs it on a model, images and labels at an eps.
        budget: How its attacks name eps.
        norm: How its attacks name the norm, where they have it as a setting ...
        norms: ... and how they spell it.
    """

    module: str
    ask: Maker
    budget: tuple[str, ...]
    norm: str
    norms: Mapping[str, Any]


LIBRARIES = {
    "torchattacks": Library(
        "torchattacks", _torchattacks, ("eps", "max_epsilon"), "norm", {"linf": "Linf", "l2": "L2", "l1": "L1"}
    ),
    "foolbox": Library("foolbox.attacks", _foolbox, ("epsilon",), "distance", {name: name for name in NORMS}),
    "torchattack": Library("torchattack", _torchattack, ("eps",), "norm", {name: name for name in NORMS}),
    "adv-lib": Library("adv_lib.attacks", _adv_lib, ("eps", "ε"), "norm", {"linf": float("inf"), "l2": 2, "l1": 1}),
}
RESERVED = frozenset({"model", "device", "inputs", "images", "labels", "targeted"})


@ATTACKS.register
@dataclass(frozen=True)
class External(Attack):
    """An attack of torchattacks, foolbox, torchattack or adv-lib with its own loss, run anew for each eps.

    The library is imported when the attack is made. It gets the surrogate itself, in eval mode and frozen, and what it
    does to modes, hooks, parameters and buffers is undone. Images are not brought back into the budget: where they
    leave it, the trust check ``within_budget`` says so. An attack that looks for the smallest perturbation and takes no
    eps runs once: at each eps its image counts where it is within eps, and the clean image stands elsewhere.

    Random numbers: the global generators are seeded by the seed and all sample ids of the batch, alike at every eps,
    and put back afterwards. A run thus repeats, but other batches give other draws. White-box mode does not stop early.

    Attributes:
        of: Library and attack, such as ``torchattacks:PGD``, ``foolbox:LinfPGD``, ``torchattack:MIFGSM`` or
            ``adv-lib:fmn``.
        options: The library's own settings as plain values, such as ``steps=10, alpha=2/255, random_start=False``. Eps,
            and the norm where it is a setting, come from here.
    """

    of: str = ""
    options: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in ("label", "prediction"):
            raise ConfigError(
                f"attack 'external' has the library's own loss, got objective {self.objective!r}: use label or "
                "prediction, which say whose class the images must leave."
            )
        self._check(self._maker())

    @property
    def library(self) -> Library:
        """The library that ``of`` names.

        Raises:
            ConfigError: Not of the form ``library:attack``, or an unknown library.
        """
        name, colon, attack = self.of.partition(":")
        if not (colon and attack):
            raise ConfigError(f"setting 'of' must be library:attack, such as torchattacks:PGD, got {self.of!r}.")
        if name not in LIBRARIES:
            raise UnknownNameError("attack library", name, LIBRARIES)
        return LIBRARIES[name]

    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        """See :meth:`Attack.perturb`; the first and the last gradient are ours, for the trust checks.

        Raises:
            ConfigError: The library returned anything but finite images of the same shape.
        """
        problem.gradient(problem.clean)
        smallest = None if self._budget(self._maker()) else self._run(problem, None)
        images = problem.clean
        for size in eps:
            if smallest is None:
                images = self._run(problem, size)
            else:
                within = problem.norm.size(smallest - problem.clean) <= size
                images = torch.where(per_sample(within, smallest), smallest, problem.clean)
            yield images
        problem.gradient(images.clamp(0, 1))

    def _run(self, problem: Problem, eps: float | None) -> Tensor:
        make, library = self._maker(), self.library
        settings = parse_options(self.options)
        if library.norm in inspect.signature(make).parameters:
            settings[library.norm] = library.norms[self.norm]
        budget = self._budget(make)
        if budget and budget != "epsilon":  # foolbox is told eps when the attack runs, not when it is made
            settings[budget] = eps
        model = _as_module(problem)
        seed = derive(problem.seed, "external", problem.sample_id.tolist())
        with _untouched(model), _seeded(seed):
            answer = library.ask(make, model, problem.clean.clone(), problem.label.clone(), settings, eps)
        if not isinstance(answer, Tensor) or answer.shape != problem.clean.shape:
            shape = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise ConfigError(f"{self.of} must return images {list(problem.clean.shape)}, got {shape}: use another.")
        bad = int((~answer.isfinite()).flatten(1).any(1).sum())
        if bad:
            raise ConfigError(f"{self.of} must return finite images, got {bad} of {len(answer)} that are not.")
        return answer.detach().to(problem.clean)

    def _maker(self) -> Maker:
        """The class or function of the library."""
        library, (package, _, name) = self.library, self.of.partition(":")
        try:
            with warnings.catch_warnings():
                # The libraries import scipy and visdom in ways that warn; a user of ours can do nothing about it.
                warnings.simplefilter("ignore", DeprecationWarning)
                module = importlib.import_module(library.module)
        except ImportError as error:
            raise ConfigError(
                f"attack 'external' of {self.of!r} needs {package}, which cannot be imported ({error}): pip install "
                f"{package}, or use the environment that make .venv-parity/.parity makes."
            ) from error
        known = [key for key, item in vars(module).items() if callable(item) and not key.startswith("_")]
        if name not in known:
            raise UnknownNameError(f"attack of {package}", name, known)
        make: Maker = getattr(module, name)
        return make

    def _budget(self, make: Maker) -> str | None:
        """The name of its eps; None for an attack that looks for the smallest perturbation."""
        parameters = inspect.signature(getattr(make, "run", make)).parameters  # foolbox names eps in its method run
        for name in self.library.budget:
            # An eps with a default is no budget where the attack is a function: adv-lib's fab only starts from it.
            if name in parameters and (inspect.isclass(make) or parameters[name].default is inspect.Parameter.empty):
                return name
        return None

    def _check(self, make: Maker) -> None:
        options, parameters = parse_options(self.options), inspect.signature(make).parameters
        named = [key for key, item in parameters.items() if item.kind is not inspect.Parameter.VAR_KEYWORD]
        for key in options:
            if key in RESERVED or key in (self.library.norm, self._budget(make)):
                raise ConfigError(f"option {key!r} of {self.of} is not to be set: the attack gets it from tl_robust.")
            if key not in named and len(named) == len(parameters):
                raise UnknownNameError(f"option of {self.of}", key, set(named) - RESERVED)
        stated = _norms(make, self.of)
        if stated and self.norm not in stated:
            raise ConfigError(
                f"{self.of} is an attack in {' or '.join(sorted(stated))}, got norm {self.norm!r}: set norm to that, "
                "or use another attack."
            )


def parse_options(text: str) -> Settings:
    """Settings from ``steps=10, alpha=2/255, loss=ce``: numbers, fractions, true and false, None, words.

    Raises:
        ConfigError: Not of that form.

    >>> parse_options("steps=10, alpha=1/4, loss=ce, random_start=False")
    {'steps': 10, 'alpha': 0.25, 'loss': 'ce', 'random_start': False}
    """
    try:
        call = ast.parse(f"options({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        pairs = [(word.arg, _plain(word.value)) for word in call.keywords]
        options = {key: value for key, value in pairs if key is not None}
        if len(options) < len(pairs):
            raise ValueError
    except (ValueError, SyntaxError, ZeroDivisionError, TypeError) as error:
        raise ConfigError(f"options must be name=value, ... with plain values, each once, got {text!r}.") from error
    return options


def _plain(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return {"true": True, "false": False}.get(node.id, node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return ast.literal_eval(node.left) / ast.literal_eval(node.right)
    return ast.literal_eval(node)


def _norms(make: Maker, name: str) -> set[str]:
    """Norms that the library says an attack is for: in its documentation, its distance or its name; else none."""
    stated = re.search(r"Distance Measure\s*:(.*)", make.__doc__ or "")
    if stated:
        return set(re.findall(r"l(?:inf|[012])", stated.group(1).lower()))
    power = getattr(getattr(make, "distance", None), "p", None)
    if power is not None:
        return {"linf" if power == float("inf") else f"l{power}"}
    return set(re.findall(r"l(?:inf|[012])$", name.lower()))


class _Plain(nn.Module):
    """Any callable as a module; its parameter tells libraries the device."""

    def __init__(self, model: Callable[[Tensor], Tensor], like: Tensor) -> None:
        super().__init__()
        self.model = model
        self.place = nn.Parameter(like.new_empty(0), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N,L]``."""
        return self.model(images)


def _as_module(problem: Problem) -> nn.Module:
    oracle, model = problem.model, problem.model.model
    if oracle.plain and isinstance(model, nn.Module) and next(model.parameters(), None) is not None:
        return model
    return _Plain(oracle, problem.clean).eval()  # the oracle asks a difficult model for it


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put back modes, hooks, parameters and buffers."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    hooks = [
        {key: dict(value) if isinstance(value, dict) else value for key, value in vars(module).items() if "hook" in key}
        for module in modules
    ]
    tensors = [*model.parameters(), *model.buffers()]
    before = [(tensor.detach().clone(), tensor.requires_grad, tensor.grad) for tensor in tensors]
    try:
        yield
    finally:
        for module, training, kept in zip(modules, modes, hooks, strict=True):
            module.training = training
            for key, value in kept.items():
                if isinstance(value, dict):
                    there = vars(module)[key]
                    there.clear()
                    there.update(value)
                else:
                    setattr(module, key, value)
        for tensor, (value, requires_grad, gradient) in zip(tensors, before, strict=True):
            tensor.requires_grad_(requires_grad)
            tensor.grad = gradient
            if not torch.equal(tensor, value):
                with torch.no_grad():
                    tensor.copy_(value)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python, and put them back."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
