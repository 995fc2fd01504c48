//! Pages of other hosts that may use the server (CORS).
//!
//! A browser lets a page read only answers of the page's own origin, unless the answer names that
//! origin, and asks beforehand (a request with the method `OPTIONS`) whether a request with a key
//! may be sent at all. Without any origin named, nothing is answered to such questions, so no other
//! page can use the server.

use std::str::FromStr;
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Method, Uri};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::error::shown;

/// How long a browser may remember what a page may send.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The origin of pages that may use the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Pages of any origin.
    Any,
    /// Pages of this one, such as `https://voice.example`.
    Of(HeaderValue),
}

/// What is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is no origin; give scheme, host and port as a browser shows them, such as \
     https://voice.example or http://10.0.0.7:3000, or * for any",
    shown(.0)
)]
pub struct NoOrigin(String);

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Origin, NoOrigin> {
        if text == "*" {
            return Ok(Origin::Any);
        }
        let no_origin = || NoOrigin(text.to_owned());
        // Browsers write origins in lower case and without a slash behind them.
        let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
        let uri: Uri = text.parse().map_err(|_| no_origin())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(no_origin());
        };
        if authority.as_str().contains(['@', '*']) || text != format!("{scheme}://{authority}") {
            return Err(no_origin());
        }
        let value = text.parse().map_err(|_| no_origin())?;
        Ok(Origin::Of(value))
    }
}

/// Whether a page of this origin may use the server.
pub(super) fn have(origins: &[Origin], origin: &HeaderValue) -> bool {
    origins.iter().any(|allowed| match allowed {
        Origin::Any => true,
        Origin::Of(value) => value == origin,
    })
}

/// What answers browsers that ask on behalf of pages; `None` if no page of another host may use the
/// server.
pub fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let named = origins.to_vec();
    let allowed = match origins.contains(&Origin::Any) {
        true => AllowOrigin::any(),
        false => AllowOrigin::predicate(move |origin, _| have(&named, origin)),
    };
    let cors = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        // Clients send headers of their own about themselves; none means anything here but the key
        // and the type of the body.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([RETRY_AFTER])
        .max_age(REMEMBERED);
    Some(cors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for (given, sent) in [
            ("https://voice.example", "https://voice.example"),
            ("https://Voice.Example/", "https://voice.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            let origin: Origin = given.parse().unwrap();
            assert_eq!(origin, Origin::Of(HeaderValue::from_static(sent)));
            assert!(have(&[origin], &HeaderValue::from_static(sent)));
        }
        assert_eq!("*".parse(), Ok(Origin::Any));
        for given in [
            "",
            "voice.example",
            "https://",
            "https://voice.example/page",
            "https://voice.example?x",
            "https://me@voice.example",
            "https://*.voice.example",
            "null",
        ] {
            let error = given.parse::<Origin>().unwrap_err();
            assert!(error.to_string().contains("is no origin"), "{given}");
        }
    }
}
