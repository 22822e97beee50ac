"""What an attack promises, in every norm, on a small convolutional net with BatchNorm and dropout."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import warnings

import torch
from torch import nn

from tl_robust.attacks import Attack
from tl_robust.contracts.attack_cases import GRID, asks, cases, climbs_the_label, pool, sizes
from tl_robust.contracts.attack_settings import (
    gives_other_images_with_another_setting,
    is_frozen_and_shows_all_settings,
    refuses_bad_input_in_one_sentence,
    refuses_unknown_settings_by_the_closest_name,
)
from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, NotAskedError, demand
from tl_robust.contracts.networks import CLASSES, linear, net, pixels

CONTRACTS = Contracts("attack", cases)
shared(CONTRACTS)


@CONTRACTS
def keeps_the_budget_and_the_range(attack: Attack) -> None:
    """At every eps, in float32 and float64, images are in [0,1], as near as eps allows, and of the type that came."""
    eps = GRID[attack.norm]
    for dtype in (torch.float32, torch.float64):
        images, labels = pixels(dtype)
        adversarial = attack(net(dtype), images, labels, eps)
        demand(
            adversarial.shape == (len(eps), *images.shape), f"images {[len(eps), *images.shape]}",
            list(adversarial.shape), "yield one batch for each eps",
        )  # fmt: skip
        demand(adversarial.dtype == dtype, f"{dtype}", adversarial.dtype, "keep the type of problem.clean")
        demand(adversarial.isfinite().all(), "finite images", "NaN or infinity", "guard each division and logarithm")
        low, high = float(adversarial.min()), float(adversarial.max())
        demand(low >= 0 and high <= 1, "images in [0, 1]", f"{low:.4g} to {high:.4g}", "clip to [0, 1]")
        size = sizes(adversarial, images, attack.norm)
        allowed = torch.tensor(eps, dtype=torch.float64)[:, None]
        for place, within in enumerate((size <= allowed * (1 + 1e-6) + 1e-7).all(1).tolist()):
            demand(
                within, f"{attack.norm} norms of at most eps {eps[place]:.4g}", f"{float(size[place].max()):.4g}",
                "bring the images back by problem.clip(images, eps)",
            )  # fmt: skip
        used = float((size / allowed)[[0, 2]].mean())
        demand(
            used > 0.5, "small budgets to be used", f"perturbations of {100 * used:.0f} % of eps on average",
            "go as far as eps allows",
        )  # fmt: skip


@CONTRACTS
def is_the_identity_at_eps_zero(attack: Attack) -> None:
    """At eps 0 the clean images come back bit for bit, alone and in a grid, and at another eps they do not."""
    images, labels = pixels()
    todo = "yield the images of each eps once, in the order of eps, and leave eps 0 to the base class"
    alone = attack(net(), images, labels, [0.0])[0]
    demand(torch.equal(alone, images), "the clean images at eps 0", "others", todo)
    grid = attack(net(), images, labels, GRID[attack.norm])
    demand(torch.equal(grid[1], images), "the clean images at eps 0 of a grid", "others", todo)
    demand(not torch.equal(grid[0], images), "changed images at the smallest eps", "the clean ones", "perturb them")


@CONTRACTS
def gives_the_same_at_an_eps_alone_and_in_any_grid(attack: Attack) -> None:
    """The images of one eps do not depend on which others are asked for, nor on their order."""
    images, labels = pixels()
    eps = GRID[attack.norm]
    todo = "carry nothing over from one eps to the next"
    together = attack(net(), images, labels, eps)
    backwards = attack(net(), images, labels, eps[::-1]).flip(0)
    demand(torch.equal(together, backwards), "the same in any order of eps", "other images", todo)
    for size, expected in zip(eps, together, strict=True):
        alone = attack(net(), images, labels, [size])[0]
        demand(torch.equal(alone, expected), f"the same at eps {size:.4g} alone and in a grid", "other images", todo)


@CONTRACTS
def raises_the_loss_more_than_noise_does(attack: Attack) -> None:
    """One that climbs the loss of the label raises it for every image, and three times as much as noise does."""
    if not climbs_the_label(attack):
        raise NotAskedError("It does not climb the loss of the label straight.")
    images, labels = pixels(torch.float64, 32)
    model, eps = net(torch.float64), {"linf": 8 / 255, "l2": 0.5, "l1": 4.0}[attack.norm]
    adversarial = attack(model, images, labels, [eps])[0]
    spread = {"linf": 1.0, "l2": 192**0.5, "l1": 192.0}[attack.norm]
    draws = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, dtype=torch.float64, generator=draws).sign() * eps / spread
    clean, noisy, after = (
        nn.functional.cross_entropy(model(x), labels, reduction="none").detach()
        for x in (images, images + noise, adversarial)
    )
    todo = "follow the gradient upward: problem.gradient gives that of what is to be raised"
    lower = int((after <= clean).sum())
    demand(not lower, "a higher loss of every image", f"{lower} of 32 that are not higher", todo)
    rise, by_noise = float((after - clean).mean()), float((noisy - clean).mean().abs())
    demand(rise > 3 * by_noise, f"a rise of over {3 * by_noise:.3g}, three times that of noise", f"{rise:.3g}", todo)


@CONTRACTS
def repeats_itself_and_leaves_the_global_generator_alone(attack: Attack) -> None:
    """The same seed gives the same images whatever was drawn or attacked before, and nothing is drawn globally."""
    images, labels = pixels()
    eps = GRID[attack.norm]
    keyed = "draw with problem.uniform, problem.normal or problem.random, which are keyed by seed and sample"
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        first = attack(net(), images, labels, eps, seed=4)
        model = net()
        state = torch.get_rng_state()
        attack(model, 1 - images, labels, [0.3], seed=9)  # another call of the same object in between
        demand(torch.equal(torch.get_rng_state(), state), "no draw from torch's global generator", "one or more", keyed)
        torch.set_rng_state(before)
        torch.rand(3)
        again = attack(model, images, labels, eps, seed=4)
        demand(torch.equal(again, first), "the same images at the same seed", "others", keyed)
        copied = dataclasses.replace(attack)(net(), images, labels, eps, seed=4)
        demand(torch.equal(copied, first), "the same images of an equal attack", "others", "keep nothing in the object")


def _near(attack: Attack) -> float:
    # L2 draws are float32, their length is summed in another order in another batch: 1e-7 of eps, not 1e-16
    return 1e-9 if attack.norm == "linf" else 1e-4


BY_SAMPLE = "key every draw by problem.sample_id, and take no mean over the batch"


@CONTRACTS
def does_not_depend_on_the_batch(attack: Attack) -> None:
    """An image under its sample id is changed in the same way in batches of 1, 2, 7 and 20."""
    images, labels = pixels(torch.float64, 20)
    ids, eps = torch.arange(20) * 31 + 5, GRID[attack.norm]
    fitted = pool(attack, linear(), images, labels)
    whole = attack(linear(), images, labels, eps, sample_id=ids, seed=2, fitted=fitted)
    for batch_size in (1, 2, 7):
        parts = [
            attack(linear(), images[part], labels[part], eps, sample_id=ids[part], seed=2, fitted=fitted)
            for part in torch.arange(20).split(batch_size)
        ]
        far = float((torch.cat(parts, 1) - whole).abs().max())
        same = far <= _near(attack)
        demand(same, f"the same images in batches of {batch_size}", f"pixels that differ by {far:.3g}", BY_SAMPLE)


@CONTRACTS
def does_not_depend_on_the_order(attack: Attack) -> None:
    """An image under its sample id is changed in the same way wherever it stands in the batch."""
    images, labels = pixels(torch.float64, 20)
    order, eps = torch.randperm(20, generator=torch.Generator().manual_seed(1)), GRID[attack.norm]
    fitted = pool(attack, linear(), images, labels)
    straight = attack(linear(), images, labels, eps, seed=2, fitted=fitted)  # without ids the places are the ids
    shuffled = attack(linear(), images[order], labels[order], eps, sample_id=order, seed=2, fitted=fitted)
    far = float((shuffled - straight[:, order]).abs().max())
    demand(far <= _near(attack), "the same images in another order", f"pixels that differ by {far:.3g}", BY_SAMPLE)


@CONTRACTS
def leaves_the_model_as_it_was(attack: Attack) -> None:
    """Weights, statistics, modes of parts, gradients and what needs one are the same after an attack as before."""
    images, labels = pixels()
    for training in (False, True):
        model = net().train(training)
        model[1].eval()  # a mode that differs inside, as with frozen BatchNorm
        first, second = model[0].weight, model[4].weight
        assert isinstance(first, nn.Parameter)
        assert isinstance(second, nn.Parameter)
        first.requires_grad_(False)
        second.grad = torch.full_like(second, 3.0)
        before = copy.deepcopy(model.state_dict())
        modes = [module.training for module in model.modules()]
        needs = [parameter.requires_grad for parameter in model.parameters()]
        attack(model, images, labels, GRID[attack.norm])
        after = model.state_dict()
        todo = "ask problem.model, and change nothing of it"
        moved = [name for name in before if name not in after or not torch.equal(before[name], after[name])]
        demand(not moved and before.keys() == after.keys(), "the weights to stay", f"{moved} changed", todo)
        kept = [module.training for module in model.modules()] == modes
        demand(kept, "train and eval modes to stay", "others", todo)
        same = [parameter.requires_grad for parameter in model.parameters()] == needs
        demand(same, "requires_grad to stay", "another", todo)
        others = [parameter.grad is None for parameter in model.parameters() if parameter is not second]
        own = second.grad is not None and torch.equal(second.grad, torch.full_like(second, 3.0))
        demand(
            own and all(others), "the gradients of weights to stay", "others", "call torch.autograd.grad, no backward"
        )


@CONTRACTS
def attacks_the_model_in_eval_mode_and_frozen(attack: Attack) -> None:
    """A model in training mode is attacked as it will be used: no dropout, fixed statistics, no gradient of weights."""
    images, labels = pixels()
    expected = attack(net(), images, labels, GRID[attack.norm])
    model, seen = net().train(), set[tuple[bool, bool]]()
    model[4].register_forward_hook(lambda module, *_: seen.add((module.training, module.weight.requires_grad)))
    same = torch.equal(attack(model, images, labels, GRID[attack.norm]), expected)
    todo = "leave modes to the base class"
    demand(same, "the same images of a model in training mode", "others", todo)
    right = seen == ({(False, False)} if asks(attack) else set())
    demand(right, "the model in eval mode and frozen", "another mode while it was asked", todo)


@CONTRACTS
def restores_the_model_after_an_error(attack: Attack) -> None:
    """Where the model raises, the error reaches the caller, and the model is in the mode in which it came."""
    images, labels = pixels()
    model = net().train()
    model[-1] = nn.Linear(7, CLASSES)  # does not fit
    raised = False
    with contextlib.suppress(RuntimeError):
        try:
            attack(model, images, labels, [0.1])
        except RuntimeError:
            raised = True
            raise
    todo = "catch no error of the model"
    demand(raised or not asks(attack), "the error of the model", "none", todo)
    kept = all(module.training for module in model.modules()) and all(p.requires_grad for p in model.parameters())
    demand(kept, "the model in training mode after an error", "another mode", "leave modes to the base class")


@CONTRACTS
def leaves_its_inputs_alone(attack: Attack) -> None:
    """Images, labels, ids and eps are the same afterwards, and the result shares no memory with them."""
    images, labels = pixels()
    ids, eps = torch.arange(len(images)), list(GRID[attack.norm])
    kept = [tensor.clone() for tensor in (images, labels, ids)]
    result = attack(net(), images, labels, eps, sample_id=ids)
    todo = "clone a tensor before you change it in place"
    for name, now, was in zip(("images", "labels", "ids"), (images, labels, ids), kept, strict=True):
        demand(torch.equal(now, was), f"the {name} to stay", "other values", todo)
    demand(eps == GRID[attack.norm], "the list of eps to stay", eps, "change a copy of it")
    demand(not images.requires_grad, "images without requires_grad", "requires_grad", "detach and clone first")
    demand(not result.requires_grad, "a result without a graph", "requires_grad", "detach what you yield")
    result.zero_()
    demand(torch.equal(images, kept[0]), "a result of its own memory", "the memory of the images", "yield a clone")


@CONTRACTS
def takes_images_that_require_a_gradient(attack: Attack) -> None:
    """They are attacked as any others, and get no gradient."""
    images, labels = pixels()
    expected = attack(net(), images, labels, GRID[attack.norm])
    images.requires_grad_()
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # torch warns once of a gradient that is read where none is kept
    try:
        with warnings.catch_warnings(action="error"):
            result = attack(net(), images, labels, GRID[attack.norm])
    finally:
        torch.set_warn_always(always)
    todo = "detach problem.clean, and call torch.autograd.grad"
    demand(torch.equal(result, expected), "the same images", "others", todo)
    kept = images.requires_grad and images.grad is None and not result.requires_grad
    demand(kept, "images without a gradient and a result without a graph", "one of them", todo)


@CONTRACTS
def works_in_any_gradient_mode_of_its_caller(attack: Attack) -> None:
    """Within no_grad, inference_mode and enable_grad the result is the same, and the mode stays."""
    images, labels = pixels()
    expected = attack(net(), images, labels, GRID[attack.norm])
    model = net()
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            inside, inside_labels, ids = images.clone(), labels.clone(), torch.arange(len(images))
            result = attack(model, inside, inside_labels, GRID[attack.norm], sample_id=ids)
            stays = (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
        todo = "set gradient modes with torch.enable_grad() as a context alone"
        demand(stays, f"{mode.__name__} to stay", "another mode", todo)
        demand(torch.equal(result, expected), f"the same images within {mode.__name__}", "others", todo)


for settled in (is_frozen_and_shows_all_settings, refuses_bad_input_in_one_sentence):
    CONTRACTS(settled)
for named in (refuses_unknown_settings_by_the_closest_name, gives_other_images_with_another_setting):
    CONTRACTS.once(named)
