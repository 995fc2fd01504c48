"""One model with random weights, in the format of each runtime (`formats/` makes some of them from others).

Sizes are the published ones and weights are drawn: speed depends on the sizes only.  Weights are large
enough that scores tell tokens apart, so that a runtime that computes something else is found out.  Every
file is made once and kept; a finished one is never half written, because it is made beside its place.
"""

import shutil

import numpy as np
import torch

import models
from models import BEAMS
from models.attention import ROOM, Chosen, sample
from models.formats import onnx, openvino


def make_reference(size, model, path):
    """Eager PyTorch's scores after the first and the last token, and the token that it chooses."""
    family = models.family(size)
    with torch.no_grad():
        states = model.get_encoder()(torch.from_numpy(family.given(size))).last_hidden_state
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
    # Large models are published so.
    crosslatch.export(model, path, store="f16" if size in models.LARGE else None)


def export_onnx(module, inputs, path, **how):
    # A file of protocol buffers holds 2 GB, so larger weights lie beside it.
    is_large = sum(weight.nbytes for weight in module.state_dict().values()) > 1.5e9
    with torch.no_grad():
        torch.onnx.export(module, inputs, path, dynamo=True, external_data=is_large, verbose=False, **how)


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
    export_onnx(of.Encoder(model), (torch.from_numpy(family.given(size)),), path / "encoder.onnx",
                input_names=[family.INPUT], output_names=["states"])
    export_decoder(size, model, path, 1)


def make_onnx_together(size, model, path):
    path.mkdir()
    export_decoder(size, model, path, 2)


def make_onnx_beams(size, model, path):
    """The step of as many texts as `BEAMS`, which share what is encoded."""
    of = models.model(size)
    shape = of.shape(model.config)
    past, present, cross = models.names(shape.layers)
    ids, position, pasts, _ = sample(shape, 3, BEAMS)
    crosses = sample(shape, 3)[-1]
    grows = {2: torch.export.Dim("past", min=2, max=ROOM - 1)}
    path.mkdir()
    export_onnx(Chosen(of.Step(model)), (ids, position, torch.arange(BEAMS), *pasts, *crosses),
                path / "step.onnx", input_names=["input_ids", "position", "parents", *past, *cross],
                output_names=["logits", *present],
                dynamic_shapes=(None, None, None, tuple([grows] * len(pasts) + [None] * len(crosses))))


#: What all families have.
MAKERS = {
    "reference.npz": make_reference,
    "checkpoint": make_checkpoint,
    "engine.pt2": make_engine,
    "onnx": make_onnx,
    "onnx-together": make_onnx_together,
    "onnx-beams": make_onnx_beams,
    **onnx.MAKERS,
    **openvino.MAKERS,
}
#: What a file is made of, if not of the model.
SOURCES = {**onnx.SOURCES, **openvino.SOURCES}


def can_be_made(size, needs):
    """Whether the model's family has all of these files."""
    return set(needs) <= {*MAKERS, *models.model(size).MAKERS}


def with_sources(wanted):
    """What is wanted, and before each what it is made of."""
    found = {}
    for name in wanted:
        if source := SOURCES.get(name):
            found |= dict.fromkeys(with_sources([source]))
        found[name] = None
    return list(found)


def make(folder, size, wanted, say):
    """Makes what is wanted and not there; returns {name: what went wrong}."""
    of = models.model(size)
    model, failed = None, {}
    for name in with_sources(wanted):
        place, beside = folder / name, folder / f"making-{name}"
        if place.exists():
            continue
        say(f"making {place}")
        shutil.rmtree(beside, ignore_errors=True) if beside.is_dir() else beside.unlink(missing_ok=True)
        if not model and name not in SOURCES:
            model = of.build(size)
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
