//! The lines of a text that are printed, long ones cut to what is near a span.

use std::ops::Range;

/// Characters of a line that is printed whole.
const LINE: usize = 140;
/// Characters kept on each side of a span's ends on a longer line.
const NEAR: usize = 50;
/// What stands for the characters left out.
const GAP: &str = "...";

/// Whole lines of a text, from the first that a span touches to the last.
pub(super) struct Excerpt {
    /// What to print.
    pub(super) text: String,
    /// The number, from 1, of its first line.
    pub(super) first_line: usize,
    /// Bytes kept: where they stood in the whole text, and where they stand in `text`; in order.
    kept: Vec<(Range<usize>, usize)>,
}

impl Excerpt {
    /// The lines of `text` that hold `spans`, which are within it and on character boundaries.
    pub(super) fn new(text: &str, spans: impl Iterator<Item = Range<usize>>) -> Excerpt {
        let mut ends: Vec<usize> = spans.flat_map(|span| [span.start, span.end]).collect();
        ends.sort_unstable();
        let (first, last) = (ends.first().copied().unwrap_or(0), ends.last().copied().unwrap_or(0));
        let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[last..].find('\n').map_or(text.len(), |newline| last + newline + 1);
        let first_line = text[..start].matches('\n').count() + 1;
        let mut excerpt = Excerpt { text: String::new(), first_line, kept: Vec::new() };
        let mut line_start = start;
        for line in text[start..end].split_inclusive('\n') {
            let range = line_start..line_start + line.len();
            line_start = range.end;
            // What lies behind a line break is in the next line.
            let inside = |end: usize| range.start <= end && (end < range.end || !line.ends_with('\n'));
            let near: Vec<usize> = ends.iter().copied().filter(|&end| inside(end)).collect();
            excerpt.line(text, range, &near);
        }
        if last == text.len() && (text.is_empty() || text.ends_with('\n')) {
            // The empty line behind the last line break, which is a line only when something is said of it.
            excerpt.kept.push((last..last, excerpt.text.len()));
            excerpt.text.push('\n');
        }
        excerpt
    }

    /// Adds a line, or the parts of it near `ends`, or its beginning when nothing is near.
    fn line(&mut self, text: &str, line: Range<usize>, ends: &[usize]) {
        let body = text[line.clone()].trim_end_matches(['\n', '\r']);
        let body_end = line.start + body.len();
        if body.chars().nth(LINE).is_none() {
            return self.keep(text, line);
        }
        let mut next = line.start;
        let anchors = if ends.is_empty() { &[line.start][..] } else { ends };
        for &anchor in anchors {
            let anchor = anchor.min(body_end);
            let from = text[line.start..anchor]
                .char_indices()
                .rev()
                .nth(NEAR - 1)
                .map_or(line.start, |(at, _)| line.start + at);
            let to = text[anchor..body_end].char_indices().nth(NEAR).map_or(body_end, |(at, _)| anchor + at);
            if from > next {
                self.text += GAP;
            }
            if to > next {
                self.keep(text, from.max(next)..to);
                next = to;
            }
        }
        if next < body_end {
            self.text += GAP;
        }
        self.keep(text, body_end..line.end);
    }

    fn keep(&mut self, text: &str, range: Range<usize>) {
        self.kept.push((range.clone(), self.text.len()));
        self.text += &super::printable(&text[range]);
    }

    /// Where a span of the whole text, one of those that were given, stands in the excerpt.
    pub(super) fn map(&self, span: Range<usize>) -> Range<usize> {
        self.position(span.start)..self.position(span.end)
    }

    fn position(&self, offset: usize) -> usize {
        let index = self.kept.partition_point(|(range, _)| range.start <= offset);
        match index.checked_sub(1).map(|index| &self.kept[index]) {
            Some((range, at)) => at + offset.min(range.end) - range.start,
            None => 0,
        }
    }
}

/// The range within `text`, both ends moved down to a character boundary.
pub(super) fn clamp(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start);
    start..text.floor_char_boundary(range.end).max(start)
}

/// The range within `text` without the line breaks at its end, which would underline the next line.
pub(super) fn visible(text: &str, range: Range<usize>) -> Range<usize> {
    let range = clamp(text, range);
    let length = text[range.clone()].trim_end_matches(['\n', '\r']).len();
    range.start..range.start + length
}
