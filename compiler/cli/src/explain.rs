//! `netc explain`.

use std::io::{self, Write};

use netspec_compiler::diag::{Code, did_you_mean};

use crate::Verdict;
use crate::args::Explain;
use crate::compile::colors;

/// What the codes of a range are about, by how their names begin.
const RANGES: [(&str, &str); 6] = [
    ("N01", "reading"),
    ("N02", "names and arguments"),
    ("N03", "shapes"),
    ("N04", "weights"),
    ("N05", "training"),
    ("N09", "warnings"),
];

pub(crate) fn run(args: &Explain) -> io::Result<Verdict> {
    let bold = colors(&io::stdout());
    match args.code.as_deref().map(|name| (name, Code::of_name(name))) {
        None => write!(io::stdout(), "{}", list(bold))?,
        Some((_, Some(code))) => write!(io::stdout(), "{}", page(code.page(), bold))?,
        Some((name, None)) => {
            write!(io::stderr(), "{}", unknown(name))?;
            return Ok(Verdict::Usage);
        }
    }
    Ok(Verdict::Good)
}

/// Every code and what it is about.
fn list(bold: bool) -> String {
    let mut out = String::new();
    for (start, subject) in RANGES {
        let gap = if out.is_empty() { "" } else { "\n" };
        out += &format!("{gap}{}\n", heading(&format!("{start}xx {subject}"), bold));
        for code in Code::ALL.iter().filter(|code| code.name().starts_with(start)) {
            out += &format!("  {code}  {}\n", code.about());
        }
    }
    out
}

/// A page as it is, its headings bold on a terminal. A `#` in an example begins a comment, no heading.
fn page(markdown: &str, bold: bool) -> String {
    let mut out = String::new();
    let mut example = false;
    for line in markdown.lines() {
        example ^= line.starts_with("```");
        out += &heading(line, bold && !example && line.starts_with('#'));
        out.push('\n');
    }
    out
}

fn heading(line: &str, bold: bool) -> String {
    if bold { format!("\u{1b}[1m{line}\u{1b}[0m") } else { line.to_owned() }
}

fn unknown(name: &str) -> String {
    // Of several that are as near, one of the same range.
    let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    names.sort_by_key(|code| !code.get(..3).zip(name.get(..3)).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b)));
    let hint = did_you_mean(name, names, "`netc explain` lists them all");
    let mut out = format!("error: there is no code `{}`; {hint}\n\nThe codes are\n", name.escape_debug());
    for (start, subject) in RANGES {
        out += &format!("  {start}xx  {subject}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_a_range() {
        let listed = list(false);
        for code in Code::ALL {
            assert!(listed.contains(&format!("\n  {code}  {}\n", code.about())), "{code}");
        }
        assert_eq!(listed.lines().count(), Code::ALL.len() + 2 * RANGES.len() - 1);
    }

    #[test]
    fn headings_are_bold_and_comments_of_examples_are_not() {
        let markdown = "# N0301\n\ntext\n\n```yaml\n# a comment\n```\n## More";
        assert_eq!(page(markdown, false), format!("{markdown}\n"));
        assert_eq!(
            page(markdown, true),
            "\u{1b}[1m# N0301\u{1b}[0m\n\ntext\n\n```yaml\n# a comment\n```\n\u{1b}[1m## More\u{1b}[0m\n"
        );
    }
}
