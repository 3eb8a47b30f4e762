//! Every rule of the language: a text, and what becomes of it.
//!
//! Right models are compared as `name kind shape` for each layer, wrong ones as the codes and the texts that are blamed
//! (`support::told` says how).

mod support;

use netspec_compiler::Outcome;
use netspec_compiler::net::LayerKind;
use netspec_compiler::ops::Value;
use netspec_compiler::source::Spelling;
use netspec_compiler::summary::summary;
use support::{compare, compile_with, findings, model, netspec, told, yaml};

/// Bodies of a model on an input `x`, and what is told of them.
#[track_caller]
fn bodies(input: &str, cases: &[(&str, &str)]) {
    compare(cases.iter().map(|&(body, expected)| (body.to_owned(), netspec(&model(input, body)), expected.to_owned())));
}

/// Whole texts of the DSL, and what is told of them.
#[track_caller]
fn specs(cases: &[(&str, &str)]) {
    compare(cases.iter().map(|&(text, expected)| (text.to_owned(), netspec(text), expected.to_owned())));
}

/// Whole texts in YAML, and what is told of them.
#[track_caller]
fn pages(cases: &[(&str, &str)]) {
    compare(cases.iter().map(|&(text, expected)| (text.to_owned(), yaml(text), expected.to_owned())));
}

/// The canonical text of a right model.
#[track_caller]
fn net(outcome: &Outcome) -> String {
    match &outcome.checked {
        Some(checked) => checked.net.to_string(),
        None => panic!("{}", findings(outcome).join("\n")),
    }
}

/// Both columns of the table of spellings, completed to models: the same net, which is not empty.
#[test]
fn both_columns_of_the_table_are_the_same_net() {
    let cases: &[(&str, &str)] = &[
        (
            "model M { input x [8]; shared enc { linear(8); tanh; } enc; enc; }",
            "model: M\ninput: { x: [8] }\nshared: { enc: [ { linear: 8 }, tanh ] }\nlayers: [ enc, enc ]",
        ),
        (
            "block B(n) { shared enc { linear(n); tanh; } enc; enc; } model M { input x [8]; B(8); }",
            "model: M\ninput: { x: [8] }\nblocks: { B: { params: [n], shared: { enc: [ { linear: n }, tanh ] }, \
             layers: [ enc, enc ] } }\nlayers: [ { B: 8 } ]",
        ),
        (
            "model M { input x [8, 4, 4]; skip { conv(8, kernel = 3, padding = 1); relu; } }",
            "model: M\ninput: { x: [8, 4, 4] }\nlayers: [ { skip: [ { conv: { out: 8, kernel: 3, padding: 1 } }, relu ] } ]",
        ),
        (
            "model M(n = 16) { input x [8, 4, 4]; skip { conv(n, kernel = 3, stride = 2, padding = 1); } \
             project { conv(n, kernel = 1, stride = 2, bias = false); batch_norm; } }",
            "model: M\nparams: { n: 16 }\ninput: { x: [8, 4, 4] }\nlayers:\n\
             - skip: [ { conv: { out: n, kernel: 3, stride: 2, padding: 1 } } ]\n  \
               project: [ { conv: { out: n, kernel: 1, stride: 2, bias: false } }, batch_norm ]",
        ),
        (
            "model M { input x [8]; branch concat { { linear(4); } { tanh; relu; } { identity; } } }",
            "model: M\ninput: { x: [8] }\nlayers:\n- branch: concat\n  arms: [ [ { linear: 4 } ], [ tanh, relu ], [ identity ] ]",
        ),
        (
            "model M { input x [8]; branch add as b { { linear(8); } { identity; } } }",
            "model: M\ninput: { x: [8] }\nlayers:\n- branch: add\n  as: b\n  arms: [ [ { linear: 8 } ], [ identity ] ]",
        ),
        (
            "model M { input x [8]; linear(8) as 0; repeat 2 as 12 { linear(8); } }",
            "model: M\ninput: { x: [8] }\nlayers:\n- linear: 8\n  as: 0\n- { repeat: 2, as: 12, body: [ { linear: 8 } ] }",
        ),
        (
            "model M(n = 3) { input x [8]; repeat n as r { linear(8); } repeat n tied { linear(8); } repeat 6 unrolled { linear(8); } }",
            "model: M\nparams: { n: 3 }\ninput: { x: [8] }\nlayers:\n- repeat: n\n  as: r\n  body: [ { linear: 8 } ]\n\
             - repeat: n\n  tied: true\n  body: [ { linear: 8 } ]\n- repeat: 6\n  unrolled: true\n  body: [ { linear: 8 } ]",
        ),
        (
            "model M { input image [3, 8, 8]; input meta [10]; flatten as a; from meta; linear(4) as b; concat(a, b); }",
            "model: M\ninput: { image: [3, 8, 8], meta: [10] }\nlayers:\n- flatten:\n  as: a\n- from: meta\n- linear: 4\n  as: b\n- concat: [a, b]",
        ),
        (
            "model M { input x [8]; linear(8) as a; tanh as b; add(a, b); linear(2) as logits; from b; output logits, b; }",
            "model: M\ninput: { x: [8] }\nlayers:\n- linear: 8\n  as: a\n- tanh:\n  as: b\n- add: [a, b]\n- linear: 2\n  as: logits\n\
             - from: b\noutput: [logits, b]",
        ),
        (
            "model M { input x [1, 8, 8]; conv(8, kernel = (1, 3)); conv(8, kernel = [1, 3]); }",
            "model: M\ninput: { x: [1, 8, 8] }\nlayers:\n- conv: { out: 8, kernel: [1, 3] }\n- conv: { out: 8, kernel: [1, 3] }",
        ),
        (
            "model M { input x [8]; linear(8, init = kaiming_normal(relu, mode = fan_out)); linear(8, init = kaiming_normal(relu)); \
             linear(8, init = zeros, init_bias = 0.5); }",
            "model: M\ninput: { x: [8] }\nlayers:\n- linear: { out: 8, init: { kaiming_normal: { nonlinearity: relu, mode: fan_out } } }\n\
             - linear: { out: 8, init: kaiming_normal(relu) }\n- linear: { out: 8, init: zeros, init_bias: 0.5 }",
        ),
        (
            "block B(n, k = 3) { conv(n, kernel = k); } model M { input x [1, 8, 8]; B(4); B(n = 4, k = 2); B(4, k = 1) as last; }",
            "model: M\nblocks: { B: { params: [n, { k: 3 }], layers: [ { conv: { out: n, kernel: k } } ] } }\n\
             input: { x: [1, 8, 8] }\nlayers: [ { B: 4 }, { B: { n: 4, k: 2 } }, { B: { n: 4, k: 1 }, as: last } ]",
        ),
        (
            "model M { input x [8]; linear(8 -> 4); } train M { data digits(mean = [0.5]); loss cross_entropy; optimizer sgd(lr = 3e-3); \
             batch 64; epochs 100; shuffle true; seed 0; eval_mode batch_statistics; numerics exact; }",
            "model: M\ninput: { x: [8] }\nlayers: [ { linear: 8 -> 4 } ]\ntrain:\n  data: { digits: { mean: [0.5] } }\n  loss: cross_entropy\n  \
             optimizer: { sgd: { lr: 3e-3 } }\n  batch: 64\n  epochs: 100\n  shuffle: true\n  seed: 0\n  eval_mode: batch_statistics\n  numerics: exact",
        ),
        (
            "model M { input x [8] with gradient; input z [2]; linear(3) as a; from z; linear(3) as b; output a, b; } train M { \
             loss [cross_entropy(a, class_weights = [1, 2, 0.5], label_smoothing = 0.1), cross_entropy(b, weight = 0.3)]; \
             optimizer adam; }",
            "model: M\ninput: { x: { shape: [8], gradient: true }, z: { shape: [2] } }\nlayers:\n- linear: 3\n  as: a\n- from: z\n\
             - linear: 3\n  as: b\noutput: [a, b]\ntrain:\n  loss:\n  - cross_entropy: { of: a, class_weights: [1, 2, 0.5], \
             label_smoothing: 0.1 }\n  - cross_entropy: { of: b, weight: 0.3 }\n  optimizer: adam",
        ),
    ];
    for (a, b) in cases {
        let (of_a, of_b) = (netspec(a), yaml(b));
        if a.contains("data digits") {
            // The shapes of this one do not fit the data, which is said in the same words.
            assert_eq!(findings(&of_a).len(), findings(&of_b).len());
            continue;
        }
        assert_eq!(net(&of_a), net(&of_b), "{a}\n{b}");
        assert!(net(&of_a).lines().count() > 2);
    }
}

/// Rule 1: layers follow each other, and a name labels a layer, its weights and its value.
#[test]
fn layers_follow_each_other() {
    bodies(
        "[8]",
        &[
            ("linear(4);", "linear1 linear 4 =36"),
            ("linear(4) as fc; tanh; linear(2);", "fc linear 4 =36; tanh1 tanh 4; linear2 linear 2 =10"),
            ("linear(8) as a; tanh; add(a, a);", "a linear 8 =72; tanh1 tanh 8; add1 add 8"),
            ("from x; tanh;", "from from 8; tanh1 tanh 8"),
            (
                "tanh as a; linear(3) as b; from a; sigmoid as c; concat(a, b, c);",
                "a tanh 8; b linear 3 =27; from from 8; c sigmoid 8; concat1 concat 19",
            ),
            ("add(x, x);", "add1 add 8"),
            ("tanh as tanh; add(tanh, x);", "tanh tanh 8; add1 add 8"),
        ],
    );
}

/// Rule 2: sizes are inferred; stated ones and asserted shapes are checked.
#[test]
fn what_is_stated_is_checked() {
    bodies(
        "[3, 8, 8]",
        &[
            ("conv(3 -> 4, kernel = 3);", "conv1 conv 4x6x6 =112"),
            ("conv(4, in = 3, kernel = 3);", "conv1 conv 4x6x6 =112"),
            ("conv(2 -> 4, kernel = 3);", "N0302 2"),
            ("conv(4, in = 1 + 1, kernel = 3);", "N0302 1 + 1"),
            ("linear(4);", "N0301 linear"),
            ("linear(192 -> 4);", "N0301 linear"),
            ("linear(7 -> 4);", "N0301 linear"),
            ("linear(8 -> 4);", "linear1 linear 3x8x4 =36; N0909 linear"),
            ("view(-1, 192); linear(192 -> 4);", "view1 view 192; linear1 linear 4 =772"),
            ("flatten; linear(191 -> 4);", "N0302 191"),
            ("relu : [3, 8, 8];", "relu1 relu 3x8x8"),
            ("relu : [3, 8, 7];", "N0307 [3, 8, 7]"),
            ("relu : [192];", "N0307 [192]"),
            ("skip { conv(3, kernel = 3, padding = 1); } : [3, 8, 8];", "skip skip 3x8x8; >conv1 conv 3x8x8 =84"),
            ("skip { conv(3, kernel = 3, padding = 1); } : [3, 8, 9];", "N0307 [3, 8, 9]"),
            (
                "branch concat { { relu; } { tanh; } } : [6, 8, 8];",
                "branch branch concat 6x8x8; >relu1 relu 3x8x8; >tanh1 tanh 3x8x8",
            ),
            ("branch concat { { relu; } { tanh; } } : [3, 8, 8];", "N0307 [3, 8, 8]"),
            ("repeat 2 { relu; } : [3, 8, 8];", "repeat1 repeat 2 3x8x8; >repeat1.*.relu1 relu 3x8x8 *2"),
            ("repeat 2 { relu; } : [3];", "N0307 [3]"),
            ("from x : [3, 8, 8]; relu;", "from from 3x8x8; relu1 relu 3x8x8"),
            ("from x : [3]; relu;", "N0307 [3]"),
        ],
    );
}

