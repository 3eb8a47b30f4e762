//! CIFAR-10 and CIFAR-100, the binary versions (Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009).
//!
//! A file is records, with nothing between: the label (for CIFAR-100 the coarse label, then the fine one), then 1,024 red, 1,024
//! green and 1,024 blue bytes. How many it has follows from its length, so parts of the official files can be read as well.

use std::path::{Path, PathBuf};

use super::{Dataset, Error, Split, Targets, file};

/// The classes of CIFAR-10, by label.
pub const CIFAR10: &[&str] =
    &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The classes of CIFAR-100, by fine label.
#[rustfmt::skip]
pub const CIFAR100: &[&str] = &[
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy", "bridge", "bus",
    "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
    "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo",
    "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse",
    "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];

const PIXELS: usize = 3 * 32 * 32;

/// One of the two, and where its files are.
struct Layout {
    name: &'static str,
    classes: &'static [&'static str],
    /// The label bytes of a record: how many values each has, and what it is called. The last one counts.
    labels: &'static [(u8, &'static str)],
    /// A file that may be there, with the names of the classes.
    names: &'static str,
    train: &'static [&'static str],
    test: &'static str,
}

static LAYOUT10: Layout = Layout {
    name: "cifar10",
    classes: CIFAR10,
    labels: &[(10, "label")],
    names: "batches.meta.txt",
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: "test_batch.bin",
};

static LAYOUT100: Layout = Layout {
    name: "cifar100",
    classes: CIFAR100,
    labels: &[(20, "coarse label"), (100, "fine label")],
    names: "fine_label_names.txt",
    train: &["train.bin"],
    test: "test.bin",
};

/// CIFAR-10 from a folder: colour photographs `[3, 32, 32]` in ten classes, or in those of `classes`, renumbered in this order.
///
/// # Errors
///
/// When a file is missing, cannot be read or is not what it should be, and when a class is unknown or has no record.
pub fn cifar10(folder: impl AsRef<Path>, classes: &[&str]) -> Result<Dataset, Error> {
    LAYOUT10.load(folder.as_ref(), classes)
}

/// CIFAR-100 from a folder: colour photographs `[3, 32, 32]` in a hundred classes (the fine labels), or in those of `classes`,
/// renumbered in this order.
///
/// # Errors
///
/// As for [`cifar10`].
pub fn cifar100(folder: impl AsRef<Path>, classes: &[&str]) -> Result<Dataset, Error> {
    LAYOUT100.load(folder.as_ref(), classes)
}

impl Layout {
    fn load(&self, folder: &Path, classes: &[&str]) -> Result<Dataset, Error> {
        let chosen = self.chosen(classes)?;
        let names: Vec<&str> = self.train.iter().copied().chain([self.test]).collect();
        file::find(folder, &names, self.name)?;
        let path = folder.join(self.names);
        if let Some(text) = file::read(&path)? {
            self.check_names(&path, &text)?;
        }
        let train: Vec<PathBuf> = self.train.iter().map(|name| folder.join(name)).collect();
        let names = if classes.is_empty() { self.classes } else { classes };
        Ok(Dataset {
            shape: vec![3, 32, 32],
            classes: names.iter().map(|&name| name.to_owned()).collect(),
            train: self.split(&train, &chosen, classes)?,
            test: self.split(&[folder.join(self.test)], &chosen, classes)?,
        })
    }

    /// The new label of each official one; None for classes that are left out.
    fn chosen(&self, classes: &[&str]) -> Result<Vec<Option<usize>>, Error> {
        if classes.is_empty() {
            return Ok((0..self.classes.len()).map(Some).collect());
        }
        let mut chosen = vec![None; self.classes.len()];
        for (label, class) in (0..).zip(classes) {
            let Some(official) = self.classes.iter().position(|name| name == class) else {
                let all = self.classes.join(", ");
                return Err(Error::Unfit(format!("{} has no class `{class}`; its classes: {all}", self.name)));
            };
            if chosen[official].replace(label).is_some() {
                return Err(Error::Unfit(format!("the class `{class}` of {} is chosen twice", self.name)));
            }
        }
        Ok(chosen)
    }

