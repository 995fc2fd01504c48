//! The kernels that the dispatcher calls.
//!
//! A boxed kernel gets its arguments as handles that it owns and leaves its results in their
//! place. `alias` therefore has nothing to do: arguments and results stand in the same places.
//!
//! The update has two forms. On the CPU the bytes are moved here. Elsewhere, for a tensor that is
//! not what its memory holds (a lazy negation), and wherever autograd has to know, it is the
//! composition that it is defined by, `cache[:, :, :S].copy_(value)`, called through the
//! dispatcher.

use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::check::{self, UPDATE};
use crate::copy::Plan;
use crate::message::{Message, message, raise};
use crate::overlap;
use crate::symbols::{Functions, StableValue, functions};
use crate::tensor::{Description, Owned, succeeded};

/// Copies of fewer bytes stay on the calling thread, and no thread gets less.
const GRAIN: usize = 1 << 17;

/// `executorch::alias(Tensor x, Tensor y) -> (Tensor, Tensor)`, for every device.
pub unsafe extern "C-unwind" fn alias(_: *mut StableValue, _: u64, _: u64) {}

/// `executorch::update_cross_attn_cache(Tensor value, Tensor cache) -> Tensor` on the CPU.
pub unsafe extern "C-unwind" fn update_on_cpu(stack: *mut StableValue, _: u64, _: u64) {
    // SAFETY: the dispatcher passes the arguments that the schema declares.
    unsafe { update(stack, write_on_cpu) }
}

/// The same for every other device, and for lazy tensors.
pub unsafe extern "C-unwind" fn update_elsewhere(stack: *mut StableValue, _: u64, _: u64) {
    // SAFETY: as above.
    unsafe { update(stack, write_elsewhere) }
}

type Write = fn(&Functions, &Owned<'_>, &Owned<'_>) -> Result<(), Message>;

/// Takes the arguments, writes, and leaves the cache; or raises, with everything given back.
///
/// # Safety
/// `stack` holds the handles of `value` and `cache`, which become ours.
unsafe fn update(stack: *mut StableValue, write: Write) {
    // The kernels are registered through these functions, so that they are known.
    let Ok(functions) = functions() else { return };
    let outcome = {
        // SAFETY: as the caller promises.
        let (value, cache) = unsafe {
            (
                Owned::from_stack(functions, *stack),
                Owned::from_stack(functions, *stack.add(1)),
            )
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| write(functions, &value, &cache)))
            .unwrap_or_else(|_| Err(message!("{UPDATE}: internal error, please report it")));
        outcome.map(|()| cache.into_stack())
    };
    match outcome {
        // SAFETY: the first place of the stack is the first result's.
        Ok(cache) => unsafe { *stack = cache },
        Err(message) => raise(message, functions),
    }
}

fn write_on_cpu(
    functions: &Functions,
    value: &Owned<'_>,
    cache: &Owned<'_>,
) -> Result<(), Message> {
    let (v, c) = checked(functions, value, cache)?;
    if records(functions, value)? || records(functions, cache)? {
        return slice_and_copy(functions, (value, &v), (cache, &c));
    }
    note_write(functions, cache)?;
    // SAFETY: no arguments; a number that came from a tensor.
    let element = unsafe { (functions.element_size)(v.dtype) };
    let (from, to) = (value.data()?, cache.data()?);
    let sizes = &v.shape.sizes[..4];
    let (from_strides, to_strides) = (&v.strides[..4], &c.strides[..4]);
    let from_bytes = overlap::extent(sizes, from_strides, element);
    let to_bytes = overlap::extent(sizes, to_strides, element);
    if !overlap::between(from as usize, from_bytes, to as usize, to_bytes) {
        let plan = Plan::new(sizes, from_strides, to_strides, element);
        // SAFETY: the descriptions are those of the tensors at these addresses, which the handles
        // keep alive; they share no memory.
        return unsafe { run(functions, &plan, from, to) };
    }
    if from == to && from_strides == to_strides {
        return Ok(());
    }
    let mut aside = Vec::<u8>::new();
    let bytes = element * sizes.iter().product::<i64>() as usize;
    if aside.try_reserve_exact(bytes).is_err() {
        return Err(message!(
            "{UPDATE}: no memory to set aside value, which overlaps cache (value {}, cache {})",
            v.shape,
            c.shape
        ));
    }
    let [_, h, s, d] = [sizes[0], sizes[1], sizes[2], sizes[3]];
    let dense = [h * s * d, s * d, d, 1];
    let away = Plan::new(sizes, from_strides, &dense, element);
    let back = Plan::new(sizes, &dense, to_strides, element);
    // SAFETY: the vector has room for all elements, which the first plan writes and the second
    // reads; it shares memory with neither tensor.
    unsafe {
        run(functions, &away, from, aside.as_mut_ptr())?;
        run(functions, &back, aside.as_ptr(), to)
    }
}