/// Rule 3: a block is a template, with new weights at each use.
#[test]
fn a_block_is_a_template() {
    specs(&[
        (
            "block B(n) { linear(n); tanh; } model M { input x [8]; B(4); B(n = 2); }",
            "b1 block 4; >b1.linear1 linear 4 =36; >b1.tanh1 tanh 4; b2 block 2; >b2.linear1 linear 2 =10; >b2.tanh1 tanh 2",
        ),
        (
            "block B(n, m = 2 * n) { linear(n * m); } model M { input x [8]; B(4); B(4, m = 1); }",
            "b1 block 32; >b1.linear1 linear 32 =288; b2 block 4; >b2.linear1 linear 4 =132",
        ),
        (
            "block Outer(n) { Inner(n / 2); Inner(n); } block Inner(n) { linear(n); } model M { input x [8]; Outer(4); }",
            "outer1 block 4; >outer1.inner1 block 2; >>outer1.inner1.linear1 linear 2 =18; >outer1.inner2 block 4; >>outer1.inner2.linear1 linear 4 =12",
        ),
        // It sees its own parameters and values only.
        ("block B { linear(n); } model M(n = 2) { input x [8]; linear(n); B; }", "N0204 n"),
        ("block B { add(a, a); } model M { input x [8]; tanh as a; B; }", "N0205 a; N0205 a"),
        ("block B(linear) { linear(linear); } model M { input x [8]; B(4); }", "b1 block 4; >b1.linear1 linear 4 =36"),
        // It can neither lack an argument, nor have too many.
        ("block B(n) { linear(n); } model M { input x [8]; B; }", "N0203 B"),
        ("block B(n) { linear(n); } model M { input x [8]; B(4, 5); }", "N0210 5"),
        ("block B(n) { linear(n); } model M { input x [8]; B(4, n = 5); }", "N0209 5"),
        ("block B(n) { linear(n); } model M { input x [8]; B(4, m = 5); }", "N0202 m"),
        ("block B(n, n) { linear(n); } model M { input x [8]; B(4); }", "N0206 n"),
        ("block B(n = m, m = 2) { linear(n + m); } model M { input x [8]; B; }", "N0205 m"),
        // Nor use itself, in however many steps.
        ("block B { B; } model M { input x [8]; B; }", "N0207 B"),
        ("block A { B; } block B { skip { C; } } block C { A; } model M { input x [8]; A; }", "N0207 A"),
    ]);
}

