"""Small models of KerasHub's families of images, and of images with text, with random weights."""

from __future__ import annotations

from typing import Any

from .hub_text import MODELS_OF as _M
from .hub_text import ROTARY, Build, model, task

_SIZE = (32, 32, 3)
_LARGER = (64, 64, 3)
_CLASSES = {"num_classes": 3}


def _resnet(**more: Any) -> Any:
    stages = {"stackwise_num_filters": [64, 64, 64, 64], "stackwise_num_blocks": [1, 1, 1, 1]}
    given = {"input_conv_filters": [64], "input_conv_kernel_sizes": [3], "block_type": "basic_block"} | stages
    return _M.ResNetBackbone(**(given | {"stackwise_num_strides": [1, 2, 2, 2]} | more))


def _mit() -> Any:
    heads, patches = {"layerwise_num_heads": [1, 2], "layerwise_sr_ratios": [2, 1]}, {"layerwise_patch_sizes": [3, 3]}
    sizes = {"image_shape": _SIZE, "hidden_dims": [8, 12], "max_drop_path_rate": 0.1, "num_layers": 2}
    return _M.MiTBackbone(layerwise_depths=[1, 1], layerwise_strides=[2, 2], **heads, **patches, **sizes)


def _deeplab() -> Any:
    given = {"spatial_pyramid_pooling_key": "P4", "low_level_feature_key": "P2", "upsampling_size": 4}
    encoder = _resnet(image_shape=_LARGER)
    return _M.DeepLabV3Backbone(encoder, dilation_rates=[2, 3], projection_filters=4, image_shape=_LARGER, **given)


def _retinanet() -> Any:
    return _M.RetinaNetBackbone(_resnet(image_shape=_LARGER), 3, 5, use_p5=False, image_shape=_LARGER)


def _mobilenet() -> Any:
    blocks = {"stackwise_expansion": [[8, 12]], "stackwise_num_filters": [[8, 8]], "stackwise_num_blocks": [2]}
    more = {"stackwise_kernel_size": [[3, 5]], "stackwise_num_strides": [[2, 1]], "stackwise_se_ratio": [[None, 0.25]]}
    last = {"stackwise_activation": [["relu", "hard_swish"]], "stackwise_padding": [[1, 2]], "output_num_filters": 16}
    depthwise = {"depthwise_filters": 8, "depthwise_stride": 1, "depthwise_residual": False, "last_layer_filter": 12}
    return _M.MobileNetBackbone(**blocks, **more, **last, **depthwise, squeeze_and_excite=0.5, image_shape=_SIZE)


def _mobilenet5() -> Any:
    first, second = {"block_types": "er", "strides": 2, "dw_kernel_sizes": 0}, {"block_types": "uir", "strides": 1}
    second |= {"dw_kernel_sizes": 5, "exp_kernel_sizes": 0, "pw_kernel_sizes": 0}
    same = {"act_layers": "relu", "exp_ratios": 2.0, "se_ratios": 0.0, "use_cpe": False, "num_filters": 8}
    zeros = ("dw_start_kernel_sizes", "dw_end_kernel_sizes", "num_heads", "key_dims", "value_dims", "kv_strides")
    both = [
        dict.fromkeys(zeros, 0) | same | one for one in (first | {"exp_kernel_sizes": 3, "pw_kernel_sizes": 1}, second)
    ]
    stages = {f"stackwise_{name}": [[block[name]] for block in both] for name in both[0]}
    return _M.MobileNetV5Backbone(
        **stages, stackwise_num_blocks=[1, 1], image_shape=_SIZE, stem_size=8, num_features=8, use_msfa=False
    )


def _efficientnet(**more: Any) -> Any:
    kinds = {"stackwise_kernel_sizes": [3, 5], "stackwise_num_repeats": [1, 2], "stackwise_strides": [1, 2]}
    widths = {"stackwise_input_filters": [8, 8], "stackwise_output_filters": [8, 12]}  # its config loses num_features
    ratios = {"stackwise_expansion_ratios": [1, 4], "stackwise_squeeze_and_excite_ratios": [0.0, 0.25]}
    coefficients = {"stackwise_width_coefficients": [1.0] * 2, "stackwise_depth_coefficients": [1.0] * 2}
    blocks = {"stackwise_block_types": ["fused", "unfused"], "stackwise_force_input_filters": [0, 0]}
    given = kinds | widths | ratios | blocks | coefficients | {"stackwise_nores_option": [False] * 2}
    return _M.EfficientNetBackbone(**(given | more), input_shape=_SIZE)


def _hgnet(**more: Any) -> Any:
    stages = {"stackwise_stage_filters": [(8, 4, 8, 1, 1, 3), (8, 4, 12, 1, 1, 3)], "depths": [1, 1]}
    widths = {"embedding_size": 8, "hidden_sizes": [8, 12], "stem_channels": [3, 8, 8], "hidden_act": "relu"}
    flags = {"use_learnable_affine_block": True, "apply_downsample": [False, True], "image_shape": _SIZE}
    return _M.HGNetV2Backbone(**(stages | widths | flags | {"use_lightweight_conv_block": [False, True]} | more))


