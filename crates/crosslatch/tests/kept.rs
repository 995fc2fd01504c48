//! Converted weights that are kept in a folder: the next process gets the same results, and whatever
//! else lies there is not believed.

use std::path::{Path, PathBuf};

use crosslatch::ir::Catalogue;
use crosslatch::ir::parse::parse;
use crosslatch::model::{Files, ModelBuilder, WeightContents};
use crosslatch::{Access, Error, Model, Options, Precision, Session, Tensor};

const ROWS: usize = 40;
const COLUMNS: usize = 150;

/// Writes weights that depend on a seed.
fn write_weights(path: &Path, seed: u32) {
    let weights = (0..(ROWS * COLUMNS) as u32).flat_map(|i| {
        let x = ((i ^ seed).wrapping_mul(2654435761) >> 8) as f32 * 1.2e-7 - 1.0;
        // One column is far above the others, so that it is stored apart.
        let factor = if i as usize % COLUMNS == 9 {
            2000.0
        } else {
            1.0
        };
        (factor * x).to_le_bytes()
    });
    std::fs::write(path, weights.collect::<Vec<u8>>()).unwrap();
}

fn open(path: &Path) -> Model {
    let text = format!(
        "program model\ninput %x: f32[1, {COLUMNS}]\nweight %w: f32[{ROWS}, {COLUMNS}]\n\
         state %last: f32[1, {ROWS}]\n\
         %h: f32[1, {ROWS}] = aten::linear(input=%x, weight=%w)\n\
         %new: f32[1, {ROWS}] = aten::copy_(self=%last, src=%h)\n\
         %y: f32[1, {ROWS}] = aten::silu(self=%h)\nreturn \"y\"=%y\n"
    );
    let mut model = ModelBuilder::new(path, Access::Map);
    let file = model.file(path).unwrap();
    let program = parse(&text, Catalogue::builtin()).unwrap();
    let contents = |_: &str, _: &[usize], _: Files<'_>| {
        Ok::<_, Error>(WeightContents::File(file, 0..4 * ROWS * COLUMNS))
    };
    model.method(program, contents).unwrap();
    model.finish()
}

/// What the model computes, and whether its weights came from the folder.
fn run(path: &Path, folder: Option<&Path>, precision: Precision) -> (Vec<f32>, bool) {
    let model = open(path);
    if let Some(folder) = folder {
        model.keep_weights_in(folder);
    }
    let options = Options {
        precision,
        ..Options::default()
    };
    let mut session = Session::new(&model, options).unwrap();
    let x: Vec<f32> = (0..COLUMNS).map(|i| (i as f32 * 0.7).sin()).collect();
    let x = Tensor::from_slice(&[1, COLUMNS], &x).unwrap();
    let y = session.run("model", &[("x", x.view().into())]).unwrap();
    let y = y.get("y").unwrap().to_vec();
    let weights = session.quantized_weights();
    (y, weights.is_some_and(|weights| weights.were_kept()))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn weights_are_converted_once_and_mapped_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("weights"), folder.path().join("a/b"));
    write_weights(&path, 1);
    for precision in Precision::ALL {
        let (plain, _) = run(&path, None, precision);
        for again in [false, true, true] {
            let (y, were_kept) = run(&path, Some(&kept), precision);
            assert_eq!(y, plain, "{precision}");
            assert_eq!(were_kept, again && precision != Precision::F32);
        }
    }
    // One for each precision but f32, and nothing unfinished.
    assert_eq!(files(&kept).len(), Precision::ALL.len() - 1);
}

#[test]
fn weights_of_another_file_are_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("weights"), folder.path().join("kept"));
    write_weights(&path, 1);
    run(&path, Some(&kept), Precision::Int8);
    let times = std::fs::metadata(&path).unwrap().modified().unwrap();
    write_weights(&path, 2);
    // As long, and as old.
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(times))
        .unwrap();
    let (plain, _) = run(&path, None, Precision::Int8);
    assert_eq!(
        run(&path, Some(&kept), Precision::Int8),
        (plain.clone(), false)
    );
    assert_eq!(run(&path, Some(&kept), Precision::Int8), (plain, true));
    assert_eq!(files(&kept).len(), 2);
}

#[test]
fn a_damaged_or_hostile_file_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("weights"), folder.path().join("kept"));
    write_weights(&path, 1);
    for precision in [Precision::Int8, Precision::Int4] {
        let (plain, _) = run(&path, Some(&kept), precision);
        let all = files(&kept);
        let named = |path: &&PathBuf| path.to_string_lossy().contains(precision.name());
        let file = all.iter().find(named).unwrap();
        let good = std::fs::read(file).unwrap();
        let mut bad: Vec<Vec<u8>> = vec![
            Vec::new(),
            good[..15].to_vec(),
            good[..good.len() - 1].to_vec(),
            [&good[..], &[0]].concat(),
        ];
        // Every byte of the header, one at a time, with its bits turned; zeros behind it do not count.
        let used = good[..4096].iter().rposition(|byte| *byte != 0).unwrap();
        for at in 0..=used {
            let mut changed = good.clone();
            changed[at] ^= 0xff;
            bad.push(changed);
        }
        // Lengths that overflow.
        let mut long = good.clone();
        long[16..24].fill(0xff);
        bad.push(long);
        for bytes in bad {
            std::fs::write(file, &bytes).unwrap();
            assert_eq!(run(&path, Some(&kept), precision), (plain.clone(), false));
            assert!(std::fs::read(file).unwrap() == good);
        }
        // Where the weights themselves are changed, results are, and nothing breaks.
        for at in (4096..good.len()).step_by(61) {
            let mut changed = good.clone();
            changed[at] ^= 0xff;
            std::fs::write(file, &changed).unwrap();
            // The indices of columns that are stored apart, among them, are checked.
            run(&path, Some(&kept), precision);
        }
        std::fs::remove_file(file).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_write_is_made_anew() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("weights"), folder.path().join("kept"));
    write_weights(&path, 1);
    let (plain, _) = run(&path, Some(&kept), Precision::Int8);
    let file = files(&kept).remove(0);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(
        run(&path, Some(&kept), Precision::Int8),
        (plain.clone(), false)
    );
    assert_eq!(run(&path, Some(&kept), Precision::Int8), (plain, true));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    write_weights(&path, 1);
    let model = open(&path);
    model.keep_weights_in(&path);
    let options = Options {
        precision: Precision::Int8,
        ..Options::default()
    };
    let error = Session::new(&model, options).err().unwrap();
    assert!(matches!(&error, Error::NotKept { folder, .. } if *folder == path));
    assert!(error.to_string().contains("--cache="), "{error}");
}
