"""Steps of a Whisper decoder on ExecuTorch: latched, recomputed, with caches that the caller keeps.

    python python/benches/pte.py make FOLDER      lowers the programs (minutes)
    python python/benches/pte.py run FOLDER       loads and runs them in turns and prints a table

All are lowered with XNNPACK and one configuration; the weights are random, of whisper-base.

* `latched`: the decoder of `crosslatch.export(model, "m.pte")`
* `latched, loaded again`: the same file a second time, which tells chance from difference
* `recomputed`: cross-attention keys and values of every step from the encoder's output, as ExecuTorch's
  CPU path does today
* `recomputed, in place`: the same with the attention of `latched`, which copies neither keys nor values
* `kept by the caller`: the latched decoder with its caches as inputs, in memory of the caller, so that
  nothing is copied: what the caches inside may cost at most
"""

import operator
import random
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

LOADINGS, ROUNDS, WARM = 6, 40, 4
NAMES = ("latched", "latched, loaded again", "recomputed", "recomputed, in place", "kept by the caller")
FILES = {"latched, loaded again": "latched"}


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
    """Loads everything anew several times, in an order and its reverse, and runs the steps in turns.

    Where the system puts 200 MB of packed weights decides as much as what is compared: one program,
    loaded twice in a process, has differed from itself by 12 %.  So each comparison is the median
    of the ratios of neighbouring calls, over several loadings; `latched, loaded again` against
    `latched` says what such a comparison is worth on this machine.
    """
    loadings = []
    for number in range(LOADINGS):
        order = random.Random(number // 2).sample(NAMES, len(NAMES))
        loadings.append(measured(folder, order[::-1] if number % 2 else order))
        print(f"loading {number + 1} of {LOADINGS}", file=sys.stderr)
    print("| later step | ms, median | of the loadings | latched is |\n|---|---|---|---|")
    for name in NAMES:
        middles = [1e3 * statistics.median(times[name]) for times in loadings]
        ratios = [statistics.median(map(operator.truediv, times["latched"], times[name]))
                  for times in loadings]
        print(f"| {name} | {statistics.median(middles):.2f} | {min(middles):.2f} to {max(middles):.2f} "
              f"| {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |", flush=True)


def measured(folder, load_order):
    """{name: seconds of each round} of programs loaded in this order."""
    steps, states = {}, torch.randn(1, 1500, 512)
    for name in load_order:
        steps[name] = step_of(folder, name, states)
    times, order = {name: [] for name in NAMES}, random.Random(0)
    for position in range(ROUNDS + WARM):
        token = [torch.tensor([[position + 50]]), torch.tensor([position])]
        # In any order: what ran before decides what is in the processor's caches.
        for name in order.sample(NAMES, len(NAMES)):
            method, arguments = steps[name]
            inputs = arguments(token)
            start = time.perf_counter()
            method.execute(inputs)
            if position >= WARM:
                times[name].append(time.perf_counter() - start)
    return times


def step_of(folder, name, states):
    """A method, and what makes its inputs of a token."""
    from executorch.runtime import Runtime
    program = Runtime.get().load_program(folder / f"{FILES.get(name, name)}.pte")
    if name.startswith("latched"):
        program.load_method("latch").execute([states])
    method = program.load_method("decoder" if name.startswith("latched") else "forward")
    return method, extra(name, program, states)


def extra(name, program, states):
    """From a token to the inputs of a program, in its order."""
    if name.startswith("latched"):
        return lambda token: token
    if name.startswith("recomputed"):
        return lambda token: [*token, states]
    meta = program.metadata("forward")
    caches = [torch.randn(meta.input_tensor_meta(i).sizes()) for i in range(meta.num_inputs() - 2)]
    return lambda token: [*caches, *token]


if __name__ == "__main__":
    {"make": make, "run": run}[sys.argv[1]](Path(sys.argv[2]))
