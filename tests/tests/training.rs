//! The tricks of a train section: both spellings, what they mean, and what is said of them when they are wrong.

mod support;

use support::{compare, findings, netspec, yaml};

const MODEL: &str = "model Net { input image [3, 8, 8]; conv(4, kernel = 3) as conv1; relu as act; \
                     repeat 2 as blocks { conv(4, kernel = 3, padding = 1) as conv; } flatten; linear(2) as fc1; }";

const PAGE: &str = "model: Net
input: { image: [3, 8, 8] }
layers:
- conv: { out: 4, kernel: 3 }
  as: conv1
- relu:
  as: act
- repeat: 2
  as: blocks
  body: [ { conv: { out: 4, kernel: 3, padding: 1 }, as: conv } ]
- flatten
- linear: 2
  as: fc1
";

/// A page of the DSL with these settings.
fn dsl(settings: &str) -> String {
    format!("{MODEL} train Net {{ loss cross_entropy; optimizer sgd(lr = 0.1); {settings} }}")
}

#[test]
fn both_spellings_are_one_training() {
    let cases = [
        ("", "", ""),
        ("schedule constant;", "schedule: constant", "schedule constant()\n"),
        (
            "schedule step(30); warm_up linear(5);",
            "schedule: step(30)\n  warm_up: { linear: { epochs: 5 } }",
            "schedule step(every = 30, gamma = 0.1)\nwarm_up linear(epochs = 5, start = 0.3333333333333333)\n",
        ),
        (
            "schedule exponential(gamma = 0.9); epochs 20;",
            "schedule: { exponential: 0.9 }\n  epochs: 20",
            "schedule exponential(gamma = 0.9)\n",
        ),
        ("schedule cosine;", "schedule: cosine", "schedule cosine(eta_min = 0)\n"),
        (
            "schedule cosine(t_max = 10, eta_min = 1e-5);",
            "schedule: { cosine: { t_max: 10, eta_min: 1e-5 } }",
            "schedule cosine(t_max = 10, eta_min = 0.00001)\n",
        ),
        (
            "schedule one_cycle(0.25);",
            "schedule: one_cycle(0.25)",
            "schedule one_cycle(pct_start = 0.25, div_factor = 25, final_div_factor = 10000)\n",
        ),
        ("penalty l2(0.001);", "penalty: l2(0.001)", "penalty l2(factor = 0.001, biases = true)\n"),
        (
            "penalty [l1(1e-4, on = conv1), elastic(1e-4, l2 = 1e-3, on = [fc1, \"blocks.0.conv.weight\"], biases = false)];",
            "penalty: [ { l1: { factor: 1e-4, on: conv1 } }, { elastic: { l1: 1e-4, l2: 1e-3, on: [fc1, \
             \"blocks.0.conv.weight\"], biases: false } } ]",
            "penalty l1(factor = 0.0001, on = [conv1], biases = true), elastic(l1 = 0.0001, l2 = 0.001, on = [fc1, \
             blocks.0.conv.weight], biases = false)\n",
        ),
        ("clip norm(1);", "clip: norm(1)", "clip norm(largest = 1)\n"),
        (
            "clip value(0.5); accumulate 4;",
            "clip: { value: 0.5 }\n  accumulate: 4",
            "clip value(largest = 0.5)\naccumulate 4\n",
        ),
        ("freeze [conv1, blocks];", "freeze: [conv1, blocks]", "freeze conv1, blocks\n"),
        ("freeze \"blocks.*.conv.bias\";", "freeze: \"blocks.*.conv.bias\"", "freeze blocks.*.conv.bias\n"),
        (
            "augment [crop(4), flip, cutout(size = 2 * 2), mixup(alpha = 1)];",
            "augment: [ crop(4), flip, { cutout: 4 }, { mixup: { alpha: 1 } } ]",
            "augment crop(padding = 4), flip(probability = 0.5), cutout(size = 4), mixup(alpha = 1)\n",
        ),
        ("augment flip(0.3);", "augment: flip(0.3)", "augment flip(probability = 0.3)\n"),
        (
            "patience 5; keep best; monitor loss;",
            "patience: 5\n  keep: best\n  monitor: loss",
            "patience 5\nkeep best\nmonitor loss\n",
        ),
    ];
    for (settings, page, tricks) in cases {
        let page = format!("{PAGE}train:\n  loss: cross_entropy\n  optimizer: {{ sgd: {{ lr: 0.1 }} }}\n  {page}\n");
        let outcomes = [netspec(&dsl(settings)), yaml(&page)];
        let [first, second] = outcomes.each_ref().map(|outcome| match &outcome.checked {
            Some(checked) if outcome.diagnostics.is_empty() => &checked.net,
            _ => panic!("{settings}: {}", findings(outcome).join("\n")),
        });
        assert_eq!(first.to_string(), second.to_string(), "{settings}");
        let train = first.train.as_ref().expect("a training");
        assert_eq!(train.tricks.to_string(), tricks, "{settings}");
        // It is a part of what the net is.
        assert!(first.to_string().ends_with(&format!("exact false\n{tricks}")), "{first}");
    }
}

