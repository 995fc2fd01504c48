"""A sample of the architectures, measured anew; the page has all of them, and is right about the sample.

`cargo xtask architectures` measures all.
"""

import pytest
import torch

from architectures import ARCHITECTURES, GROUPS
from architectures.architecture import Architecture, numbers
from architectures.measuring import ALLOWED, Differs, Result, distance, eager, exported, kept, measured
from architectures.measuring import path_of, save
from architectures.table import PAGE, is_green, machine, page, result_row, rows_of, verdict

SAMPLE = ("nn.Transformer", "T5", "Llama", "BERT", "Whisper with LoRA", "HiFi-GAN", "SAM, mask decoder",
          "VideoMAE", "Time Series Transformer")


@pytest.fixture(scope="module")
def rows():
    return rows_of(PAGE.read_text())


@pytest.mark.parametrize("name", SAMPLE)
def test_a_program_of_plain_export_gives_what_eager_gives(name, rows, tmp_path):
    torch.set_num_threads(1)
    (architecture,) = [a for a in ARCHITECTURES if a.name == name]
    result = measured(architecture, tmp_path)
    assert result.green(), result.reason
    assert max(result.distance.values()) <= ALLOWED
    assert verdict(result_row(architecture, result)) == verdict(rows[name])


def test_the_page_has_a_row_for_each_architecture_and_counts_them(rows):
    assert list(rows) == [architecture.name for architecture in ARCHITECTURES]
    green = sum(map(is_green, rows.values()))
    assert f"{green} of {len(rows)} architectures run" in PAGE.read_text()
    assert green >= 55
    written = PAGE.read_text().split("Machine: ")[1].split(".\n")[0]
    assert page(rows, " ".join(written.split())).split() == PAGE.read_text().split()


def test_names_are_distinct():
    names = [architecture.name for group in GROUPS.values() for architecture in group]
    assert len(set(names)) == len(names)


class Sum(torch.nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def forward(self, held, x):
        return held * self.slope + x


@pytest.fixture
def sum_of_two():
    return Architecture("sum", lambda: Sum(2.0), {"held": numbers(2, 3), "x": numbers(2, 3)}, ("held",))


def test_another_result_than_eager_is_found(sum_of_two, tmp_path):
    torch.set_num_threads(1)
    module, other = sum_of_two.module(), Sum(2.001)
    program, _ = exported(sum_of_two, module)
    path = path_of(sum_of_two, tmp_path, "plain")
    save(program, path)
    inputs = [sum_of_two.inputs(i) for i in range(3)]
    assert distance(sum_of_two, module, path, [eager(module, i) for i in inputs], False) < 1e-6
    with pytest.raises(Differs, match="differs from eager by"):
        distance(sum_of_two, other, path, [eager(other, i) for i in inputs], False)
    assert "differs from eager" in kept(sum_of_two, other, path, False)


def test_a_row_says_why_an_architecture_does_not_run():
    result = Result(reason={"plain": "no operator a | b", "decomposed": "no operator a | b"})
    line = result_row(ARCHITECTURES[0], result)
    assert not is_green(line) and "no operator a \\| b | the same |" in line
    assert machine()
