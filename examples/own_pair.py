# Cells of a notebook, which VS Code and Jupyter (with jupytext) open as one.
# seeds: 0, 1, 2

# %% [markdown]
# # A domain pair of your own
#
# You have two folders of images: one like what the public model learned from (the *source*), and your own (the
# *target*). This example makes a pair of them without code, looks at it, and runs a bench over it: is a model that is
# fine-tuned from the source easier to attack than one that is trained from scratch?
#
# Nothing is fetched. The images are the 1,797 scanned digits that scikit-learn carries. Half of them, as they are, are
# the source; the other half, as if chalked on a board under uneven light, are the target. In your own case the first
# cell is missing, and the files are yours.

# %%
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

scans, labels = load_digits(return_X_y=True)
scans = (scans.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
draws = np.random.default_rng(0)


def chalked(image):
    """Chalk on a gray board, brighter on one side, with the noise of a small sensor."""
    light = np.linspace(*draws.uniform(0.5, 1, 2), 8)
    return (light * (40 + 0.7 * image) + draws.normal(0, 10, (8, 8))).clip(0, 255).astype(np.uint8)


Path("data").mkdir(exist_ok=True)
for split, places in {"train": range(750), "test": range(750, 900)}.items():
    np.savez(f"data/scans_{split}.npz", images=scans[places], labels=labels[places])
for split, places in {"train": range(900, 1400), "test": range(1400, 1797)}.items():
    for place in places:
        folder = Path(f"data/photos/{split}/{labels[place]}")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chalked(scans[place])).save(folder / f"{place}.png")

print(*sorted(str(path) for path in Path("data").glob("*")), sep="\n")

# %% [markdown]
# Two layouts need no code. `npz:scans` reads the arrays `images` and `labels` of `scans_train.npz` and
# `scans_test.npz`; `folder:photos` reads `photos/train/CLASS/*` and `photos/test/CLASS/*`. Classes are matched by
# name, here the names `0` to `9`.
#
# A pair is a `LightningDataModule`. Its own loaders are those of the target; `module("source")` has the source's. The
# *space* says to which size all images are brought: squares of 32 pixels here, with the classes that both sides have.

# %%
from tl_robust import Recipe, pair
from tl_robust.data.space import SPACES

space = SPACES.component("square", {"side": 32, "classes": "shared"})
data = pair("npz:scans-folder:photos", space, recipe=Recipe(batch_size=32), root="data")
images, classes, ids = next(iter(data.test_dataloader()))
print("classes:", ", ".join(data.labels))
print("a batch:", tuple(images.shape), images.dtype, f"from {images.min():.2f} to {images.max():.2f}")
print("source, training images:", len(data.module("source").data.images("train")))
print("target, test images:", len(data.data.images("test")))

# %% [markdown]
# Look at the images before anything is trained: most mistakes in a pair, such as colors turned over or classes in
# another order, are seen at once.

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(
    2, 6, num="Six test images of the source and of the target", figsize=(6, 1.9), layout="constrained"
)
for row, (name, module) in zip(axes, {"source": data.module("source"), "target": data}.items(), strict=True):
    shown = module.data.images("test")
    for cell, place in zip(row, range(0, len(shown), len(shown) // 6), strict=False):
        cell.imshow(shown.images[place].permute(1, 2, 0))
        cell.set_title(data.labels[shown.labels[place]], fontsize=8)
        cell.axis("off")
    row[0].text(-0.4, 0.5, name, transform=row[0].transAxes, rotation=90, va="center", ha="center", fontsize=8)
plt.show()

# %% [markdown]
# ## The bench
#
# A bench is a file that names the axes of a grid. Here *B* is made in two ways. `scratch` trains B on the target
# alone; `finetune` starts it from A, the model of the source, which the attacker has, too. In the *white* box he has B
# itself; in the *black* box he has A alone and never asks B. Three seeds are the least of which a claim is judged.

# %%
Path("own_pair.yaml").write_text("""
name: own_pair
space: {name: square, side: 32, classes: shared}
eps: [0, 4/255, 8/255, 16/255, 32/255, 64/255]
axes:
  pair: ["npz:scans-folder:photos"]
  network: [{name: dtn, width: 0.25}]
  strategy: [scratch, finetune]
  attack: [fgsm]
  view: [white, black]
  target_images: [100]  # labeled images of the target that B learns from
  seed: [0, 1, 2]
recipe: {epochs: 30, batch_size: 16, lr: 0.02, momentum: 0.9, val_share: 0.2}
recipes:
  "npz:scans": {epochs: 10}  # A learns from 600 images an epoch, B from 80
data: {root: data, cache: ""}
trainer: {accelerator: cpu}
workers: 1
wandb: {mode: disabled}
""")

from tl_robust.cli import main

assert main(["check-pair", "npz:scans-folder:photos", "--bench", "own_pair.yaml"]) == 0

# %% [markdown]
# `check-pair` looks at both sides as a bench would: sizes, classes, images that stand in both splits. Its exit code is
# 1 where something is wrong, with the reason. Now the bench itself; in a shell this is
# `tl-robust run own_pair.yaml --plain`. What is done is kept below `results/store`, so that a second run ends in
# seconds.

# %%
assert main(["run", "own_pair.yaml", "--plain"]) == 0

# %% [markdown]
# Read the end first. The table has accuracies under attack, means of three seeds. *H1* says that fine-tuning gives a
# more robust model in the white box, *H2* that its public origin makes it weaker in the black box; the brackets behind
# them are intervals of the mean difference over all eps. Where one holds 0, the bench says *undecided*, however far
# apart two curves look: three seeds say little of a fourth. `axes.seed=[0,1,2,3,4]` behind the command adds two more,
# and trains nothing again.
#
# ## The curves
#
# `summary.csv` has the means over seeds, with 95 % intervals over seeds and images. `eps` is the largest change of a
# pixel, where 1 is the whole range from black to white. Behind the interval stands its trust: green may be built on.

# %%
import csv

rows = [
    row
    for row in csv.DictReader(Path("results/own_pair/summary.csv").read_text().splitlines())
    if row["metric"] == "robust_accuracy"
]
title = "Accuracy under attack over eps, white box and black box, scratch and finetune"
figure, axes = plt.subplots(1, 2, num=title, figsize=(7, 2.6), sharey=True, layout="constrained")
for axis, view in zip(axes, ("white", "black"), strict=True):
    for strategy in ("scratch", "finetune"):
        curve = [row for row in rows if (row["view"], row["strategy"].split("(")[0]) == (view, strategy)]
        eps, value, low, high = ([float(row[name]) for row in curve] for name in ("eps", "value", "low", "high"))
        axis.plot(eps, value, marker="o", markersize=3, label=strategy)
        axis.fill_between(eps, low, high, alpha=0.2)
        print(f"{view}, {strategy}, eps 8/255: {value[2]:.3f} [{low[2]:.3f}, {high[2]:.3f}], {curve[2]['trust']}")
    axis.set(title=f"{view} box", xlabel="eps", ylim=(0, 1))
axes[0].set_ylabel("accuracy under attack")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## What may be quoted
#
# - A curve with its interval, n and the number of seeds, where its trust is green. With three seeds the intervals are
#   wide, and rightly so: two trainings of the same recipe differ.
# - A claim, such as "fine-tuning costs robustness in the black box", only where the bench says *supported*. It is
#   judged on the same images and seeds for both strategies; two intervals that do not overlap are no such test.
# - Never the black box alone: a curve that looks robust there may fall to someone who makes a model like B (the view
#   `shadow`) or has B itself.
#
# `results/own_pair/report.html` has all of it on one page.
