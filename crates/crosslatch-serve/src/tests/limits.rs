//! Too much, too many, gone away, ending.

use std::io::{Read, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;

use super::scene::{LIGHT, Scene, long, sample};

const CANCELLED: &str = "crosslatch_requests_cancelled_total";
const WAITING: &str = "crosslatch_queue_length";
const DECODING: &str = "crosslatch_requests_in_flight";

#[tokio::test]
async fn a_body_or_a_sound_over_the_limit_is_refused() {
    let scene = Scene::with(|config| {
        config.limits.body = 1 << 20;
        config.limits.seconds = 13.0;
    });
    scene.gate.allow(usize::MAX);
    let (_, message) = scene.transcribe(&vec![0; 1 << 20], &[]).await.error(413);
    assert!(message.contains("1048576 bytes"), "{message}");
    let (param, message) = scene.transcribe(&long(3), &[]).await.error(400);
    assert_eq!(param.as_deref(), Some("file"));
    assert!(message.contains("longer than 13 s"), "{message}");
    assert_eq!(scene.transcribe(&long(2), &[]).await.status, 200);
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back_and_a_client_that_leaves_makes_room() {
    let scene = Arc::new(Scene::with(|_| {}));
    let sound = sample("light.wav");
    let first = scene.begin(sound.clone());
    scene
        .until("the first is decoded", |s| s.gate.begun() == 1)
        .await;
    let second = scene.begin(sound.clone());
    scene
        .until("the second waits", |s| s.count(WAITING) == 1.0)
        .await;
    let refused = scene.transcribe(&sound, &[]).await;
    refused.error(429);
    let seconds: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds));

    second.abort();
    scene
        .until("its place is free", |s| s.count(WAITING) == 0.0)
        .await;
    let third = scene.begin(sound.clone());
    scene
        .until("the third waits", |s| s.count(WAITING) == 1.0)
        .await;
    scene.gate.allow(usize::MAX);
    for answer in [first, third] {
        assert_eq!(answer.await.unwrap().json()["text"], LIGHT);
    }
    // The second was never decoded.
    assert_eq!(scene.gate.begun(), 2);
    assert_eq!(scene.count(CANCELLED), 1.0);
}

#[tokio::test]
async fn a_transcript_that_nobody_waits_for_ends_at_the_next_segment() {
    let scene = Arc::new(Scene::with(|_| {}));
    let request = scene.begin(long(8));
    scene.gate.allow(2);
    scene
        .until("the third window", |s| s.gate.begun() == 3)
        .await;
    request.abort();
    scene
        .until("the client is missed", |s| s.count(CANCELLED) == 1.0)
        .await;
    scene.gate.allow(usize::MAX);
    scene
        .until("the worker is free", |s| s.count(DECODING) == 0.0)
        .await;
    assert_eq!(scene.gate.begun(), 3);
    let answer = scene.transcribe(&sample("light.wav"), &[]).await;
    assert_eq!(answer.json()["text"], LIGHT);
}

#[tokio::test]
async fn an_ending_service_finishes_what_it_has_and_refuses_what_comes() {
    let mut scene = Scene::with(|config| config.queue = 2);
    let workers = scene.workers.take().unwrap();
    let scene = Arc::new(scene);
    let sound = sample("light.wav");
    let accepted = [0, 1, 2].map(|_| scene.begin(sound.clone()));
    scene
        .until("one is decoded, two wait", |s| {
            s.count(WAITING) == 2.0 && s.gate.begun() == 1
        })
        .await;
    scene.service.end();
    let refused = scene.transcribe(&sound, &[]).await;
    refused.error(503);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(scene.get("/health").await.status, 503);
    let service = Arc::clone(&scene.service);
    let ended = tokio::task::spawn_blocking(move || service.join(workers));
    scene.gate.allow(3);
    for answer in accepted {
        assert_eq!(answer.await.unwrap().json()["text"], LIGHT);
    }
    ended.await.unwrap();
}

#[tokio::test]
async fn a_panic_costs_the_request_that_met_it_and_no_other() {
    let scene = Scene::open();
    let sound = sample("light.wav");
    scene.gate.panic_once();
    let (_, message) = scene.transcribe(&sound, &[]).await.error(500);
    assert!(message.contains("defect"), "{message}");
    scene.gate.panic_once();
    let streamed = scene.transcribe(&sound, &[("stream", "true")]).await;
    assert_eq!(streamed.status, 200);
    assert!(streamed.body.contains("\"error\":{") && !streamed.body.contains("text.done"));
    assert_eq!(scene.transcribe(&sound, &[]).await.json()["text"], LIGHT);
}

#[tokio::test]
async fn a_client_with_much_to_send_reads_its_refusal_and_not_a_reset() {
    let scene = Arc::new(Scene::with(|config| {
        config.api_key = Some("sesame".to_owned())
    }));
    let (address, server) = scene.listen().await;
    let client = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let length = 16 << 20;
        let head = format!(
            "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; length]).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    });
    assert_eq!(client.await.unwrap(), "HTTP/1.1 401");
    server.abort();
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_refused_without_its_body() {
    let scene = Scene::with(|config| config.api_key = Some("sesame".to_owned()));
    // A body that would be an error to read.
    let body = Body::from_stream(Unreadable);
    let request = Request::post("/v1/audio/transcriptions").header("expect", "100-continue");
    scene.send(request.body(body).unwrap()).await.error(401);
}

pub struct Unreadable;

impl futures_core::Stream for Unreadable {
    type Item = Result<axum::body::Bytes, std::io::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        panic!("somebody reads it")
    }
}
