//! The second walk: serde builds a tree in which every key and value knows its place.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;
use serde_yaml::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};

use super::Page;
use super::page::is_name;
use super::survey::{Survey, foreign};
use crate::diag::{Code, Diagnostic};
use crate::limits;
use crate::source::Span;

/// A value of the page.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// In brackets or quotes with these; of a block from its first child's first to its last child's last character;
    /// of nothing, the empty place where a value could be written.
    pub(super) span: Span,
}

/// The forms of a [`Node`].
#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing, as behind the `:` of `relu:`.
    Empty,
    /// A plain scalar: source text, whatever YAML takes it for.
    Plain,
    /// A quoted scalar, with its escapes read.
    Text(String),
    /// `[a, b]`, or items behind `- `.
    List(Vec<Node>),
    /// `{ a: b }`, or one entry a line. No key is there twice.
    Map(Vec<Entry>),
    /// It was reported.
    Bad,
}

/// `key: value`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Node,
    pub(super) value: Node,
}

impl Entry {
    /// From the key's first to the value's last character.
    pub(super) fn span(&self) -> Span {
        self.key.span.to(self.value.span)
    }
}

/// Builds the tree of a text that [`super::survey`] found sound. Keys given twice and merge keys are reported here.
pub(super) fn build(survey: &Survey, page: &mut Page<'_>) -> Option<Node> {
    match serde_yaml::from_str_with_options::<Spanned<Raw>>(page.text, options()) {
        Ok(raw) => Some(node(raw, survey, page)),
        // The survey lets nothing through that serde does not read; a test tries.
        Err(error) => {
            let at = error.location().and_then(|location| location.span().byte_offset());
            let place = page.character(at.map_or(0, |at| at as usize));
            page.report(Diagnostic::new(Code::N0103, "this cannot be read as YAML", place, ""));
            None
        }
    }
}

/// The survey has counted what there is to count, but for the depth: no limit but that one may cut a spec short.
fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: limits::NESTING,
            max_documents: 1,
            max_aliases: 0,
            max_anchors: 0,
            max_nodes: limits::WORDS,
            // Each list and map has two events, and the document and the stream around them too.
            max_events: 2 * limits::WORDS + 4,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    }
}

