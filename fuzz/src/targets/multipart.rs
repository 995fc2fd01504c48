//! The form of a request to the server. The first line is the `content-type`, the rest is the body,
//! which arrives in small pieces.

use std::cell::OnceCell;
use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use crosslatch_serve::{Form, Limits, Patience};
use tokio::runtime::{Builder, Runtime};

use super::{Target, kind_of};
use crate::mutation::bytes;

pub const TARGET: Target = Target {
    name: "multipart",
    run,
    seeds,
    mutate: |chance, input, other| match chance.u8(0..3) {
        0 => bytes::mutate(chance, input, PIECES.as_bytes()),
        1 => bytes::mutate(chance, input, other),
        _ => with_line(chance, input, other),
    },
    longest: 1 << 13,
};

/// Strings with a meaning in a form.
const PIECES: &str = "\r\n--b\r\n--b--\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\n\
                      name=\"file\"; filename=\"a\"; filename*=UTF-8''%41; boundary=\"b\" \
                      temperature\r\n\r\n0.5 language\r\n\r\nde";

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

fn run(bytes: &[u8]) -> String {
    match read(bytes) {
        Ok(form) => format!(
            "good: {} {} {:?} {}",
            form.file.is_some(),
            form.wishes.model.is_some(),
            form.format,
            form.stream
        ),
        Err(error) => kind_of(&error),
    }
}

/// Reads a form; returns its error, if any.
pub fn read_form(bytes: &[u8]) -> Result<(), String> {
    read(bytes).map(drop)
}

fn read(bytes: &[u8]) -> Result<Form, String> {
    let mut lines = bytes.splitn(2, |b| *b == b'\n');
    let (kind, body) = (lines.next(), lines.next().unwrap_or_default());
    let mut request = Request::new(Body::empty());
    if let Ok(value) = HeaderValue::from_bytes(kind.unwrap_or_default()) {
        request.headers_mut().insert("content-type", value);
    }
    let size = 1 + bytes.len() % 97;
    let pieces = body
        .chunks(size)
        .map(|piece| Ok::<_, Infallible>(piece.to_vec()));
    let pieces: Vec<_> = pieces.collect();
    *request.body_mut() = Body::from_stream(futures_util::stream::iter(pieces));
    let limits = Limits {
        body: 1 << 20,
        seconds: 60.0,
    };
    RUNTIME.with(|cell| {
        let runtime = cell.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_time().build();
            runtime.unwrap_or_else(|e| panic!("no runtime: {e}"))
        });
        let read = runtime.block_on(Form::read(request, limits, Patience::default()));
        read.map_err(|error| match error.body().pointer("/error/message") {
            Some(serde_json::Value::String(message)) => message.clone(),
            _ => String::new(),
        })
    })
}

/// Adds a line of this input or of the other one.
fn with_line(chance: &mut fastrand::Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let lines = |of: &[u8]| -> Vec<Vec<u8>> {
        of.split_inclusive(|b| *b == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    };
    let mut own = lines(input);
    let from = if chance.bool() {
        lines(other)
    } else {
        own.clone()
    };
    let line = super::super::mutation::one_of(chance, &from)
        .cloned()
        .unwrap_or_default();
    let at = chance.usize(0..=own.len());
    match chance.bool() {
        true => own.insert(at, line),
        false if at < own.len() => own[at] = line,
        false => {}
    }
    own.concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let form = |fields: &[(&str, &str)]| {
        let mut text = "multipart/form-data; boundary=b\n".to_owned();
        for (name, value) in fields {
            let file = if *name == "file" {
                "; filename=\"s.wav\"\r\nContent-Type: audio/wav"
            } else {
                ""
            };
            text.push_str(&format!(
                "--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"
            ));
        }
        text.push_str("--b--\r\n");
        text.into_bytes()
    };
    vec![
        form(&[("file", "RIFF"), ("model", "whisper-1")]),
        form(&[
            ("file", "RIFF"),
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "segment"),
        ]),
        form(&[
            ("language", "de"),
            ("prompt", "Guten Tag"),
            ("temperature", "0.2"),
            ("stream", "true"),
        ]),
        form(&[
            ("response_format", "srt"),
            ("stream", "false"),
            ("skip_silence", "-40.5"),
            ("fallback", "true"),
            ("vad_filter", "true"),
            ("clip_timestamps", "0,1.5"),
            ("beam_size", "2"),
            ("file", ""),
        ]),
    ]
}
