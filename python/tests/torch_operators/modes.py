"""The ways in which PyTorch runs a program; each makes a callable out of a module."""

import torch


def eager(module, inputs, folder):
    return module


def compiled(module, inputs, folder):
    torch._dynamo.reset()
    return torch.compile(module, fullgraph=True)


def exported(module, inputs, folder):
    return torch.export.export(module, inputs).module()


def decomposed(module, inputs, folder):
    return torch.export.export(module, inputs).run_decompositions({}).module()


def saved(module, inputs, folder):
    torch.export.save(torch.export.export(module, inputs), folder / "program.pt2")
    return torch.export.load(folder / "program.pt2").module()


def saved_decomposed(module, inputs, folder):
    program = torch.export.export(module, inputs).run_decompositions({})
    torch.export.save(program, folder / "program.pt2")
    return torch.export.load(folder / "program.pt2").module()


def packaged(module, inputs, folder):
    program = torch.export.export(module, inputs)
    path = torch._inductor.aoti_compile_and_package(
        program, package_path=str(folder / "package.pt2"))
    return torch._inductor.aoti_load_package(path)


# A package takes so long to make that several programs share one.
MODES = [eager, compiled, exported, decomposed, saved, saved_decomposed]
