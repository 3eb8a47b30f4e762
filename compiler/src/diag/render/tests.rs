use proptest::prelude::*;

use super::*;
use crate::diag::{Code, Frame};
use crate::source::{File, Spelling};

fn source(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned(), spelling: Spelling::Yaml }
}

fn one(text: &str) -> Sources {
    let mut sources = Sources::default();
    sources.add(source("net.yaml", text));
    sources
}

/// The `nth` place of `word` in the first file.
fn at(sources: &Sources, word: &str, nth: usize) -> Span {
    let (start, _) = sources.files()[0].text.match_indices(word).nth(nth).unwrap();
    Span::new(FileId(0), start..start + word.len())
}

const LINEAR_ON_MAP: &str = "\
model: Net
input: { image: [3, 32, 32] }
layers:
  - conv: { out: 16, kernel: 3, padding: 1 }
    as: conv1
  - tanh
  - max_pool: 2
  - conv: { out: 8, kernel: 3, padding: 1 }
    as: conv2
  - tanh
  - max_pool: 2
  - linear: { in: 512, out: 32 }
    as: fc1
";

/// The error that the whole project is about, as the checker builds it.
fn famous() -> (Diagnostic, Sources) {
    let mut sources = Sources::default();
    sources.add(source("specs/broken/linear-on-map.yaml", LINEAR_ON_MAP));
    let linear = at(&sources, "linear", 0);
    let title = "`fc1` takes 512 features, but is given a feature map of 8 x 8 x 8";
    let diagnostic = Diagnostic::new(Code::N0301, title, linear, "reads the last dimension, which is 8")
        .label(at(&sources, "max_pool: 2", 1), "this makes 8 channels of 8 x 8")
        .note("at run time this would be a product of 64 x 8 by 512 x 32 (one sample)")
        .note("8 x 8 x 8 = 512, so the sizes agree; only the shape is wrong")
        .fix("flatten the map first", linear.before(), "view: [-1, 512]\n  - ");
    (diagnostic, sources)
}

const FAMOUS: &str = "\
error[N0301]: `fc1` takes 512 features, but is given a feature map of 8 x 8 x 8
  --> specs/broken/linear-on-map.yaml:12:5
   |
11 |   - max_pool: 2
   |     ----------- this makes 8 channels of 8 x 8
12 |   - linear: { in: 512, out: 32 }
   |     ^^^^^^ reads the last dimension, which is 8
   |
   = note: at run time this would be a product of 64 x 8 by 512 x 32 (one sample)
   = note: 8 x 8 x 8 = 512, so the sizes agree; only the shape is wrong
help: flatten the map first
   |
12 +   - view: [-1, 512]
   |";

#[test]
fn the_famous_error_is_printed_to_the_character() {
    let (diagnostic, sources) = famous();
    assert_eq!(human(&diagnostic, &sources, Style::Plain), FAMOUS);
}

#[test]
fn a_fix_of_whole_lines_is_the_same_diff_wherever_it_is_put_in() {
    let (mut diagnostic, sources) = famous();
    let pool = at(&sources, "max_pool: 2", 1);
    let line_start = Span::new(FileId(0), pool.end as usize + 1..pool.end as usize + 1);
    for (span, text) in [(line_start, "  - view: [-1, 512]\n"), (pool.after(), "\n  - view: [-1, 512]")] {
        diagnostic = diagnostic.fix("flatten the map first", span, text);
        assert_eq!(human(&diagnostic, &sources, Style::Plain), FAMOUS);
    }
}

#[test]
fn colours_add_nothing_but_escape_codes() {
    let (diagnostic, sources) = famous();
    let colored = human(&diagnostic, &sources, Style::Colored);
    assert!(colored.contains("\u{1b}[1m\u{1b}[91merror[N0301]\u{1b}[0m"), "{colored:?}");
    let mut stripped = String::new();
    for (index, part) in colored.split('\u{1b}').enumerate() {
        stripped += if index == 0 { part } else { part.split_once('m').unwrap().1 };
    }
    assert_eq!(stripped, FAMOUS);
}

#[test]
fn the_short_form_is_one_line() {
    let (diagnostic, sources) = famous();
    assert_eq!(
        short(&diagnostic, &sources),
        "specs/broken/linear-on-map.yaml:12:5: error[N0301]: \
         `fc1` takes 512 features, but is given a feature map of 8 x 8 x 8"
    );
}

