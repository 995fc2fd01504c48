"""Attention within windows, for texts of any length.

Encoders of long texts cut them into blocks, and let a token see the tokens of its own and of neighbouring
blocks.  A text must then be a number of whole blocks long.  transformers' code asks whether it is, and pads
it if not, which ties a graph to one answer.  Here it is padded always, by an expression over the length: to
whole blocks and, where transformers' code goes on with them, one more.  The tracer takes a size that can
be 1 for one that is broadcast, and there are never less than two blocks then.
"""

import torch
from torch.nn import functional as F


def blocks(x, length, dim, more=0):
    """Splits an axis of any size into blocks [count, length]; zeros fill the last, and some more."""
    count = (x.shape[dim] + length - 1) // length + more
    padding = [0, 0] * (x.dim() - 1 - dim % x.dim()) + [0, count * length - x.shape[dim]]
    return F.pad(x, padding).unflatten(dim, (count, length))


def with_neighbours(x, dim):
    """For each block, [count, length], the block before it, itself and the one behind, 3 · length."""
    around = F.pad(x, [0, 0] * (x.dim() - 1 - dim) + [1, 1])
    count = x.shape[dim]
    return torch.cat([around.narrow(dim, start, count) for start in range(3)], dim + 1)


def led(self, hidden_states, attention_mask=None, is_index_masked=None, output_attentions=False, **_):
    """`LEDEncoderSelfAttention.forward` without global tokens: a token sees `reach` tokens on each side.

    Eager code lays the scores of a token beside each other, by distance; here, those of a block of
    `reach` tokens with three blocks are a product, and those too far apart are masked.
    """
    reach = self.one_sided_attn_window_size
    batch, length, size = hidden_states.shape

    def heads(x):
        return blocks(x.view(batch, length, self.num_heads, self.head_dim), reach, 1)

    query = heads(self.query(hidden_states) / self.head_dim ** 0.5)
    key = with_neighbours(heads(self.key(hidden_states)), 1)
    value = with_neighbours(heads(self.value(hidden_states)), 1)
    scores = torch.einsum("bnqhd,bnkhd->bnhqk", query, key)
    lowest = torch.finfo(scores.dtype).min
    seen = with_neighbours(blocks((attention_mask == 0).to(scores.dtype), reach, 1), 1)
    exists = with_neighbours(blocks(torch.ones_like(attention_mask), reach, 1), 1)
    # A masked token counts as little as can be, one that is not there or too far away not at all.
    distance = torch.arange(3 * reach) - reach - torch.arange(reach)[:, None]
    near = (exists[:, :, None, None] > 0) & (distance.abs() <= reach)
    scores = scores + torch.where(seen > 0, 0.0, lowest)[:, :, None, None]
    shares = torch.softmax(scores.masked_fill(~near, -torch.inf), -1)
    out = torch.einsum("bnhqk,bnkhd->bnqhd", shares, value).flatten(1, 2)[:, :length]
    out = out.reshape(batch, length, size)
    return (out.masked_fill(is_index_masked[:, :, None], 0.0),)


def led_without_padding(self, input_ids, attention_mask, inputs_embeds, pad_token_id):
    """`LEDEncoder._pad_to_window_size`: the attention above takes any length."""
    return 0, input_ids, attention_mask, inputs_embeds


def longt5(x, block_len, dim):
    """`_split_into_blocks`, whose caller cuts its result to the length of the text."""
    return blocks(x, block_len, dim, more=1)


def pegasus_x(forward):
    """`PegasusXEncoder.forward` for a text that is padded to whole blocks."""
    def padded(self, input_ids=None, attention_mask=None, **kwargs):
        length, block = input_ids.shape[1], self.config.block_size
        more = ((length + block - 1) // block + 1) * block - length
        output = forward(self, input_ids=F.pad(input_ids, [0, more], value=self.config.pad_token_id),
                         attention_mask=F.pad(attention_mask, [0, more]), **kwargs)
        output.last_hidden_state = output.last_hidden_state[:, :length]
        return output
    return padded


FORMS = {
    ("led", "LEDEncoder._pad_to_window_size"): led_without_padding,
    ("led", "LEDEncoderSelfAttention.forward"): led,
    ("longt5", "_split_into_blocks"): longt5,
}
AROUND = {
    ("pegasus_x", "PegasusXEncoder.forward"): pegasus_x,
}
