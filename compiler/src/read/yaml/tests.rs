use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::ast::ExprKind;
use crate::diag::Edit;
use crate::read::netspec;

const RES_DEEP: &str = "\
model: ResDeep
params: { n_chans1: 32, n_blocks: 10 }
input:  { image: [3, 32, 32] }
blocks:
  ResBlock:
    params: [n]
    layers:
      - skip:
          - conv: { out: n, kernel: 3, padding: 1, bias: false, init: kaiming_normal(relu) }
            as: conv
          - batch_norm: { init_weight: 0.5, init_bias: 0 }
            as: batch_norm
          - relu
layers:
  - conv: { in: 3, out: n_chans1, kernel: 3, padding: 1 }
    as: conv1
  - relu
  - max_pool: 2
    shape: [n_chans1, 16, 16]
  - repeat: n_blocks            # tied: true for one set of weights
    as: resblocks
    body: [ { ResBlock: n_chans1 } ]
  - max_pool: 2
  - view: [-1, 8*8*n_chans1]
  - linear: 32
    as: fc1
  - relu
  - linear: 2
    as: fc2
train:
  data: { cifar10: { classes: [airplane, bird], mean: [0.4915, 0.4823, 0.4468], std: [0.2470, 0.2435, 0.2616] } }
  loss: cross_entropy
  optimizer: { sgd: { lr: 3e-3 } }
  batch: 64
  epochs: 100
  shuffle: true
  seed: 0
";

/// The same, but that every argument that YAML names is named, and `view`'s list is one.
const RES_DEEP_NETSPEC: &str = "
block ResBlock(n) {
    skip {
        conv(out = n, kernel = 3, padding = 1, bias = false, init = kaiming_normal(relu)) as conv;
        batch_norm(init_weight = 0.5, init_bias = 0) as batch_norm;
        relu;
    }
}
model ResDeep(n_chans1 = 32, n_blocks = 10) {
    input image [3, 32, 32];
    conv(in = 3, out = n_chans1, kernel = 3, padding = 1) as conv1;
    relu;
    max_pool(2) : [n_chans1, 16, 16];
    repeat n_blocks as resblocks { ResBlock(n_chans1); }
    max_pool(2);
    view([-1, 8*8*n_chans1]);
    linear(32) as fc1;
    relu;
    linear(2) as fc2;
}
train ResDeep {
    data cifar10(classes = [airplane, bird], mean = [0.4915, 0.4823, 0.4468], std = [0.2470, 0.2435, 0.2616]);
    loss cross_entropy;
    optimizer sgd(lr = 3e-3);
    batch 64;  epochs 100;  shuffle true;  seed 0;
}";

const EVERYTHING: &str = "\
output: [logits, features]
model: Everything
params: [n, { k: 8*2 }]
input:
  image: [3, 32, 32]
  meta: [10]
shared: { enc: [ { linear: 64 }, tanh ] }
blocks:
  Down:
    params: { n: , k: 3 }
    shared:
      mix:
      - conv: { out: n, kernel: [1, 3], init: { values: [[1, -2.5], [0, n]] } }
    layers:
    - skip: [ mix, relu: ]
      project: [ { conv: { out: n, kernel: 1, stride: 2, bias: false } }, batch_norm ]
      as: s
layers:
- branch: concat
  as: b
  arms:
  - [ enc, { Down: { n: 8 } } ]
  - - identity
- branch: add
  arms: [ [ identity ], [ { linear: 512 -> 32 } ] ]
- repeat: 6
  unrolled: true
  tied: false
  body:
    - conv: { out: 8, init: { kaiming_normal: { nonlinearity: relu, mode: fan_out } } }
- { repeat: n, tied: true, body: [enc], as: r }
- from: meta
- add: [a, b]
- concat: [a, b]
  as: logits
- dropout: {}
";

