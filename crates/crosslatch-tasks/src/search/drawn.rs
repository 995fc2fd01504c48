//! Several texts drawn at random, of which the most probable wins.
//!
//! One draw may be unlucky. So several texts are drawn independently, side by side, each in a
//! sequence of its own, and the one is taken whose tokens are most probable by the model's own
//! scores, without the temperature. As in openai-whisper (`best_of`), the sum of the
//! log-probabilities is divided by the number of tokens without the end; of equal texts the first
//! wins.

use super::scores::Choice;
use super::single::{draw, keep_best};
use super::{Decoder, Generated, Request, Sampling, SearchError, Sequences, Told, sample};

/// A text that is being drawn.
struct Text {
    /// The tokens, those of the prompt included.
    tokens: Vec<u32>,
    end: Option<u32>,
    /// The log-probability of each token after the prompt.
    logprobs: Vec<f32>,
    /// Their sum, the end included.
    total: f64,
}

impl Text {
    fn add(&mut self, choice: Choice, request: &Request<'_>) {
        self.total += f64::from(choice.logprob);
        match request.eos.contains(&choice.token) {
            true => self.end = Some(choice.token),
            false => {
                self.tokens.push(choice.token);
                self.logprobs.push(choice.logprob);
            }
        }
    }

    fn is_done(&self, request: &Request<'_>) -> bool {
        self.end.is_some() || self.tokens.len() >= request.max_length
    }

    fn generated(mut self, prompt: usize) -> Generated {
        let tokens = self.tokens.split_off(prompt);
        let steps = tokens.len() + usize::from(self.end.is_some());
        Generated {
            avg_logprob: (self.total / steps as f64) as f32,
            score: (self.total / tokens.len().max(1) as f64) as f32,
            end: self.end,
            logprobs: self.logprobs,
            tokens,
        }
    }
}

