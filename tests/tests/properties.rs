//! No text makes the compiler or a printer panic, and every place that a finding names is in its file.
//!
//! Texts are right ones made of the language's forms, changed ones of `specs/`, and random ones, in both spellings. The
//! seed is fixed, so that a run is the same each time; `PROPTEST_CASES=100000` looks longer.

mod support;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use netspec_compiler::Outcome;
use netspec_compiler::diag::{Diagnostic, render};
use netspec_compiler::source::{Span, Spelling};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use support::{compile_with, findings};

/// Runs a property on `cases` values, the same ones each time, or on as many as `PROPTEST_CASES` says.
fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: std::fmt::Debug,
{
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, max_shrink_time: 30_000, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, rng).run(strategy, property).unwrap_or_else(|error| panic!("{error}"));
}

/// Compiles a text and checks what holds for every text.
fn holds(text: &str, spelling: Spelling) -> Result<Outcome, TestCaseError> {
    let begin = Instant::now();
    let outcome = compile_with(text, spelling, &[]);
    let time = begin.elapsed();
    prop_assert!(time < Duration::from_secs(5), "{time:?}");
    for finding in &outcome.diagnostics {
        for span in spans(finding) {
            let file = &outcome.sources.file(span.file).text;
            prop_assert!(file.get(span.range()).is_some(), "{} at {:?} of {}", finding.code, span.range(), file.len());
        }
        prop_assert!(!finding.title.is_empty() && !finding.title.contains('\n'), "the title `{}`", finding.title);
        for style in [render::Style::Plain, render::Style::Colored] {
            render::human(finding, &outcome.sources, style);
        }
        render::short(finding, &outcome.sources);
        render::json(finding, &outcome.sources);
    }
    prop_assert!(outcome.is_ok() || !outcome.diagnostics.is_empty(), "wrong without a word");
    Ok(outcome)
}

/// Every place that a finding names.
fn spans(finding: &Diagnostic) -> impl Iterator<Item = Span> {
    let labels = finding.labels.iter().map(|label| label.span);
    let edits = finding.fix.iter().flat_map(|fix| fix.edits.iter().map(|edit| edit.span));
    labels.chain(edits).chain(finding.trace.iter().map(|frame| frame.used_at))
}

/// All specs, right and wrong ones: path, text and spelling.
static SPECS: LazyLock<Vec<(String, String, Spelling)>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut specs = Vec::new();
    for folder in ["specs", "specs/broken"] {
        for entry in fs::read_dir(root.join(folder)).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            let name = path.to_string_lossy().into_owned();
            if let Some(spelling) = Spelling::of_path(&name) {
                specs.push((name, fs::read_to_string(path).expect("a text"), spelling));
            }
        }
    }
    specs.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    specs
});

/// A change of a text.
#[derive(Clone, Debug)]
enum Change {
    /// Characters left out.
    Cut(usize, usize),
    /// Something put in.
    Put(usize, String),
    /// A line said twice, or left out.
    Double(usize),
    Drop(usize),
    /// Two lines exchanged.
    Exchange(usize, usize),
    /// The rest left out.
    End(usize),
    /// A part of another spec put in.
    Graft(usize, usize, usize, usize),
}

/// What is likely to matter: the language's own words and signs, and what is none of it.
fn fragment() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ";",
        ":",
        ",",
        "->",
        "=",
        "\"",
        "'",
        "//",
        "#",
        "-",
        "- ",
        "*",
        "/",
        "+",
        "&a",
        "*a",
        "!t",
        "<<",
        "|",
        ">",
        "%",
        "@",
        "`",
        "\\",
        "\n",
        "\n  ",
        "\n    - ",
        "\t",
        "\r\n",
        "\r",
        "\0",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "é",
        "層",
        "🦀",
        "\u{301}",
        "skip",
        "skip {",
        "project",
        "project {",
        "branch add {",
        "branch",
        "repeat",
        "repeat 3 {",
        "repeat 0",
        "tied",
        "unrolled",
        " as a",
        " as",
        "from",
        "from x;",
        "input",
        "output",
        "shared",
        "model",
        "block",
        "train",
        "conv(",
        "linear(8);",
        "relu;",
        "relu",
        "view(-1, 8);",
        "add(a, a);",
        "concat",
        "in = 3",
        "init = kaiming_normal(relu)",
        "9999999999999999999999",
        "1e999",
        "-1",
        "0",
        "010",
        "1.5",
        "0x1f",
        "true",
        "~",
        "a: b",
        "a: ",
        "? ",
        "[[",
        "{{",
        "---\n",
        "...\n",
        "n",
        "x",
        "kernel",
        "kernel = 3",
        ": [8]",
        "shape: [8]",
        "as: a",
        "body: [relu]",
    ];
    prop_oneof![
        4 => prop::sample::select(WORDS).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "\\PC{0,8}",
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let at = || any::<usize>();
    prop_oneof![
        3 => (at(), 1..12_usize).prop_map(|(at, count)| Change::Cut(at, count)),
        6 => (at(), fragment()).prop_map(|(at, text)| Change::Put(at, text)),
        2 => at().prop_map(Change::Double),
        2 => at().prop_map(Change::Drop),
        1 => (at(), at()).prop_map(|(a, b)| Change::Exchange(a, b)),
        1 => at().prop_map(Change::End),
        2 => (at(), at(), at(), 1..60_usize).prop_map(|(at, spec, from, count)| Change::Graft(at, spec, from, count)),
    ]
}

