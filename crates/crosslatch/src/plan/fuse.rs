//! Fusion: a product computes the activation that follows it.
//!
//! Problem. A layer's product writes megabytes that an activation then reads, only to write as many
//! again: both pass through memory, and the product needs a buffer.
//!
//! Idea. Where an elementwise function is the only reader of a value, and the only writer is a kernel
//! that can apply the function as its epilogue
//! ([`Kernel::with_epilogue`](crosslatch_kernels::Kernel::with_epilogue)), the kernel applies it while the
//! value is in registers and writes the function's result. The value itself is nowhere in memory. The
//! kernel promises the same bits.
//!
//! The result is written earlier than before. This is safe, because the result lives in memory of the
//! run that nothing reads or writes before the function does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::instructions::{Inst, Lowered, Origin, Place, StorageId, in_program_order};

/// Fuses activations into the products before them.
pub fn fuse(lowered: &mut Lowered) {
    let uses = uses(lowered);
    // A value that is used twice is written once and read once.
    let is_passed_on = |place: &Place| {
        let info = &lowered.storages[place.storage.0];
        uses[place.storage.0] == 2 && info.origin == Origin::Fresh && place.bytes() == info.bytes
    };
    let mut gone = Vec::new();
    fuse_list(&mut lowered.insts, &is_passed_on, &mut gone);
    let gone: HashSet<StorageId> = gone.into_iter().collect();
    lowered
        .values
        .retain(|value| !gone.contains(&value.storage));
}

/// How often each storage is read or written.
fn uses(lowered: &Lowered) -> Vec<usize> {
    let mut uses = vec![0; lowered.storages.len()];
    let mut add = |storage: StorageId| uses[storage.0] += 1;
    for inst in in_program_order(&lowered.insts) {
        match inst {
            Inst::Run {
                inputs, outputs, ..
            } => {
                let places = inputs.iter().chain(outputs);
                places.for_each(|place| add(place.storage));
            }
            Inst::Copy(copy) => {
                add(copy.from.storage);
                add(copy.to.storage);
            }
            Inst::Cond { predicate, .. } | Inst::Test { predicate } => add(predicate.storage),
            Inst::Loop { .. } => {}
        }
    }
    for place in lowered.output_places() {
        add(place.storage);
    }
    for join in &lowered.joins {
        add(join.result);
        add(join.operand);
    }
    uses
}

/// Fuses within a list of instructions and the regions in it. Adds to `gone` the storages that are
/// not needed any more.
fn fuse_list(
    insts: &mut Vec<Inst>,
    is_passed_on: &impl Fn(&Place) -> bool,
    gone: &mut Vec<StorageId>,
) {
    for inst in &mut *insts {
        for region in inst.regions_mut() {
            fuse_list(region, is_passed_on, gone);
        }
    }
    // For each storage that is the only result of an instruction, that instruction; and for each
    // instruction, whether it was fused into an earlier one.
    let mut writer: HashMap<StorageId, usize> = HashMap::new();
    let mut fused = vec![false; insts.len()];
    for i in 0..insts.len() {
        let (before, rest) = insts.split_at_mut(i);
        let passed = fuse_one(before, &writer, &rest[0], is_passed_on);
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
        fused[i] = passed.is_some();
        gone.extend(passed);
    }
    let mut fused = fused.into_iter();
    insts.retain(|_| !fused.next().unwrap_or(false));
}

/// Makes an elementwise function the epilogue of the instruction that writes its operand. Returns the
/// storage that was between the two, if that was possible.
fn fuse_one(
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
