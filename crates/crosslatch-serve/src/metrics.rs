//! What the server counts, as text for Prometheus.
//!
//! A handful of counters and one histogram; the
//! [exposition format](https://prometheus.io/docs/instrumenting/exposition_formats/) is lines of
//! text, so it is written here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 12] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0,
];

/// Counts since the server began.
#[derive(Default)]
pub struct Metrics {
    /// By path and status.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    cancelled: AtomicU64,
    decoding: AtomicU64,
    work: Mutex<Work>,
}

/// The transcripts that were completed.
#[derive(Default, Clone)]
struct Work {
    /// Seconds of sound.
    audio: f64,
    /// Seconds that workers took.
    decode: f64,
    count: u64,
    /// Number of transcripts by time: at most this bound, and more than the one before.
    buckets: [u64; BOUNDS.len()],
}

/// A worker that counts as busy until this is dropped.
pub struct Decoding<'a>(&'a Metrics);

impl Drop for Decoding<'_> {
    fn drop(&mut self) {
        self.0.decoding.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    /// Counts a request that was answered.
    pub fn answered(&self, path: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(|e| e.into_inner());
        *requests.entry((path.to_owned(), status)).or_default() += 1;
    }

    /// Counts a client that went away before it had the whole answer.
    pub fn cancelled(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    /// Counts a worker as busy.
    pub fn begin(&self) -> Decoding<'_> {
        self.decoding.fetch_add(1, Relaxed);
        Decoding(self)
    }

    /// Counts a transcript of so many seconds of sound, and the time it took.
    pub fn transcribed(&self, audio: f64, took: Duration) {
        let mut work = self.work();
        let seconds = took.as_secs_f64();
        work.audio += audio;
        work.decode += seconds;
        work.count += 1;
        if let Some(bucket) = BOUNDS.iter().position(|&bound| seconds <= bound) {
            work.buckets[bucket] += 1;
        }
    }

    /// Counts so many seconds of a sound that was listened to while it came.
    pub fn listened(&self, audio: f64) {
        self.work().audio += audio;
    }

    /// Mean number of seconds that a worker takes for a transcript; `None` before the first.
    pub fn mean_decode(&self) -> Option<f64> {
        let work = self.work();
        (work.count > 0).then(|| work.decode / work.count as f64)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// All counters as text, together with the number of waiting requests, of workers and
    /// of sounds that still come.
    pub fn text(&self, waiting: usize, workers: usize, streams: usize) -> String {
        let mut out = Text::default();
        let name = "crosslatch_requests_total";
        out.head(name, "counter", "Requests answered, by path and status.");
        let requests = self.requests.lock().unwrap_or_else(|e| e.into_inner());
        for ((path, status), count) in requests.iter() {
            out.line(
                &format!("{name}{{path=\"{path}\",status=\"{status}\"}}"),
                count,
            );
        }
        let cancelled = self.cancelled.load(Relaxed);
        for (name, kind, help, value) in [
            (
                "crosslatch_requests_cancelled_total",
                "counter",
                "Requests whose client went away before the end.",
                cancelled,
            ),
            (
                "crosslatch_queue_length",
                "gauge",
                "Requests that wait for a worker.",
                waiting as u64,
            ),
            (
                "crosslatch_requests_in_flight",
                "gauge",
                "Requests that a worker is decoding.",
                self.decoding.load(Relaxed),
            ),
            (
                "crosslatch_workers",
                "gauge",
                "Requests that can be decoded at a time.",
                workers as u64,
            ),
            (
                "crosslatch_streams",
                "gauge",
                "Sounds that are listened to while they still come.",
                streams as u64,
            ),
        ] {
            out.head(name, kind, help);
            out.line(name, &value);
        }
        let work = self.work().clone();
        let name = "crosslatch_audio_seconds_total";
        out.head(name, "counter", "Seconds of sound transcribed.");
        out.line(name, &work.audio);
        let name = "crosslatch_decode_seconds";
        out.head(
            name,
            "histogram",
            "Seconds a worker needed for a transcript.",
        );
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(work.buckets) {
            below += count;
            out.line(&format!("{name}_bucket{{le=\"{bound}\"}}"), &below);
        }
        out.line(&format!("{name}_bucket{{le=\"+Inf\"}}"), &work.count);
        out.line(&format!("{name}_sum"), &work.decode);
        out.line(&format!("{name}_count"), &work.count);
        out.0
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, series: &str, value: &dyn std::fmt::Display) {
        let _ = writeln!(self.0, "{series} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_the_histogram_add_up() {
        let metrics = Metrics::default();
        for milliseconds in [10, 60, 60, 700, 4_000_000] {
            metrics.transcribed(2.0, Duration::from_millis(milliseconds));
        }
        let text = metrics.text(0, 1, 0);
        for line in [
            "crosslatch_decode_seconds_bucket{le=\"0.05\"} 1",
            "crosslatch_decode_seconds_bucket{le=\"0.1\"} 3",
            "crosslatch_decode_seconds_bucket{le=\"0.5\"} 3",
            "crosslatch_decode_seconds_bucket{le=\"1\"} 4",
            "crosslatch_decode_seconds_bucket{le=\"1800\"} 4",
            "crosslatch_decode_seconds_bucket{le=\"+Inf\"} 5",
            "crosslatch_decode_seconds_count 5",
            "crosslatch_audio_seconds_total 10",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
