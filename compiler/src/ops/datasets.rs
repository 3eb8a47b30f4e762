//! Data sets.

use super::{Arg, Decl, Kind, NumberRange};

const MEAN: Arg =
    Arg::optional("mean", Kind::Numbers(NumberRange::ANY), "subtracted from each channel, of values between 0 and 1");
const STD: Arg = Arg::optional("std", Kind::Numbers(NumberRange::POSITIVE), "divides each channel behind that");

/// A data set: its declaration, and what a check can know of its records.
#[derive(Debug)]
pub struct Dataset {
    /// Its name, arguments, docs.
    pub decl: Decl,
    /// The shape of a record's input; None when only the file tells.
    pub input: Option<&'static [u64]>,
    /// Its classes in the order of their labels; None when only the file tells.
    pub classes: Option<&'static [&'static str]>,
}

const DIGITS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

const CIFAR10: &[&str] = &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

#[rustfmt::skip]
const CIFAR100: &[&str] = &[
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy", "bridge", "bus",
    "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
    "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo",
    "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse",
    "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];

/// Every data set.
pub static DATASETS: &[Dataset] = &[
    Dataset {
        decl: Decl {
            name: "cifar10",
            aliases: &[],
            args: &[
                Arg::optional(
                    "classes",
                    Kind::Words(CIFAR10),
                    "the classes to keep, renumbered in this order; all when absent",
                ),
                MEAN,
                STD,
            ],
            docs: "Colour photographs of 32 x 32 in ten classes, the binary version. Source: Krizhevsky 2009.",
        },
        input: Some(&[3, 32, 32]),
        classes: Some(CIFAR10),
    },
    Dataset {
        decl: Decl {
            name: "cifar100",
            aliases: &[],
            args: &[
                Arg::optional(
                    "classes",
                    Kind::Words(CIFAR100),
                    "the classes to keep, renumbered in this order; all when absent",
                ),
                MEAN,
                STD,
            ],
            docs: "Colour photographs of 32 x 32 in a hundred classes, the binary version. Source: Krizhevsky 2009.",
        },
        input: Some(&[3, 32, 32]),
        classes: Some(CIFAR100),
    },
    Dataset {
        decl: Decl {
            name: "mnist",
            aliases: &[],
            args: &[MEAN, STD],
            docs: "Handwritten digits of 28 x 28 in grey, idx files. Source: LeCun et al. 1998.",
        },
        input: Some(&[1, 28, 28]),
        classes: Some(DIGITS),
    },
    Dataset {
        decl: Decl {
            name: "digits",
            aliases: &[],
            args: &[MEAN, STD],
            docs: "Handwritten digits of 8 x 8 in grey, 1,797 of them, part of netspec itself. Source: Alpaydin and Kaynak 1998, CC BY 4.0.",
        },
        input: Some(&[1, 8, 8]),
        classes: Some(DIGITS),
    },
    Dataset {
        decl: Decl {
            name: "safetensors",
            aliases: &[],
            args: &[Arg::required("file", Kind::Text, "a file with tensors `input` and `target`"), MEAN, STD],
            docs: "Anyone's data: tensors `input` `[records, …]` and `target` in one safetensors file.",
        },
        input: None,
        classes: None,
    },
];
