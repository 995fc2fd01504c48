//! Random numbers, as PyTorch draws them on a CPU.
//!
//! The generator is the Mersenne Twister of 32 bits (Matsumoto and Nishimura, 1998), as in
//! ATen/core/MT19937RNGEngine.h, and what becomes of its numbers is ATen/core/DistributionsHelper.h and
//! ATen/native/cpu/DistributionTemplates.h: for one seed and the same operators in the same order, the numbers
//! are PyTorch's. There are exceptions. 16 and more normal numbers have its logarithm and its cosine to the last
//! bits only, and in types of 16 bits they are not those that it makes of rounded ones. On processors of
//! Intel's, PyTorch lets MKL draw exponential numbers and those of a Bernoulli distribution with a fixed
//! probability; these here are the ones that it draws on others. And a tensor is filled row by row, where
//! PyTorch fills one like a transposed tensor in the order of its memory.
//!
//! The state lies in a tensor of integers ([`STATE`]), so that it can be state of a session. Whatever numbers
//! are in it, they are a state.

use std::f64::consts::PI;

use crate::movement::Scalar;
use crate::{DType, Element, TensorMut, TensorRef, with_element};

/// Words of the twister.
const WORDS: usize = 624;
/// From a word to the one that it is combined with.
const MIDDLE: usize = 397;
/// Elements of a state, which are of type `i64`: the words; the index of the next one; whether a normal number
/// is left over; the bits of that as `f64`.
pub const STATE: usize = WORDS + 3;

/// From how many normal numbers on they are drawn in blocks, and how large these are.
const BLOCK: usize = 16;
/// Ranges of integers from this length on take two words.
const WIDE_RANGE: u64 = 1 << 28;

/// A generator of random numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Generator {
    words: [u32; WORDS],
    next: usize,
    /// The second of a pair of normal numbers.
    normal: Option<f64>,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Real numbers of a range.
    Uniform {
        /// The least.
        from: f64,
        /// What they stay below.
        to: f64,
    },
    /// Real numbers of a normal distribution.
    Normal {
        /// Its mean.
        mean: f64,
        /// Its standard deviation.
        std: f64,
    },
    /// Real numbers of an exponential distribution.
    Exponential {
        /// The inverse of its mean.
        rate: f64,
    },
    /// Zeros and ones.
    Bernoulli {
        /// The probability of a one.
        p: f64,
    },
    /// Integers of a range.
    Integers {
        /// The least.
        low: i64,
        /// How many there are.
        range: u64,
    },
}

impl Generator {
    /// The generator of `torch.manual_seed(seed)`, which uses the lower 32 bits.
    pub fn seeded(seed: u64) -> Generator {
        let mut words = [0u32; WORDS];
        words[0] = seed as u32;
        for i in 1..WORDS {
            let before = words[i - 1];
            let mixed = (before ^ (before >> 30)).wrapping_mul(1_812_433_253);
            words[i] = mixed.wrapping_add(i as u32);
        }
        Generator {
            words,
            next: WORDS,
            normal: None,
        }
    }

    /// The generator with this state; `None` if it does not have [`STATE`] elements.
    pub fn of_state(state: &[i64]) -> Option<Generator> {
        let (words, [next, is_left, bits]) =
            state.split_first_chunk::<WORDS>().and_then(|(w, rest)| {
                let rest: [i64; 3] = rest.try_into().ok()?;
                Some((w, rest))
            })?;
        Some(Generator {
            words: words.map(|word| word as u32),
            next: usize::try_from(next).map_or(WORDS, |next| next.min(WORDS)),
            normal: (is_left != 0).then_some(f64::from_bits(bits as u64)),
        })
    }

    /// Its state.
    pub fn state(&self) -> [i64; STATE] {
        let mut state = [0; STATE];
        for (to, word) in state.iter_mut().zip(&self.words) {
            *to = i64::from(*word);
        }
        state[WORDS] = self.next as i64;
        state[WORDS + 1] = i64::from(self.normal.is_some());
        state[WORDS + 2] = self.normal.unwrap_or(0.0).to_bits() as i64;
        state
    }

