//! PTX text to tokens.

use super::PtxError;

/// A token, and its line, from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    /// Where it begins in the text.
    pub(crate) start: usize,
    pub(crate) line: u32,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Kind<'a> {
    /// A name, a directive, an opcode with its modifiers, or a number: whatever is written without a break.
    Word(&'a str),
    /// A text in quotes, without them.
    Text(&'a str),
    Mark(char),
    End,
}

/// All tokens of a text, an [`Kind::End`] last. A NUL ends the text, as it does for the driver.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token<'_>>, PtxError> {
    let source = source.split('\0').next().unwrap_or_default();
    let bytes = source.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len() / 4);
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'\n' => {
                line += 1;
                at += 1;
            }
            b' ' | b'\t' | b'\r' => at += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => at = end_of_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let length = source[at..].find("*/").ok_or(PtxError::new(line, "a comment that does not end"))?;
                line += source[at..at + length].matches('\n').count() as u32;
                at += length + 2;
            }
            b'"' => {
                let length = source[at + 1..].find('"').ok_or(PtxError::new(line, "a text that does not end"))?;
                at += length + 2;
                tokens.push(Token { kind: Kind::Text(&source[start + 1..at - 1]), start, line });
            }
            byte if in_word(byte) => {
                while at < bytes.len() && (in_word(bytes[at]) || in_path(bytes, at)) {
                    at += 1;
                }
                tokens.push(Token { kind: Kind::Word(&source[start..at]), start, line });
            }
            byte if byte.is_ascii_punctuation() => {
                at += 1;
                tokens.push(Token { kind: Kind::Mark(byte as char), start, line });
            }
            _ => {
                let found = source[at..].chars().next().unwrap_or_default();
                return Err(PtxError::new(line, format!("the character {found:?} has no place in PTX")));
            }
        }
    }
    tokens.push(Token { kind: Kind::End, start: at, line });
    Ok(tokens)
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

/// Whether the colon here is half of the one in `shared::cta`, and not the end of a label.
fn in_path(bytes: &[u8], at: usize) -> bool {
    bytes[at] == b':' && (bytes.get(at + 1) == Some(&b':') || bytes[at - 1] == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_dots_and_paths() {
        let text = "$L_1:\n@!%p1 ld.shared::cta.f32 %f1, [%r1+-4]; // no\n/* two\nlines */ \"a b\"\0{";
        let tokens = tokens(text).unwrap();
        let kinds: Vec<_> = tokens.iter().map(|token| token.kind).collect();
        use Kind::*;
        assert_eq!(
            kinds,
            [
                Word("$L_1"),
                Mark(':'),
                Mark('@'),
                Mark('!'),
                Word("%p1"),
                Word("ld.shared::cta.f32"),
                Word("%f1"),
                Mark(','),
                Mark('['),
                Word("%r1"),
                Mark('+'),
                Mark('-'),
                Word("4"),
                Mark(']'),
                Mark(';'),
                Text("a b"),
                End,
            ]
        );
        assert_eq!(tokens[tokens.len() - 1].line, 4);
    }
}
