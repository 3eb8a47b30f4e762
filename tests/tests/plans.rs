//! Memory plans of many nets: nothing overlaps, little is wasted, and nothing grows with a repeat's count.

#[path = "support/nets.rs"]
mod nets;

use nets::{moving_net, random_net, random_wide_net};
use netspec_compiler::emit::{self, Naming, planned, planned_for};
use netspec_compiler::fuse::PlanKind;
use netspec_compiler::plan::{self, Block, Plan, Region};
use netspec_compiler::schedule::{Kernel, Step};
use netspec_compiler::source::Spelling;
use netspec_compiler::{Main, Options, Outcome, Target, compile};

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

/// The training plan of a page for a graphics card.
fn on_card(body: &str) -> Plan {
    let outcome = compiled(&format!("model M {{ {body} }}"));
    planned_for(outcome.checked.as_ref().expect("a right spec"), PlanKind::Training, Target::Cuda).plan
}

#[test]
fn places_of_pools_of_two_by_two_take_two_bits_on_a_card() {
    let places = |body: &str| -> Vec<u64> {
        let plan = on_card(body);
        let slots = plan.schedule.slots.iter();
        slots.filter(|slot| slot.name.ends_with(" places")).map(|slot| 4 * slot.len).collect()
    };
    let pooled = |channels: u64, pool: &str| {
        format!("input x [3, 16, 16]; conv({channels}, kernel = 3, padding = 1); tanh; {pool}; flatten; linear(2);")
    };
    // In the convolution: 64 positions of 16 channels; of 6, that take two bytes.
    assert_eq!(places(&pooled(16, "max_pool(2)")), [64 * 4]);
    assert_eq!(places(&pooled(6, "max_pool(2)")), [64 * 2]);
    // By itself; of channels that are no fours a byte each, as of other windows.
    assert_eq!(places(&pooled(16, "batch_norm; max_pool(2)")), [64 * 4]);
    assert_eq!(places(&pooled(6, "batch_norm; max_pool(2)")), [64 * 6]);
    assert_eq!(places(&pooled(16, "max_pool(4)")), [16 * 16]);
}

#[test]
fn products_on_a_card_give_the_moments_of_batch_norms_behind_them() {
    fn statistics(steps: &[Step]) -> [usize; 2] {
        let of = |step: &Step| match step {
            Step::Whole(call) => match call.kernel {
                Kernel::NormMerge(..) => [1, 0],
                Kernel::NormStatistics(..) => [0, 1],
                _ => [0, 0],
            },
            Step::Stage(_) => [0, 0],
            Step::Loop(looped) => statistics(&looped.body),
        };
        steps.iter().map(of).fold([0, 0], |[a, b], [c, d]| [a + c, b + d])
    }
    // Batch norms, and kernels of their own for the statistics of some.
    let count = |body: &str| statistics(&on_card(body).schedule.steps);
    assert_eq!(
        count("input x [3, 8, 8]; conv(8, kernel = 3); batch_norm; relu; conv(8, kernel = 1); relu; batch_norm;"),
        [2, 0]
    );
    assert_eq!(
        count("input x [8, 8]; repeat 3 { skip { conv(8, kernel = 3, padding = 1); batch_norm; relu; } }"),
        [1, 0]
    );
    assert_eq!(count("input x [8]; linear(70); batch_norm; relu; linear(2);"), [1, 0]);
    assert_eq!(count("input x [200]; linear(8); batch_norm;"), [1, 0]);
    // Channel by channel, transposed, behind a pool, of an input, or the second of one value.
    assert_eq!(count("input x [8, 8]; conv(8, kernel = 3, groups = 8); batch_norm;"), [1, 1]);
    assert_eq!(count("input x [8, 8]; conv_transpose(8, kernel = 3); batch_norm;"), [1, 1]);
    assert_eq!(count("input x [3, 8, 8]; conv(8, kernel = 3); max_pool(2); batch_norm;"), [1, 1]);
    assert_eq!(count("input x [3, 8, 8]; batch_norm; conv(8, kernel = 3);"), [1, 1]);
    assert_eq!(
        count("input x [3, 8]; conv(8, kernel = 3) as a; batch_norm as b; from a; batch_norm as c; add(b, c);"),
        [2, 1]
    );
}
