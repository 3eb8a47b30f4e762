//! Anyone's data: a safetensors file.
//!
//! The format is 8 bytes (little-endian) with the length of a header, the header in JSON, then the tensors' bytes, little-endian:
//! <https://huggingface.co/docs/safetensors>. It is read here in a few lines of our own since the crate of that name, 0.8, adds up a
//! hostile header's offsets without a check.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Dataset, Error, Split, Targets, file};

/// Anyone's data from a safetensors file:
///
/// | tensor | elements | shape |
/// | --- | --- | --- |
/// | `input` | `U8` (a byte is divided by 255) or `F32` | `[records, …]` |
/// | `target` | integers of any kind: the class of each record | `[records]` |
/// | | or the classes of each position of a map, `[h, w]` say | `[records, h, w]` |
/// | | or `F32`: the values that are wanted | `[records, …]` |
/// | `test_input`, `test_target` | the same, to test with; when they are absent, the records to train with are tested with too | |
///
/// # Errors
///
/// When the file is missing, cannot be read or is not what it should be; with `classes`, also when a label is not below that.
pub fn safetensors(path: impl AsRef<Path>, classes: Option<usize>) -> Result<Dataset, Error> {
    let path = path.as_ref();
    let wanted = || Error::Missing { path: path.to_owned(), wanted: "a safetensors file".to_owned() };
    let bytes = file::read(path)?.ok_or_else(wanted)?;
    File::parse(path, &bytes)?.dataset(classes)
}

/// A file whose header was read.
struct File<'a> {
    path: &'a Path,
    header: Map<String, Value>,
    /// Where the tensors' bytes begin.
    start: usize,
    data: &'a [u8],
}

struct Tensor<'a> {
    /// Where it stands in the file.
    offset: usize,
    kind: &'a str,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

