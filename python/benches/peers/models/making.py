"""One model with random weights, as each runtime wants to have it.

Sizes are the published ones and weights are drawn: speed depends on the sizes only.  Weights are large
enough that scores tell tokens apart, so that a runtime that computes something else is found out.  Every
file is made once and kept; a finished one is never half written, because it is made beside its place.
"""

import shutil

import numpy as np
import torch

import models
from models.attention import ROOM, sample


def make_reference(size, model, path):
    """Eager PyTorch's scores after the first and the last token, and the token that it chooses."""
    family = models.family(size)
    with torch.no_grad():
        states = model.get_encoder()(torch.from_numpy(family.given())).last_hidden_state
        scores = lambda tokens: model(
            encoder_outputs=(states,), decoder_input_ids=torch.tensor([tokens])).logits[0].numpy()
        logits, start = scores(family.tokens()), scores(family.START)
    # Opened, because a name without an ending would be given one.
    with path.open("wb") as file:
        np.savez(file, logits=logits[-1], first=logits[0], chosen=start[-1].argmax())


def make_checkpoint(size, model, path):
    path.mkdir()
    model.save_pretrained(path)


def make_engine(size, model, path):
    import crosslatch
    crosslatch.export(model, path)


def make_onnx(size, model, path):
    """Encoder, cross-attention keys and values, step."""
    family, of = models.family(size), models.model(size)
    path.mkdir()
    shape = of.shape(model.config)
    past, present, cross = models.names(shape.layers)
    ids, position, pasts, crosses = sample(shape, 3)
    grows = {2: torch.export.Dim("past", min=2, max=ROOM - 1)}
    programs = {
        "encoder": (of.Encoder(model), (torch.from_numpy(family.given()),), [family.INPUT], ["states"],
                    None),
        "cross": (of.Cross(model), (torch.randn(1, shape.source, shape.width),), ["states"], cross, None),
        "step": (of.Step(model), (ids, position, *pasts, *crosses),
                 ["input_ids", "position", *past, *cross], ["logits", *present],
                 (None, None, tuple([grows] * len(pasts) + [None] * len(crosses)))),
    }
    for name, (module, inputs, ins, outs, dynamic) in programs.items():
        with torch.no_grad():
            torch.onnx.export(module, inputs, path / f"{name}.onnx", input_names=ins,
                              output_names=outs, dynamic_shapes=dynamic, dynamo=True,
                              external_data=False, verbose=False)


def make_onnx_int8(size, model, path):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    path.mkdir()
    for name in ("encoder", "cross", "step"):
        quantize_dynamic(path.parent / "onnx" / f"{name}.onnx", path / f"{name}.onnx",
                         op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
                         weight_type=QuantType.QInt8)


#: What all families have.
MAKERS = {
    "reference.npz": make_reference,
    "checkpoint": make_checkpoint,
    "engine.pt2": make_engine,
    "onnx": make_onnx,
    "onnx-int8": make_onnx_int8,
}


def can_be_made(size, needs):
    """Whether the model's family has all of these files."""
    return set(needs) <= {*MAKERS, *models.model(size).MAKERS}


def make(folder, size, wanted, say):
    """Makes what is wanted and not there; returns {name: what went wrong}."""
    of = models.model(size)
    model, failed = None, {}
    for name in wanted:
        place, beside = folder / name, folder / f"making-{name}"
        if place.exists():
            continue
        say(f"making {place}")
        shutil.rmtree(beside, ignore_errors=True) if beside.is_dir() else beside.unlink(missing_ok=True)
        model = model or of.build(size)
        try:
            if name in MAKERS:
                MAKERS[name](size, model, beside)
            else:
                of.MAKERS[name](model, beside)
            beside.rename(place)
        except Exception as error:  # one runtime's converter must not end the run for all
            failed[name] = f"{type(error).__name__}: {error}"
            say(f"{name} cannot be made: {failed[name]}")
    return failed
