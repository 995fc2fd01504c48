//! What the steps of a plan cost.

use super::steps::{Plan, Step};

/// What steps cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Arithmetic operations, about.
    pub flops: u64,
    /// Bytes that are read and written, about.
    pub bytes: u64,
}

impl std::ops::Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work {
            flops: self.flops + other.flops,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Plan {
    /// What every run costs, whichever branches are taken; and what is added where each `cond` takes
    /// its more expensive branch, which is the work that is done once per input.
    pub fn work(&self) -> [Work; 2] {
        work(&self.steps)
    }
}

/// As [`Plan::work`], for a part of a plan.
pub fn work(steps: &[Step]) -> [Work; 2] {
    let mut total = [Work::default(); 2];
    for step in steps {
        let [always, more] = match step {
            Step::Run(step) => {
                let own = Work {
                    flops: step.flops,
                    bytes: step.bytes,
                };
                [own, Work::default()]
            }
            Step::Cond { branches, .. } => {
                let [a, b] = branches.each_ref().map(|branch| {
                    let [always, more] = work(branch);
                    always + more
                });
                let (low, high) = if (a.flops, a.bytes) <= (b.flops, b.bytes) {
                    (a, b)
                } else {
                    (b, a)
                };
                let more = Work {
                    flops: high.flops - low.flops,
                    bytes: high.bytes.saturating_sub(low.bytes),
                };
                [low, more]
            }
        };
        total = [total[0] + always, total[1] + more];
    }
    total
}
