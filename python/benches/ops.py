"""The cost of a call and the speed of a large update, beside the published operators.

Each implementation runs in a process of its own, because the names are the same, and the processes take
turns, because the load of shared machines varies.  The published package is measured
if it is importable.  Ratios are of medians over the rounds.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 3
HERE = Path(__file__).resolve()


def microseconds(call, times):
    for _ in range(max(times // 10, 3)):
        call()
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times * 1e6


def measure(which):
    import torch
    if which == "ours":
        sys.path.insert(0, str(HERE.parent.parent))
        import crosslatch.ops  # noqa: F401
    else:
        from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401
    ops = torch.ops.executorch
    small, cache = torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 8, 4)
    # The caches of whisper-base: 6 layers of keys and values, 37 MB, from projections.
    value = torch.randn(12, 1500, 8, 64).transpose(1, 2)
    large = torch.zeros(12, 8, 1500, 64)
    result = {}
    with torch.no_grad():
        try:
            result["alias_us"] = microseconds(lambda: ops.alias(small, cache), 20_000)
        except RuntimeError as error:
            result["alias_refused"] = str(error).splitlines()[0][:100]
        result["update_us"] = microseconds(
            lambda: ops.update_cross_attn_cache(small, cache), 10_000)
        result["large_us"] = microseconds(lambda: ops.update_cross_attn_cache(value, large), 20)
        result["copy_us"] = microseconds(lambda: large.copy_(value), 20)
    print(json.dumps(result))


def main():
    rounds = {"ours": [], "published": []}
    for _ in range(ROUNDS):
        for which, results in rounds.items():
            done = subprocess.run([sys.executable, "-W", "ignore", HERE, which],
                                  capture_output=True, text=True, env=os.environ)
            if done.returncode == 0:
                results.append(json.loads(done.stdout.splitlines()[-1]))
            elif which == "ours":
                sys.exit(done.stderr)
    medians = {which: {key: statistics.median(r[key] for r in results) for key in results[0]
                       if key.endswith("_us")} for which, results in rounds.items() if results}
    ours = medians["ours"]
    print(f"alias                  {ours['alias_us']:8.2f} us a call")
    print(f"update, small          {ours['update_us']:8.2f} us a call")
    print(f"update, 37 MB          {ours['large_us'] / 1000:8.2f} ms, copy_ "
          f"{ours['copy_us'] / 1000:.2f} ms: {ours['copy_us'] / ours['large_us']:.0%} of its speed")
    if theirs := medians.get("published"):
        if "alias_us" in theirs:
            print(f"published alias        {theirs['alias_us']:8.2f} us: "
                  f"{theirs['alias_us'] / ours['alias_us']:.1f} times ours")
        else:
            print(f"published alias        refuses: {rounds['published'][0]['alias_refused']}")
        print(f"published update       {theirs['update_us']:8.2f} us: "
              f"{theirs['update_us'] / ours['update_us']:.1f} times ours")
        print(f"published update 37 MB {theirs['large_us'] / 1000:8.2f} ms: "
              f"{theirs['large_us'] / ours['large_us']:.1f} times ours")
    else:
        print("the published operators (package executorch) cannot be imported here; not compared")


if __name__ == "__main__":
    measure(sys.argv[1]) if sys.argv[1:] else main()
