"""ONNX files with fewer bits, by ONNX Runtime's own tools."""

#: Whole files above this are split by ONNX's limit of 2 GB.
LARGE = 1.5e9


def each(source, change):
    """Makes a folder whose files are those of another, changed one by one."""
    def make(size, model, path):
        files = [*(path.parent / source).glob("*.onnx")]
        assert files, f"there is no {source}"
        path.mkdir()
        for file in files:
            change(file, path / file.name)
    return make


def is_large(file):
    return sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*")) > LARGE


def dynamic(kind):
    """Weights as signed or unsigned bytes, a scale for each column; activations are rounded as they come."""
    def change(file, out):
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(file, out, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
                         weight_type=QuantType[kind], use_external_data_format=is_large(file))
    return change


def int4(file, out):
    """Weights of four bits in blocks of 32 with a scale each; activations are rounded to bytes as they come."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    quantizer = MatMulNBitsQuantizer(onnx.load(file), bits=4, block_size=32, is_symmetric=True,
                                     accuracy_level=4)
    quantizer.process()
    quantizer.model.save_model_to_file(str(out), is_large(file))


FORMS = {"int8": dynamic("QInt8"), "uint8": dynamic("QUInt8"), "int4": int4}
#: Name: what it is made of.
SOURCES = {**{f"onnx-{form}": "onnx" for form in FORMS},
           "onnx-together-int8": "onnx-together", "onnx-beams-int8": "onnx-beams"}
MAKERS = {name: each(source, FORMS[name.removeprefix(f"{source}-")]) for name, source in SOURCES.items()}
