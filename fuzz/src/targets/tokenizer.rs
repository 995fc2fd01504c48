//! `tokenizer.json`: read, then used on a few texts and on arbitrary tokens.

use crosslatch_tasks::{TextLimits, TextPipeline, TextTokenizer};

use super::{Target, kind_of};
use crate::mutation::json;

pub const TARGET: Target = Target {
    name: "tokenizer",
    run,
    seeds: || TOKENIZERS.iter().map(|t| t.as_bytes().to_vec()).collect(),
    mutate: json::mutate,
    longest: 1 << 14,
};

/// Whole words.
pub const WORD_LEVEL: &str = r#"{"version": "1.0", "truncation": null, "padding": null,
"added_tokens": [{"id": 0, "content": "</s>", "single_word": false, "lstrip": false,
"rstrip": false, "normalized": false, "special": true}, {"id": 4, "content": "fra_Latn",
"single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"},
{"type": "Replace", "pattern": {"Regex": " +"}, "content": " "}]},
"pre_tokenizer": {"type": "Whitespace"},
"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}},
{"SpecialToken": {"id": "</s>", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}},
{"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"</s>": {"id": "</s>", "ids": [0],
"tokens": ["</s>"]}}}, "decoder": null,
"model": {"type": "WordLevel", "vocab": {"</s>": 0, "hello": 1, "world": 2, "<unk>": 3},
"unk_token": "<unk>"}}"#;

const TOKENIZERS: &[&str] = &[
    WORD_LEVEL,
    // Pairs of bytes, as Whisper and BART have them.
    r#"{"version": "1.0", "truncation": {"direction": "Right", "max_length": 3,
"strategy": "LongestFirst", "stride": 0}, "padding": {"strategy": {"Fixed": 8},
"direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
"pad_token": "<pad>"}, "added_tokens": [{"id": 7, "content": "<|en|>", "single_word": false,
"lstrip": false, "rstrip": false, "normalized": false, "special": true}], "normalizer": null,
"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
"use_regex": true}, "post_processor": {"type": "ByteLevel", "add_prefix_space": true,
"trim_offsets": false, "use_regex": true}, "decoder": {"type": "ByteLevel",
"add_prefix_space": true, "trim_offsets": true, "use_regex": true}, "model": {"type": "BPE",
"dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": {"h": 0, "e": 1,
"l": 2, "o": 3, "he": 4, "ll": 5, "hell": 6}, "merges": [["h", "e"], ["l", "l"],
["he", "ll"]]}}"#,
    // Pieces with probabilities, as T5 and Marian have them.
    r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
"normalizer": {"type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": true,
"strip_right": true}, {"type": "Prepend", "prepend": "x"}, {"type": "NFKC"}]},
"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
"split": true}, "post_processor": null, "decoder": {"type": "Metaspace", "replacement": "▁",
"prepend_scheme": "always", "split": true}, "model": {"type": "Unigram", "unk_id": 0,
"byte_fallback": false, "vocab": [["<unk>", 0.0], ["▁", -2.0], ["▁hello", -3.5], ["l", -4.0],
["o", -4.0]]}}"#,
    // Pieces of words, as BERT has them.
    r###"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
"strip_accents": null, "lowercase": true}, "pre_tokenizer": {"type": "Sequence",
"pretokenizers": [{"type": "BertPreTokenizer"}, {"type": "Digits", "individual_digits": true},
{"type": "Split", "pattern": {"Regex": "\\p{L}+|(?=a)b"}, "behavior": "Isolated",
"invert": false}]}, "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 1],
"cls": ["[CLS]", 0]}, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
"max_input_chars_per_word": 100, "vocab": {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "hel": 3,
"##lo": 4}}}"###,
    // Every decoder, one after the other.
    r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
"normalizer": null, "pre_tokenizer": {"type": "Punctuation", "behavior": "Isolated"},
"post_processor": null, "decoder": {"type": "Sequence", "decoders": [{"type": "Replace",
"pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
{"type": "Strip", "content": " ", "start": 1, "stop": 0}, {"type": "CTC", "pad_token": "<pad>",
"word_delimiter_token": "|", "cleanup": true}]}, "model": {"type": "BPE", "dropout": null,
"unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
"fuse_unk": true, "byte_fallback": true, "ignore_merges": true, "vocab": {"<unk>": 0, "<0x41>": 1,
"a": 2, "b": 3, "ab": 4}, "merges": ["a b"]}}"#,
];

/// A text for everything that tokenizers split by: words, case, digits, scripts, marks, nothing.
const TEXTS: &[&str] = &[
    "Hello, world 42!",
    "Grüße 日本語 e\u{301} 👍🏽",
    " \t\n",
    "",
    "aaaaaaaaaaaaaaaab",
];

const CONFIG: &[u8] = br#"{"decoder_start_token_id": 0, "eos_token_id": 1}"#;

fn run(bytes: &[u8]) -> String {
    let tokenizer = match TextTokenizer::from_bytes(bytes) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return kind_of(&error.to_string()),
    };
    use_on_texts(tokenizer)
}

/// Uses a tokenizer on texts and on arbitrary tokens, and describes the outcome.
pub fn use_on_texts(tokenizer: TextTokenizer) -> String {
    let mut answer = String::from("good:");
    for text in TEXTS {
        let outcome = tokenizer.encode(text, true).and_then(|tokens| {
            tokenizer.encode_marked(text)?;
            tokenizer.decode(&tokens)
        });
        match outcome {
            Ok(again) => answer.push_str(if again == *text { " same" } else { " other" }),
            Err(error) => answer.push_str(&kind_of(&error.to_string())),
        }
    }
    let any: Vec<u32> = (0..12).chain([1000, u32::MAX]).collect();
    if let Err(error) = tokenizer.decode(&any) {
        answer.push_str(&kind_of(&error.to_string()));
    }
    let _ = (tokenizer.id("<|en|>"), tokenizer.vocabulary_size());
    let pipeline = TextPipeline::new(tokenizer, None, CONFIG, TextLimits::default());
    if let Err(error) = pipeline {
        answer.push_str(&kind_of(&error.to_string()));
    }
    answer
}
