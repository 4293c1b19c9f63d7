"""A tiny Segment Anything, made of the package's own modules, with fixed random weights."""

import pytest


def build_tiny_sam():
    """Two encoder blocks over 64 x 64 pixels, with predicted IoUs above 0.5."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(3)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=2, embed_dim=32, img_size=64, num_heads=2, patch_size=8, out_chans=32, use_rel_pos=True
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=2, mlp_dim=32),
            iou_head_depth=2,
            iou_head_hidden_dim=16,
        ),
    )
    for parameter in sam.image_encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.nn.init.normal_(sam.mask_decoder.iou_prediction_head.layers[-1].weight, std=0.1)
    torch.nn.init.constant_(sam.mask_decoder.iou_prediction_head.layers[-1].bias, 0.75)
    return sam.eval()


@pytest.fixture(scope="session")
def tiny_sam():
    return build_tiny_sam()


@pytest.fixture
def photos(tmp_path, make_picture):
    """A folder of four images, one of them in a subfolder."""
    from icm.images import write_png

    folder = tmp_path / "photos"
    for seed, name in enumerate(("a.png", "b.png", "c.png", "deep/d.png")):
        write_png(folder / name, make_picture(48 + 8 * seed, 64, seed))
    return folder