const EVERYTHING_NETSPEC: &str = "
block Down(n, k = 3) {
    shared mix { conv(out = n, kernel = [1, 3], init = values([[1, -2.5], [0, n]])); }
    skip as s { mix; relu; } project { conv(out = n, kernel = 1, stride = 2, bias = false); batch_norm; }
}
model Everything(n, k = 8*2) {
    input image [3, 32, 32];
    input meta [10];
    shared enc { linear(64); tanh; }
    branch concat as b { { enc; Down(n = 8); } { identity; } }
    branch add { { identity; } { linear(512 -> 32); } }
    repeat 6 unrolled { conv(out = 8, init = kaiming_normal(nonlinearity = relu, mode = fan_out)); }
    repeat n tied as r { enc; }
    from meta;
    add([a, b]);
    concat([a, b]) as logits;
    dropout();
    output logits, features;
}";

fn spec(text: &str) -> (Spec, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let spec = read(text, FileId(0), true, &mut diagnostics);
    let seen = format!("{spec:?} {diagnostics:?}");
    for (start, end) in spans(&seen) {
        assert!(start <= end && text.get(start..end).is_some(), "{start}..{end} is no span in {text:?}: {seen}");
    }
    assert!(diagnostics.len() <= limits::SYNTAX_ERRORS);
    (spec, diagnostics)
}

fn right(text: &str) -> Spec {
    let (spec, diagnostics) = spec(text);
    assert_eq!(diagnostics, [], "{text}");
    spec
}

const SPAN: &str = "Span { file: FileId(0), start: ";

/// Every span in the debug form of anything.
fn spans(seen: &str) -> impl Iterator<Item = (usize, usize)> {
    seen.split(SPAN).skip(1).map(|rest| {
        let (start, rest) = rest.split_once(", end: ").expect("a span's end");
        let (end, _) = rest.split_once(" }").expect("the end of a span");
        (start.parse().expect("a number"), end.parse().expect("a number"))
    })
}

/// The debug form without spans.
fn structure(spec: &Spec) -> String {
    let seen = format!("{spec:?}");
    let mut parts = seen.split(SPAN);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "_" + part.split_once('}').map_or("", |(_, rest)| rest))
}

fn netspec(text: &str) -> Spec {
    let mut diagnostics = Vec::new();
    let spec = netspec::read(text, FileId(0), true, &mut diagnostics);
    assert_eq!(diagnostics, []);
    spec
}

/// A page around some layers; the layers' own indentation is two spaces.
fn page(layers: &str) -> String {
    format!("model: M\nlayers:\n{layers}")
}

fn statements(spec: &Spec) -> &[Statement] {
    &spec.model.as_ref().expect("a model").body.statements
}

#[test]
fn both_spellings_give_one_ast() {
    let mut wanted = netspec(RES_DEEP_NETSPEC);
    wanted.train.as_mut().expect("a training").model = None;
    assert_eq!(structure(&right(RES_DEEP)), structure(&wanted));
    assert_eq!(structure(&right(EVERYTHING)), structure(&netspec(EVERYTHING_NETSPEC)));
}

