# Cells of a notebook, which VS Code and Jupyter (with jupytext) open as one.
# seeds: 0 of the audit; 0, 1, 10, 11, 12 of the trainings

# %% [markdown]
# # Audit of a fine-tuned checkpoint
#
# You hold two files: a model of yours, and the public one that it was fine-tuned from. What can an attacker do who
# knows the second, and what does that cost you? `tl_robust.auditor.audit` answers with locks, findings and a sheet.
# Nothing in a file is run as code, and nothing is trained.
#
# An audit wants files, so the first two cells make some, from digits that come with installed packages: a public
# parent, a child of it, and three *decoys*, models of the same kind that the child was not made of. In your own case
# they are what you have, and what a model hub has.

# %%
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from tl_robust import models, pair

data = pair("mnist5k-optdigits", train_limit=1000, test_limit=300, target_images=300)
public, own = data.module("source").data.images("train"), data.data.images("train")


def trained(images, seed, start=None, epochs=8):
    """Weights of a small network that learned these images, from random weights or from others'."""
    torch.manual_seed(seed)
    network = models.get("dtn", (3, 32, 32), 10, width=0.1)
    if start is not None:
        network.load_state_dict(start)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(epochs):
        for places in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            logits = network(images.images[places].float() / 255)
            nn.functional.cross_entropy(logits, images.labels[places]).backward()
            optimizer.step()
    return network.eval().state_dict()


Path("models").mkdir(exist_ok=True)
parent = trained(public, 0)
save_file(parent, "models/public.safetensors")
save_file(trained(own, 1, parent), "models/mine.safetensors")
for place in range(3):
    save_file(trained(public, 10 + place), f"models/other{place}.safetensors")

# %% [markdown]
# The images are a folder with a folder for each class. Test images must not be among those that the model learned from;
# an audit looks, and stops where they are.

# %%
for split in ("train", "test"):
    shown = data.data.images(split)
    for place, (image, label) in enumerate(zip(shown.images, shown.labels, strict=True)):
        folder = Path(f"images/{split}/{data.labels[label]}")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{place}.png")
print(len(list(Path("images").rglob("*.png"))), "images,", len(list(Path("models").iterdir())), "models")

# %% [markdown]
# ## The audit
#
# In a shell this is
#
# ```
# tl-robust audit models/mine.safetensors --parent models/public.safetensors --network "{name: dtn, width: 0.1}" \
#     --decoy models/other0.safetensors --decoy models/other1.safetensors --decoy models/other2.safetensors \
#     --data images --eps 8/255 16/255
# ```
#
# `eps` is the largest change of a pixel; the last one is in force. `strong` is the attack on the model itself: with
# fewer steps than by itself, so that this example takes seconds.

# %%
from tl_robust.auditor import audit

found = audit(
    "models/mine.safetensors",
    "images",
    parent="models/public.safetensors",
    decoys=[f"models/other{place}.safetensors" for place in range(3)],
    network={"name": "dtn", "width": 0.1},
    eps=["8/255", "16/255"],
    strong={"name": "pgd", "steps": 20},
    workers=1,
    accelerator="cpu",
)

# %% [markdown]
# ## Locks
#
# Locks come first. They stop an audit whose numbers would mean nothing: classes in another order, images prepared
# otherwise than the model wants, an accuracy no better than chance, a parent that it does not come from. `None` says
# that a lock had nothing to look at.

# %%
for lock in found.locks:
    print({True: "passed", False: "FAILED", None: "not asked"}[lock.passed], lock.name, "-", lock.reason)
assert not found.failed_locks

# %% [markdown]
# ## Findings
#
# Each finding is a number with a 95 % interval, what it was measured with, and its trust. In the *white* box the
# attacker has the model itself. In the *black* box he has the public parent alone; of several attacks the worst counts.

# %%
import math

for finding in found.findings:
    size = "" if math.isnan(finding.eps) else f"eps {255 * finding.eps:.0f}/255"
    print(f"{finding.threat}: {finding.title} ({', '.join(filter(None, (finding.view, finding.attack, size)))})")
    print(f"    {finding.value:.3f} [{finding.low:.3f}, {finding.high:.3f}], n = {finding.n}, {finding.trust.level}")
for item in found.not_run:
    print("not run:", item.name, "-", item.reason)

# %% [markdown]
# The **price of the public parent** is what transfers from the parent less what transfers from the decoys, so that it
# is what the *origin* costs, and not that any attack transfers a little. Where its interval is above 0, a private start
# would have made the model harder to attack.

# %%
price = found.price
for name, part in {"from the parent": price.parent, "from the decoys": price.unrelated, "price": price.price}.items():
    print(f"{name}: {100 * part.value:.1f} points [{100 * part.low:.1f}, {100 * part.high:.1f}]")
print(f"over {price.models} unrelated models; trust: {price.price.trust.level}")

# %% [markdown]
# Which parent? What you see here an attacker can find out, too.

# %%
for candidate in found.origin.candidates:
    print(f"{candidate.name}: score {candidate.score:.2f} by {candidate.evidence}")
print(found.origin.claimed, "-", found.origin.reason)

# %% [markdown]
# ## What is taken away
#
# One record gives all files: a sheet of one printed page for people, SARIF for code scanning, an entry for a bill of
# materials and the record itself, which `tl-robust` reads back.

# %%
import json

from tl_robust.audit import audit_file
from tl_robust.audit.bom import bom
from tl_robust.audit.sarif import sarif
from tl_robust.sinks.report import audit_page

out = Path("audit")
out.mkdir(exist_ok=True)
audit_file.write(out / "audit.json", found)
audit_page.write(found, out / "risk.html", [])
(out / "audit.sarif").write_text(json.dumps(sarif(found), indent=1))
(out / "bom.cdx.json").write_text(json.dumps(bom(found), indent=1))

results = json.loads((out / "audit.sarif").read_text())["runs"][0]["results"]
print(*sorted(path.name for path in out.iterdir()), sep="\n")
print(len(results), "results in SARIF, among them:", *(result["ruleId"] for result in results[-3:]), sep="\n  ")

# %% [markdown]
# ## What may be quoted
#
# - A finding with its interval, n, eps and attack, where its trust is not red. The numbers are of these test images.
# - The price with its interval, and of how many unrelated models: with three the interval is wide.
# - Of the white box only that the model is *at most* so robust: a stronger attack may find more.
# - Of backdoor alarms never that there is no backdoor: they look for signs, and each says how often it is wrong of
#   clean models.
# - Of membership a lower bound: an attacker with models of his own to compare with learns more.
