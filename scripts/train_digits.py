#!/usr/bin/env python3
"""Trains the shipped example: a small SE-inception-residual network on scikit-learn's 8x8 digits.

Writes to --output (default: examples/): the checkpoint, the held-out 500 scans with labels, and 128 training scans for
calibration. Seeded throughout: the same bytes every time on one machine. About a minute on 2 cores:

    python scripts/train_digits.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

HELD_OUT = 500
CALIBRATION = 128
GATE = 0.975
EPOCHS = 60
BATCH = 64

Arrays = tuple[np.ndarray, np.ndarray]


def load_digits() -> tuple[Arrays, Arrays]:
    """(images, labels) for training and held out: float32 (n, 8, 8, 1) with raw values 0..16, int64 (n,).

    The last 500 in the data set's own order are held out.
    """
    from sklearn.datasets import load_digits as load

    data = load()
    images = data.images.astype(np.float32)[..., None]
    labels = data.target.astype(np.int64)
    return (images[:-HELD_OUT], labels[:-HELD_OUT]), (images[-HELD_OUT:], labels[-HELD_OUT:])


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by -1, 0 or 1 pixel in both directions, background filled in."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = rng.integers(0, 3, (2, len(images), 1, 1))
    index = np.arange(8)
    return padded[np.arange(len(images))[:, None, None], rows + index[:, None], columns + index]


def train(images: np.ndarray, labels: np.ndarray, seed: int) -> Any:
    """The trained network, as a model without optimizer or loss."""
    import keras
    import tensorflow as tf

    from exporter.models.table import plan_for

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    model = plan_for("digits_se_inception").build()
    steps = EPOCHS * -(-len(images) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=3e-3, warmup_steps=steps // 20)
    # Smoothed labels keep the probabilities off 0 and 1, where no comparison of two runtimes could see a difference.
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-2), loss)
    targets = np.eye(10, dtype=np.float32)[labels]
    rng = np.random.default_rng(seed)
    for epoch in range(EPOCHS):
        history = model.fit(shifted(images, rng), targets, batch_size=BATCH, verbose=0)
        print(f"epoch {epoch + 1:2d}/{EPOCHS}  loss {history.history['loss'][0]:.4f}", file=sys.stderr)
    return keras.Model(model.inputs, model.outputs, name=model.name)


def main() -> int:
    """Returns 0, or 1 when the network misses its accuracy (nothing is written then)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent.parent / "examples")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    from exporter.models.build import save_checkpoint

    (images, labels), (held_images, held_labels) = load_digits()
    model = train(images, labels, arguments.seed)
    correct = int((model.predict(held_images, verbose=0).argmax(-1) == held_labels).sum())
    print(f"accuracy {correct / HELD_OUT:.1%} ({correct} of {HELD_OUT} held out), {model.count_params()} parameters")
    if correct < GATE * HELD_OUT:
        print(f"below {GATE:.1%}: nothing written", file=sys.stderr)
        return 1
    arguments.output.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, arguments.output / "digits_se_inception.keras")
    np.savez_compressed(arguments.output / "digits.npz", image=held_images, labels=held_labels)
    chosen = np.random.default_rng(arguments.seed).choice(len(images), CALIBRATION, replace=False)
    np.savez_compressed(arguments.output / "digits_calibration.npz", image=images[np.sort(chosen)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