def _dfine() -> Any:
    levels = ["stage1", "stage2"]
    encoder = {
        "encoder_in_channels": [8, 12],
        "encode_proj_layers": [1],
        "encoder_hidden_dim": 8,
        "encoder_ffn_dim": 12,
    }
    decoder = {"decoder_in_channels": [8, 8], "num_decoder_layers": 2, "decoder_attention_heads": 2}
    decoder |= {"decoder_ffn_dim": 12, "decoder_n_points": [2, 2], "hidden_dim": 8, "num_attention_heads": 2}
    queries = {"num_queries": 6, "num_denoising": 4, "num_labels": 3, "learn_initial_query": False, "eval_idx": -1}
    sizes = {"anchor_image_size": (32, 32), "feat_strides": [4, 8], "num_feature_levels": 2, "image_shape": _SIZE}
    more = {"hidden_expansion": 0.5, "depth_multiplier": 0.5, "num_encoder_layers": 1, "out_features": levels}
    last = {"lqe_hidden_dim": 8, "num_lqe_layers": 2, "seed": 0}
    return _M.DFineBackbone(_hgnet(out_features=levels), **encoder, **decoder, **queries, **sizes, **more, **last)


def _csp(**more: Any) -> Any:
    stem = {"stem_filters": 8, "stem_kernel_size": 3, "stem_strides": 1, "image_shape": _SIZE}
    stages = {"stackwise_depth": [1, 1], "stackwise_strides": [1, 2], "stackwise_num_filters": [8, 12]}
    return _M.CSPNetBackbone(**(stem | stages | {"block_type": "dark_block", "stage_type": "dark"} | more))


def _crossed() -> Any:
    ratios = {"bottle_ratio": (0.5, 1.0), "block_ratio": (1.0, 0.5), "expand_ratio": (2.0, 1.0)}
    return _csp(stage_type="csp", down_growth=True, stem_padding="same", **ratios)


def _vit(**more: Any) -> Any:
    return _M.ViTBackbone(_SIZE, (8, 8), num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, **more)


def _dino(**more: Any) -> Any:
    return _M.DINOV2Backbone(8, 2, 8, 2, 12, image_shape=_SIZE, **({"position_embedding_shape": _SIZE} | more))


def _depth() -> Any:
    encoder = _M.DINOV2Backbone(
        8, 4, 8, 2, 12, image_shape=_LARGER, position_embedding_shape=_LARGER, apply_layernorm=True
    )
    sizes = {"reassemble_factors": [4, 2, 1, 0.5], "neck_hidden_dims": [4, 4, 4, 4], "fusion_hidden_dim": 4}
    keys = [f"stage{k}" for k in range(1, 5)]
    return _M.DepthAnythingBackbone(encoder, **sizes, head_hidden_dim=4, head_in_index=-1, feature_keys=keys)


def _swin() -> Any:
    return _M.SwinTransformerBackbone(_SIZE, 8, (2, 2), (1, 2), 4, patch_size=2)


def _sam() -> Any:
    from keras_hub.layers import SAMMaskDecoder, SAMPromptEncoder

    sizes = {"hidden_size": 8, "num_layers": 2, "intermediate_dim": 12, "num_heads": 2, "patch_size": 8}
    more = {"global_attention_layer_indices": [1], "num_output_channels": 8, "window_size": 2, "image_shape": _SIZE}
    decoder = {"num_layers": 1, "hidden_size": 8, "intermediate_dim": 12, "num_heads": 2, "embedding_dim": 8}
    heads = {"num_multimask_outputs": 3, "iou_head_depth": 2, "iou_head_hidden_dim": 8}
    prompts = SAMPromptEncoder(
        hidden_size=8, image_embedding_size=(4, 4), input_image_size=(32, 32), mask_in_channels=16
    )
    return _M.SAMBackbone(_M.ViTDetBackbone(**sizes, **more), prompts, SAMMaskDecoder(**decoder, **heads))


def _clip(kind: str, **more: Any) -> Build:
    def build() -> Any:
        vision = getattr(_M, f"{kind}VisionEncoder")(8, 8, 2, 2, 12, image_shape=_SIZE, name="vision_encoder")
        text = getattr(_M, f"{kind}TextEncoder")(40, 8, 8, 2, 2, 12, max_sequence_length=16, name="text_encoder")
        return getattr(_M, f"{kind}Backbone")(vision, text, **more)

    return build


def _gemma3() -> Any:
    sizes = {"image_size": 16, "patch_size": 4, "pool_size": 2, "num_layers": 1, "num_heads": 2, "hidden_dim": 8}
    vision = _M.Gemma3VisionEncoder(**sizes, intermediate_dim=12, output_dim=8)
    return _M.Gemma3Backbone(**ROTARY, head_dim=4, image_size=16, vision_encoder=vision)


def _paligemma() -> Any:
    vision = {"vit_patch_size": 4, "vit_num_layers": 1, "vit_num_heads": 2, "vit_hidden_dim": 8}
    return _M.PaliGemmaBackbone(**ROTARY, head_dim=4, image_size=16, **vision, vit_intermediate_dim=12)


