"""Images as a published configuration wants them: compared with Pillow, torch, torchvision and by hand."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from published_made import images, pictures
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from tl_robust.errors import ConfigError
from tl_robust.models.preprocessing import Preprocess, Preprocessing, center_crop, resized
from tl_robust.models.processor import steps_of

PILLOW = {"bilinear": 2, "bicubic": 3, "lanczos": 1, "box": 4, "nearest": 0}
SIZES = [((40, 56), (23, 29)), ((20, 31), (47, 64)), ((33, 33), (32, 32)), ((64, 64), (7, 40))]


def by_pillow(pixels: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    done = [one.resize(size[::-1], Image.Resampling(PILLOW[interpolation])) for one in pictures(pixels)]
    return torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1) for one in done])


@pytest.mark.parametrize("interpolation", PILLOW)
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_resizing_is_pillows_up_to_its_rounding(
    before: tuple[int, int], after: tuple[int, int], interpolation: str
) -> None:
    pixels = images(*before)
    ours = 255 * resized(pixels.double() / 255, after, interpolation)
    difference = (ours - by_pillow(pixels, after, interpolation)).abs()
    assert difference.max() <= (0 if interpolation == "nearest" else 1.5)  # it rounds after each of two axes
    assert difference.mean() <= 0.5


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_resizing_is_torchs_with_antialiasing(
    before: tuple[int, int], after: tuple[int, int], interpolation: str
) -> None:
    x = 0.3 + 0.4 * images(*before).double() / 255  # so that nothing is clipped
    expected = functional.interpolate(x, after, mode=interpolation, antialias=True)
    torch.testing.assert_close(resized(x, after, interpolation), expected, rtol=0, atol=1e-6)


def test_without_antialiasing_a_shrunk_image_is_another() -> None:
    """So the test above can tell."""
    x = images(64, 64).double() / 255
    plain = functional.interpolate(x, (16, 16), mode="bilinear")
    assert (resized(x, (16, 16), "bilinear") - plain).abs().max() > 0.02


def test_a_size_that_was_first_asked_without_gradients_has_them_later() -> None:
    x = torch.rand(1, 3, 19, 23, dtype=torch.float64)
    with torch.inference_mode():
        resized(x, (13, 11), "bilinear")
    resized(x.requires_grad_(), (13, 11), "bilinear").sum().backward()
    assert x.grad is not None


def test_the_gradient_is_exact() -> None:
    steps = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.25), (9,), (6, 7), "bilinear")
    x = torch.rand(1, 3, 12, 15, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Preprocess(steps).double(), (x,))


@pytest.mark.parametrize("shape", [(40, 56), (56, 40), (33, 50), (16, 16), (20, 90)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_shorter_side_and_crop_are_torchvisions(shape: tuple[int, int], interpolation: str) -> None:
    pixels = 0.3 + 0.4 * images(*shape).double() / 255  # so that nothing is clipped
    theirs = v2.Compose(
        [
            v2.Resize(29, v2.InterpolationMode(interpolation), antialias=True),
            v2.CenterCrop((24, 26)),
            v2.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.25]),
        ]
    )
    steps = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.25), (29,), (24, 26), interpolation)
    torch.testing.assert_close(Preprocess(steps).double()(pixels), theirs(pixels), rtol=0, atol=1e-5)


def test_half_a_pixel_goes_low_or_to_the_even_place() -> None:
    x = torch.arange(7.0).expand(1, 1, 7, 7)
    assert center_crop(x, (4, 4))[0, 0, 0, 0] == 2  # round(1.5)
    assert center_crop(x, (4, 4), low=True)[0, 0, 0, 0] == 1
    padded = center_crop(x + 1, (8, 8))
    assert padded.shape == (1, 1, 8, 8)
    assert (padded == 0).sum() == 15


def test_the_description_can_be_read_again() -> None:
    steps = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.25), (29,), (24, 26), "bicubic", low=True)
    assert Preprocessing.parse(steps.text) == steps


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"interpolation": "cubic"}, "interpolation must be one of bilinear, bicubic"),
        ({"std": [0.1, 0.0, 0.1]}, "std of images must be 3 numbers above 0"),
        ({"mean": [0.1, 0.1]}, "mean of images must be 3 numbers, one a channel"),
        ({"mean": [0.1, "x", 0.1]}, "mean of images must be 3 numbers, one a channel"),
        ({"resize": [0, 3]}, "resize of images must be sides of 1 to 4096 pixels"),
        ({"crop": [3]}, "crop of images must be sides"),
        ({"resize": [10**9, 3]}, "resize of images must be sides"),
        ({"other": 1}, "preprocessing must be JSON"),
    ],
)
def test_a_wrong_description_is_one_sentence(entries: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Preprocessing.parse(json.dumps({"mean": [0.5] * 3, "std": [0.5] * 3} | entries))


# preprocessor_config.json

VIT: dict[str, object] = {
    "image_processor_type": "ViTImageProcessorFast",
    "size": {"height": 30, "width": 32},
    "resample": 2,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.3, 0.25],
}
CLIP, CONVNEXT = ({"image_processor_type": f"{kind}ImageProcessor"} for kind in ("CLIP", "ConvNext"))


@pytest.mark.parametrize(
    ("entries", "steps"),
    [
        ({}, {"resize": (30, 32)}),
        ({"size": 31}, {"resize": (31, 31)}),
        ({"image_processor_type": None, "feature_extractor_type": "ViTFeatureExtractor"}, {"resize": (30, 32)}),
        ({"do_resize": False}, {}),
        ({"do_center_crop": True, "crop_size": 20}, {"resize": (30, 32), "crop": (20, 20)}),
        (
            CLIP | {"size": 40, "crop_size": {"height": 3, "width": 4}, "resample": 3},
            {"resize": (40,), "crop": (3, 4), "interpolation": "bicubic"},
        ),
        (CONVNEXT | {"size": {"shortest_edge": 224}}, {"resize": (256,), "crop": (224, 224)}),
        (CONVNEXT | {"size": {"shortest_edge": 384}}, {"resize": (384, 384), "crop": (384, 384)}),
    ],
)  # fmt: skip
def test_steps_of_a_processor(entries: dict[str, object], steps: dict[str, object]) -> None:
    expected = Preprocessing(**({"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25), "low": True} | steps))  # type: ignore[arg-type]
    assert steps_of({key: value for key, value in (VIT | entries).items() if value is not None}) == expected


def test_another_rescaling_and_none_are_folded_into_mean_and_std() -> None:
    x = torch.rand(2, 3, 30, 32)
    for entries, expected in (
        ({"rescale_factor": 1 / 127.5}, (2 * x - 0.4) / 0.2),
        ({"do_rescale": False}, (255 * x - 0.4) / 0.2),
        ({"do_normalize": False}, x),
        ({"rescale_factor": 0.00392156862745098}, (x - 0.4) / 0.2),
    ):
        ours = Preprocess(steps_of(VIT | entries))(x)
        torch.testing.assert_close(ours[:, 0], expected[:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"auto_map": {"AutoImageProcessor": "mine.Mine"}}, "'auto_map', so it names code of its own"),
        ({"image_processor_type": "LlavaImageProcessor"}, "the image processor 'LlavaImageProcessor': known are Beit"),
        ({"do_flip_channel_order": True}, "the step 'do_flip_channel_order', which is not known"),
        ({"do_pad": True}, "the step 'do_pad'"),
        (
            {"size": {"shortest_edge": 3, "longest_edge": 4}},
            "size of preprocessor_config.json must be height and width",
        ),
        ({"size": {"height": "a", "width": 3}}, "resize of images must be sides"),
        ({"image_mean": "x"}, "image_mean of preprocessor_config.json must be 3 numbers"),
        ({"image_std": [0.0, 1.0, 1.0]}, "std of images must be 3 numbers above 0"),
        ({"resample": 5}, "resample of preprocessor_config.json must be one of 0, 1, 2, 3, 4, got 5"),
        ({"rescale_factor": 0}, "rescale_factor of preprocessor_config.json must be a number above 0"),
    ],
)
def test_a_processor_that_is_not_known_is_refused_by_name(entries: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        steps_of(VIT | entries)
