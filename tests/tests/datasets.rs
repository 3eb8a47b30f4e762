//! The compiler and the runtime know the same data sets.

use netspec::data::{self, Source};
use netspec_compiler::ops::datasets::DATASETS;

#[test]
fn the_runtime_reads_every_data_set_of_the_compiler() {
    for dataset in DATASETS {
        let name = dataset.decl.name;
        assert_eq!(Source::new(name, None).map(|source| source.name()), Ok(name));
    }
}

#[test]
fn classes_have_the_same_labels() {
    let classes = |name| DATASETS.iter().find(|dataset| dataset.decl.name == name).and_then(|dataset| dataset.classes);
    assert_eq!(classes("cifar10"), Some(data::CIFAR10));
    assert_eq!(classes("cifar100"), Some(data::CIFAR100));
    let digits = data::digits().expect("a part of the crate");
    assert!(digits.classes.iter().eq(classes("digits").unwrap_or_default()));
}
