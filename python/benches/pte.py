"""Steps of a Whisper decoder on ExecuTorch: latched, recomputed, with caches that the caller keeps.

    python python/benches/pte.py make FOLDER      lowers the programs (minutes)
    python python/benches/pte.py run FOLDER       runs them in turns and prints a table

All are lowered with XNNPACK and one configuration; the weights are random, of whisper-base.

* `latched`: the decoder of `crosslatch.export(model, "m.pte")`
* `recomputed`: cross-attention keys and values of every step from the encoder's output, as ExecuTorch's
  CPU path does today
* `recomputed, in place`: the same with the attention of `latched`, which copies neither keys nor values
* `kept by the caller`: the latched decoder with its caches as inputs, in memory of the caller, so that
  nothing is copied: what the caches inside may cost at most
"""

import random
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROUNDS, WARM = 80, 5
NAMES = ("latched", "recomputed", "recomputed, in place", "kept by the caller")


def base():
    import transformers
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
        decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048, vocab_size=51865)
    return transformers.WhisperForConditionalGeneration(config).eval()


def make(folder):
    from crosslatch.executorch import lower
    from crosslatch.executorch.attention import of_one_token
    from crosslatch.executorch.exporting import (
        decoder_program, default_config, encoder_program, latch_decoder, split)
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    folder.mkdir(parents=True, exist_ok=True)
    model = base()
    _, states, masked = encoder_program(model)
    plain = decoder_program(model, states, masked)

    def stock(program, name, **options):
        config = default_config()
        config.memory_planning_pass = MemoryPlanningPass(**options)
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        (folder / f"{name}.pte").write_bytes(edge.to_executorch(config).buffer)

    stock(plain, "recomputed")
    stock(of_one_token(decoder_program(model, states, masked), ()), "recomputed, in place")
    methods = split(latch_decoder(plain, ["encoder_hidden_states"]), ("latch", "decoder"))
    lower(methods, [XnnpackPartitioner()], default_config()).save(folder / "latched.pte")
    stock(with_caches_as_inputs(methods["decoder"]), "kept by the caller", alloc_graph_input=False)


def with_caches_as_inputs(program):
    """The program with its latched buffers as its first inputs."""
    from crosslatch.executorch.methods import _program
    from torch.export.graph_signature import InputKind
    signature = program.graph_signature
    caches = {}
    for spec in signature.input_specs:
        if spec.kind == InputKind.BUFFER and spec.target.startswith("latched."):
            caches[spec.arg.name] = program.state_dict[spec.target]
            spec.kind, spec.target, spec.persistent = InputKind.USER_INPUT, None, None
    args, kwargs = program.example_inputs
    program._example_inputs = (args, caches | kwargs)
    return _program(program, program.graph, signature.output_specs)


def run(folder):
    from executorch.runtime import Runtime
    runtime = Runtime.get()
    programs = {name: runtime.load_program(folder / f"{name}.pte") for name in NAMES}
    states = torch.randn(1, 1500, 512)
    programs["latched"].load_method("latch").execute([states])
    methods = {name: program.load_method("decoder" if name == "latched" else "forward")
               for name, program in programs.items()}
    inputs = {name: extra(name, programs[name], states) for name in NAMES}
    times, order = {name: [] for name in NAMES}, random.Random(0)
    for position in range(ROUNDS + WARM):
        token = [torch.tensor([[position + 50]]), torch.tensor([position])]
        # In any order: what ran before decides what is in the processor's caches.
        for name in order.sample(NAMES, len(NAMES)):
            arguments = inputs[name](token)
            start = time.perf_counter()
            methods[name].execute(arguments)
            if position >= WARM:
                times[name].append(time.perf_counter() - start)
    print("| later step | ms, median | quartiles |\n|---|---|---|")
    for name in NAMES:
        low, middle, high = (1e3 * t for t in statistics.quantiles(times[name], n=4))
        print(f"| {name} | {middle:.2f} | {low:.2f} to {high:.2f} |")
    middle = {name: statistics.median(times[name]) for name in NAMES}
    print(f"\nlatched / recomputed: {middle['latched'] / middle['recomputed']:.3f}; "
          f"latched / kept by the caller: {middle['latched'] / middle['kept by the caller']:.3f}")


def extra(name, program, states):
    """From a token to the inputs of a program, in its order."""
    if name == "latched":
        return lambda token: token
    if name.startswith("recomputed"):
        return lambda token: [*token, states]
    meta = program.metadata("forward")
    caches = [torch.randn(meta.input_tensor_meta(i).sizes()) for i in range(meta.num_inputs() - 2)]
    return lambda token: [*caches, *token]


if __name__ == "__main__":
    {"make": make, "run": run}[sys.argv[1]](Path(sys.argv[2]))
