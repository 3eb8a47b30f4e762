//! MNIST and what has its form: idx files (LeCun, Cortes, Burges), as they are or packed with gzip.
//!
//! Numbers are big-endian: the images have 2051, their count, 28, 28, then the bytes, row by row; the labels have 2049, their
//! count, then a byte each.

use std::io::Read;
use std::path::Path;

use super::file::{self, Bytes};
use super::{Dataset, Error, Split, Targets};

const ROWS: usize = 28;
const PIXELS: usize = ROWS * ROWS;

/// MNIST from a folder: handwritten digits `[1, 28, 28]` in grey.
///
/// # Errors
///
/// When a file is missing, cannot be read or is not what it should be.
pub fn mnist(folder: impl AsRef<Path>) -> Result<Dataset, Error> {
    let folder = folder.as_ref();
    Ok(Dataset {
        shape: vec![1, ROWS, ROWS],
        classes: (0..10).map(|digit| digit.to_string()).collect(),
        train: split(folder, "train")?,
        test: split(folder, "t10k")?,
    })
}

fn split(folder: &Path, part: &str) -> Result<Split, Error> {
    let pixels = read(folder, &format!("{part}-images-idx3-ubyte"), images)?;
    let records = pixels.len() / PIXELS;
    let labels = read(folder, &format!("{part}-labels-idx1-ubyte"), |bytes, path| labels(bytes, path, records))?;
    Ok(Split::of_bytes(pixels, 255.0, PIXELS, Targets::Labels(labels)))
}

/// Reads a file as it is, or with `.gz`.
fn read<T>(
    folder: &Path,
    name: &str,
    parse: impl FnOnce(Box<dyn Read>, &Path) -> Result<T, Error>,
) -> Result<T, Error> {
    for path in [folder.join(name), folder.join(format!("{name}.gz"))] {
        if let Some(file) = file::open(&path)? {
            return parse(Box::new(file), &path);
        }
    }
    let inside = if folder.is_dir() { "" } else { "a folder with " };
    Err(Error::Missing { path: folder.to_owned(), wanted: format!("{inside}{name} or {name}.gz of mnist") })
}

