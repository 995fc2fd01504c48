//! Functions of complex numbers, element by element.
//!
//! Operands and results may be complex or real; a real number has no imaginary part. Everything is
//! computed in double precision and rounded once, so that there is one loop for all types. It is no
//! fast one: models compute with few complex numbers.

use std::ops::{Add, Mul, Neg, Sub};

use crate::runtime::partition::for_each_part;
use crate::{DType, Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// Elements below which a computation is not worth another thread.
const GRAIN: usize = 1 << 12;

/// A complex number in double precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Complex {
    /// The real part.
    pub re: f64,
    /// The imaginary part.
    pub im: f64,
}

impl Complex {
    /// A real number.
    pub const fn real(re: f64) -> Complex {
        Complex { re, im: 0.0 }
    }

    /// The number with this absolute value and angle.
    pub fn polar(abs: f64, angle: f64) -> Complex {
        Complex {
            re: abs * angle.cos(),
            im: abs * angle.sin(),
        }
    }

    /// The conjugate number.
    pub fn conj(self) -> Complex {
        Complex {
            im: -self.im,
            ..self
        }
    }

    /// The absolute value.
    pub fn abs(self) -> f64 {
        self.re.hypot(self.im)
    }

    /// The angle to the positive real numbers.
    pub fn angle(self) -> f64 {
        self.im.atan2(self.re)
    }

    /// The quotient, scaled so that no square overflows.
    pub fn divided_by(self, other: Complex) -> Complex {
        let Complex { re: c, im: d } = other;
        if c.abs() >= d.abs() {
            if c == 0.0 && d == 0.0 {
                return Complex {
                    re: self.re / c.abs(),
                    im: self.im / d.abs(),
                };
            }
            let (ratio, size) = (d / c, c + d * (d / c));
            return Complex {
                re: (self.re + self.im * ratio) / size,
                im: (self.im - self.re * ratio) / size,
            };
        }
        let (ratio, size) = (c / d, d + c * (c / d));
        Complex {
            re: (self.re * ratio + self.im) / size,
            im: (self.im * ratio - self.re) / size,
        }
    }

    /// `e^z`
    pub fn exp(self) -> Complex {
        match self.im == 0.0 {
            true => Complex {
                re: self.re.exp(),
                im: self.im,
            },
            false => Complex::polar(self.re.exp(), self.im),
        }
    }

    /// The principal value of the logarithm.
    pub fn ln(self) -> Complex {
        Complex {
            re: self.abs().ln(),
            im: self.angle(),
        }
    }

    /// The principal value of the square root.
    pub fn sqrt(self) -> Complex {
        let size = self.abs();
        if size == 0.0 {
            return Complex {
                re: 0.0,
                im: self.im,
            };
        }
        // The part that does not cancel comes first, and the other from it.
        let larger = (f64::midpoint(size, self.re.abs())).sqrt();
        let smaller = self.im.abs() / (2.0 * larger);
        match self.re >= 0.0 {
            true => Complex {
                re: larger,
                im: smaller.copysign(self.im),
            },
            false => Complex {
                re: smaller,
                im: larger.copysign(self.im),
            },
        }
    }

    /// The principal value of a power.
    pub fn pow(self, exponent: Complex) -> Complex {
        match (self, exponent) {
            (_, Complex { re: 0.0, im: 0.0 }) => Complex::real(1.0),
            (_, Complex { re: 2.0, im: 0.0 }) => self * self,
            (Complex { re: 0.0, im: 0.0 }, _) => Complex::real(0.0),
            _ => (self.ln() * exponent).exp(),
        }
    }
}

