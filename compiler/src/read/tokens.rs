//! The tokens inside `netspec! { … }`, back to text: rustc takes the spaces and comments away, and the reader of `.netspec`
//! wants a page.
//!
//! Every token is put back on the line and column where it stands in the user's file, so that the lines that a diagnostic
//! names are the user's own, and keeps its span, so that a range of the text is a place rustc can underline. This is the one
//! module that knows the spans of `proc_macro2`.

use std::ops::Range;

use proc_macro2::{Delimiter, Group, LineColumn, Spacing, Span, TokenStream, TokenTree};

use crate::limits;

/// A page made of tokens.
#[derive(Debug)]
pub struct TokenText {
    /// The page: what [`compile`](crate::compile) reads.
    pub text: String,
    tokens: Vec<Token>,
}

/// A word, number, sign or bracket of the page.
#[derive(Debug)]
struct Token {
    range: Range<usize>,
    span: Span,
}

impl TokenText {
    /// Writes the page that the tokens were read from, without its comments. `/// text`, which arrives as `#[doc = "text"]`,
    /// is a comment too.
    ///
    /// The tokens may be nested to any depth: nothing here recurses, and the reader of the page counts.
    pub fn new(stream: TokenStream) -> TokenText {
        let mut page = Page::default();
        let mut open = vec![(trees(stream), None)];
        while let Some((rest, closing)) = open.last_mut() {
            let Some(tree) = rest.next() else {
                if let &mut Some((bracket, span)) = closing {
                    page.put(bracket, span);
                }
                open.pop();
                continue;
            };
            match tree {
                TokenTree::Punct(sign) => {
                    let attribute = if sign.as_char() == '#' { doc_attribute(rest.as_slice()) } else { 0 };
                    if attribute > 0 {
                        rest.nth(attribute - 1);
                        continue;
                    }
                    page.put(sign.as_char().encode_utf8(&mut [0; 4]), sign.span());
                    page.joined = sign.spacing() == Spacing::Joint;
                }
                TokenTree::Ident(word) => page.put(&word.to_string(), word.span()),
                TokenTree::Literal(literal) => page.put(&literal.to_string(), literal.span()),
                TokenTree::Group(group) => {
                    let brackets = brackets(group.delimiter());
                    if let Some((opening, _)) = brackets {
                        page.put(opening, group.span_open());
                    }
                    open.push((trees(group.stream()), brackets.map(|(_, closing)| (closing, group.span_close()))));
                }
            }
        }
        TokenText { text: page.text, tokens: page.tokens }
    }

    /// The spans of the first and the last token in a range of the text. A range without tokens, which is where something is
    /// missing, gives the token before it, or at the very beginning the first one. None when there are no tokens at all.
    pub fn spans(&self, range: Range<usize>) -> Option<(Span, Span)> {
        let first = self.tokens.partition_point(|token| token.range.end <= range.start);
        let behind = self.tokens.partition_point(|token| token.range.start < range.end.max(range.start + 1));
        let last = self.tokens.get(behind.saturating_sub(1))?;
        let first = if first < behind { &self.tokens[first] } else { last };
        Some((first.span, last.span))
    }
}

/// The page so far, and where its next character goes: lines from 1 and columns from 0, as `proc_macro2` counts.
struct Page {
    text: String,
    tokens: Vec<Token>,
    end: LineColumn,
    /// Whether the last token is a sign that the next one continues, as the `-` of `->`.
    joined: bool,
}

impl Default for Page {
    fn default() -> Page {
        Page { text: String::new(), tokens: Vec::new(), end: LineColumn { line: 1, column: 0 }, joined: false }
    }
}

