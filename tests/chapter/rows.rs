//! The rows of the table: the networks of the chapter, how they are trained, and what the book printed.

use std::error::Error;

use netspec::{CrossEntropy, Nll};

use crate::training::{Evaluation, Run, train};

/// A network and the book's figures.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) lr: f64,
    /// Whether each epoch has an order of its own; else it is that of the files.
    pub(crate) shuffles: bool,
    /// The weight of the sum of all squares of parameters in the loss.
    pub(crate) l2: f64,
    pub(crate) evaluation: Evaluation,
    /// Runs, from seed 0 on.
    pub(crate) seeds: u64,
    /// Whether a run is written after each epoch, with its weights, and goes on from there.
    pub(crate) resumes: bool,
    pub(crate) train: fn(&Run<'_>) -> Result<(), Box<dyn Error>>,
    pub(crate) book: Option<Book>,
}

/// What the book printed: losses of epochs 1, 10, 50 and 100, where it did, and accuracies after the last.
pub(crate) struct Book {
    pub(crate) losses: Option<[f64; 4]>,
    pub(crate) train: f64,
    pub(crate) test: f64,
}

mod models {
    // The book keeps the bias before its batch norms.
    #![allow(deprecated)]
    netspec::netspec!(pub(crate) Net = "../specs/net.netspec");
    netspec::netspec!(pub(crate) NetGradient = "chapter/net_gradient.netspec");
    netspec::netspec!(pub(crate) Net5x5 = "../specs/net_5x5.netspec");
    netspec::netspec!(pub(crate) Net1x3 = "../specs/net_1x3.netspec");
    netspec::netspec!(pub(crate) Width = "../specs/width.netspec");
    netspec::netspec!(pub(crate) Dropout = "chapter/dropout.netspec");
    netspec::netspec!(pub(crate) BatchNorm = "../specs/batch_norm.netspec");
    netspec::netspec!(pub(crate) Depth = "../specs/depth.netspec");
    netspec::netspec!(pub(crate) Res = "../specs/res.netspec");
    netspec::netspec!(pub(crate) ResDeepTied = "../specs/res_deep_tied.netspec");
    netspec::netspec!(pub(crate) FullyConnected = "../specs/fully_connected.netspec");
    netspec::netspec!(pub(crate) FirstModel = "../specs/first_model.netspec");
}
pub(crate) use models::NetGradient;
use models::*;

/// A network that is trained as most are.
const PLAIN: Row = Row {
    name: "",
    lr: 1e-2,
    shuffles: false,
    l2: 0.0,
    evaluation: Evaluation::Inference,
    seeds: 3,
    resumes: false,
    train: |_| Ok(()),
    book: None,
};

const fn book(losses: [f64; 4], train: f64, test: f64) -> Option<Book> {
    Some(Book { losses: Some(losses), train, test })
}

/// Every row, in the book's order; the fully connected networks are of its chapter 7, and shuffle.
pub(crate) static ROWS: &[Row] = &[
    Row {
        name: "net",
        shuffles: true,
        train: |run| train::<Net, _>(run, &CrossEntropy),
        book: book([0.5635, 0.3278, 0.2411, 0.1614], 0.93, 0.89),
        ..PLAIN
    },
    Row {
        name: "width",
        train: |run| train::<Width, _>(run, &CrossEntropy),
        book: book([0.5445, 0.3171, 0.1870, 0.0832], 0.965, 0.898),
        ..PLAIN
    },
    Row {
        name: "net_l2",
        l2: 0.001,
        train: |run| train::<Net, _>(run, &CrossEntropy),
        book: book([0.5843, 0.3663, 0.2637, 0.2092], 0.9025, 0.8735),
        ..PLAIN
    },
    Row {
        name: "dropout",
        evaluation: Evaluation::Training,
        train: |run| train::<Dropout, _>(run, &CrossEntropy),
        book: book([0.5800, 0.3807, 0.2921, 0.2400], 0.896, 0.880),
        ..PLAIN
    },
    Row {
        name: "batch_norm",
        evaluation: Evaluation::Training,
        // Their test accuracies differ by 0.014: three say little.
        seeds: 7,
        train: |run| train::<BatchNorm, _>(run, &CrossEntropy),
        book: book([0.4740, 0.2598, 0.0670, 0.0076], 0.998, 0.893),
        ..PLAIN
    },
    Row {
        name: "depth",
        train: |run| train::<Depth, _>(run, &CrossEntropy),
        book: book([0.6548, 0.3400, 0.2165, 0.0956], 0.955, 0.898),
        ..PLAIN
    },
    Row {
        name: "res",
        train: |run| train::<Res, _>(run, &CrossEntropy),
        book: book([0.6650, 0.3293, 0.2018, 0.0764], 0.969, 0.901),
        ..PLAIN
    },
    Row {
        name: "res_deep_tied",
        lr: 3e-3,
        evaluation: Evaluation::Training,
        seeds: 1,
        resumes: true,
        train: |run| train::<ResDeepTied, _>(run, &CrossEntropy),
        book: book([2.2735, 0.3779, 0.1587, 0.0660], 0.974, 0.865),
        ..PLAIN
    },
    Row {
        name: "fully_connected",
        shuffles: true,
        train: |run| train::<FullyConnected, _>(run, &CrossEntropy),
        book: Some(Book { losses: None, train: 1.000, test: 0.801 }),
        ..PLAIN
    },
    Row {
        name: "first_model",
        shuffles: true,
        train: |run| train::<FirstModel, _>(run, &Nll),
        book: Some(Book { losses: None, train: 0.998, test: 0.821 }),
        ..PLAIN
    },
    Row { name: "net_5x5", shuffles: true, train: |run| train::<Net5x5, _>(run, &CrossEntropy), ..PLAIN },
    Row { name: "net_1x3", shuffles: true, train: |run| train::<Net1x3, _>(run, &CrossEntropy), ..PLAIN },
];

/// The network of the exercises, trained as `net` is; it is no row of the table, and its weights are kept.
pub(crate) static EXERCISES: Row = Row {
    name: "exercises",
    shuffles: true,
    seeds: 1,
    resumes: true,
    train: |run| train::<NetGradient, _>(run, &CrossEntropy),
    ..PLAIN
};
