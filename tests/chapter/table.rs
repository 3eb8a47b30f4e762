//! The table of all runs.

use std::path::Path;

use crate::rows::{ROWS, Row};
use crate::runs::{self, Epoch};
use crate::training::{EPOCHS, LAST};

const HEAD: &str = "\
# The chapter, trained

What the networks of chapter 8 of *Deep Learning with PyTorch* come to here, on the real airplanes and birds of CIFAR-10, beside what the
book printed. Written by

```sh
NETSPEC_DATA=FOLDER cargo run --release -p netspec-tests --bin netspec-chapter
```

with `cifar2-batches-bin` in the folder, from the files of [runs](runs), an epoch a line, which the command makes where they are not there.

The protocol is the book's: 100 epochs, batches of 64, plain SGD, mean cross-entropy; `net` and the fully connected networks in a new order each
epoch, the others in the order of the files; `dropout`, `batch_norm` and `res_deep_tied` are evaluated as they are trained, since the book never
leaves training mode. A loss is that of the epoch's steps; of `net_l2` with its penalty, as in the book. An accuracy is the median of a run's last ten
epochs; figures are means over the seeds. The seconds are the processor's, of the steps of one run, on one thread. `res_deep_tied` has as many
epochs as an hour allowed: its losses compare, its accuracies do not yet.

`batch_norm` has seven seeds, since three say little of it: its runs' test accuracies lie between 0.8740 and 0.8885, and the first three alone come
to 0.8758, 0.017 under the book's. PyTorch itself, by [the same protocol](batch_norm.py), comes to 0.9775 and 0.8823 with seed 0, 0.9834 and
0.8832 with seed 1, 0.010 under the book's test accuracy.

The chapter's exercises: kernels of 5 by 5 and of 1 by 3 are the rows `net_5x5` and `net_1x3`; what `net` takes for a bird that is none is
on [a page of its own](exercises.md).

";

/// The table of the runs in a folder.
pub(crate) fn markdown(folder: &Path) -> Result<String, String> {
    let mut accuracies = "\
| run | seeds | epochs | train accuracy | book | difference | test accuracy | book | difference | seconds |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"
    .to_owned();
    let mut losses = "\
| run | epoch 1 | book | 10 | book | 50 | book | 100 | book |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"
    .to_owned();
    for row in ROWS {
        let runs = (0..row.seeds).map(|seed| runs::read(&folder.join(format!("{}-{seed}.csv", row.name))));
        let mut runs = runs.collect::<Result<Vec<_>, _>>()?;
        runs.retain(|run| !run.is_empty());
        if !runs.is_empty() {
            accuracies += &line_of_accuracies(row, &runs);
            losses += &line_of_losses(row, &runs);
        }
    }
    Ok(format!("{HEAD}{accuracies}\n{losses}"))
}

fn line_of_accuracies(row: &Row, runs: &[Vec<Epoch>]) -> String {
    let epochs = runs.iter().map(Vec::len).min().unwrap_or_default();
    let median = |which: usize| {
        mean(runs.iter().map(|run| {
            let last = run.iter().rev().take(LAST).filter_map(|epoch| Some(epoch.accuracies?[which]));
            median(last.collect())
        }))
    };
    // Of a run that is not at its end there is nothing yet to compare with the end of the book's.
    let compared = |ours: f64, book: Option<f64>| match book {
        Some(book) if epochs < EPOCHS => format!("{ours:.4} | {book} |"),
        Some(book) => format!("{ours:.4} | {book} | {:+.4}", ours - book),
        None => format!("{ours:.4} | | "),
    };
    let train = compared(median(0), row.book.as_ref().map(|book| book.train));
    let test = compared(median(1), row.book.as_ref().map(|book| book.test));
    let seconds = mean(runs.iter().map(|run| run.iter().map(|epoch| epoch.seconds).sum()));
    format!("| {} | {} | {epochs} | {train} | {test} | {seconds:.0} |\n", row.name, runs.len())
}

fn line_of_losses(row: &Row, runs: &[Vec<Epoch>]) -> String {
    let book = row.book.as_ref().and_then(|book| book.losses);
    let mut line = format!("| {} |", row.name);
    for (at, epoch) in [1, 10, 50, 100].into_iter().enumerate() {
        let ours: Option<Vec<f64>> = runs.iter().map(|run| run.get(epoch - 1).map(|epoch| epoch.loss)).collect();
        let text = |loss: Option<f64>| loss.map_or(String::new(), |loss| format!("{loss:.4}"));
        line += &format!(" {} | {} |", text(ours.map(|all| mean(all.into_iter()))), text(book.map(|book| book[at])));
    }
    line + "\n"
}

fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = numbers.fold((0, 0.0), |(count, sum), number| (count + 1, sum + number));
    sum / f64::from(count)
}

/// The number in the middle; the mean of the two that are.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match (numbers.len(), numbers.len() / 2) {
        (0, _) => f64::NAN,
        (len, middle) if len % 2 == 1 => numbers[middle],
        (_, middle) => (numbers[middle - 1] + numbers[middle]) / 2.0,
    }
}