    /// The official names, one a line: another file with this name is another data set.
    fn check_names(&self, path: &Path, text: &[u8]) -> Result<(), Error> {
        let mut offset = 0;
        let mut lines = text.split(|&byte| byte == b'\n');
        for name in self.classes {
            let line = lines.next().unwrap_or_default();
            if line.trim_ascii() != name.as_bytes() {
                let found = String::from_utf8_lossy(line.trim_ascii());
                return Err(Error::content(path, offset, format!("the class `{name}`"), format!("`{found}`")));
            }
            offset += line.len() + 1;
        }
        for line in lines {
            if !line.trim_ascii().is_empty() {
                let wanted = format!("the end behind {} classes", self.classes.len());
                return Err(Error::content(path, offset, wanted, format!("`{}`", String::from_utf8_lossy(line))));
            }
            offset += line.len() + 1;
        }
        Ok(())
    }

    /// The records of some files. Each of `classes` must have one.
    fn split(&self, files: &[PathBuf], chosen: &[Option<usize>], classes: &[&str]) -> Result<Split, Error> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for path in files {
            let wanted = || Error::Missing { path: path.clone(), wanted: format!("a file of {}", self.name) };
            let bytes = file::read(path)?.ok_or_else(wanted)?;
            self.records(path, &bytes, chosen, &mut pixels, &mut labels)?;
        }
        for (label, class) in (0..).zip(classes) {
            if !labels.contains(&label) {
                let file = files.last().map_or(Path::new(""), PathBuf::as_path);
                let found = format!("none among {} of the chosen classes", labels.len());
                return Err(Error::content(file, 0, format!("records of the class `{class}`"), found));
            }
        }
        Ok(Split::of_bytes(pixels, 255.0, PIXELS, Targets::Labels(labels)))
    }

    /// Takes the records of the chosen classes out of a file's bytes.
    fn records(
        &self,
        path: &Path,
        bytes: &[u8],
        chosen: &[Option<usize>],
        pixels: &mut Vec<u8>,
        labels: &mut Vec<usize>,
    ) -> Result<(), Error> {
        let size = self.labels.len() + PIXELS;
        let records = bytes.chunks_exact(size);
        let rest = records.remainder().len();
        if rest > 0 || bytes.is_empty() {
            let wanted = format!("a whole record of {size} bytes");
            let found = if rest > 0 { format!("{rest} bytes") } else { "an empty file".to_owned() };
            return Err(Error::content(path, bytes.len() - rest, wanted, found));
        }
        for (index, record) in records.enumerate() {
            let (head, image) = record.split_at(self.labels.len());
            for (place, (&label, (count, name))) in head.iter().zip(self.labels).enumerate() {
                if label >= *count {
                    let wanted = format!("a {name} from 0 to {}", count - 1);
                    return Err(Error::content(path, index * size + place, wanted, label.to_string()));
                }
            }
            if let Some(label) = head.last().and_then(|&label| chosen[usize::from(label)]) {
                labels.push(label);
                pixels.extend_from_slice(image);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn record(labels: &[u8], pixel: u8) -> Vec<u8> {
        let mut record = labels.to_vec();
        record.resize(labels.len() + PIXELS, pixel);
        record
    }

    /// A folder of CIFAR-10 with one record of each class in every file, its pixels all ten times its label.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let file: Vec<u8> = (0..10).flat_map(|label| record(&[label], 10 * label)).collect();
        for name in LAYOUT10.train.iter().chain([&LAYOUT10.test]) {
            fs::write(folder.path().join(name), &file).unwrap();
        }
        folder
    }

    fn first_pixel(split: &Split, record: usize) -> f32 {
        let mut image = vec![0.0; PIXELS];
        split.feed(record, &mut image);
        image[0]
    }

    #[test]
    fn classes_select_and_renumber_in_their_order() {
        let folder = folder();
        let all = cifar10(folder.path(), &[]).unwrap();
        assert_eq!((all.train.records(), all.test.records(), all.classes.len()), (50, 10, 10));
        let two = cifar10(folder.path(), &["bird", "airplane"]).unwrap();
        assert_eq!(two.classes, ["bird", "airplane"]);
        assert_eq!(two.test.labels(), Some(&[1, 0][..]), "in the file an airplane stands first");
        assert_eq!(two.train.labels().unwrap(), [1, 0].repeat(5));
        assert_eq!((first_pixel(&two.test, 0), first_pixel(&two.test, 1)), (0.0, 20.0 / 255.0));
    }

    #[test]
    fn unknown_and_repeated_classes_are_refused() {
        let error = |classes: &[&str]| cifar10("nowhere", classes).unwrap_err().to_string();
        assert!(error(&["plane"]).starts_with("cifar10 has no class `plane`; its classes: airplane, automobile"));
        assert_eq!(error(&["bird", "bird"]), "the class `bird` of cifar10 is chosen twice");
    }

    #[test]
    fn a_missing_folder_or_file_says_what_was_looked_for() {
        let folder = folder();
        let nowhere = folder.path().join("nowhere");
        let expected = format!(
            "{}: not found; looked for a folder with data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, \
             data_batch_5.bin, test_batch.bin of cifar10",
            nowhere.display()
        );
        assert_eq!(cifar10(nowhere, &[]).unwrap_err().to_string(), expected);
        fs::remove_file(folder.path().join("data_batch_3.bin")).unwrap();
        let expected = format!("{}: not found; looked for data_batch_3.bin of cifar10", folder.path().display());
        assert_eq!(cifar10(folder.path(), &[]).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_wrong_file_is_told_with_the_place() {
        let cases = [
            (vec![0; 3072], "at byte 0: expected a whole record of 3073 bytes, found 3072 bytes"),
            (Vec::new(), "at byte 0: expected a whole record of 3073 bytes, found an empty file"),
            ([record(&[1], 0), vec![7]].concat(), "at byte 3073: expected a whole record of 3073 bytes, found 1 bytes"),
            ([record(&[1], 0), record(&[10], 0)].concat(), "at byte 3073: expected a label from 0 to 9, found 10"),
        ];
        for (bytes, expected) in cases {
            let folder = folder();
            let path = folder.path().join("data_batch_2.bin");
            fs::write(&path, bytes).unwrap();
            let error = cifar10(folder.path(), &[]).unwrap_err().to_string();
            assert_eq!(error, format!("{}: {expected}", path.display()));
        }
    }

    #[test]
    fn the_names_of_the_classes_are_checked() {
        let folder = folder();
        let path = folder.path().join("batches.meta.txt");
        fs::write(&path, CIFAR10.join("\r\n") + "\n\n").unwrap();
        assert!(cifar10(folder.path(), &[]).is_ok());
        fs::write(&path, "airplane\ncar\n").unwrap();
        let error = cifar10(folder.path(), &[]).unwrap_err().to_string();
        assert_eq!(error, format!("{}: at byte 9: expected the class `automobile`, found `car`", path.display()));
        fs::write(&path, CIFAR10.join("\n") + "\nzebra").unwrap();
        let error = cifar10(folder.path(), &[]).unwrap_err().to_string();
        assert!(error.ends_with(": at byte 60: expected the end behind 10 classes, found `zebra`"), "{error}");
    }

    #[test]
    fn a_class_without_a_record_is_told() {
        let folder = folder();
        fs::write(folder.path().join("test_batch.bin"), record(&[0], 0)).unwrap();
        let error = cifar10(folder.path(), &["airplane", "bird"]).unwrap_err().to_string();
        assert!(
            error.ends_with("expected records of the class `bird`, found none among 1 of the chosen classes"),
            "{error}"
        );
    }

    #[test]
    fn fine_labels_count() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = [record(&[19, 0], 1), record(&[0, 99], 2)].concat();
        for name in ["train.bin", "test.bin"] {
            fs::write(folder.path().join(name), &bytes).unwrap();
        }
        let data = cifar100(folder.path(), &["worm", "apple"]).unwrap();
        assert_eq!(data.train.labels(), Some(&[1, 0][..]));
        fs::write(folder.path().join("test.bin"), record(&[20, 0], 1)).unwrap();
        let error = cifar100(folder.path(), &["apple"]).unwrap_err().to_string();
        assert!(error.ends_with("at byte 0: expected a coarse label from 0 to 19, found 20"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_records_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..4), copies in 0_usize..3_100) {
            let bytes = bytes.repeat(copies);
            for layout in [&LAYOUT10, &LAYOUT100] {
                let chosen = layout.chosen(&[]).unwrap();
                let (mut pixels, mut labels) = (Vec::new(), Vec::new());
                let read = layout.records(Path::new("x"), &bytes, &chosen, &mut pixels, &mut labels);
                if read.is_ok() {
                    prop_assert_eq!(pixels.len(), labels.len() * PIXELS);
                }
                let _ = layout.check_names(Path::new("x"), &bytes);
            }
        }
    }
}
