//! Weights in files, in the format of [safetensors](https://github.com/huggingface/safetensors): 8 bytes that are the length of a
//! header, little-endian; the header, JSON, with the type, the shape and the place of each tensor, and texts about the whole; the
//! tensors.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::{Form, Weights, copies, is_named, len};
use crate::error::{Error, FileProblem, TensorProblem, TensorProblemKind};
use crate::files::write_whole;

/// How weights are written to a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct SaveOptions<'a> {
    /// Texts about the weights, by their keys, beside those that are always written. How the data was normalised, say.
    pub metadata: &'a [(&'a str, &'a str)],
    /// Whether tied weights are written once for each iteration, as PyTorch wants them when it loads strictly; else once, under
    /// index 0. Both are loaded.
    pub tied_copies: bool,
}

/// A file's header and what is behind it.
struct Parsed<'a> {
    header: Metadata,
    data: &'a [u8],
}

impl Parsed<'_> {
    fn bytes(&self, info: &TensorInfo) -> &[u8] {
        // In range: `Metadata` checks that the tensors follow each other from 0 on, and `parse` where the last one ends.
        &self.data[info.data_offsets.0..info.data_offsets.1]
    }
}

/// Reads the header of a whole file. (Not by `SafeTensors`: version 0.8.0 adds what a damaged header says without looking for
/// overflow.)
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Parsed<'a>, Error> {
    let wrong = |problem: String| Error::File {
        path: path.to_owned(),
        problem: FileProblem::Format { wanted: "a safetensors file", problem },
    };
    if bytes.starts_with(b"PK\x03\x04") {
        let problem =
            "it is a zip archive, as `torch.save` writes; `safetensors.torch.save_file` writes what is wanted";
        return Err(wrong(problem.to_owned()));
    }
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(wrong(format!("it has {} bytes", bytes.len())));
    };
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let Some((header, data)) = header else {
        return Err(wrong(format!("its header should have {length} bytes, and {} are there", rest.len())));
    };
    let header: Metadata = serde_json::from_slice(header).map_err(|error| wrong(format!("its header: {error}")))?;
    if header.data_len() != data.len() {
        let problem = format!("its tensors should have {} bytes, and {} are there", header.data_len(), data.len());
        return Err(wrong(problem));
    }
    Ok(Parsed { header, data })
}

/// The texts about the whole file.
pub(crate) fn metadata(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let bytes = fs::read(path).map_err(|error| Error::read(path, &error))?;
    let parsed = parse(path, &bytes)?;
    let texts = parsed.header.metadata().iter().flatten();
    Ok(texts.map(|(key, text)| (key.clone(), text.clone())).collect())
}

/// Reads the weights of a model.
pub(crate) fn read(path: &Path, form: &Form) -> Result<Weights, Error> {
    let bytes = fs::read(path).map_err(|error| Error::read(path, &error))?;
    let parsed = parse(path, &bytes)?;
    let mut weights = Weights::zeros(form);
    let found = fill(&mut weights, form, &parsed, &[]);
    found.whole(path, form)?;
    Ok(weights)
}

/// What a partial loading did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The weights and statistics that the file gave, in the model's order.
    pub loaded: Vec<String>,
    /// Those that it did not, with the reason: the model keeps its own. And what of the file the model does not have.
    pub left: Vec<TensorProblem>,
}

/// Reads those weights of a model that the file has in the same shape under the same name, but for what `fresh` names.
pub(crate) fn read_partial(path: &Path, form: &Form, weights: &mut Weights, fresh: &[&str]) -> Result<Loaded, Error> {
    let bytes = fs::read(path).map_err(|error| Error::read(path, &error))?;
    let parsed = parse(path, &bytes)?;
    let Filled { loaded, problems: left, .. } = fill(weights, form, &parsed, fresh);
    if loaded.is_empty() && !left.is_empty() {
        return Err(Error::File {
            path: path.to_owned(),
            problem: FileProblem::Tensors { model: form.model, problems: left },
        });
    }
    Ok(Loaded { loaded, left })
}

/// A file with more than weights.
pub(crate) struct Beside {
    pub(crate) weights: Weights,
    /// Tensors whose names begin with [`BESIDE`], by the rest of their names.
    pub(crate) lists: BTreeMap<String, Vec<f32>>,
    pub(crate) texts: BTreeMap<String, String>,
}

/// How the names of tensors begin that are no weights.
const BESIDE: &str = "netspec.";