/// What serde gives. The text of a plain scalar is not kept, since its span says it better: serde would turn `010` into 10.
enum Raw {
    Scalar(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

/// Visitor methods for the types that serde takes plain scalars for.
macro_rules! plain {
    ($($visit:ident($type:ty))*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Raw, E> {
            Ok(Raw::Scalar(String::new()))
        })*
    };
}

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    plain! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_i128(i128) visit_u128(u128) visit_f64(f64) }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(String::new()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Scalar(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

/// Gives a raw value its whole span.
fn node(raw: Spanned<Raw>, survey: &Survey, page: &mut Page<'_>) -> Node {
    let place = raw.referenced.span();
    let start = place.byte_offset().unwrap_or_default() as usize;
    let length = place.byte_len().unwrap_or_default() as usize;
    let mut span = page.span(start, start + length);
    let is_flow = length > 0 && survey.flow_ends.contains_key(&start);
    let kind = match raw.value {
        Raw::Scalar(text) => match page.slice(span).chars().next() {
            None => Kind::Empty,
            Some('"' | '\'') => Kind::Text(text),
            Some(_) => Kind::Plain,
        },
        Raw::List(items) => {
            let mut items: Vec<Node> = items.into_iter().map(|item| node(item, survey, page)).collect();
            if is_flow {
                join_items(&mut items, page);
            } else if let (Some(first), Some(last)) = (items.first(), items.last()) {
                span = first.span.to(last.span);
            }
            Kind::List(items)
        }
        Raw::Map(entries) => {
            let mut entries: Vec<Entry> = entries
                .into_iter()
                .map(|(key, value)| {
                    let key = node(key, survey, page);
                    let mut value = node(value, survey, page);
                    if matches!(value.kind, Kind::Empty) {
                        value.span = behind_colon(key.span, page);
                    }
                    Entry { key, value }
                })
                .collect();
            if is_flow {
                join_entries(&mut entries, page);
            } else if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                span = first.key.span.to(last.span());
            }
            distinct(&mut entries, page);
            Kind::Map(entries)
        }
    };
    if is_flow && let Some(&end) = survey.flow_ends.get(&start) {
        span = page.span(start, end);
    }
    Node { kind, span }
}

/// The place of a value that is not there: behind the `:` of its key, or behind the key.
fn behind_colon(key: Span, page: &Page<'_>) -> Span {
    let rest = &page.text[key.end as usize..];
    let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let end = if rest[blanks..].starts_with(':') { key.end + blanks as u32 + 1 } else { key.end };
    Span { end, ..key }.after()
}

/// Leaves the first of the entries with the same key, and no merge key.
fn distinct(entries: &mut Vec<Entry>, page: &mut Page<'_>) {
    let mut seen: HashMap<String, Span> = HashMap::new();
    entries.retain(|entry| {
        let key = match &entry.key.kind {
            Kind::Plain => page.slice(entry.key.span),
            Kind::Text(text) => text,
            _ => return true,
        };
        if key == "<<" && matches!(entry.key.kind, Kind::Plain) {
            let instead = "a block does that job: write it once under `blocks`";
            page.report(foreign(page, entry.key.span, "a merge key", instead));
            return false;
        }
        match seen.get(key) {
            None => {
                seen.insert(key.to_owned(), entry.key.span);
                true
            }
            Some(&first) => {
                let title = format!("the key {} is given twice", page.quoted(entry.key.span));
                page.report(
                    Diagnostic::new(Code::N0105, title, entry.key.span, "the second").label(first, "the first"),
                );
                false
            }
        }
    });
}

/// Puts together the items of a flow list that stand in one pair of parentheses: YAML ends an item at each comma, so that
/// `[conv(8, 3)]` comes as `conv(8` and `3)`.
fn join_items(items: &mut Vec<Node>, page: &mut Page<'_>) {
    let mut from = 0;
    while from < items.len() && !page.is_full() {
        let ends = items[from..].iter().map(|item| (item.span, open_parens(item, page)));
        if let Some((count, span)) = one_call(ends) {
            page.report(cut_call(span, page));
            items.splice(from..from + count, [Node { kind: Kind::Bad, span }]);
        }
        from += 1;
    }
}

/// As [`join_items`], for `{ init: kaiming_normal(relu, mode = fan_out) }`, where `mode = fan_out)` comes as a key.
fn join_entries(entries: &mut Vec<Entry>, page: &mut Page<'_>) {
    let mut from = 0;
    while from < entries.len() && !page.is_full() {
        let ends = entries[from..].iter().enumerate().map(|(index, entry)| {
            let value = open_parens(&entry.value, page);
            if index == 0 {
                return (entry.value.span, value);
            }
            let key = open_parens(&entry.key, page);
            (entry.span(), key.and_then(|key| Some(key + value?)))
        });
        if let Some((count, span)) = one_call(ends) {
            page.report(cut_call(span, page));
            entries[from].value = Node { kind: Kind::Bad, span };
            entries.drain(from + 1..from + count);
        }
        from += 1;
    }
}

/// How many parentheses a scalar leaves open, or closes if negative; None of a list or map.
fn open_parens(node: &Node, page: &Page<'_>) -> Option<i64> {
    match node.kind {
        Kind::Plain => Some(page.slice(node.span).bytes().fold(0, |open, byte| match byte {
            b'(' => open + 1,
            b')' => open - 1,
            _ => open,
        })),
        Kind::Empty | Kind::Text(_) => Some(0),
        _ => None,
    }
}

/// When the first of some values leaves parentheses open and a later one closes them: how many values that is, and their span.
fn one_call(mut values: impl Iterator<Item = (Span, Option<i64>)>) -> Option<(usize, Span)> {
    let (first, open) = values.next()?;
    let mut open = open.filter(|&open| open > 0)?;
    // No call has more arguments; without a bound, many open parentheses would cost their square.
    for (index, (span, more)) in values.take(limits::NESTING).enumerate() {
        open += more?;
        if open <= 0 {
            return Some((index + 2, first.to(span)));
        }
    }
    None
}

/// The error for a call or tuple that YAML has cut at its commas.
fn cut_call(span: Span, page: &Page<'_>) -> Diagnostic {
    let text = page.slice(span);
    match (text.split_once('('), text.strip_suffix(')')) {
        (Some(("", _)), Some(inner)) => {
            Diagnostic::new(Code::N0112, "a list of values stands in `[ ]`", span, "YAML cuts this at its commas").fix(
                "use brackets",
                span,
                format!("[{}]", &inner[1..]),
            )
        }
        (Some((name, _)), _) if is_name(name.trim()) => Diagnostic::new(
            Code::N0112,
            format!("several arguments of `{}` are a mapping in YAML", name.trim()),
            span,
            "YAML cuts this at its commas",
        )
        .note(format!("write `{{ {}: {{ argument: value, … }} }}`", name.trim())),
        _ => Diagnostic::new(Code::N0112, "YAML cuts this value at its commas", span, ""),
    }
}
