//! Transcripts as OpenAI's interface writes them: whole, or event by event.
//!
//! Text, SRT and VTT are what the command writes, byte for byte. A stream has one
//! `transcript.text.delta` for each segment, as soon as it is decoded, and `transcript.text.done` at
//! the end; the deltas, joined, are the text. An error that occurs when the stream has begun is an
//! event with the error's body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use crosslatch_tasks::speech::append_text;
use crosslatch_tasks::{Segment, Task, Transcript};
use futures_core::Stream;
use serde::Serialize;
use serde_json::{Value, json};

use crate::form::ResponseFormat;
use crate::http::{ApiError, json_body};
use crate::work::{Replies, Reply};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A transcript in one piece.
pub fn whole(format: ResponseFormat, task: Task, transcript: &Transcript) -> Response {
    let kind = match format {
        ResponseFormat::Json => return json_body(&brief(transcript)),
        ResponseFormat::VerboseJson => return json_body(&verbose(task, transcript)),
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
    usage: Value,
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
}

fn verbose(task: Task, transcript: &Transcript) -> Verbose<'_> {
    let segments = transcript.segments.iter().enumerate();
    Verbose {
        task: task.name(),
        language: transcript.language.as_deref(),
        duration: transcript.duration,
        text: &transcript.text,
        segments: segments.map(numbered).collect(),
        usage: usage(transcript),
    }
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
    }
}

/// A transcript as it is made.
pub fn stream(replies: Replies) -> Response {
    let events = Events {
        replies,
        text: String::new(),
    };
    // The second header keeps nginx from collecting events before it sends them on.
    let headers = [(CACHE_CONTROL, "no-cache"), (ACCEL_BUFFERING, "no")];
    (headers, Sse::new(events).keep_alive(KeepAlive::default())).into_response()
}

/// The events of one transcript.
struct Events {
    replies: Replies,
    /// The text so far.
    text: String,
}

impl Events {
    /// The event for a reply; `None` if there is nothing to tell.
    fn event(&mut self, reply: Reply) -> Option<Value> {
        match reply {
            Reply::Begun => None,
            Reply::Segment(segment) if segment.text.is_empty() => None,
            Reply::Segment(segment) => {
                let before = self.text.len();
                append_text(&mut self.text, &segment.text);
                let delta = &self.text[before..];
                Some(json!({"type": "transcript.text.delta", "delta": delta}))
            }
            Reply::Done(transcript) => Some(json!({
                "type": "transcript.text.done",
                "text": transcript.text,
                "usage": usage(&transcript),
            })),
            Reply::Failed(error) => Some(failed(&error)),
        }
    }
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
            if let Some(value) = self.event(reply) {
                // The JSON is one line, as an event's data has to be.
                let event = Event::default().data(value.to_string());
                return Poll::Ready(Some(Ok(event)));
            }
        }
    }
}
