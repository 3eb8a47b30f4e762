//! Every code, what it is about, and its page.
//!
//! A code is one line of the table below and one page in `pages/`, whose broken example is also a spec of `specs/broken/`.

use super::Severity;

macro_rules! codes {
    ($($code:ident $about:literal)*) => {
        /// What a diagnostic is about; numbers never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $about] $code,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$code),*];

            /// `N0301`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$code => stringify!($code)),* }
            }

            /// What it is about, in a few words.
            pub fn about(self) -> &'static str {
                match self { $(Code::$code => $about),* }
            }

            /// The page `netc explain` prints: Markdown, with a broken example and its mended form.
            pub fn page(self) -> &'static str {
                match self { $(Code::$code => include_str!(concat!("pages/", stringify!($code), ".md"))),* }
            }
        }
    };
}

codes! {
    N0101 "unexpected text"
    N0102 "a bracket is not closed, or closes nothing"
    N0103 "not valid YAML"
    N0104 "YAML features that a spec does not use"
    N0105 "a key or setting given twice"
    N0106 "unknown key"
    N0107 "a file cannot be read"
    N0108 "over a limit"
    N0109 "a number that does not fit"
    N0110 "not a text file"
    N0111 "no model"
    N0112 "a YAML value of the wrong form"
    N0113 "`//` is no division"
    N0114 "an empty body"
    N0115 "files that use each other in a circle"

    N0201 "unknown layer"
    N0202 "unknown argument"
    N0203 "missing argument"
    N0204 "an argument of the wrong kind"
    N0205 "unknown name"
    N0206 "a name twice"
    N0207 "a block or shared uses itself"
    N0208 "arithmetic that has no answer"
    N0209 "an argument given twice"
    N0210 "too many arguments by position"
    N0211 "a value out of range"
    N0212 "unknown parameter set from outside"
    N0213 "a value that cannot be read here"
    N0214 "a parameter without a value"
    N0215 "a reserved word as a name"
    N0216 "`tied` or `unrolled` where it cannot be"

    N0301 "a layer that needs a flat input is given a map"
    N0302 "a stated size differs"
    N0303 "joined shapes differ"
    N0304 "nothing left of the map"
    N0305 "a repeat's body changes the shape"
    N0306 "a view changes the number of values"
    N0307 "an asserted shape differs"
    N0308 "the wrong number of dimensions"
    N0309 "a view that does not begin with -1"
    N0310 "a layer of one's own without an asserted shape"

    N0401 "a shared instance used with other sizes"
    N0402 "an initialiser that does not fit"
    N0403 "groups that do not divide"

    N0501 "a loss that does not fit the output"
    N0502 "a training setting out of range"
    N0503 "data that does not fit the model"
    N0504 "unknown loss, optimizer, data set or setting"
    N0505 "a training that is not complete"
    N0506 "a training of another model"

    N0901 "an unused parameter"
    N0902 "an unused block"
    N0903 "an unused shared instance"
    N0904 "an unused input"
    N0905 "pooling drops a row or column"
    N0906 "a bias straight before a norm that undoes it"
    N0907 "two activations in a row"
    N0908 "a softmax before cross_entropy"
    N0909 "linear on the last dimension of a map"
    N0910 "an output without a loss"
}

impl Code {
    /// The code of a name such as `N0301`, in any case.
    pub fn of_name(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name().eq_ignore_ascii_case(name))
    }

    /// N09xx are warnings, all others errors.
    pub fn severity(self) -> Severity {
        if self >= Code::N0901 { Severity::Warning } else { Severity::Error }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
