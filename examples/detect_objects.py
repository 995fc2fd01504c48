"""Finds objects in a picture with DETR: `python detect_objects.py facebook/detr-resnet-50 photo.jpg`."""

import sys

import numpy as np
import torch

import crosslatch


def export(model, path, height, width):
    """Writes the model, for pictures of one size, as `torch.export` traces it."""
    picture = torch.zeros(1, 3, height, width)
    torch.export.save(torch.export.export(model.eval(), (), {"pixel_values": picture}), path)


def detect(session, picture, least=0.7):
    """[(class, probability, [left, top, right, bottom])], corners as parts of the picture's size."""
    outputs = session.run("model", {"pixel_values": picture}, outputs=["logits", "pred_boxes"])
    scores = np.exp(outputs["logits"][0] - outputs["logits"][0].max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    found = []
    for probabilities, (x, y, width, height) in zip(scores, outputs["pred_boxes"][0]):
        best = int(probabilities[:-1].argmax())  # the last class is "nothing"
        if probabilities[best] >= least:
            corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            found.append((best, float(probabilities[best]), corners))
    return found


def main(name, photo):
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForObjectDetection
    picture = AutoImageProcessor.from_pretrained(name)(Image.open(photo), return_tensors="np")["pixel_values"]
    model = AutoModelForObjectDetection.from_pretrained(name)
    export(model, "detr.pt2", *picture.shape[2:])
    for kind, probability, corners in detect(crosslatch.load("detr.pt2").session(), picture):
        print(model.config.id2label[kind], f"{probability:.0%}", np.round(corners, 3))


if __name__ == "__main__":
    main(*sys.argv[1:])
