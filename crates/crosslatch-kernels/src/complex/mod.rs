//! Complex numbers: arithmetic on them, and the discrete Fourier transform.
//!
//! A complex element is its real part, followed by its imaginary part
//! ([`DType::C64`](crate::DType::C64)). Kernels that move elements take complex ones like others;
//! what computes with them is here.

mod elements;
mod fourier;
mod frames;

pub use elements::{Complex, Source, apply, element, fill_pairs, sum};
pub use fourier::{Form, Fourier, Transform};
pub use frames::{Window, overlap, windowed};
