"""The command `crosslatch-export`: a Hugging Face model to one `.pt2` or `.pte` file.

The name of the file goes to standard output, progress and errors to standard error.  The exit status
is 0 for success, 1 for a bad or refused model and 2 for wrong usage, as for the command `crosslatch`.
PyTorch is imported when it is needed, so that help and wrong usage are answered at once.
"""

import argparse
import sys
from importlib import metadata
from pathlib import Path


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


positive.__name__ = "number of at least 1"  # argparse says "invalid number of at least 1 value"


def stored_type(name):
    if name in ("int8", "int4"):
        raise argparse.ArgumentTypeError(f"{name} is not stored; it is made of any other type when the file "
                                         f"is opened (`crosslatch transcribe --precision {name}`)")
    if name not in ("f16", "bf16", "f32"):
        raise argparse.ArgumentTypeError(f"unknown type {name!r}; expected f16, bf16 or f32")
    return name


def parser():
    parser = argparse.ArgumentParser(
        prog="crosslatch-export", description="Writes a Hugging Face model to one .pt2 file, or .pte "
        "file for ExecuTorch, with its caches inside and cross-attention computed once per input.")
    parser.add_argument("model", metavar="MODEL", help="a folder, or a name on the Hugging Face hub")
    parser.add_argument("out", metavar="OUT.pt2", type=Path,
                        help="the file to write; if it ends in .pte, for ExecuTorch's runtime")
    parser.add_argument("--batch", type=positive, default=1, metavar="N",
                        help="inputs decoded at once; fixed in the file (default: 1)")
    parser.add_argument("--max-tokens", type=positive, metavar="N",
                        help="longest output (default: what the configuration says)")
    parser.add_argument("--max-source", type=positive, metavar="N",
                        help="longest input, in tokens, frames or samples "
                        "(default: what the configuration says)")
    parser.add_argument("--store", type=stored_type, metavar="TYPE",
                        help="type of the weights in the file: f16, bf16 or f32 (default: the "
                        "checkpoint's own)")
    parser.add_argument("--verbose", action="store_true", help="list the values computed once")
    parser.add_argument("--version", action="version", version=f"crosslatch-export {version()}")
    return parser


def version():
    try:
        return metadata.version("crosslatch")
    except metadata.PackageNotFoundError:
        return "of a working tree"


def main(arguments=None):
    """Runs the command and returns its exit status; wrong usage raises `SystemExit(2)`."""
    options = parser().parse_args(arguments)
    try:
        from .exporting import Refused, export
    except ImportError as reason:
        return fail(f"{reason}; exporting needs `pip install crosslatch[export]`")
    say = lambda line: print(line, file=sys.stderr, flush=True)
    try:
        done = export(options.model, options.out, batch=options.batch, say=say,
                      max_tokens=options.max_tokens, max_source=options.max_source,
                      store=options.store)
    except Refused as reason:
        return fail(f"{options.model} is refused: {reason}")
    except (OSError, ValueError, ImportError, RuntimeError) as reason:
        return fail(f"{options.model}: {reason}")
    size = done.path.stat().st_size
    print(f"{done.path}: {size / 1e6:.1f} MB, with {', '.join(done.files)}")
    if options.verbose:
        print(done.latched or "nothing is computed once: the model is of one stack")
    return 0


def fail(message):
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
