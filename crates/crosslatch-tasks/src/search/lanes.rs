//! What each lane of a decoder holds, so that nothing is fed twice.
//!
//! The same window of sound is decoded several times: to detect its language, to write it down, to
//! try again with another temperature, to follow several hypotheses. Each pass names the whole
//! sequence of tokens whose scores it wants; what the lane holds already is skipped, and only the
//! rest is fed. A pass that begins as the last one began thus costs one token, and keys and values
//! that belong to the encoder's output are not computed again. A lane that holds less of a sequence
//! than another one does is made a branch of that one first, if the decoder can do that.

use super::{Decoder, Feed, SearchError};

/// The tokens that each lane of a decoder has been fed. Belongs to one decoder and one encoder
/// output; [`Lanes::forget`] when either changes.
#[derive(Debug, Clone, Default)]
pub struct Lanes {
    fed: Vec<Vec<u32>>,
    buffer: Vec<i64>,
}

impl Lanes {
    /// A new input: no lane holds anything.
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
        lane: usize,
        tokens: &[u32],
    ) -> Result<&'m [f32], SearchError<D::Error>> {
        if self.fed.len() <= lane {
            self.fed.resize_with(lane + 1, Vec::new);
        }
        self.branch(model, lane, tokens)?;
        let position = self
            .in_common(lane, tokens)
            .min(tokens.len().saturating_sub(1));
        let fed = &mut self.fed[lane];
        // If the model fails, what it did to the rest of the cache is not known.
        fed.truncate(position);
        self.buffer.clear();
        self.buffer
            .extend(tokens[position..].iter().map(|&token| i64::from(token)));
        let scores = model
            .decode(lane, &self.buffer, position)
            .map_err(|source| SearchError::Decoder { position, source })?;
        fed.extend(&tokens[position..]);
        Ok(scores)
    }

    /// The scores of the token after each of these texts, none of which is empty, each in a lane of
    /// its own. `take` is given them in order.
    ///
    /// # Errors
    /// [`SearchError::Decoder`].
    pub fn feed_all<D: Decoder>(
        &mut self,
        model: &mut D,
        texts: &[(usize, &[u32])],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), SearchError<D::Error>> {
        for &(lane, tokens) in texts {
            if self.fed.len() <= lane {
                self.fed.resize_with(lane + 1, Vec::new);
            }
            self.branch(model, lane, tokens)?;
        }
        let mut rests = Vec::with_capacity(texts.len());
        for &(lane, tokens) in texts {
            let position = self.in_common(lane, tokens).min(tokens.len() - 1);
            self.fed[lane].truncate(position);
            let rest = tokens[position..].iter().map(|&token| i64::from(token));
            rests.push((position, rest.collect::<Vec<i64>>()));
        }
        let feeds = texts.iter().zip(&rests);
        let feeds: Vec<Feed<'_>> = feeds
            .map(|(&(lane, _), (position, tokens))| Feed {
                lane,
                tokens,
                position: *position,
            })
            .collect();
        let position = feeds.iter().map(|feed| feed.position).min().unwrap_or(0);
        model
            .decode_all(&feeds, take)
            .map_err(|source| SearchError::Decoder { position, source })?;
        for (&(lane, tokens), (position, _)) in texts.iter().zip(&rests) {
            self.fed[lane].extend(&tokens[*position..]);
        }
        Ok(())
    }

    /// Lets a lane begin where the lane is that holds most of a sequence, if that is more.
    fn branch<D: Decoder>(
        &mut self,
        model: &mut D,
        lane: usize,
        tokens: &[u32],
    ) -> Result<(), SearchError<D::Error>> {
        let own = self.in_common(lane, tokens);
        let lanes = (0..self.fed.len()).map(|other| (self.in_common(other, tokens), other));
        let Some((_, from)) = lanes.filter(|(held, _)| *held > own).max() else {
            return Ok(());
        };
        let branched = model.branch(from, lane);
        let position = own;
        if branched.map_err(|source| SearchError::Decoder { position, source })? {
            self.fed[lane] = self.fed[from].clone();
        }
        Ok(())
    }

    /// How many leading tokens a lane holds already.
    pub(super) fn in_common(&self, lane: usize, tokens: &[u32]) -> usize {
        let fed = self.fed.get(lane).map_or(&[][..], Vec::as_slice);
        fed.iter().zip(tokens).take_while(|(a, b)| a == b).count()
    }
}
