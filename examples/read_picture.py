"""Says what a picture shows, with Pix2Struct: `python read_picture.py google/pix2struct-textcaps-base photo.jpg`."""

import sys

import numpy as np

import crosslatch


def read(session, patches, mask, start, end, longest=64):
    """The tokens that the model writes for a picture in patches."""
    given = {"flattened_patches": patches, "attention_mask": mask}
    (states,) = session.run("encoder", given).keys()
    states = session.output("encoder", states)  # where it lies: nothing is copied
    tokens = [start]
    while len(tokens) < longest and tokens[-1] != end:
        (logits,) = session.run("decoder", {
            "input_ids": [[tokens[-1]]], "cache_position": [len(tokens) - 1],
            "encoder_hidden_states": states, "encoder_attention_mask": mask}).values()
        tokens.append(int(logits[0, -1].argmax()))
    return tokens[1:]


def main(name, photo):
    from PIL import Image
    from transformers import AutoProcessor
    processor = AutoProcessor.from_pretrained(name)
    crosslatch.export(name, "pix2struct.pt2")
    given = processor(images=Image.open(photo), return_tensors="np")
    tokens = read(crosslatch.load("pix2struct.pt2").session(), given["flattened_patches"],
                  given["attention_mask"].astype(np.int64), 0, 1)
    print(processor.decode(tokens, skip_special_tokens=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