/// Reads the weights of a model and what [`write_beside`] wrote beside them.
pub(crate) fn read_beside(path: &Path, form: &Form) -> Result<Beside, Error> {
    let bytes = fs::read(path).map_err(|error| Error::read(path, &error))?;
    let parsed = parse(path, &bytes)?;
    let mut weights = Weights::zeros(form);
    let mut found = fill(&mut weights, form, &parsed, &[]);
    let mut lists = BTreeMap::new();
    found.problems.retain(|problem| !problem.name.starts_with(BESIDE));
    for (name, info) in parsed.header.tensors() {
        if let Some(name) = name.strip_prefix(BESIDE) {
            match floats(&info.shape, info, parsed.bytes(info)) {
                Ok(values) => drop(lists.insert(name.to_owned(), values)),
                Err(kind) => found.problems.push(TensorProblem { name: format!("{BESIDE}{name}"), kind }),
            }
        }
    }
    found.whole(path, form)?;
    let texts = parsed.header.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect();
    Ok(Beside { weights, lists, texts })
}

/// What of a file agrees with a model, and what does not.
struct Filled {
    loaded: Vec<String>,
    problems: Vec<TensorProblem>,
}

impl Filled {
    /// An error unless everything agrees.
    fn whole(self, path: &Path, form: &Form) -> Result<(), Error> {
        let Filled { problems, .. } = self;
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::File { path: path.to_owned(), problem: FileProblem::Tensors { model: form.model, problems } })
    }
}

/// Fills weights from a file where it agrees with the model, but for what `fresh` names, of which nothing is said.
fn fill(weights: &mut Weights, form: &Form, parsed: &Parsed<'_>, fresh: &[&str]) -> Filled {
    let mut found: BTreeMap<String, &TensorInfo> = parsed.header.tensors().into_iter().collect();
    let (mut loaded, mut problems) = (Vec::new(), Vec::new());
    for tensor in form.tensors {
        for copy in copies(tensor) {
            let in_file = found.remove(&copy.name);
            if fresh.iter().any(|name| is_named(&copy.name, name)) {
                continue;
            }
            let kind = match (in_file, copy.owner) {
                (None, None) => Some(TensorProblemKind::Missing(tensor.shape.to_vec())),
                (None, Some(_)) => None,
                (Some(info), owner) => match floats(tensor.shape, info, parsed.bytes(info)) {
                    Err(kind) => Some(kind),
                    Ok(values) => match owner {
                        None => {
                            weights.values_mut(tensor, copy.offset).copy_from_slice(&values);
                            loaded.push(copy.name.clone());
                            None
                        }
                        // The owner has index 0, and so was read before; if it could not be, it is what is wrong.
                        Some(owner) => {
                            let stored = weights.values(tensor, copy.offset);
                            let differs = stored.iter().zip(&values).any(|(a, b)| a.to_bits() != b.to_bits());
                            let read = !problems.iter().any(|problem: &TensorProblem| problem.name == owner);
                            (differs && read).then_some(TensorProblemKind::Tied(owner))
                        }
                    },
                },
            };
            problems.extend(kind.map(|kind| TensorProblem { name: copy.name, kind }));
        }
    }
    // PyTorch's batch normalisation counts its batches, for an average that netspec does not take.
    found.retain(|name, _| name.rsplit('.').next() != Some("num_batches_tracked"));
    problems.extend(found.into_iter().map(|(name, info)| {
        let kind = TensorProblemKind::Extra(info.shape.clone());
        TensorProblem { name, kind }
    }));
    Filled { loaded, problems }
}

/// The numbers of a tensor as f32, rounded if they are f64.
fn floats(shape: &[usize], info: &TensorInfo, bytes: &[u8]) -> Result<Vec<f32>, TensorProblemKind> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
    }
    if info.shape != shape {
        return Err(TensorProblemKind::Shape { wanted: shape.to_vec(), found: info.shape.clone() });
    }
    Ok(match info.dtype {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F64 => each(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => each(bytes, |bytes| half(u16::from_le_bytes(bytes))),
        // The upper half of an f32.
        Dtype::BF16 => each(bytes, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)),
        other => return Err(TensorProblemKind::Type(other.to_string())),
    })
}

/// A number of 16 bits (IEEE 754 binary16: 1 of sign, 5 of exponent, 10 of fraction).
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction as f32 / 16_777_216.0,
        31 => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// Writes the weights of a model.
