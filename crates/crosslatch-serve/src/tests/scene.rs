//! What the tests share: a service whose encoder runs when a test lets it, and requests to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use crosslatch::{Model, Options};
use crosslatch_tasks::{
    Decoder, ExportedError, ExportedSpeechModel, Feed, HeadWeights, SpeechModel, TranscribeOptions,
    speech_pipeline,
};
use serde_json::Value;
use tower::ServiceExt;

use crate::router::router;
use crate::service::{Service, Workers};
use crate::{Config, Hosts, Limits, Patience, http};

/// How often the encoder may still run, and how often it did.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    allowed: usize,
    begun: usize,
    panics: bool,
}

impl Gate {
    /// Lets the encoder run so many times more.
    pub fn allow(&self, times: usize) {
        let mut state = self.state.lock().unwrap();
        state.allowed = state.allowed.saturating_add(times);
        self.changed.notify_all();
    }

    /// Makes the next encoder run panic.
    pub fn panic_once(&self) {
        self.state.lock().unwrap().panics = true;
    }

    /// How often the encoder was asked to run.
    pub fn begun(&self) -> usize {
        self.state.lock().unwrap().begun
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.begun += 1;
        while state.allowed == 0 {
            state = self.changed.wait(state).unwrap();
        }
        state.allowed -= 1;
        let panics = std::mem::take(&mut state.panics);
        drop(state);
        assert!(!panics, "as the test wants it");
    }
}

/// The demo model behind a gate.
pub struct Gated {
    inner: ExportedSpeechModel,
    gate: Arc<Gate>,
}

impl Decoder for Gated {
    type Error = ExportedError;

    fn sequences(&mut self, wanted: usize) -> Result<usize, ExportedError> {
        self.inner.sequences(wanted)
    }

    fn branch(&mut self, from: usize, to: usize) -> Result<bool, ExportedError> {
        self.inner.branch(from, to)
    }

    fn decode(
        &mut self,
        sequence: usize,
        tokens: &[i64],
        position: usize,
    ) -> Result<&[f32], ExportedError> {
        self.inner.decode(sequence, tokens, position)
    }

    fn unaligned(&self) -> Option<&str> {
        self.inner.unaligned()
    }

    fn align(
        &mut self,
        feed: Feed<'_>,
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), ExportedError> {
        self.inner.align(feed, take)
    }
}

impl SpeechModel for Gated {
    fn encode(
        &mut self,
        features: &[f32],
        mels: usize,
        frames: usize,
    ) -> Result<(), ExportedError> {
        self.gate.pass();
        self.inner.encode(features, mels, frames)
    }
}

/// A service with one worker, and its gate.
pub struct Scene {
    pub service: Arc<Service>,
    pub gate: Arc<Gate>,
    pub workers: Option<Workers>,
}

impl Scene {
    /// One worker and one place to wait; the encoder may run.
    pub fn open() -> Scene {
        let scene = Scene::with(|_| {});
        scene.gate.allow(usize::MAX);
        scene
    }

    /// One worker and one place to wait, changed by `change`; the encoder may not run yet.
    pub fn with(change: impl FnOnce(&mut Config)) -> Scene {
        let model = Model::open(demo().join("model.pt2")).unwrap();
        let gate = Arc::<Gate>::default();
        let mut config = Config {
            name: "demo".to_owned(),
            aliases: vec!["whisper-1".to_owned(), "demo".to_owned()],
            defaults: TranscribeOptions::default(),
            workers: 1,
            queue: 1,
            streams: 2,
            limits: Limits {
                body: 4 << 20,
                seconds: 60.0,
            },
            api_key: None,
            hosts: Hosts::Any,
            origins: Vec::new(),
            patience: Patience::default(),
        };
        change(&mut config);
        let (pipeline, own) = (speech_pipeline(&model).unwrap(), Arc::clone(&gate));
        let make = move || {
            let options = Options {
                threads: 1,
                ..Options::default()
            };
            Ok::<_, ExportedError>(Gated {
                inner: ExportedSpeechModel::new(&model, options)?,
                gate: Arc::clone(&own),
            })
        };
        let (service, workers) = Service::start(config, pipeline, make)
            .map_err(|_| "no workers")
            .unwrap();
        Scene {
            service,
            gate,
            workers: Some(workers),
        }
    }

