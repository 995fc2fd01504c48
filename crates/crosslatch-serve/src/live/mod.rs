//! Text of a sound while it comes, over a WebSocket.
//!
//! Somebody speaks into a microphone, and a page or a program sends what it hears. The first message
//! says what the bytes are and how to decode them ([`Start`]); then come bytes, in pieces of any size,
//! and at last a message that the sound has ended. What is certain, what may still change, and what is
//! final come back as JSON, the same objects that `crosslatch listen` writes.
//!
//! The connection only collects bytes. With enough of them the sound has a [turn](crate::work::Live)
//! with a worker, and nothing of it is with a worker otherwise. Meanwhile bytes are collected up to a
//! bound, and beyond that the socket is not read, so a client that sends faster than the server decodes
//! has to wait. A sound that is refused, broken or too long ends with a message that says why; one that
//! the server ends, because it is too long, nobody speaks or the server ends, with its text.

mod start;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::header::UPGRADE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use crosslatch_tasks::Transcript;
use crosslatch_tasks::speech::{stream_events, transcript_event};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use start::Start;
#[cfg(test)]
pub use start::members;

use crate::http::{ApiError, PROTOCOL, shown};
use crate::service::Service;
use crate::work::{Live, Place, Turned};

/// Greatest number of bytes of a message; those of sound are much shorter.
pub const MOST_MESSAGE: usize = 256 << 10;
/// Messages larger than this are not even taken to be refused.
const MOST_TAKEN: usize = 4 * MOST_MESSAGE;
/// Seconds of sound for which a turn is worth while.
const TURN: f64 = 0.1;
/// Seconds of sound that may wait for a turn.
const WAITING: f64 = 10.0;
/// How long the client may take to close a socket that the server closes.
const CLOSING: Duration = Duration::from_secs(5);

/// Codes of RFC 6455 for the end of a socket.
mod code {
    pub const NORMAL: u16 = 1000;
    pub const GOING_AWAY: u16 = 1001;
    pub const POLICY: u16 = 1008;
    pub const TOO_BIG: u16 = 1009;
    pub const DEFECT: u16 = 1011;
}

/// `GET /v1/audio/stream`: a socket for a sound that still comes. What is refused before it is open is
/// refused as any request, so that a page, which is not told why a socket does not open, can ask again
/// without one.
pub async fn stream(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let config = &service.config;
    config.hosts.check_socket(&config.origins, &headers)?;
    let full = || {
        let message = match config.streams {
            0 => "this server takes no sound that still comes".to_owned(),
            most => format!("this server listens to {most} sounds already; try again later"),
        };
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, message);
        error.with_code("too_many_streams").with_retry_after(10)
    };
    let place = service.shared.streams.take().ok_or_else(full)?;
    let Ok(upgrade) = upgrade else {
        let message = "here sound is sent while it comes, over a WebSocket: open one";
        let error = ApiError::new(StatusCode::UPGRADE_REQUIRED, message);
        let mut response = error.into_response();
        let kind = HeaderValue::from_static("websocket");
        response.headers_mut().insert(UPGRADE, kind);
        return Ok(response);
    };
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(MOST_TAKEN)
        .max_frame_size(MOST_TAKEN)
        .read_buffer_size(16 << 10)
        .write_buffer_size(0);
    let service = Arc::clone(&service);
    Ok(upgrade.on_upgrade(|socket| listen(socket, service, place)))
}

/// Why there is no text of a sound, or no more of it.
enum Stop {
    /// The client has gone, and nobody is to be told.
    Gone,
    /// What the client is told, and with which code the socket closes.
    Error(ApiError, u16),
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Stop {
        let code = match error.status().is_server_error() {
            true => code::DEFECT,
            false => code::POLICY,
        };
        Stop::Error(error, code)
    }
}

/// Why a sound ended, as clients are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client said so.
    Asked,
    /// It is as long as a sound may be.
    TooLong,
    /// Nothing has come for a while.
    NothingCame,
    /// Nobody has spoken for a while.
    Silence,
    /// The server ends.
    Ending,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Asked => "end",
            End::TooLong => "too_long",
            End::NothingCame => "nothing_came",
            End::Silence => "silence",
            End::Ending => "server_ends",
        }
    }
}

