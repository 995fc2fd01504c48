//! Weights in 16 bits give, bit for bit, the results of the same numbers in `f32`.

mod random;

use crosslatch::ir::parse::parse;
use crosslatch::ir::{Catalogue, KernelSet};
use crosslatch::reference::ReferenceSession;
use crosslatch::{Bool, DType, Model, Options, Precision, Session, Tensor, TensorRef};
use half::{bf16, f16};

use random::Random;

/// Weights in each kind of place: looked up, multiplied, both, in a branch, and read by others.
fn text(ty: &str, rows: usize, width: usize, columns: usize) -> String {
    let conversions = WEIGHTS.map(|(name, shape)| {
        let sizes: Vec<usize> = shape(width, columns);
        format!("%{name}_f32: f32{sizes:?} = aten::_to_copy(self=%{name}, dtype=f32)\n")
    });
    let text = format!(
        "program model
input %x: f32[{rows}, {width}]
input %ids: i64[{rows}]
input %flag: bool[]
weight %tied: {ty}[9, {width}]
weight %table: {ty}[9, {width}]
weight %w: {ty}[{columns}, {width}]
weight %bias: {ty}[{columns}]
weight %inner: {ty}[5, {columns}]
weight %factor: {ty}[{columns}]
{}%rows: f32[{rows}, {width}] = aten::embedding(weight=%tied_f32, indices=%ids)
%more: f32[{rows}, {width}] = aten::embedding(weight=%table_f32, indices=%ids)
%a: f32[{rows}, {width}] = aten::add.Tensor(self=%rows, other=%more)
%b: f32[{rows}, {width}] = aten::mul.Tensor(self=%a, other=%x)
%c: f32[{rows}, {columns}] = aten::linear(input=%b, weight=%w_f32, bias=%bias_f32)
%d: f32[{rows}, {columns}] = aten::mul.Tensor(self=%c, other=%factor_f32)
%e: f32[{rows}, 5] = higher_order::cond(pred=%flag, operands={{%d, %inner_f32}}) \
then(%p: f32[{rows}, {columns}], %q: f32[5, {columns}]) {{
    %r: f32[{rows}, 5] = aten::linear(input=%p, weight=%q)
    return %r
}} else(%p: f32[{rows}, {columns}], %q: f32[5, {columns}]) {{
    %r: f32[{rows}, 5] = aten::linear(input=%p, weight=%q)
    %s: f32[{rows}, 5] = aten::neg(self=%r)
    return %s
}}
%scores: f32[{rows}, 9] = aten::linear(input=%b, weight=%tied_f32)
return \"e\"=%e, \"scores\"=%scores
",
        conversions.concat()
    );
    // Weights of type `f32` need no conversion.
    match ty {
        "f32" => text.replace(&conversions.concat(), "").replace("_f32", ""),
        _ => text,
    }
}

type Shape = fn(usize, usize) -> Vec<usize>;

const WEIGHTS: [(&str, Shape); 6] = [
    ("tied", |width, _| vec![9, width]),
    ("table", |width, _| vec![9, width]),
    ("w", |width, columns| vec![columns, width]),
    ("bias", |_, columns| vec![columns]),
    ("inner", |_, columns| vec![5, columns]),
    ("factor", |_, columns| vec![columns]),
];

/// The numbers as they are stored, and what they are in `f32`.
fn stored(dtype: DType, shape: &[usize], random: &mut Random) -> [Tensor; 2] {
    let numel: usize = shape.iter().product();
    let numbers = (0..numel).map(|_| (random.next() % 2001) as f32 / 1000.0 - 1.0);
    match dtype {
        DType::F16 => {
            let halves: Vec<f16> = numbers.map(f16::from_f32).collect();
            let widened: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
            [
                Tensor::from_slice(shape, &halves),
                Tensor::from_slice(shape, &widened),
            ]
        }
        _ => {
            let halves: Vec<bf16> = numbers.map(bf16::from_f32).collect();
            let widened: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
            [
                Tensor::from_slice(shape, &halves),
                Tensor::from_slice(shape, &widened),
            ]
        }
    }
    .map(Result::unwrap)
}

/// The bytes of both outputs, from the plan and from the interpreter.
fn outputs(model: &Model, inputs: &[(&str, TensorRef<'_>)], options: Options) -> Vec<Vec<u8>> {
    let mut session = Session::new(model, options).unwrap();
    let given: Vec<_> = inputs
        .iter()
        .map(|(name, t)| (*name, (*t).into()))
        .collect();
    let planned = session.run("model", &given).unwrap();
    let mut all: Vec<Vec<u8>> = planned.iter().map(|(_, t)| t.bytes().to_vec()).collect();
    let mut reference = ReferenceSession::with_options(model, options).unwrap();
    let interpreted = reference.run("model", inputs).unwrap();
    all.extend(interpreted.iter().map(|(_, t)| t.bytes().to_vec()));
    all
}

#[test]
fn results_are_those_of_the_widened_weights_in_every_precision() {
    let mut random = Random(11);
    for (rows, width, columns) in [
        (1, 1, 1),
        (1, 65, 130),
        (3, 33, 17),
        (17, 64, 9),
        (40, 77, 131),
    ] {
        for dtype in [DType::F16, DType::BF16] {
            let made = WEIGHTS
                .map(|(name, shape)| (name, stored(dtype, &shape(width, columns), &mut random)));
            let model = |ty: &str, which: usize| {
                let program = parse(&text(ty, rows, width, columns), Catalogue::builtin());
                let contents = made
                    .each_ref()
                    .map(|(name, both)| (*name, both[which].clone()));
                Model::in_memory(program.unwrap(), &contents).unwrap()
            };
            let (halves, floats) = (model(dtype.name(), 0), model("f32", 1));
            // The large ones lie in memory as they were given.
            let in_memory = |name: &str| {
                let method = &halves.methods()[0];
                let slot = method.program.slots.iter().position(|s| s.name == name);
                method.bindings[slot.unwrap()].as_ref().unwrap().stored
            };
            for name in ["tied", "table", "w", "inner"] {
                assert_eq!(in_memory(name), dtype, "{name}");
            }
            assert_eq!([in_memory("bias"), in_memory("factor")], [DType::F32; 2]);

            let x = random.tensor(DType::F32, &[rows, width], 0);
            let ids = random.tensor(DType::I64, &[rows], 9);
            for flag in [true, false] {
                let flag = Tensor::scalar(Bool::new(flag));
                let inputs = [("x", x.view()), ("ids", ids.view()), ("flag", flag.view())];
                for precision in Precision::ALL {
                    for kernels in [KernelSet::Fast, KernelSet::Plain] {
                        let options = Options {
                            precision,
                            kernels,
                            ..Options::default()
                        };
                        let got = outputs(&halves, &inputs, options);
                        let expected = outputs(&floats, &inputs, options);
                        let what = format!("{dtype} {precision} {kernels:?} {rows} {width}");
                        assert!(got == expected, "{what}");
                        assert_eq!(got[..2], got[2..], "{what}");
                    }
                }
            }
        }
    }
}
