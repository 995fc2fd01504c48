//! Shuffles of channels and pixels: a view of the elements in another order, copied.

use crosslatch_kernels::Dims;

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, View, ViewCopy};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::pixel_shuffle(Tensor self, int upscale_factor) -> Tensor",
        pixel_shuffle,
    ),
    op(
        "aten::pixel_unshuffle(Tensor self, int downscale_factor) -> Tensor",
        pixel_unshuffle,
    ),
    op(
        "aten::channel_shuffle(Tensor self, SymInt groups) -> Tensor",
        channel_shuffle,
    ),
];

/// `[…, c·r·r, h, w]` as `[…, c, h·r, w·r]`.
fn pixel_shuffle(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (batch, [channels, h, w]) = image(call)?;
    let r = factor(call, "upscale_factor")?;
    let c = divided(channels, times(r, r)?, "channels")?;
    let joined = [c, times(h, r)?, times(w, r)?];
    shuffled(call, &batch, &[c, r, r, h, w], &[0, 3, 1, 4, 2], &joined)
}

/// `[…, c, h·r, w·r]` as `[…, c·r·r, h, w]`.
fn pixel_unshuffle(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (batch, [c, height, width]) = image(call)?;
    let r = factor(call, "downscale_factor")?;
    let (h, w) = (divided(height, r, "rows")?, divided(width, r, "columns")?);
    let joined = [times(c, times(r, r)?)?, h, w];
    shuffled(call, &batch, &[c, h, r, w, r], &[0, 2, 4, 1, 3], &joined)
}

/// `[n, g·c, …]` with the channels of all groups in turns.
fn channel_shuffle(call: &Call<'_>) -> Result<Lowering, OpError> {
    let shape = call.tensor("self")?.shape();
    let [batch, channels, rest @ ..] = shape else {
        return Err(OpError::new("`self` has no channels"));
    };
    let groups = factor(call, "groups")?;
    let of_group = divided(*channels, groups, "channels")?;
    let split: Vec<usize> = [groups, of_group].iter().chain(rest).copied().collect();
    let mut order: Vec<usize> = (0..split.len()).collect();
    order.swap(0, 1);
    shuffled(call, &[*batch], &split, &order, &shape[1..])
}

/// The leading dimensions of an image, and its channels, rows and columns.
fn image(call: &Call<'_>) -> Result<(Dims, [usize; 3]), OpError> {
    match call.tensor("self")?.shape().split_last_chunk::<3>() {
        Some((batch, image)) => Ok((batch.into(), *image)),
        None => Err(OpError::new("`self` is not an image with channels")),
    }
}

fn factor(call: &Call<'_>, name: &str) -> Result<usize, OpError> {
    let factor = usize::try_from(call.int(name)?).ok().filter(|f| *f > 0);
    factor.ok_or_else(|| OpError::new(format!("`{name}` is not positive")))
}

fn times(a: usize, b: usize) -> Result<usize, OpError> {
    a.checked_mul(b)
        .ok_or_else(|| OpError::new(format!("{a} times {b} is too large")))
}

fn divided(whole: usize, by: usize, what: &str) -> Result<usize, OpError> {
    match whole % by {
        0 => Ok(whole / by),
        _ => Err(OpError::new(format!(
            "{whole} {what} are no multiple of {by}"
        ))),
    }
}

/// The elements behind the dimensions of `batch` split into the dimensions `split`, put in this order, and
/// joined to those of `joined`.
fn shuffled(
    call: &Call<'_>,
    batch: &[usize],
    split: &[usize],
    order: &[usize],
    joined: &[usize],
) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let whole: Dims = batch.iter().chain(split).copied().collect();
    let layout = this.layout.reshape(&whole);
    let layout =
        layout.ok_or_else(|| OpError::unsupported("a shuffle of a tensor with these strides"))?;
    let order: Vec<usize> = (0..batch.len())
        .chain(order.iter().map(|dim| batch.len() + dim))
        .collect();
    Ok(Lowering::Copy(ViewCopy {
        view: View {
            of: this.index,
            layout: layout.permute(&order),
        },
        shape: batch.iter().chain(joined).copied().collect(),
    }))
}

#[cfg(test)]
mod tests {
    use crate::ir::Catalogue;
    use crate::ir::parse::parse;
    use crate::{Model, Options, Session, Tensor};

    #[test]
    fn a_factor_that_no_size_can_hold_is_refused() {
        let factor = 1u64 << 40;
        for call in [
            format!("aten::pixel_shuffle(self=%x, upscale_factor={factor})"),
            format!("aten::pixel_unshuffle(self=%x, downscale_factor={factor})"),
        ] {
            let text = format!(
                "program p\ninput %x: f32[0, 0, 0]\n%y: f32[0, 0, 0] = {call}\nreturn \"y\"=%y\n"
            );
            let program = parse(&text, Catalogue::builtin()).unwrap();
            let model = Model::in_memory(program, &[]).unwrap();
            let mut session = Session::new(&model, Options::default()).unwrap();
            let x = Tensor::from_slice::<f32>(&[0, 0, 0], &[]).unwrap();
            let refused = session.run("p", &[("x", x.view().into())]).map(|_| ());
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("is too large"), "{refused}");
        }
    }
}