/// Listens to a socket until its sound ends. The place is held until then.
async fn listen(mut socket: WebSocket, service: Arc<Service>, place: Place) {
    let code = match follow(&mut socket, &service).await {
        Ok(End::Ending) => code::GOING_AWAY,
        Ok(_) => code::NORMAL,
        Err(Stop::Gone) => return,
        Err(Stop::Error(error, code)) => {
            let mut message = error.body();
            message["type"] = "error".into();
            if send(&mut socket, &message).await.is_err() {
                return;
            }
            code
        }
    };
    let close = CloseFrame {
        code,
        reason: Default::default(),
    };
    // What still comes is read, because the system would break the connection otherwise, before the
    // client has read the last message.
    let closing = async {
        if socket.send(Message::Close(Some(close))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = timeout(CLOSING, closing).await;
    drop(place);
}

/// The first message, the sound, and its text.
async fn follow(socket: &mut WebSocket, service: &Service) -> Result<End, Stop> {
    let patience = service.config.patience.head;
    let first = timeout(patience, next(socket)).await.map_err(|_| {
        let waited = patience.as_secs_f64();
        let message = format!("no message of the type start came within {waited:.0} s");
        ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
    })??;
    let Received::Said(message) = first else {
        let message = "the first message must be an object of the type start, as text";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message).into());
    };
    if kind(&message)? != "start" {
        return Err(unexpected(&message, "start").into());
    }
    let start = Start::read(&message, &service.model, &service.config.defaults)?;
    let pipeline = &service.shared.pipeline;
    pipeline.check(&start.options).map_err(ApiError::from)?;
    let live = Live::new(pipeline, start.format, &start.options)?;
    let format = start.format;
    let second = format.encoding.bytes() * format.channels * format.rate as usize;
    send(
        socket,
        &json!({"type": "started", "model": service.model.name()}),
    )
    .await?;
    let now = Instant::now();
    let session = Session {
        service,
        socket,
        live: Some(live),
        turn: None,
        bytes: Vec::new(),
        received: 0,
        heard: 0.0,
        second,
        end: None,
        idle_at: now + service.config.patience.piece,
        over_at: now + Duration::from_secs_f64(service.config.limits.seconds),
    };
    session.run().await
}

/// A sound that comes.
struct Session<'s> {
    service: &'s Service,
    socket: &'s mut WebSocket,
    /// The sound, unless a worker has it.
    live: Option<Live>,
    /// Where a worker's answer arrives.
    turn: Option<oneshot::Receiver<Result<Turned, ApiError>>>,
    /// What waits for the next turn.
    bytes: Vec<u8>,
    /// Bytes so far.
    received: usize,
    /// Seconds of sound that have been counted.
    heard: f64,
    /// Bytes of a second.
    second: usize,
    /// Why the sound has ended, if it has.
    end: Option<End>,
    /// When it has ended unless something comes before.
    idle_at: Instant,
    /// When it has ended in any case.
    over_at: Instant,
}