pub(crate) fn write(path: &Path, form: &Form, weights: &Weights, options: SaveOptions<'_>) -> Result<(), Error> {
    write_beside(path, form, weights, options, &[])
}

/// Writes the weights of a model and lists beside them, under names that are no weights'.
pub(crate) fn write_beside(
    path: &Path,
    form: &Form,
    weights: &Weights,
    options: SaveOptions<'_>,
    lists: &[(String, &[f32])],
) -> Result<(), Error> {
    let mut about = Map::new();
    // What PyTorch's loaders look for.
    about.insert("format".to_owned(), json!("pt"));
    about.insert("netspec.version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    about.insert("netspec.model".to_owned(), json!(form.model));
    about.insert("netspec.spec".to_owned(), json!(format!("{:016x}", form.spec_hash)));
    for &(key, text) in options.metadata {
        // One's own key does not replace those above.
        about.entry(key).or_insert_with(|| json!(text));
    }
    // A map in the order of its keys, so that the same weights give the same bytes.
    let mut header = BTreeMap::from([("__metadata__".to_owned(), Value::Object(about))]);
    let mut tensors = Vec::new();
    let mut end = 0;
    for tensor in form.tensors {
        for copy in copies(tensor).filter(|copy| options.tied_copies || copy.owner.is_none()) {
            let begin = end;
            end += size_of::<f32>() * len(tensor);
            let info = json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [begin, end] });
            header.insert(copy.name, info);
            tensors.push(weights.values(tensor, copy.offset));
        }
    }
    for (name, values) in lists {
        let begin = end;
        end += size_of_val(*values);
        let info = json!({ "dtype": "F32", "shape": [values.len()], "data_offsets": [begin, end] });
        header.insert(format!("{BESIDE}{name}"), info);
        tensors.push(values);
    }
    let mut header = json!(header).to_string().into_bytes();
    // Tensors begin at a multiple of 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    write_whole(path, |file: &mut BufWriter<_>| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors.into_iter().flatten().try_for_each(|value| file.write_all(&value.to_le_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Fill, Repeat, Tensor};
    use safetensors::SafeTensors;
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// Two separate sets, of which each has a weight tied twice; and a running statistic.
    const TENSORS: &[Tensor] = &[
        Tensor {
            name: "r.*.t.*.w",
            shape: &[2, 1],
            offset: 1,
            repeats: &[Repeat { count: 2, stride: 2 }, Repeat { count: 2, stride: 0 }],
            fill: Fill::Uniform(1.0),
            trainable: true,
        },
        Tensor { name: "b", shape: &[1], offset: 0, repeats: &[], fill: Fill::Uniform(1.0), trainable: true },
        Tensor { name: "n", shape: &[3], offset: 0, repeats: &[], fill: Fill::Constant(1.0), trainable: false },
    ];

    const FORM: Form = Form { model: "Net", spec_hash: 0xabc, tensors: TENSORS, params: 5, statistics: 3 };

    fn folder() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder for tests");
        let path = folder.path().join("net.safetensors");
        (folder, path)
    }

    /// A file as another program writes it.
    fn foreign(path: &Path, tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (name, safetensors::tensor::TensorView::new(*dtype, shape.to_vec(), bytes).expect("a tensor"))
        });
        fs::write(path, safetensors::serialize(views, None).expect("a file")).expect("it can be written");
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn message(path: &Path) -> String {
        let text = read(path, &FORM).expect_err("it is wrong").to_string();
        text.replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn weights_come_back() {
        let (_folder, path) = folder();
        let mut weights = Weights::drawn(&FORM, 1);
        weights.statistics_mut().copy_from_slice(&[f32::MIN_POSITIVE, -0.0, f32::INFINITY]);
        for tied_copies in [false, true] {
            let options = SaveOptions { tied_copies, metadata: &[("mean", "[0.5]"), ("netspec.model", "Other")] };
            write(&path, &FORM, &weights, options).expect("it can be written");
            let back = read(&path, &FORM).expect("it can be read");
            assert_eq!((back.params(), back.statistics()), (weights.params(), weights.statistics()));
            let file = fs::read(&path).expect("it is there");
            write(&path, &FORM, &weights, options).expect("it can be written");
            assert_eq!(fs::read(&path).expect("it is there"), file, "the same bytes");

            let tensors = SafeTensors::deserialize(&file).expect("the format is right");
            let mut names = tensors.names();
            names.sort_unstable();
            let copies = ["b", "n", "r.0.t.0.w", "r.0.t.1.w", "r.1.t.0.w", "r.1.t.1.w"];
            let wanted = copies.into_iter().filter(|name| tied_copies || !name.contains("t.1"));
            assert!(names.into_iter().eq(wanted));
            let second = tensors.tensor("r.1.t.0.w").expect("it is there");
            assert_eq!((second.shape(), second.data()), (&[2, 1][..], &bytes(&weights.params()[3..])[..]));
        }
        let texts = metadata(&path).expect("it can be read");
        let texts: Vec<_> = texts.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let version = env!("CARGO_PKG_VERSION");
        let wanted = [
            ("format", "pt"),
            ("mean", "[0.5]"),
            ("netspec.model", "Net"),
            ("netspec.spec", "0000000000000abc"),
            ("netspec.version", version),
        ];
        assert_eq!(texts, wanted);
    }

    #[test]
    fn files_of_other_programs_are_read() {
        let (_folder, path) = folder();
        let f64s: Vec<u8> = [0.1_f64, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        // 1.5, the smallest and the largest number, by the format's definition.
        let f16s: Vec<u8> = [0x3e00_u16, 0x8001, 0x7bff].iter().flat_map(|value| value.to_le_bytes()).collect();
        foreign(
            &path,
            &[
                ("r.0.t.0.w", Dtype::F64, &[2, 1], f64s.clone()),
                ("r.0.t.1.w", Dtype::F64, &[2, 1], f64s),
                ("r.1.t.0.w", Dtype::F32, &[2, 1], bytes(&[3.0, 4.0])),
                ("b", Dtype::BF16, &[1], vec![0xc0, 0xbf]),
                ("n", Dtype::F16, &[3], f16s),
                ("bn.num_batches_tracked", Dtype::I64, &[], vec![0; 8]),
            ],
        );
        let weights = read(&path, &FORM).expect("it can be read");
        assert_eq!(weights.params(), [-1.5, 0.1, 2.0, 3.0, 4.0]);
        assert_eq!(weights.statistics(), [1.5, -1.0 / 16_777_216.0, 65_504.0]);
    }

    #[test]
    fn halves_are_numbers() {
        let wanted = [(0x0000, 0.0), (0x03ff, 1023.0 / 16_777_216.0), (0x0400, 1.0 / 16_384.0), (0x3c00, 1.0)];
        wanted.into_iter().for_each(|(bits, number)| assert_eq!(half(bits), number));
        assert_eq!((half(0x8000).to_bits(), half(0xfc00)), (0x8000_0000, f32::NEG_INFINITY));
        assert!(half(0x7c01).is_nan());
    }

    #[test]
    fn all_tensors_that_do_not_agree_are_told() {
        let (_folder, path) = folder();
        foreign(
            &path,
            &[
                ("r.0.t.0.w", Dtype::F32, &[2, 1], bytes(&[1.0, 2.0])),
                ("r.0.t.1.w", Dtype::F32, &[2, 1], bytes(&[1.0, -2.0])),
                ("r.1.t.0.w", Dtype::F32, &[1, 2], bytes(&[3.0, 4.0])),
                ("r.1.t.1.w", Dtype::F32, &[2, 1], bytes(&[3.0, 4.0])),
                ("n", Dtype::I32, &[3], vec![0; 12]),
                ("fc.bias", Dtype::F32, &[1], vec![0; 4]),
            ],
        );
        let wanted = "\
FILE does not hold the weights of `Net`:
  `r.0.t.1.w` differs from `r.0.t.0.w`: in the model they are one weight (`tied`)
  `r.1.t.0.w` has shape [1, 2]: the model's is [2, 1]
  `b` is missing: the model has it, of shape [1]
  `n` has elements of type I32: floats are read (F32, F64, F16, BF16)
  `fc.bias` of shape [1] is not in the model";
        assert_eq!(message(&path), wanted);
    }

    #[test]
    fn a_part_of_the_weights_can_be_read() {
        let (_folder, path) = folder();
        foreign(
            &path,
            &[
                ("r.0.t.0.w", Dtype::F32, &[2, 1], bytes(&[1.0, 2.0])),
                ("r.1.t.0.w", Dtype::F32, &[1, 2], bytes(&[3.0, 4.0])),
                ("n", Dtype::F32, &[3], bytes(&[7.0; 3])),
                ("fc.bias", Dtype::F32, &[1], vec![0; 4]),
            ],
        );
        let drawn = Weights::drawn(&FORM, 1);
        let mut weights = drawn.clone();
        let Loaded { loaded, left } = read_partial(&path, &FORM, &mut weights, &[]).expect("a part agrees");
        assert_eq!(loaded, ["r.0.t.0.w", "n"]);
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        let wanted = [
            "`r.1.t.0.w` has shape [1, 2]: the model's is [2, 1]",
            "`b` is missing: the model has it, of shape [1]",
            "`fc.bias` of shape [1] is not in the model",
        ];
        assert_eq!(left, wanted);
        assert_eq!((weights.params()[0], &weights.params()[1..3]), (drawn.params()[0], &[1.0, 2.0][..]));
        assert_eq!((&weights.params()[3..], weights.statistics()), (&drawn.params()[3..], &[7.0; 3][..]));

        let mut weights = drawn.clone();
        let Loaded { loaded, left } = read_partial(&path, &FORM, &mut weights, &["r", "b"]).expect("a part agrees");
        assert_eq!((loaded, left.len()), (vec!["n".to_owned()], 1));
        assert_eq!(weights.params(), drawn.params());
        let error = read_partial(&path, &FORM, &mut weights, &["r", "n"]).expect_err("nothing agrees").to_string();
        assert!(error.contains("does not hold the weights of `Net`"), "{error}");
    }

    #[test]
    fn lists_stand_beside_weights() {
        let (_folder, path) = folder();
        let weights = Weights::drawn(&FORM, 1);
        let lists = [("state.0".to_owned(), &[1.0, -0.0][..]), ("state.1".to_owned(), &[])];
        let options = SaveOptions { metadata: &[("at", "3")], ..SaveOptions::default() };
        write_beside(&path, &FORM, &weights, options, &lists).expect("it can be written");
        let back = read_beside(&path, &FORM).expect("it can be read");
        assert_eq!((back.weights.params(), back.weights.statistics()), (weights.params(), weights.statistics()));
        let found: Vec<_> = back.lists.iter().map(|(name, values)| (name.clone(), &values[..])).collect();
        assert_eq!(found, lists);
        assert_eq!(back.texts["at"], "3");
        // They are no weights.
        assert!(message(&path).contains("`netspec.state.0` of shape [2] is not in the model"));
    }

    #[test]
    fn damaged_files_are_errors() {
        let (_folder, path) = folder();
        assert!(message(&path).starts_with("cannot read FILE: "));
        write(&path, &FORM, &Weights::drawn(&FORM, 1), SaveOptions::default()).expect("it can be written");
        let whole = fs::read(&path).expect("it is there");
        let check = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("it can be written");
            let text = message(&path);
            assert!(text.starts_with("FILE is not a safetensors file, or it is damaged: "), "{text}");
        };
        (0..whole.len()).for_each(|end| check(&whole[..end]));
        check(&[&whole[..], &[0]].concat());
        check(b"PK\x03\x04 and so on");
        check(&[0xff; 64]);
        // Bytes of no meaning, behind a length that fits.
        for seed in 0..200 {
            let mut noise: Vec<u8> = (0..64).map(|place| crate::random::bits(&[seed, place]) as u8).collect();
            noise[..8].copy_from_slice(&(seed % 57).to_le_bytes());
            check(&noise);
        }
        // One changed byte anywhere is another number or an error, never a panic.
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] = changed[place].wrapping_add(1);
            fs::write(&path, changed).expect("it can be written");
            let _ = read(&path, &FORM);
        }
    }

    #[test]
    fn sizes_that_overflow_are_errors() {
        let (_folder, path) = folder();
        // Tensors of 2^60 bytes, the last of one byte less: together 2^64 - 1, which with the header is too much.
        let mut header = String::from("{");
        for part in 0..16_u64 {
            let (begin, len) = (part << 60, (1 << 60) - part / 15);
            let end = begin + len;
            let tensor = format!("\"{part}\":{{\"dtype\":\"U8\",\"shape\":[{len}],\"data_offsets\":[{begin},{end}]}},");
            header.push_str(&tensor);
        }
        header.pop();
        header.push('}');
        let length = (header.len() as u64).to_le_bytes();
        fs::write(&path, [&length, header.as_bytes()].concat()).expect("it can be written");
        let wanted = "its tensors should have 18446744073709551615 bytes, and 0 are there";
        assert!(message(&path).ends_with(wanted), "{}", message(&path));
    }
}