/// The text with a change, at a place that the change's numbers choose.
fn changed(text: &str, change: &Change) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let place = |at: usize| at % (characters.len() + 1);
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let line = |at: usize| at % lines.len().max(1);
    match change {
        Change::Cut(at, count) => {
            let from = place(*at);
            let to = (from + count).min(characters.len());
            characters.drain(from..to);
        }
        Change::Put(at, put) => {
            let from = place(*at);
            characters.splice(from..from, put.chars());
        }
        Change::Graft(at, spec, start, count) => {
            let (_, other, _) = &SPECS[spec % SPECS.len()];
            let length = other.chars().count().max(1);
            let from = place(*at);
            characters.splice(from..from, other.chars().skip(start % length).take(*count));
        }
        Change::End(at) => {
            let from = place(*at);
            characters.truncate(from);
        }
        Change::Double(_) | Change::Drop(_) | Change::Exchange(..) if lines.is_empty() => {}
        Change::Double(at) => {
            let at = line(*at);
            lines.insert(at, lines[at]);
            return lines.concat();
        }
        Change::Drop(at) => {
            let at = line(*at);
            lines.remove(at);
            return lines.concat();
        }
        Change::Exchange(a, b) => {
            let (a, b) = (line(*a), line(*b));
            lines.swap(a, b);
            return lines.concat();
        }
    }
    characters.into_iter().collect()
}

#[test]
fn a_changed_spec_is_decided() {
    check(3_000, &(any::<prop::sample::Index>(), vec(change(), 1..6)), |(spec, changes)| {
        let (_, text, spelling) = spec.get(&SPECS);
        let text = changes.iter().fold(text.clone(), |text, change| changed(&text, change));
        holds(&text, *spelling)?;
        Ok(())
    });
}

#[test]
fn a_random_text_is_decided() {
    let text = prop_oneof![
        vec(fragment(), 0..60).prop_map(|words| words.concat()),
        "[\\PC\n\t ]{0,200}",
        vec(fragment(), 0..30).prop_map(|words| words.join(" "))
    ];
    check(1_500, &text, |text| {
        for spelling in [Spelling::Netspec, Spelling::Yaml] {
            holds(&text, spelling)?;
            // As the body of a model more of it is read.
            holds(&format!("model M {{ input x [8];\n{text}\n}}"), Spelling::Netspec)?;
            holds(&format!("model: M\ninput: {{ x: [8] }}\nlayers:\n  - relu\n  - {text}\n"), Spelling::Yaml)?;
        }
        Ok(())
    });
}