    /// The next 32 bits.
    fn word(&mut self) -> u32 {
        if self.next >= WORDS {
            self.twist();
        }
        let mut word = self.words[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for i in 0..WORDS {
            let joined =
                (self.words[i] & 0x8000_0000) | (self.words[(i + 1) % WORDS] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.words[i] = self.words[(i + MIDDLE) % WORDS] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// The next 64 bits.
    fn long_word(&mut self) -> u64 {
        let high = u64::from(self.word());
        high << 32 | u64::from(self.word())
    }

    /// From 0 to 1, without 1, in steps of 2⁻²⁴.
    fn fraction(&mut self) -> f32 {
        (self.word() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// From 0 to 1, without 1, in steps of 2⁻⁵³.
    fn long_fraction(&mut self) -> f64 {
        (self.long_word() & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    /// A fraction as numbers of a type are made of.
    fn fraction_for(&mut self, dtype: DType) -> f64 {
        match dtype {
            DType::F64 => self.long_fraction(),
            _ => f64::from(self.fraction()),
        }
    }

    /// A number of the standard normal distribution, by the transformation of Box and Muller.
    fn standard_normal(&mut self) -> f64 {
        if let Some(second) = self.normal.take() {
            return second;
        }
        let (turn, length) = (self.long_fraction(), self.long_fraction());
        let radius = (-2.0 * (-length).ln_1p()).sqrt();
        let angle = 2.0 * PI * turn;
        self.normal = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// Draws `count` numbers for a tensor of this type, and gives each with its index, some of them more
    /// than once: the last counts.
    fn draw(
        &mut self,
        distribution: Distribution,
        dtype: DType,
        count: usize,
        mut give: impl FnMut(usize, Scalar),
    ) {
        match distribution {
            Distribution::Normal { mean, std } if count >= BLOCK => {
                let whole = count - count % BLOCK;
                for at in (0..whole).step_by(BLOCK) {
                    self.normal_block(dtype, |i, x| give(at + i, Scalar::Float(x * std + mean)));
                }
                if whole < count {
                    // The numbers of the block that is not whole are drawn and forgotten.
                    (whole..count).for_each(|_| _ = self.fraction_for(dtype));
                    let at = count - BLOCK;
                    self.normal_block(dtype, |i, x| give(at + i, Scalar::Float(x * std + mean)));
                }
            }
            _ => (0..count).for_each(|at| give(at, self.one(distribution, dtype))),
        }
    }

    /// A block of numbers of the standard normal distribution, each with its index in the block.
    fn normal_block(&mut self, dtype: DType, mut give: impl FnMut(usize, f64)) {
        let fractions: [f64; BLOCK] = std::array::from_fn(|_| self.fraction_for(dtype));
        let (lengths, turns) = fractions.split_at(BLOCK / 2);
        for (i, (length, turn)) in lengths.iter().zip(turns).enumerate() {
            let radius = (-2.0 * (1.0 - length).ln()).sqrt();
            let angle = 2.0 * PI * turn;
            give(i, radius * angle.cos());
            give(i + BLOCK / 2, radius * angle.sin());
        }
    }

    /// One number.
    fn one(&mut self, distribution: Distribution, dtype: DType) -> Scalar {
        match distribution {
            Distribution::Uniform { from, to } if dtype == DType::F64 => {
                Scalar::Float(self.long_fraction() * (to - from) + from)
            }
            Distribution::Uniform { from, to } => {
                let (from, to) = (from as f32, to as f32);
                Scalar::Float(f64::from(self.fraction() * (to - from) + from))
            }
            Distribution::Normal { mean, std } => {
                Scalar::Float(self.standard_normal() * std + mean)
            }
            Distribution::Exponential { rate } => {
                Scalar::Float(-1.0 / rate * (-self.long_fraction()).ln_1p())
            }
            Distribution::Bernoulli { p } => Scalar::Int(i64::from(self.long_fraction() < p)),
            Distribution::Integers { low, range } => {
                let bits = match range < WIDE_RANGE {
                    true => u64::from(self.word()),
                    false => self.long_word(),
                };
                Scalar::Int(low.wrapping_add((bits % range.max(1)) as i64))
            }
        }
    }
}

/// Fills a contiguous tensor with numbers.
pub fn fill_random(out: &mut TensorMut<'_>, generator: &mut Generator, distribution: Distribution) {
    let (dtype, count) = (out.dtype(), out.layout().numel());
    let first = out.layout().offset;
    with_element!(dtype, T => {
        let data = &mut out.data::<T>()[first..][..count];
        generator.draw(distribution, dtype, count, |at, number| data[at] = number.element());
    });
}

/// Draws as many numbers as a tensor of this type takes, and forgets them.
pub fn skip_random(
    generator: &mut Generator,
    distribution: Distribution,
    dtype: DType,
    count: usize,
) {
    generator.draw(distribution, dtype, count, |_, _| {});
}

/// Writes ones with the probabilities in `p`, which has the shape of the contiguous `out`, and zeros.
pub fn fill_bernoulli(out: &mut TensorMut<'_>, generator: &mut Generator, p: &TensorRef<'_>) {
    let count = out.layout().numel();
    let first = out.layout().offset;
    let (mut at, p_dtype) = (p.layout().positions(), p.dtype());
    with_element!(out.dtype(), T => {
        for element in &mut out.data::<T>()[first..][..count] {
            let p = with_element!(p.dtype(), P => p.data::<P>()[at.next().unwrap_or(0)].to_f64());
            *element = T::from_i64(i64::from(generator.fraction_for(p_dtype) < p));
        }
    });
}

/// Writes the integers from 0 on in any order.
pub fn fill_permutation(out: &mut [i64], generator: &mut Generator) {
    for (at, element) in (0..).zip(out.iter_mut()) {
        *element = at;
    }
    for at in 0..out.len().saturating_sub(1) {
        let other = generator.word() as usize % (out.len() - at);
        out.swap(at, at + other);
    }
}

/// Draws as many words as a permutation of so many integers takes.
pub fn skip_permutation(generator: &mut Generator, count: usize) {
    (1..count).for_each(|_| _ = generator.word());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;

    fn drawn(seed: u64, distribution: Distribution, count: usize) -> Vec<f64> {
        let mut generator = Generator::seeded(seed);
        let mut numbers = vec![0.0; count];
        generator.draw(distribution, DType::F32, count, |at, x| {
            numbers[at] = x.element::<f64>();
        });
        numbers
    }

    #[test]
    fn words_are_those_of_the_twister() {
        // The first words of the reference implementation for this seed, and its ten thousandth.
        let mut generator = Generator::seeded(5489);
        assert_eq!(
            [generator.word(), generator.word()],
            [3_499_211_612, 581_869_302]
        );
        (2..9999).for_each(|_| _ = generator.word());
        assert_eq!(generator.word(), 4_123_659_995);
    }

    #[test]
    fn a_generator_goes_on_from_its_state() {
        let mut generator = Generator::seeded(3);
        generator.standard_normal();
        let mut again = Generator::of_state(&generator.state()).unwrap();
        assert_eq!(again, generator);
        for _ in 0..1000 {
            assert_eq!(again.standard_normal(), generator.standard_normal());
        }
        assert!(Generator::of_state(&[0; STATE - 1]).is_none());
        // Whatever is in a state, numbers can be drawn.
        Generator::of_state(&[-1; STATE]).unwrap().standard_normal();
    }

    #[test]
    fn what_is_skipped_is_what_would_be_drawn() {
        let all = [
            Distribution::Uniform {
                from: -1.0,
                to: 2.0,
            },
            Distribution::Normal {
                mean: 1.0,
                std: 2.0,
            },
            Distribution::Exponential { rate: 2.0 },
            Distribution::Bernoulli { p: 0.3 },
            Distribution::Integers { low: -4, range: 9 },
            Distribution::Integers {
                low: 0,
                range: WIDE_RANGE,
            },
        ];
        for distribution in all {
            for (count, dtype) in [(1, DType::F32), (15, DType::F32), (37, DType::F64)] {
                let mut generator = Generator::seeded(9);
                let mut other = generator.clone();
                let layout = Layout::contiguous(&[count]);
                let mut bytes = vec![0; count * dtype.size()];
                let mut out = TensorMut::new(dtype, &layout, &mut bytes).unwrap();
                fill_random(&mut out, &mut generator, distribution);
                skip_random(&mut other, distribution, dtype, count);
                assert_eq!(generator, other, "{distribution:?}");
            }
        }
        let (mut generator, mut other) = (Generator::seeded(1), Generator::seeded(1));
        fill_permutation(&mut [0; 7], &mut generator);
        skip_permutation(&mut other, 7);
        assert_eq!(generator, other);
    }

    #[test]
    fn numbers_have_the_mean_and_the_spread_of_their_distribution() {
        let count = 100_000;
        for (distribution, mean, variance) in [
            (Distribution::Uniform { from: 1.0, to: 4.0 }, 2.5, 0.75),
            (
                Distribution::Normal {
                    mean: -1.0,
                    std: 3.0,
                },
                -1.0,
                9.0,
            ),
            (Distribution::Exponential { rate: 2.0 }, 0.5, 0.25),
            (Distribution::Bernoulli { p: 0.25 }, 0.25, 0.1875),
            (Distribution::Integers { low: 5, range: 4 }, 6.5, 1.25),
        ] {
            let numbers = drawn(11, distribution, count);
            let sum: f64 = numbers.iter().sum();
            let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
            let [of_mean, of_squares] = [sum, squares].map(|sum| sum / count as f64);
            assert!((of_mean - mean).abs() < 0.05, "{distribution:?}: {of_mean}");
            assert!(
                (of_squares / variance - 1.0).abs() < 0.05,
                "{distribution:?}: {of_squares}"
            );
        }
    }

    #[test]
    fn a_permutation_has_every_integer_once() {
        let mut order = [0; 100];
        fill_permutation(&mut order, &mut Generator::seeded(2));
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert!(order.iter().copied().eq(0..100));
    }
}
