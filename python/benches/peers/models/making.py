"""One model with random weights, in the format of each runtime.

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
    # Opened here, because NumPy would add an extension to the name.
    with path.open("wb") as file:
        np.savez(file, logits=logits[-1], first=logits[0], chosen=start[-1].argmax())


def make_checkpoint(size, model, path):
    path.mkdir()
    model.save_pretrained(path)


def make_engine(size, model, path):
    import crosslatch
    crosslatch.export(model, path)


def export_onnx(module, inputs, path, **how):
    with torch.no_grad():
        torch.onnx.export(module, inputs, path, dynamo=True, external_data=False, verbose=False, **how)


def export_decoder(size, model, path, lanes):
    """Cross-attention keys and values, step; of one sequence, or of any number above one."""
    of = models.model(size)
    shape = of.shape(model.config)
    past, present, cross = models.names(shape.layers)
    ids, position, pasts, crosses = sample(shape, 3, lanes)
    many = {0: torch.export.Dim("lanes", min=2, max=64)} if lanes > 1 else {}
    grows = {**many, 2: torch.export.Dim("past", min=2, max=ROOM - 1)}
    export_onnx(of.Cross(model), (torch.randn(lanes, shape.source, shape.width),), path / "cross.onnx",
                input_names=["states"], output_names=cross, dynamic_shapes=(many,))
    export_onnx(of.Step(model), (ids, position, *pasts, *crosses), path / "step.onnx",
                input_names=["input_ids", "position", *past, *cross], output_names=["logits", *present],
                dynamic_shapes=(many, None, tuple([grows] * len(pasts) + [many] * len(crosses))))


def make_onnx(size, model, path):
    family, of = models.family(size), models.model(size)
    path.mkdir()
    export_onnx(of.Encoder(model), (torch.from_numpy(family.given()),), path / "encoder.onnx",
                input_names=[family.INPUT], output_names=["states"])
    export_decoder(size, model, path, 1)


def make_onnx_together(size, model, path):
    path.mkdir()
    export_decoder(size, model, path, 2)


def quantized(source):
    """A copy of a folder of ONNX files, in bytes."""
    def make(size, model, path):
        from onnxruntime.quantization import QuantType, quantize_dynamic
        files = [*(path.parent / source).glob("*.onnx")]
        assert files, f"there is no {source}"
        path.mkdir()
        for file in files:
            quantize_dynamic(file, path / file.name, op_types_to_quantize=["MatMul", "Gemm"],
                             per_channel=True, weight_type=QuantType.QInt8)
    return make


#: What all families have.
MAKERS = {
    "reference.npz": make_reference,
    "checkpoint": make_checkpoint,
    "engine.pt2": make_engine,
    "onnx": make_onnx,
    "onnx-int8": quantized("onnx"),
    "onnx-together": make_onnx_together,
    "onnx-together-int8": quantized("onnx-together"),
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