/// A statement that is right on any map, written in both spellings, and whether it has weights.
#[derive(Clone, Debug)]
enum Form {
    Plain(&'static str),
    Conv(u8),
    Skip(Vec<Form>, bool),
    Branch(bool, Vec<Vec<Form>>),
    Repeat(u8, Style, Vec<Form>),
    Block(u8),
    Shared,
    Asserted(Box<Form>),
}

#[derive(Clone, Copy, Debug)]
enum Style {
    Separate,
    Tied,
    Unrolled,
}

fn form() -> impl Strategy<Value = Form> {
    let leaf = prop_oneof![
        prop::sample::select(
            &["relu", "tanh", "sigmoid", "identity", "batch_norm", "gelu", "softmax", "dropout", "channel_dropout"][..]
        )
        .prop_map(Form::Plain),
        (0..3_u8).prop_map(Form::Conv),
        (1..4_u8).prop_map(Form::Block),
        Just(Form::Shared),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let body = || vec(inner.clone(), 1..4);
        prop_oneof![
            (body(), any::<bool>()).prop_map(|(body, project)| Form::Skip(body, project)),
            vec(body(), 2..4).prop_map(|arms| Form::Branch(false, arms)),
            vec(body(), 2..3).prop_map(|arms| Form::Branch(true, arms)),
            (1..5_u8, prop::sample::select(&[Style::Separate, Style::Tied, Style::Unrolled][..]), body())
                .prop_map(|(count, style, body)| Form::Repeat(count, style, body)),
            inner.prop_map(|form| Form::Asserted(Box::new(form))),
        ]
    })
}

/// Every form keeps 4 channels of 6 x 6, so that each can follow each.
impl Form {
    fn is_layer(&self) -> bool {
        matches!(self, Form::Plain(_) | Form::Conv(_) | Form::Block(_) | Form::Shared)
    }

    fn netspec(&self) -> String {
        let all = |body: &[Form]| body.iter().map(Form::netspec).collect::<Vec<_>>().join(" ");
        match self {
            Form::Plain(name) => format!("{name};"),
            Form::Conv(0) => "conv(4, kernel = 3, padding = 1);".to_owned(),
            Form::Conv(1) => {
                "conv(c -> c, kernel = (1, 3), padding = [0, 1], bias = false, init = kaiming_normal(relu));".to_owned()
            }
            Form::Conv(_) => "conv(2 * c / 2, kernel = 1, groups = 2);".to_owned(),
            Form::Skip(body, false) => format!("skip {{ {} }}", all(body)),
            Form::Skip(body, true) => format!("skip {{ {} }} project {{ conv(c, kernel = 1); }}", all(body)),
            Form::Branch(false, arms) => {
                let arms: Vec<String> = arms.iter().map(|arm| format!("{{ {} }}", all(arm))).collect();
                format!("branch add {{ {} }}", arms.join(" "))
            }
            Form::Branch(true, arms) => {
                let arms: Vec<String> = arms.iter().map(|arm| format!("{{ {} }}", all(arm))).collect();
                format!("branch concat {{ {} }} conv(c, kernel = 1);", arms.join(" "))
            }
            Form::Repeat(count, style, body) => {
                let style = match style {
                    Style::Separate => "",
                    Style::Tied => "tied ",
                    Style::Unrolled => "unrolled ",
                };
                format!("repeat {count} {style}{{ {} }}", all(body))
            }
            Form::Block(k) => format!("Unit(k = {k}, n = c);"),
            Form::Shared => "enc;".to_owned(),
            Form::Asserted(form) if form.is_layer() => format!("{} : [c, 6, 6];", form.netspec().trim_end_matches(';')),
            Form::Asserted(form) => form.netspec(),
        }
    }

    fn yaml(&self) -> String {
        let all = |body: &[Form]| body.iter().map(Form::yaml).collect::<Vec<_>>().join(", ");
        match self {
            Form::Plain(name) => (*name).to_owned(),
            Form::Conv(0) => "{ conv: { out: 4, kernel: 3, padding: 1 } }".to_owned(),
            Form::Conv(1) => {
                "{ conv: { in: c, out: c, kernel: [1, 3], padding: [0, 1], bias: false, init: kaiming_normal(relu) } }"
                    .to_owned()
            }
            Form::Conv(_) => "{ conv: { out: 2 * c / 2, kernel: 1, groups: 2 } }".to_owned(),
            Form::Skip(body, false) => format!("{{ skip: [ {} ] }}", all(body)),
            Form::Skip(body, true) => {
                format!("{{ skip: [ {} ], project: [ {{ conv: {{ out: c, kernel: 1 }} }} ] }}", all(body))
            }
            Form::Branch(is_concat, arms) => {
                let arms: Vec<String> = arms.iter().map(|arm| format!("[ {} ]", all(arm))).collect();
                let (join, back) =
                    if *is_concat { ("concat", ", { conv: { out: c, kernel: 1 } }") } else { ("add", "") };
                format!("{{ branch: {join}, arms: [ {} ] }}{back}", arms.join(", "))
            }
            Form::Repeat(count, style, body) => {
                let style = match style {
                    Style::Separate => "",
                    Style::Tied => "tied: true, ",
                    Style::Unrolled => "unrolled: true, ",
                };
                format!("{{ repeat: {count}, {style}body: [ {} ] }}", all(body))
            }
            Form::Block(k) => format!("{{ Unit: {{ k: {k}, n: c }} }}"),
            Form::Shared => "enc".to_owned(),
            Form::Asserted(form) if form.is_layer() => {
                let layer = form.yaml();
                match layer.strip_suffix(" }") {
                    Some(call) => format!("{call}, shape: [c, 6, 6] }}"),
                    None => format!("{{ {layer}: , shape: [c, 6, 6] }}"),
                }
            }
            Form::Asserted(form) => form.yaml(),
        }
    }
}

