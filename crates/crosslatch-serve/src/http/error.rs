//! Refusals and failures, as clients of OpenAI's interface expect them.
//!
//! The body is `{"error": {"message", "type", "param", "code"}}`; official clients turn the status
//! into an exception and show the message. The statuses mean: 400 a parameter is wrong or asks for
//! too much, 401 the key is missing or wrong, 403 the request came from another host's page or was
//! meant for another host, 404 there is no such path or model, 405 the path takes another method,
//! 408 the upload took too long, 413 the body is too large, 414 the path is too long, 415 the body
//! is not a multipart form or the sound cannot be read, 422 the sound can be read and holds nothing
//! usable, 426 the path is for a socket, 429 the queue is full, 431 the headers are too large, 500 the model failed, 503 the
//! server is ending.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use crosslatch_tasks::{AudioError, OptionsError, TranscribeError};
use serde_json::json;

use super::json::json_body;

/// Number of characters of what a client sent that a message repeats.
const SHOWN: usize = 100;

/// What a client sent, as a message repeats it: shortened to fit a line.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?} …", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// What a client is told when its request fails.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    /// The field of the form that is wrong, if it is one.
    param: Option<String>,
    /// A name of the error that programs can compare.
    code: Option<&'static str>,
    /// After how many seconds to try again.
    retry_after: Option<u64>,
}

impl ApiError {
    /// An error with nothing but a status and a message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError {
            status,
            message: message.into(),
            param: None,
            code: None,
            retry_after: None,
        }
    }

    /// A parameter that is wrong.
    pub fn param(name: &str, message: impl Into<String>) -> ApiError {
        ApiError {
            param: Some(name.to_owned()),
            ..ApiError::new(StatusCode::BAD_REQUEST, message)
        }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The same error with another status.
    pub fn with_status(self, status: StatusCode) -> ApiError {
        ApiError { status, ..self }
    }

    /// The same error with a name that programs can compare.
    pub fn with_code(self, code: &'static str) -> ApiError {
        ApiError {
            code: Some(code),
            ..self
        }
    }

    /// The same error with the seconds after which to try again.
    pub fn with_retry_after(self, seconds: u64) -> ApiError {
        ApiError {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// A failure of the model or the server, not of the request.
    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The error for sound that cannot be used; `most` is the greatest length accepted, in seconds.
    pub fn audio(error: &AudioError, most: f64) -> ApiError {
        let status = match error {
            AudioError::TooLong { seconds, .. } if *seconds >= most => {
                let message = format!(
                    "the sound is longer than {most:.0} s, the most that this server takes at a \
                     time; split it"
                );
                return ApiError::param("file", message).with_code("audio_too_long");
            }
            AudioError::TooLong { .. } => StatusCode::BAD_REQUEST,
            AudioError::Format { .. } | AudioError::NotSound { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        ApiError::param("file", error.to_string()).with_status(status)
    }

    /// The body, which also stands in a stream that has begun.
    pub fn body(&self) -> serde_json::Value {
        let kind = match self.status.as_u16() {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl From<OptionsError> for ApiError {
    /// The error for options that the model cannot fulfil.
    fn from(error: OptionsError) -> ApiError {
        let message = error.to_string();
        match error {
            OptionsError::Language { .. } | OptionsError::EnglishOnly => {
                ApiError::param("language", message)
            }
            OptionsError::Prompt(_) | OptionsError::Length { .. } => {
                ApiError::param("prompt", message)
            }
            OptionsError::Grammar(_) => ApiError::param("grammar", message),
            OptionsError::NoTimestamps => ApiError::param("response_format", message),
            OptionsError::Option { name, .. } => ApiError::param(name, message),
            OptionsError::Task(_) => ApiError::new(StatusCode::BAD_REQUEST, message),
            // The fault lies in the model's own files.
            _ => ApiError::internal(message),
        }
    }
}

impl<E: std::error::Error> From<TranscribeError<E>> for ApiError {
    fn from(error: TranscribeError<E>) -> ApiError {
        match error {
            TranscribeError::Options(error) => error.into(),
            other => ApiError::internal(other.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, json_body(&self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // The rest of the request did not arrive, so no other request can follow on this
        // connection.
        if self.status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