#[test]
fn spans_are_exact() {
    let spec = right(RES_DEEP);
    let text = |span: Span| &RES_DEEP[span.range()];
    let model = spec.model.as_ref().expect("a model");
    let seen: Vec<_> = model.body.statements.iter().map(|one| (text(one.head), text(one.span))).collect();
    assert_eq!(
        seen,
        [
            ("conv", "conv: { in: 3, out: n_chans1, kernel: 3, padding: 1 }\n    as: conv1"),
            ("relu", "relu"),
            ("max_pool", "max_pool: 2\n    shape: [n_chans1, 16, 16]"),
            (
                "repeat",
                "repeat: n_blocks            # tied: true for one set of weights\n    as: resblocks\n    \
                 body: [ { ResBlock: n_chans1 } ]"
            ),
            ("max_pool", "max_pool: 2"),
            ("view", "view: [-1, 8*8*n_chans1]"),
            ("linear", "linear: 32\n    as: fc1"),
            ("relu", "relu"),
            ("linear", "linear: 2\n    as: fc2"),
        ]
    );
    assert!(text(model.body.span).starts_with("conv: { in") && text(model.body.span).ends_with("as: fc2"));
    assert_eq!(text(model.inputs[0].shape.span), "[3, 32, 32]");
    assert_eq!(model.body.statements[2].shape.as_ref().map(|shape| text(shape.span)), Some("[n_chans1, 16, 16]"));
    let StatementKind::Call(conv) = &model.body.statements[0].kind else { panic!("{model:?}") };
    assert_eq!(text(conv.span), "conv: { in: 3, out: n_chans1, kernel: 3, padding: 1 }");
    let args: Vec<_> =
        conv.args.iter().map(|arg| (arg.name.as_ref().map(|name| text(name.span)), text(arg.value.span))).collect();
    assert_eq!(args, [(Some("in"), "3"), (Some("out"), "n_chans1"), (Some("kernel"), "3"), (Some("padding"), "1")]);
    let StatementKind::Repeat { body, .. } = &model.body.statements[3].kind else { panic!("{model:?}") };
    assert_eq!(text(body.span), "{ ResBlock: n_chans1 }");
    let block = &spec.blocks[0];
    assert_eq!((text(block.name.span), text(block.body.statements[0].head)), ("ResBlock", "skip"));
    let train = spec.train.as_ref().expect("a training");
    assert_eq!(text(train.head), "train");
    assert_eq!(text(train.settings[2].value.span), "{ sgd: { lr: 3e-3 } }");
    let text = "model: M\nlayers: [conv: 8, {relu: } , {a: [] }]\n";
    let seen = right(text);
    let seen: Vec<_> = statements(&seen).iter().map(|one| &text[one.span.range()]).collect();
    assert_eq!(seen, ["conv: 8", "{relu: }", "{a: [] }"]);
}

#[test]
fn spans_count_bytes_behind_a_mark_and_other_characters() {
    let text = "\u{feff}model: M # größer\r\nlayers:\r\n- relu # ü\r\n- tanh:\r\n- conv: {out: 8*\r\n    2}\r\n";
    let spec = right(text);
    let seen: Vec<_> = statements(&spec).iter().map(|one| &text[one.span.range()]).collect();
    assert_eq!(seen, ["relu", "tanh:", "conv: {out: 8*\r\n    2}"]);
}

