//! Whether a value fits a cache.
//!
//! Everything is checked before anything is written, so that an error leaves the cache as it was.
//! Each message names the operator, the argument at fault and both shapes.

use std::fmt;

use crate::message::{Message, message};
use crate::overlap;
use crate::symbols::Functions;
use crate::tensor::{Description, Device};

/// The operator's name, as errors give it.
pub const UPDATE: &str = "executorch::update_cross_attn_cache";

/// Names of the numbers that libtorch uses for data types and devices.
pub trait Names {
    /// Name of a data type; none for those that are refused.
    fn dtype(&self, number: i32) -> Option<&'static str>;
    /// Name of a kind of device.
    fn device(&self, kind: i32) -> &'static str;
}

/// Errors unless `value` can be written into `cache`.
pub fn fits(value: &Description, cache: &Description, names: &dyn Names) -> Result<(), Message> {
    let refuse = |what: fmt::Arguments<'_>| {
        Err(message!(
            "{UPDATE}: {what} (value {}, cache {})",
            value.shape,
            cache.shape
        ))
    };
    for (name, tensor, axes) in [
        ("value", value, "[B, H, S, D]"),
        ("cache", cache, "[B, H, S_max, D]"),
    ] {
        if tensor.shape.rank != 4 {
            return refuse(format_args!(
                "{name} must have the 4 dimensions {axes}, not {}",
                tensor.shape.rank
            ));
        }
    }
    let [rows, capacity] = [value, cache].map(|t| t.shape.sizes);
    for (axis, what) in [(0, "batch"), (1, "heads"), (3, "head size")] {
        if rows[axis] != capacity[axis] {
            return refuse(format_args!(
                "{what} of value is {}, of cache {}",
                rows[axis], capacity[axis]
            ));
        }
    }
    if rows[2] > capacity[2] {
        return refuse(format_args!(
            "value has {} rows, more than the {} of cache",
            rows[2], capacity[2]
        ));
    }
    match (names.dtype(value.dtype), names.dtype(cache.dtype)) {
        (Some(_), Some(_)) if value.dtype == cache.dtype => {}
        (Some(a), Some(b)) => {
            return refuse(format_args!("data type of value is {a}, of cache {b}"));
        }
        (None, _) => return refuse(format_args!("value has a data type that cannot be cached")),
        (_, None) => return refuse(format_args!("cache has a data type that cannot be cached")),
    }
    if value.device != cache.device {
        return refuse(format_args!(
            "value is on {}, cache on {}",
            Place(value.device, names),
            Place(cache.device, names)
        ));
    }
    if overlap::within(&capacity[..4], &cache.strides[..4]) {
        return refuse(format_args!(
            "elements of cache share memory with each other (strides {:?}); make it contiguous",
            &cache.strides[..4]
        ));
    }
    Ok(())
}

struct Place<'a>(Device, &'a dyn Names);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(device, names) = self;
        f.write_str(names.device(device.kind))?;
        match device.index {
            // There is only one device of this kind.
            ..0 => Ok(()),
            index => write!(f, ":{index}"),
        }
    }
}

impl Names for Functions {
    fn dtype(&self, number: i32) -> Option<&'static str> {
        let names = [
            (self.dtype_float32, "float32"),
            (self.dtype_float16, "float16"),
            (self.dtype_bfloat16, "bfloat16"),
            (self.dtype_float64, "float64"),
            (self.dtype_int8, "int8"),
            (self.dtype_uint8, "uint8"),
            (self.dtype_int16, "int16"),
            (self.dtype_int32, "int32"),
            (self.dtype_int64, "int64"),
            (self.dtype_bool, "bool"),
            (self.dtype_float8_e4m3fn, "float8_e4m3fn"),
            (self.dtype_float8_e5m2, "float8_e5m2"),
            (self.dtype_float8_e4m3fnuz, "float8_e4m3fnuz"),
            (self.dtype_float8_e5m2fnuz, "float8_e5m2fnuz"),
        ];
        names
            .into_iter()
            // SAFETY: these functions have no arguments and return a constant.
            .find(|(of, _)| unsafe { of() } == number)
            .map(|(_, name)| name)
    }

    fn device(&self, kind: i32) -> &'static str {
        let names = [
            (self.device_cpu, "cpu"),
            (self.device_cuda, "cuda"),
            (self.device_meta, "meta"),
        ];
        names
            .into_iter()
            // SAFETY: as above.
            .find(|(of, _)| unsafe { of() } == kind)
            .map_or("another kind of device", |(_, name)| name)
    }
}
