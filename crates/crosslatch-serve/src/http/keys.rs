//! The key of a request.
//!
//! Programs send it in a header. A page that opens a socket cannot set headers, but may name protocols
//! that it speaks, so there the key may stand in the name of one, in hexadecimal digits.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

/// The protocol of sockets.
pub const PROTOCOL: &str = "crosslatch";
/// What the name of a protocol begins with that is a key.
const KEY: &[u8] = b"crosslatch-key-";

/// The key that a request brings, if any.
pub fn given_key(headers: &HeaderMap) -> Option<Vec<u8>> {
    let header = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    if let Some(key) = header.and_then(|value| value.strip_prefix(b"Bearer ")) {
        return Some(key.to_vec());
    }
    let protocols = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut names = protocols.flat_map(|value| value.as_bytes().split(|&b| b == b','));
    names.find_map(|name| bytes(name.trim_ascii().strip_prefix(KEY)?))
}

/// The bytes that hexadecimal digits stand for.
fn bytes(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let digit = |d: u8| char::from(d).to_digit(16);
    let pairs = pairs
        .iter()
        .map(|&[a, b]| Some((digit(a)? << 4 | digit(b)?) as u8));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(headers: &[(&'static str, &str)]) -> Option<String> {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(*name, value.parse().unwrap());
        }
        given_key(&all).map(|key| String::from_utf8(key).unwrap())
    }

    #[test]
    fn a_key_stands_in_the_header_or_in_the_name_of_a_protocol() {
        let protocols = "sec-websocket-protocol";
        for (headers, key) in [
            (&[("authorization", "Bearer sesame")][..], Some("sesame")),
            (&[("authorization", "Basic sesame")], None),
            (
                &[(protocols, "crosslatch, crosslatch-key-c3a97A")],
                Some("éz"),
            ),
            (&[(protocols, "crosslatch-key-")], Some("")),
            (
                &[(protocols, "a"), (protocols, "crosslatch-key-7a")],
                Some("z"),
            ),
            (&[(protocols, "crosslatch-key-7")], None),
            (&[(protocols, "crosslatch-key-+a")], None),
            (&[(protocols, "crosslatch")], None),
            (&[], None),
        ] {
            assert_eq!(given(headers).as_deref(), key, "{headers:?}");
        }
    }
}
