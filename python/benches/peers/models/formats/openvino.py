"""OpenVINO's own files, made of ONNX, and with fewer bits, by its compression library."""

import numpy as np

import models

#: Weights that share a scale in four bits.
GROUP = 64


def convert(source):
    def make(size, model, path):
        import openvino
        files = [*(path.parent / source).glob("*.onnx")]
        assert files, f"there is no {source}"
        path.mkdir()
        for file in files:
            # Large models are published so.
            openvino.save_model(openvino.Core().read_model(file), path / f"{file.stem}.xml",
                                compress_to_fp16=size in models.LARGE)
    return make


def each(source, change):
    """Makes a folder whose models are those of another, changed one by one: `change(model, name, given)`."""
    def make(size, model, path):
        import openvino
        given = np.load(path.parent / "given.npz")["given"]
        path.mkdir()
        for file in (path.parent / source).glob("*.xml"):
            changed = change(openvino.Core().read_model(file), file, given)
            openvino.save_model(changed, path / file.name, compress_to_fp16=False)
    return make


def int8(model, file, given):
    """Weights in bytes."""
    import nncf
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)


def int4(model, file, given):
    """Weights in four bits, embeddings and the last layer in bytes."""
    import nncf
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT4_ASYM, group_size=GROUP, ratio=1.0)


def int8_activations(model, file, given):
    """Where there are many rows, activations in bytes too, calibrated with the very input that is measured."""
    import nncf
    import openvino
    if file.stem == "step":
        return int8(model, file, given)
    if file.stem == "cross":
        encoder = openvino.Core().compile_model(file.with_name("encoder.xml"), "CPU")
        given = encoder([given])[0]
    return nncf.quantize(model, nncf.Dataset([given]), model_type=nncf.ModelType.TRANSFORMER, subset_size=1)


FORMS = {"int8": int8, "int4": int4, "int8-activations": int8_activations}
SOURCES = {
    "openvino": "onnx", "openvino-together": "onnx-together", "openvino-beams": "onnx-beams",
    **{f"openvino-{form}": "openvino" for form in FORMS},
    "openvino-together-int8": "openvino-together", "openvino-beams-int8": "openvino-beams"}
MAKERS = {name: convert(source) if source.startswith("onnx") else
          each(source, FORMS[name.removeprefix(f"{source}-")]) for name, source in SOURCES.items()}
