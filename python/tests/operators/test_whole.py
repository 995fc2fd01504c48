"""PyTorch's whole database, and odd values of everything, in all element types: equal or refused.

Without an option one sample of many is taken; `--every 1` takes all of them, which takes an hour.
What may differ, and why, is in `exceptions.py`; nothing else may.  The counts go to standard output
and `target/conformance/whole-*.txt`.
"""

import pytest

from conftest import ROOT
from operators.whole import database, odd_values, report, run


@pytest.mark.parametrize("source", [database, odd_values])
def test_every_sample_is_equal_or_refused(source, tmp_path, request):
    verdicts = run(source(request.config.getoption("--every"), set()), tmp_path)
    text = report(verdicts)
    folder = ROOT / "target" / "conformance"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"whole-{source.__name__}.txt").write_text(text + "\n")
    print(text)
    assert not [v for v in verdicts if v.outcome == "different"], text
    # Something was compared at all.
    assert sum(v.outcome == "equal" for v in verdicts) > 100
