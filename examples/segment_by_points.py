"""Cuts out what lies at a point, with SAM: `python segment_by_points.py facebook/sam-vit-base photo.jpg 500 375`.

The picture's features stay the same from click to click, so they are latched: what the mask decoder computes of
them alone is computed once.
"""

import sys

import numpy as np
import torch

import crosslatch

PICTURE = ["image_embeddings", "image_positional_embeddings", "dense_prompt_embeddings"]


def export(model, path):
    """Writes the mask decoder; a click is any number of points."""
    size = model.config.prompt_encoder_config.image_embedding_size
    width = model.config.mask_decoder_config.hidden_size
    # Each a tensor of its own: the tracer takes one tensor that is given twice as one input.
    arguments = {name: torch.zeros(1, width, size, size) for name in PICTURE} | {
        "sparse_prompt_embeddings": torch.zeros(1, 1, 3, width), "multimask_output": True}
    points = {"sparse_prompt_embeddings": {2: torch.export.Dim("points", min=2, max=64)}}
    shapes = dict.fromkeys(arguments) | points
    program = torch.export.export(model.mask_decoder.eval(), (), arguments, dynamic_shapes=shapes)
    torch.export.save(program, path)


@torch.no_grad()
def features(model, pixels):
    """What the decoder takes of a picture, from the model's own encoder."""
    without = model.prompt_encoder(None, None, None, None)[1]
    return {"image_embeddings": model.get_image_embeddings(pixels),
            "image_positional_embeddings": model.get_image_wide_positional_embeddings(),
            "dense_prompt_embeddings": without}


@torch.no_grad()
def click(session, model, picture, points):
    """Three masks [3, H, W] for points [N, 2] in pixels, and how good each seems."""
    points = torch.as_tensor(points, dtype=torch.float32)[None, None]
    labels = torch.ones(points.shape[:3], dtype=torch.int32)
    sparse, _ = model.prompt_encoder(points, labels, None, None)
    masks, quality = session.run("model", picture | {"sparse_prompt_embeddings": sparse}).values()
    return masks[0, 0] > 0, quality[0, 0]


def main(name, photo, x, y):
    from PIL import Image
    from transformers import SamModel, SamProcessor
    model, processor = SamModel.from_pretrained(name).eval(), SamProcessor.from_pretrained(name)
    given = processor(Image.open(photo), input_points=[[[float(x), float(y)]]], return_tensors="pt")
    export(model, "sam.pt2")
    session = crosslatch.load("sam.pt2", latch=PICTURE).session()
    masks, quality = click(session, model, features(model, given["pixel_values"]), given["input_points"][0, 0])
    np.save("mask.npy", masks[quality.argmax()])


if __name__ == "__main__":
    main(*sys.argv[1:])
