//! Clients that are slow, that are pages of other hosts, or that send what nobody asked for.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scene::{LIGHT, Scene, post, sample};
use crate::Hosts;

/// How long these servers wait.
const PATIENCE: Duration = Duration::from_millis(300);

fn impatient() -> Scene {
    let scene = Scene::with(|config| {
        config.patience.head = PATIENCE;
        config.patience.piece = PATIENCE;
        config.hosts = Hosts::default().decided(true);
    });
    scene.gate.allow(usize::MAX);
    scene
}

/// All that the server says until it closes the connection, and how long that took.
async fn rest(stream: &mut TcpStream) -> (String, Duration) {
    let begun = Instant::now();
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    let most = Duration::from_secs(20);
    tokio::time::timeout(most, read).await.unwrap().unwrap();
    (String::from_utf8(text).unwrap(), begun.elapsed())
}

/// Status and error of an answer as it came over the wire.
fn error(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    check_shape(&body);
    (status, body["error"].clone())
}

fn check_shape(body: &Value) {
    let error = body["error"].as_object().unwrap();
    let names: Vec<&str> = error.keys().map(String::as_str).collect();
    assert_eq!(names, ["code", "message", "param", "type"], "{body}");
    assert!(!error["message"].as_str().unwrap().is_empty(), "{body}");
    assert!(error["type"].is_string(), "{body}");
}

