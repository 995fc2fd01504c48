"""The cases, made once: some thousands of programs take minutes.

They stay in `target/conformance` until PyTorch or the scripts that make them change.  Making them
is a process of its own, because importing PyTorch's test database alone takes seconds, and because
`programs.py` replaces parts of the exporter.  Of test processes that want them at the same time, one makes them and the
others wait.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import torch

SCRIPTS = ("coverage.py", "generate.py", "programs.py", "samples.py")


def cached(root: Path) -> Path:
    """The folder of cases, made if there is none for this PyTorch and these scripts."""
    key = hashlib.sha256(torch.__version__.encode())
    here = Path(__file__).resolve().parent
    for script in SCRIPTS:
        key.update((here / script).read_bytes())
    folder = root / key.hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "cases.json").exists():
            for earlier in (path for path in root.iterdir() if path.is_dir()):
                shutil.rmtree(earlier)
            subprocess.run([sys.executable, "-m", "operators.generate", folder], cwd=here.parent, check=True)
        shutil.copy(folder / "targets.json", root / "targets.json")
    return folder