impl<'a> File<'a> {
    fn parse(path: &'a Path, bytes: &'a [u8]) -> Result<File<'a>, Error> {
        let wrong = |offset, wanted: &str, found: String| Error::content(path, offset, wanted, found);
        let Some((size, rest)) = bytes.split_first_chunk() else {
            return Err(wrong(0, "the 8 bytes of a header's length", format!("{} bytes", bytes.len())));
        };
        let size = u64::from_le_bytes(*size);
        let Some((header, data)) = usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size)) else {
            return Err(wrong(0, "the length of a header", format!("{size}, with {} bytes behind it", rest.len())));
        };
        let header: Map<String, Value> =
            serde_json::from_slice(header).map_err(|error| wrong(8, "a header in JSON", format!("none ({error})")))?;
        let file = File { path, start: 8 + size as usize, header, data };
        // A file that was cut is told even where it is cut behind the tensors that are read; so is one with more bytes.
        let names = file.header.keys().filter(|name| *name != "__metadata__");
        let end = names.map(|name| file.range(name).map(|(_, end)| end)).try_fold(0, |most, end| Ok(end?.max(most)))?;
        if end != data.len() {
            let found = format!("{} bytes", data.len());
            return Err(wrong(file.start, &format!("{end} bytes of tensors, as the header says"), found));
        }
        Ok(file)
    }

    /// An error of the header.
    fn header_error(&self, name: &str, wanted: &str) -> Error {
        let found = self.header.get(name).map_or("nothing".to_owned(), |entry| format!("`{entry}`"));
        Error::content(self.path, 8, format!("{wanted} of the tensor `{name}` in the header"), found)
    }

    /// Where a tensor's bytes begin and end, from the header's end on.
    fn range(&self, name: &str) -> Result<(usize, usize), Error> {
        let offsets = self.header.get(name).and_then(|entry| numbers(&entry["data_offsets"]));
        match offsets.as_deref() {
            Some(&[begin, end]) if begin <= end => Ok((begin, end)),
            _ => Err(self.header_error(name, "the two `data_offsets`")),
        }
    }

    fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error> {
        let Some(entry) = self.header.get(name) else {
            let names: Vec<_> = self.header.keys().map(String::as_str).filter(|name| *name != "__metadata__").collect();
            let found = if names.is_empty() { "no tensor".to_owned() } else { names.join(", ") };
            return Err(Error::content(self.path, 8, format!("a tensor `{name}`"), found));
        };
        let (begin, end) = self.range(name)?;
        let shape = numbers(&entry["shape"]).ok_or_else(|| self.header_error(name, "the `shape`"))?;
        let kind = entry["dtype"].as_str().ok_or_else(|| self.header_error(name, "the `dtype`"))?;
        let bytes =
            self.data.get(begin..end).ok_or_else(|| self.header_error(name, "`data_offsets` inside the file"))?;
        Ok(Tensor { offset: self.start + begin, kind, shape, bytes })
    }

    fn dataset(&self, classes: Option<usize>) -> Result<Dataset, Error> {
        let (shape, train) = self.split("input", "target", classes)?;
        let has_test = ["test_input", "test_target"].iter().any(|name| self.header.contains_key(*name));
        let test = if has_test {
            let (test_shape, test) = self.split("test_input", "test_target", classes)?;
            if test_shape != shape {
                return Err(self.header_error("test_input", &format!("a record's shape {shape:?}, as in `input`,")));
            }
            let is_alike = match (&train.targets, &test.targets) {
                (Targets::Values { each: a, .. }, Targets::Values { each: b, .. }) => a == b,
                (Targets::LabelMaps { each: a, .. }, Targets::LabelMaps { each: b, .. }) => a == b,
                (a, b) => matches!((a, b), (Targets::Labels(_), Targets::Labels(_))),
            };
            if !is_alike {
                return Err(self.header_error("test_target", "the kind and shape of `target`, again"));
            }
            test
        } else {
            train.clone()
        };
        Ok(Dataset { shape, classes: Vec::new(), train, test })
    }

    /// The shape of a record, and the records.
    fn split(&self, input: &str, target: &str, classes: Option<usize>) -> Result<(Vec<usize>, Split), Error> {
        let inputs = self.tensor(input)?;
        let (records, shape) = match inputs.shape.split_first() {
            Some((&records, shape)) if !inputs.shape.contains(&0) => (records, shape.to_vec()),
            _ => return Err(self.header_error(input, "a shape `[records, …]` without 0")),
        };
        let targets = self.tensor(target)?;
        if targets.shape.first() != Some(&records) || targets.shape.contains(&0) {
            return Err(self.header_error(target, &format!("a shape `[{records}, …]`")));
        }
        // Sizes are multiplied once their elements are there: then the product of all is what the file has bytes for.
        let targets = match targets.kind {
            "F32" => {
                let values = self.floats(target, &targets)?;
                Targets::Values { values, each: targets.shape[1..].iter().product() }
            }
            _ => {
                let labels = self.labels(target, &targets, classes)?;
                match targets.shape[1..].iter().product() {
                    _ if targets.shape.len() == 1 => Targets::Labels(labels),
                    each => Targets::LabelMaps { labels, each },
                }
            }
        };
        let split = match inputs.kind {
            "U8" => {
                let bytes = self.elements(input, &inputs, u8::from_le_bytes)?;
                Split::of_bytes(bytes, 255.0, shape.iter().product(), targets)
            }
            "F32" => Split::of_floats(self.floats(input, &inputs)?, shape.iter().product(), targets),
            _ => return Err(self.header_error(input, "a `dtype` U8 or F32")),
        };
        Ok((shape, split))
    }

    /// A tensor's elements, as many as its shape says.
    fn elements<T, const N: usize>(
        &self,
        name: &str,
        tensor: &Tensor<'_>,
        of: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Error> {
        let (elements, rest) = tensor.bytes.as_chunks();
        let count = tensor.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        if count != Some(elements.len()) || !rest.is_empty() {
            return Err(self.header_error(name, "as many elements in `data_offsets` as in `shape`"));
        }
        Ok(elements.iter().map(|&bytes| of(bytes)).collect())
    }

    fn floats(&self, name: &str, tensor: &Tensor<'_>) -> Result<Vec<f32>, Error> {
        let floats = self.elements(name, tensor, f32::from_le_bytes)?;
        match floats.iter().position(|value| !value.is_finite()) {
            None => Ok(floats),
            Some(place) => {
                let wanted = format!("a finite number in `{name}`");
                Err(Error::content(self.path, tensor.offset + 4 * place, wanted, floats[place].to_string()))
            }
        }
    }

    fn labels(&self, name: &str, tensor: &Tensor<'_>, classes: Option<usize>) -> Result<Vec<usize>, Error> {
        let labels: Vec<i128> = match tensor.kind {
            "U8" => self.elements(name, tensor, |bytes| u8::from_le_bytes(bytes).into())?,
            "I8" => self.elements(name, tensor, |bytes| i8::from_le_bytes(bytes).into())?,
            "U16" => self.elements(name, tensor, |bytes| u16::from_le_bytes(bytes).into())?,
            "I16" => self.elements(name, tensor, |bytes| i16::from_le_bytes(bytes).into())?,
            "U32" => self.elements(name, tensor, |bytes| u32::from_le_bytes(bytes).into())?,
            "I32" => self.elements(name, tensor, |bytes| i32::from_le_bytes(bytes).into())?,
            "U64" => self.elements(name, tensor, |bytes| u64::from_le_bytes(bytes).into())?,
            "I64" => self.elements(name, tensor, |bytes| i64::from_le_bytes(bytes).into())?,
            _ => return Err(self.header_error(name, "a `dtype` of integers or F32")),
        };
        let width = tensor.bytes.len() / labels.len().max(1);
        let wanted = || match classes {
            Some(classes) => format!("a label from 0 to {} in `{name}`", classes.saturating_sub(1)),
            None => format!("a label of 0 or more in `{name}`"),
        };
        let label = |(place, &label): (usize, &i128)| {
            let is_class = |label: &usize| classes.is_none_or(|classes| *label < classes);
            usize::try_from(label)
                .ok()
                .filter(is_class)
                .ok_or_else(|| Error::content(self.path, tensor.offset + place * width, wanted(), label.to_string()))
        };
        labels.iter().enumerate().map(label).collect()
    }
}

