"""Adds calls to a traced graph, with the values that the tracer would have recorded.

Later passes, saving and the compiler all read `meta["val"]`; a call without it is not valid in an
exported program.
"""

import operator

import torch


def call(graph, target, *args, **kwargs):
    """Adds a call at the insertion point, with the value that the tracer would give it."""
    node = graph.call_function(target, args, kwargs)
    values = torch.fx.node.map_arg((args, kwargs), lambda arg: arg.meta["val"])
    mode = next((v.fake_mode for v in torch.utils._pytree.tree_leaves(values)
                 if hasattr(v, "fake_mode")), None)
    assert mode is not None, f"{target} has no tensor among its operands"
    with mode:
        node.meta["val"] = target(*values[0], **values[1])
    return node


def item(graph, node, index):
    item = graph.call_function(operator.getitem, (node, index))
    item.meta["val"] = node.meta["val"][index]
    return item


def module_of(node):
    """The path of the innermost module that the tracer saw the node in."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""
