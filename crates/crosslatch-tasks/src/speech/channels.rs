//! Each channel of a recording by itself.
//!
//! A recording of a call or an interview often has a channel for each speaker. Mixed, they talk at the
//! same time; apart, each is easy to understand, and who said what is known. So each channel is
//! transcribed as if it were a recording of its own, and the segments of all are put in order of time.
//! Since a later channel may have something earlier to say, segments are told when all are done.

use std::ops::ControlFlow;

use super::{Event, join};
use crate::transcript::Transcript;

/// The names of so many channels.
fn names(count: usize) -> Vec<String> {
    match count {
        1 => vec!["mono".to_owned()],
        2 => vec!["left".to_owned(), "right".to_owned()],
        _ => (1..=count)
            .map(|number| format!("channel {number}"))
            .collect(),
    }
}

/// Transcribes each channel with `transcribe`, and puts what is spoken in order of time. `observer` is
/// told of the progress of all together, of the language of the first, and at the end of the segments.
/// If it breaks, the transcript ends with what has been decoded until then.
///
/// # Errors
/// What `transcribe` reports.
pub fn transcribe_channels<E>(
    channels: &[Vec<f32>],
    mut observer: impl FnMut(Event<'_>) -> ControlFlow<()>,
    mut transcribe: impl FnMut(
        &[f32],
        &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Transcript, E>,
) -> Result<Transcript, E> {
    let mut whole = Transcript {
        text: String::new(),
        language: None,
        duration: 0.0,
        segments: Vec::new(),
    };
    let count = channels.len() as f64;
    let mut flow = ControlFlow::Continue(());
    for (index, (samples, name)) in channels.iter().zip(names(channels.len())).enumerate() {
        let mut tell = |event: Event<'_>| {
            flow = match event {
                Event::Progress { done, total } => observer(Event::Progress {
                    done: (index as f64 * total + done) / count,
                    total,
                }),
                Event::Languages(_) if index == 0 => observer(event),
                Event::Languages(_) | Event::Text(_) | Event::Segment(_) => {
                    ControlFlow::Continue(())
                }
            };
            flow
        };
        let transcript = transcribe(samples, &mut tell)?;
        whole.language = whole.language.or(transcript.language);
        whole.duration = whole.duration.max(transcript.duration);
        for mut segment in transcript.segments {
            segment.channel = Some(name.clone());
            whole.segments.push(segment);
        }
        if flow.is_break() {
            break;
        }
    }
    // Of those that begin at once, that of the earlier channel comes first.
    whole.segments.sort_by(|a, b| a.start.total_cmp(&b.start));
    for segment in &whole.segments {
        if !segment.text.is_empty() {
            let before = whole.text.len();
            join::append(&mut whole.text, &segment.text);
            if flow.is_continue() {
                flow = observer(Event::Text(&whole.text[before..]));
            }
        }
        if flow.is_continue() {
            flow = observer(Event::Segment(segment));
        }
    }
    Ok(whole)
}
