"""What authors get wrong: each is one edit of a recipe that keeps all contracts, and is named by the one it breaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_one_file import FILES

from tl_robust.contracts.one_file import check
from tl_robust.contracts.sheet import Line

RULE = """
from dataclasses import dataclass
from tl_robust.attacks.rules.base import RULES, Rule, Walk

class _Straight(Walk):
    def move(self, problem, images, seen):
        return problem.clip(images + problem.norm.step(images, seen.gradient, self.length), self.eps)

@RULES.register
@dataclass(frozen=True)
class Straight(Rule):
    \"\"\"Steps along the gradient.\"\"\"

    def begin(self, problem, eps, length, steps):
        return _Straight(problem, eps, length, steps)
"""
TRICK = """
from dataclasses import dataclass
from functools import partial
from tl_robust.attacks.tricks.base import TRICKS, Trick, pull_back

@TRICKS.register
@dataclass(frozen=True)
class Dark(Trick):
    \"\"\"The gradient at a darker image.\"\"\"

    keep: float = 0.9

    def wrap(self, query, eps):
        def at(problem, images, step):
            return pull_back(lambda x: self.keep * x, lambda x: query(problem, x, step), images)

        return at
"""
WAY = """
from dataclasses import dataclass
from tl_robust.attacks.through.base import THROUGH, Through

@THROUGH.register
@dataclass(frozen=True)
class Plainly(Through):
    \"\"\"The gradient of the links as they are.\"\"\"

    def logits(self, guard, images):
        return guard.chain(images, lambda link, given: link(given))
"""
OBJECTIVE = """
from dataclasses import dataclass
from tl_robust.attacks.objectives.base import OBJECTIVES, Objective

@OBJECTIVES.register
@dataclass(frozen=True)
class Away(Objective):
    \"\"\"Lower the label's logit.\"\"\"

    def loss(self, observed, reference):
        return -observed.gather(1, reference[:, None])[:, 0]
"""
SPACE = """
from tl_robust.data.space import SPACES, Space

@SPACES.register
class Tiny(Space):
    \"\"\"Three animals, 3x16x16.\"\"\"

    classes = ("ant", "bee", "crab")
    image_shape = (3, 16, 16)
    inner = 16
