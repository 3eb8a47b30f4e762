//! Small pieces of Rust text.

/// `18_090`
pub(super) fn grouped(number: u64) -> String {
    crate::ops::thousands(number).replace(',', "_")
}

/// `[1, 32, 32]`
pub(super) fn list(numbers: &[u64]) -> String {
    format!("[{}]", numbers.iter().map(|&number| grouped(number)).collect::<Vec<_>>().join(", "))
}

/// `name(`, the arguments and `);` of a call; `Name {`, the fields and `}` with what follows of a struct.
fn taken_apart(line: &str) -> Option<(&str, &str, &str)> {
    let (open, end) = [("(", ");"), ("{ ", " };"), ("{ ", " },")].into_iter().find(|(_, end)| line.ends_with(end))?;
    let from = line.find(open)? + open.len();
    let inner = line.get(from..line.len() - end.len())?;
    Some((line[..from].trim_end(), inner, end.trim_start()))
}

/// The parts of a list, each with its comma; commas inside brackets part nothing.
fn pieces(list: &str) -> Vec<&str> {
    let (mut pieces, mut from, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, character) in list.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && list[..at].ends_with(',') => {
                pieces.push(&list[from..=at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&list[from..]);
    pieces
}

/// Columns of a line.
const WIDTH: usize = 120;

/// Lines with their indentation.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) text: String,
    depth: usize,
}

impl Lines {
    /// No lines yet, the first one to be so many levels in.
    pub(super) fn at(depth: usize) -> Lines {
        Lines { text: String::new(), depth }
    }

    /// Adds a line; one that closes a brace is a level out, one that opens one puts those behind it a level in. A call or struct that is too
    /// long has its arguments or fields below it. A comment, which quotes the spec, is none of these, whatever it ends in.
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if line.starts_with("//") {
            self.plain(line);
            return;
        }
        if line.starts_with(['}', ']', ')']) {
            self.depth = self.depth.saturating_sub(1);
        }
        if 4 * self.depth + line.len() > WIDTH
            && let Some((head, inner, end)) = taken_apart(line)
        {
            self.plain(head);
            self.depth += 1;
            self.filled(pieces(inner).into_iter());
            self.depth -= 1;
            self.plain(end);
            return;
        }
        self.plain(line);
        if line.ends_with(['{', '[', '(']) {
            self.depth += 1;
        }
    }

    /// Adds a line at the level of now.
    fn plain(&mut self, line: &str) {
        if !line.is_empty() {
            self.text.extend(std::iter::repeat_n("    ", self.depth));
            self.text.push_str(line);
        }
        self.text.push('\n');
    }

    /// Adds pieces, as many in a line as fit.
    fn filled<'a>(&mut self, pieces: impl Iterator<Item = &'a str>) {
        let mut line = String::new();
        for piece in pieces {
            if !line.is_empty() && 4 * self.depth + line.len() + piece.trim_end().len() > WIDTH {
                self.plain(line.trim_end());
                line.clear();
            }
            line.push_str(piece);
        }
        self.plain(line.trim_end());
    }

    /// Adds a comment, of words that fit in a line as well as they can.
    pub(super) fn comment(&mut self, mark: &str, text: &str) {
        let mut line = mark.to_owned();
        for word in text.split_whitespace() {
            if line.len() > mark.len() && 4 * self.depth + line.len() + 1 + word.len() > WIDTH {
                self.plain(&line);
                mark.clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.plain(&line);
    }
}
