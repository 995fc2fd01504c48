//! Grammars: read, then obeyed by some texts.

use crosslatch_tasks::Grammar;

use super::{Target, kind_of};
use crate::mutation::bytes;

pub const TARGET: Target = Target {
    name: "grammar",
    run,
    seeds: || SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect(),
    mutate: bytes::mutate,
    longest: 1 << 12,
};

const SEEDS: [&str; 5] = [
    "root ::= \"yes\" | \"no\" # an answer\n",
    "root ::= item (\", \" item){0,9} \".\"\nitem ::= [a-zA-Z]+ | [0-9]{1,3} \"\\u20ac\"\n",
    "root ::= object\nobject ::= \"{\" (pair (\",\" pair)*)? \"}\"\npair ::= string \":\" (string | object)\n\
     string ::= \"\\\"\" [^\"\\\\]* \"\\\"\"\n",
    "root ::= a | a \"b\"\na ::= \"a\" a \"b\" a | \"a\" a | .?\n",
    "root ::= (\"a\"? \"b\"*)+ (\n  \"c\" | [^\\x00-\\x7f]\n)\n",
];

/// Texts of all kinds, some of which obey the seeds.
const TEXTS: [&str; 6] = [
    "",
    "yes",
    "ab, 12€.",
    "{\"a\":{\"b\":\"c\"}}",
    "aaaaaaaabbbbaab",
    "bab😀",
];

fn run(text: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(text) else {
        return "not text".to_owned();
    };
    match Grammar::parse(text) {
        Ok(grammar) => {
            let obeys = TEXTS.map(|text| if grammar.accepts(text) { '1' } else { '0' });
            format!("good: {}", String::from_iter(obeys))
        }
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1);
            kind_of(&error.cause)
        }
    }
}
