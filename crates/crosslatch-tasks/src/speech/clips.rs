//! The parts of a sound that are decoded.
//!
//! A caller who knows where somebody speaks, or wants one minute of an hour, names clips: start and
//! end in seconds, one after the other, as openai-whisper's option `clip_timestamps` does. Times in
//! the transcript stay those of the whole sound. Clips come in order and do not overlap, so that
//! segments do not either.

use std::ops::Range;

use super::options::TranscribeOptions;
use crate::config::OptionsError;

/// The clips of a sound of so many samples, in samples; none is empty. Without an option, that is
/// the whole sound.
pub(super) fn clips(
    options: &TranscribeOptions,
    samples: usize,
    sample_rate: u32,
) -> Vec<Range<usize>> {
    // Times beyond the range of integers become its end.
    let sample = |seconds: f64| (seconds * f64::from(sample_rate)).round() as usize;
    let times = match options.clip_timestamps.as_slice() {
        [] => &[0.0],
        times => times,
    };
    let clips = times.chunks(2).map(|clip| {
        let end = clip.get(1).map_or(samples, |&end| sample(end));
        sample(clip[0])..end.min(samples)
    });
    clips.filter(|clip| !clip.is_empty()).collect()
}

/// Refuses what is no list of clips.
pub(super) fn check(options: &TranscribeOptions) -> Result<(), OptionsError> {
    let times = &options.clip_timestamps;
    let is_time = times.iter().all(|t| t.is_finite() && *t >= 0.0);
    match is_time && times.is_sorted() {
        true => Ok(()),
        false => Err(OptionsError::Option {
            name: "clip_timestamps",
            cause: "must be seconds in rising order: start, end, start, end, …",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(times: &[f64]) -> TranscribeOptions {
        TranscribeOptions {
            clip_timestamps: times.to_vec(),
            ..TranscribeOptions::default()
        }
    }

    #[test]
    fn clips_lie_in_the_sound_and_the_last_may_be_open() {
        let clips = |times: &[f64]| {
            let clips = clips(&options(times), 1_000, 100).into_iter();
            clips.map(|clip| (clip.start, clip.end)).collect::<Vec<_>>()
        };
        assert_eq!(clips(&[]), [(0, 1_000)]);
        assert_eq!(clips(&[2.0]), [(200, 1_000)]);
        assert_eq!(
            clips(&[0.0, 1.004, 2.5, 2.5, 9.0]),
            [(0, 100), (900, 1_000)]
        );
        assert_eq!(clips(&[9.5, 1e300, 1e300]), [(950, 1_000)]);
        assert_eq!(clips(&[10.0]), []);
    }

    #[test]
    fn times_that_run_backwards_are_refused() {
        for times in [&[1.0, 0.5][..], &[-1.0], &[f64::NAN], &[0.0, f64::INFINITY]] {
            assert!(check(&options(times)).is_err(), "{times:?}");
        }
        assert!(check(&options(&[0.0, 1.0, 1.0, 2.0])).is_ok());
    }
}
