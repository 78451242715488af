"""Small models of those families of KerasHub that are put together from other models, with random weights."""

from __future__ import annotations

from typing import Any

from .hub_text import MODELS_OF as _M
from .hub_text import Build, model


def _vae() -> Any:
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    filters = {"encoder_num_filters": [32, 32, 32, 32], "decoder_num_filters": [32, 32, 32, 32]}
    blocks = {"encoder_num_blocks": [1, 1, 1, 1], "decoder_num_blocks": [1, 1, 1, 1]}
    return VAEBackbone(**filters, **blocks, sampler_method="mode")  # no noise


def _stable_diffusion() -> Any:
    text = {"intermediate_output_index": 0, "max_sequence_length": 16}
    texts = [_M.CLIPTextEncoder(40, 8, 8, 2, 2, 12, **text, name=name) for name in ("clip_l", "clip_g")]
    diffuser = {"mmdit_patch_size": 2, "mmdit_hidden_dim": 8, "mmdit_num_layers": 2, "mmdit_num_heads": 2}
    more = {"mmdit_position_size": 12, "mmdit_qk_norm": "rms_norm", "mmdit_dual_attention_indices": (0,)}
    return _M.StableDiffusion3Backbone(
        **diffuser, **more, vae=_vae(), clip_l=texts[0], clip_g=texts[1], image_shape=(64, 64, 3)
    )


_GEMMA3N = {
    "text_vocab_size": 40,
    "text_hidden_size": 8,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "intermediate_size": [12, 12],
    "hidden_activation": "gelu_approximate",
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 4,
    "rope_theta": 10000.0,
    "max_position_embeddings": 16,
    "vocab_size_per_layer_input": 40,
    "hidden_size_per_layer_input": 2,
    "altup_num_inputs": 2,
    "laurel_rank": 2,
}
_FLUX = {
    "input_channels": 8,
    "hidden_size": 16,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [2, 2, 4],
    "theta": 10000,
    "use_bias": True,
    "image_shape": (12, 8),
    "text_shape": (5, 8),
    "image_ids_shape": (12, 3),
    "text_ids_shape": (5, 3),
    "y_shape": (8,),
}

PARTS: dict[str, Build] = {
    "Flux": model("FluxBackbone", **_FLUX),
    "Gemma 3n, text": model("Gemma3nBackbone", **_GEMMA3N),
    "Stable Diffusion 3": _stable_diffusion,
    "VAE": _vae,
}
