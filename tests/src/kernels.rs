//! Kernels in a model's CUDA C++.

use std::ops::Range;

/// A kernel as its text declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel<'a> {
    /// Its name.
    pub name: &'a str,
    /// The most threads of a block.
    pub threads: u32,
    /// The types of its parameters.
    pub params: Vec<&'a str>,
    /// Its parameters and what it does, as they stand there.
    pub rest: &'a str,
    /// Where it is in the text, to the end of its last line.
    pub place: Range<usize>,
}

const HEAD: &str = "extern \"C\" __global__ void __launch_bounds__(";
const END: &str = "\n}\n";

/// The kernels of a text, in order.
///
/// # Panics
///
/// When one is not written as the compiler of specs writes them.
pub fn kernels(source: &str) -> Vec<Kernel<'_>> {
    let of = |(from, _): (usize, &str)| {
        let len = source[from..].find(END).expect("the end of a kernel");
        let text = &source[from + HEAD.len()..from + len];
        let (bounds, text) = text.split_once(')').expect("the end of the bounds");
        let (name, rest) = text.split_once('(').expect("parameters");
        let (params, _) = rest.split_once(')').expect("the end of the parameters");
        let threads = bounds.split(',').next().and_then(|bound| bound.parse().ok());
        Kernel {
            name: name.trim(),
            threads: threads.expect("a number of threads"),
            params: params.split(',').map(type_of).collect(),
            rest,
            place: from..from + len + END.len(),
        }
    };
    source.match_indices(HEAD).map(of).collect()
}

/// The type of a parameter.
fn type_of(param: &str) -> &str {
    let param = param.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    param.trim_end_matches(is_name).trim_end()
}

/// A text without the kernels that are not wanted.
///
/// # Panics
///
/// As [`kernels`].
pub fn with_kernels(source: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let mut text = source.to_owned();
    for Kernel { name, place, .. } in kernels(source).into_iter().rev() {
        if !is_wanted(name) {
            text.replace_range(place, "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_taken_out_of_a_text() {
        let text = "typedef unsigned u32;\nextern \"C\" __global__ void __launch_bounds__(128, 4)\n    one(const float *x, u32 n) {\n    f(x);\n}\n\
                    // Another.\nextern \"C\" __global__ void __launch_bounds__(256) two(\n    float *y) {\n    g(y);\n}\nend";
        let found = kernels(text);
        let of = |at: usize| (found[at].name, found[at].threads, found[at].params.clone());
        assert_eq!([of(0), of(1)], [("one", 128, vec!["const float *", "u32"]), ("two", 256, vec!["float *"])]);
        assert_eq!(found[0].rest, "const float *x, u32 n) {\n    f(x);");
        let without = with_kernels(text, |name| name == "two");
        assert!(without.starts_with("typedef unsigned u32;\n// Another.\nextern") && without.ends_with("}\nend"));
        assert_eq!(with_kernels(text, |_| true), text);
    }
}
