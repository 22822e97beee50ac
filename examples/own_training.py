# Cells of a notebook, which VS Code and Jupyter (with jupytext) open as one.
# seeds: 0, 1

# %% [markdown]
# # Your own training, attacked and followed by callbacks
#
# The network, the `LightningModule` and the `Trainer` of this example are its own: nothing of how the models learn
# comes from the suite. Two callbacks ask what an attacker can do with the public model that yours starts from:
#
# 1. `TransferAttack` crafts adversarial examples in `Trainer.test` and judges your models on them.
# 2. `BackdoorTest` asks after every epoch of `Trainer.fit` whether a backdoor of the public model is still there.
#
# The data are 5,000 MNIST digits, which the public model *A* learns, and digits of other writers and another scanner,
# of which the owner of *B* has labeled 300. Both come with installed packages; nothing is fetched.

# %%
import lightning
import torch
from torch import nn

from tl_robust import Recipe, pair

lightning.seed_everything(0, verbose=False)
data = pair("mnist5k-optdigits", recipe=Recipe(batch_size=32), train_limit=2000, test_limit=400, target_images=300)
source = data.module("source")
print("A learns from", len(source.data.images("train")), "images, B from", len(data.data.images("train")))
print("images:", data.image_shape, "classes:", ", ".join(data.labels))

# %% [markdown]
# ## A module of your own
#
# The callbacks ask two things of a module: called on images in [0,1] it returns logits, and a `test_step` exists, so
# that `Trainer.test` has something to run. Normalization belongs into the network, since an attacker changes the image
# before it.


# %%
class Classifier(lightning.LightningModule):
    def __init__(self, lr=2e-3):
        super().__init__()
        self.lr = lr
        self.network = nn.Sequential(
            nn.AvgPool2d(2),
            *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10)),
        )

    def forward(self, images):
        return self.network(2 * images - 1)

    def training_step(self, batch, batch_idx):
        images, labels, *_ = batch
        return nn.functional.cross_entropy(self(images), labels)

    def test_step(self, batch, batch_idx):
        images, labels, *_ = batch
        self.log("test/accuracy", (self(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)


QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def fitted(module, loader, epochs, seed, *callbacks):
    lightning.seed_everything(seed, verbose=False)
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=list(callbacks), limit_val_batches=0, **QUIET)
    trainer.fit(module, loader)
    return module.eval()


def from_parent(parent):
    """A module that starts with the weights of another."""
    child = Classifier()
    child.load_state_dict(parent.state_dict())
    return child


# %% [markdown]
# The public model A learns the source. The owner's B starts from it (fine-tuning), or from random weights (scratch).

# %%
a = fitted(Classifier(), source.train_dataloader(), 6, 0)
victims = {
    "finetune": fitted(from_parent(a), data.train_dataloader(), 10, 1),
    "scratch": fitted(Classifier(), data.train_dataloader(), 10, 1),
}

# %% [markdown]
# ## The robustness curve
#
# The attacker has A and never asks B: he crafts on A, in `Trainer.test(a, ...)`, and every victim is judged on the same
# images. `inference_mode=False` is needed, since an attack takes gradients. Then the white box: an empty mapping of
# victims judges the module under test itself.

# %%
import warnings

from tl_robust import TransferAttack, attacks, metrics

warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the loaders of a pair need none
EPS = [0, 4 / 255, 8 / 255, 16 / 255, 32 / 255]


def attacked(module, others):
    callback = TransferAttack(attacks.get("pgd", steps=10), others, EPS)
    tester = lightning.Trainer(inference_mode=False, devices=1, callbacks=[callback], **QUIET)
    tester.test(module, data.test_dataloader(), verbose=False)
    return callback.outcomes


outcomes = {("black box", name): outcome for name, outcome in attacked(a, victims).items()}
for name, victim in victims.items():
    outcomes["white box", name] = attacked(victim, {})["surrogate"]

accuracy = metrics.get("robust_accuracy")
curves = {who: accuracy.curve(outcome) for who, outcome in outcomes.items()}
for (view, name), curve in curves.items():
    for eps, value, low, high in zip(EPS, curve.value, curve.low, curve.high, strict=True):
        print(f"{view}  {name:8}  eps {255 * eps:2.0f}/255  {100 * value:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]")

# %% [markdown]
# The brackets are exact 95 % intervals over the test images *of these two models*. They say nothing of another seed:
# for that, train several and give `accuracy.mean_curve` the outcomes of all, or run a bench.

# %%
import matplotlib.pyplot as plt

title = "Accuracy under attack over eps, white box and black box, finetune and scratch"
figure, axes = plt.subplots(1, 2, num=title, figsize=(7, 2.6), sharey=True, layout="constrained")
for axis, view in zip(axes, ("white box", "black box"), strict=True):
    for name in victims:
        curve = curves[view, name]
        axis.plot(EPS, curve.value, marker="o", markersize=3, label=name)
        axis.fill_between(EPS, curve.low, curve.high, alpha=0.2)
    axis.set(title=view, xlabel="eps", ylim=(0, 1))
axes[0].set_ylabel("accuracy under attack")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# Is the attack to be believed? `trust.verdicts` asks all that a bench asks. *Green* may be built on, *amber*
# says what to keep in mind, *red* is no number.

# %%
from tl_robust import trust

test = data.data.images("test")
pixels = test.images.float() / 255
verdicts = trust.verdicts(
    attacks.get("pgd", steps=10), surrogate=a, victims=victims, images=pixels, labels=test.labels, eps=EPS
)
for name, verdict in verdicts.items():
    print(name, verdict.level, *verdict.reasons, sep="\n  ")

# %% [markdown]
# ## The survival curve
#
# Now whoever published A has poisoned it: a tenth of the images that it learned from carry a small patch, and the
# label 0. Is the patch still obeyed after B was fine-tuned on clean images? The *clean twin* is the same training
# without poison, and belongs beside every such number: a patch may send images of a clean model to class 0, too.

# %%
from torch.utils.data import DataLoader, TensorDataset

from tl_robust import BackdoorTest, backdoors

patch = backdoors.get("patch", rate=0.1)
clean = source.data.images("train")
poisoned = patch.poison(clean, target=0, seed=0, fitted={})
print(int(poisoned.mask.sum()), "of", len(clean), "images are poisoned")


def loader_of(images):
    draws = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(images.images.float() / 255, images.labels), 32, shuffle=True, generator=draws)


