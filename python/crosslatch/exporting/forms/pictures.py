"""Places of pictures in texts, without counting them.

A picture's features take the places of certain tokens.  transformers' code counts the tokens, and refuses
what does not fit; a graph goes on without the count, and the operator that fills the places checks that
there are features enough.
"""


def florence2(self, input_ids, inputs_embeds, image_features):
    """`Florence2Model.get_placeholder_mask`."""
    return (input_ids == self.config.image_token_id).unsqueeze(-1).expand_as(inputs_embeds)


FORMS = {
    ("florence2", "Florence2Model.get_placeholder_mask"): florence2,
}