def _parseq() -> Any:
    encoder = _vit(use_class_token=False, name="image_encoder")
    sizes = {"decoder_hidden_dim": 8, "num_decoder_layers": 1, "num_decoder_heads": 2, "decoder_mlp_dim": 12}
    return _M.PARSeqBackbone(image_encoder=encoder, vocabulary_size=40, max_label_length=12, **sizes)


def _blip2() -> Any:
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 12}
    flags = {"use_patch_bias": True, "use_class_token": True, "use_mha_bias": True, "use_mlp_bias": True}
    more = {"dropout_rate": 0.0, "layer_norm_epsilon": 1e-6, "initializer_range": 0.02}
    vision = _M.BLIP2VisionEncoder(image_size=16, patch_size=4, **sizes, **flags, **more)
    former = _M.BLIP2QFormer(
        num_query_tokens=2, vision_dim=8, cross_attention_frequency=1, dropout=0.0, layer_norm_epsilon=1e-6, **sizes
    )
    language = _M.BLIP2CustomOPT(
        vocabulary_size=40,
        num_query_tokens=2,
        qformer_hidden_dim=8,
        max_sequence_length=16,
        language_projection=None,
        dropout=0.0,
        **sizes,
    )
    return _M.BLIP2Backbone(vision_encoder=vision, qformer=former, language_model=language)


def _video() -> Any:
    sizes = {"num_frames": 2, "patch_size": 8, "hidden_dim": 8, "intermediate_dim": 12, "num_heads": 2}
    layers = {"num_spatial_layers": 1, "num_temporal_layers": 1, "num_auxiliary_layers": 1, "num_text_layers": 0}
    return _M.VideoPrismBackbone(**sizes, **layers, vocabulary_size=0, image_shape=_SIZE)


def _classifier(kind: str, backbone: Build, **more: Any) -> Build:
    return task(f"{kind}ImageClassifier", backbone, **_CLASSES, **more)


def _deit() -> Any:
    return _M.DeiTBackbone(_SIZE, 8, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=12)


IMAGES: dict[str, Build] = {
    "BASNet, segmenter": task("BASNetImageSegmenter", lambda: _M.BASNetBackbone(_resnet(), 1, image_shape=_LARGER)),
    "BLIP-2": _blip2,
    "CLIP": _clip("CLIP", projection_dim=8),
    "CSPDarkNet (YOLO), classifier": _classifier("CSPNet", _csp),
    "CSPNet, any size": lambda: _crossed(),
    "D-FINE, detector": task("DFineObjectDetector", _dfine, **_CLASSES),
    "DeepLab v3, segmenter": task("DeepLabV3ImageSegmenter", _deeplab, **_CLASSES),
    "DeiT, classifier": _classifier("DeiT", _deit),
    "DenseNet, classifier": _classifier(
        "DenseNet", lambda: _M.DenseNetBackbone([1, 1], image_shape=_SIZE, growth_rate=4)
    ),
    "Depth Anything": task("DepthAnythingDepthEstimator", _depth, depth_estimation_type="metric", max_depth=10.0),
    "DINOv2": _dino,
    "DINOv2, registers, SwiGLU, other size": lambda: _dino(
        num_register_tokens=2, use_swiglu_ffn=True, position_embedding_shape=_LARGER
    ),
    "DINOv3": model("DINOV3Backbone", 8, 2, 8, 2, 12, image_shape=_SIZE),
    "EfficientNet, classifier": _classifier("EfficientNet", _efficientnet),
    "Gemma 3, text and images": _gemma3,
    "HGNetV2, classifier": _classifier("HGNetV2", _hgnet, head_filters=8),
    "MetaCLIP 2": _clip("MetaCLIP2", projection_dim=8),
    "MiT, classifier": _classifier("MiT", _mit),
    "MobileNet, classifier": _classifier("MobileNet", _mobilenet),
    "MobileNet V5": _mobilenet5,
    "PaliGemma": _paligemma,
    "PARSeq": _parseq,
    "ResNet, any size, classifier": _classifier("ResNet", _resnet),
    "ResNet V2": lambda: _resnet(image_shape=_SIZE, use_pre_activation=True),
    "RetinaNet": _retinanet,
    "RetinaNet, detector": task("RetinaNetObjectDetector", _retinanet, **_CLASSES),
    "SAM, segmenter": task("SAMImageSegmenter", _sam),
    "SegFormer, segmenter": task("SegFormerImageSegmenter", lambda: _M.SegFormerBackbone(_mit(), 8), **_CLASSES),
    "SigLIP": _clip("SigLIP"),
    "Swin, classifier": _classifier("SwinTransformer", _swin),
    "VGG, classifier": _classifier("VGG", lambda: _M.VGGBackbone([1, 1], [8, 12], image_shape=_SIZE)),
    "VideoPrism": _video,
    "ViT": _vit,
    "ViT, classifier": _classifier("ViT", _vit),
    "ViTDet": lambda: _sam().image_encoder,
    "Xception, classifier": _classifier(
        "Xception", lambda: _M.XceptionBackbone([[8, 8], [12, 12]], [True, False], image_shape=_SIZE)
    ),
}
