//! Transcripts as OpenAI's interface writes them: whole, or event by event.
//!
//! Text, SRT and VTT are what the command writes, byte for byte. A stream has a
//! `transcript.text.delta` for all text that will not change, token by token where nothing can refuse it
//! and else segment by segment, and `transcript.text.done` at the end; the deltas, joined, are the text.
//! A stream in `verbose_json`, which OpenAI's
//! interface does not have, says beside that when each segment is spoken
//! (`transcript.text.segment`, an event that OpenAI sends with speakers) and how much of the sound
//! is done (`transcript.progress`), and ends with all that a verbose answer has. An error that
//! occurs when the stream has begun is an event with the error's body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use crosslatch_tasks::{Segment, Task, Transcript};
use futures_core::Stream;
use serde::Serialize;
use serde_json::{Value, json};

use crate::form::{Form, ResponseFormat};
use crate::http::{ApiError, json_body};
use crate::work::{Replies, Reply};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A transcript in one piece.
pub fn whole(form: &Form, task: Task, transcript: &Transcript) -> Response {
    let format = form.format;
    let kind = match format {
        ResponseFormat::Json => return json_body(&brief(transcript)),
        ResponseFormat::VerboseJson => {
            return json_body(&verbose((task, form.wishes.has_words), transcript));
        }
        ResponseFormat::Text => "text/plain; charset=utf-8",
        ResponseFormat::Srt => "application/x-subrip; charset=utf-8",
        ResponseFormat::Vtt => "text/vtt; charset=utf-8",
    };
    let body = format.subtitles().unwrap_or_default().write(transcript);
    ([(CONTENT_TYPE, kind)], body).into_response()
}

fn brief(transcript: &Transcript) -> Value {
    json!({"text": transcript.text, "usage": usage(transcript)})
}

fn usage(transcript: &Transcript) -> Value {
    json!({"type": "duration", "seconds": transcript.duration})
}

/// `verbose_json`.
#[derive(Serialize)]
struct Verbose<'a> {
    task: &'a str,
    language: Option<&'a str>,
    duration: f64,
    text: &'a str,
    segments: Vec<Numbered<'a>>,
    /// If they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<Vec<Spoken<'a>>>,
    usage: Value,
}

/// A word of `verbose_json`.
#[derive(Serialize)]
struct Spoken<'a> {
    /// The word, without space around it.
    word: &'a str,
    start: f64,
    end: f64,
}

/// A segment of `verbose_json`.
#[derive(Serialize)]
struct Numbered<'a> {
    id: usize,
    /// Where it begins, in frames of a hundredth of a second, as Whisper counts them.
    seek: u64,
    start: f64,
    end: f64,
    text: &'a str,
    tokens: &'a [u32],
    temperature: f32,
    avg_logprob: f32,
    compression_ratio: f32,
    no_speech_prob: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}

fn verbose((task, has_words): (Task, bool), transcript: &Transcript) -> Verbose<'_> {
    let segments = transcript.segments.iter().enumerate();
    Verbose {
        task: task.name(),
        language: transcript.language.as_deref(),
        duration: transcript.duration,
        text: &transcript.text,
        segments: segments.map(numbered).collect(),
        words: has_words.then(|| spoken(transcript)),
        usage: usage(transcript),
    }
}

fn spoken(transcript: &Transcript) -> Vec<Spoken<'_>> {
    let words = transcript.segments.iter().flat_map(|s| &s.words).flatten();
    let words = words.map(|word| Spoken {
        word: word.word.trim(),
        start: word.start,
        end: word.end,
    });
    words.filter(|spoken| !spoken.word.is_empty()).collect()
}

fn numbered((id, segment): (usize, &Segment)) -> Numbered<'_> {
    Numbered {
        id,
        seek: (segment.start * 100.0) as u64,
        start: segment.start,
        end: segment.end,
        text: &segment.text,
        tokens: &segment.tokens,
        temperature: segment.temperature,
        avg_logprob: segment.avg_logprob,
        compression_ratio: segment.compression_ratio,
        no_speech_prob: segment.no_speech_prob,
        channel: segment.channel.as_deref(),
    }
}

/// A transcript as it is made.
pub fn stream(form: &Form, task: Task, replies: Replies) -> Response {
    let is_verbose = form.format == ResponseFormat::VerboseJson;
    let events = Events {
        replies,
        verbose: is_verbose.then_some((task, form.wishes.has_words)),
        segments: 0,
    };
    // The second header keeps nginx from collecting events before it sends them on.
    let headers = [(CACHE_CONTROL, "no-cache"), (ACCEL_BUFFERING, "no")];
    (headers, Sse::new(events).keep_alive(KeepAlive::default())).into_response()
}

/// The events of one transcript.
struct Events {
    replies: Replies,
    /// If times and progress are told as well: the task, and whether words have times.
    verbose: Option<(Task, bool)>,
    /// Number of segments so far.
    segments: usize,
}

/// The last event of a verbose stream.
#[derive(Serialize)]
struct Done<'a> {
    r#type: &'a str,
    #[serde(flatten)]
    answer: Verbose<'a>,
}

impl Events {
    /// The data of the event for a reply; `None` if there is nothing to tell.
    fn event(&mut self, reply: Reply) -> Option<String> {
        let value = match reply {
            Reply::Begun => return None,
            Reply::Progress { .. } if self.verbose.is_none() => return None,
            Reply::Progress { done, total } => {
                json!({"type": "transcript.progress", "seconds": done, "duration": total})
            }
            Reply::Segment(segment) => {
                let id = self.segments;
                self.segments += 1;
                if self.verbose.is_none() || segment.text.is_empty() {
                    return None;
                }
                timed(id, &segment)
            }
            Reply::Text(delta) => json!({"type": "transcript.text.delta", "delta": delta}),
            Reply::Done(transcript) => return Some(self.done(&transcript)),
            Reply::Failed(error) => failed(&error),
        };
        Some(value.to_string())
    }

    fn done(&self, transcript: &Transcript) -> String {
        let kind = "transcript.text.done";
        match self.verbose {
            // Written at once, so that its numbers are those of a verbose answer.
            Some(how) => {
                let done = Done {
                    r#type: kind,
                    answer: verbose(how, transcript),
                };
                serde_json::to_string(&done).unwrap_or_default()
            }
            None => {
                let mut done = brief(transcript);
                done["type"] = kind.into();
                done.to_string()
            }
        }
    }
}

/// The event that says when a segment is spoken.
fn timed(id: usize, segment: &Segment) -> Value {
    json!({
        "type": "transcript.text.segment",
        "id": id.to_string(),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
    })
}

fn failed(error: &ApiError) -> Value {
    let mut body = error.body();
    body["type"] = "error".into();
    body
}

impl Stream for Events {
    type Item = Result<Event, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(reply) = ready!(self.replies.poll(context)) else {
                return Poll::Ready(None);
            };
            if let Some(data) = self.event(reply) {
                // The JSON is one line, as an event's data has to be.
                return Poll::Ready(Some(Ok(Event::default().data(data))));
            }
        }
    }
}