/// A list of sizes or offsets.
fn numbers(list: &Value) -> Option<Vec<usize>> {
    list.as_array()?.iter().map(|number| usize::try_from(number.as_u64()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file of tensors: name, kind, shape, bytes.
    fn file(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
        let mut data = Vec::new();
        let mut header = Map::new();
        for &(name, kind, shape, bytes) in tensors {
            let offsets = [data.len(), data.len() + bytes.len()];
            header
                .insert(name.to_owned(), serde_json::json!({ "dtype": kind, "shape": shape, "data_offsets": offsets }));
            data.extend_from_slice(bytes);
        }
        header.insert("__metadata__".to_owned(), serde_json::json!({ "by": "a test" }));
        let header = Value::Object(header).to_string();
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
    }

    fn parse(bytes: &[u8]) -> Result<Dataset, Error> {
        File::parse(Path::new("x"), bytes)?.dataset(Some(8))
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn bytes_with_labels() {
        let bytes = file(&[
            ("input", "U8", &[2, 1, 2], &[0, 255, 51, 102]),
            ("target", "I64", &[2], &[1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]),
        ]);
        let data = parse(&bytes).unwrap();
        assert_eq!((&data.shape[..], data.train.labels()), (&[1, 2][..], Some(&[1, 7][..])));
        let mut record = [0.0; 2];
        data.test.feed(1, &mut record);
        assert_eq!(record, [0.2, 0.4], "the records to train with are tested with");
    }

    #[test]
    fn numbers_with_values_and_a_test_of_their_own() {
        let bytes = file(&[
            ("input", "F32", &[1, 2], &floats(&[1.5, -2.0])),
            ("target", "F32", &[1, 3], &floats(&[1.0, 2.0, 3.0])),
            ("test_input", "F32", &[2, 2], &floats(&[0.0, 1.0, 2.0, 3.0])),
            ("test_target", "F32", &[2, 3], &floats(&[4.0; 6])),
        ]);
        let data = parse(&bytes).unwrap();
        assert_eq!(data.train.values(), Some((&[1.0, 2.0, 3.0][..], 3)));
        assert_eq!(data.test.records(), 2);
        let mut record = [0.0; 2];
        data.test.feed(1, &mut record);
        assert_eq!(record, [2.0, 3.0]);
    }

    #[test]
    fn labels_of_maps() {
        let tensors = |name_of_test, labels: &[u8]| {
            let target: (&str, &str, &[usize], &[u8]) = ("target", "U8", &[2, 1, 3], labels);
            let test = (name_of_test, "U8", &[1][..], &[0][..]);
            let inputs = ("input", "U8", &[2, 1, 1, 3][..], &[0; 6][..]);
            file(&[inputs, target, ("test_input", "U8", &[1, 1, 1, 3], &[0; 3]), test])
        };
        let bytes = file(&[("input", "U8", &[2, 1, 1, 3], &[0; 6]), ("target", "U8", &[2, 1, 3], &[0, 1, 2, 3, 4, 7])]);
        let data = parse(&bytes).unwrap();
        assert_eq!(data.train.label_maps(), Some((&[0, 1, 2, 3, 4, 7][..], 3)));
        assert_eq!((data.train.records(), data.train.labels(), data.train.values()), (2, None, None));
        let other = tensors("test_target", &[0; 6]);
        refuse(&other, "8", "expected the kind and shape of `target`, again of the tensor `test_target`");
    }

    #[track_caller]
    fn refuse(bytes: &[u8], place: &str, words: &str) {
        let error = parse(bytes).unwrap_err().to_string();
        assert!(error.starts_with(&format!("x: at byte {place}: ")) && error.contains(words), "{error}");
    }

    #[test]
    fn a_wrong_file_is_told_with_the_place() {
        let input: (&str, &str, &[usize], &[u8]) = ("input", "U8", &[2, 1], &[0, 1]);
        let good = file(&[input, ("target", "U8", &[2], &[3, 4])]);
        assert!(parse(&good).is_ok());
        let start = good.len() - 4;
        refuse(&good[..5], "0", "expected the 8 bytes of a header's length, found 5 bytes");
        refuse(&good[..20], "0", "expected the length of a header, found");
        refuse(
            &good[..good.len() - 1],
            &start.to_string(),
            "expected 4 bytes of tensors, as the header says, found 3 bytes",
        );
        refuse(&[&good[..], &[0]].concat(), &start.to_string(), "found 5 bytes");
        refuse(b"\x02\0\0\0\0\0\0\0[]", "8", "expected a header in JSON");
        refuse(&file(&[input]), "8", "expected a tensor `target`, found input");
        refuse(&file(&[]), "8", "expected a tensor `input`, found no tensor");
        let target = |kind, shape: &[usize], bytes: &[u8]| file(&[input, ("target", kind, shape, bytes)]);
        refuse(&target("U8", &[3], &[0; 3]), "8", "expected a shape `[2, …]` of the tensor `target`");
        refuse(&target("U8", &[2], &[0; 3]), "8", "as many elements");
        refuse(&target("U8", &[2, 2], &[0; 3]), "8", "as many elements");
        refuse(&target("F16", &[2], &[0; 4]), "8", "expected a `dtype` of integers or F32");
        let start = |bytes: &[u8], back: usize| (bytes.len() - back).to_string();
        let negative = target("I16", &[2], &[0, 0, 255, 255]);
        refuse(&negative, &start(&negative, 2), "expected a label from 0 to 7 in `target`, found -1");
        let beyond = target("U8", &[2], &[8, 0]);
        refuse(&beyond, &start(&beyond, 2), "expected a label from 0 to 7 in `target`, found 8");
        let infinite = target("F32", &[2, 1], &floats(&[0.0, f32::NAN]));
        refuse(&infinite, &start(&infinite, 4), "expected a finite number in `target`, found NaN");
        refuse(&file(&[("input", "U8", &[0, 2], &[]), ("target", "U8", &[0], &[])]), "8", "without 0");
        refuse(&file(&[("input", "I8", &[1], &[1]), ("target", "U8", &[1], &[0])]), "8", "a `dtype` U8 or F32");
        let test = |shape: &[usize], kind| {
            let target = ("target", "U8", &[2][..], &[3, 4][..]);
            file(&[input, target, ("test_input", "U8", shape, &[1; 4]), ("test_target", kind, &[1], &[0; 4][..])])
        };
        refuse(&test(&[1, 4], "F32"), "8", "expected a record's shape [1], as in `input`");
        refuse(&test(&[4, 1], "F32"), "8", "expected a shape `[4, …]` of the tensor `test_target`");
    }

    #[test]
    fn hostile_sizes_are_refused() {
        for (shape, offsets) in [
            ("[1,18446744073709551615]", "[0,18446744073709551615]"),
            ("[4294967296,4294967296]", "[0,1]"),
            ("[1,1]", "[1,0]"),
            ("[1,1]", "[0,-1]"),
            ("[1,1.5]", "[0,1]"),
            ("1", "[0,1]"),
            ("[]", "[0,1]"),
        ] {
            let header = format!(
                r#"{{"input":{{"dtype":"U8","shape":{shape},"data_offsets":{offsets}}},"target":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#
            );
            let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0]].concat();
            assert!(parse(&bytes).is_err(), "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_data_or_an_error(
            header in "(\\PC{0,20}|\\{\"(input|target)\":\\{(\"(dtype|shape|data_offsets)\":(\"U8\"|\\[[0-9],?[0-9]?\\])?,?){0,3}\\}?\\}?)",
            data in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
            let _ = parse(&bytes);
            let _ = parse(&data);
        }

        #[test]
        fn any_change_of_a_file_is_data_or_an_error(place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0_usize..4) {
            let mut bytes = file(&[("input", "F32", &[2, 1], &floats(&[0.5; 2])), ("target", "U8", &[2], &[3, 4])]);
            let place = place.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(bytes.len() - cut);
            let _ = parse(&bytes);
        }
    }
}
