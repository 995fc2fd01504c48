"""What a run was measured on, and how it can be held to fewer instructions than the machine has."""

import os
import platform
from pathlib import Path

#: What the kernels of the runtimes ask a processor for, by the names that Linux gives.
INSTRUCTIONS = {
    "avx2": "AVX2", "avx_vnni": "AVX-VNNI", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "BF16",
    "avx512_fp16": "FP16", "amx_bf16": "AMX-BF16", "amx_int8": "AMX-INT8", "asimd": "NEON",
    "asimddp": "dot products", "bf16": "BF16", "i8mm": "I8MM", "sve": "SVE",
}

#: What holds a runtime to AVX2.  `None`: nothing does.  Nothing to set: it has no more as it was built.
_MKL = {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
LIMITS = {
    "avx2": {
        "engine": {"CROSSLATCH_INSTRUCTIONS": "avx2"},
        "pytorch": {"ATEN_CPU_CAPABILITY": "avx2", **_MKL},
        "ort": None,
        "ov": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        "ct2": {"CT2_FORCE_CPU_ISA": "AVX2", **_MKL},
        "cpp": {},
        "rten": None,
        "candle": None,
    },
}


def limit(instructions, runtime):
    """(environment that holds a runtime to these instructions, whether it can be held at all)."""
    found = LIMITS[instructions][runtime] if instructions else {}
    return found or {}, found is not None


def described():
    """{processor, instructions, cores, memory_gib}."""
    facts = {}
    for line in (read("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features", "")).split()
    memory = [int(line.split()[1]) for line in (read("/proc/meminfo") or "").splitlines()
              if line.startswith("MemTotal:")]
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "instructions": list(dict.fromkeys(name for flag, name in INSTRUCTIONS.items() if flag in flags)),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory[0] / 2**20) if memory else None,
    }


def read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return None
