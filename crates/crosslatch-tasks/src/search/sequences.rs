//! The tokens that each sequence of a decoder holds, so that none is fed twice.
//!
//! The same window of sound is decoded several times: to detect its language, to write it down, to
//! try again with another temperature, to follow several hypotheses. Each pass names all the tokens
//! after which it wants scores; those that the sequence holds already are skipped, and only the
//! rest is fed. A pass that begins as the last one did thus costs one token, and the keys and
//! values of the encoder's output are not computed again. If another sequence holds more of the
//! tokens, the sequence is made a branch of that one first, provided that the decoder can do it.

use super::{Decoder, Feed, HeadWeights, SearchError};

/// The tokens that each sequence of a decoder holds.
///
/// The record belongs to one decoder and one encoder output; [`Sequences::forget`] has to be called
/// when either changes.
#[derive(Debug, Clone, Default)]
pub struct Sequences {
    fed: Vec<Vec<u32>>,
    buffer: Vec<i64>,
}

impl Sequences {
    /// Records that no sequence holds anything, because there is a new input.
    pub fn forget(&mut self) {
        self.fed.iter_mut().for_each(Vec::clear);
    }

    /// The scores of the token after `tokens`, which must not be empty.
    ///
    /// # Errors
    /// [`SearchError::Decoder`].
    pub fn feed<'m, D: Decoder>(
        &mut self,
        model: &'m mut D,
        sequence: usize,
        tokens: &[u32],
    ) -> Result<&'m [f32], SearchError<D::Error>> {
        if self.fed.len() <= sequence {
            self.fed.resize_with(sequence + 1, Vec::new);
        }
        self.branch(model, sequence, tokens)?;
        let position = self
            .in_common(sequence, tokens)
            .min(tokens.len().saturating_sub(1));
        let fed = &mut self.fed[sequence];
        // If the model fails, it is not known what it did to the rest of the cache.
        fed.truncate(position);
        self.buffer.clear();
        self.buffer
            .extend(tokens[position..].iter().map(|&token| i64::from(token)));
        let scores = model
            .decode(sequence, &self.buffer, position)
            .map_err(|source| SearchError::Decoder { position, source })?;
        fed.extend(&tokens[position..]);
        Ok(scores)
    }

    /// Gives `take`, in order, the scores of the token after each of these texts. No text is empty,
    /// and each has a sequence of its own.
    ///
    /// # Errors
    /// [`SearchError::Decoder`].
    pub fn feed_all<D: Decoder>(
        &mut self,
        model: &mut D,
        texts: &[(usize, &[u32])],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), SearchError<D::Error>> {
        for &(sequence, tokens) in texts {
            if self.fed.len() <= sequence {
                self.fed.resize_with(sequence + 1, Vec::new);
            }
            self.branch(model, sequence, tokens)?;
        }
        let mut rests = Vec::with_capacity(texts.len());
        for &(sequence, tokens) in texts {
            let position = self.in_common(sequence, tokens).min(tokens.len() - 1);
            self.fed[sequence].truncate(position);
            let rest = tokens[position..].iter().map(|&token| i64::from(token));
            rests.push((position, rest.collect::<Vec<i64>>()));
        }
        let feeds = texts.iter().zip(&rests);
        let feeds: Vec<Feed<'_>> = feeds
            .map(|(&(sequence, _), (position, tokens))| Feed {
                sequence,
                tokens,
                position: *position,
            })
            .collect();
        let position = feeds.iter().map(|feed| feed.position).min().unwrap_or(0);
        model
            .decode_all(&feeds, take)
            .map_err(|source| SearchError::Decoder { position, source })?;
        for (&(sequence, tokens), (position, _)) in texts.iter().zip(&rests) {
            self.fed[sequence].extend(&tokens[*position..]);
        }
        Ok(())
    }

    /// Gives `take` how much each head looks at which part of the source when it is given each of
    /// `tokens` after a prompt. The prompt's own weights are left out, and it is not fed again if a
    /// sequence holds it.
    ///
    /// # Errors
    /// [`SearchError::Decoder`].
    pub fn align<D: Decoder>(
        &mut self,
        model: &mut D,
        prompt: &[u32],
        tokens: &[u32],
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), SearchError<D::Error>> {
        if self.fed.is_empty() {
            self.fed.push(Vec::new());
        }
        self.branch(model, 0, prompt)?;
        let position = self.in_common(0, prompt);
        let again = prompt.len() - position;
        self.fed[0].truncate(position);
        let all = prompt[position..].iter().chain(tokens);
        self.buffer.clear();
        self.buffer.extend(all.map(|&token| i64::from(token)));
        let feed = Feed {
            sequence: 0,
            tokens: &self.buffer,
            position,
        };
        let mut after_prompt = |weights: HeadWeights<'_>| {
            let skipped = again.saturating_sub(weights.first);
            let values = weights.values.get(skipped * weights.source..);
            take(HeadWeights {
                first: weights.first.saturating_sub(again),
                values: values.unwrap_or_default(),
                ..weights
            });
        };
        model
            .align(feed, &mut after_prompt)
            .map_err(|source| SearchError::Decoder { position, source })?;
        self.fed[0].extend(prompt[position..].iter().chain(tokens));
        Ok(())
    }

    /// If another sequence holds more of `tokens` than this one does, makes this one a branch of
    /// the one that holds most.
    fn branch<D: Decoder>(
        &mut self,
        model: &mut D,
        sequence: usize,
        tokens: &[u32],
    ) -> Result<(), SearchError<D::Error>> {
        let own = self.in_common(sequence, tokens);
        let sequences = (0..self.fed.len()).map(|other| (self.in_common(other, tokens), other));
        let Some((_, from)) = sequences.filter(|(held, _)| *held > own).max() else {
            return Ok(());
        };
        let branched = model.branch(from, sequence);
        let position = own;
        if branched.map_err(|source| SearchError::Decoder { position, source })? {
            self.fed[sequence] = self.fed[from].clone();
        }
        Ok(())
    }

    /// How many of the leading tokens a sequence holds already.
    pub(super) fn in_common(&self, sequence: usize, tokens: &[u32]) -> usize {
        let fed = self.fed.get(sequence).map_or(&[][..], Vec::as_slice);
        fed.iter().zip(tokens).take_while(|(a, b)| a == b).count()
    }
}
