//! Weights given by directions and lengths: each slice along a dimension is brought to a length.

use crate::{Element, TensorMut, TensorRef, with_element};

/// `out = v * (g / |v|)`, where the norm is that of each entry of `v` along `dim`, or of all of it; the norms
/// are written to `norms`, if given, which has as many elements as `g`.
///
/// # Panics
/// If shapes and types do not fit together.
pub fn weight_norm(
    out: &mut TensorMut<'_>,
    mut norms: Option<&mut TensorMut<'_>>,
    v: &TensorRef<'_>,
    g: &TensorRef<'_>,
    dim: Option<usize>,
) {
    let entries = dim.map_or(1, |d| v.shape()[d]);
    let mut lengths = g.layout().positions();
    let (to, from) = (out.layout().clone(), v.layout().clone());
    let part = |layout: &crate::Layout, i: usize| match dim {
        Some(d) => layout.select(d, i),
        None => layout.clone(),
    };
    with_element!(out.dtype(), T => {
        let (v, g) = (v.data::<T>(), g.data::<T>());
        for i in 0..entries {
            let Some(at) = lengths.next() else {
                return;
            };
            let source = part(&from, i);
            let sum: f64 = source.positions().map(|p| v[p].to_f64().powi(2)).sum();
            let norm = T::from_f64(sum.sqrt());
            let factor = g[at].to_f64() / norm.to_f64();
            let data = out.data::<T>();
            for (a, b) in part(&to, i).positions().zip(source.positions()) {
                data[a] = T::from_f64(v[b].to_f64() * factor);
            }
            if let Some(norms) = &mut norms {
                let at = norms.layout().position(i);
                norms.data::<T>()[at] = norm;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Layout};

    #[test]
    fn each_entry_has_the_length_that_is_given() {
        let (v, g) = ([3f32, 4.0, 0.0, 5.0], [10f32, 2.0]);
        let (square, column) = (Layout::contiguous(&[2, 2]), Layout::contiguous(&[2, 1]));
        let (mut out, mut norms) = ([0f32; 4], [0f32; 2]);
        weight_norm(
            &mut TensorMut::new(DType::F32, &square, bytemuck::cast_slice_mut(&mut out)).unwrap(),
            Some(
                &mut TensorMut::new(DType::F32, &column, bytemuck::cast_slice_mut(&mut norms))
                    .unwrap(),
            ),
            &TensorRef::new(DType::F32, &square, bytemuck::cast_slice(&v)).unwrap(),
            &TensorRef::new(DType::F32, &column, bytemuck::cast_slice(&g)).unwrap(),
            Some(0),
        );
        assert_eq!((out, norms), ([6.0, 8.0, 0.0, 2.0], [5.0, 5.0]));
    }
}