/// Draws `count` texts and returns the most probable; its `score` is what they were compared by.
/// With a `count` of 1 this is [`sample`]; with more, `told` is told of nothing before one has won.
///
/// # Errors
/// Any [`SearchError`].
pub fn sample_best<D: Decoder>(
    model: &mut D,
    sequences: &mut Sequences,
    request: &Request<'_>,
    sampling: Sampling<'_>,
    count: usize,
    told: &mut Told<'_>,
) -> Result<Generated, SearchError<D::Error>> {
    if count <= 1 {
        return sample(model, sequences, request, sampling, told);
    }
    request.check()?;
    let held = model
        .sequences(count)
        .map_err(|source| SearchError::Decoder {
            position: 0,
            source,
        })?;
    let (mut row, mut sorted) = (Vec::new(), Vec::new());
    let mut next = |tokens: &[u32], scores: &[f32]| {
        row.clear();
        row.extend_from_slice(scores);
        request.apply_rules(tokens, &mut row);
        keep_best(&mut row, sampling.top_k, &mut sorted);
        let drawn = draw(&row, sampling.temperature, sampling.random);
        let position = tokens.len() - 1;
        drawn.map_err(|cause| SearchError::Scores { position, cause })
    };
    // All texts begin after the same tokens.
    let first = sequences.feed(model, 0, request.prompt)?;
    let mut texts = Vec::new();
    for _ in 0..count {
        let mut text = Text {
            tokens: request.prompt.to_vec(),
            end: None,
            logprobs: Vec::new(),
            total: 0.0,
        };
        text.add(next(request.prompt, first)?, request);
        texts.push(text);
    }
    loop {
        let going = (0..).zip(&texts).filter(|(_, text)| !text.is_done(request));
        let going: Vec<(usize, &[u32])> = going.map(|(i, text)| (i, &text.tokens[..])).collect();
        if going.is_empty() {
            break;
        }
        let mut choices = Vec::with_capacity(going.len());
        let mut left = going.iter();
        let mut take = |scores: &[f32]| {
            if let Some(&(i, tokens)) = left.next() {
                choices.push((i, next(tokens, scores)));
            }
        };
        if held >= count {
            sequences.feed_all(model, &going, &mut take)?;
        } else {
            // With fewer sequences than texts, all take turns in the first.
            for &(_, tokens) in &going {
                sequences.feed_all(model, &[(0, tokens)], &mut take)?;
            }
        }
        for (i, choice) in choices {
            texts[i].add(choice?, request);
        }
    }
    let texts = texts.into_iter().map(|t| t.generated(request.prompt.len()));
    let best = texts.reduce(|best, text| match text.score > best.score {
        true => text,
        false => best,
    });
    best.ok_or(SearchError::Scores {
        position: request.prompt.len() - 1,
        cause: "allow no token at all",
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::ops::ControlFlow;

    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    /// Scores that depend on all tokens of a sequence.
    struct Hashed {
        sequences: usize,
        held: Vec<Vec<i64>>,
        row: Vec<f32>,
    }

    impl Hashed {
        fn new(sequences: usize) -> Self {
            Hashed {
                sequences,
                held: vec![Vec::new(); 8],
                row: Vec::new(),
            }
        }
    }

    const VOCAB: u64 = 11;
    const END: u32 = 3;

    fn scores(tokens: &[i64]) -> impl Iterator<Item = f32> {
        let seed =
            (tokens.iter()).fold(7_u64, |h, &t| (h ^ t as u64).wrapping_mul(0x100_0000_01b3));
        (0..VOCAB).map(move |id| {
            let h = (seed ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((h >> 40) & 0xff) as f32 / 64.0
        })
    }

    impl Decoder for Hashed {
        type Error = Infallible;

        fn sequences(&mut self, wanted: usize) -> Result<usize, Infallible> {
            Ok(wanted.min(self.sequences))
        }

        fn branch(&mut self, from: usize, to: usize) -> Result<bool, Infallible> {
            self.held[to] = self.held[from].clone();
            Ok(true)
        }

        fn decode(
            &mut self,
            sequence: usize,
            tokens: &[i64],
            position: usize,
        ) -> Result<&[f32], Infallible> {
            let held = &mut self.held[sequence];
            assert!(position <= held.len());
            held.truncate(position);
            held.extend(tokens);
            self.row.clear();
            self.row.extend(scores(held));
            Ok(&self.row)
        }
    }

    fn run(sequences: usize, count: usize, seed: u64) -> Generated {
        let request = Request {
            prompt: &[1, 2],
            rules: &[],
            eos: &[END],
            max_length: 9,
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let sampling = Sampling {
            temperature: 0.8,
            top_k: 6,
            random: &mut random,
        };
        let (mut model, mut held) = (Hashed::new(sequences), Sequences::default());
        let told = &mut |_: &[u32]| ControlFlow::Continue(());
        sample_best(&mut model, &mut held, &request, sampling, count, told).unwrap()
    }

    /// The mean log-probability of a text, computed from the scores alone.
    fn mean(text: &Generated) -> f32 {
        let mut tokens = vec![1, 2];
        let chosen: Vec<u32> = text.tokens.iter().copied().chain(text.end).collect();
        let mut total = 0.0;
        for &token in &chosen {
            let row: Vec<f32> = scores(&tokens).collect();
            let mut kept: Vec<f32> = row.clone();
            kept.sort_by(|a, b| b.total_cmp(a));
            let sum: f32 = row.iter().filter(|&&x| x >= kept[5]).map(|x| x.exp()).sum();
            total += row[token as usize] - sum.ln();
            tokens.push(i64::from(token));
        }
        total / chosen.len() as f32
    }

    #[test]
    fn the_best_of_several_texts_is_more_probable_than_most() {
        let (mut better, mut totals) = (0, [0.0; 2]);
        for seed in 0..60 {
            let (one, best) = (run(8, 1, seed), run(8, 6, seed));
            for text in [&one, &best] {
                assert!((text.avg_logprob - mean(text)).abs() < 1e-4);
                assert!(text.end.is_some() || text.tokens.len() == 7);
            }
            let [one, best] = [one, best].map(|text| {
                let chosen = text.tokens.len() + usize::from(text.end.is_some());
                text.avg_logprob * chosen as f32 / text.tokens.len().max(1) as f32
            });
            better += usize::from(best >= one);
            totals[0] += one;
            totals[1] += best;
        }
        // Of seven texts, the first is the best one time in seven.
        assert!(better > 45, "{better}");
        assert!(totals[1] > totals[0] + 10.0, "{totals:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_text_with_any_number_of_sequences() {
        let mut different = 0;
        for seed in 0..20 {
            let text = run(8, 5, seed);
            assert_eq!(run(8, 5, seed), text);
            assert_eq!(run(1, 5, seed), text);
            assert_eq!(run(2, 5, seed), text);
            different += usize::from(run(8, 5, seed + 100).tokens != text.tokens);
        }
        assert!(different > 10);
    }
}