fn write_elsewhere(
    functions: &Functions,
    value: &Owned<'_>,
    cache: &Owned<'_>,
) -> Result<(), Message> {
    let (v, c) = checked(functions, value, cache)?;
    slice_and_copy(functions, (value, &v), (cache, &c))
}

fn checked(
    functions: &Functions,
    value: &Owned<'_>,
    cache: &Owned<'_>,
) -> Result<(Description, Description), Message> {
    let describe = |tensor: &Owned<'_>, name: &str| {
        tensor
            .description()
            .map_err(|_| message!("{UPDATE}: {name} must be a strided tensor"))
    };
    let (v, c) = (describe(value, "value")?, describe(cache, "cache")?);
    check::fits(&v, &c, functions)?;
    if records(functions, cache)? && is_leaf(functions, cache.again()?)? {
        return Err(message!(
            "{UPDATE}: cache is a leaf that requires grad, and PyTorch lets nobody write that; \
             write it under torch.no_grad(), or detach it first (value {}, cache {})",
            v.shape,
            c.shape
        ));
    }
    Ok((v, c))
}

/// Copies, on torch's threads if there is enough to copy.
///
/// # Safety
/// As for [`Plan::run`], for all pieces.
unsafe fn run(
    functions: &Functions,
    plan: &Plan,
    from: *const u8,
    to: *mut u8,
) -> Result<(), Message> {
    struct Work<'a> {
        plan: &'a Plan,
        from: *const u8,
        to: *mut u8,
    }

    unsafe extern "C" fn piece(begin: i64, end: i64, work: *mut c_void) {
        // SAFETY: `work` is the one passed below; the pieces of two calls do not meet.
        unsafe {
            let Work { plan, from, to } = *work.cast::<Work<'_>>();
            plan.run(from, to, begin as usize, end as usize);
        }
    }

    let total = plan.pieces() * plan.piece_bytes();
    if total < 2 * GRAIN || plan.pieces() < 2 {
        // SAFETY: the caller's promise.
        unsafe { plan.run(from, to, 0, plan.pieces()) };
        return Ok(());
    }
    let grain = GRAIN.div_ceil(plan.piece_bytes().max(1));
    let mut work = Work { plan, from, to };
    // SAFETY: the work outlives the call, which returns when all pieces are done.
    let status = unsafe {
        (functions.parallel_for)(
            0,
            plan.pieces() as i64,
            grain as i64,
            piece,
            (&raw mut work).cast(),
        )
    };
    succeeded(status, "parallel_for")
}

/// Whether autograd would record what is done with a tensor.
///
/// The C interface has no function that tells. But a view of a tensor is a leaf exactly if nothing
/// is recorded.
fn records(functions: &Functions, tensor: &Owned<'_>) -> Result<bool, Message> {
    // SAFETY: no arguments.
    if !unsafe { (functions.grad_enabled)() } {
        return Ok(false);
    }
    let view = tensor_call(
        functions,
        c"aten::alias",
        c"",
        &mut [tensor.again()?.into_stack()],
    )?;
    Ok(!is_leaf(functions, view)?)
}

