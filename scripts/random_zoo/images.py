"""Steps over the axes of images: sizes, and preprocessing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from keras import layers as kl

from .layers import Step, data_format, sizes, some


def resize_space(rank: int) -> Step:
    """Paddings, crops and repetitions of the middle axes."""

    def step(r: random.Random, x: Any) -> Any:
        word = r.choice(["ZeroPadding", "Cropping", "UpSampling"])
        order = {} if rank == 1 else {"data_format": data_format(r)}
        if word == "UpSampling":
            more = some(r, interpolation=["nearest", "bilinear", "bicubic", "lanczos3"]) if rank == 2 else {}
            return getattr(kl, f"UpSampling{rank}D")(sizes(r, rank, 1, 3) if rank > 1 else 2, **more, **order)(x)
        pairs = tuple((r.randint(0, 2), r.randint(0, 2)) for _ in range(rank))
        single = tuple(r.randint(0, 2) for _ in range(rank))
        amount: Any = r.choice([1, 2, single if rank > 1 else 2, pairs if rank > 1 else pairs[0]])
        return getattr(kl, f"{word}{rank}D")(amount, **order)(x)

    return step


def resizing(r: random.Random, x: Any) -> Any:
    more = some(r, interpolation=["bilinear", "bilinear", "nearest", "area", "bicubic", "lanczos3", "lanczos5"])
    more |= {"data_format": data_format(r), "antialias": r.random() < 0.2}
    kind = r.random()
    if kind < 0.2:
        more["crop_to_aspect_ratio"] = True
    elif kind < 0.35:
        more["pad_to_aspect_ratio"] = True
    return kl.Resizing(r.randint(2, 14), r.randint(2, 14), **more)(x)


def image_step(r: random.Random, x: Any) -> Any:
    """Preprocessing of images that does nothing, or one thing, when a model answers."""
    span = r.choice([(0, 1), (0, 255)])
    layers: list[Callable[[], Any]] = [
        lambda: kl.CenterCrop(r.randint(1, 8), r.randint(1, 8)),
        lambda: kl.RandomCrop(r.randint(1, 8), r.randint(1, 8)),
        lambda: kl.RandomFlip(r.choice(["horizontal", "vertical", "horizontal_and_vertical"])),
        lambda: kl.RandomRotation(0.1),
        lambda: kl.RandomZoom(0.1),
        lambda: kl.RandomContrast(0.1),
        lambda: kl.RandomTranslation(0.1, 0.1, fill_mode=r.choice(["constant", "reflect", "nearest", "wrap"])),
        lambda: kl.RandomBrightness(0.2, span),
        lambda: kl.RandomColorDegeneration(0.2, span),
        lambda: kl.RandomColorJitter(span, 0.1, 0.1, 0.1, 0.1),
        lambda: kl.RandomElasticTransform(0.2, 0.3, value_range=span),
        lambda: kl.RandomErasing(0.3, value_range=span),
        lambda: kl.RandomGaussianBlur(0.5, 3, 1.0, span),
        lambda: kl.RandomGrayscale(0.5),
        lambda: kl.RandomHue(0.2, span),
        lambda: kl.RandomInvert(0.5, span),
        lambda: kl.RandomPerspective(0.5, 0.3),
        lambda: kl.RandomPosterization(4, span),
        lambda: kl.RandomSaturation(0.2, span),
        lambda: kl.RandomSharpness(0.2, span),
        lambda: kl.Solarization(0.1, 0.2, span),
        lambda: kl.AutoContrast(value_range=span),
        lambda: kl.AugMix(span),
        lambda: kl.RandAugment(span),
        lambda: kl.CutMix(0.5),
        lambda: kl.MixUp(0.2),
        lambda: kl.Pipeline([kl.RandomFlip(), kl.Rescaling(1 / 3)]),
    ]
    return r.choice(layers)()(x)
