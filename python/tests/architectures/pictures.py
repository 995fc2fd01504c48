"""Pictures to states, classes, boxes and masks."""

from families.family import VOCABULARY

from .architecture import Architecture, configured, made, mask, numbers, part_of, picture, tokens

VIT = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
           image_size=32, patch_size=8)
STAGES = dict(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32])
RESNET = dict(num_channels=3, embedding_size=8, layer_type="basic", **STAGES)
DETR = dict(d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48)
BACKBONE = configured("ResNetConfig", **RESNET, out_features=["stage4"])
BACKBONES = configured("ResNetConfig", **RESNET, out_features=["stage2", "stage3", "stage4"])
SWIN = dict(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
SAM = made("SamModel", "SamConfig",
           vision_config=dict(hidden_size=32, output_channels=16, num_hidden_layers=2,
                              num_attention_heads=4, image_size=32, patch_size=4, window_size=4,
                              global_attn_indexes=[1], num_pos_feats=8, mlp_dim=48),
           prompt_encoder_config=dict(hidden_size=16, image_size=32, patch_size=4,
                                      mask_input_channels=4),
           mask_decoder_config=dict(hidden_size=16, mlp_dim=32, num_attention_heads=4,
                                    iou_head_hidden_dim=16))


def seen(name, kind, configuration, size=32, **sizes):
    return Architecture(name, made(kind, configuration, **sizes), {"pixel_values": picture(size)})


PICTURES = [
    seen("ViT", "ViTForImageClassification", "ViTConfig", **VIT),
    seen("DeiT", "DeiTModel", "DeiTConfig", **VIT),
    seen("DINOv2", "Dinov2Model", "Dinov2Config", **VIT),
    seen("BEiT", "BeitModel", "BeitConfig", **VIT),
    seen("Swin", "SwinForImageClassification", "SwinConfig", **SWIN),
    seen("ConvNeXt", "ConvNextForImageClassification", "ConvNextConfig", **STAGES, size=64),
    seen("ResNet", "ResNetForImageClassification", "ResNetConfig", size=64, **RESNET),
    seen("MobileNet v2", "MobileNetV2ForImageClassification", "MobileNetV2Config",
         depth_multiplier=0.25, image_size=32),
    seen("EfficientNet", "EfficientNetForImageClassification", "EfficientNetConfig", image_size=32,
         width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128),
    seen("SegFormer", "SegformerForSemanticSegmentation", "SegformerConfig", size=64,
         depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 32], num_attention_heads=[1, 2, 2, 4],
         decoder_hidden_size=16),
    seen("DPT, depth", "DPTForDepthEstimation", "DPTConfig", **dict(VIT, num_hidden_layers=4),
         backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16],
         fusion_hidden_size=16),
    Architecture("VideoMAE", made("VideoMAEModel", "VideoMAEConfig", **VIT, num_frames=4),
                 {"pixel_values": numbers(2, 4, 3, 32, 32)}),
    seen("Yolos", "YolosForObjectDetection", "YolosConfig", **dict(VIT, image_size=[32, 32]),
         num_detection_tokens=5),
    seen("DETR", "DetrForObjectDetection", "DetrConfig", size=64, **DETR, num_queries=5,
         backbone_config=BACKBONE),
    seen("Conditional DETR", "ConditionalDetrForObjectDetection", "ConditionalDetrConfig", size=64,
         **DETR, num_queries=5, backbone_config=BACKBONE),
    seen("Deformable DETR", "DeformableDetrForObjectDetection", "DeformableDetrConfig", size=64,
         **DETR, num_queries=5, backbone_config=BACKBONES),
    seen("RT-DETR", "RTDetrForObjectDetection", "RTDetrConfig", size=64,
         backbone_config=configured("RTDetrResNetConfig", **RESNET,
                                    out_features=["stage2", "stage3", "stage4"]),
         encoder_hidden_dim=32, encoder_in_channels=[16, 24, 32], d_model=32, num_queries=5,
         encoder_ffn_dim=48, decoder_ffn_dim=48, encoder_attention_heads=4,
         decoder_attention_heads=4, decoder_layers=1, decoder_in_channels=[32, 32, 32]),
    seen("MaskFormer", "MaskFormerForInstanceSegmentation", "MaskFormerConfig", size=64,
         fpn_feature_size=32, mask_feature_size=32,
         backbone_config=configured("SwinConfig", **dict(
             SWIN, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2], image_size=64),
             out_features=["stage1", "stage2", "stage3", "stage4"]),
         decoder_config=configured("DetrConfig", **DETR, num_queries=5)),
    Architecture("SAM, picture encoder", part_of(SAM, "vision_encoder"),
                 {"pixel_values": picture()}),
    Architecture("SAM, mask decoder", part_of(SAM, "mask_decoder"), {
        "image_embeddings": numbers(1, 16, 8, 8),
        "image_positional_embeddings": numbers(1, 16, 8, 8),
        "sparse_prompt_embeddings": numbers(1, (2, 3, 4), 2, 16),
        "dense_prompt_embeddings": numbers(1, 16, 8, 8), "multimask_output": True},
        latched=("image_embeddings", "image_positional_embeddings", "dense_prompt_embeddings")),
    Architecture("CLIP", made(
        "CLIPModel", "CLIPConfig", text_config=dict(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
            num_attention_heads=4, max_position_embeddings=64, eos_token_id=2),
        vision_config=VIT, projection_dim=16),
        {"input_ids": tokens(), "pixel_values": picture(), "attention_mask": mask()},
        latched=("pixel_values",)),
    Architecture("SigLIP", made(
        "SiglipModel", "SiglipConfig", text_config=dict(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
            num_attention_heads=4, max_position_embeddings=64), vision_config=VIT),
        {"input_ids": tokens(), "pixel_values": picture()}, latched=("pixel_values",)),
    Architecture("Perceiver", made(
        "PerceiverForMaskedLM", "PerceiverConfig", num_latents=8, d_latents=32, d_model=32,
        num_blocks=1, num_self_attends_per_block=2, num_self_attention_heads=4,
        num_cross_attention_heads=4, vocab_size=VOCABULARY, max_position_embeddings=12,
        qk_channels=32, v_channels=32), {"inputs": tokens(12), "attention_mask": mask(12)}),
]
