"""What is taken down on the way of an attack: the first gradient and loss of each sample, and its last loss."""

import torch

from tl_robust.attacks.problem import Notes


def test_a_first_gradient_is_zero_where_every_pixel_is_and_later_ones_do_not_count() -> None:
    """All zero; one pixel that is not; not a number; and a sample that is first asked in the second evaluation."""
    notes, gradient = Notes.blank(4, torch.device("cpu")), torch.zeros(3, 1, 2, 2)
    gradient[1, 0, 1, 0], gradient[2, 0, 0, 0] = -1e-30, torch.nan
    notes.write(torch.tensor([0, 1, 3]), torch.tensor([1.0, 2.0, 3.0]), gradient)
    assert notes.zero.tolist() == [True, False, False, False]
    assert notes.first_loss[[0, 1, 3]].tolist() == [1, 2, 3]
    assert notes.first_loss[2].isnan()
    later = torch.stack([gradient[1], gradient[0], gradient[0]])
    notes.write(torch.tensor([0, 2, 1]), torch.tensor([8.0, 7.0, 9.0]), later)
    assert notes.zero.tolist() == [True, False, True, False]
    assert notes.first_loss.tolist() == [1, 2, 7, 3]
    assert notes.last_loss.tolist() == [8, 9, 7, 3]
