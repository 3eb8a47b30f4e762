//! The readers on the files they are for.
//!
//! The variable `NETSPEC_DATA` names a folder with `cifar2-batches-bin` (the records of CIFAR-10's airplanes and birds, otherwise
//! as published), `cifar10-other8` and `mnist`. Without it these tests say that they check nothing.

use std::io::Write;
use std::path::PathBuf;

use netspec::data::{self, Dataset, Split};

/// A folder of real data; None, and a word about it, when the variable is unset.
fn folder(name: &str) -> Option<PathBuf> {
    let Some(data) = std::env::var_os("NETSPEC_DATA") else {
        // Past the capture of a test's output: a test that checks nothing should say so.
        let _ = writeln!(std::io::stderr(), "skipped: NETSPEC_DATA is not set, so `{name}` is not read");
        return None;
    };
    Some(PathBuf::from(data).join(name))
}

fn counts(split: &Split, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    split.labels().expect("labels").iter().for_each(|&label| counts[label] += 1);
    counts
}

/// Mean and deviation of each channel over all records.
fn statistics(dataset: &Dataset, split: &Split) -> Vec<(f64, f64)> {
    let (channels, values) = (dataset.shape[0], dataset.shape.iter().product());
    let mut record = vec![0.0; values];
    let mut sums = vec![(0.0, 0.0); channels];
    for index in 0..split.records() {
        split.feed(index, &mut record);
        for (plane, (sum, squares)) in record.chunks(values / channels).zip(&mut sums) {
            *sum += plane.iter().map(|&value| f64::from(value)).sum::<f64>();
            *squares += plane.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
        }
    }
    let count = (split.records() * values / channels) as f64;
    sums.iter().map(|(sum, squares)| (sum / count, (squares / count - (sum / count).powi(2)).sqrt())).collect()
}

#[track_caller]
fn near(found: &[(f64, f64)], wanted: &[(f64, f64)], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for ((mean, std), (wanted_mean, wanted_std)) in found.iter().zip(wanted) {
        let is_near = (mean - wanted_mean).abs() < tolerance && (std - wanted_std).abs() < tolerance;
        assert!(is_near, "{found:?}, wanted {wanted:?}");
    }
}

#[test]
fn cifar10_airplanes_and_birds() {
    let Some(folder) = folder("cifar2-batches-bin") else {
        return;
    };
    let data = data::cifar10(&folder, &["airplane", "bird"]).expect("the data set");
    assert_eq!((counts(&data.train, 2), counts(&data.test, 2)), (vec![5_000; 2], vec![1_000; 2]));
    // Published with five digits.
    let train = [(0.50745, 0.23961), (0.52590, 0.23365), (0.50648, 0.26792)];
    near(&statistics(&data, &data.train), &train, 6e-6);
    near(&statistics(&data, &data.test), &[(0.51187, 0.23873), (0.53347, 0.23281), (0.51712, 0.26769)], 6e-6);
    let (mean, std): (Vec<_>, Vec<_>) = train.iter().map(|&(mean, std)| (mean as f32, std as f32)).unzip();
    let data = data.normalized(&mean, &std).expect("three channels");
    near(&statistics(&data, &data.train), &[(0.0, 1.0); 3], 6e-5);
    // The other eight classes are not in the files.
    let error = data::cifar10(&folder, &["cat"]).expect_err("no cat").to_string();
    assert!(
        error.ends_with("expected records of the class `cat`, found none among 0 of the chosen classes"),
        "{error}"
    );
}

#[test]
fn a_folder_with_a_part_of_cifar10() {
    let Some(folder) = folder("cifar10-other8") else {
        return;
    };
    let error = data::cifar10(folder, &[]).expect_err("it has no file to train with").to_string();
    assert!(error.contains("looked for data_batch_1.bin, ") && !error.contains("test_batch.bin"), "{error}");
}

#[test]
fn mnist() {
    let Some(folder) = folder("mnist") else {
        return;
    };
    let data = data::mnist(folder).expect("the data set");
    let train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
    let test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];
    assert_eq!((counts(&data.train, 10), counts(&data.test, 10)), (train.to_vec(), test.to_vec()));
    near(&statistics(&data, &data.train), &[(0.1307, 0.3081)], 6e-5);
}
