//! Memory plans of many nets: nothing overlaps, little is wasted, and nothing grows with a repeat's count.

#[path = "support/nets.rs"]
mod nets;

use nets::{moving_net, random_net, random_wide_net};
use netspec_compiler::emit::{self, Naming, planned};
use netspec_compiler::fuse::PlanKind;
use netspec_compiler::plan::{self, Block, Plan, Region};
use netspec_compiler::source::Spelling;
use netspec_compiler::{Main, Options, Outcome, compile};

const KINDS: [PlanKind; 5] =
    [PlanKind::Training, PlanKind::Evaluation, PlanKind::Inference, PlanKind::InputGradients, PlanKind::Probe];

fn compiled(text: &str) -> Outcome {
    let main = Main::Text { path: "test.netspec".to_owned(), text: text.to_owned(), spelling: Spelling::Netspec };
    let outcome = compile(main, &Options::default(), &mut |path| Err(format!("{path} is not to be read")));
    assert!(outcome.is_ok(), "{text}\n{:#?}", outcome.diagnostics);
    outcome
}

/// The largest sum of a region's blocks that live at once, counted call by call.
fn largest_live(blocks: &[Block], region: Region) -> u64 {
    let last = blocks.iter().map(|block| block.live.1).max().unwrap_or(0);
    let at = |call: usize| {
        let living =
            blocks.iter().filter(|block| block.region == region && (block.live.0..=block.live.1).contains(&call));
        living.map(|block| block.len).sum()
    };
    (0..=last).map(at).max().unwrap_or(0)
}

fn waste(plan: &Plan) -> f64 {
    let part = |region: Region, len: u64| {
        let live = largest_live(&plan.blocks, region);
        if len == live { 1.0 } else { len as f64 / live as f64 }
    };
    part(Region::Tile, plan.tile).max(part(Region::Batch, plan.batch))
}

#[test]
fn no_two_values_share_memory_while_both_live_and_little_is_wasted() {
    let mut worst: f64 = 1.0;
    let wide = (0..100).map(random_wide_net);
    for text in (0..300).map(random_net).chain((0..100).map(moving_net)).chain(wide) {
        let mut checked = compiled(&text).checked.expect("a right spec");
        checked.net.inputs.iter_mut().for_each(|input| input.has_gradient = true);
        let checked = &checked;
        for kind in KINDS {
            let plan = planned(checked, kind).plan;
            assert_eq!(plan::verify(&plan), Ok(()), "{kind:?} of {text}");
            let waste = waste(&plan);
            assert!(waste <= 1.2, "{kind:?} takes {waste} of what lives at once: {text}\n{plan}");
            worst = worst.max(waste);
        }
    }
    println!("the worst plan takes {worst:.3} of what lives at once");
}

#[test]
fn a_repeat_of_a_thousand_is_as_much_text_as_one_of_ten() {
    let text = |count: u64| {
        let body = "skip { conv(8, kernel = 3, padding = 1, bias = false); batch_norm; relu; }";
        let page = format!("model M {{ input x [8, 8, 8]; repeat {count} as r {{ {body} }} flatten; linear(4); }}");
        let outcome = compiled(&page);
        let naming = Naming { visibility: "pub", name: "M", origin: "test.netspec" };
        let text = emit::program(outcome.checked.as_ref().expect("a right spec"), &outcome.sources, naming);
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).count()
    };
    assert_eq!(text(10), text(1_000));
}
