"""Steps along time: recurrent layers, masks, attention, products."""

from __future__ import annotations

import random
from typing import Any

import keras
from keras import layers as kl

from .layers import SIMPLE, Step, some


def recurrent(r: random.Random, x: Any) -> Any:
    units, more = r.randint(1, 5), some(r, return_sequences=[True, False], use_bias=[True, False])
    more |= some(r, go_backwards=[False, False, True], activation=["tanh", "tanh", "relu", "sigmoid"])
    name = r.choice(["LSTM", "GRU", "SimpleRNN"])
    if name == "GRU":
        more |= some(r, reset_after=[True, False])
    if r.random() < 0.15 and None not in x.shape[1:]:
        more["unroll"] = True
    if r.random() < 0.25:
        more |= some(r, dropout=[0.0, 0.2], recurrent_dropout=[0.0, 0.2])
    kind = r.random()
    if kind < 0.2:
        cells = [kl.LSTMCell(units), kl.GRUCell(units, reset_after=r.random() < 0.5), kl.SimpleRNNCell(units)]
        cell = r.choice([*cells, [cells[1], cells[2]], kl.StackedRNNCells([cells[0], kl.LSTMCell(units + 1)])])
        kept = {word: more[word] for word in ("return_sequences", "go_backwards")}
        return kl.RNN(cell, zero_output_for_mask=r.random() < 0.2, **kept)(x)
    layer = getattr(kl, name)(units, **more)
    if kind < 0.4:
        layer = kl.Bidirectional(layer, **some(r, merge_mode=["concat", "sum", "mul", "ave"]))
    elif kind < 0.5:
        back = kl.GRU(units, return_sequences=more["return_sequences"], go_backwards=not more["go_backwards"])
        layer = kl.Bidirectional(layer, backward_layer=back, merge_mode=r.choice(["concat", "sum"]))
    return layer(x)


def with_state(r: random.Random, x: Any) -> Any:
    """A recurrent layer that begins where another ended."""
    units, sequences, kind = r.randint(1, 4), r.random() < 0.5, r.random()
    if kind < 0.2:
        y, *states = kl.Bidirectional(kl.LSTM(units, return_state=True))(x)
        return kl.Concatenate()([y, *states[:3]])
    if kind < 0.6:
        y, *state = kl.LSTM(units, return_sequences=sequences, return_state=True)(x)
        return kl.LSTM(units, return_sequences=sequences)(x, initial_state=state)
    y, state = kl.GRU(units, return_sequences=True, return_state=True)(x)
    return kl.GRU(units, return_sequences=sequences)(y, initial_state=state)


def masked(r: random.Random, x: Any) -> Any:
    """Steps that are zero are left out, here or behind something that hands a mask on."""
    y = kl.Masking(0.0)(x)
    if r.random() < 0.5:
        return y
    between: list[Any] = [
        kl.TimeDistributed(kl.Dense(3)),
        kl.Dropout(0.1),
        kl.LayerNormalization(epsilon=0.01),
        kl.GlobalAveragePooling1D(),
        kl.BatchNormalization(),
        kl.LSTM(3, return_sequences=True),
        kl.Bidirectional(kl.GRU(2, return_sequences=True)),
        kl.SimpleRNN(3, go_backwards=True),
    ]
    return r.choice(between)(y)


def conv_lstm(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        more = some(r, padding=["valid", "same"], return_sequences=[True, False], go_backwards=[False, False, True])
        kind = getattr(kl, f"ConvLSTM{rank}D")
        if r.random() < 0.2:
            more["dropout"] = 0.2
        return kind(r.randint(1, 3), r.randint(1, 3), strides=r.randint(1, 2), **more)(x)

    return step


def attention(r: random.Random, x: Any) -> Any:
    kind = r.randrange(5)
    if kind == 0:
        more = some(r, use_bias=[True, False], value_dim=[None, 2], output_shape=[None, None, 3])
        return kl.MultiHeadAttention(r.randint(1, 3), r.randint(1, 4), **more)(x, x, use_causal_mask=r.random() < 0.3)
    if kind == 1:
        heads = r.choice([(4, 2), (4, 1), (2, 2)])
        return kl.GroupQueryAttention(r.randint(1, 4), *heads)(x, x, use_causal_mask=r.random() < 0.3)
    if kind == 4:  # fewer keys than queries, and what it looks at
        keys = kl.AveragePooling1D(2)(x)
        y, scores = kl.MultiHeadAttention(2, r.randint(1, 4))(x, keys, return_attention_scores=True)
        return y if r.random() < 0.6 else kl.GlobalMaxPooling2D(data_format="channels_first")(scores)
    other = kl.Dense(x.shape[-1])(x)
    if kind == 2:
        more = some(r, use_scale=[True, False], score_mode=["dot", "concat"])
        return kl.Attention(**more)([x, other], use_causal_mask=r.random() < 0.3)
    return kl.AdditiveAttention(use_scale=r.random() < 0.5)([x, other])


def distributed(r: random.Random, x: Any) -> Any:
    rank = len(x.shape) - 1
    if rank == 2:
        inner: list[Any] = [kl.Dense(r.randint(1, 5), activation=r.choice(SIMPLE)), kl.BatchNormalization()]
    elif rank == 3:
        inner = [kl.Conv1D(2, 2, padding="same"), kl.LSTM(3), kl.GlobalAveragePooling1D(), kl.Flatten()]
        inner += [
            kl.SeparableConv1D(2, 2, padding="same"),
            kl.LayerNormalization(epsilon=0.01),
            kl.Conv1DTranspose(2, 2),
        ]
    else:
        inner = [kl.Conv2D(2, 2), kl.MaxPooling2D(), kl.GlobalMaxPooling2D(), kl.Flatten(), kl.DepthwiseConv2D(2)]
        inner += [keras.Sequential([kl.Conv2D(2, 2, activation="relu"), kl.GlobalAveragePooling2D()])]
    return kl.TimeDistributed(r.choice(inner))(x)


def dot(r: random.Random, x: Any) -> Any:
    axes = r.choice([1, 2, -1, (1, 1), (2, 2)])
    return kl.Dot(axes=axes, normalize=r.random() < 0.5)([x, kl.Activation("tanh")(x)])


def einsum(r: random.Random, x: Any) -> Any:
    time = x.shape[1]
    kinds: list[Any] = [
        lambda: kl.EinsumDense("abc,cde->abde", output_shape=(time, 2, 3), bias_axes="de"),
        lambda: kl.EinsumDense("...x,xy->...y", output_shape=4, bias_axes="y", activation="relu"),
        lambda: kl.EinsumDense("abc,cd->abd", output_shape=(time, 3)),
        lambda: kl.EinsumDense("abc,bd->adc", output_shape=(3, x.shape[-1]), bias_axes="d"),
        lambda: kl.EinsumDense("abc,bcd->ad", output_shape=(3,), bias_axes="d"),
    ]
    return r.choice(kinds)()(x)
