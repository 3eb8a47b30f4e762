//! Small pieces of Rust text.

/// `18_090`
pub(super) fn grouped(number: u64) -> String {
    crate::ops::thousands(number).replace(',', "_")
}

/// `[1, 32, 32]`
pub(super) fn list(numbers: &[u64]) -> String {
    format!("[{}]", numbers.iter().map(|&number| grouped(number)).collect::<Vec<_>>().join(", "))
}

/// Lines with their indentation.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) text: String,
    depth: usize,
}

impl Lines {
    /// Adds a line; one that closes a brace is a level out, one that opens one puts those behind it a level in.
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if line.starts_with(['}', ']', ')']) {
            self.depth = self.depth.saturating_sub(1);
        }
        if !line.is_empty() {
            self.text.extend(std::iter::repeat_n("    ", self.depth));
            self.text.push_str(line);
        }
        self.text.push('\n');
        if line.ends_with(['{', '[', '(']) {
            self.depth += 1;
        }
    }

    /// Adds a comment, of words that fit in a line as well as they can.
    pub(super) fn comment(&mut self, mark: &str, text: &str) {
        let width = 118usize.saturating_sub(4 * self.depth + mark.len() + 1).max(40);
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                self.line(format!("{mark} {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(format!("{mark} {line}"));
    }
}
