"""Tiny translators and summarisers with random weights, as checkpoints on disk.

Each has a tokenizer of its own, made with `tokenizers`, and a generation configuration of the kind that
published models of its family have.  Weights are drawn so that outputs differ from input to input and end
at various lengths: the row of the output projection that belongs to the end is larger than the others,
so that the end is often among the best tokens and not always the best.
"""

import logging
from dataclasses import dataclass, field

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = [f"w{i}" for i in range(60)]
POSITIONS = 48
SIZES = dict(d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
             decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48,
             max_position_embeddings=POSITIONS)
FAIRSEQ = ["<s>", "<pad>", "</s>", "<unk>"]


def text(length, step):
    """A text of this many words."""
    return " ".join(WORDS[(7 + i * step) % len(WORDS)] for i in range(length))


# Long, short, long again: a text must not see what the previous one left behind.
TEXTS = [text(30, 7), text(2, 3), text(17, 11), text(1, 1), text(33, 13), text(9, 17)]


@dataclass
class Checkpoint:
    """A model that is made on demand."""

    name: str
    kind: str                                 # the class of transformers
    config: dict                              # sizes and token ids
    special: list                             # special tokens, the first ids of the vocabulary
    template: list                            # what the tokenizer puts around `$A`
    generation: dict = field(default_factory=dict)
    end: int = 2
    # Of the weights: the seed, their size, and how much larger the row of the end is.
    seed: int = 0
    embedding: float = 1.0
    layers: float = 2.5
    emphasis: float = 1.5

    def __str__(self):
        return self.name

    def tokenizer(self):
        ids = {token: i for i, token in enumerate(self.special + WORDS)}
        made = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        made.add_special_tokens(self.special)
        made.post_processor = processors.TemplateProcessing(
            single=self.template, special_tokens=[(t, ids[t]) for t in self.template if t in ids])
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=made, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")

    def save(self, folder):
        """Writes the checkpoint and returns (model, tokenizer)."""
        tokenizer = self.tokenizer()
        kind = getattr(transformers, self.kind)
        torch.manual_seed(7)
        model = kind(kind.config_class(vocab_size=len(self.special) + len(WORDS), tie_word_embeddings=False,
                                       **self.config)).eval()
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.dim() > 1:
                    by_token = weight.shape[0] == model.config.vocab_size
                    scale = self.embedding if by_token else self.layers
                    weight.normal_(std=scale * weight[0].numel() ** -0.5, generator=generator)
                else:
                    weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
            model.get_output_embeddings().weight[self.end] *= self.emphasis
        model.generation_config = transformers.GenerationConfig.from_dict(
            dict(self.generation, decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
                 eos_token_id=self.end, pad_token_id=model.config.pad_token_id))
        logging.getLogger("transformers").setLevel(logging.ERROR)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        # Read back, because some families do not save everything (positions, for example).
        return kind.from_pretrained(folder).eval(), tokenizer


IDS = dict(bos_token_id=0, pad_token_id=1, eos_token_id=2)
NLLB = ["eng_Latn", "fra_Latn", "zho_Hans", "zho_Hant"]
MBART = ["en_XX", "fr_XX", "ro_RO"]

CHECKPOINTS = [
    Checkpoint("Marian", "MarianMTModel",
               dict(SIZES, **IDS, decoder_start_token_id=1, scale_embedding=True),
               FAIRSEQ, ["$A", "</s>"],
               dict(bad_words_ids=[[1], [20, 21]], forced_eos_token_id=2, max_length=30),
               seed=79, embedding=2.0, layers=4.0, emphasis=2.0),
    Checkpoint("BART", "BartForConditionalGeneration",
               dict(SIZES, **IDS, decoder_start_token_id=2), FAIRSEQ, ["<s>", "$A", "</s>"],
               dict(num_beams=4, forced_bos_token_id=0, forced_eos_token_id=2, min_length=5, max_length=26,
                    no_repeat_ngram_size=3, length_penalty=2.0, early_stopping=True),
               seed=15),
    Checkpoint("mBART", "MBartForConditionalGeneration",
               dict(SIZES, **IDS, decoder_start_token_id=2), FAIRSEQ + MBART,
               ["en_XX", "$A", "</s>"], dict(forced_eos_token_id=2, max_length=24),
               seed=83, embedding=0.3, emphasis=2.0),
    Checkpoint("T5", "T5ForConditionalGeneration",
               dict(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, n_positions=POSITIONS,
                    decoder_start_token_id=0, pad_token_id=0, eos_token_id=1),
               ["<pad>", "</s>", "<unk>"], ["$A", "</s>"], end=1,
               seed=83, embedding=0.3, layers=1.5),
    Checkpoint("NLLB", "M2M100ForConditionalGeneration",
               dict(SIZES, **IDS, decoder_start_token_id=2), FAIRSEQ + NLLB,
               ["eng_Latn", "$A", "</s>"], dict(max_length=40), seed=69,
               embedding=2.0, layers=1.5, emphasis=1.0),
]