#[test]
fn optimizers_have_pytorchs_defaults() {
    for (optimizer, told) in [
        ("adamw", "adamw(lr = 0.001, beta1 = 0.9, beta2 = 0.999, eps = 0.00000001, weight_decay = 0.01)"),
        (
            "rmsprop",
            "rmsprop(lr = 0.01, alpha = 0.99, eps = 0.00000001, momentum = 0, centered = false, weight_decay = 0)",
        ),
    ] {
        let outcome = netspec(&format!("{MODEL} train Net {{ loss cross_entropy; optimizer {optimizer}; }}"));
        let train = outcome.checked.and_then(|checked| checked.net.train).expect("a training");
        assert_eq!(train.optimizer.to_string(), told);
    }
}

#[test]
fn what_no_training_can_go_by_is_told_where_it_stands() {
    let cases = [
        ("schedule cosin;", "N0504 cosin"),
        ("schedule step;", "N0203 step"),
        ("schedule step(0);", "N0211 0"),
        ("schedule step(2, gamma = 0);", "N0502 0"),
        ("schedule exponential(-1);", "N0502 -1"),
        ("schedule one_cycle(1.5);", "N0502 1.5"),
        ("schedule [cosine];", "N0204 [cosine]"),
        ("warm_up cosine;", "N0504 cosine"),
        ("warm_up linear(5, start = 2);", "N0502 2"),
        ("epochs 5; warm_up linear(5);", "N0502 5"),
        ("warm_up linear(100);", "N0502 100"),
        ("penalty l3(1);", "N0504 l3"),
        ("penalty l2(-1);", "N0502 -1"),
        ("penalty l2;", "N0203 l2"),
        ("penalty elastic(1);", "N0203 elastic"),
        ("penalty [];", "N0204 []"),
        ("penalty l2(1, on = conv);", "N0504 conv"),
        ("penalty l2(1, on = [fc1, fc1]);", "N0206 fc1"),
        ("penalty l2(1, on = 3);", "N0204 3"),
        ("penalty l2(1, biases = no);", "N0204 no"),
        ("clip norm(0);", "N0502 0"),
        ("clip nom(1);", "N0504 nom"),
        ("accumulate 0;", "N0502 0"),
        ("accumulate many;", "N0205 many"),
        ("freeze conv2;", "N0504 conv2"),
        ("freeze act;", "N0504 act"),
        ("freeze [blocks, \"fc1.weights\"];", "N0504 \"fc1.weights\""),
        ("freeze [conv1, conv1];", "N0206 conv1"),
        ("freeze [];", "N0204 []"),
        ("freeze [conv1, blocks, fc1];", "N0502 conv1, blocks, fc1"),
        ("augment rotate;", "N0504 rotate"),
        ("augment crop;", "N0203 crop"),
        ("augment crop(9);", "N0502 9"),
        ("augment cutout(size = 9);", "N0502 9"),
        ("augment flip(2);", "N0502 2"),
        ("augment [mixup, flip];", "N0502 mixup"),
        ("augment mixup(0);", "N0502 0"),
        ("patience 0;", "N0502 0"),
        ("keep first;", "N0204 first"),
        ("monitor accuracy;", "N0204 accuracy"),
        ("shedule cosine;", "N0504 shedule"),
    ];
    compare(cases.map(|(settings, told)| (settings.to_owned(), netspec(&dsl(settings)), told.to_owned())));
    let flat =
        "model Net { input x [10]; linear(2); } train Net { loss cross_entropy; optimizer adamw; augment flip; }";
    assert_eq!(findings(&netspec(flat)), ["N0502 flip"]);
}

#[test]
fn a_name_that_is_nearly_right_is_offered() {
    for (settings, title, meant) in [
        ("freeze conv2;", "no layer with weights is called `conv2`", "conv1"),
        ("freeze block;", "no layer with weights is called `block`", "blocks"),
        ("schedule one_cicle;", "unknown schedule `one_cicle`", "one_cycle"),
        ("augment fip;", "unknown change of an image `fip`", "flip"),
        ("penalty l22(1);", "unknown penalty `l22`", "l2"),
    ] {
        let outcome = netspec(&dsl(settings));
        let [problem] = outcome.diagnostics.as_slice() else { panic!("{:?}", findings(&outcome)) };
        assert_eq!(problem.title, title);
        let fix = problem.fix.as_ref().unwrap_or_else(|| panic!("{settings}: no fix"));
        assert_eq!(fix.edits[0].text, meant);
    }
    let outcome = netspec(&dsl("freeze act;"));
    assert_eq!(outcome.diagnostics[0].title, "`act` has no weights");
}
