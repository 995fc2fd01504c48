//! Runtimes without Python wheels, in a process that `cargo xtask bench peers` talks to.
//!
//! `peers RUNTIME FOLDER` loads what is in the folder and answers every line, the start being the
//! first, with one line of JSON. A line asks for one decoding of an input: the file with its elements
//! (four bytes each), its shape, the tokens to feed, and a file for the scores after the first token
//! and the last. The answer has the milliseconds of the encoder and of each step, as they are here:
//! neither the pipe nor Python is in them. The number of threads comes from the variables that the
//! runtimes look at.

mod candle;
mod rten;

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

type Failure = Box<dyn Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

/// What is encoded: elements of four bytes, as the model reads them.
struct Input {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Input {
    fn floats(&self) -> Vec<f32> {
        let (words, _) = self.bytes.as_chunks();
        words.iter().map(|&b| f32::from_ne_bytes(b)).collect()
    }

    fn integers(&self) -> Vec<i32> {
        let (words, _) = self.bytes.as_chunks();
        words.iter().map(|&b| i32::from_ne_bytes(b)).collect()
    }
}

/// A model in a runtime.
trait Peer {
    /// Encodes an input, and keeps what comes of it.
    fn encode(&mut self, input: &Input) -> Result<()>;

    /// Feeds a token; the scores of the next one.
    fn step(&mut self, token: i32, position: usize) -> Result<Vec<f32>>;
}

fn main() {
    let mut answers = io::stdout().lock();
    let outcome = serve(&mut answers);
    if let Err(failure) = outcome {
        // Nobody may be left to read it.
        let _ = writeln!(answers, "{}", json!({ "failure": failure.to_string() }));
    }
}

fn serve(answers: &mut impl Write) -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, folder] = &args[..] else {
        return Err("usage: peers RUNTIME FOLDER".into());
    };
    let folder = Path::new(folder);
    let mut peer: Box<dyn Peer> = match runtime.as_str() {
        "rten" => Box::new(rten::Onnx::load(folder)?),
        "candle" => candle::load(folder)?,
        _ => return Err(format!("no runtime `{runtime}`").into()),
    };
    writeln!(answers, "{{}}")?;
    for line in io::stdin().lock().lines() {
        let answer = decode(peer.as_mut(), &serde_json::from_str(&line?)?)?;
        writeln!(answers, "{answer}")?;
    }
    Ok(())
}

/// Encodes the input and feeds the tokens one by one.
fn decode(peer: &mut dyn Peer, asked: &Value) -> Result<Value> {
    let path = |key: &str| asked[key].as_str().ok_or(format!("no file `{key}`"));
    let shape: Vec<usize> = serde_json::from_value(asked["shape"].clone())?;
    let tokens: Vec<i32> = serde_json::from_value(asked["tokens"].clone())?;
    let bytes = fs::read(path("input")?)?;
    let input = Input { shape, bytes };
    let begin = Instant::now();
    peer.encode(&input)?;
    let encoder = milliseconds(begin);
    let mut steps = Vec::with_capacity(tokens.len());
    let mut scores = Vec::new();
    for (position, &token) in tokens.iter().enumerate() {
        let begin = Instant::now();
        let row = peer.step(token, position)?;
        steps.push(milliseconds(begin));
        if position == 0 || position + 1 == tokens.len() {
            scores.extend(row.iter().flat_map(|score| score.to_ne_bytes()));
        }
    }
    fs::write(path("scores")?, scores)?;
    Ok(json!({ "encoder": encoder, "steps": steps }))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
