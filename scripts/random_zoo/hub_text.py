"""Small models of KerasHub's families of text with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras_hub

Build = Callable[[], Any]
MODELS_OF = keras_hub.models
BARE = {"vocabulary_size": 40, "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 12}
PLAIN = BARE | {"num_heads": 2}
SIMPLE = PLAIN | {"max_sequence_length": 16}
ROTARY = BARE | {"num_query_heads": 4, "num_key_value_heads": 2}
EXPERTS = {"num_experts": 4, "top_k": 2}


def model(kind: str, *given: Any, **options: Any) -> Build:
    return lambda: getattr(MODELS_OF, kind)(*given, **options)


def task(kind: str, backbone: Build, **options: Any) -> Build:
    return lambda: getattr(MODELS_OF, kind)(backbone=backbone(), preprocessor=None, **options)


def at_length(build: Build, length: int) -> Build:
    """The model within one whose inputs have that length."""

    def around() -> Any:
        import keras

        model = build()
        inputs = {x.name: keras.Input((length,), dtype=x.dtype, name=x.name) for x in model.inputs}
        return keras.Model(inputs, model(inputs))

    return around


_BERT = model("BertBackbone", **SIMPLE)
_GPT2 = model("GPT2Backbone", **SIMPLE)
_GEMMA = model("GemmaBackbone", **ROTARY, head_dim=4)
_CLASSES = {"num_classes": 3}
_WHISPER = {"num_mels": 8, "max_encoder_sequence_length": 32, "max_decoder_sequence_length": 16}
_ELECTRA = {"vocab_size": 40, "embedding_dim": 8} | {k: v for k, v in SIMPLE.items() if k != "vocabulary_size"}
_ALBERT = model("AlbertBackbone", **SIMPLE, embedding_dim=8)
_BART = model("BartBackbone", **SIMPLE)
_DEBERTA = model("DebertaV3Backbone", **SIMPLE, bucket_size=8)
_DISTIL = model("DistilBertBackbone", **SIMPLE)
_ESM = model("ESMBackbone", **PLAIN)
_FNET = model("FNetBackbone", **BARE, max_sequence_length=16)
_ROBERTA = model("RobertaBackbone", **SIMPLE)
_XLM = model("XLMRobertaBackbone", **SIMPLE)
_ROFORMER = model("RoformerV2Backbone", **PLAIN, head_size=4)
_GEMMA2 = model(
    "GemmaBackbone",
    **(ROTARY | {"head_dim": 4, "sliding_window_size": 5, "use_sliding_window_attention": True}),
    attention_logit_soft_cap=50,
    final_logit_soft_cap=30,
    query_head_dim_normalize=False,
    use_post_ffw_norm=True,
    use_post_attention_norm=True,
)
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "partial_rotary_factor": 0.25,
    "head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "linear_conv_kernel_dim": 4,
}
_QWEN35 = task("Qwen3_5CausalLM", model("Qwen3_5Backbone", **ROTARY, **_LINEAR))
_QWEN35_MOE = task(
    "Qwen3_5MoeCausalLM",
    model(
        "Qwen3_5MoeBackbone",
        **{name: value for name, value in (ROTARY | EXPERTS | _LINEAR).items() if name != "intermediate_dim"},
        moe_intermediate_dim=8,
        shared_expert_intermediate_size=8,
    ),
)
_SU = {"rope_scaling_type": "su", "max_sequence_length": 16, "pretraining_sequence_length": 8}
_SU |= {"rope_scaling_short_factor": [1.2], "rope_scaling_long_factor": [0.8]}
_PHI3 = ROTARY | {"num_query_heads": 4}
_SMOL3 = {
    "vocabulary_size": 40,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "num_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "rope_layer_enabled_list": [True, False],
    "layer_types": ["attention", "attention"],
    "layer_norm_epsilon": 1e-5,
    "max_position_embeddings": 16,
    "rope_theta": 1e4,
    "partial_rotary_factor": 1.0,
}


def _t5gemma() -> dict[str, Any]:
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {
            "hidden_dim": 8,
            "intermediate_dim": 12,
            "num_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 4,
            "layer_types": ["sliding_attention", "full_attention"],
        }.items()
    }
    more = {"query_pre_attn_scalar": 4.0, "sliding_window": 4, "cross_attention_hidden_size": 8}
    flags = {"tie_word_embeddings": True, "attention_bias": False, "hidden_activation": "gelu_approximate"}
    rates = {"dropout_rate": 0.0, "attention_dropout": 0.0, "rms_norm_eps": 1e-6, "initializer_range": 0.04}
    return (
        {"vocabulary_size": 40, "rope_max_wavelength": 1e4, "attn_logit_softcapping": 50.0}
        | sides
        | more
        | flags
        | rates
    )


_T5GEMMA = _t5gemma()
_MOE = ROTARY | EXPERTS | {"moe_intermediate_dim": 8}
_MOONSHINE = {
    "vocabulary_size": 40,
    "filter_dim": 8,
    "encoder_num_layers": 1,
    "decoder_num_layers": 1,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "encoder_num_heads": 2,
    "decoder_num_heads": 2,
    "max_position_embeddings": 64,
}

TEXT: dict[str, Build] = {
    "ALBERT": _ALBERT,
    "ALBERT, text classifier": task("AlbertTextClassifier", _ALBERT, **_CLASSES),
    "BART": _BART,
    "BART, Seq2Seq": task("BartSeq2SeqLM", _BART),
    "BERT": _BERT,
    "BERT, text classifier": task("BertTextClassifier", _BERT, **_CLASSES),
    "BERT, masked LM": task("BertMaskedLM", _BERT),
    "BERT, text embedder": task("BertTextEmbedder", _BERT),
    "BLOOM, causal LM": task("BloomCausalLM", model("BloomBackbone", **PLAIN)),
    "DeBERTa v3": _DEBERTA,
    "DeBERTa v3, text classifier": task("DebertaV3TextClassifier", _DEBERTA, **_CLASSES),
    "DistilBERT": _DISTIL,
    "DistilBERT, text classifier": task("DistilBertTextClassifier", _DISTIL, **_CLASSES),
    "EdRec": model(
        "EdRecBackbone",
        vocab_size=40,
        num_layers_enc=1,
        num_layers_dec=1,
        hidden_dim=8,
        intermediate_dim=12,
        num_heads=2,
    ),
    "ELECTRA": model("ElectraBackbone", **_ELECTRA),
    "ESM": _ESM,
    "ESM, protein classifier": task("ESMProteinClassifier", _ESM, **_CLASSES),
    "Falcon, causal LM": task("FalconCausalLM", model("FalconBackbone", **BARE, num_attention_heads=2)),
    "FNet": _FNET,
    "FNet, text classifier": task("FNetTextClassifier", _FNET, **_CLASSES),
    "Gemma": _GEMMA,
    "Gemma, causal LM": task("GemmaCausalLM", _GEMMA),
    "Gemma 2, causal LM": task("GemmaCausalLM", _GEMMA2),
    "Gemma 3, causal LM of text": task(
        "Gemma3CausalLM", model("Gemma3Backbone", **ROTARY, head_dim=4, image_size=None)
    ),
    "Gemma 4, causal LM of text": task(
        "Gemma4CausalLM", model("Gemma4Backbone", **ROTARY, head_dim=4, image_size=None, sliding_window_size=4)
    ),
    "GPT-2": _GPT2,
    "GPT-2, causal LM": task("GPT2CausalLM", _GPT2),
    "GPT-NeoX, causal LM": task("GPTNeoXCausalLM", model("GPTNeoXBackbone", **SIMPLE, rotary_percentage=0.5)),
    "GPT-OSS, causal LM": task("GptOssCausalLM", model("GptOssBackbone", **ROTARY, **EXPERTS, sliding_window=4)),
    "Llama, causal LM": task("LlamaCausalLM", model("LlamaBackbone", **ROTARY)),
    "Llama 3, causal LM": task("Llama3CausalLM", model("Llama3Backbone", **ROTARY)),
    "Mistral, causal LM": task("MistralCausalLM", model("MistralBackbone", **ROTARY, sliding_window=4)),
    "Mixtral, causal LM": task("MixtralCausalLM", model("MixtralBackbone", **ROTARY, **EXPERTS, sliding_window=4)),
    "Moonshine, audio to text": task("MoonshineAudioToText", model("MoonshineBackbone", **_MOONSHINE)),
    "OPT, causal LM": task("OPTCausalLM", model("OPTBackbone", **SIMPLE)),
    "Phi-3, causal LM": task("Phi3CausalLM", model("Phi3Backbone", **_PHI3)),
    "Phi-3, longer rotary": model("Phi3Backbone", **_PHI3, **_SU),
    "Qwen 2.5, causal LM": task("QwenCausalLM", model("QwenBackbone", **ROTARY)),
    "Qwen MoE, causal LM": task("QwenMoeCausalLM", model("QwenMoeBackbone", **_MOE, shared_expert_intermediate_dim=8)),
    "Qwen 3, causal LM": task("Qwen3CausalLM", model("Qwen3Backbone", **ROTARY, head_dim=4)),
    "Qwen 3 MoE, causal LM": task("Qwen3MoeCausalLM", model("Qwen3MoeBackbone", **_MOE, head_dim=4)),
    "Qwen 3.5 MoE, causal LM of 12 words": at_length(_QWEN35_MOE, 12),
    "Qwen 3.5, causal LM": _QWEN35,
    "Qwen 3.5, causal LM of 12 words": at_length(_QWEN35, 12),
    "RoBERTa": _ROBERTA,
    "RoBERTa, text classifier": task("RobertaTextClassifier", _ROBERTA, **_CLASSES),
    "RoFormer v2": _ROFORMER,
    "RoFormer v2, text classifier": task("RoformerV2TextClassifier", _ROFORMER, **_CLASSES),
    "RWKV-7, causal LM": task(
        "RWKV7CausalLM",
        model(
            "RWKV7Backbone",
            hidden_size=8,
            head_size=4,
            num_layers=2,
            vocabulary_size=40,
            intermediate_dim=12,
            gate_lora=4,
            mv_lora=4,
            aaa_lora=4,
            decay_lora=4,
        ),
    ),
    "SmolLM 3, causal LM": task("SmolLM3CausalLM", model("SmolLM3Backbone", **_SMOL3)),
    "T5": model("T5Backbone", **PLAIN),
    "T5, Seq2Seq": task("T5Seq2SeqLM", model("T5Backbone", **PLAIN)),
    "T5Gemma, Seq2Seq": task("T5GemmaSeq2SeqLM", model("T5GemmaBackbone", **_T5GEMMA)),
    "T5Gemma 2, Seq2Seq": task("T5Gemma2Seq2SeqLM", model("T5Gemma2Backbone", **_T5GEMMA, use_query_key_norm=True)),
    "Whisper": model("WhisperBackbone", **PLAIN, **_WHISPER),
    "XLM-RoBERTa, text classifier": task("XLMRobertaTextClassifier", _XLM, **_CLASSES),
    "XLNet": model("XLNetBackbone", **PLAIN),
}
