"""Defenses against backdoors on the page: each beside the arms without it, and alarms judged over whole models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, mannwhitneyu

from tests.sinks.stamped_made import result
from tests.sinks.test_survival_section import part
from tl_robust.metrics import METRICS
from tl_robust.sinks.report.blocks import Fold, Table, Text
from tl_robust.sinks.report.protection import alarms, auroc, defended
from tl_robust.types import Stamped

NUMBERS = st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5, 4.0]), min_size=1, max_size=12)


def sifted(kept: int) -> dict[str, torch.Tensor]:
    """A filter that scores 50 images, of which the last 8 are poisoned, and keeps the first ``kept``."""
    place = torch.arange(50)
    return {
        "sifted_score": place.float() % 7,
        "sifted_label": place % 4,
        "sifted_poisoned": place >= 42,
        "sifted_kept": place < kept,
    }


CELLS = [
    result((75, 70, 70)),
    result((75, 60, 50), defense="random_removal", own=sifted(40)),
    result((75, 9, 2), (60, 88, 93), defense="early_loss", own=sifted(44)),
    result((75, 70, 70), strategy="scratch"),
]


def test_each_defense_stands_beside_the_training_without_it_and_the_random_arm() -> None:
    note, table = defended(part(CELLS))
    assert isinstance(note, Text)
    assert isinstance(table, Table)
    rows = [dict(zip(table.head, row, strict=True)) for row in table.body]
    assert [(row["strategy"], row["defense"]) for row in rows] == [
        ("finetune", "none"),
        ("finetune", "random_removal"),
        ("finetune", "early_loss"),
    ]  # fmt: skip  (scratch has no defense)
    assert [row["lift"].partition(" [")[0] for row in rows] == [f"{100 * n / 75:.1f} %" for n in (69, 49, 1)]
    assert [row["B right"].partition(" [")[0] for row in rows] == ["98.0 %", "98.0 %", "93.0 %"]
    assert [row["twin right"].partition(" [")[0] for row in rows] == ["99.0 %"] * 3
    assert [row["kept images"] for row in rows] == ["-", "40 of 50, 0 of 8 poisoned", "44 of 50, 2 of 8 poisoned"]
    assert "after 4 epochs" in table.title


def test_what_judges_a_filter_is_shown_as_its_metric_has_it() -> None:
    _, table = defended(part(CELLS))
    place = list(table.head).index("AUROC")
    expected = METRICS["filter_auroc"](CELLS[2].outcome)
    score, bad = CELLS[2].outcome.sifted_score, CELLS[2].outcome.sifted_poisoned
    naive = mannwhitneyu(score[bad].numpy(), score[~bad].numpy()).statistic / (8 * 42)
    assert float(expected[0]) == pytest.approx(naive)
    assert table.body[0][place] == "-"
    assert table.body[2][place] == f"{100 * naive:.1f} %"


def test_without_defenses_there_is_no_table() -> None:
    assert defended(part([CELLS[0], CELLS[3]])) == []


BAD, CLEAN = (3.1, 4.8, 2.0, 1.2), (1.3, 2.4, 0.9, 1.2)
MODELS = [
    result(index=pair, seed=seed, strategy=strategy, defense="neural_cleanse")
    for pair, (seed, strategy) in zip(
        zip(BAD, CLEAN, strict=True), [(0, "a"), (1, "a"), (0, "b"), (1, "b")], strict=True
    )
]


def test_alarms_over_models_are_ranked_and_their_false_alarms_counted() -> None:
    text, table, fold = alarms(part(MODELS))
    assert isinstance(text, Text)
    assert isinstance(table, Table)
    assert isinstance(fold, Fold)
    (row,) = table.body
    assert row[:2] == ("src → tgt, patch(target=0), poisoned pre-training", "neural_cleanse")
    assert row[2:4] == ("knows no defense", "4 and 4")
    assert row[4] == f"{mannwhitneyu(BAD, CLEAN).statistic / 16:.3f}"
    assert row[5:7] == ("1.20 to 4.80", "0.90 to 2.40")
    for shown, hits in ((row[7], 1), (row[8], 2)):  # above 2, not at it
        ends = binomtest(hits, 4).proportion_ci(0.95, "exact")
        assert shown == f"{hits} of 4 [{100 * ends.low:.1f}, {100 * ends.high:.1f} %]"
    each = fold.blocks[0]
    assert isinstance(each, Table)
    assert each.body[0] == ("a", "0", "3.10", "1.30")
    assert each.body[3] == ("b", "1", "1.20", "1.20")


def test_an_attacker_who_knows_the_alarm_has_a_row_of_his_own() -> None:
    """The cell counts the better of both attackers, here blends of a low index; the plain one stands beside it."""
    plain = [result(index=(9.0, 0.0)).outcome for _ in MODELS]
    both = [replace(one, beside=one.beside | {"plain": record}) for one, record in zip(MODELS, plain, strict=True)]
    _, table, *folds = alarms(part(both))
    assert isinstance(table, Table)
    shown = [(row[2], row[4], row[8].partition(" [")[0]) for row in table.body]
    assert shown == [
        ("knows no defense", "1.000", "4 of 4"),
        ("the better of him and those who know it", f"{mannwhitneyu(BAD, CLEAN).statistic / 16:.3f}", "2 of 4"),
    ]
    assert len(folds) == 2


def test_models_above_a_threshold_are_counted_where_the_alarm_came_with_one() -> None:
    def flagged(defense: str) -> list[str]:
        _, table, _ = alarms(part([replace(one, cell=replace(one.cell, defense=defense)) for one in MODELS]))
        assert isinstance(table, Table)
        (row,) = table.body
        return [shown.partition(" [")[0] for shown in row[7:]]

    assert flagged("neural_cleanse(steps=300)") == ["1 of 4", "2 of 4"]
    assert flagged("neural_cleanse(measure=size)") == flagged("neural_cleanse(measure=size, steps=300)") == ["-", "-"]
    assert flagged("another_alarm") == ["-", "-"]


def test_an_alarm_that_judges_images_is_ranked_by_its_area_in_each_model() -> None:
    """Images of other classes stamped against all clean ones, after the last epoch."""
    draw = torch.Generator().manual_seed(0)
    scores = [torch.rand(4, 3, 100, generator=draw) for _ in range(3)]
    cells = []
    for seed, (clean, stamped, of_twin, stamped_twin) in enumerate(scores):
        own = {"suspicion_clean": clean, "suspicion_stamped": stamped + 0.1 * seed}
        one = result(own=own, seed=seed, defense="strip")
        twin = {"suspicion_clean": of_twin, "suspicion_stamped": stamped_twin}
        beside = one.beside | {"twin": Stamped.of(one.beside["twin"].tensors() | twin)}
        cells.append(replace(one, beside=beside))

    def area(record: Stamped) -> float:
        high, low = record.suspicion_stamped[-1][record.label != 0], record.suspicion_clean[-1]
        return float(mannwhitneyu(high.numpy(), low.numpy()).statistic) / (75 * 100)

    bad, clean_ones = ([area(record) for record in side] for side in
                       ([one.outcome for one in cells], [one.beside["twin"] for one in cells]))  # fmt: skip
    _, table, fold = alarms(part([*cells, *CELLS]))
    assert isinstance(table, Table)
    assert isinstance(fold, Fold)
    (row,) = table.body
    assert row[1:5] == ("strip", "knows no defense", "3 and 3", f"{mannwhitneyu(bad, clean_ones).statistic / 9:.3f}")
    assert row[5:] == (*(f"{min(side):.2f} to {max(side):.2f}" for side in (bad, clean_ones)), "-", "-")


def test_a_twin_that_saw_another_trigger_does_not_judge_an_alarm_of_images() -> None:
    draw = torch.Generator().manual_seed(0)
    own = {
        "suspicion_clean": torch.rand(3, 100, generator=draw),
        "suspicion_stamped": torch.rand(3, 100, generator=draw),
    }
    one = result(own=own, defense="strip")
    twin = one.beside["twin"].tensors() | own
    assert len(alarms(part([replace(one, beside={"twin": Stamped.of(twin)})]))) == 3
    other = Stamped.of(twin | {"size_l2": torch.full((100,), 2.0)})
    assert alarms(part([replace(one, beside={"twin": other})])) == []
    assert alarms(part([one])) == []  # its twin has no alarm


@given(NUMBERS, NUMBERS)
def test_auroc_is_that_of_mann_and_whitney(bad: list[float], clean: list[float]) -> None:
    assert auroc(torch.tensor(bad), torch.tensor(clean)) == pytest.approx(
        mannwhitneyu(bad, clean).statistic / (len(bad) * len(clean))
    )