/// Whether a tensor has no recorded history.
fn is_leaf(functions: &Functions, tensor: Owned<'_>) -> Result<bool, Message> {
    let mut stack = [tensor.into_stack()];
    call(functions, c"aten::is_leaf", c"", &mut stack)?;
    Ok(stack[0] & 1 == 1)
}

/// Lets PyTorch know that a tensor is written: its version goes up, so that a backward pass that
/// needs the old contents fails instead of using the new; and where writing is forbidden (a tensor
/// of inference mode outside of it) this raises before anything is written.
fn note_write(functions: &Functions, cache: &Owned<'_>) -> Result<(), Message> {
    let nothing = cache.first_rows(0)?;
    // SAFETY: the handle is valid.
    let status = unsafe { (functions.zero)(nothing.handle()) };
    succeeded(status, "zero_").map_err(|_| {
        message!(
            "{UPDATE}: PyTorch does not allow cache to be written in place here (a tensor made in \
             inference mode can be written there only)"
        )
    })
}

/// `cache[:, :, :S].copy_(value)`, with a copy of the value if it may overlap the cache.
fn slice_and_copy(
    functions: &Functions,
    (value, v): (&Owned<'_>, &Description),
    (cache, c): (&Owned<'_>, &Description),
) -> Result<(), Message> {
    let rows = v.shape.sizes[2];
    let aside = match may_overlap(functions, (value, v), (cache, c))? {
        // The second argument is no memory format.
        true => Some(tensor_call(
            functions,
            c"aten::clone",
            c"",
            &mut [value.again()?.into_stack(), 0],
        )?),
        false => None,
    };
    let value = aside.as_ref().unwrap_or(value);
    // Through the dispatcher: the C function of this name makes a lazy negation real first, and the
    // copy would go into that.
    let target = tensor_call(
        functions,
        c"aten::narrow",
        c"",
        &mut [cache.again()?.into_stack(), 2, 0, rows as StableValue],
    )?;
    // SAFETY: the handles are valid.
    let status = unsafe { (functions.copy)(target.handle(), value.handle(), 0) };
    succeeded(status, "copy_").map_err(|_| {
        message!(
            "{UPDATE}: PyTorch does not allow value to be copied into cache here; its reason is on \
             standard error"
        )
    })
}

/// Whether the address ranges of two tensors overlap.
fn may_overlap(
    functions: &Functions,
    (value, v): (&Owned<'_>, &Description),
    (cache, c): (&Owned<'_>, &Description),
) -> Result<bool, Message> {
    let range = |tensor: &Owned<'_>, description: &Description| {
        // SAFETY: no arguments but a number that came from a tensor.
        let element = unsafe { (functions.element_size)(description.dtype) };
        let bytes = overlap::extent(
            &description.shape.sizes[..4],
            &description.strides[..4],
            element,
        );
        Ok((tensor.data()? as usize, bytes))
    };
    let ((from, from_bytes), (to, to_bytes)) = (range(value, v)?, range(cache, c)?);
    Ok(overlap::between(from, from_bytes, to, to_bytes))
}

/// Calls an operator whose result is one tensor.
fn tensor_call<'f>(
    functions: &'f Functions,
    name: &CStr,
    overload: &CStr,
    stack: &mut [StableValue],
) -> Result<Owned<'f>, Message> {
    call(functions, name, overload, stack)?;
    // SAFETY: the call left its result, a new handle, in the first place.
    Ok(unsafe { Owned::from_stack(functions, stack[0]) })
}

/// Calls an operator. The handles in the stack become the call's.
fn call(
    functions: &Functions,
    name: &CStr,
    overload: &CStr,
    stack: &mut [StableValue],
) -> Result<(), Message> {
    // SAFETY: the callers here pass what the operator's schema declares.
    let status = unsafe { (functions.call)(name.as_ptr(), overload.as_ptr(), stack.as_mut_ptr()) };
    match status {
        0 => Ok(()),
        _ => Err(message!(
            "{UPDATE}: PyTorch refused {}",
            name.to_string_lossy()
        )),
    }
}
