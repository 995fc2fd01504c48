//! The targets: what each reads, how far it goes with it, and its seeds.

mod archive;
pub(crate) mod checkpoint;
mod config;
mod faulty;
mod grammar;
mod graph;
mod multipart;
mod npz;
mod pieces;
mod program;
mod running;
mod seeds;
mod sound;
mod tokenizer;

pub(crate) use multipart::read_form;

use crate::mutation::Mutation;

/// A reader of foreign data.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Reads bytes and describes the outcome, in words that are the same for inputs of one kind.
    pub run: fn(&[u8]) -> String,
    /// Valid inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Changes an input.
    pub mutate: Mutation,
    /// The most bytes of an input.
    pub longest: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    archive::TARGET,
    graph::TARGET,
    program::TARGET,
    npz::TARGET,
    sound::TARGET,
    sound::stream::TARGET,
    multipart::TARGET,
    tokenizer::TARGET,
    pieces::TARGET,
    config::TARGET,
    grammar::TARGET,
    checkpoint::GGML,
    checkpoint::CTRANSLATE2,
];

/// The target with this name, which may be one that breaks on purpose.
pub fn target(name: &str) -> Option<&'static Target> {
    let mut all = TARGETS.iter().chain(faulty::TARGETS);
    all.find(|target| target.name == name)
}

/// A message without the parts that differ between inputs: numbers become `#`, quoted names become `…`, and
/// only the beginning counts. Two inputs with the same answer most likely took the same path.
fn kind_of(message: &str) -> String {
    let mut kind = String::new();
    let mut quote = None;
    for c in message.chars().take(400) {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => continue,
            None if c == '`' || c == '"' => {
                quote = Some(c);
                kind.push('…');
            }
            None if c.is_ascii_digit() => {
                if !kind.ends_with('#') {
                    kind.push('#');
                }
            }
            None => kind.push(c),
        }
        if kind.len() > 72 {
            break;
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_make_no_kind_of_their_own() {
        let one = kind_of("entry `a/b`: needs 12 bytes, the payload has 3");
        assert_eq!(one, "entry …: needs # bytes, the payload has #");
        assert_eq!(
            one,
            kind_of("entry `c`: needs 7 bytes, the payload has 65536")
        );
    }

    #[test]
    fn every_seed_is_read_by_its_target_and_most_are_valid() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(seeds.len() >= 3, "{}: {} seeds", target.name, seeds.len());
            let answers: Vec<String> = seeds.iter().map(|seed| (target.run)(seed)).collect();
            let good = answers.iter().filter(|a| a.starts_with("good")).count();
            let bad: Vec<_> = answers.iter().filter(|a| !a.starts_with("good")).collect();
            assert!(
                good * 3 >= seeds.len() * 2,
                "{}: {good} of {} seeds are valid; others: {bad:#?}",
                target.name,
                seeds.len()
            );
            let longest = seeds.iter().map(Vec::len).max().unwrap_or(0);
            assert!(longest <= target.longest, "{}: {longest}", target.name);
        }
    }
}
