//! The files of runs: a line for each epoch.

use std::fs;
use std::io;
use std::path::Path;

const HEADER: &str = "epoch,loss,train_accuracy,test_accuracy,cpu_seconds";

/// An epoch of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Epoch {
    /// The mean of the batches' losses, each before its step, with the penalty if there is one.
    pub(crate) loss: f64,
    /// The parts of the images that are classified right behind the epoch, to train with and to test with, where they were asked for.
    pub(crate) accuracies: Option<[f64; 2]>,
    /// Processor time of its steps.
    pub(crate) seconds: f64,
}

/// The epochs of a file, from the first on; none when it is not there.
pub(crate) fn read(path: &Path) -> Result<Vec<Epoch>, String> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
        Ok(text) => text,
    };
    let mut lines = text.lines().enumerate();
    let wrong = |line: usize, what: &str| format!("{}:{}: {what}", path.display(), line + 1);
    if lines.next().is_none_or(|(_, header)| header != HEADER) {
        return Err(wrong(0, &format!("the first line should be `{HEADER}`")));
    }
    let epoch = |(line, text): (usize, &str)| {
        let fields: Vec<&str> = text.split(',').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let accuracies = match (number(2), number(3)) {
            (Some(train), Some(test)) => Some([train, test]),
            _ => None,
        };
        match (number(0), number(1), number(4)) {
            (Some(epoch), Some(loss), Some(seconds)) if epoch == line as f64 => Ok(Epoch { loss, accuracies, seconds }),
            _ => Err(wrong(line, &format!("this should be epoch {line}: `{HEADER}`"))),
        }
    };
    lines.map(epoch).collect()
}

/// Writes the epochs of a run.
pub(crate) fn write(path: &Path, epochs: &[Epoch]) -> Result<(), String> {
    let mut text = format!("{HEADER}\n");
    for (at, epoch) in epochs.iter().enumerate() {
        let [train, test] = epoch.accuracies.map_or_else(Default::default, |both| both.map(|it| format!("{it:.4}")));
        text += &format!("{},{:.4},{train},{test},{:.2}\n", at + 1, epoch.loss, epoch.seconds);
    }
    replace(path, text)
}

/// Writes a file beside its place, and renames it.
pub(crate) fn replace(path: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    let beside = path.with_extension("tmp");
    fs::write(&beside, content)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = std::env::temp_dir().join(format!("netspec-chapter-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("run.csv");
        assert_eq!(read(&path), Ok(Vec::new()));
        let epochs = [
            Epoch { loss: 0.5, accuracies: None, seconds: 1.25 },
            Epoch { loss: 0.25, accuracies: Some([0.75, 0.5]), seconds: 2.0 },
        ];
        write(&path, &epochs).expect("a place to write to");
        assert_eq!(read(&path), Ok(epochs.to_vec()));
        fs::write(&path, format!("{HEADER}\n1,0.5,,,1\n3,0.5,,,1\n")).expect("a place to write to");
        let error = read(&path).expect_err("an epoch is missing");
        assert!(error.contains("run.csv:3: this should be epoch 2"), "{error}");
        fs::remove_dir_all(&folder).expect("it is there");
    }
}