/// What serde or YAML would take for something else is read as it is written.
#[test]
fn plain_scalars_are_source_text() {
    let text = page("  - a: { i: n, j: y, k: on, l: no, m: null, n: Null, o: 010, p: true, q: 1e3, r: nan, s: 0.5 }\n");
    let spec = right(&text);
    let StatementKind::Call(call) = &statements(&spec)[0].kind else { panic!("{spec:?}") };
    let seen: Vec<String> = call
        .args
        .iter()
        .map(|arg| match &arg.value.kind {
            ExprKind::Word(word) => word.clone(),
            ExprKind::Int(value) => format!("{value}"),
            ExprKind::Float(value) => format!("{value:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, ["n", "y", "on", "no", "null", "Null", "10", "true", "1000.0", "nan", "0.5"]);
}

#[test]
fn quoted_scalars_are_texts() {
    let text = page("  - a: { path: 'C:\\x', other: \"a\\n\\u00fc\" }\n  - b: \"512 -> 32\"\n");
    let spec = right(&text);
    let texts: Vec<&str> = statements(&spec)
        .iter()
        .flat_map(|one| match &one.kind {
            StatementKind::Call(call) => call.args.iter(),
            other => panic!("{other:?}"),
        })
        .map(|arg| match &arg.value.kind {
            ExprKind::Text(text) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(texts, ["C:\\x", "a\nü", "512 -> 32"]);
}

/// Text, then of its errors, in order: code, the text that is blamed, title.
#[track_caller]
fn wrong(text: &str, wanted: &[(Code, &str, &str)]) {
    let (_, diagnostics) = spec(text);
    let seen: Vec<_> =
        diagnostics.iter().map(|one| (one.code, &text[one.primary().range()], one.title.as_str())).collect();
    assert_eq!(seen, wanted, "{text}");
    for one in &diagnostics {
        assert!(!one.title.ends_with('.') && one.title.len() < 100, "{}", one.title);
        for part in one.labels.iter().map(|label| &label.text).chain(&one.notes).chain([&one.title]) {
            assert!(!part.to_lowercase().contains("scalar") && !part.contains("Error"), "{part}");
        }
    }
}

/// The one error of a text has a fix, and with it the text is `mended` and right.
#[track_caller]
fn mended(text: &str, code: Code, mended: &str) {
    let (_, diagnostics) = spec(text);
    let [one] = diagnostics.as_slice() else { panic!("{diagnostics:?}") };
    assert_eq!(one.code, code);
    let fix = one.fix.as_ref().expect("a fix");
    let [Edit { span, text: new }] = fix.edits.as_slice() else { panic!("{fix:?}") };
    let fixed = format!("{}{new}{}", &text[..span.start as usize], &text[span.end as usize..]);
    assert_eq!(fixed, mended);
    right(&fixed);
}

use Code::*;

#[test]
fn what_is_no_yaml_is_said_in_our_words() {
    wrong("model: M\nfoo\nlayers: [relu]\n", &[(N0103, "f", "a `:` is missing")]);
    wrong("model: M: N\n", &[(N0103, ":", "a `:` cannot stand here")]);
    wrong("layers:\n\t- relu\n", &[(N0103, "\t", "a tab where YAML allows only spaces")]);
    wrong("a: 'x\n", &[(N0103, "'", "a quote is never closed")]);
    wrong("a: \"it's\nb: 3\n", &[(N0103, "\"", "a quote is never closed")]);
    wrong("a: 'x' y\n", &[(N0103, "y", "a quoted text is followed by something else")]);
    wrong("a: \"\\q\"\n", &[(N0103, "\"", "a `\\` in quotes begins nothing that YAML knows")]);
    wrong("a:\n    b: 1\n  c: 2\n", &[(N0103, "c", "a key is wanted here")]);
    wrong("- a\nc: d\n", &[(N0103, "c", "an item is wanted here")]);
    wrong("a: 1\n  b: 2\n", &[(N0103, "1", "the line behind `1` is read as more of it")]);
    mended(&page("  - relu\n    as: r\n  - tanh\n"), N0103, &page("  - relu:\n    as: r\n  - tanh\n"));
    wrong("a: - b\n", &[(N0103, "-", "a list item cannot begin here")]);
    wrong("a: @x\n", &[(N0103, "@", "`@` cannot begin a word")]);
    wrong("a: \u{1}x\n", &[(N0103, "\u{1}", "the control character U+0001 cannot stand in a spec")]);
    wrong("a: b\0\n", &[(N0103, "\0", "the control character U+0000 cannot stand in a spec")]);
    wrong("model: M\n---\nmodel: N\n", &[(N0103, "-", "a second document begins here")]);
    wrong("model: M\n...\nfoo\n", &[(N0103, "f", "a second document begins here")]);
    wrong("a: [1}\n", &[(N0102, "}", "a `[` is closed by `}`")]);
    wrong("a: ]\n", &[(N0102, "]", "a `]` that closes nothing")]);
    wrong("a: {b: 1\n", &[(N0102, "{", "a `{` is never closed")]);
    let (_, diagnostics) = spec("a: [1, 2\nb: 3\n");
    assert_eq!((diagnostics[0].code, diagnostics[0].labels[1].text.as_str()), (N0103, "`[` is still open"));
}

#[test]
fn yaml_that_a_spec_does_not_use_is_reported_everywhere() {
    wrong(
        "model: M\na: &x 1\nb: *x\nc: *y\nd: !!int 3\n",
        &[
            (N0104, "&x", "`&x` is an anchor, which a spec does not use"),
            (N0104, "*x", "`*x` is an alias, which a spec does not use"),
            (N0104, "*y", "`*y` is an alias, which a spec does not use"),
            (N0104, "!!int", "`!!int` is a tag, which a spec does not use"),
        ],
    );
    wrong(
        "model: M\nlayers:\n  - conv: { <<: { out: 8 }, kernel: 3 }\n",
        &[(N0104, "<<", "`<<` is a merge key, which a spec does not use")],
    );
    wrong(
        "%YAML 1.2\n---\nmodel: M\n",
        &[(N0104, "%YAML 1.2", "`%YAML 1.2` is a directive, which a spec does not use")],
    );
    wrong("a: !x!y z\n", &[(N0104, "!", "`!` is a tag, which a spec does not use")]);
    wrong("model: M\nlayers: |\n  relu\n", &[(N0112, "relu", "a block of text (`|` or `>`) has no use in a spec")]);
}

#[test]
fn the_model_is_known_by_name_even_when_the_rest_cannot_be_read() {
    for text in ["params: {a: 1}\nmodel: M\nlayers: [&x relu]\n", "model: M\nlayers: [relu\n"] {
        let (spec, diagnostics) = spec(text);
        assert_eq!(diagnostics.len(), 1);
        let model = spec.model.expect("a model");
        assert_eq!(model.name.text, "M");
        assert!(matches!(model.body.statements[0].kind, StatementKind::Missing));
    }
}

#[test]
fn every_key_given_twice_is_reported_at_both_places() {
    let text = "model: M\nlayers:\n  - conv: { out: 8, out: 9, out: 10 }\nmodel: N\n";
    let (_, diagnostics) = spec(text);
    let seen: Vec<_> = diagnostics
        .iter()
        .map(|one| (one.code, one.labels.iter().map(|one| one.span.start).collect::<Vec<_>>()))
        .collect();
    assert_eq!(seen, [(N0105, vec![37, 29]), (N0105, vec![45, 29]), (N0105, vec![55, 0])]);
    assert_eq!(diagnostics[0].title, "the key `out` is given twice");
}

#[test]
fn unknown_keys_are_reported_where_they_stand() {
    wrong("model: M\nlayrs: [relu]\n", &[(N0106, "layrs", "unknown key `layrs`")]);
    wrong("model: M\nlayers: [relu]\nepochs: 3\n", &[(N0106, "epochs", "unknown key `epochs`")]);
    wrong(
        "model: M\nblocks: { B: { layers: [relu], body: [relu] } }\nlayers: [B]\n",
        &[(N0106, "body", "unknown key `body`")],
    );
    wrong(&page("  - conv: 8\n    linear: 3\n"), &[(N0106, "linear", "a second layer, `linear`, in one item")]);
    wrong(&page("  - conv: 8\n    body: [relu]\n"), &[(N0106, "body", "`body` belongs to `repeat`, not to `conv`")]);
    mended(&page("  - conv: 8\n    shap: [8]\n"), N0106, &page("  - conv: 8\n    shape: [8]\n"));
    mended(&page("  - conv: 8\n    name: c\n"), N0106, &page("  - conv: 8\n    as: c\n"));
    mended(&page("  - repeat: 8\n    bodi: [relu]\n"), N0106, &page("  - repeat: 8\n    body: [relu]\n"));
}

#[test]
fn a_page_without_a_model_is_reported() {
    for text in ["", "# only\n", "---\n", "---\n...\n", "\u{feff}", "\r\n\r\n", "~", "null"] {
        let (spec, diagnostics) = spec(text);
        assert!(spec.model.is_none());
        assert_eq!(diagnostics.len(), 1, "{text:?} {diagnostics:?}");
    }
    wrong("# only\n", &[(N0111, "", "there is no model here")]);
    wrong("model: M\n", &[(N0114, "M", "`M` has no layers")]);
    mended("layers: [relu]\n", N0111, "model: Net\nlayers: [relu]\n");
    wrong("{}", &[(N0111, "{}", "there is no `model` here")]);
}

#[test]
fn values_of_the_wrong_form_are_reported() {
    wrong("[relu]\n", &[(N0112, "[relu]", "a spec is a mapping with the keys `model` and `layers`, found a list")]);
    wrong("model: Res-Deep\nlayers: [relu]\n", &[(N0112, "Res-Deep", "`Res-Deep` is no name")]);
    wrong("model: M\ninput: { a: }\nlayers: [relu]\n", &[(N0112, ":", "`a` is a list of sizes, found nothing")]);
    wrong("model: M\nlayers: { relu: }\n", &[(N0112, "{ relu: }", "`layers` is a list of layers, found a mapping")]);
    wrong("model: M\nlayers: [relu]\ntrain: [a]\n", &[(N0112, "[a]", "`train` is a mapping, found a list")]);
    wrong(
        &page("  - [relu]\n"),
        &[(N0112, "[relu]", "an item of a list of layers is a word or a mapping, found a list")],
    );
    wrong(&page("  -\n"), &[(N0112, "-", "an item of a list of layers is a word or a mapping, found nothing")]);
    wrong(&page("  - as: x\n"), &[(N0112, "as: x", "this item has no layer")]);
    wrong(&page("  - skip\n"), &[(N0112, "skip", "`skip` has no layers")]);
    wrong(&page("  - use: 3\n"), &[(N0215, "use", "`use` is a word of the language and cannot name a layer")]);
    wrong(&page("  - conv 8\n"), &[(N0112, "conv 8", "`conv 8` is no layer")]);
    wrong(&page("  - conv: { out: }\n"), &[(N0112, ":", "`out` has no value")]);
    wrong(&page("  - conv: { a: { b: 1, c: 2 } }\n"), &[(N0112, "c", "`a` is given a mapping of 2 keys")]);
    wrong(&page("  - conv: { out: 3 -> 8 }\n"), &[(N0112, "3 -> 8", "`->` cannot stand in the value of `out`")]);
    wrong(&page("  - conv: { 1x: 8 }\n"), &[(N0112, "1x", "`1x` is no name")]);
    for label in ["00", "1.5", "-1", "1234567"] {
        let title = format!("`{label}` is no name");
        wrong(&page(&format!("  - relu:\n    as: {label}\n")), &[(N0112, label, &title)]);
    }
    wrong(&page("  - ? [a]\n    : b\n"), &[(N0112, "[a]", "a key is one word, found a list")]);
    wrong(
        &page("  - { repeat: 2, tied: yes, body: [relu] }\n"),
        &[(N0112, "yes", "`tied` is `true` or `false`, found `yes`")],
    );
    wrong(
        &page("  - conv:\n      init: kaiming(relu, mode = fan_out)\n"),
        &[(N0112, "kaiming(relu, mode = fan_out)", "several arguments of `kaiming` are a mapping in YAML")],
    );
    wrong(
        &page("  - conv: { init: kaiming(relu, mode = fan_out), out: 8 }\n  - relu: f(\n"),
        &[
            (N0112, "kaiming(relu, mode = fan_out)", "several arguments of `kaiming` are a mapping in YAML"),
            (N0102, "(", "a `(` is never closed"),
        ],
    );
}

#[test]
fn a_value_of_the_wrong_form_has_its_fix_in_yaml() {
    let model = |rest: &str| format!("model: M\n{rest}");
    mended("model: \"M\"\nlayers: [relu]\n", N0112, "model: M\nlayers: [relu]\n");
    mended(&model("layers: relu\n"), N0112, &model("layers: [relu]\n"));
    mended(&model("input: [3, 8]\nlayers: [relu]\n"), N0112, &model("input: { image: [3, 8] }\nlayers: [relu]\n"));
    mended(&model("input: { x: 10 }\nlayers: [relu]\n"), N0112, &model("input: { x: [10] }\nlayers: [relu]\n"));
    mended(&page("  - conv(8)\n"), N0112, &page("  - { conv: 8 }\n"));
    mended(&page("  - relu()\n"), N0112, &page("  - relu\n"));
    mended(&page("  - conv: { k: (1, 3), out: 8 }\n"), N0112, &page("  - conv: { k: [1, 3], out: 8 }\n"));
    mended(&page("  - conv:\n      k: (1, 3)\n"), N0112, &page("  - conv:\n      k: [1, 3]\n"));
    mended(&page("  - view: [-1, 512 // 2]\n"), N0113, &page("  - view: [-1, 512 / 2]\n"));
    mended(&page("  - skip: []\n"), N0114, &page("  - skip: [identity]\n"));
    mended(&page("  - skip: # nothing\n"), N0114, &page("  - skip: [identity] # nothing\n"));
    mended(
        &page("  - branch: add\n    arms:\n      - [relu]\n      -\n"),
        N0114,
        &page("  - branch: add\n    arms:\n      - [relu]\n      - [identity]\n"),
    );
}

#[test]
fn empty_bodies_are_reported() {
    wrong("model: M\nlayers:\n", &[(N0114, ":", "`layers` has no layers")]);
    wrong(&page("  - repeat: 3\n"), &[(N0114, "repeat", "`repeat` has no `body`")]);
    wrong(&page("  - branch: add\n"), &[(N0114, "branch", "`branch` has no `arms`")]);
    wrong(&page("  - branch: add\n    arms: [[]]\n"), &[(N0114, "[]", "an arm has no layers")]);
    wrong("model: M\nblocks: { B: { params: [n] } }\nlayers: [B]\n", &[(N0114, "B", "the block `B` has no layers")]);
}

#[test]
fn what_cannot_be_read_is_missing_and_the_rest_is_there() {
    let (spec, diagnostics) = spec(&page("  - conv: { out: 8 8, in: 3 // 1 }\n  - relu\n  - conv(8)\n"));
    assert_eq!(diagnostics.iter().map(|one| one.code).collect::<Vec<_>>(), [N0101, N0113, N0112]);
    let kinds: Vec<_> = statements(&spec).iter().map(|one| matches!(one.kind, StatementKind::Missing)).collect();
    assert_eq!(kinds, [true, false, true]);
    let (spec, _) = self::spec("model: M\ninput: { a: 1 }\nlayers: [relu]\n");
    assert!(matches!(statements(&spec)[0].kind, StatementKind::Missing));
    assert_eq!(statements(&spec).len(), 2);
}

#[test]
fn not_more_errors_are_reported_than_are_read() {
    let (_, diagnostics) = spec(&page(&"  - conv(8)\n".repeat(1000)));
    assert_eq!(diagnostics.len(), limits::SYNTAX_ERRORS);
}

#[test]
fn nesting_has_a_limit() {
    // The page and the list of layers are two levels.
    let nested = |levels: usize| page(&format!("  - a: {}1{}\n", "[".repeat(levels), "]".repeat(levels)));
    right(&nested(limits::NESTING - 3));
    let at = |text: &str, code: Code| {
        let (_, diagnostics) = spec(text);
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
        assert_eq!(diagnostics[0].code, code);
        diagnostics[0].primary().start as usize
    };
    let text = nested(limits::NESTING - 2);
    assert_eq!(at(&text, N0108), text.find(']').expect("a bracket") - 2);
    let deep = 20_000;
    assert_eq!(at(&"[".repeat(deep), N0108), limits::NESTING);
    assert_eq!(at(&"{a: ".repeat(deep), N0108), 4 * limits::NESTING);
    assert_eq!(at(&"- ".repeat(deep), N0108), 2 * limits::NESTING);
    at(&"? ".repeat(deep), N0108);
    let staircase: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    at(&staircase, N0108);
    at(&page(&format!("  - a: {}\n", "(".repeat(deep))), N0108);
    at(&page(&format!("  - a: {}1\n", "-".repeat(deep))), N0101);
}

/// A mebibyte of anything is decided quickly: 0.4 seconds is the most it took, in a debug build.
#[test]
fn a_large_text_takes_no_time() {
    let hostile = [
        "[", "]", "{", "a", "- ", "-\n", "a: ", "a,", "\"", "'", "? ", ": ", "&a ", "*a ", "!a ", "#", "# \n", "\n",
        "\r", "\t", " ", "\0", "%", "|\n", ">", "---\n", "...\n", "\u{feff}", "ü", "a: b\n", "(", "//", "\u{85}", "`",
        "@", "a\n",
    ];
    let heads = ["", "a: [", "a: {", "model: M\nlayers: [", "model: M\nlayers:\n- ", "a: \""];
    let plausible = [
        ("model: M\nlayers: [", "relu,"),
        ("model: M\nlayers: [", "f(a,"),
        ("model: M\nlayers: [", "a: 1,"),
        ("model: M\nlayers: [{a: [", "1,"),
        ("model: M\nlayers: [{a: {", "f: f(1,"),
        ("model: M\nlayers:\n", "- relu\n"),
        ("model: M\nlayers:\n", "- conv: {out: 8*n, kernel: 3}\n  as: a\n"),
    ];
    let texts = heads.iter().flat_map(|&head| hostile.iter().map(move |&unit| (head, unit))).chain(plausible);
    for (head, unit) in texts {
        let text = head.to_owned() + &unit.repeat((limits::FILE_BYTES - head.len()) / unit.len());
        let start = Instant::now();
        read(&text, FileId(0), true, &mut Vec::new());
        let took = start.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?} for {head:?} and many {unit:?}");
    }
}

/// What the survey lets through, serde reads: `build` never has to report.
#[track_caller]
fn survives(text: &str) {
    spec(text);
    let mut diagnostics = Vec::new();
    let mut page =
        Page { text, file: FileId(0), is_main: true, diagnostics: &mut diagnostics, limit: limits::SYNTAX_ERRORS };
    let survey = survey::survey(&mut page);
    if survey.is_sound {
        assert!(tree::build(&survey, &mut page).is_some(), "{text:?}");
    } else {
        assert!(!diagnostics.is_empty());
    }
}

#[test]
fn odd_texts_survive() {
    for text in [
        "? a\n? b\n",
        ": a\n",
        "? [a, {b: c}]\n: d\n",
        "[a: b, ? c, : d]",
        "{a, b: , ? c : d}",
        "[[a]: b]",
        "- - a\n  - b\n-\n",
        "a: .nan\nb: -.inf\nc: 0x1F\nd: 99999999999999999999999\ne: 1_000\nf: 12:30:45\ng: 2020-01-01\n",
        "'a': \"b\"\n",
        "\"a\"",
        "''",
        "a: ''\n'': b\n",
        "a:\u{2028}b",
        "a: 'x\n\n  y'\n",
        "!!null",
        "- \u{feff}a",
        "a: b\u{feff}",
        "a:\r  b\r",
        "{a: [}, b]",
        "=: a\n",
        "a: =\n",
        "<<\n",
        "- <<: *a\n",
        "true: false\n",
        "~: ~\n",
        "1: 2\n0x1: 3\n",
        "a: #b\n",
        "a #b",
        "\u{10ffff}: a",
    ] {
        survives(text);
    }
}

/// Pieces of YAML and of specs, to be strung together.
const PIECES: &[&str] = &[
    "model", "layers", "input", "blocks", "params", "shared", "train", "output", "skip", "branch", "repeat", "arms",
    "body", "as", "shape", "from", "conv", "relu", ": ", ":", "- ", "-", "\n", "\n  ", "\n    ", "[", "]", "{", "}",
    ", ", ",", "(", ")", "->", "//", "*", "&a", "!t", "'", "\"", "# ", "|", ">", "?", "? ", "<<", "~", "null", "010",
    "0x1", ".nan", "3", "1e9", "ü", "\u{feff}", "\t", "\r\n", "\\", "%", "@", "---\n", "...\n", "\u{1}",
];

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        survives(&text);
    }

    #[test]
    fn no_string_of_characters_panics(characters in prop::collection::vec(any::<char>(), 0..100)) {
        survives(&characters.into_iter().collect::<String>());
    }

    #[test]
    fn no_string_of_pieces_panics(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        survives(&pieces.concat());
    }

    #[test]
    fn no_change_of_a_page_panics(
        everything in any::<bool>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, prop::sample::select(PIECES)), 1..6),
    ) {
        let mut text = if everything { EVERYTHING } else { RES_DEEP }.to_owned();
        for (at, length, piece) in cuts {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, piece);
        }
        survives(&text);
    }
}