#[tokio::test]
async fn a_connection_that_says_nothing_half_a_head_or_no_more_is_closed() {
    let scene = impatient();
    let (address, server) = scene.listen().await;
    for said in [
        "",
        "GET /health HTTP/1.1\r\nhost: localhost\r\nx-",
        "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let (answer, took) = rest(&mut stream).await;
        assert_eq!(answer.contains("200 OK"), said.ends_with("\r\n\r\n"));
        assert!(took >= PATIENCE / 2, "{took:?} for {said:?}");
    }
    server.abort();
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_not_waited_for_longer() {
    let scene = impatient();
    let (address, server) = scene.listen().await;
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let drip = tokio::spawn(async move {
        while write.write_all(b"G").await.is_ok() {
            tokio::time::sleep(PATIENCE / 10).await;
        }
    });
    let mut answer = Vec::new();
    let read = read.read_to_end(&mut answer);
    // Closed or reset, both are an end.
    let ended = tokio::time::timeout(PATIENCE * 20, read).await;
    assert!(ended.is_ok());
    drip.abort();
    server.abort();
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_left() {
    const COUNT: usize = 4_000;
    let scene = Scene::with(|config| config.patience.write = PATIENCE);
    let (address, server) = scene.listen().await;
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let asking = tokio::spawn(async move {
        for _ in 0..COUNT {
            let page = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
            if write.write_all(page).await.is_err() {
                return;
            }
        }
        // Kept open, as by a client that goes on.
        std::future::pending::<()>().await;
    });
    tokio::time::sleep(PATIENCE * 4).await;
    let mut answers = Vec::new();
    // A reset is an end as well.
    let ended = tokio::time::timeout(PATIENCE * 40, read.read_to_end(&mut answers)).await;
    assert!(ended.is_ok(), "still open after {} bytes", answers.len());
    let pages = answers.windows(12).filter(|w| w == b"HTTP/1.1 200");
    assert!(pages.count() < COUNT);
    asking.abort();
    server.abort();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408_and_its_place_is_free() {
    let scene = impatient();
    let (address, server) = scene.listen().await;
    let head = "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000\r\n\
                content-type: multipart/form-data; boundary=cut\r\n\r\n";
    let field = "--cut\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\nand so";
    for said in [head.to_owned(), format!("{head}{field}")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let (answer, took) = rest(&mut stream).await;
        let (status, error) = error(&answer);
        assert_eq!(status, 408, "{error}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    for _ in 0..2 {
        let answer = scene.send(local(post(&sample("light.wav"), &[]))).await;
        assert_eq!(answer.json()["text"], LIGHT);
    }
    server.abort();
}

fn local(mut request: Request<Body>) -> Request<Body> {
    let host = "localhost:8000".parse().unwrap();
    request.headers_mut().insert("host", host);
    request
}

#[tokio::test]
async fn a_page_of_another_host_is_refused_on_every_path_before_anything_is_read() {
    let scene = impatient();
    for (header, value, code) in [
        ("host", "rebound.example:8000", "host_not_allowed"),
        ("origin", "https://evil.example", "origin_not_allowed"),
        ("origin", "null", "origin_not_allowed"),
    ] {
        let unread = || Body::from_stream(super::limits::Unreadable);
        for request in [
            Request::post("/v1/audio/transcriptions").body(unread()),
            Request::get("/v1/models").body(Body::empty()),
            Request::get("/metrics").body(Body::empty()),
            Request::get("/health").body(Body::empty()),
            Request::get("/").body(Body::empty()),
            Request::get("/nothing").body(Body::empty()),
        ] {
            let mut request = local(request.unwrap());
            request.headers_mut().insert(header, value.parse().unwrap());
            let answer = scene.send(request).await;
            let (_, message) = answer.error(403);
            assert!(message.contains("--allow-host"), "{message}");
            assert_eq!(answer.json()["error"]["code"], code);
        }
    }
    let mut request = local(post(&sample("light.wav"), &[]));
    let origin = "http://127.0.0.1:8000".parse().unwrap();
    request.headers_mut().insert("origin", origin);
    assert_eq!(scene.send(request).await.json()["text"], LIGHT);
}

#[tokio::test]
async fn every_error_has_the_shape_that_clients_read() {
    let scene = impatient();
    let (address, server) = scene.listen().await;
    let many: String = (0..120).map(|i| format!("x-{i}: a\r\n")).collect();
    let long = "x".repeat(40_000);
    let form = "content-type: multipart/form-data; boundary=cut";
    let api = "/v1/audio/transcriptions";
    for (first, headers, expected) in [
        ("GET /nothing".to_owned(), String::new(), 404),
        ("GET /v1/models/large".to_owned(), String::new(), 404),
        ("DELETE /health".to_owned(), String::new(), 405),
        (format!("OPTIONS {api}"), String::new(), 405),
        // What axum itself says about a path that is no text.
        ("GET /v1/models/%ff".to_owned(), String::new(), 400),
        (
            format!("POST {api}"),
            "content-length: 0\r\n".to_owned(),
            415,
        ),
        (
            format!("POST {api}"),
            "content-length: 2\r\ncontent-type: application/json\r\n".to_owned(),
            415,
        ),
        (
            format!("POST {api}"),
            "content-length: 0\r\ncontent-type: multipart/form-data\r\n".to_owned(),
            415,
        ),
        (
            format!("POST {api}"),
            format!("content-length: 0\r\n{form}\r\n"),
            400,
        ),
        (
            format!("POST {api}"),
            format!("content-length: 99999999999\r\n{form}\r\nexpect: 100-continue\r\n"),
            413,
        ),
        ("GET /health".to_owned(), many, 431),
        ("GET /health".to_owned(), format!("x: {long}\r\n"), 431),
        (format!("GET /{}", &long[..5_000]), String::new(), 414),
        (
            "GET /health".to_owned(),
            "host: localhost\r\n".to_owned(),
            400,
        ),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "{first} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let (answer, _) = rest(&mut stream).await;
        let (status, error) = error(&answer);
        assert_eq!(status, expected, "{error}");
    }
    server.abort();
}

#[tokio::test]
async fn a_long_prompt_is_refused_unread_and_one_that_is_allowed_takes_no_time() {
    let scene = Scene::open();
    let sound = sample("light.wav");
    let begun = Instant::now();
    let huge = "word ".repeat(700_000);
    let answer = scene.transcribe(&sound, &[("prompt", &huge)]).await;
    let (param, message) = answer.error(400);
    assert_eq!(param.as_deref(), Some("prompt"));
    assert!(message.contains("65536 bytes"), "{message}");
    assert_eq!(answer.json()["error"]["code"], "string_above_max_length");
    // The demo model has no room for a prompt and says so, or it takes it; both at once.
    for prompt in ["light ".repeat(10_000), "x".repeat(65_536)] {
        let answer = scene.transcribe(&sound, &[("prompt", &prompt)]).await;
        assert!([200, 400].contains(&answer.status.as_u16()));
    }
    assert_eq!(
        scene
            .transcribe(&sound, &[("language", &huge)])
            .await
            .status,
        400
    );
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_message_repeats_little_of_what_a_client_sent() {
    let scene = Scene::open();
    let sound = sample("light.wav");
    let long = "x".repeat(1_000);
    for (field, value) in [
        ("model", long.as_str()),
        ("response_format", &long),
        ("temperature", &long),
        ("stream", &long),
        (&long, "1"),
    ] {
        let answer = scene.transcribe(&sound, &[(field, value)]).await;
        assert!(answer.status.is_client_error());
        assert!(answer.body.len() < 700, "{}", answer.body);
    }
}
