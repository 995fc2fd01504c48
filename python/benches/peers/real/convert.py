"""Converts a checkpoint for faster-whisper, by CTranslate2's own converter.

    python convert.py CHECKPOINT OUT QUANTIZATION
"""

import sys

from ctranslate2.converters import TransformersConverter


def main():
    checkpoint, out, quantization = sys.argv[1:]
    files = ["tokenizer.json", "preprocessor_config.json"]
    TransformersConverter(checkpoint, copy_files=files).convert(out, quantization=quantization)


if __name__ == "__main__":
    main()