const UNIT: &str = "block Unit(n, k = 1) { skip { repeat k { conv(n, kernel = 3, padding = 1); relu; } } }";
const UNIT_IN_YAML: &str = "blocks: { Unit: { params: [n, { k: 1 }], layers: [ { skip: [ { repeat: k, body: [ { conv: { out: n, kernel: 3, padding: 1 } }, relu ] } ] } ] } }";

#[test]
fn a_right_spec_is_right_and_the_same_in_both_spellings() {
    check(400, &vec(form(), 1..5), |forms| {
        let body: Vec<String> = forms.iter().map(Form::netspec).collect();
        let layers: Vec<String> = forms.iter().map(Form::yaml).collect();
        let dsl = format!(
            "{UNIT}\nmodel M(c = 4) {{\n  input x [c, 6, 6];\n  shared enc {{ conv(c, kernel = 1); tanh; }}\n  {}\n}}\n",
            body.join("\n  ")
        );
        let page = format!(
            "model: M\nparams: {{ c: 4 }}\ninput: {{ x: [c, 6, 6] }}\n{UNIT_IN_YAML}\n\
             shared: {{ enc: [ {{ conv: {{ out: c, kernel: 1 }} }}, tanh ] }}\nlayers: [ {} ]\n",
            layers.join(", ")
        );
        let a = holds(&dsl, Spelling::Netspec)?;
        let Some(checked) = &a.checked else {
            return Err(TestCaseError::fail(format!("{dsl}\n{:?}", findings(&a))));
        };
        let b = holds(&page, Spelling::Yaml)?;
        let Some(in_yaml) = &b.checked else {
            return Err(TestCaseError::fail(format!("{page}\n{:?}", findings(&b))));
        };
        prop_assert_eq!(checked.net.to_string(), in_yaml.net.to_string());
        prop_assert_eq!(&checked.outputs, &vec![vec![4, 6, 6]]);
        prop_assert_eq!(checked.parameters, in_yaml.parameters);
        Ok(())
    });
}

/// Taking a fix takes the finding away: its code is not found at its place again.
#[test]
fn a_fix_mends_its_place() {
    let mut fixes = 0;
    for (path, text, spelling) in SPECS.iter() {
        let outcome = compile_with(text, *spelling, &[]);
        for finding in &outcome.diagnostics {
            let Some(fix) = &finding.fix else { continue };
            fixes += 1;
            let mut edits = fix.edits.clone();
            edits.sort_by_key(|edit| std::cmp::Reverse(edit.span));
            let mut mended = text.clone();
            for edit in &edits {
                mended.replace_range(edit.span.range(), &edit.text);
            }
            // Where the place stands now: it moves by what is put in before it.
            let start = finding.primary().start as i64;
            let moved = edits.iter().filter(|edit| i64::from(edit.span.end) <= start && edit.span != finding.primary());
            let shift: i64 = moved.map(|edit| edit.text.len() as i64 - edit.span.range().len() as i64).sum();
            let again = compile_with(&mended, *spelling, &[]);
            let found = again.diagnostics.iter().find(|found| {
                found.code == finding.code
                    && found.title == finding.title
                    && i64::from(found.primary().start) == start + shift
            });
            assert!(found.is_none(), "{path}: `{}` does not mend `{}`:\n{mended}", fix.title, finding.title);
            let errors =
                |outcome: &Outcome| outcome.diagnostics.iter().filter(|found| found.code == finding.code).count();
            assert!(errors(&again) < errors(&outcome), "{path}: `{}` leaves {}:\n{mended}", fix.title, finding.code);
        }
    }
    assert!(fixes > 20, "{fixes} fixes");
}
