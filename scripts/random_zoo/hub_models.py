"""Small models of KerasHub's families with random weights: what `scripts/try_keras_hub` converts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras_hub

_M = keras_hub.models
_TEXT = {"vocabulary_size": 40, "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 12}
_SIMPLE = _TEXT | {"num_heads": 2, "max_sequence_length": 16}
_ROTARY = _TEXT | {"num_query_heads": 4, "num_key_value_heads": 2}
_SIZE = (32, 32, 3)


def _resnet(**more: Any) -> Any:
    given = {"input_conv_filters": [64], "input_conv_kernel_sizes": [3], "block_type": "basic_block"}
    stages = {"stackwise_num_filters": [64, 64, 64, 64], "stackwise_num_blocks": [1, 1, 1, 1]}
    return _M.ResNetBackbone(**given, **stages, stackwise_num_strides=[1, 2, 2, 2], **more)


def _mit() -> Any:
    heads, patches = {"layerwise_num_heads": [1, 2], "layerwise_sr_ratios": [2, 1]}, {"layerwise_patch_sizes": [3, 3]}
    sizes = {"image_shape": _SIZE, "hidden_dims": [8, 12], "max_drop_path_rate": 0.1, "num_layers": 2}
    return _M.MiTBackbone(layerwise_depths=[1, 1], layerwise_strides=[2, 2], **heads, **patches, **sizes)


def _deeplab() -> Any:
    given = {"spatial_pyramid_pooling_key": "P4", "low_level_feature_key": "P2", "upsampling_size": 4}
    encoder = _resnet(image_shape=(64, 64, 3))
    return _M.DeepLabV3Backbone(encoder, dilation_rates=[2, 3], projection_filters=4, image_shape=(64, 64, 3), **given)


def _retinanet() -> Any:
    shape = (64, 64, 3)
    return _M.RetinaNetBackbone(_resnet(image_shape=shape), 3, 5, use_p5=False, image_shape=shape)


def _mobilenet() -> Any:
    blocks = {"stackwise_expansion": [[8, 12]], "stackwise_num_filters": [[8, 8]], "stackwise_num_blocks": [2]}
    more = {"stackwise_kernel_size": [[3, 5]], "stackwise_num_strides": [[2, 1]], "stackwise_se_ratio": [[None, 0.25]]}
    last = {"stackwise_activation": [["relu", "hard_swish"]], "stackwise_padding": [[1, 2]], "output_num_filters": 16}
    depthwise = {"depthwise_filters": 8, "depthwise_stride": 1, "depthwise_residual": False, "last_layer_filter": 12}
    return _M.MobileNetBackbone(**blocks, **more, **last, **depthwise, squeeze_and_excite=0.5, image_shape=_SIZE)


def _efficientnet() -> Any:
    kinds = {"stackwise_kernel_sizes": [3, 5], "stackwise_num_repeats": [1, 2], "stackwise_strides": [1, 2]}
    widths = {"stackwise_input_filters": [8, 8], "stackwise_output_filters": [8, 12], "num_features": 16}
    more = {"stackwise_expansion_ratios": [1, 4], "stackwise_squeeze_and_excite_ratios": [0.0, 0.25]}
    coefficients = {"stackwise_width_coefficients": [1.0] * 2, "stackwise_depth_coefficients": [1.0] * 2}
    blocks = {"stackwise_block_types": ["fused", "unfused"], "stackwise_force_input_filters": [0, 0]}
    return _M.EfficientNetBackbone(
        **kinds, **widths, **more, **blocks, **coefficients, stackwise_nores_option=[False] * 2, input_shape=_SIZE
    )


def _hgnet() -> Any:
    stages = {"stackwise_stage_filters": [(8, 4, 8, 1, 1, 3), (8, 4, 12, 1, 1, 3)], "depths": [1, 1]}
    more = {"embedding_size": 8, "hidden_sizes": [8, 12], "stem_channels": [3, 8, 8], "hidden_act": "relu"}
    flags = {"use_learnable_affine_block": True, "apply_downsample": [False, True]}
    return _M.HGNetV2Backbone(**stages, **more, **flags, use_lightweight_conv_block=[False, True], image_shape=_SIZE)


def _csp() -> Any:
    given = {
        "stem_filters": 8,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "block_type": "dark_block",
        "stage_type": "dark",
    }
    stages = {"stackwise_depth": [1, 1], "stackwise_strides": [1, 2], "stackwise_num_filters": [8, 12]}
    return _M.CSPNetBackbone(**given, **stages, image_shape=_SIZE)


def _vit() -> Any:
    return _M.ViTBackbone(_SIZE, (8, 8), num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12)


def _xception() -> Any:
    return _M.XceptionBackbone([[8, 8], [12, 12]], [True, False], image_shape=_SIZE)


def _classifier(kind: str, backbone: Callable[[], Any], **more: Any) -> Callable[[], Any]:
    return lambda: getattr(_M, kind)(backbone=backbone(), num_classes=3, **more)


def _text(kind: str, **more: Any) -> Callable[[], Any]:
    return lambda: getattr(_M, kind)(**more)


_BERT = _text("BertBackbone", **_SIMPLE)
_GPT2 = _text("GPT2Backbone", **_SIMPLE)
_GEMMA = _text("GemmaBackbone", **_ROTARY, head_dim=4)
_WHISPER = {"num_mels": 8, "max_encoder_sequence_length": 32, "max_decoder_sequence_length": 16}
_PLAIN = {key: value for key, value in _SIMPLE.items() if key != "max_sequence_length"}
_ELECTRA = {key: value for key, value in _SIMPLE.items() if key != "vocabulary_size"}

MODELS: dict[str, Callable[[], Any]] = {
    "ALBERT": _text("AlbertBackbone", **_SIMPLE, embedding_dim=8),
    "BART": _text("BartBackbone", **_SIMPLE),
    "BERT": _BERT,
    "BERT, text classifier": _classifier("BertTextClassifier", _BERT),
    "BERT, masked LM": lambda: _M.BertMaskedLM(backbone=_BERT()),
    "BLOOM": _text("BloomBackbone", **_PLAIN),
    "DeBERTa v3": _text("DebertaV3Backbone", **_SIMPLE, bucket_size=8),
    "DistilBERT": _text("DistilBertBackbone", **_SIMPLE),
    "ELECTRA": _text("ElectraBackbone", vocab_size=40, embedding_dim=8, **_ELECTRA),
    "Falcon": _text("FalconBackbone", **_TEXT, num_attention_heads=2),
    "FNet": _text("FNetBackbone", **_TEXT, max_sequence_length=16),
    "Gemma": _GEMMA,
    "Gemma, causal LM": lambda: _M.GemmaCausalLM(backbone=_GEMMA()),
    "Gemma 3, text": _text("Gemma3Backbone", **_ROTARY, head_dim=4, image_size=None),
    "GPT-2": _GPT2,
    "GPT-2, causal LM": lambda: _M.GPT2CausalLM(backbone=_GPT2()),
    "GPT-NeoX": _text("GPTNeoXBackbone", **(_SIMPLE | {"rotary_percentage": 0.5})),
    "Llama": _text("LlamaBackbone", **_ROTARY),
    "Mistral": _text("MistralBackbone", **_ROTARY, sliding_window=4),
    "OPT": _text("OPTBackbone", **_SIMPLE),
    "Phi-3": _text("Phi3Backbone", **_ROTARY),
    "Qwen 2.5": _text("QwenBackbone", **_ROTARY),
    "RoBERTa": _text("RobertaBackbone", **_SIMPLE),
    "T5": _text("T5Backbone", **_PLAIN),
    "Whisper": _text("WhisperBackbone", **_PLAIN, **_WHISPER),
    "XLNet": _text("XLNetBackbone", **_PLAIN),
    "CSPDarkNet (YOLO)": _csp,
    "DeepLab v3, segmenter": _classifier("DeepLabV3ImageSegmenter", _deeplab),
    "DeiT": lambda: _M.DeiTBackbone(_SIZE, 8, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=12),
    "DenseNet": lambda: _M.DenseNetBackbone([1, 1], image_shape=_SIZE, growth_rate=4),
    "DINOv2": lambda: _M.DINOV2Backbone(8, 2, 8, 2, 12, image_shape=_SIZE, position_embedding_shape=_SIZE),
    "EfficientNet": _efficientnet,
    "HGNetV2": _hgnet,
    "MiT": _mit,
    "MobileNet": _mobilenet,
    "ResNet": lambda: _resnet(image_shape=_SIZE),
    "ResNet, any size, classifier": _classifier("ResNetImageClassifier", _resnet),
    "ResNet V2": lambda: _resnet(image_shape=_SIZE, use_pre_activation=True),
    "RetinaNet, detector": lambda: _M.RetinaNetObjectDetector(_retinanet(), 3),
    "SegFormer, segmenter": _classifier("SegFormerImageSegmenter", lambda: _M.SegFormerBackbone(_mit(), 8)),
    "Swin": lambda: _M.SwinTransformerBackbone(_SIZE, 8, (1, 1), (1, 2), 4, patch_size=2),
    "VGG": lambda: _M.VGGBackbone([1, 1], [8, 12], image_shape=_SIZE),
    "ViT": _vit,
    "ViT, classifier": _classifier("ViTImageClassifier", _vit),
    "Xception": _xception,
}