impl Page {
    /// Writes a token where its span says, or behind the one before where the spans do not advance, as those of a
    /// `macro_rules!` need not.
    fn put(&mut self, token: &str, span: Span) {
        let at = span.start();
        if self.tokens.is_empty() && at.line > limits::FILE_BYTES / 2 {
            // So far down in its file, the blank lines above would use up the bytes that a page may have.
            self.end.line = at.line;
        }
        // Words that touch are of different files: in one file they would be one word.
        let in_word = |character: char| character.is_alphanumeric() || character == '_';
        let touching = at == self.end && self.text.ends_with(in_word) && token.starts_with(in_word);
        if at >= self.end && !touching {
            self.text.extend(std::iter::repeat_n('\n', at.line - self.end.line));
            let column = if at.line > self.end.line { 0 } else { self.end.column };
            self.text.extend(std::iter::repeat_n(' ', at.column - column));
            self.end = at;
        } else if !self.joined {
            self.text.push(' ');
            self.end.column += 1;
        }
        let start = self.text.len();
        self.text.push_str(token);
        self.tokens.push(Token { range: start..self.text.len(), span });
        self.joined = false;
        match token.rsplit_once('\n') {
            None => self.end.column += token.chars().count(),
            Some((above, last_line)) => {
                self.end.line += above.matches('\n').count() + 1;
                self.end.column = last_line.chars().count();
            }
        }
    }
}

fn trees(stream: TokenStream) -> std::vec::IntoIter<TokenTree> {
    stream.into_iter().collect::<Vec<_>>().into_iter()
}

fn brackets(delimiter: Delimiter) -> Option<(&'static str, &'static str)> {
    match delimiter {
        Delimiter::Parenthesis => Some(("(", ")")),
        Delimiter::Brace => Some(("{", "}")),
        Delimiter::Bracket => Some(("[", "]")),
        Delimiter::None => None,
    }
}