impl Add for Complex {
    type Output = Complex;
    fn add(self, other: Complex) -> Complex {
        Complex {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }
}

impl Sub for Complex {
    type Output = Complex;
    fn sub(self, other: Complex) -> Complex {
        self + -other
    }
}

impl Neg for Complex {
    type Output = Complex;
    fn neg(self) -> Complex {
        Complex {
            re: -self.re,
            im: -self.im,
        }
    }
}

impl Mul for Complex {
    type Output = Complex;
    fn mul(self, other: Complex) -> Complex {
        Complex {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }
}

/// An operand.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A tensor of any type, with the shape of the result.
    Tensor(&'a TensorRef<'a>),
    /// A number.
    Number(Complex),
}

/// Reads the element at a position of a memory.
type Load = fn(&[u8], usize) -> Complex;

/// Writes it.
type Store = fn(&mut [u8], usize, Complex);

fn part<T: Element>(bytes: &[u8], at: usize) -> f64 {
    let size = size_of::<T>();
    bytemuck::pod_read_unaligned::<T>(&bytes[at * size..][..size]).to_f64()
}

fn set_part<T: Element>(bytes: &mut [u8], at: usize, value: f64) {
    let size = size_of::<T>();
    bytes[at * size..][..size].copy_from_slice(bytemuck::bytes_of(&T::from_f64(value)));
}

fn load_pair<T: Element>(bytes: &[u8], at: usize) -> Complex {
    Complex {
        re: part::<T>(bytes, 2 * at),
        im: part::<T>(bytes, 2 * at + 1),
    }
}

fn store_pair<T: Element>(bytes: &mut [u8], at: usize, value: Complex) {
    set_part::<T>(bytes, 2 * at, value.re);
    set_part::<T>(bytes, 2 * at + 1, value.im);
}

fn load_of(dtype: DType) -> Load {
    match dtype {
        DType::C64 => load_pair::<f32>,
        DType::C128 => load_pair::<f64>,
        _ => with_element!(dtype, T => |bytes, at| Complex::real(part::<T>(bytes, at))),
    }
}

fn store_of(dtype: DType) -> Store {
    match dtype {
        DType::C64 => store_pair::<f32>,
        DType::C128 => store_pair::<f64>,
        _ => with_element!(dtype, T => |bytes, at, value| set_part::<T>(bytes, at, value.re)),
    }
}

/// `out = f(sources)`, element by element; a real result is the real part.
pub fn apply<const N: usize>(
    out: &mut TensorMut<'_>,
    sources: [Source<'_>; N],
    threads: &Threads,
    f: &(dyn Fn([Complex; N]) -> Complex + Sync),
) {
    let store = store_of(out.dtype());
    for_each_part(out, threads, GRAIN, &|piece, out| {
        let layouts = sources.map(|source| match source {
            Source::Tensor(tensor) => Some(piece.of(tensor.layout())),
            Source::Number(_) => None,
        });
        let mut positions = layouts
            .each_ref()
            .map(|l| l.as_ref().map(Layout::positions));
        let to = out.layout().clone();
        let bytes = out.bytes_mut();
        for at in to.positions() {
            let mut values = [Complex::real(0.0); N];
            for ((value, source), positions) in values.iter_mut().zip(&sources).zip(&mut positions)
            {
                *value = match (source, positions) {
                    (Source::Number(number), _) => *number,
                    (Source::Tensor(tensor), Some(positions)) => {
                        let at = positions.next().unwrap_or_default();
                        load_of(tensor.dtype())(tensor.bytes(), at)
                    }
                    (Source::Tensor(_), None) => continue,
                };
            }
            store(bytes, at, f(values));
        }
    });
}

/// The element at a position of a tensor of any type.
pub fn element(tensor: &TensorRef<'_>, position: usize) -> Complex {
    load_of(tensor.dtype())(tensor.bytes(), position)
}

/// Sums over some dimensions of `x`, times a factor; `out` has the others.
///
/// # Panics
/// If the shapes do not fit.
pub fn sum(out: &mut TensorMut<'_>, x: &TensorRef<'_>, dims: &[usize], factor: f64) {
    let of = |wanted: bool| {
        let mut layout = x.layout().clone();
        for d in (0..layout.rank()).rev() {
            if dims.contains(&d) != wanted {
                layout.shape.remove(d);
                layout.strides.remove(d);
            }
        }
        layout
    };
    let (kept, summed) = (of(false), of(true));
    assert_eq!(kept.shape, out.layout().shape, "a sum of another shape");
    let (load, store) = (load_of(x.dtype()), store_of(out.dtype()));
    let to = out.layout().clone();
    for (at, start) in to.positions().zip(kept.positions()) {
        let mut total = Complex::real(0.0);
        for position in summed.positions() {
            total = total + load(x.bytes(), start + position - summed.offset);
        }
        store(out.bytes_mut(), at, total * Complex::real(factor));
    }
}

/// Sets every element of a tensor.
pub fn fill_pairs(to: &mut TensorMut<'_>, value: Complex) {
    let store = store_of(to.dtype());
    let layout = to.layout().clone();
    for at in layout.positions() {
        store(to.bytes_mut(), at, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: Complex, b: Complex) -> bool {
        (a - b).abs() <= 1e-12 * (1.0 + b.abs())
    }

    #[test]
    fn functions_agree_with_each_other() {
        let numbers = [-2.5, -1.0, 0.0, 0.5, 3.0];
        for (re, im) in numbers
            .iter()
            .flat_map(|re| numbers.iter().map(move |im| (*re, *im)))
        {
            let z = Complex { re, im };
            assert!(near(z.sqrt() * z.sqrt(), z), "{z:?}");
            assert!(near(Complex::polar(z.abs(), z.angle()), z), "{z:?}");
            if z.abs() > 0.0 {
                assert!(near(z.ln().exp(), z), "{z:?}");
                assert!(near(z.divided_by(z), Complex::real(1.0)), "{z:?}");
                assert!(near(z.pow(Complex::real(3.0)), z * z * z), "{z:?}");
            }
        }
    }

    #[test]
    fn real_operands_have_no_imaginary_part_and_real_results_lose_it() {
        let (a, b) = ([1f32, 2.0, 3.0, 4.0], [10i64, 20]);
        let layout = Layout::contiguous(&[2]);
        let a = TensorRef::new(DType::C64, &layout, bytemuck::cast_slice(&a)).unwrap();
        let b = TensorRef::new(DType::I64, &layout, bytemuck::cast_slice(&b)).unwrap();
        let mut memory = [0f64; 4];
        let sources = [Source::Tensor(&a), Source::Tensor(&b)];
        for (dtype, expected) in [
            (DType::C128, [11.0, 2.0, 23.0, 4.0]),
            (DType::F64, [11.0, 23.0, 23.0, 4.0]),
        ] {
            let bytes = bytemuck::cast_slice_mut(&mut memory);
            let mut out = TensorMut::new(dtype, &layout, bytes).unwrap();
            apply(&mut out, sources, &Threads::new(1), &|[x, y]| x + y);
            assert_eq!(memory, expected);
        }
    }
}
