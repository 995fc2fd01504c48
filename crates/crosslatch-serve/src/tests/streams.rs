//! Sounds that are sent while they come, over WebSockets.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::{Error, http};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::scene::{LIGHT, Scene, sample};

const STREAMS: &str = "crosslatch_streams";
const RATE: usize = 16_000;

/// A client of a server.
struct Client {
    socket: WebSocketStream<TcpStream>,
}

/// What a client heard until the socket was closed, and the code with which it was.
struct Heard {
    messages: Vec<Value>,
    code: Option<u16>,
}

impl Heard {
    fn certain(&self) -> String {
        let texts = self.messages.iter().filter(|m| m["type"] == "text");
        texts.map(|m| m["certain"].as_str().unwrap()).collect()
    }

    fn last(&self) -> &Value {
        self.messages.last().unwrap()
    }

    /// The message of the error that it ended with.
    fn error(&self, code: u16) -> String {
        let last = self.last();
        assert_eq!(
            (last["type"].as_str(), self.code),
            (Some("error"), Some(code)),
            "{last}"
        );
        last["error"]["message"].as_str().unwrap().to_owned()
    }
}

impl Client {
    /// Opens a socket with these headers.
    async fn open(
        address: std::net::SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, (u16, Value)> {
        let mut request = format!("ws://{address}/v1/audio/stream")
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(Error::Http(answer)) => {
                let status: http::StatusCode = answer.status();
                let body = answer.body().as_deref().unwrap_or_default();
                Err((
                    status.as_u16(),
                    serde_json::from_slice(body).unwrap_or_default(),
                ))
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn started(address: std::net::SocketAddr, start: Value) -> Client {
        let mut client = Client::open(address, &[]).await.map_err(|e| e.1).unwrap();
        client.say(start).await;
        client
    }

    async fn say(&mut self, message: Value) {
        let message = Message::Text(message.to_string().into());
        self.socket.send(message).await.unwrap();
    }

    async fn send(&mut self, bytes: &[u8]) {
        let message = Message::Binary(bytes.to_vec().into());
        self.socket.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        let most = Duration::from_secs(30);
        loop {
            let message = tokio::time::timeout(most, self.socket.next()).await;
            match message.unwrap().unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// All that still comes.
    async fn rest(mut self) -> Heard {
        let (mut messages, mut code) = (Vec::new(), None);
        let most = Duration::from_secs(30);
        while let Some(Ok(message)) = tokio::time::timeout(most, self.socket.next())
            .await
            .unwrap()
        {
            match message {
                Message::Text(text) => messages.push(serde_json::from_str(&text).unwrap()),
                Message::Close(frame) => code = frame.map(|frame| u16::from(frame.code)),
                _ => {}
            }
        }
        Heard { messages, code }
    }
}

/// `light.wav` with silence behind it, as samples of 16 bits.
fn spoken(silence: usize) -> Vec<u8> {
    let mut samples = sample("light.wav")[44..].to_vec();
    samples.resize(samples.len() + 2 * RATE * silence, 0);
    samples
}

fn start() -> Value {
    json!({"type": "start"})
}

#[tokio::test]
async fn what_is_spoken_comes_back_while_it_is_sent_and_the_whole_at_the_end() {
    let scene = Scene::open();
    let (address, server) = scene.listen().await;
    let raw = spoken(3);
    let wide: Vec<u8> = raw
        .as_chunks::<2>()
        .0
        .iter()
        .flat_map(|&[a, b]| {
            let x = f32::from(i16::from_le_bytes([a, b])) / 32_768.0;
            [x, x].map(f32::to_le_bytes).concat()
        })
        .collect();
    let mut file = sample("light.wav")[..44].to_vec();
    file[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    file.extend(&raw);
    for (start, bytes, piece) in [
        (start(), &raw, 3_200),
        (
            json!({"type": "start", "encoding": "f32le", "channels": 2}),
            &wide,
            9_999,
        ),
        (
            json!({"type": "start", "rate": 8_000, "language": null}),
            &file,
            777,
        ),
        (
            json!({"type": "start", "vad_filter": false, "model": "whisper-1"}),
            &raw,
            32_000,
        ),
    ] {
        let mut client = Client::started(address, start).await;
        assert_eq!(
            client.next().await,
            json!({"type": "started", "model": "demo"})
        );
        for piece in bytes.chunks(piece) {
            client.send(piece).await;
        }
        // The pause behind it makes what was said certain before the sound has ended.
        let mut certain = String::new();
        while certain != LIGHT {
            let message = client.next().await;
            assert_eq!(message["type"], "text", "{message}");
            certain += message["certain"].as_str().unwrap();
            assert_eq!(message["open"], certain);
        }
        client.say(json!({"type": "end"})).await;
        let heard = client.rest().await;
        assert_eq!(heard.code, Some(1000));
        assert_eq!(heard.certain(), "");
        let document = scene.get("/openapi.json").await.json();
        let kinds = &document["components"]["schemas"]["StreamMessage"]["oneOf"];
        for message in &heard.messages {
            let is_it = |kind: &&Value| kind["properties"]["type"]["const"] == message["type"];
            let kind = kinds.as_array().unwrap().iter().find(is_it).unwrap();
            for required in kind["required"].as_array().unwrap() {
                assert!(
                    message.get(required.as_str().unwrap()).is_some(),
                    "{message}"
                );
            }
        }
        let last = heard.last();
        assert_eq!(
            (&last["type"], &last["text"]),
            (&json!("transcript"), &json!(LIGHT))
        );
        assert_eq!(last["ended_by"], "end");
        let seconds = raw.len() as f64 / 2.0 / RATE as f64;
        assert!((last["duration"].as_f64().unwrap() - seconds).abs() < 0.01);
        let kinds = heard.messages.iter().filter(|m| m["type"] == "segment");
        assert_eq!(kinds.count(), 1);
    }
    scene
        .until("all places are free", |s| s.count(STREAMS) == 0.0)
        .await;
    assert!(scene.count("crosslatch_audio_seconds_total") > 20.0);
    server.abort();
}

#[tokio::test]
async fn a_sound_that_waits_for_more_of_itself_has_no_worker() {
    let scene = Scene::open();
    let (address, server) = scene.listen().await;
    let mut client = Client::started(address, start()).await;
    client.next().await;
    client.send(&spoken(0)[..2 * RATE * 3 / 2]).await;
    let said = client.next().await;
    assert_ne!(said["tentative"], "", "{said}");
    // The only worker is free for others.
    let answer = scene.transcribe(&sample("light.wav"), &[]).await;
    assert_eq!(answer.json()["text"], LIGHT);
    client.send(&spoken(3)[2 * RATE * 3 / 2..]).await;
    client.say(json!({"type": "end"})).await;
    assert_eq!(client.rest().await.last()["text"], LIGHT);
    server.abort();
}

#[tokio::test]
async fn a_sound_has_its_turns_between_the_windows_of_a_long_file() {
    let scene = Arc::new(Scene::with(|_| {}));
    let (address, server) = scene.listen().await;
    let file = scene.begin(super::scene::long(6));
    scene
        .until("the file is begun", |s| s.gate.begun() == 1)
        .await;
    let mut client = Client::started(address, start()).await;
    client.next().await;
    client.send(&spoken(0)).await;
    let waits = |s: &Scene| s.service.shared.queue.has_turn();
    scene.until("a turn waits", waits).await;
    // One window of the file, and one look at what was spoken.
    scene.gate.allow(2);
    let said = client.next().await;
    assert_ne!(said["tentative"], "", "{said}");
    assert!(!file.is_finished());
    scene.gate.allow(usize::MAX);
    client.say(json!({"type": "end"})).await;
    assert_eq!(client.rest().await.last()["text"], LIGHT);
    let text = file.await.unwrap().json()["text"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(text.matches(LIGHT).count(), 6);
    server.abort();
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_a_message() {
    let scene = Scene::open();
    let (address, server) = scene.listen().await;
    for (start, message) in [
        (json!({"type": "end"}), "here it must be \"start\""),
        (json!({"kind": "start"}), "no type"),
        (json!({"type": "start", "rate": 10}), "10 samples a second"),
        (json!({"type": "start", "rate": "fast"}), "whole number"),
        (
            json!({"type": "start", "rate": 192_000, "channels": 64}),
            "a second of this sound",
        ),
        (json!({"type": "start", "channels": 0}), "0 channels"),
        (
            json!({"type": "start", "encoding": "mp3"}),
            "encoding is \"mp3\"",
        ),
        (
            json!({"type": "start", "model": "large"}),
            "this server has \"demo\"",
        ),
        (
            json!({"type": "start", "task": "sing"}),
            "transcribe or translate",
        ),
        (json!({"type": "start", "language": "fr"}), "fr"),
        (
            json!({"type": "start", "clip_timestamps": "1,2"}),
            "not supported",
        ),
        (json!({"type": "start", "prompt": {}}), "must be a text"),
        (
            json!({"type": "start", "prompt": "x".repeat(70_000)}),
            "longer than 65536",
        ),
        (
            json!({"type": "start", "timestamp_granularities": ["letter"]}),
            "word or segment",
        ),
        (json!([1]), "no JSON object"),
    ] {
        let client = Client::started(address, start.clone()).await;
        let said = client.rest().await.error(1008);
        assert!(said.contains(message), "{start}: {said}");
    }
    let mut client = Client::open(address, &[]).await.map_err(|e| e.1).unwrap();
    client.send(&[0; 10]).await;
    assert!(client.rest().await.error(1008).contains("first message"));
    for (bytes, message) in [
        (&b"RIFF0000AVI LIST"[..], "no WAV file"),
        (b"", "no sound has come"),
    ] {
        let mut client = Client::started(address, start()).await;
        client.send(bytes).await;
        client.say(json!({"type": "end"})).await;
        let said = client.rest().await.error(1008);
        assert!(said.contains(message), "{said}");
    }
    let mut client = Client::started(address, start()).await;
    client.send(&vec![0; 300 << 10]).await;
    assert!(client.rest().await.error(1009).contains("262144 bytes"));
    scene
        .until("all places are free", |s| s.count(STREAMS) == 0.0)
        .await;
    server.abort();
}

#[tokio::test]
async fn beyond_its_places_and_without_its_key_no_socket_opens() {
    let scene = Scene::with(|config| config.api_key = Some("sesame".to_owned()));
    scene.gate.allow(usize::MAX);
    let (address, server) = scene.listen().await;
    let protocols = |key: &str| {
        let digits: String = key.bytes().map(|b| format!("{b:02x}")).collect();
        format!("crosslatch, crosslatch-key-{digits}")
    };
    let named = "sec-websocket-protocol";
    for headers in [vec![], vec![(named, protocols("wrong"))]] {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let (status, body) = Client::open(address, &headers).await.err().unwrap();
        assert_eq!(
            (status, &body["error"]["code"]),
            (401, &json!("invalid_api_key"))
        );
    }
    let evil = [
        ("authorization", "Bearer sesame"),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(Client::open(address, &evil).await.err().unwrap().0, 403);
    let ours = protocols("sesame");
    let first = Client::open(address, &[(named, &ours)])
        .await
        .map_err(|e| e.1)
        .unwrap();
    let second = Client::open(address, &evil[..1])
        .await
        .map_err(|e| e.1)
        .unwrap();
    assert_eq!(scene.count(STREAMS), 2.0);
    let (status, body) = Client::open(address, &evil[..1]).await.err().unwrap();
    assert_eq!(
        (status, &body["error"]["code"]),
        (429, &json!("too_many_streams"))
    );
    drop((first, second));
    scene
        .until("both are missed", |s| s.count(STREAMS) == 0.0)
        .await;
    assert!(Client::open(address, &evil[..1]).await.is_ok());
    server.abort();
}

#[tokio::test]
async fn a_sound_ends_when_nothing_comes_nobody_speaks_or_it_is_too_long() {
    type Change = Box<dyn FnOnce(&mut crate::Config)>;
    let cases: [(Change, Vec<u8>, &str); 3] = [
        (
            Box::new(|c| c.patience.piece = Duration::from_millis(500)),
            spoken(0),
            "nothing_came",
        ),
        (
            Box::new(|c| c.patience.silence = Duration::from_secs(2)),
            spoken(6),
            "silence",
        ),
        (Box::new(|c| c.limits.seconds = 5.0), spoken(60), "too_long"),
    ];
    for (change, sent, reason) in cases {
        let scene = Scene::with(change);
        scene.gate.allow(usize::MAX);
        let (address, server) = scene.listen().await;
        let mut client = Client::started(address, start()).await;
        client.next().await;
        for piece in sent.chunks(2 * RATE / 5) {
            // The server may have ended it by now.
            let piece = Message::Binary(piece.to_vec().into());
            if client.socket.send(piece).await.is_err() {
                break;
            }
        }
        let heard = client.rest().await;
        let last = heard.last();
        assert_eq!(
            (&last["text"], &last["ended_by"]),
            (&json!(LIGHT), &json!(reason))
        );
        assert!(last["duration"].as_f64().unwrap() <= 60.0);
        if reason == "too_long" {
            assert_eq!(last["duration"], 5.0);
        }
        assert_eq!(heard.code, Some(1000));
        server.abort();
    }
}

#[tokio::test]
async fn a_client_that_starts_nothing_is_told_so_and_one_that_floods_waits() {
    let scene = Scene::with(|config| config.patience.head = Duration::from_millis(200));
    let (address, server) = scene.listen().await;
    let client = Client::open(address, &[]).await.map_err(|e| e.1).unwrap();
    assert!(
        client
            .rest()
            .await
            .error(1008)
            .contains("no message of the type start")
    );

    // The encoder does not run, so the sound is not taken any more.
    let mut client = Client::started(address, start()).await;
    client.next().await;
    let sound = spoken(0).repeat(20);
    let mut sent = 0;
    for piece in sound.chunks(200 << 10).cycle() {
        let piece = Message::Binary(piece.to_vec().into());
        let most = Duration::from_secs(1);
        match tokio::time::timeout(most, client.socket.send(piece)).await {
            Ok(done) => done.unwrap(),
            Err(_) => break,
        }
        sent += 1;
        assert!(sent < 500, "the server takes all of it");
    }
    drop(client);
    scene.gate.allow(usize::MAX);
    scene
        .until("it is missed", |s| s.count(STREAMS) == 0.0)
        .await;
    server.abort();
}

#[tokio::test]
async fn an_ending_server_gives_each_sound_its_text_and_a_defect_costs_one() {
    let scene = Scene::open();
    let (address, server) = scene.listen().await;
    let mut broken = Client::started(address, start()).await;
    broken.next().await;
    scene.gate.panic_once();
    broken.send(&spoken(0)).await;
    assert!(broken.rest().await.error(1011).contains("defect"));

    let mut client = Client::started(address, start()).await;
    client.next().await;
    client.send(&spoken(1)).await;
    client.next().await;
    scene.service.end();
    let heard = client.rest().await;
    let last = heard.last();
    assert_eq!(
        (&last["text"], &last["ended_by"]),
        (&json!(LIGHT), &json!("server_ends"))
    );
    assert_eq!(heard.code, Some(1001));
    scene.service.shared.streams.all_free().await;
    assert_eq!(Client::open(address, &[]).await.err().unwrap().0, 503);
    server.abort();
}