/// How many trees behind a `#` make it a doc comment: `[doc = …]` or `![doc = …]`.
fn doc_attribute(behind: &[TokenTree]) -> usize {
    let is_doc = |group: &Group| {
        group.delimiter() == Delimiter::Bracket
            && matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(word)) if word == "doc")
    };
    match behind {
        [TokenTree::Group(group), ..] if is_doc(group) => 1,
        [TokenTree::Punct(sign), TokenTree::Group(group), ..] if sign.as_char() == '!' && is_doc(group) => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r##"
// a comment
block ResBlock(n) {
    skip { conv(n, kernel = 3, bias = false) as é_conv; /* über */ relu; }
}

    model Net(n = 1) {   input image [3, 32, 32];
	conv(3->n, kernel = (1,3)) : [n, -16, 16];
    sgd(3e-3, .5, 1., 0x1F, "two
lines", r#"raw "text""#, 'a', 'life);  tail(é, b)
}"##;

    fn tokens(text: &str) -> TokenStream {
        text.parse().expect("the test's text lexes")
    }

    /// All leaves and brackets, with what they are and where they stand.
    fn leaves(stream: TokenStream) -> Vec<(String, Span)> {
        stream
            .into_iter()
            .flat_map(|tree| match tree {
                TokenTree::Group(group) => {
                    let (opening, closing) = brackets(group.delimiter()).unwrap_or_default();
                    let mut all = vec![(opening.to_owned(), group.span_open())];
                    all.extend(leaves(group.stream()));
                    all.push((closing.to_owned(), group.span_close()));
                    all
                }
                other => vec![(other.to_string(), other.span())],
            })
            .collect()
    }

    fn offset(text: &str, at: LineColumn) -> usize {
        let line = text.split_inclusive('\n').take(at.line - 1).map(str::len).sum::<usize>();
        line + text[line..].chars().take(at.column).map(char::len_utf8).sum::<usize>()
    }

    fn place(span: Span) -> (LineColumn, LineColumn) {
        (span.start(), span.end())
    }

    #[test]
    fn every_token_stands_on_its_own_line_and_column() {
        let page = TokenText::new(tokens(PAGE));
        let leaves = leaves(tokens(PAGE));
        assert!(leaves.len() > 80);
        for (token, span) in &leaves {
            let start = offset(&page.text, span.start());
            assert!(page.text[start..].starts_with(token), "{token} at {:?} in:\n{}", span.start(), page.text);
        }
        let without_space = |text: &str| text.split_whitespace().collect::<String>();
        let all: String = leaves.iter().map(|(token, _)| token.as_str()).collect();
        assert_eq!(without_space(&page.text), without_space(&all), "nothing else is in the text");
    }

    #[test]
    fn ranges_map_back_to_first_and_last_token() {
        let page = TokenText::new(tokens(PAGE));
        let spans = |words: &str| {
            let start = page.text.find(words).expect("it is in the text");
            let (first, last) = page.spans(start..start + words.len()).expect("there are tokens");
            (place(first), place(last))
        };
        let leaves = leaves(tokens(PAGE));
        let leaf = |token: &str| place(leaves.iter().find(|leaf| leaf.0 == token).expect("it is a token").1);
        assert_eq!(spans("skip"), (leaf("skip"), leaf("skip")));
        assert_eq!(spans("ki"), (leaf("skip"), leaf("skip")));
        assert_eq!(spans("skip { conv"), (leaf("skip"), leaf("conv")));
        assert_eq!(spans("  skip { "), (leaf("skip"), spans("{ conv").0));
        assert_eq!(spans("->"), (leaf("-"), leaf(">")));
    }

    #[test]
    fn where_nothing_stands_the_token_before_is_blamed() {
        let page = TokenText::new(tokens("  relu ; model"));
        let at = |range: Range<usize>| {
            let (first, last) = page.spans(range).expect("there are tokens");
            (first.start().column, last.start().column)
        };
        assert_eq!(at(2..2), (2, 2), "an empty range at a token is that token");
        assert_eq!(at(6..6), (2, 2), "behind a token");
        assert_eq!(at(7..7), (7, 7));
        assert_eq!(at(0..0), (2, 2), "before all tokens");
        assert_eq!(at(0..1), (2, 2));
        assert_eq!(at(14..14), (9, 9), "at the end");
        assert_eq!(at(90..99), (9, 9), "beyond it");
        assert!(TokenText::new(TokenStream::new()).spans(0..0).is_none());
    }

    #[test]
    fn doc_comments_are_dropped_and_other_signs_are_kept() {
        let page = TokenText::new(tokens("//! inner\n/// outer\nrelu; #[other] # !"));
        assert_eq!(page.text, "\n\nrelu; #[other] # !");
        let page = TokenText::new(tokens("/// alone"));
        assert_eq!(page.text, "");
    }

    #[test]
    fn tokens_without_places_are_put_one_space_apart() {
        fn moved(stream: TokenStream) -> TokenStream {
            let nowhere = tokens("x").into_iter().next().expect("one token").span();
            stream
                .into_iter()
                .map(|mut tree| {
                    if let TokenTree::Group(group) = &tree {
                        tree = Group::new(group.delimiter(), moved(group.stream())).into();
                    }
                    tree.set_span(nowhere);
                    tree
                })
                .collect()
        }
        let page = TokenText::new(moved(tokens("conv(3 -> n) ; view(-1, 8*8)")));
        assert_eq!(page.text.trim_start(), "conv ( 3 -> n ) ; view ( - 1 , 8 * 8 )");
    }

    #[test]
    fn words_never_run_together() {
        let mut stream = tokens("conv");
        stream.extend(tokens(&format!("{}relu", " ".repeat(4))));
        assert_eq!(TokenText::new(stream).text, "conv relu");
    }

    #[test]
    fn the_inside_of_an_invisible_group_stands_in_the_open() {
        let mut stream = tokens("conv");
        stream.extend([TokenTree::from(Group::new(Delimiter::None, tokens("(3 -> n)")))]);
        let page = TokenText::new(stream);
        assert_eq!(page.text.split_whitespace().collect::<String>(), "conv(3->n)");
    }

    #[test]
    fn deep_nesting_is_no_recursion() {
        let mut stream = TokenStream::new();
        for _ in 0..100_000 {
            stream = TokenTree::from(Group::new(Delimiter::Brace, stream)).into();
        }
        assert_eq!(TokenText::new(stream).tokens.len(), 200_000);
    }

    #[test]
    fn far_down_in_a_file_the_lines_above_are_left_out() {
        let page = TokenText::new(tokens(&format!("{}relu;", "\n".repeat(1_000))));
        assert_eq!(page.text.len(), 1_005);
        let page = TokenText::new(tokens(&format!("{}  relu;\n tanh;", "\n".repeat(limits::FILE_BYTES))));
        assert_eq!(page.text, "  relu;\n tanh;");
    }
}
