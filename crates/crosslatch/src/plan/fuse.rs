//! Fusing: letting a product compute the activation that follows it.
//!
//! Problem. A layer's product writes megabytes that an activation then reads, to write as many again:
//! each passes through memory, and needs a buffer.
//!
//! Idea. Where an elementary function is the only reader of a value, and a kernel that can apply it
//! ([`Kernel::with_epilogue`](crosslatch_kernels::Kernel::with_epilogue)) the only writer, the function is
//! computed while the value is in registers, and the kernel writes what the function would have
//! written. The value itself is nowhere in memory. A kernel promises the same bits.
//!
//! The result is written earlier than before. Nothing else can mind: it is memory of the run, which
//! nobody has read or written before the function did.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::instructions::{Inst, Lowered, LoweredOutput, Origin, Place, StorageId};

/// Fuses what can be.
pub fn fuse(lowered: &mut Lowered) {
    let mut uses = vec![0; lowered.storages.len()];
    count(&lowered.insts, &mut uses);
    for (_, output) in &lowered.outputs {
        if let LoweredOutput::Place(place) = output {
            uses[place.storage.0] += 1;
        }
    }
    for join in &lowered.joins {
        uses[join.result.0] += 1;
        uses[join.operand.0] += 1;
    }
    // A value that is used twice is written once and read once.
    let is_passed_on = |place: &Place| {
        let info = &lowered.storages[place.storage.0];
        uses[place.storage.0] == 2 && info.origin == Origin::Fresh && place.bytes() == info.bytes
    };
    let mut gone = Vec::new();
    fuse_in(&mut lowered.insts, &is_passed_on, &mut gone);
    let gone: HashSet<StorageId> = gone.into_iter().collect();
    lowered
        .values
        .retain(|value| !gone.contains(&value.storage));
}

/// How often each storage is read or written.
fn count(insts: &[Inst], uses: &mut [usize]) {
    for inst in insts {
        match inst {
            Inst::Run {
                inputs, outputs, ..
            } => {
                let places = inputs.iter().chain(outputs);
                places.for_each(|place| uses[place.storage.0] += 1);
            }
            Inst::Copy(copy) => {
                uses[copy.from.storage.0] += 1;
                uses[copy.to.storage.0] += 1;
            }
            Inst::Cond {
                predicate,
                branches,
                ..
            } => {
                uses[predicate.storage.0] += 1;
                branches.iter().for_each(|branch| count(branch, uses));
            }
        }
    }
}

/// Adds to `gone` the storages that are not needed any more.
fn fuse_in(
    insts: &mut Vec<Inst>,
    is_passed_on: &impl Fn(&Place) -> bool,
    gone: &mut Vec<StorageId>,
) {
    for inst in &mut *insts {
        if let Inst::Cond { branches, .. } = inst {
            for branch in branches {
                fuse_in(branch, is_passed_on, gone);
            }
        }
    }
    // The instruction that writes each storage as its only result, and those that are joined to it.
    let mut writer: HashMap<StorageId, usize> = HashMap::new();
    let mut joined = vec![false; insts.len()];
    for i in 0..insts.len() {
        let (before, rest) = insts.split_at_mut(i);
        let passed = join(before, &writer, &rest[0], is_passed_on);
        if let Inst::Run {
            outputs,
            partial: false,
            ..
        } = &insts[i]
            && let [result] = &outputs[..]
        {
            let by = passed.and_then(|storage| writer.get(&storage).copied());
            writer.insert(result.storage, by.unwrap_or(i));
        }
        joined[i] = passed.is_some();
        gone.extend(passed);
    }
    let mut joined = joined.into_iter();
    insts.retain(|_| !joined.next().unwrap_or(false));
}

/// Lets the instruction that writes what a function reads compute the function too; the storage that
/// was between them.
fn join(
    before: &mut [Inst],
    writer: &HashMap<StorageId, usize>,
    function: &Inst,
    is_passed_on: &impl Fn(&Place) -> bool,
) -> Option<StorageId> {
    let Inst::Run {
        kernel: of,
        inputs,
        outputs: results,
        flops: more,
        node: name,
        ..
    } = function
    else {
        return None;
    };
    let (Some(function), [passed], [result]) =
        (of.elementwise_function(), &inputs[..], &results[..])
    else {
        return None;
    };
    if !is_passed_on(passed) || passed.layout != result.layout || passed.dtype != result.dtype {
        return None;
    }
    let Inst::Run {
        kernel,
        outputs,
        flops,
        node,
        ..
    } = before.get_mut(*writer.get(&passed.storage)?)?
    else {
        return None;
    };
    if outputs[..] != [passed.clone()] {
        return None;
    }
    *kernel = kernel.with_epilogue(function)?;
    outputs[0] = result.clone();
    *flops += more;
    *node = Arc::from(format!("{node}, {name}"));
    Some(passed.storage)
}