impl Session<'_> {
    async fn run(mut self) -> Result<End, Stop> {
        loop {
            self.take_turn();
            let has_ended = self.end.is_some();
            let has_room = has_ended || self.bytes.len() < self.bytes_of(WAITING);
            tokio::select! {
                outcome = answer(&mut self.turn) => {
                    self.turn = None;
                    match outcome? {
                        Turned::More(live, update) => {
                            self.count(live.heard());
                            if live.quiet() >= self.service.config.patience.silence.as_secs_f64() {
                                self.end.get_or_insert(End::Silence);
                            }
                            self.live = Some(*live);
                            for update in update.iter().flat_map(|u| stream_events(u, self.heard)) {
                                send(self.socket, &update).await?;
                            }
                        }
                        Turned::Done(update, transcript) => {
                            self.count(transcript.duration);
                            let end = self.end.unwrap_or(End::Asked);
                            for update in stream_events(&update, self.heard) {
                                send(self.socket, &update).await?;
                            }
                            send(self.socket, &last(&transcript, end)).await?;
                            return Ok(end);
                        }
                    }
                }
                received = next(self.socket), if has_room => self.take(received?)?,
                () = self.service.ending(), if !has_ended => self.end = Some(End::Ending),
                () = sleep_until(self.idle_at), if !has_ended && has_room => {
                    self.end = Some(End::NothingCame);
                }
                () = sleep_until(self.over_at), if !has_ended => self.end = Some(End::TooLong),
            }
        }
    }

    /// Gives the sound to a worker if enough of it has come, or its end.
    fn take_turn(&mut self) {
        let is_last = self.end.is_some();
        let is_enough = self.bytes.len() >= self.bytes_of(TURN);
        if (is_last || is_enough)
            && let Some(live) = self.live.take()
        {
            let (turn, outcome) = live.turn(std::mem::take(&mut self.bytes), is_last);
            self.service.shared.queue.push_turn(turn);
            self.turn = Some(outcome);
            // There is room again, for what could not be read before.
            self.idle_at = Instant::now() + self.service.config.patience.piece;
        }
    }

    /// Takes what the client sent.
    fn take(&mut self, received: Received) -> Result<(), Stop> {
        match received {
            // What comes behind the end is not listened to.
            _ if self.end.is_some() => {}
            Received::Sound(bytes) => {
                let most = self.bytes_of(self.service.config.limits.seconds);
                let taken = bytes.len().min(most - self.received.min(most));
                self.bytes.extend_from_slice(&bytes[..taken]);
                self.received += taken;
                if !bytes.is_empty() {
                    self.idle_at = Instant::now() + self.service.config.patience.piece;
                }
                if taken < bytes.len() {
                    self.end = Some(End::TooLong);
                }
            }
            Received::Said(message) => match kind(&message)? {
                "end" => self.end = Some(End::Asked),
                _ => return Err(unexpected(&message, "end").into()),
            },
        }
        Ok(())
    }

    /// Counts sound up to so many seconds.
    fn count(&mut self, heard: f64) {
        let new = heard - self.heard;
        self.service.shared.metrics.listened(new);
        self.heard = heard;
    }

    /// So many seconds of sound in bytes, whole frames.
    fn bytes_of(&self, seconds: f64) -> usize {
        (seconds * self.second as f64) as usize
    }
}

/// The answer of a worker; waits for ever if none is to come.
async fn answer(
    turn: &mut Option<oneshot::Receiver<Result<Turned, ApiError>>>,
) -> Result<Turned, ApiError> {
    match turn {
        Some(turn) => turn
            .await
            .unwrap_or_else(|_| Err(ApiError::internal("the sound was given up"))),
        None => std::future::pending().await,
    }
}

/// What a client sends.
enum Received {
    Sound(axum::body::Bytes),
    Said(Map<String, Value>),
}

/// What the client sends next.
async fn next(socket: &mut WebSocket) -> Result<Received, Stop> {
    loop {
        let message = match socket.recv().await {
            Some(Ok(message)) => message,
            // An error means that this is no WebSocket any more.
            Some(Err(_)) | None => return Err(Stop::Gone),
        };
        let size = match &message {
            Message::Binary(bytes) => bytes.len(),
            Message::Text(text) => text.len(),
            _ => 0,
        };
        if size > MOST_MESSAGE {
            let message =
                format!("a message has more than {MOST_MESSAGE} bytes; send smaller pieces");
            let error = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message);
            return Err(Stop::Error(
                error.with_code("message_too_large"),
                code::TOO_BIG,
            ));
        }
        match message {
            Message::Binary(bytes) => return Ok(Received::Sound(bytes)),
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(Value::Object(message)) => return Ok(Received::Said(message)),
                _ => {
                    let message = format!("{} is no JSON object", shown(&text));
                    return Err(ApiError::new(StatusCode::BAD_REQUEST, message).into());
                }
            },
            Message::Close(_) => return Err(Stop::Gone),
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}

/// The type of a message.
fn kind(message: &Map<String, Value>) -> Result<&str, ApiError> {
    let kind = message.get("type").and_then(Value::as_str);
    kind.ok_or_else(|| ApiError::param("type", "the message has no type"))
}

/// The error for a message of another type than this.
fn unexpected(message: &Map<String, Value>, expected: &str) -> ApiError {
    let kind = message.get("type").and_then(Value::as_str);
    let kind = shown(kind.unwrap_or_default());
    ApiError::param(
        "type",
        format!("type is {kind}; here it must be {expected:?}"),
    )
}

/// The last message of a sound.
fn last(transcript: &Transcript, end: End) -> Value {
    let mut message = transcript_event(transcript);
    message["ended_by"] = end.name().into();
    message
}

async fn send(socket: &mut WebSocket, message: &Value) -> Result<(), Stop> {
    let message = Message::Text(message.to_string().into());
    socket.send(message).await.map_err(|_| Stop::Gone)
}