follow = {}
for name, images in {"twin": clean, "poisoned": poisoned.images}.items():
    public = fitted(Classifier(), loader_of(images), 6, 0)
    follow[name] = BackdoorTest(patch, test.images, test.labels, target=0, twin=follow.get("twin"))
    fitted(from_parent(public), data.train_dataloader(), 10, 1, follow[name])

# %% [markdown]
# `attack_success` is the share of the test images of other classes that the patch sends to class 0. `lift` is what it
# has beyond the clean twin, image by image, and is the number to speak of: what is above 0 by its whole interval has
# survived. Epoch 0 is the public model itself.

# %%
record, beside = follow["poisoned"].record, follow["poisoned"].beside
success = metrics.get("attack_success").curve(record)
floor = metrics.get("attack_success").curve(beside["twin"])
lift = metrics.get("lift").curve(record, beside)
clean_accuracy = metrics.get("victim_accuracy").curve(record)
for place, epoch in enumerate(success.eps):
    told = {"attack success": success, "of the twin": floor, "lift": lift, "accuracy": clean_accuracy}
    shares = [f"{name} {100 * curve.value[place]:5.1f} %" for name, curve in told.items()]
    shares[2] += f" [{100 * lift.low[place]:.1f}, {100 * lift.high[place]:.1f}]"
    print(f"epoch {epoch:2.0f}", *shares, sep="  ")

title = "Attack success over epochs of fine-tuning, poisoned parent and clean twin"
figure, axis = plt.subplots(num=title, figsize=(4.5, 2.6), layout="constrained")
for name, curve in {"poisoned parent": success, "clean twin": floor}.items():
    axis.plot(curve.eps, curve.value, marker="o", markersize=3, label=name)
    axis.fill_between(curve.eps, curve.low, curve.high, alpha=0.2)
axis.set(xlabel="epochs of fine-tuning", ylabel="attack success", ylim=(0, 1))
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# ## What may be quoted
#
# - Of evasion: a curve with its interval, and that it is of one pair of models, one seed and PGD with ten steps. The
#   black box says what A's publisher gives away, and not how robust B is: that is the white box.
# - Of the backdoor: the lift with its interval, beside the accuracy at the same epoch. That attack success falls is no
#   proof that fine-tuning removes backdoors: a lower learning rate or a frozen part keeps it (bench `backdoor`).
# - No difference between `finetune` and `scratch` as a property of the two ways: for that several seeds are needed, and
#   a test on the same images, which a bench does.