    /// Answers a request as the server would.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let router = router(Arc::clone(&self.service));
        let response = router.oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Serves at a port of this machine until the handle is aborted.
    pub async fn listen(&self) -> (SocketAddr, tokio::task::JoinHandle<std::io::Result<()>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(Arc::clone(&self.service));
        let patience = self.service.config.patience;
        let server = http::serve(listener, router, patience, std::future::pending());
        (address, tokio::spawn(server))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// Asks for the transcript of `sound` with these fields.
    pub async fn transcribe(&self, sound: &[u8], fields: &[(&str, &str)]) -> Answer {
        self.send(post(sound, fields)).await
    }

    /// Begins such a request, which ends when it is aborted.
    pub fn begin(self: &Arc<Self>, sound: Vec<u8>) -> tokio::task::JoinHandle<Answer> {
        let scene = Arc::clone(self);
        tokio::spawn(async move { scene.transcribe(&sound, &[]).await })
    }

    /// A value of `/metrics`.
    pub fn count(&self, series: &str) -> f64 {
        let text = self.service.metrics();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let value = lines.find(|(name, _)| *name == series);
        value.map_or(f64::NAN, |(_, value)| value.parse().unwrap())
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Scene) -> bool) {
        for _ in 0..2_000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never: {what}\n{}", self.service.metrics());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.gate.allow(usize::MAX);
        if let Some(workers) = self.workers.take() {
            self.service.join(workers);
        }
    }
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The events of a stream.
    pub fn events(&self) -> Vec<Value> {
        let lines = self.body.lines();
        let data = lines.filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    /// The parameter and the message of an error with this status.
    pub fn error(&self, status: u16) -> (Option<String>, String) {
        assert_eq!(self.status, status, "{}", self.body);
        let error = &self.json()["error"];
        let param = error["param"].as_str().map(str::to_owned);
        (param, error["message"].as_str().unwrap().to_owned())
    }
}

/// A request for a transcript.
pub fn post(sound: &[u8], fields: &[(&str, &str)]) -> Request<Body> {
    let mut body = Vec::new();
    let is_given = |name: &str| fields.iter().any(|(given, _)| *given == name);
    let model = (!is_given("model")).then_some(("model", "demo"));
    for (name, value) in fields.iter().copied().chain(model) {
        let head = format!("--cut\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(format!("{head}{value}\r\n").as_bytes());
    }
    let head = "--cut\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(sound);
    body.extend_from_slice(b"\r\n--cut--\r\n");
    Request::post("/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=cut")
        .body(body.into())
        .unwrap()
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo")
}

/// A sample of the demo model.
pub fn sample(name: &str) -> Vec<u8> {
    std::fs::read(demo().join("samples").join(name)).unwrap()
}

/// The words of `light.wav`.
pub const LIGHT: &str = "make the bedroom light green";

/// `light.wav` so many times, each in a window of its own.
pub fn long(times: usize) -> Vec<u8> {
    const WINDOW: usize = 2 * 16_000 * 6;
    let mut one = sample("light.wav")[44..].to_vec();
    one.resize(WINDOW, 0);
    wav(&one.repeat(times))
}

/// 16-bit samples at 16 kHz as a file.
pub fn wav(samples: &[u8]) -> Vec<u8> {
    let mut file = sample("light.wav")[..44].to_vec();
    file[4..8].copy_from_slice(&(36 + samples.len() as u32).to_le_bytes());
    file[40..44].copy_from_slice(&(samples.len() as u32).to_le_bytes());
    file.extend_from_slice(samples);
    file
}
