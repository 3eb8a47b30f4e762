//! A data set by its name, as a command line or a spec has it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Dataset, Error, cifar10, cifar100, digits, mnist, safetensors};

/// A data set's name, and where its files are: `cifar10:data/cifar-10-batches-bin`, `digits`.
///
/// ```
/// use netspec::data::Source;
///
/// let source: Source = "mnist:data/mnist".parse()?;
/// assert_eq!((source.name(), source.to_string()), ("mnist", "mnist:data/mnist".to_owned()));
/// assert!("mnits:data/mnist".parse::<Source>().is_err());
/// # Ok::<(), netspec::data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: &'static str,
    path: Option<PathBuf>,
}

/// Every data set, and what its path is.
const NAMES: &[(&str, Option<&str>)] = &[
    ("cifar10", Some("FOLDER")),
    ("cifar100", Some("FOLDER")),
    ("mnist", Some("FOLDER")),
    ("digits", None),
    ("safetensors", Some("FILE")),
];

impl Source {
    /// A data set, with the place of its files when it has any.
    ///
    /// # Errors
    ///
    /// [`Error::Unfit`] when there is no such data set, or `digits` is given a place.
    pub fn new(name: &str, path: Option<PathBuf>) -> Result<Source, Error> {
        let Some(&(name, kind)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let all: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(Error::Unfit(format!("there is no data set `{name}`; there are {}", all.join(", "))));
        };
        if let (None, Some(path)) = (kind, &path) {
            let text = format!("`{name}` is a part of netspec and takes no folder, such as `{}`", path.display());
            return Err(Error::Unfit(text));
        }
        Ok(Source { name, path })
    }

    /// The data set's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Reads it; of the two CIFARs only `classes`, renumbered in this order, unless that is empty. With `outputs` there must be as many
    /// classes, or labels must be below that when the data does not name its classes.
    ///
    /// # Errors
    ///
    /// Those of the data set's own function, and [`Error::Unfit`] when the place of its files is missing, another data set is given
    /// classes, or their number is another.
    pub fn load(&self, classes: &[&str], outputs: Option<usize>) -> Result<Dataset, Error> {
        let path = || {
            let missing =
                || Error::Unfit(format!("where is {self}? its place is given behind a colon: {}", self.usage()));
            self.path.as_ref().ok_or_else(missing)
        };
        if !classes.is_empty() && !self.name.starts_with("cifar") {
            return Err(Error::Unfit(format!("classes cannot be chosen from `{}`", self.name)));
        }
        let dataset = match self.name {
            "cifar10" => cifar10(path()?, classes)?,
            "cifar100" => cifar100(path()?, classes)?,
            "mnist" => mnist(path()?)?,
            "safetensors" => safetensors(path()?, outputs)?,
            _ => digits()?,
        };
        match (outputs, dataset.classes.len()) {
            (Some(outputs), classes) if classes != 0 && classes != outputs => {
                Err(Error::Unfit(format!("`{}` has {classes} classes, but the output has {outputs}", self.name)))
            }
            _ => Ok(dataset),
        }
    }

    /// `cifar10:FOLDER`.
    fn usage(&self) -> String {
        let kind = NAMES.iter().find(|(name, _)| *name == self.name).and_then(|(_, kind)| *kind);
        kind.map_or(self.name.to_owned(), |kind| format!("{}:{kind}", self.name))
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Source, Error> {
        match text.split_once(':') {
            Some((name, path)) if !path.is_empty() => Source::new(name, Some(PathBuf::from(path))),
            Some((name, _)) => Source::new(name, None),
            None => Source::new(text, None),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}:{}", self.name, path.display()),
            None => f.write_str(self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_are_checked() {
        let error = |text: &str| text.parse::<Source>().unwrap_err().to_string();
        assert_eq!(
            error("cifar"),
            "there is no data set `cifar`; there are cifar10, cifar100, mnist, digits, safetensors"
        );
        assert_eq!(error("digits:here"), "`digits` is a part of netspec and takes no folder, such as `here`");
        let load = |text: &str, classes: &[&str]| {
            text.parse::<Source>().unwrap().load(classes, Some(9)).unwrap_err().to_string()
        };
        assert_eq!(load("mnist:", &[]), "where is mnist? its place is given behind a colon: mnist:FOLDER");
        assert_eq!(
            load("safetensors", &[]),
            "where is safetensors? its place is given behind a colon: safetensors:FILE"
        );
        assert_eq!(load("digits", &["1"]), "classes cannot be chosen from `digits`");
        assert_eq!(load("digits", &[]), "`digits` has 10 classes, but the output has 9");
        assert_eq!("mnist:C:\\data".parse::<Source>().unwrap().to_string(), "mnist:C:\\data");
    }
}
