//! What a person sees while a sound is transcribed: a bar, and the text above it.
//!
//! The bar says what is certain: how much of the sound is done, how fast that went, and how long the
//! rest will take at that speed. All of it goes to standard error, and only if that is a terminal; a
//! program that reads it finds messages there and nothing else.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use console::{Term, measure_text_width};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::terminal::printable;

/// The lower end of a terminal; nothing at all if there is none, or if quiet is asked for.
pub struct Screen {
    bar: ProgressBar,
    is_shown: bool,
}

/// How often the bar is drawn: its clock runs while a window is decoded.
const TICK: Duration = Duration::from_millis(250);

impl Screen {
    /// An empty screen.
    pub fn new(quiet: bool) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            is_shown: !quiet && std::io::stderr().is_terminal(),
        }
    }

    /// Shows that a sound is being read.
    pub fn reading(&mut self, name: &str) {
        self.replace(ProgressBar::new_spinner(), "{spinner} reading {msg}", name);
    }

    /// Shows that a sound of so many seconds is being decoded from now on.
    pub fn decoding(&mut self, name: &str, seconds: f64) {
        self.replace(
            ProgressBar::new(milliseconds(seconds)),
            "{prefix}{bar:24} {percent:>3}%{speed} {msg}",
            name,
        );
    }

    /// Shows that so many seconds of the sound are done.
    pub fn done(&self, seconds: f64) {
        self.bar.set_position(milliseconds(seconds));
    }

    /// Writes a line above the bar.
    pub fn line(&self, line: &str) {
        self.bar.println(line);
    }

    /// Shows text that is not in a line yet in place of what was shown before: its end, in one line.
    pub fn text(&self, text: &str) {
        if self.bar.is_hidden() {
            return;
        }
        let columns = usize::from(Term::stderr().size().1).max(20) - 1;
        let text = printable(text.trim());
        let end = end_of(&text, columns);
        self.bar.set_prefix(match end {
            "" => String::new(),
            end => format!("{end}\n"),
        });
    }

    /// Runs `write`, which may write to the terminal, while the bar is out of its way.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }

    fn replace(&mut self, bar: ProgressBar, template: &str, name: &str) {
        self.clear();
        if !self.is_shown {
            return;
        }
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let pace = Arc::new(Pace::default());
        if let Ok(style) = ProgressStyle::with_template(template) {
            let text = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let done = Duration::from_millis(state.pos());
                let whole = Duration::from_millis(state.len().unwrap_or(0));
                // Where it cannot be written, it is not shown.
                let _ = out.write_str(&pace.text(done, whole, state.elapsed()));
            };
            bar.set_style(style.with_key("speed", text));
        }
        bar.set_message(printable(name));
        bar.enable_steady_tick(TICK);
        self.bar = bar;
    }
}

/// The end of a text that takes at most so many columns.
fn end_of(text: &str, columns: usize) -> &str {
    let mut width = 0;
    let letters = text.char_indices().rev();
    let fits = letters.take_while(|(_, letter)| {
        width += measure_text_width(letter.encode_utf8(&mut [0; 4]));
        width <= columns
    });
    fits.last().map_or("", |(start, _)| &text[start..])
}

/// How fast sound is decoded, as of when the last piece of it was done. What has been done since then
/// is unknown, so the time until now says nothing about the speed.
#[derive(Default)]
struct Pace {
    /// In milliseconds of sound.
    done: AtomicU64,
    /// In milliseconds since the start.
    at: AtomicU64,
}

impl Pace {
    /// Speed and time left, once something is done; `elapsed` is the time since the start.
    fn text(&self, done: Duration, whole: Duration, elapsed: Duration) -> String {
        let of = |time: Duration| time.as_millis() as u64;
        if self.done.swap(of(done), Ordering::Relaxed) != of(done) {
            self.at.store(of(elapsed), Ordering::Relaxed);
        }
        let at = Duration::from_millis(self.at.load(Ordering::Relaxed));
        if done.is_zero() || at.is_zero() {
            return String::new();
        }
        let speed = done.as_secs_f64() / at.as_secs_f64();
        let needed = whole.saturating_sub(done).as_secs_f64() / speed;
        let left = (needed - elapsed.saturating_sub(at).as_secs_f64()).max(0.0);
        format!("  {}, {} left ", times(speed), minutes(left))
    }
}

/// A speed in times of real time.
pub fn times(speed: f64) -> String {
    match speed < 9.95 {
        true => format!("{speed:.1} × real time"),
        false => format!("{speed:.0} × real time"),
    }
}

/// A length of time as `[H:]MM:SS`, rounded to seconds.
pub fn minutes(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Measures the time that one sound takes.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since then, and how fast that is for so many seconds of sound.
    pub fn speed(&self, seconds: f64) -> (f64, String) {
        let elapsed = self.0.elapsed().as_secs_f64();
        (elapsed, times(seconds / elapsed.max(1e-9)))
    }
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_what_is_done_and_the_time_left_runs_down() {
        let pace = Pace::default();
        let seconds = Duration::from_secs;
        let at = |done, now| pace.text(seconds(done), seconds(100), seconds(now));
        assert_eq!(at(0, 4), "");
        assert_eq!(at(20, 10), "  2.0 × real time, 0:40 left ");
        assert_eq!(at(20, 15), "  2.0 × real time, 0:35 left ");
        assert_eq!(at(20, 70), "  2.0 × real time, 0:00 left ");
        assert_eq!(at(80, 80), "  1.0 × real time, 0:20 left ");
    }

    #[test]
    fn the_end_of_a_text_fits_the_terminal() {
        for (text, columns, end) in [
            ("", 5, ""),
            ("one two", 7, "one two"),
            ("one two", 5, "e two"),
            ("一二三", 5, "二三"),
        ] {
            assert_eq!(end_of(text, columns), end);
        }
    }

    #[test]
    fn times_are_short() {
        assert_eq!(minutes(3_725.4), "1:02:05");
        assert_eq!(times(12.34), "12 × real time");
    }
}