/// The next number of a header.
fn number(bytes: &mut Bytes<'_>, what: &str) -> Result<usize, Error> {
    let number = bytes.take(4, what)?;
    Ok(number.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
}

/// The next number of a header, which can only be one.
fn expect(bytes: &mut Bytes<'_>, path: &Path, what: &str, wanted: usize) -> Result<(), Error> {
    let offset = bytes.offset();
    match number(bytes, what)? {
        found if found == wanted => Ok(()),
        found => Err(Error::content(path, offset, format!("{what} {wanted}"), found.to_string())),
    }
}

fn images(from: impl Read, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Bytes::new(path, from);
    expect(&mut bytes, path, "the idx number of images,", 2051)?;
    let count = number(&mut bytes, "a count of images")?;
    expect(&mut bytes, path, "a number of rows,", ROWS)?;
    expect(&mut bytes, path, "a number of columns,", ROWS)?;
    if count == 0 {
        return Err(Error::content(path, 4, "at least one image", "0"));
    }
    let pixels = bytes.take(count.saturating_mul(PIXELS), &format!("{count} images"))?;
    bytes.end(&format!("the end behind {count} images"))?;
    Ok(pixels)
}

fn labels(from: impl Read, path: &Path, records: usize) -> Result<Vec<usize>, Error> {
    let mut bytes = Bytes::new(path, from);
    expect(&mut bytes, path, "the idx number of labels,", 2049)?;
    expect(&mut bytes, path, "a label for each image,", records)?;
    let first = bytes.offset();
    let labels = bytes.take(records, &format!("{records} labels"))?;
    bytes.end(&format!("the end behind {records} labels"))?;
    if let Some(place) = labels.iter().position(|&label| label > 9) {
        return Err(Error::content(path, first + place, "a label from 0 to 9", labels[place].to_string()));
    }
    Ok(labels.into_iter().map(usize::from).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Files of as many images as there are labels, the pixels of each all ten times its label.
    fn files(labels: &[u8]) -> [Vec<u8>; 2] {
        let count = (labels.len() as u32).to_be_bytes();
        let mut images = [&[0, 0, 8, 3], &count[..], &[0, 0, 0, 28, 0, 0, 0, 28]].concat();
        images.extend(labels.iter().flat_map(|&label| [10 * label; PIXELS]));
        [images, [&[0, 0, 8, 1], &count[..], labels].concat()]
    }

    #[test]
    fn plain_and_packed_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        let [images, labels] = files(&[3, 1, 4]);
        write("train-images-idx3-ubyte.gz", &packed(&images));
        write("train-labels-idx1-ubyte", &labels);
        let [images, labels] = files(&[5]);
        write("t10k-images-idx3-ubyte", &images);
        let error = mnist(folder.path()).unwrap_err().to_string();
        let wanted = "t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz of mnist";
        assert_eq!(error, format!("{}: not found; looked for {wanted}", folder.path().display()));
        write("t10k-labels-idx1-ubyte.gz", &packed(&labels));
        let data = mnist(folder.path()).unwrap();
        assert_eq!(data.train.labels(), Some(&[3, 1, 4][..]));
        let mut image = [0.0; PIXELS];
        data.train.feed(2, &mut image);
        assert_eq!(image, [40.0 / 255.0; PIXELS]);
    }

    #[track_caller]
    fn refuse<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
        assert_eq!(result.unwrap_err().to_string(), format!("x.gz: at byte {expected}"));
    }

    #[test]
    fn a_wrong_file_is_told_with_the_place() {
        let path = Path::new("x.gz");
        let [good, good_labels] = files(&[3, 1]);
        let images = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            super::images(&packed(&bytes)[..], path)
        };
        refuse(images(&|bytes| bytes[3] = 1), "0: expected the idx number of images, 2051, found 2049");
        refuse(images(&|bytes| bytes[4..8].fill(0)), "4: expected at least one image, found 0");
        refuse(images(&|bytes| bytes[11] = 29), "8: expected a number of rows, 28, found 29");
        refuse(images(&|bytes| bytes.truncate(1_000)), "1000: expected 1568 bytes of 2 images, found only 984");
        refuse(images(&|bytes| bytes.truncate(14)), "14: expected 4 bytes of a number of columns,, found only 2");
        refuse(images(&|bytes| bytes.push(0)), "1584: expected the end behind 2 images, found more bytes");
        let labels = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good_labels.clone();
            change(&mut bytes);
            super::labels(&packed(&bytes)[..], path, 2)
        };
        refuse(labels(&|bytes| bytes[7] = 3), "4: expected a label for each image, 2, found 3");
        refuse(labels(&|bytes| bytes[9] = 10), "9: expected a label from 0 to 9, found 10");
    }

    #[test]
    fn a_damaged_packed_file_is_told() {
        let path = Path::new("x.gz");
        let good = packed(&files(&[3, 1])[0]);
        for bytes in [&b"no gzip file at all"[..], &good[..good.len() / 2], &[]] {
            let error = super::images(bytes, path).unwrap_err();
            assert!(matches!(error, Error::Content { .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_images_or_an_error(
            mut bytes in prop::collection::vec(any::<u8>(), 0..40),
            right in 0_usize..20,
            cut in any::<prop::sample::Index>(),
        ) {
            // The first bytes right, so that the reader comes to the others.
            let [good, good_labels] = files(&[3, 1]);
            for good in [good, good_labels] {
                let right = right.min(bytes.len()).min(good.len());
                bytes[..right].copy_from_slice(&good[..right]);
                let packed = packed(&bytes);
                let cut = &packed[..cut.index(packed.len())];
                for (name, bytes) in [("x", &bytes[..]), ("x.gz", &bytes[..]), ("x.gz", &packed[..]), ("x.gz", cut)] {
                    let _ = images(bytes, Path::new(name));
                    let _ = labels(bytes, Path::new(name), 2);
                }
            }
        }
    }
}
