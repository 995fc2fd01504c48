"""Attention of one token as two products that read keys and values where they lie.

ExecuTorch takes `scaled_dot_product_attention` apart in PyTorch's way: the keys are scaled, turned and
repeated, the values repeated, each into new memory, at every step.  For one query there is no need: the
keys are the left side of a product with the query as a column, and values that are kept for many steps
are kept turned, as the left side of a product with the weights.  A left side is read in place.
"""

import torch

from ..latching.calls import call
from ..latching.frontier import find_fixed

aten = torch.ops.aten
ATTENTION = aten.scaled_dot_product_attention.default


def of_one_token(program, inputs):
    """Replaces the attention of a decoder's program; `inputs` are those that stay the same."""
    fixed = set(find_fixed(program, set(inputs)).nodes)
    graph = program.graph
    for node in list(graph.nodes):
        if node.target is ATTENTION and node.args[0].meta["val"].shape[2] == 1:
            with graph.inserting_before(node):
                node.replace_all_uses_with(_attention(graph, node, node.args[2] in fixed))
            graph.erase_node(node)
    graph.lint()
    program.graph_module.recompile()
    return program


def _attention(graph, node, kept):
    query, keys, values, mask = (*node.args, None)[:4] if len(node.args) < 5 else node.args[:4]
    mask = node.kwargs.get("attn_mask", mask)
    batch, heads, _, size = query.meta["val"].shape
    rows, width = keys.meta["val"].shape[2], values.meta["val"].shape[3]
    scale = node.kwargs.get("scale")
    query = call(graph, aten.mul.Tensor, query, size ** -0.5 if scale is None else scale)
    scores = call(graph, aten.bmm.default,
                  _shaped(graph, keys, batch * heads, rows, size),
                  _shaped(graph, query, batch * heads, size, 1))
    scores = _shaped(graph, scores, batch, heads, 1, rows)
    if mask is not None:
        scores = _masked(graph, scores, mask)
    weights = call(graph, aten._softmax.default, scores, -1, False)
    if kept:
        turned = _shaped(graph, call(graph, aten.transpose.int, values, 2, 3),
                         batch * heads, width, rows)
        result = call(graph, aten.bmm.default, turned,
                      _shaped(graph, weights, batch * heads, rows, 1))
    else:
        result = call(graph, aten.bmm.default, _shaped(graph, weights, batch * heads, 1, rows),
                      _shaped(graph, values, batch * heads, rows, width))
    return _shaped(graph, result, batch, heads, 1, width)


def _shaped(graph, value, *shape):
    if not value.meta["val"].is_contiguous():
        value = call(graph, aten.clone.default, value, memory_format=torch.contiguous_format)
    return call(graph, aten.view.default, value, list(shape))


def _masked(graph, scores, mask):
    if mask.meta["val"].dtype != torch.bool:
        return call(graph, aten.add.Tensor, scores, mask)
    # The lowest number, not minus infinity: a row that sees nothing must not become NaN.
    hidden = call(graph, aten.full_like.default, scores, torch.finfo(scores.meta["val"].dtype).min)
    return call(graph, aten.where.self, mask, scores, hidden)
