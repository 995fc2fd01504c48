//! Checks of the sizes that configurations give, whatever the family.
//!
//! A configuration is a few numbers that nobody vouches for, and memory is allocated by them. Bounds
//! keep them from overflowing, and caches have to be justified by the weights, which the file has.

/// The largest number that a configuration may have: far above any model, far below an overflow.
const MOST: usize = 1 << 24;

/// The most layers of a stack.
const MOST_LAYERS: usize = 1000;

/// Caches may take this many times the bytes of the weights (in real models, a fifth of them), and
/// these bytes beside.
const MOST_CACHES: usize = 4;
const FREE_CACHES: usize = 64 << 20;

/// Checks numbers by their names in the configuration.
///
/// # Errors
/// Which number is out of its range.
pub fn check_numbers(numbers: &[(&str, usize)]) -> Result<(), String> {
    match numbers.iter().find(|(_, n)| !(1..=MOST).contains(n)) {
        Some((name, n)) => Err(format!("`{name}` is {n}; expected 1 to {MOST}")),
        None => Ok(()),
    }
}

/// Checks the numbers of layers of the stacks.
///
/// # Errors
/// If there are too many.
pub fn check_layers(stacks: &[usize]) -> Result<(), String> {
    match stacks.iter().any(|&layers| layers > MOST_LAYERS) {
        true => Err(format!("there are more than {MOST_LAYERS} layers")),
        false => Ok(()),
    }
}

/// Checks that the heads of the encoder and of the decoder can share the features.
///
/// # Errors
/// Which side cannot.
pub fn check_heads(width: usize, heads: [usize; 2]) -> Result<(), String> {
    for (side, heads) in ["encoder", "decoder"].into_iter().zip(heads) {
        if !width.is_multiple_of(heads) {
            return Err(format!(
                "`d_model` is {width}, which {heads} {side} heads cannot share"
            ));
        }
    }
    Ok(())
}

/// Checks that a checkpoint with this many bytes of weights justifies the caches of keys and values,
/// `width` numbers each, in so many layers for so many positions.
///
/// # Errors
/// If the caches need far more memory than the weights have.
pub fn check_caches(
    layers: usize,
    positions: usize,
    width: usize,
    weights: usize,
) -> Result<(), String> {
    let caches = (2 * layers * size_of::<f32>())
        .checked_mul(positions)
        .and_then(|bytes| bytes.checked_mul(width));
    match caches.is_none_or(|bytes| bytes > MOST_CACHES * weights + FREE_CACHES) {
        true => Err(format!(
            "the caches for {positions} positions need far more memory than the weights have"
        )),
        false => Ok(()),
    }
}
