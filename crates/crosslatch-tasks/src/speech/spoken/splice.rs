//! A sound made of parts of another, and the way back to the times of that one.
//!
//! What is not to be decoded is cut out, and the rest joined, so that windows are full of what counts.
//! A time in the joined sound then has to become one of the recording. At a joint that is two times:
//! what begins there begins after the cut, and what ends there ends before it.

use std::borrow::Cow;
use std::ops::Range;

use crate::transcript::Segment;

/// Parts of a sound, joined.
#[derive(Debug)]
pub(super) struct Splice<'a> {
    samples: Cow<'a, [f32]>,
    parts: Parts,
}

impl<'a> Splice<'a> {
    /// Joins these parts, which lie in the sound, in order and apart.
    pub fn new(recording: &'a [f32], parts: Vec<Range<usize>>, rate: u32) -> Self {
        let samples = match parts.as_slice() {
            [part] => Cow::Borrowed(&recording[part.clone()]),
            parts => {
                let parts = parts.iter().map(|part| &recording[part.clone()]);
                Cow::Owned(parts.collect::<Vec<_>>().concat())
            }
        };
        let mut joined = Parts::new(rate);
        parts.into_iter().for_each(|part| joined.push(part));
        Self {
            samples,
            parts: joined,
        }
    }

    /// The joined sound.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Where they lie in the recording.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }
}

/// Where the parts of a joined sound lie in the recording.
#[derive(Debug)]
pub(in crate::speech) struct Parts {
    /// In order and apart; none is empty.
    parts: Vec<Part>,
    rate: f64,
}

/// A part of the recording.
#[derive(Debug)]
struct Part {
    /// Its samples in the recording.
    own: Range<usize>,
    /// Where it begins in the joined sound.
    at: usize,
}

impl Part {
    /// Where it ends in the joined sound.
    fn end(&self) -> usize {
        self.at + self.own.len()
    }
}

impl Parts {
    /// No parts yet of a recording of so many samples per second.
    pub fn new(rate: u32) -> Self {
        Self {
            parts: Vec::new(),
            rate: f64::from(rate),
        }
    }

    /// Adds the next part, which lies behind those before it; where it begins at the end of the last,
    /// they are one.
    pub fn push(&mut self, own: Range<usize>) {
        let at = self.parts.last().map_or(0, Part::end);
        match self
            .parts
            .last_mut()
            .filter(|last| last.own.end == own.start)
        {
            Some(last) => last.own.end = own.end,
            None => self.parts.push(Part { own, at }),
        }
    }

    /// The sample of the recording behind the last part.
    pub fn end(&self) -> usize {
        self.parts.last().map_or(0, |part| part.own.end)
    }

    /// Where the parts meet in the joined sound, with the number of samples that were cut out there.
    pub fn joints(&self) -> impl Iterator<Item = (usize, usize)> {
        let pairs = self.parts.windows(2);
        pairs.map(|pair| (pair[1].at, pair[1].own.start - pair[0].own.end))
    }

    /// Where a stretch of the recording lies in the joined sound; `None` if it is not whole in it.
    pub fn place(&self, stretch: &Range<usize>) -> Option<Range<usize>> {
        let index = self
            .parts
            .partition_point(|part| part.own.end < stretch.end);
        let part = self.parts.get(index)?;
        let start = stretch.start.checked_sub(part.own.start)? + part.at;
        Some(start..start + stretch.len())
    }

    /// The time in the recording of what begins at this time of the joined sound, in seconds.
    pub fn begins(&self, seconds: f64) -> f64 {
        let part = self
            .parts
            .partition_point(|part| self.seconds(part.end()) <= seconds);
        self.restored(part, seconds)
    }

    /// The time in the recording of what ends at this time of the joined sound, in seconds.
    pub fn ends(&self, seconds: f64) -> f64 {
        let part = self
            .parts
            .partition_point(|part| self.seconds(part.end()) < seconds);
        self.restored(part, seconds)
    }

    fn seconds(&self, samples: usize) -> f64 {
        samples as f64 / self.rate
    }

    /// The time in the recording of a time in the part of this index, or in the last part.
    fn restored(&self, part: usize, seconds: f64) -> f64 {
        match self.parts.get(part).or(self.parts.last()) {
            Some(part) => seconds - self.seconds(part.at) + self.seconds(part.own.start),
            None => seconds,
        }
    }

    /// A segment of the joined sound with the times of the recording.
    pub fn restore(&self, segment: &mut Segment) {
        segment.retime(|t| self.begins(t), |t| self.ends(t));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_recording() {
        let recording: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let splice = Splice::new(&recording, vec![10..20, 50..70, 90..95], 10);
        assert_eq!(splice.samples().len(), 35);
        assert_eq!(splice.samples()[9..12], [19.0, 50.0, 51.0]);
        for (joined, begins, ends) in [
            (0.0, 1.0, 1.0),
            (0.5, 1.5, 1.5),
            (1.0, 5.0, 2.0),
            (2.9, 6.9, 6.9),
            (3.0, 9.0, 7.0),
            (3.5, 9.5, 9.5),
        ] {
            let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
            assert!(near(splice.parts().begins(joined), begins), "{joined}");
            assert!(near(splice.parts().ends(joined), ends), "{joined}");
        }
        assert_eq!(
            splice.parts().joints().collect::<Vec<_>>(),
            [(10, 30), (30, 20)]
        );
        assert_eq!(splice.parts().place(&(55..60)), Some(15..20));
        assert_eq!(splice.parts().place(&(15..55)), None);
    }

    #[test]
    fn one_part_is_not_copied_and_none_is_empty() {
        let recording = vec![0.5; 40];
        let splice = Splice::new(&recording, std::iter::once(10..30).collect(), 10);
        assert_eq!(splice.samples().as_ptr(), recording[10..].as_ptr());
        assert_eq!(splice.parts().begins(0.5), 1.5);
        let none = Splice::new(&recording, Vec::new(), 10);
        assert!(none.samples().is_empty());
        assert_eq!(none.parts().joints().count(), 0);
    }
}