/// Rule 3: a shared instance has one set of weights, which lives where it is declared.
#[test]
fn a_shared_instance_has_one_set() {
    specs(&[
        ("model M { input x [8]; shared enc { linear(8); tanh; } enc; enc; enc; }",
         "enc shared enc 8; >enc.linear1 linear 8 =72; >enc.tanh1 tanh 8;
          enc shared enc 8; >enc.linear1 linear 8; >enc.tanh1 tanh 8;
          enc shared enc 8; >enc.linear1 linear 8; >enc.tanh1 tanh 8"),
        // In a block: once for each use of it.
        ("block B { shared enc { linear(8); } enc; enc; } model M { input x [8]; B; B; }",
         "b1 block 8; >enc shared enc 8; >>b1.enc.linear1 linear 8 =72; >enc shared enc 8; >>b1.enc.linear1 linear 8;
          b2 block 8; >enc shared enc 8; >>b2.enc.linear1 linear 8 =72; >enc shared enc 8; >>b2.enc.linear1 linear 8"),
        // In a repeat: the repeat's own sets are not its.
        ("model M { input x [8]; shared enc { linear(8); } repeat 3 as r { linear(8); enc; } }",
         "r repeat 3 8; >r.*.linear1 linear 8 =216 *3; >enc shared enc 8 *3; >>enc.linear1 linear 8 =72 *3"),
        ("block B { shared enc { linear(8); } enc; enc; } model M { input x [8]; repeat 3 as r { B; } }",
         "r repeat 3 8; >r.* block 8 *3; >>enc shared enc 8 *3; >>>r.*.enc.linear1 linear 8 =216 *3; >>enc shared enc 8 *3; >>>r.*.enc.linear1 linear 8 *3"),
        ("block B { shared enc { linear(8); } enc; enc; } model M { input x [8]; repeat 3 tied as r { B; } }",
         "r repeat 3 tied 8; >r.0 block 8 *3; >>enc shared enc 8 *3; >>>r.0.enc.linear1 linear 8 =72 *3; >>enc shared enc 8 *3; >>>r.0.enc.linear1 linear 8 *3"),
        ("model M { input x [8]; shared enc { repeat 2 as r { linear(8); } } enc; enc; }",
         "enc shared enc 8; >enc.r repeat 2 8; >>enc.r.*.linear1 linear 8 =144 *2; enc shared enc 8; >enc.r repeat 2 8; >>enc.r.*.linear1 linear 8 *2"),
        // The map's size may differ, its channels may not.
        ("model M { input x [3, 8, 8]; shared enc { conv(3, kernel = 3); batch_norm; } enc; enc; }",
         "enc shared enc 3x6x6; >enc.conv1 conv 3x6x6 =84; >enc.batch_norm1 batch_norm 3x6x6 =6;
          enc shared enc 3x4x4; >enc.conv1 conv 3x4x4; >enc.batch_norm1 batch_norm 3x4x4; N0906 conv"),
        ("model M { input x [3, 8, 8]; shared enc { conv(4, kernel = 3); } enc; enc; }", "N0401 enc"),
        ("model M { input x [8]; shared enc { batch_norm(affine = false); } enc; linear(9); enc; }", "N0401 enc"),
        // One shared instance can use another, blocks and the parameters around it.
        ("block B(n) { linear(n); } model M(n = 8) { input x [8]; shared a { B(n); } shared b { a; a; } b; a; }",
         "b shared b 8; >a shared a 8; >>a.b1 block 8; >>>a.b1.linear1 linear 8 =72; >a shared a 8; >>a.b1 block 8; >>>a.b1.linear1 linear 8;
          a shared a 8; >a.b1 block 8; >>a.b1.linear1 linear 8"),
        ("block B { shared enc { linear(8); } enc; } model M { input x [8]; shared enc { B; } enc; }",
         "enc shared enc 8; >enc.b1 block 8; >>enc shared enc 8; >>>enc.b1.enc.linear1 linear 8 =72"),
        // Not itself, no argument, and no value from around it.
        ("model M { input x [8]; shared a { b; } shared b { a; } a; }", "N0207 a"),
        ("model M { input x [8]; shared a { relu; } a(2); }", "N0210 2"),
        ("model M { input x [8]; shared a { add(x, x); } a; }", "N0205 x; N0205 x"),
        ("block B { shared enc { relu; } enc; } model M { input x [8]; B; enc; }", "N0201 enc"),
        // Directly in a model or block.
        ("model M { input x [8]; skip { shared a { relu; } a; } }", "N0101 shared a { relu; }"),
        // A use's label names its value alone.
        ("model M { input x [8]; shared a { linear(8); } a as one; a as two; add(one, two); }",
         "one shared a 8; >a.linear1 linear 8 =72; two shared a 8; >a.linear1 linear 8; add1 add 8"),
    ]);
}

/// Rule 3: `repeat n` makes n sets, tied one, and its body gives back the shape it takes; unrolled is a template.
#[test]
fn repeats() {
    bodies(
        "[8]",
        &[
            (
                "repeat 10 as r { linear(8) as fc; tanh; }",
                "r repeat 10 8; >r.*.fc linear 8 =720 *10; >r.*.tanh1 tanh 8 *10",
            ),
            (
                "repeat 10 tied as r { linear(8) as fc; tanh; }",
                "r repeat 10 tied 8; >r.0.fc linear 8 =72 *10; >r.0.tanh1 tanh 8 *10",
            ),
            ("repeat 1 as r { linear(8); }", "r repeat 1 8; >r.*.linear1 linear 8 =72"),
            (
                "repeat 2 as a { repeat 3 as b { linear(8); } }",
                "a repeat 2 8; >a.*.b repeat 3 8 *2; >>a.*.b.*.linear1 linear 8 =432 *6",
            ),
            (
                "repeat 2 tied as a { repeat 3 as b { linear(8); } }",
                "a repeat 2 tied 8; >a.0.b repeat 3 8 *2; >>a.0.b.*.linear1 linear 8 =216 *6",
            ),
            (
                "repeat 2 as a { repeat 3 tied as b { linear(8); } }",
                "a repeat 2 8; >a.*.b repeat 3 tied 8 *2; >>a.*.b.0.linear1 linear 8 =144 *6",
            ),
            ("repeat 2 { linear(9); }", "N0305 repeat"),
            // Also when there is one only: it is a loop, whatever its count.
            ("repeat 1 { linear(9); }", "N0305 repeat"),
            ("repeat 0 { relu; }", "N0211 0"),
            ("repeat 2 - 3 { relu; }", "N0211 2 - 3"),
            ("repeat 10001 { relu; }", "N0108 10001"),
            ("repeat 257 unrolled { relu; }", "N0108 257"),
            ("repeat 2 tied unrolled { relu; }", "N0216 unrolled"),
            // The body's mistakes are found whatever the count.
            ("repeat 0 { rleu; }", "N0211 0; N0201 rleu"),
            // Names from inside are not seen outside; those from outside are seen inside.
            (
                "tanh as a; repeat 2 { sigmoid as b; add(a, b); }",
                "a tanh 8; repeat1 repeat 2 8; >repeat1.*.b sigmoid 8 *2; >repeat1.*.add1 add 8 *2",
            ),
            ("repeat 2 { tanh as a; } from a; relu;", "N0213 a"),
            (
                "tanh as a; repeat 2 { linear(8) as a; sigmoid; } add(a, a);",
                "a tanh 8; repeat1 repeat 2 8; >repeat1.*.a linear 8 =144 *2; >repeat1.*.sigmoid1 sigmoid 8 *2; add1 add 8",
            ),
            // DenseNet: each iteration sees a larger input.
            (
                "repeat 3 unrolled as d { branch concat { { identity; } { linear(4) as fc; } } }",
                "d repeat 3 unrolled 20;
          >d.0 iteration 12; >>branch branch concat 12; >>>d.0.identity1 identity 8; >>>d.0.fc linear 4 =36;
          >d.1 iteration 16; >>branch branch concat 16; >>>d.1.identity1 identity 12; >>>d.1.fc linear 4 =52;
          >d.2 iteration 20; >>branch branch concat 20; >>>d.2.identity1 identity 16; >>>d.2.fc linear 4 =68",
            ),
            (
                "repeat 2 unrolled { linear(4); }",
                "repeat1 repeat 2 unrolled 4; >repeat1.0 iteration 4; >>repeat1.0.linear1 linear 4 =36; >repeat1.1 iteration 4; >>repeat1.1.linear1 linear 4 =20",
            ),
        ],
    );
    // A body of one unnamed block use adds no level below the index; a named or a second one does.
    specs(&[
        (
            "block B { linear(8); } model M { input x [8]; repeat 2 as r { B; } }",
            "r repeat 2 8; >r.* block 8 *2; >>r.*.linear1 linear 8 =144 *2",
        ),
        (
            "block B { linear(8); } model M { input x [8]; repeat 2 as r { B as b; } }",
            "r repeat 2 8; >r.*.b block 8 *2; >>r.*.b.linear1 linear 8 =144 *2",
        ),
        (
            "block B { linear(8); } model M { input x [8]; repeat 2 as r { B; B; } }",
            "r repeat 2 8; >r.*.b1 block 8 *2; >>r.*.b1.linear1 linear 8 =144 *2; >r.*.b2 block 8 *2; >>r.*.b2.linear1 linear 8 =144 *2",
        ),
        (
            "block B { C; } block C { linear(8); } model M { input x [8]; repeat 2 as r { B; } }",
            "r repeat 2 8; >r.* block 8 *2; >>r.*.c1 block 8 *2; >>>r.*.c1.linear1 linear 8 =144 *2",
        ),
        (
            "block B { linear(8); } model M { input x [8]; repeat 2 unrolled as r { B; } }",
            "r repeat 2 unrolled 8; >r.0 iteration 8; >>r.0 block 8; >>>r.0.linear1 linear 8 =72; >r.1 iteration 8; >>r.1 block 8; >>>r.1.linear1 linear 8 =72",
        ),
    ]);
}

/// Rule 4: arithmetic on checked 64-bit integers.
#[test]
fn arithmetic() {
    let value = |expr: &str| {
        let outcome =
            netspec(&format!("model M(n = 5, m = 0 - 3) {{ input x [8]; repeat n + m {{ relu; }} linear({expr}); }}"));
        match &outcome.checked {
            Some(checked) => checked.outputs[0][0].to_string(),
            None => findings(&outcome).join("; "),
        }
    };
    for (expr, expected) in [
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("20 - 3 - 4", "13"),
        ("24 / 4 / 3", "2"),
        ("24 / 4 * 3", "18"),
        ("2 * 24 / 16", "3"),
        ("-3 + 5", "2"),
        ("n * -m", "15"),
        ("-(m)", "3"),
        ("-m * n", "15"),
        ("1 - m", "4"),
        ("8*8*n", "320"),
        ("((((n))))", "5"),
        ("010", "10"),
        (
            "(0 - 9223372036854775807 - 1) / 9223372036854775807 * -1",
            "N0208 (0 - 9223372036854775807 - 1) / 9223372036854775807 * -1",
        ),
        ("5 / 2", "N0208 5 / 2"),
        ("n / 2 * 2", "N0208 n / 2 * 2"),
        ("2 * (n / 2)", "N0208 n / 2"),
        ("n / 0", "N0208 n / 0"),
        ("n / (m + 3)", "N0208 n / (m + 3)"),
        ("9223372036854775807 + n", "N0208 9223372036854775807 + n"),
        ("4611686018427387904 * 2", "N0208 4611686018427387904 * 2"),
        ("-(0 - 9223372036854775807 - 1)", "N0208 -(0 - 9223372036854775807 - 1)"),
        ("(0 - 9223372036854775807 - 1) / -1", "N0208 (0 - 9223372036854775807 - 1) / -1"),
        ("9223372036854775808", "N0109 9223372036854775808"),
        ("n - 5", "N0211 n - 5"),
        ("0.5 * 2", "N0204 0.5"),
        ("n * 1e3", "N0204 1e3"),
        ("q", "N0204 q"),
        ("n + q * r", "N0205 q; N0205 r"),
        ("nm", "N0204 nm"),
        ("--n", "N0101 -"),
        ("400000000", "400000000"),
        ("2147483649", "N0108 2147483649"),
    ] {
        assert_eq!(value(expr), expected, "{expr}");
    }
    // `//` begins a comment in the DSL, and is told by name in YAML.
    bodies("[8]", &[("linear(8 // 2\n / 4);", "linear1 linear 2 =18")]);
    pages(&[("model: M\ninput: { x: [8] }\nlayers: [ { linear: 8 // 2 } ]", "N0113 //")]);
    let outcome = yaml("model: M\ninput: { x: [8] }\nlayers: [ { linear: 8 // 2 } ]");
    assert_eq!(outcome.diagnostics[0].fix.as_ref().unwrap().edits[0].text, "/");
}

/// Rule 5: shapes are per sample, and a view begins with the batch.
#[test]
fn views() {
    bodies(
        "[3, 8, 8]",
        &[
            ("view(-1, 192);", "view1 view 192"),
            ("view(-1, 12, 4, 4);", "view1 view 12x4x4"),
            ("view(-1, 3 * 8 * 8);", "view1 view 192"),
            ("view(-1, 191);", "N0306 191"),
            ("view(-1, 3, 65);", "N0306 3, 65"),
            ("view(192);", "N0309 192"),
            ("view(64, 192);", "N0309 64"),
            ("view(-1, -1);", "N0309 -1"),
            ("view(-1, 0);", "N0309 0"),
            ("view(-1);", "N0309 view"),
            ("view;", "N0309 view"),
            ("view(-1, 192, sizes = 3);", "N0202 sizes"),
            ("view(-1, 1, 1, 1, 1, 1, 1, 1, 192);", "view1 view 1x1x1x1x1x1x1x192"),
            ("view(-1, 1, 1, 1, 1, 1, 1, 1, 1, 192);", "N0108 view"),
            ("flatten;", "flatten1 flatten 192"),
        ],
    );
}

/// Rule 6: what is positional, where `;` stands, and what can be a name.
#[test]
fn arguments_semicolons_and_names() {
    bodies(
        "[3, 8, 8]",
        &[
            ("max_pool(2);", "max_pool1 max_pool 3x4x4"),
            ("max_pool(kernel = 2);", "max_pool1 max_pool 3x4x4"),
            ("max_pool(2, 2);", "N0210 2"),
            ("max_pool(stride = 2, 4);", "max_pool1 max_pool 3x3x3"),
            ("max_pool(2, kernel = 2);", "N0209 2"),
            ("max_pool(2, kernal = 2);", "N0202 kernal"),
            ("max_pool;", "N0203 max_pool"),
            ("conv;", "N0203 conv; N0203 conv"),
            ("max_pool(2.5);", "N0204 2.5"),
            ("max_pool(\"2\");", "N0204 \"2\""),
            ("max_pool(0);", "N0211 0"),
            ("max_pool(2, padding = -1);", "N0211 -1"),
            ("max_pool(2, ceil_mode = 1);", "N0204 1"),
            ("relu(2);", "N0210 2"),
            ("relu();", "relu1 relu 3x8x8"),
            ("relu as a; add(a, a,);", "a relu 3x8x8; add1 add 3x8x8"),
            ("relu as a; add(a);", "N0203 add"),
            ("relu as a; add(a, 2);", "N0204 2"),
            ("relu as a; add(a, a, alpha = 2);", "N0202 alpha"),
            ("relu as a; add(b, a);", "N0205 b"),
            // `;` may be left out after `}`, and only there.
            (
                "skip { relu; } skip { tanh; }; repeat 2 { relu; } from x; tanh;",
                "skip skip 3x8x8; >relu1 relu 3x8x8; skip skip 3x8x8; >tanh1 tanh 3x8x8; repeat1 repeat 2 3x8x8; >repeat1.*.relu1 relu 3x8x8 *2; from from 3x8x8; tanh2 tanh 3x8x8",
            ),
            ("relu tanh;", "N0101 "),
            ("relu", "N0101 "),
            // `as` precedes `:`, and the first brace.
            ("relu as r : [3, 8, 8];", "r relu 3x8x8"),
            ("relu : [3, 8, 8] as r;", "N0101 as"),
            ("skip as s { relu; } : [3, 8, 8];", "s skip 3x8x8; >s.relu1 relu 3x8x8"),
            ("skip { relu; } as s;", "N0101 as"),
            // Any identifier can be a label, those of Rust and of the statements too.
            (
                "relu as fn; tanh as self; add(fn, self) as match;",
                "fn relu 3x8x8; self tanh 3x8x8; match add 3x8x8; N0907 tanh",
            ),
            ("relu as skip; from skip; tanh;", "skip relu 3x8x8; from from 3x8x8; tanh1 tanh 3x8x8"),
            // A number names weights, and no value.
            ("conv(1, kernel = 1) as 0 : [1, 8, 8];", "0 conv 1x8x8 =4"),
            ("relu as 2; tanh; from 2;", "N0101 2"),
            ("relu as 02;", "N0101 02"),
            ("relu as 2nd;", "N0101 2nd"),
            ("relu as 1.5;", "N0101 1.5"),
            ("relu as 1234567;", "N0101 1234567"),
            ("skip;", "N0101 ;"),
        ],
    );
    for word in [
        "block", "model", "train", "use", "input", "output", "shared", "skip", "project", "branch", "repeat", "tied",
        "unrolled", "from", "as", "relu", "conv2d",
    ] {
        let text = format!("block {word} {{ relu; }} model M {{ input x [8]; tanh; }}");
        assert!(
            findings(&netspec(&text)).contains(&format!("N0215 {word}")),
            "{text}: {:?}",
            findings(&netspec(&text))
        );
        let text = format!("model M {{ input x [8]; shared {word} {{ relu; }} tanh; }}");
        assert!(
            findings(&netspec(&text)).contains(&format!("N0215 {word}")),
            "{text}: {:?}",
            findings(&netspec(&text))
        );
    }
}

/// Rule 6: a bare word is a parameter or a word, by the argument's kind.
#[test]
fn words_and_parameters() {
    specs(&[
        ("model M(bias = 4) { input x [8]; linear(bias, bias = false); }", "linear1 linear 4 =32"),
        ("model M(relu = 4) { input x [8]; linear(relu, init = kaiming_normal(relu)); }", "linear1 linear 4 =36"),
        ("model M(p = 0) { input x [8]; dropout(p); }", "dropout1 dropout 8"),
        ("model M(n = 3) { input x [8]; linear(4, init_bias = n); }", "linear1 linear 4 =36"),
        ("model M { input x [8]; linear(4, bias = flase); }", "N0204 flase"),
        ("model M { input x [8]; linear(4, init = kaiming); }", "N0402 kaiming"),
        ("model M { input x [8]; linear(4, init = kaiming_normal(rleu)); }", "N0204 rleu"),
        ("model M { input x [8]; linear(4, init_bias = kaiming_normal); }", "N0402 kaiming_normal"),
        ("model M { input x [8]; linear(4, bias = false, init_bias = 0); }", "N0402 0"),
        ("model M { input x [8]; dropout(1); }", "N0211 1"),
        ("model M { input x [8]; dropout(-0.5); }", "N0211 -0.5"),
        ("model M { input x [8]; dropout(1e999); }", "N0109 1e999"),
        ("model M { input x [8]; dropout(nan); }", "N0205 nan"),
        ("model M { input x [8]; batch_norm(eps = 0); }", "N0211 0"),
        ("model M { input x [8]; batch_norm(momentum = 1.5); }", "N0211 1.5"),
    ]);
    let outcome = netspec(
        "model M { input x [8]; linear(4, init = 1e-3, init_bias = -0.25); dropout(.5); batch_norm(eps = 1E-4); }",
    );
    let checked = outcome.checked.unwrap_or_else(|| panic!("{:?}", outcome.diagnostics));
    let number = |layer: usize, name: &str| match &checked.net.layers[layer].kind {
        LayerKind::Op(op) => match op.args.get(name) {
            Some(Value::Number(number)) => *number,
            Some(Value::Init(choice)) => choice.args.number("value").unwrap(),
            value => panic!("{value:?}"),
        },
        kind => panic!("{kind:?}"),
    };
    assert_eq!([number(0, "init"), number(0, "init_bias"), number(1, "p"), number(2, "eps")], [1e-3, -0.25, 0.5, 1e-4]);
}

/// Rule 7: unknown and double names are errors, unused ones warnings.
#[test]
fn names_are_strict() {
    bodies(
        "[8]",
        &[
            ("rleu;", "N0201 rleu"),
            ("Relu;", "N0201 Relu"),
            ("Linear(4);", "N0201 Linear"),
            ("relu as a; dropout as a;", "N0206 a"),
            ("relu as x;", "N0206 x"),
            ("linear(8) as linear2; linear(8);", "N0206 linear"),
            ("linear(8); linear(8) as linear1;", "N0206 linear1"),
            ("skip { relu as a; } tanh as a;", "N0206 a"),
            ("branch add { { relu as a; } { tanh as a; } }", "N0206 a"),
            ("skip as s { relu as a; } tanh as a;", "s skip 8; >s.a relu 8; a tanh 8"),
            ("repeat 2 { relu as a; } tanh as a;", "repeat1 repeat 2 8; >repeat1.*.a relu 8 *2; a tanh 8"),
            ("relu as unused;", "unused relu 8"),
            ("from y; relu;", "N0205 y"),
            ("add(b, b) as a; relu as b;", "N0213 b; N0213 b"),
            ("skip as s { relu as a; add(a, s); }", "N0213 s"),
            ("skip as s { relu as a; } from a; tanh;", "N0213 a"),
            // What an unlabelled skip or branch names is seen behind it, and in later arms.
            ("skip { relu as a; } add(a, a);", "skip skip 8; >a relu 8; add1 add 8"),
            ("branch add { { relu as a; } { add(a, x); } }", "branch branch add 8; >a relu 8; >add1 add 8"),
            ("tanh; output y;", "N0205 y"),
            ("tanh as y; output y, y;", "N0206 y"),
            ("tanh as y; output y; output y;", "N0105 output y;"),
        ],
    );
    specs(&[
        ("model M { input x [8]; input x [8]; relu; }", "N0206 x"),
        ("model M { relu; }", "N0111 M"),
        ("model M { input x [8]; relu; } model N { input x [8]; relu; }", "N0206 N"),
        ("block B { relu; } block B { tanh; } model M { input x [8]; B; }", "N0206 B"),
        ("block B { relu; } model M { input x [8]; shared B { tanh; } B; }", "N0206 B"),
        ("model M(n = 1, n = 2) { input x [8]; linear(n); }", "N0206 n"),
        ("model M(n) { input x [8]; linear(n); }", "N0214 n"),
        ("model M(n = m, m = 2) { input x [8]; linear(n * m); }", "N0205 m"),
        ("model M(n = 2, m = n * n) { input x [8]; linear(m); }", "linear1 linear 4 =36"),
        ("model M { input x [8]; relu; } train M { loss mse; optimizer adam; batch 1; batch 2; }", "N0105 batch"),
        ("model M { input x [8]; relu; } train M { loss mse; optimizer adam; bacth 1; }", "N0504 bacth"),
        ("model M { input x [8]; relu; } train N { loss mse; optimizer adam; }", "N0506 N"),
        ("model M { input x []; relu; }", "N0204 []"),
        ("model M { input x [0]; relu; }", "N0211 0"),
    ]);
    pages(&[
        ("model: M\ninput: { x: [8] }\nlayers: [ relu ]\nlayer: [ tanh ]", "N0106 layer"),
        ("model: M\ninput: { x: [8] }\nlayers: [ relu ]\nlayers: [ tanh ]", "N0105 layers"),
        ("model: M\ninput: { x: [8] }\nlayers:\n- relu:\n  name: a", "N0106 name"),
        ("model: M\ninput: { x: [8] }\nlayers:\n- relu:\n  tied: true", "N0106 tied"),
    ]);
}

/// Rule 7: what is never used is a warning, unless an error may have hidden its use.
#[test]
fn what_is_not_used_is_a_warning() {
    specs(&[
        ("model M(n = 1, m = 2) { input x [8]; linear(m); }", "linear1 linear 2 =18; N0901 n"),
        ("block B(n) { relu; } model M { input x [8]; B(2); }", "b1 block 8; >b1.relu1 relu 8; N0901 n"),
        ("block B(n, m = n) { linear(m); } model M { input x [8]; B(2); }", "b1 block 2; >b1.linear1 linear 2 =18"),
        ("block B(n) { linear(n); } model M { input x [8]; relu; }", "relu1 relu 8; N0902 B"),
        ("block A { B; } block B { relu; } model M { input x [8]; relu; }", "relu1 relu 8; N0902 A; N0902 B"),
        ("model M { input x [8]; shared a { relu; } tanh; }", "tanh1 tanh 8; N0903 a"),
        ("model M { input x [8]; input y [8]; relu; }", "relu1 relu 8; N0904 y"),
        ("model M { input x [8]; input y [8]; from y; relu; }", "from from 8; relu1 relu 8; N0904 x"),
        ("model M { input x [8]; input y [8]; add(y, y); }", "add1 add 8; N0904 x"),
        (
            "model M { input x [8]; input y [8]; branch add { { from y; } { from y; relu; } } }",
            "branch branch add 8; >from from 8; >from from 8; >relu1 relu 8; N0904 x",
        ),
        ("model M { input x [8]; input y [8]; relu; output y; }", "relu1 relu 8"),
        ("model M(n = 2) { input x [8]; relu; } train M { loss mse; optimizer adam; batch n; }", "relu1 relu 8"),
        // An error may have hidden the use.
        ("block B(n) { linear(n); } model M { input x [8]; B; }", "N0203 B"),
        ("block Unit(n) { linear(n); } model M { input x [8]; Unti(2); }", "N0201 Unti"),
        ("model M(n_chans = 2) { input x [8]; linear(n_chan); }", "N0205 n_chan"),
        ("block B(n) { linear(n); } model M { input x [8]; repeat 4000000000 { B(8); } }", "N0108 4000000000"),
    ]);
}

/// Rule 8: YAML gives structure only.
#[test]
fn scalars_are_source_text() {
    let page =
        |params: &str, layers: &str| format!("model: M\nparams: {params}\ninput: {{ x: [8] }}\nlayers: {layers}");
    pages(&[
        (&page("{ n: 2, y: 3, on: 4, null: 5 }", "[ { linear: n * y * on * null } ]"), "linear1 linear 120 =1080"),
        (&page("[ { n: 010 } ]", "[ { linear: n } ]"), "linear1 linear 10 =90"),
        (&page("{ n: 0x10 }", "[ { linear: n } ]"), "N0101 0x10"),
        (&page("{ n: 1_000 }", "[ { linear: n } ]"), "N0101 1_000"),
        (&page("{ n: ~ }", "[ { linear: n } ]"), "N0101 ~"),
        (&page("{ n: }", "[ { linear: n } ]"), "N0214 n"),
        (&page("{ n: 12:30 }", "[ { linear: n } ]"), "N0101 :"),
        (&page("{ n: '2' }", "[ { linear: n } ]"), "N0204 '2'"),
        (&page("{ n: .inf }", "[ { linear: n } ]"), "N0101 ."),
        (&page("{ n: 2 }", "[ { linear: -n + 4 } ]"), "linear1 linear 2 =18"),
        (&page("{ n: 2 }", "[ { linear: { out: n, bias: yes } } ]"), "N0204 yes"),
        (&page("{ n: 2 }", "[ { linear: { out: n, bias: False } } ]"), "N0204 False"),
        (&page("{ n: 2 }", "[ { linear: { out: n, bias: \"false\" } } ]"), "N0204 \"false\""),
        (&page("{ n: &a 2 }", "[ { linear: n } ]"), "N0104 &a"),
        (&page("{ n: 2 }", "[ { linear: *n } ]"), "N0104 *n"),
        (&page("{ n: !!int 2 }", "[ { linear: n } ]"), "N0104 !!int"),
        (&page("{ n: 2, <<: { m: 3 } }", "[ { linear: n } ]"), "N0104 <<"),
        (&page("{ n: 2 }", "[ { linear: [n] } ]"), "N0204 [n]"),
        (&page("{ n: 2 }", "[ { linear: { out: n } }, true ]"), "N0201 true"),
        (&page("{ n: 2 }", "[ { linear: { out: n } }, 3 ]"), "N0112 3"),
    ]);
}

/// Rule 9: parameters can be set from outside.
#[test]
fn parameters_from_outside() {
    let text = "model M(n = 2, m = n + 1, k) { input x [8]; linear(n); linear(m); linear(k); }";
    let told = |params: &[(&str, i64)]| told(&compile_with(text, Spelling::Netspec, params));
    assert_eq!(told(&[("k", 1)]), "linear1 linear 2 =18; linear2 linear 3 =9; linear3 linear 1 =4");
    assert_eq!(told(&[("k", 1), ("n", 4)]), "linear1 linear 4 =36; linear2 linear 5 =25; linear3 linear 1 =6");
    assert_eq!(told(&[("k", 1), ("n", 4), ("m", 1)]), "linear1 linear 4 =36; linear2 linear 1 =5; linear3 linear 1 =2");
    assert_eq!(told(&[]), "N0214 k");
    assert_eq!(told(&[("k", 1), ("q", 4)]), "N0212 M");
    assert_eq!(told(&[("k", 0)]), "N0211 k");
    assert_eq!(told(&[("k", i64::MAX)]), "N0108 k");
    assert_eq!(told(&[("k", 1), ("n", i64::MAX)]), "N0208 n + 1; N0108 n");
    assert_eq!(told(&[("k", i64::MIN)]), "N0211 k");
}

/// Rule 10: names are PyTorch's, and work for 1, 2 and 3 spatial dimensions.
#[test]
fn ranks() {
    let expected = |shape: &str| -> Vec<(&str, &str)> {
        match shape {
            "[2, 8]" => vec![
                ("conv(4, kernel = 3);", "conv1 conv 4x6 =28"),
                ("conv1d(4, kernel = 3);", "conv1 conv 4x6 =28"),
                ("conv2d(4, kernel = 3);", "N0308 conv2d"),
                ("conv3d(4, kernel = 3);", "N0308 conv3d"),
                ("conv(4, kernel = (3,));", "conv1 conv 4x6 =28"),
                ("conv(4, kernel = (3, 3));", "N0308 (3, 3)"),
                (
                    "max_pool1d(2); avg_pool1d(2); batch_norm1d; dropout1d;",
                    "max_pool1 max_pool 2x4; avg_pool1 avg_pool 2x2; batch_norm1 batch_norm 2x2 =4; channel_dropout1 channel_dropout 2x2",
                ),
                ("dropout2d;", "N0308 dropout2d"),
            ],
            "[2, 8, 9]" => vec![
                ("conv(4, kernel = 3);", "conv1 conv 4x6x7 =76"),
                ("conv2d(4, kernel = (1, 3), stride = (2, 1), padding = (0, 1));", "conv1 conv 4x4x9 =28"),
                ("conv1d(4, kernel = 3);", "N0308 conv1d"),
                ("conv(4, kernel = (3, 3, 3));", "N0308 (3, 3, 3)"),
                (
                    "max_pool2d((2, 3)); avg_pool2d(2, stride = 1); batch_norm2d; dropout2d(0.2);",
                    "max_pool1 max_pool 2x4x3; avg_pool1 avg_pool 2x3x2; batch_norm1 batch_norm 2x3x2 =4; channel_dropout1 channel_dropout 2x3x2",
                ),
                ("batch_norm1d;", "N0308 batch_norm1d"),
            ],
            "[2, 5, 6, 7]" => vec![
                ("conv(4, kernel = 3);", "conv1 conv 4x3x4x5 =220"),
                ("conv3d(4, kernel = (1, 2, 3));", "conv1 conv 4x5x5x5 =52"),
                (
                    "max_pool3d(2); avg_pool3d(2); batch_norm3d; dropout3d;",
                    "max_pool1 max_pool 2x2x3x3; avg_pool1 avg_pool 2x1x1x1; batch_norm1 batch_norm 2x1x1x1 =4; channel_dropout1 channel_dropout 2x1x1x1; N0905 max_pool3d; N0905 avg_pool3d",
                ),
                ("max_pool2d(2);", "N0308 max_pool2d"),
            ],
            "[8]" => vec![
                ("conv(4, kernel = 3);", "N0308 conv"),
                ("conv1d(4, kernel = 3);", "N0308 conv1d"),
                ("max_pool(2);", "N0308 max_pool"),
                ("channel_dropout;", "N0308 channel_dropout"),
                ("batch_norm;", "batch_norm1 batch_norm 8 =16"),
                ("batch_norm1d;", "batch_norm1 batch_norm 8 =16"),
                ("batch_norm2d;", "N0308 batch_norm2d"),
                ("dropout;", "dropout1 dropout 8"),
            ],
            _ => vec![
                ("conv(4, kernel = 1);", "N0308 conv"),
                ("batch_norm;", "N0308 batch_norm"),
                ("dropout; relu;", "dropout1 dropout 1x2x3x4x5; relu1 relu 1x2x3x4x5"),
            ],
        }
    };
    for shape in ["[2, 8]", "[2, 8, 9]", "[2, 5, 6, 7]", "[8]", "[1, 2, 3, 4, 5]"] {
        bodies(shape, &expected(shape));
    }
}

/// Rule 11: weights are named like a state dict.
#[test]
fn weights_are_named_like_a_state_dict() {
    let weights = |text: &str| {
        let outcome = netspec(text);
        let checked = outcome.checked.as_ref().unwrap_or_else(|| panic!("{:?}", findings(&outcome)));
        let mut names = Vec::new();
        let mut nodes: Vec<_> = checked.body.iter().rev().collect();
        while let Some(node) = nodes.pop() {
            let path = &checked.net.layer(node.layer).path;
            names.extend(node.weights.iter().map(|weight| format!("{path}.{}", weight.name)));
            nodes.extend(node.bodies.iter().rev().flat_map(|body| body.iter().rev()));
        }
        names.join(" ")
    };
    let norm =
        |path: &str| ["weight", "bias", "running_mean", "running_var"].map(|name| format!("{path}.{name}")).join(" ");
    assert_eq!(
        weights(&model(
            "[3, 8, 8]",
            "conv(4, kernel = 3) as conv1; relu; conv(4, kernel = 1, bias = false); batch_norm; conv2d(4, kernel = 1) as last;"
        )),
        format!("conv1.weight conv1.bias conv2.weight {} last.weight last.bias", norm("batch_norm1"))
    );
    let block = "block ResBlock(n) { skip { conv(n, kernel = 3, padding = 1, bias = false) as conv; batch_norm as batch_norm; } }";
    let res = |repeat: &str| format!("{block} model M {{ input x [3, 8, 8]; {repeat} }}");
    assert_eq!(
        weights(&res("repeat 3 as resblocks { ResBlock(3); }")),
        format!("resblocks.*.conv.weight {}", norm("resblocks.*.batch_norm"))
    );
    assert_eq!(
        weights(&res("repeat 3 tied as resblocks { ResBlock(3); }")),
        format!("resblocks.0.conv.weight {}", norm("resblocks.0.batch_norm"))
    );
    assert_eq!(
        weights(&res("repeat 3 { ResBlock(3); }")),
        format!("repeat1.*.conv.weight {}", norm("repeat1.*.batch_norm"))
    );
    assert_eq!(
        weights(&res("ResBlock(3); ResBlock(3) as second; ResBlock(3);")),
        ["res_block1", "second", "res_block3"]
            .map(|b| format!("{b}.conv.weight {}", norm(&format!("{b}.batch_norm"))))
            .join(" ")
    );
    // A label adds a level; without one skip and branch add none.
    assert_eq!(
        weights(&model(
            "[8]",
            "skip { linear(8); } skip as s { linear(8); } project { linear(8) as p; } branch add { { linear(8); } { linear(8); } } branch add as b { { linear(8); } { linear(8); } }"
        )),
        "linear1.weight linear1.bias s.linear1.weight s.linear1.bias s.p.weight s.p.bias \
         linear2.weight linear2.bias linear3.weight linear3.bias b.linear1.weight b.linear1.bias b.linear2.weight b.linear2.bias"
    );
    // The place counts all of a kind, labelled ones and repeats too.
    assert_eq!(
        weights(&model("[8]", "repeat 2 as r { linear(8); } repeat 2 { linear(8) as a; linear(8); }")),
        "r.*.linear1.weight r.*.linear1.bias repeat2.*.a.weight repeat2.*.a.bias repeat2.*.linear2.weight repeat2.*.linear2.bias"
    );
    // Unrolled ones are numbered, since each is alone.
    assert_eq!(
        weights(&model("[8]", "repeat 2 unrolled as d { linear(4); }")),
        "d.0.linear1.weight d.0.linear1.bias d.1.linear1.weight d.1.linear1.bias"
    );
    // Numbers are places, as in PyTorch's `Sequential`.
    assert_eq!(
        weights(&model(
            "[8]",
            "linear(8) as 0; relu; skip as 2 { linear(8) as 0; } repeat 2 as 10 { linear(8) as 3; }"
        )),
        "0.weight 0.bias 2.0.weight 2.0.bias 10.*.3.weight 10.*.3.bias"
    );
    // One set, whatever the number of uses, named where it is declared.
    assert_eq!(
        weights(
            "block B { shared e { linear(8); } e; e; } model M { input x [8]; shared f { linear(8); } f; B as b; f; }"
        ),
        "f.linear1.weight f.linear1.bias b.e.linear1.weight b.e.linear1.bias"
    );
    bodies(
        "[8]",
        &[
            ("linear(8) as conv1; linear(8);", "conv1 linear 8 =72; linear2 linear 8 =72"),
            ("relu as repeat1; repeat 2 { tanh; }", "N0206 repeat"),
            ("linear(8) as 0; linear(8) as 0;", "N0206 0"),
        ],
    );
}

/// Rule 12: the limits; `limits.rs` of netc has the hostile texts.
#[test]
fn limits() {
    let nested = |depth: usize| format!("{}relu;{}", "skip { ".repeat(depth), " }".repeat(depth));
    assert!(netspec(&model("[8]", &nested(62))).is_ok());
    assert_eq!(findings(&netspec(&model("[8]", &nested(64))))[0], "N0108 {");
    bodies("[65536, 32768]", &[("identity;", "identity1 identity 65536x32768")]);
    bodies("[65536, 32769]", &[("identity;", "N0108 [65536, 32769]")]);
    bodies(
        "[65536]",
        &[
            ("linear(65535, bias = false);", "linear1 linear 65535 =4294901760"),
            ("linear(65536);", "N0108 Net"),
            ("repeat 2 { linear(65536, bias = false); }", "N0108 Net"),
            (
                "repeat 2 tied { linear(65536, bias = false); }",
                "repeat1 repeat 2 tied 65536; >repeat1.0.linear1 linear 65536 =4294967296 *2",
            ),
        ],
    );
    bodies("[8]", &[("view(-1, 8, 1); linear(1 -> 2147483648);", "N0108 linear; N0909 linear")]);
}

/// Semantics: output sizes are PyTorch's.
#[test]
fn sizes_of_windows() {
    bodies(
        "[4, 7, 7]",
        &[
            ("conv(4, kernel = 3, stride = 2);", "conv1 conv 4x3x3 =148"),
            ("conv(4, kernel = 3, stride = 2, padding = 1);", "conv1 conv 4x4x4 =148"),
            ("conv(4, kernel = 3, dilation = 2);", "conv1 conv 4x3x3 =148"),
            ("conv(4, kernel = 3, dilation = 3);", "conv1 conv 4x1x1 =148"),
            ("conv(4, kernel = 3, dilation = 4);", "N0304 conv"),
            ("conv(4, kernel = 8);", "N0304 conv"),
            ("conv(4, kernel = 9, padding = 1);", "conv1 conv 4x1x1 =1300"),
            ("conv(4, kernel = 3, padding = same);", "conv1 conv 4x7x7 =148"),
            ("conv(4, kernel = (2, 5), dilation = (3, 1), padding = same);", "conv1 conv 4x7x7 =164"),
            ("conv(4, kernel = 3, stride = 2, padding = valid);", "conv1 conv 4x3x3 =148"),
            ("conv(4, kernel = 3, stride = 2, padding = same);", "N0211 same"),
            ("conv(4, kernel = 3, padding = sane);", "N0204 sane"),
            ("conv(4, kernel = 3, padding = (same, 1));", "N0205 same"),
            ("max_pool(3, padding = same);", "N0204 same"),
            ("conv_transpose(3, kernel = 2, stride = 2);", "conv_transpose1 conv_transpose 3x14x14 =51"),
            ("conv_transpose(3, kernel = 3, stride = 2, padding = 1);", "conv_transpose1 conv_transpose 3x13x13 =111"),
            (
                "conv_transpose(3, kernel = 3, stride = 2, padding = 1, output_padding = 1);",
                "conv_transpose1 conv_transpose 3x14x14 =111",
            ),
            (
                "conv_transpose(6, kernel = (1, 3), dilation = (1, 2), output_padding = (0, 1), groups = 2, bias = false);",
                "conv_transpose1 conv_transpose 6x7x12 =36",
            ),
            ("conv_transpose(3, kernel = 3, output_padding = 1);", "N0211 1"),
            ("conv_transpose(3, kernel = 2, padding = 4);", "N0304 4"),
            ("conv_transpose(6, kernel = 2, groups = 3);", "N0403 3"),
            ("conv_transpose(3 -> 6, kernel = 2);", "N0302 3"),
            ("conv_transpose1d(3, kernel = 2);", "N0308 conv_transpose1d"),
            ("conv_transpose(3, kernel = 2, padding = same);", "N0204 same"),
            ("conv(8, kernel = 1, groups = 4);", "conv1 conv 8x7x7 =16"),
            ("conv(8, kernel = 3, groups = 2, bias = false);", "conv1 conv 8x5x5 =144"),
            ("conv(8, kernel = 1, groups = 3);", "N0403 3"),
            ("conv(6, kernel = 1, groups = 4);", "N0403 4"),
            ("max_pool(2);", "max_pool1 max_pool 4x3x3; N0905 max_pool"),
            ("max_pool(2, ceil_mode = true);", "max_pool1 max_pool 4x4x4"),
            ("max_pool(3, stride = 2, ceil_mode = true);", "max_pool1 max_pool 4x3x3"),
            // A last window may begin in the map only, not in the padding behind it.
            ("max_pool(2, stride = 3, padding = 1, ceil_mode = true);", "max_pool1 max_pool 4x3x3"),
            ("max_pool(2, stride = 4, padding = 1, ceil_mode = true);", "max_pool1 max_pool 4x2x2"),
            // It may hang over by less than a step even where no whole window fits.
            ("max_pool(8, stride = 2, ceil_mode = true);", "max_pool1 max_pool 4x1x1"),
            ("max_pool(8, stride = 1, ceil_mode = true);", "N0304 max_pool"),
            ("max_pool(8);", "N0304 max_pool"),
            ("max_pool(3, padding = 1);", "max_pool1 max_pool 4x3x3"),
            ("max_pool(3, padding = 2);", "N0211 2"),
            // Half of the kernel, not of what it spans: PyTorch's check.
            ("max_pool(3, padding = 2, dilation = 2);", "N0211 2"),
            ("max_pool(3, stride = 1, padding = 1, dilation = 2);", "max_pool1 max_pool 4x5x5"),
            ("avg_pool(7);", "avg_pool1 avg_pool 4x1x1"),
            ("avg_pool(3, stride = 2, padding = 1, count_include_pad = false);", "avg_pool1 avg_pool 4x4x4"),
            ("avg_pool(3, dilation = 2);", "N0202 dilation"),
            ("max_pool(1, stride = 2);", "max_pool1 max_pool 4x4x4"),
        ],
    );
}

/// Layers that pool, move or resize a map, and mistakes that only they have.
#[test]
fn values_that_move() {
    bodies(
        "[6, 8, 7]",
        &[
            ("zero_pad(1);", "zero_pad1 zero_pad 6x10x9"),
            ("zero_pad2d((1, 2, 3, 0));", "zero_pad1 zero_pad 6x11x10"),
            ("zero_pad((1, 2));", "N0308 (1, 2)"),
            ("zero_pad((1, 2, 3, 0, 0, 0));", "N0308 (1, 2, 3, 0, 0, 0)"),
            ("zero_pad(-1);", "N0211 -1"),
            ("zero_pad1d(1);", "N0308 zero_pad1d"),
            ("flatten; zero_pad(1);", "N0308 zero_pad"),
            ("global_avg_pool;", "global_avg_pool1 global_avg_pool 6x1x1"),
            ("global_max_pool; flatten;", "global_max_pool1 global_max_pool 6x1x1; flatten1 flatten 6"),
            ("global_avg_pool(2);", "N0210 2"),
            ("adaptive_avg_pool(3);", "adaptive_avg_pool1 adaptive_avg_pool 6x3x3"),
            ("adaptive_avg_pool2d((9, 1));", "adaptive_avg_pool1 adaptive_avg_pool 6x9x1"),
            ("adaptive_avg_pool((1, 2, 3));", "N0308 (1, 2, 3)"),
            ("adaptive_avg_pool(0);", "N0211 0"),
            ("upsample(2);", "upsample1 upsample 6x16x14"),
            ("upsample((1, 3), mode = linear);", "upsample1 upsample 6x8x21"),
            ("upsample(size = (5, 9), mode = bilinear, align_corners = true);", "upsample1 upsample 6x5x9"),
            ("upsample;", "N0203 upsample"),
            ("upsample(2, size = 4);", "N0209 4"),
            ("upsample(2, mode = trilinear);", "N0308 trilinear"),
            ("upsample(2, mode = bicubic);", "N0204 bicubic"),
            ("upsample(2, align_corners = true);", "N0211 true"),
            ("upsample(1000000000);", "N0108 upsample"),
            ("narrow(1, start = 2, length = 4);", "narrow1 narrow 4x8x7"),
            ("narrow(3, start = 6, length = 1);", "narrow1 narrow 6x8x1"),
            ("narrow(3, start = 6, length = 2);", "N0211 2"),
            ("narrow(2, start = 8, length = 1);", "N0211 1"),
            ("narrow(4, start = 0, length = 1);", "N0308 4"),
            ("narrow(0, start = 0, length = 1);", "N0211 0"),
            ("narrow(1, length = 1);", "N0203 narrow"),
            // What is left of a flat map is not that map.
            (
                "flatten; narrow(1, start = 0, length = 10); linear(2);",
                "flatten1 flatten 336; narrow1 narrow 10; linear1 linear 2 =22",
            ),
            ("permute(0, 2, 3, 1);", "permute1 permute 8x7x6"),
            ("permute(0, 1, 2, 3);", "permute1 permute 6x8x7"),
            ("permute(2, 3, 1);", "N0308 2, 3, 1"),
            ("permute(0, 2, 1);", "N0308 0, 2, 1"),
            ("permute(1, 0, 2, 3);", "N0308 1, 0, 2, 3"),
            ("permute(0, 2, 2, 3);", "N0308 0, 2, 2, 3"),
            ("permute;", "N0308 permute"),
            ("channel_shuffle(3);", "channel_shuffle1 channel_shuffle 6x8x7"),
            ("channel_shuffle(4);", "N0403 4"),
            ("flatten; channel_shuffle(2);", "N0308 channel_shuffle"),
        ],
    );
    bodies(
        "[2, 5]",
        &[
            ("zero_pad((0, 3));", "zero_pad1 zero_pad 2x8"),
            ("upsample(2, mode = linear);", "upsample1 upsample 2x10"),
            ("upsample(2, mode = bilinear);", "N0308 bilinear"),
        ],
    );
    bodies(
        "[2, 2, 3, 4]",
        &[
            ("zero_pad3d((1, 0, 2, 0, 3, 0));", "zero_pad1 zero_pad 2x5x5x5"),
            ("upsample(2, mode = trilinear);", "upsample1 upsample 2x4x6x8"),
            ("narrow(2, start = 1, length = 1);", "narrow1 narrow 2x1x3x4"),
        ],
    );
}

/// Semantics: what joins, and what each layer reads.
#[test]
fn values_that_join() {
    bodies(
        "[4, 8, 8]",
        &[
            ("skip { conv(8, kernel = 3, padding = 1); }", "N0303 skip"),
            ("skip { max_pool(2); }", "N0303 skip"),
            (
                "skip { conv(8, kernel = 3, padding = 1, stride = 2); } project { conv(8, kernel = 1, stride = 2); }",
                "skip skip 8x4x4; >conv1 conv 8x4x4 =296; >conv2 conv 8x4x4 =40",
            ),
            ("skip { conv(8, kernel = 3, padding = 1, stride = 2); } project { conv(8, kernel = 1); }", "N0303 skip"),
            (
                "branch concat { { conv(2, kernel = 1); } { max_pool(3, stride = 1, padding = 1); } { identity; } }",
                "branch branch concat 10x8x8; >conv1 conv 2x8x8 =10; >max_pool1 max_pool 4x8x8; >identity1 identity 4x8x8",
            ),
            ("branch concat { { max_pool(2); } { identity; } }", "N0303 branch"),
            (
                "branch add { { conv(4, kernel = 1); } { identity; } }",
                "branch branch add 4x8x8; >conv1 conv 4x8x8 =20; >identity1 identity 4x8x8",
            ),
            ("branch add { { conv(5, kernel = 1); } { identity; } }", "N0303 branch"),
            ("branch add { { relu; } }", "N0114 branch"),
            (
                "branch multiply { { identity; } { global_avg_pool; sigmoid; } }",
                "branch branch multiply 4x8x8; >identity1 identity 4x8x8; >global_avg_pool1 global_avg_pool 4x1x1; >sigmoid1 sigmoid 4x1x1",
            ),
            ("relu as a; multiply(a, x);", "a relu 4x8x8; multiply1 multiply 4x8x8"),
            ("narrow(1, start = 0, length = 1) as a; multiply(a, x);", "a narrow 1x8x8; multiply1 multiply 4x8x8"),
            ("narrow(2, start = 0, length = 1) as a; multiply(x, a, x);", "a narrow 4x1x8; multiply1 multiply 4x8x8"),
            // One of them would have to be repeated around a dimension that both have.
            ("conv(1, kernel = (1, 8)) as a; multiply(a, x);", "N0303 multiply"),
            ("max_pool(2) as a; multiply(a, x);", "N0303 multiply"),
            ("global_avg_pool; flatten as a; multiply(a, x);", "N0303 multiply"),
            ("multiply(x);", "N0203 multiply"),
            ("branch relu { { relu; } { identity; } }", "N0201 relu"),
            ("skip { }", "N0114 { }"),
            ("max_pool(2) as a; concat(x, a);", "N0303 concat"),
            ("flatten as f; concat(f, f) : [512];", "f flatten 256; concat1 concat 512"),
            ("flatten; log_softmax;", "flatten1 flatten 256; log_softmax1 log_softmax 256"),
            ("log_softmax(dim = 3);", "log_softmax1 log_softmax 4x8x8"),
            ("log_softmax(dim = 4);", "N0308 4"),
            ("log_softmax(0);", "N0211 0"),
            ("softmax(dim = 2);", "softmax1 softmax 4x8x8"),
            ("softmax(dim = 4);", "N0308 4"),
            ("leaky_relu(0);", "leaky_relu1 leaky_relu 4x8x8"),
            ("leaky_relu(-0.1);", "N0211 -0.1"),
            ("hardtanh(min = -2);", "hardtanh1 hardtanh 4x8x8"),
            ("hardtanh(min = 1);", "N0211 1"),
            ("hardtanh(max = -1);", "N0211 -1"),
            ("gelu(approximate = tanh);", "gelu1 gelu 4x8x8"),
            ("gelu(approximate = fast);", "N0204 fast"),
            ("softplus(beta = 0);", "N0211 0"),
            ("gelu; silu;", "gelu1 gelu 4x8x8; silu1 silu 4x8x8; N0907 silu"),
            ("group_norm(2);", "group_norm1 group_norm 4x8x8 =8"),
            ("group_norm(2, affine = false);", "group_norm1 group_norm 4x8x8"),
            ("group_norm;", "N0203 group_norm"),
            ("group_norm(3);", "N0403 3"),
            ("flatten; group_norm(256);", "N0304 group_norm"),
            ("group_norm(2, affine = false, init_bias = 1);", "N0402 1"),
            ("layer_norm;", "layer_norm1 layer_norm 4x8x8 =512"),
            ("layer_norm(dims = 2);", "layer_norm1 layer_norm 4x8x8 =128"),
            ("layer_norm(1, affine = false);", "layer_norm1 layer_norm 4x8x8"),
            ("layer_norm(dims = 4);", "N0308 4"),
            ("instance_norm;", "instance_norm1 instance_norm 4x8x8"),
            ("instance_norm2d(affine = true);", "instance_norm1 instance_norm 4x8x8 =8"),
            ("instance_norm1d;", "N0308 instance_norm1d"),
            ("flatten; instance_norm;", "N0308 instance_norm"),
            ("max_pool(8); instance_norm;", "N0304 instance_norm"),
            (
                "conv(4, kernel = 1); instance_norm;",
                "conv1 conv 4x8x8 =20; instance_norm1 instance_norm 4x8x8; N0906 conv",
            ),
            ("conv(4, kernel = 1); group_norm(2);", "conv1 conv 4x8x8 =20; group_norm1 group_norm 4x8x8 =8"),
        ],
    );
    specs(&[
        // Several inputs and outputs.
        (
            "model M { input image [3, 8, 8]; input meta [10]; flatten; linear(4) as a; from meta; linear(4) as b; add(a, b) as sum; tanh as features; linear(2) as logits; output logits, features, meta; }",
            "flatten1 flatten 192; a linear 4 =772; from from 10; b linear 4 =44; sum add 4; features tanh 4; logits linear 2 =10",
        ),
        ("model M { input a [4]; input b [5]; add(a, b); }", "N0303 add"),
        ("model M { input a [4]; input b [5]; concat(a, b) : [9]; }", "concat1 concat 9"),
    ]);
    let outcome = netspec("model M { input x [4]; tanh as a; linear(2) as b; output a, b; }");
    assert_eq!(outcome.checked.unwrap().outputs, [[4].to_vec(), [2].to_vec()]);
}

/// Semantics: the training.
#[test]
fn trainings() {
    let train =
        |input: &str, body: &str, train: &str| format!("model M {{ input x {input}; {body} }} train M {{ {train} }}");
    let two_outputs = |loss: &str| {
        let train = train("[8]", "linear(3) as a; from x; linear(3) as b; output a, b;", "loss LOSS; optimizer adam;");
        train.replace("LOSS", loss)
    };
    let cifar = |settings: &str| train("[3, 32, 32]", "flatten; linear(10);", settings);
    let rows = "flatten1 flatten 3072; linear1 linear 10 =30730";
    let cases = [
        (cifar("data cifar10; loss cross_entropy; optimizer sgd(lr = 1e-2);"), rows),
        (cifar("data cifar10; loss nll; optimizer adam;"), rows),
        (cifar("data mnist; loss cross_entropy; optimizer adam;"), "N0503 mnist"),
        (cifar("data cifar100; loss cross_entropy; optimizer adam;"), "N0503 cifar100"),
        (cifar("data cifar10(classes = [cat, dog]); loss cross_entropy; optimizer adam;"), "N0503 [cat, dog]"),
        (
            cifar("data cifar10(classes = [cat, cat]); loss cross_entropy; optimizer adam;"),
            "N0503 [cat, cat]; N0206 cat",
        ),
        (cifar("data cifar10(classes = [cta]); loss cross_entropy; optimizer adam;"), "N0503 [cta]; N0204 cta"),
        (cifar("data cifar10(mean = [0.5]); loss cross_entropy; optimizer adam;"), "N0503 [0.5]"),
        (cifar("data cifar10(std = [0.5, 0, 0.5]); loss cross_entropy; optimizer adam;"), "N0502 0"),
        (cifar("data cifar10; loss mse; optimizer adam;"), "N0503 cifar10"),
        (cifar("data safetensors(file = \"a.safetensors\"); loss mse; optimizer adam;"), rows),
        (cifar("data safetensors; loss mse; optimizer adam;"), "N0203 safetensors"),
        (cifar("data imagenet; loss mse; optimizer adam;"), "N0504 imagenet"),
        (cifar("loss hinge; optimizer adam;"), "N0504 hinge"),
        (cifar("loss mse; optimizer lion;"), "N0504 lion"),
        (cifar("loss mse; optimizer sgd;"), "N0203 sgd"),
        (cifar("loss mse; optimizer sgd(lr = -1);"), "N0502 -1"),
        (cifar("loss mse; optimizer sgd(1e-2, nesterov = true);"), "N0502 true"),
        (cifar("loss mse; optimizer sgd(1e-2, momentum = 0.9, nesterov = true);"), rows),
        (cifar("loss mse;"), "N0505 train"),
        (cifar("optimizer adam;"), "N0505 train"),
        (cifar("loss mse; optimizer adam; batch 0;"), "N0502 0"),
        (cifar("loss mse; optimizer adam; shuffle maybe;"), "N0204 maybe"),
        (cifar("loss mse; optimizer adam; eval_mode batch_statistics; numerics exact; seed 7; epochs 1;"), rows),
        (
            train("[3, 32, 32]", "flatten; linear(10); log_softmax;", "loss cross_entropy; optimizer adam;"),
            "flatten1 flatten 3072; linear1 linear 10 =30730; log_softmax1 log_softmax 10; N0908 log_softmax",
        ),
        (
            train("[3, 32, 32]", "flatten; linear(10); softmax;", "loss cross_entropy; optimizer adam;"),
            "flatten1 flatten 3072; linear1 linear 10 =30730; softmax1 softmax 10; N0908 softmax",
        ),
        (
            train(
                "[3, 32, 32]",
                "flatten; linear(10); log_softmax as y; output y;",
                "loss cross_entropy; optimizer adam;",
            ),
            "flatten1 flatten 3072; linear1 linear 10 =30730; y log_softmax 10; N0908 log_softmax",
        ),
        (
            train(
                "[3, 32, 32]",
                "flatten; linear(10) as y; log_softmax; output y;",
                "loss cross_entropy; optimizer adam;",
            ),
            "flatten1 flatten 3072; y linear 10 =30730; log_softmax1 log_softmax 10",
        ),
        // Of a map, a label for each position; a known data set has one a record.
        (train("[3, 32, 32]", "relu;", "loss cross_entropy; optimizer adam;"), "relu1 relu 3x32x32"),
        (
            train("[3, 32, 32]", "relu;", "data safetensors(file = \"x\"); loss cross_entropy; optimizer adam;"),
            "relu1 relu 3x32x32",
        ),
        (
            train("[1, 8, 8]", "conv(10, kernel = 5);", "data digits; loss cross_entropy; optimizer adam;"),
            "N0501 cross_entropy",
        ),
        (train("[3, 4, 4]", "relu;", "loss l1; optimizer adam;"), "relu1 relu 3x4x4"),
        (train("[3]", "relu;", "loss smooth_l1(beta = 0.5); optimizer adam;"), "relu1 relu 3"),
        (train("[3]", "relu;", "loss huber(delta = 0); optimizer adam;"), "N0502 0"),
        (train("[3]", "relu;", "loss cross_entropy(label_smoothing = 1.5); optimizer adam;"), "N0502 1.5"),
        (train("[3]", "relu;", "loss cross_entropy(0.1); optimizer adam;"), "N0204 0.1"),
        (train("[3]", "relu;", "loss nll(class_weights = [1, 0, 2.5]); optimizer adam;"), "relu1 relu 3"),
        (train("[3]", "relu;", "loss nll(class_weights = [1, -1, 2]); optimizer adam;"), "N0502 -1"),
        (train("[3]", "relu;", "loss cross_entropy(class_weights = [1, 2]); optimizer adam;"), "N0501 [1, 2]"),
        (train("[3, 4]", "relu;", "loss cross_entropy(class_weights = [1, 2, 3]); optimizer adam;"), "relu1 relu 3x4"),
        (train("[3]", "relu;", "loss bce_with_logits(pos_weight = [1, 2, 3]); optimizer adam;"), "relu1 relu 3"),
        (train("[3]", "relu;", "loss bce_with_logits(pos_weight = [1, 2]); optimizer adam;"), "N0501 [1, 2]"),
        (train("[2, 4]", "relu;", "loss bce_with_logits(pos_weight = [5]); optimizer adam;"), "relu1 relu 2x4"),
        (train("[2, 4]", "relu;", "loss bce_with_logits(pos_weight = [1, 2]); optimizer adam;"), "N0501 [1, 2]"),
        // A loss of each output.
        (train("[3]", "relu as y; output y;", "loss mse(y); optimizer adam;"), "y relu 3"),
        (train("[3]", "relu as y;", "loss mse(y); optimizer adam;"), "N0501 y"),
        (
            two_outputs("[cross_entropy(a), cross_entropy(b, weight = 0.3)]"),
            "a linear 3 =27; from from 8; b linear 3 =27",
        ),
        (two_outputs("[cross_entropy(b), nll(of = a)]"), "a linear 3 =27; from from 8; b linear 3 =27"),
        (two_outputs("[cross_entropy(b), nll(of = a, weight = -1)]"), "N0502 -1"),
        (two_outputs("cross_entropy(a)"), "a linear 3 =27; from from 8; b linear 3 =27; N0910 b"),
        (two_outputs("[cross_entropy(a), cross_entropy(c)]"), "N0501 c"),
        (two_outputs("[cross_entropy(a), mse(b)]"), "N0501 mse(b)"),
        (two_outputs("[cross_entropy(a), nll]"), "N0501 nll"),
        (two_outputs("[]"), "N0505 []"),
        (two_outputs("[cross_entropy(a), 3]"), "N0204 3"),
        (train("[3, 32, 32]", "relu;", "loss mse; optimizer adam;"), "relu1 relu 3x32x32"),
        (train("[8]", "tanh as a; relu as b; output a, b;", "loss mse; optimizer adam;"), "N0907 relu; N0501 mse"),
        // One value per channel in training is an error, as in PyTorch.
        (train("[8]", "batch_norm;", "loss mse; optimizer adam; batch 1;"), "N0502 1"),
        (train("[8, 1, 1]", "batch_norm;", "loss mse; optimizer adam; batch 1;"), "N0502 1"),
        (train("[8, 1, 2]", "batch_norm;", "loss mse; optimizer adam; batch 1;"), "batch_norm1 batch_norm 8x1x2 =16"),
        (train("[8]", "batch_norm;", "loss mse; optimizer adam; batch 2;"), "batch_norm1 batch_norm 8 =16"),
    ];
    compare(cases.into_iter().map(|(text, expected)| (text.clone(), netspec(&text), expected.to_owned())));
}

/// The warnings of layers next to each other, and where they would be false.
#[test]
fn warnings() {
    bodies(
        "[4, 8, 8]",
        &[
            ("relu; tanh;", "relu1 relu 4x8x8; tanh1 tanh 4x8x8; N0907 tanh"),
            ("relu; max_pool(2); tanh;", "relu1 relu 4x8x8; max_pool1 max_pool 4x4x4; tanh1 tanh 4x4x4"),
            ("relu as a; from x; tanh as b; add(a, b);", "a relu 4x8x8; from from 4x8x8; b tanh 4x8x8; add1 add 4x8x8"),
            ("conv(4, kernel = 1); batch_norm;", "conv1 conv 4x8x8 =20; batch_norm1 batch_norm 4x8x8 =8; N0906 conv"),
            ("conv(4, kernel = 1, bias = false); batch_norm;", "conv1 conv 4x8x8 =16; batch_norm1 batch_norm 4x8x8 =8"),
            (
                "conv(4, kernel = 1); relu; batch_norm;",
                "conv1 conv 4x8x8 =20; relu1 relu 4x8x8; batch_norm1 batch_norm 4x8x8 =8",
            ),
            // The bias has another reader.
            (
                "conv(4, kernel = 1) as c; batch_norm as b; add(b, c);",
                "c conv 4x8x8 =20; b batch_norm 4x8x8 =8; add1 add 4x8x8",
            ),
            // The bias is of the columns, the mean of the channels.
            ("linear(8 -> 8); batch_norm;", "linear1 linear 4x8x8 =72; batch_norm1 batch_norm 4x8x8 =8; N0909 linear"),
            (
                "flatten; linear(8); batch_norm;",
                "flatten1 flatten 256; linear1 linear 8 =2056; batch_norm1 batch_norm 8 =16; N0906 linear",
            ),
            ("max_pool(3);", "max_pool1 max_pool 4x2x2; N0905 max_pool"),
            ("max_pool(3, stride = 2, padding = 1);", "max_pool1 max_pool 4x4x4"),
            ("avg_pool(3);", "avg_pool1 avg_pool 4x2x2; N0905 avg_pool"),
            ("max_pool(3, ceil_mode = true);", "max_pool1 max_pool 4x3x3"),
            ("max_pool(1, stride = 3);", "max_pool1 max_pool 4x3x3"),
        ],
    );
}

/// How much of the input an element sees.
#[test]
fn receptive_fields() {
    let fields = |text: &str| -> Vec<Option<Vec<u64>>> {
        let outcome = netspec(text);
        let checked = outcome.checked.as_ref().unwrap_or_else(|| panic!("{:?}", findings(&outcome)));
        summary(checked).layers.into_iter().map(|row| row.receptive_field).collect()
    };
    let all = |text: &str| fields(text).into_iter().map(|field| field.map_or(0, |field| field[0])).collect::<Vec<_>>();
    let on = |body: &str| all(&model("[3, 32, 32]", body));
    let same = "conv(3, kernel = 3, padding = 1);";
    assert_eq!(on("conv(16, kernel = 3, padding = 1); max_pool(2); conv(8, kernel = 3, padding = 1);"), [3, 4, 8]);
    assert_eq!(fields(&model("[3, 32, 32]", "conv(8, kernel = (1, 3)); max_pool((1, 2));"))[1], Some(vec![1, 4]));
    assert_eq!(
        on("conv(3, kernel = 3, dilation = 2); conv(3, kernel = 3, stride = 2); conv(3, kernel = 3);"),
        [5, 7, 11]
    );
    assert_eq!(on("flatten; linear(4);"), [1, 32]);
    // A loop: each iteration adds the same, twice as much behind a stride of two.
    assert_eq!(on(&format!("repeat 10 {{ {same} }}")), [21, 21]);
    assert_eq!(on(&format!("max_pool(2); repeat 10 {{ {same} }} {same}")), [2, 42, 42, 46]);
    assert_eq!(on(&format!("repeat 2 {{ repeat 3 {{ {same} }} relu; }}")), [13, 13, 13, 13]);
    assert_eq!(on(&format!("repeat 2 {{ {same} {same} }}")), [9, 7, 9]);
    assert_eq!(on("repeat 3 { relu; }"), [1, 1]);
    // A loop that sees all, and one that reads what is no part of it.
    assert_eq!(on("conv(3, kernel = 3); flatten; repeat 3 { tanh; linear(2700); }"), [3, 3, 32, 32, 32]);
    assert_eq!(on("flatten; repeat 3 { tanh; }"), [1, 1, 1]);
    assert_eq!(on(&format!("repeat 3 {{ from x; {same} }} relu;")), [0, 0, 0, 0]);
    // A branch sees what its widest arm sees.
    assert_eq!(
        on(
            "branch concat { { conv(3, kernel = 5, padding = 2); } { conv(3, kernel = 3, padding = 1); } { identity; } }"
        ),
        [5, 5, 3, 1]
    );
    assert_eq!(on(&format!("skip {{ {same} {same} }}")), [5, 3, 5]);
    // A map of another size brings elements together or apart; what is beside it, or of it, does neither.
    assert_eq!(on(&format!("max_pool(2); upsample(2); {same}")), [2, 2, 4]);
    assert_eq!(on(&format!("max_pool(4); upsample(2, mode = bilinear); {same}")), [4, 8, 12]);
    assert_eq!(on(&format!("upsample(2); {same}")), [1, 32]);
    assert_eq!(on(&format!("adaptive_avg_pool(8); {same}")), [4, 12]);
    assert_eq!(on("zero_pad(1); narrow(2, start = 1, length = 8); conv(3, kernel = 3);"), [1, 1, 3]);
    assert_eq!(on("global_avg_pool; conv(3, kernel = 1);"), [32, 32]);
    assert_eq!(on("branch multiply { { conv(3, kernel = 1); } { global_avg_pool; } }"), [32, 1, 32]);
    // A transposed convolution brings neighbours closer.
    assert_eq!(on(&format!("max_pool(2); {same} conv_transpose(3, kernel = 2, stride = 2); {same}")), [2, 6, 6, 8]);
    // Flat inputs have none, and two inputs of one size are seen as far.
    assert_eq!(all(&model("[8]", "linear(4);")), [0]);
}

/// Sizes of the whole: multiply-accumulates and parameters, each weight counted once.
#[test]
fn sums() {
    let sums = |text: &str| {
        let outcome = netspec(text);
        let checked = outcome.checked.as_ref().unwrap_or_else(|| panic!("{:?}", findings(&outcome)));
        let summary = summary(checked);
        (summary.parameters, summary.macs)
    };
    let net = "conv(16, kernel = 3, padding = 1); tanh; max_pool(2); conv(8, kernel = 3, padding = 1); tanh; max_pool(2); \
               view(-1, 512); linear(32); tanh; linear(2);";
    assert_eq!(sums(&model("[3, 32, 32]", net)), (18_090, 16 * 1024 * 27 + 8 * 256 * 144 + 512 * 32 + 32 * 2));
    let conv = "conv(4, kernel = 3, padding = 1, groups = 2);";
    assert_eq!(sums(&model("[4, 5, 5]", conv)), (4 * 2 * 9 + 4, 4 * 25 * 18));
    assert_eq!(sums(&model("[4, 5, 5]", &format!("repeat 3 {{ {conv} }}"))), (3 * 76, 3 * 1800));
    assert_eq!(sums(&model("[4, 5, 5]", &format!("repeat 3 tied {{ {conv} }}"))), (76, 3 * 1800));
    assert_eq!(sums(&model("[4, 5, 5]", &format!("repeat 3 tied {{ repeat 2 {{ {conv} }} }}"))), (2 * 76, 6 * 1800));
    assert_eq!(sums(&model("[8]", "shared e { linear(8); } e; e;")), (72, 128));
    assert_eq!(sums(&model("[8]", "shared e { linear(8); } repeat 5 { e; linear(8); }")), (72 + 5 * 72, 10 * 64));
    assert_eq!(
        sums("block B { shared e { linear(8); } e; e; } model M { input x [8]; repeat 3 { B; } B; }"),
        (4 * 72, 8 * 64)
    );
    assert_eq!(sums(&model("[4, 4]", "linear(4 -> 2);")), (10, 4 * 4 * 2));
    assert_eq!(sums(&model("[8]", "batch_norm; batch_norm(affine = false);")), (16, 0));
}

/// A mistake in a block is told once, with the way to it.
#[test]
fn mistakes_in_blocks_are_told_once_with_their_way() {
    let trace = |text: &str| {
        let outcome = netspec(text);
        let found = outcome.diagnostics.iter().map(|finding| {
            let frames = finding.trace.iter();
            let frames: Vec<String> = frames.map(|frame| format!("{} *{}", frame.text.trim(), frame.times)).collect();
            format!("{} [{}]", finding.code, frames.join(", "))
        });
        found.collect::<Vec<_>>().join("; ")
    };
    let blocks = "block Inner(n) { conv(n, kernel = 3); } block Outer(n) { repeat 4 { Inner(n); } }";
    assert_eq!(
        trace(&format!("{blocks} model M {{ input x [8, 8, 8]; repeat 3 {{ Outer(8); }} Outer(8); }}")),
        "N0305 [in `Outer(n = 8)` *3]"
    );
    let block = "block B(n) { linear(n); linear(4 -> n); }";
    assert_eq!(
        trace(&format!("{block} model M {{ input x [8]; B(5); B(6); repeat 2 {{ B(4); linear(6); }} }}")),
        "N0302 [in `B(n = 5)` *1]"
    );
    let block = "block B(n) { linear(n, in = 4); linear(n, in = 2); }";
    assert_eq!(
        trace(&format!("{block} model M {{ input x [8]; repeat 2 as r {{ B(8); }} }}")),
        "N0302 [in `B(n = 8)` *2]; N0302 [in `B(n = 8)` *2]"
    );
    // Two findings of one code at one place of one use are both told.
    assert_eq!(trace("block B { conv; } model M { input x [8, 8, 8]; B; B; }"), "N0203 [in `B` *1]; N0203 [in `B` *1]");
    assert_eq!(trace(&model("[8]", "shared e { linear(4 -> 8); } repeat 3 { e; }")), "N0302 [in the shared `e` *3]");
    assert_eq!(
        trace(&model("[8]", "repeat 3 unrolled as r { linear(8 -> 4); }")),
        "N0302 [in iteration 2 of 3 of `r` *1]"
    );
}