#[test]
fn json_is_one_line_with_its_fields_in_order() {
    let sources = one("layers:\n  - é: 1\n");
    let diagnostic = Diagnostic {
        trace: vec![Frame {
            text: "in `B(n = 2)`".to_owned(),
            used_at: at(&sources, "layers", 0),
            is_use: true,
            times: 10,
        }],
        ..Diagnostic::new(Code::N0201, "unknown layer `é`", at(&sources, "é", 0), "not a layer")
            .label(at(&sources, "1", 0), "its argument")
            .note("a note")
            .fix("did you mean `elu`?", at(&sources, "é", 0), "elu")
    };
    let expected = concat!(
        r#"{"code":"N0201","severity":"error","title":"unknown layer `é`","#,
        r#""file":"net.yaml","line":2,"column":5,"end_line":2,"end_column":6,"start":12,"end":14,"#,
        r#""labels":[{"file":"net.yaml","line":2,"column":5,"end_line":2,"end_column":6,"start":12,"end":14,"#,
        r#""text":"not a layer","primary":true},"#,
        r#"{"file":"net.yaml","line":2,"column":8,"end_line":2,"end_column":9,"start":16,"end":17,"#,
        r#""text":"its argument","primary":false}],"#,
        r#""notes":["a note"],"fix":{"title":"did you mean `elu`?","edits":["#,
        r#"{"file":"net.yaml","line":2,"column":5,"end_line":2,"end_column":6,"start":12,"end":14,"text":"elu"}]},"#,
        r#""trace":[{"text":"in `B(n = 2)`","file":"net.yaml","line":1,"times":10}]}"#,
    );
    assert_eq!(json(&diagnostic, &sources), expected);
    let bare = Diagnostic::new(Code::N0901, "unused", Span::default(), "");
    assert!(json(&bare, &sources).ends_with(r#""notes":[],"fix":null,"trace":[]}"#));
}

#[test]
fn a_trace_is_a_note_for_each_step() {
    let mut sources = one("- relu\n- ResBlock: 32\n");
    let other = sources.add(source("blocks.yaml", "\n\n- Inner\n"));
    let (relu, used_at) = (at(&sources, "relu", 0), at(&sources, "ResBlock", 0));
    let inner = Frame { text: "in `Inner` ".to_owned(), used_at: Span::new(other, 4..9), is_use: true, times: 1 };
    let outer = Frame { text: "in `ResBlock(n = 32)`".to_owned(), used_at, is_use: true, times: 10 };
    let diagnostic = Diagnostic {
        trace: vec![inner, outer],
        ..Diagnostic::new(Code::N0303, "shapes differ", relu, "").note("3 is not 4")
    };
    assert_eq!(
        human(&diagnostic, &sources, Style::Plain),
        "\
error[N0303]: shapes differ
 --> net.yaml:1:3
  |
1 | - relu
  |   ^^^^
  |
  = note: 3 is not 4
  = note: in `Inner`, used at line 3 of blocks.yaml
  = note: in `ResBlock(n = 32)`, used at line 2, repeated 10 times"
    );
}

#[test]
fn labels_of_another_file_get_their_own_snippet_and_fixes_their_own_place() {
    let mut sources = one("- linear: 3\n");
    let other = sources.add(source("blocks.yaml", "x\n- conv: 8\n"));
    let diagnostic = Diagnostic::new(Code::N0301, "a map", at(&sources, "linear", 0), "here")
        .label(Span::new(other, 4..8), "this makes it")
        .fix("call it otherwise", Span::new(other, 4..8), "linear");
    assert_eq!(
        human(&diagnostic, &sources, Style::Plain),
        "\
error[N0301]: a map
 --> net.yaml:1:3
  |
1 | - linear: 3
  |   ^^^^^^ here
  |
 ::: blocks.yaml:2:3
  |
2 | - conv: 8
  |   ---- this makes it
  |
help: call it otherwise
 --> blocks.yaml:2:3
  |
2 - - conv: 8
2 + - linear: 8
  |"
    );
}

#[test]
fn a_file_without_text_is_named_and_not_shown() {
    let mut sources = Sources::default();
    sources.add(source("missing.yaml", ""));
    let title = "cannot read `missing.yaml`: no such file";
    let diagnostic = Diagnostic::new(Code::N0107, title, Span::default(), "").note("look again");
    let expected = "\
error[N0107]: cannot read `missing.yaml`: no such file
--> missing.yaml
 = note: look again";
    assert_eq!(human(&diagnostic, &sources, Style::Plain), expected);
    assert_eq!(short(&diagnostic, &sources), format!("missing.yaml:1:1: error[N0107]: {title}"));
}

#[test]
fn the_end_of_the_text_can_be_blamed() {
    for (text, line, caret, place) in
        [("a:\n  b", "2 |   b", "  |    ^ more", "2:4"), ("a:\n  b\n", "3 |", "  | ^ more", "3:1")]
    {
        let sources = one(text);
        let end = Span::new(FileId(0), text.len()..text.len());
        let diagnostic = Diagnostic::new(Code::N0101, "the text ends", end, "more");
        assert_eq!(
            human(&diagnostic, &sources, Style::Plain),
            format!("error[N0101]: the text ends\n --> net.yaml:{place}\n  |\n{line}\n{caret}")
        );
    }
}

#[test]
fn a_span_of_several_lines_is_bracketed_and_its_last_line_break_is_not_meant() {
    let sources = one("- skip:\r\n    - relu\r\n- tanh\r\n");
    let span = at(&sources, "skip:\r\n    - relu\r\n", 0);
    let diagnostic = Diagnostic::new(Code::N0303, "shapes differ", span, "this body");
    assert_eq!(
        human(&diagnostic, &sources, Style::Plain),
        "\
error[N0303]: shapes differ
 --> net.yaml:1:3
  |
1 |   - skip:
  |  ___^
2 | |     - relu
  | |__________^ this body"
    );
}

#[test]
fn tabs_and_wide_characters_are_underlined_where_they_are_shown() {
    let sources = one("\t日本: relu\n");
    let diagnostic = Diagnostic::new(Code::N0101, "odd", at(&sources, "relu", 0), "here");
    assert_eq!(
        human(&diagnostic, &sources, Style::Plain),
        "\
error[N0101]: odd
 --> net.yaml:1:6
  |
1 |     日本: relu
  |           ^^^^ here"
    );
}

#[test]
fn what_commands_a_terminal_is_made_visible() {
    let sources = one("a\u{1b}[31m\u{9b}31m b\n");
    let diagnostic = Diagnostic::new(Code::N0101, "odd \u{1b}[2J\nname", at(&sources, "b", 0), "\u{7}").note("\u{1b}c");
    for text in [human(&diagnostic, &sources, Style::Plain), short(&diagnostic, &sources)] {
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{7}', '\u{fdd0}']), "{text:?}");
        assert!(text.contains("error[N0101]: odd ␛[2J name"), "{text:?}");
    }
}

#[test]
fn a_long_line_is_cut_around_its_spans() {
    let line = format!("{}conv{}relu{}", "a ".repeat(40_000), "b ".repeat(200_000), "c ".repeat(300_000));
    let sources = one(&line);
    let (conv, relu) = (at(&sources, "conv", 0), at(&sources, "relu", 0));
    let diagnostic =
        Diagnostic::new(Code::N0303, "differ", relu, "here").label(conv, "there").fix("swap", relu, "tanh");
    let expected = format!(
        "\
error[N0303]: differ
 --> net.yaml:1:480005
  |
1 | ...{a}conv{b}...{b}relu{c}...
  |    {s}---- there{t}^^^^ here
  |
help: swap
  |
1 - ...{b}relu{c}...
1 + ...{b}tanh{c}...
  |",
        a = "a ".repeat(25),
        b = "b ".repeat(25),
        c = "c ".repeat(25),
        s = " ".repeat(50),
        t = " ".repeat(97),
    );
    assert_eq!(human(&diagnostic, &sources, Style::Plain), expected);
}

#[test]
fn long_texts_are_wrapped_or_cut() {
    let sources = one("relu\n");
    let note = "every word of this note is short, but there are so many of them that one line would be far too long for it; so";
    let diagnostic =
        Diagnostic::new(Code::N0201, "x".repeat(1 << 20), at(&sources, "relu", 0), "y".repeat(1 << 20)).note(note);
    let text = human(&diagnostic, &sources, Style::Plain);
    assert!(text.len() < 1200, "{}", text.len());
    assert!(
        text.ends_with(
            "
  = note: every word of this note is short, but there are so many of them that one line
          would be far too long for it; so"
        ),
        "{text}"
    );
    assert!(text.lines().skip(5).all(|line| line.chars().count() < 95), "{text}");
    assert!(short(&diagnostic, &sources).len() < 500);
}

#[test]
fn a_fix_that_cannot_be_shown_is_told() {
    let sources = one("- relu\n- tanh\n");
    let (relu, tanh) = (at(&sources, "relu", 0), at(&sources, "relu\n- tanh", 0));
    let mut diagnostic = Diagnostic::new(Code::N0907, "two", relu, "").fix("leave one out", relu, "");
    diagnostic.fix.as_mut().unwrap().edits.push(Edit { span: tanh, text: String::new() });
    let text = human(&diagnostic, &sources, Style::Plain);
    assert!(text.starts_with("warning[N0907]: two\n"), "{text}");
    assert!(text.ends_with("\n  |\nhelp: leave one out"), "{text}");
}

#[test]
fn the_tally_counts_both_kinds() {
    let of = |codes: &[Code]| {
        let found: Vec<_> = codes.iter().map(|&code| Diagnostic::new(code, "", Span::default(), "")).collect();
        tally(&found)
    };
    assert_eq!(of(&[]), "no errors");
    assert_eq!(of(&[Code::N0301]), "1 error");
    assert_eq!(of(&[Code::N0301, Code::N0901, Code::N0101]), "2 errors, 1 warning");
    assert_eq!(of(&[Code::N0901, Code::N0902]), "2 warnings");
}

/// Pieces that texts are made of: everything that has a width, a length or a meaning of its own.
const PIECES: &[&str] = &[
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "  - relu",
    "linear: 3",
    "日本",
    "é",
    "e\u{301}",
    "\u{200d}",
    "👩‍🔬",
    "\u{1b}[0m",
    "\u{9b}",
    "\u{fdd0}:1",
    "\0",
    "{",
    "}",
    "// x",
    "\u{feff}",
    "\u{202e}",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(PIECES).prop_map(str::to_owned), (1..300_usize).prop_map(|n| "x".repeat(n))]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

fn span() -> impl Strategy<Value = Span> {
    (0..2_u32, 0..600_u32, prop_oneof![Just(0), 0..40_u32, 0..600_u32]).prop_map(|(file, start, length)| Span {
        file: FileId(file),
        start,
        end: start + length,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_the_place_is_right(
        texts in (text(), text()),
        labels in prop::collection::vec((span(), "[a-z ]{0,12}"), 1..5),
        edits in prop::collection::vec((span(), text()), 0..3),
    ) {
        let mut sources = Sources::default();
        sources.add(source("net.yaml", &texts.0));
        sources.add(source("other.yaml", &texts.1));
        let mut labels = labels.into_iter();
        let (primary, label) = labels.next().unwrap();
        let mut diagnostic = Diagnostic::new(Code::N0301, "a title", primary, label);
        for (span, text) in labels {
            diagnostic = diagnostic.label(span, text);
        }
        let edits: Vec<_> = edits.into_iter().map(|(span, text)| Edit { span, text }).collect();
        diagnostic.fix = (!edits.is_empty()).then(|| Fix { title: "a fix".to_owned(), edits });
        human(&diagnostic, &sources, Style::Colored);
        let text = human(&diagnostic, &sources, Style::Plain);
        let header = if sources.file(primary.file).text.is_empty() {
            sources.file(primary.file).path.clone()
        } else {
            place(primary, &sources)
        };
        let second = text.lines().nth(1).unwrap();
        prop_assert!(second.trim_start() == format!("--> {header}"), "{header} in\n{text}");
        prop_assert!(!text.contains(|char| MARKS.contains(&char)), "{text}");
        let parsed: serde_json::Value = serde_json::from_str(&json(&diagnostic, &sources)).unwrap();
        prop_assert_eq!(parsed["labels"].as_array().unwrap().len(), diagnostic.labels.len());
        prop_assert_eq!(short(&diagnostic, &sources).lines().count(), 1);
    }
}