"""
ALSO = {"straight": RULE, "dark": TRICK, "plainly": WAY, "away": OBJECTIVE, "tiny": SPACE}
GOOD = {name: block for name, (_, block) in FILES.items()} | ALSO
ALTERED = "        return images + 0.02 * torch.rand_like(images)"
BROKEN = [
    # file, what stands in it, what an author writes instead, the contract
    ("random_signs", "problem.clip(", "(lambda images, size: images)(", "keeps the budget and the range"),
    ("random_signs", "problem.random()", "__import__('torch').randn(problem.clean.shape).to(problem.clean)",
     "repeats itself and leaves the global generator alone"),
    ("random_signs", "self.strength * size", "size", "uses every setting"),
    ("random_signs", "problem.random().sign()", "problem.gradient(problem.clean).gradient.mean(0, True).sign()",
     "does not depend on the batch"),
    ("random_signs", "clip(problem.clean +", "clip(problem.clean.add_(0.01) +",
     "gives the same at an eps alone and in any grid"),
    ("random_signs", "strength: float = 1.0", "strength: float = 1.0\n    way: object = lambda x: x",
     "has plain settings"),
    ("random_signs",
     '    """Random signs. Fields are settings; the base class checks inputs, handles eps 0 and clips."""\n', "",
     "has a docstring"),
    ("white_line", "images.clone()", "images", "stamps each image for itself"),
    ("white_line", "return stamped", "return stamped.float() / 255", "stamps each image for itself"),
    ("white_line", "% images.shape[2]", "", "stamps a small image or refuses it in a sentence"),
    ("white_line", "= 255", "= __import__('torch').randint(0, 256, (1,)).byte()", "stamps each image for itself"),
    ("white_line", "= 255  #", "= images[0, 0, 0, 0]  #", "stamps each image for itself"),
    ("dim", "    NEUTRAL =", "    OTHER =", "is as weak as theory says where it changes nothing"),
    ("dim", 'backdoor="rate=0.2"', 'objective="margin"', "names a backdoor of someone who knows it"),
    ("dim", "(images - 0.5)\n", "(images - 0.5).round(decimals=2).detach()\n",
     "is as weak as theory says where it changes nothing"),
    ("dim", "return 0.5 + self", "return 0.01 * __import__('torch').randn(()) + 0.5 + self",
     "answers the same again and in any batch"),
    ("dim", "return 0.5 + self", "images -= 0.1\n        return 0.5 + self", "leaves images and weights alone"),
    ("top_logit", ".amax(-1)", ".amax(-1).neg()", "gives members larger scores"),
    ("top_logit", ".double()", "", "gives one finite score for each sample"),
    ("top_logit", ".amax(-1)", ".nan_to_num(-9).amax(-1)", "has no score where the victim diverged"),
    ("top_logit", ".amax(-1)", ".amax(-1) + __import__('torch').arange(len(seen.victim.labels))",
     "does not depend on the order of samples"),
    ("double_fault", '    """Share of all samples that both A and B get wrong on the adversarial image."""\n', "",
     "tells readers what it is"),
    ("double_fault", "higher_is_better=False", "higher_is_better=True", "goes the way that it says is better"),
    ("double_fault", "label == label", "__import__('torch').arange(len(label)) < 30",
     "does not depend on the order of samples"),
    ("double_fault", 'views=("black",)', 'views=("blak",)', "tells readers what it is"),
    ("too_good", 'return Verdict("amber", (', 'return Verdict("orange", (',
     "answers any evidence with a level and reasons"),
    ("too_good", "len(right) > 100 and", "right[100] and",
     "is green and silent on good evidence"),
    ("too_good", ", 2020.", ".", "says when it warns and names its paper"),
    ("many_images", "return Answer(count >= 50, f", "return (count >= 50, f", "answers with a sentence"),
    ("many_images", 'unless=("better_than_chance",)', 'unless=("better_then_chance",)', "has a place among the others"),
    ("weak_origin", 'less="scratch"', 'less="finetune"', "turns with the results"),
    ("weak_origin", 'place, "surrogate_ratio"', 'record.places[7], "robust_accuracy"', "says what is missing"),
    ("small", "hidden = self.features(images)", "hidden = nn.functional.dropout(self.features(images))",
     "is deterministic in eval mode"),
    ("small", "self.classifier", "self.head", "names its last layer"),
    ("small", "self.features(images)", "self.features(images.mul_(0.5))", "takes images in both modes"),
    ("small", "hidden = self.features(images)", "hidden = self.features(images.mul(255).round())",
     "lets the gradient reach images and weights"),
    ("small", "return [self.features]", "return [self.features, self.classifier]", "names its blocks"),
    ("last_layer", "return a, train(target", "return a, train(source", "names two trainings"),
    ("last_layer", "set(self.network.modules()) - set(self.network.classifier.modules())", "[self.network]",
     "moves every weight but what is frozen and lowers the loss"),
    ("latex", 'files=("table.tex",)', "files=()", "writes the files that it declares"),
    ("latex", '"".join(', 'str(path) + "".join(', "writes the same of the same results"),
    ("latex", 'after=("tables",)', 'after=("table",)', "says what it writes and reads"),
    ("count_rows", "example: tl-robust count-rows embedded", "example: tl-robust count-rows embedded --metrics x",
     "takes its own example"),
    ("count_rows", "Count the numbers of a bench that has run.", "count", "has a line of help"),
    ("smallest_first", "return Loop(job, sorted(nodes, key=lambda node: node.work), observer).run()",
     "return {}", "computes every node after what it needs"),
    ("smallest_first", "sorted(nodes, key=lambda node: node.work)", "nodes[:3]",
     "computes every node after what it needs"),
    ("mydigits", '    """Data card: what it is, format, splits, sizes, license, paper, known differences."""\n', "",
     "has a data card"),
    ("mydigits", '("0123456789")', '("123456789")', "gives bytes with labels in range"),
    ("mydigits", '("0123456789")', '("0123456789x")',
     "has every class in both splits"),
    ("mydigits", "mydigits_{split}.npz\", allow", "mydigits_train.npz\", allow", "keeps its splits apart"),
    ("mydigits", '    files = "mydigits_{train,test}.npz"  # as errors name them\n', "",
     "says which files are missing"),
    ("mydigits", ".permute(0, 3, 1, 2).contiguous(), labels", ".permute(0, 3, 1, 2).contiguous() // 255, labels",
     "gives bytes with labels in range"),
    ("my_pair", '"usps"', '"Optdigits"', "has two domains in a space"),
    ("noise", 'noisy: Tensor = column("K N", torch.int64)', "noisy: Tensor = None",
     "declares every column of its record"),
    ("noise", '            "sigma": list(self.sigma),\n', "", "says all that it needs in the key of its nodes"),
    ("noise", 'axis="sigma"', 'axis="eps"', "has a full face"),
    ("fog", 'axis="density"', 'axis="how dense"', "has a full face"),
    ("fog", "return (1 - strength)", "return 0.01 + (1 - strength)", "gives the images back at strength 0"),
    ("fog", "return (1 - strength)", "return __import__('torch').randn(()) * strength + (1 - strength)",
     "corrupts alike again and draws by its draws"),
    ("fog", "return (1 - strength)", "return __import__('random').random() * strength + (1 - strength)",
     "corrupts alike again and draws by its draws"),
    ("fog", "strength * self.gray", "strength * self.gray * images.mean()", "corrupts each image for itself"),
    ("fog", "strength * self.gray", "strength * self.gray * images[:1]", "corrupts each image for itself"),
    ("fog", "* images +", "* images.mul_(0.9) +", "gives finite images of the same form"),
    ("fog", "self.gray\n", "self.gray / strength\n", "gives finite images of the same form"),
    ("fog", "* images +", "* images.double() +", "gives finite images of the same form"),
    ("fog", "strength * self.gray", "strength * self.grey", "makes its record"),
    ("noise", 'headline="kept_in_noise"', 'headline="kept_in_nois"', "names metrics and claims that read its record"),
    ("noise", "return {self.key: record}", 'return {"record": record}', "makes its record"),
    ("noise", 'Method("noise", component', 'Method("evasion", component', "has methods with its name"),
    ("straight", "problem.clip(", "(lambda images, size: images)(", "keeps the budget and the range"),
    ("dark", "self.keep * x", "0.9 * x", "uses every setting"),
    ("away", "-observed.gather", "-observed.softmax(0).gather", "does not depend on the batch"),
    ("plainly", "link(given)", "link(given).detach()", "lets the gradient reach the images"),
    ("tiny", "    inner = 16\n", "    inner = 16\n\n    def map(self, images, classes, labels):\n"
     "        found = super().map(images, classes, labels)\n        found.images.div_(2)\n        return images\n",
     "maps images of any size into its shape"),
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Digits of one's own."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "test"):
        draws = np.random.default_rng(len(split))
        images = draws.integers(0, 256, (100, 8, 8, 1), np.uint8)
        np.savez(folder / f"mydigits_{split}.npz", images=images, labels=np.arange(100) % 10)
    return folder


def sheet(name: str, block: str, root: Path) -> list[Line]:
    """What is found about a file, beside the one other that it names."""
    folder = root.parent / "mine"
    folder.mkdir(exist_ok=True)
    if name == "my_pair":
        (folder / "mydigits.py").write_text(GOOD["mydigits"])
    path = folder / f"{name}.py"
    path.write_text(block.replace('"usps"', '"optdigits"'))  # which a package carries
    return list(check(path.resolve(), root))


@pytest.mark.parametrize("name", GOOD)  # not slow: a recipe that breaks a contract is the first that a reader meets
def test_a_recipe_keeps_all_contracts(name: str, root: Path) -> None:
    lines = sheet(name, GOOD[name], root)
    assert [line for line in lines if line.state not in ("passed", "not asked")] == []
    assert any(line.state == "passed" for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "good", "bad", "contract"), BROKEN)
def test_what_an_author_gets_wrong_is_named_by_its_contract(
    name: str, good: str, bad: str, contract: str, root: Path
) -> None:
    block = GOOD[name].replace(good, bad)
    assert block != GOOD[name]
    broken = {line.contract: line.says for line in sheet(name, block, root) if line.state in ("broken", "unread")}
    assert contract in broken, broken
    assert broken[contract].endswith(".")
    assert "expected" in broken[contract].lower()
