//! The process that runs inputs, one after the other.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::memory::Meter;
use super::record::{Progress, Record};
use super::{FACTOR, FREE_MEMORY, LONGEST_TIME, STACK};
use crate::Target;
use crate::mutation::Chance;

/// The most inputs with new answers that are kept as a basis for others.
const MOST_KEPT: usize = 8192;

/// The most refused inputs among them: they are close to good ones, and there are many.
const MOST_REFUSED: usize = 512;

/// The task of a child.
#[derive(Clone, Debug)]
pub struct Order {
    /// The seed of the random numbers.
    pub seed: u64,
    /// Inputs to run at most.
    pub inputs: u64,
    /// Time to run at most.
    pub time: Duration,
    /// The folder of the record, the kept inputs and the findings.
    pub folder: PathBuf,
}

/// The place and the message of the last panic.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Performs the task.
///
/// # Errors
/// If the folder cannot be written.
pub fn run(target: &'static Target, order: Order) -> io::Result<()> {
    set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let message = info.payload_as_str().unwrap_or("no message");
        let text = format!("panic at {}: {message}", place.unwrap_or_default());
        *PANIC.lock().unwrap_or_else(|e| e.into_inner()) = text;
    }));
    let thread = std::thread::Builder::new().stack_size(STACK);
    let work = thread.spawn(move || Child::new(target, order)?.work())?;
    work.join()
        .unwrap_or_else(|_| Err(io::Error::other("the driver itself panicked")))
}

struct Child {
    target: &'static Target,
    order: Order,
    chance: Chance,
    record: Record,
    progress: Progress,
    kept: Vec<Vec<u8>>,
    refused: usize,
    answers: HashSet<u64>,
    /// The kinds of findings that have been written.
    found: HashSet<String>,
}

impl Child {
    fn new(target: &'static Target, order: Order) -> io::Result<Child> {
        let mut kept = (target.seeds)();
        for file in super::parent::files(&order.folder, "kept") {
            kept.extend(std::fs::read(file));
        }
        let record = Record::create(&order.folder.join("record"))?;
        Ok(Child {
            target,
            chance: Chance::with_seed(order.seed),
            order,
            record,
            progress: Progress::default(),
            kept,
            refused: 0,
            answers: HashSet::new(),
            found: HashSet::new(),
        })
    }

    fn work(&mut self) -> io::Result<()> {
        let start = Instant::now();
        // The kept inputs run first, unchanged, so that their answers are not new later.
        for i in 0..self.kept.len() {
            if self.is_done(start) {
                return Ok(());
            }
            let input = self.kept[i].clone();
            self.input(&input, false)?;
        }
        while !self.is_done(start) {
            let input = self.new_input();
            self.input(&input, true)?;
        }
        // A last record, so that the parent reads the final numbers.
        self.record.begin(self.progress, &[])
    }

    fn is_done(&self, start: Instant) -> bool {
        self.progress.inputs >= self.order.inputs || start.elapsed() >= self.order.time
    }

    fn new_input(&mut self) -> Vec<u8> {
        let chance = &mut self.chance;
        let count = self.kept.len();
        // Recently kept inputs have led somewhere new.
        let base = match chance.bool() {
            true => chance.usize(0..count),
            false => count - 1 - chance.usize(0..count.min(64)),
        };
        let other = chance.usize(0..count);
        let mut input = self.kept[base].clone();
        for _ in 0..chance.usize(1..=3) {
            let changed = (self.target.mutate)(chance, &input, &self.kept[other]);
            if changed.len() <= self.target.longest {
                input = changed;
            }
        }
        input
    }

    fn input(&mut self, input: &[u8], keep: bool) -> io::Result<()> {
        self.progress.inputs += 1;
        self.record.begin(self.progress, input)?;
        let meter = Meter::start();
        let (answer, mut time) = self.once(input);
        let memory = meter.taken();
        for _ in 0..2 {
            if time > LONGEST_TIME {
                time = time.min(self.once(input).1);
            }
        }
        let progress = &mut self.progress;
        progress.slowest = progress.slowest.max(time.as_nanos() as u64);
        progress.largest = progress.largest.max(memory as u64);
        match answer {
            Err(panic) => self.finding(&panic, input)?,
            Ok(answer) => {
                if memory > FACTOR * input.len() + FREE_MEMORY {
                    let text = format!("memory: {} MiB; {answer}", memory >> 20);
                    self.finding(&text, input)?;
                }
                if time > LONGEST_TIME {
                    let text = format!("time: {} s; {answer}", time.as_secs());
                    self.finding(&text, input)?;
                }
                self.answer(&answer, input, keep)?;
            }
        }
        Ok(())
    }

    /// Runs the target; returns its answer, or the place of its panic.
    fn once(&self, input: &[u8]) -> (Result<String, String>, Duration) {
        let start = Instant::now();
        let answer = catch_unwind(AssertUnwindSafe(|| (self.target.run)(input)));
        let time = start.elapsed();
        let panic = || PANIC.lock().unwrap_or_else(|e| e.into_inner()).clone();
        (answer.map_err(|_| panic()), time)
    }

    fn answer(&mut self, answer: &str, input: &[u8], keep: bool) -> io::Result<()> {
        let is_new = self.answers.insert(hash(answer));
        self.progress.answers = self.answers.len() as u64;
        let is_good = answer.starts_with("good");
        let has_room = match is_good {
            true => self.kept.len() < MOST_KEPT,
            false => self.refused < MOST_REFUSED,
        };
        if is_new && keep && has_room {
            self.refused += usize::from(!is_good);
            let name = format!("kept-{:016x}", hash(answer));
            std::fs::write(self.order.folder.join(name), input)?;
            self.kept.push(input.to_vec());
        }
        Ok(())
    }

    fn finding(&mut self, text: &str, input: &[u8]) -> io::Result<()> {
        if self.found.insert(kind(text)) {
            write_finding(&self.order.folder, text, input)?;
        }
        Ok(())
    }
}

/// The text of a finding without its numbers, except for lines of code.
pub fn kind(text: &str) -> String {
    match text.split_once(": ") {
        Some((place, message)) if place.starts_with("panic at") => {
            let message: String = message
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(60)
                .collect();
            format!("{place}: {message}")
        }
        _ => text
            .chars()
            .filter(|c| !c.is_ascii_digit())
            .take(100)
            .collect(),
    }
}

/// Writes an input and, beside it, a description of the finding.
pub fn write_finding(folder: &Path, text: &str, input: &[u8]) -> io::Result<()> {
    let name = format!("found-{:016x}", hash(&kind(text)));
    std::fs::write(folder.join(&name), input)?;
    std::fs::write(folder.join(format!("{name}.txt")), text)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
