//! What can go wrong while a model is used.

use std::fmt;

/// What can go wrong while a model is used. What is wrong with the model itself is rustc's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// This version of netspec has the method, by its name, but not what it does.
    NotBuilt(&'static str),
    /// Flat data is not a whole number of samples.
    PartSample {
        /// How many values there are.
        values: usize,
        /// How many a sample has.
        per_sample: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotBuilt(method) => {
                write!(f, "`{method}` is not built yet: this version of netspec proves a model, and does not run it")
            }
            Error::PartSample { values, per_sample } => {
                let whole = values / per_sample;
                let rest = values % per_sample;
                write!(f, "{values} values are {whole} samples of {per_sample} values, and {rest} too many")
            }
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_wanted_and_what_was_found() {
        assert_eq!(
            Error::PartSample { values: 7_000, per_sample: 3_072 }.to_string(),
            "7000 values are 2 samples of 3072 values, and 856 too many"
        );
        assert!(Error::NotBuilt("infer").to_string().starts_with("`infer` is not built yet"));
    }
}
