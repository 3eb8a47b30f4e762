//! Whatever a spec calls its model, its layers and its repeats, what is generated is right Rust, and says nothing that rustc warns of.

use netspec::{CrossEntropy, Model, Sgd, Workspace};
use netspec_compiler::emit::{self, Naming};
use netspec_compiler::source::Spelling;
use netspec_compiler::{Main, Options, compile};

/// Models named like what their functions use; layers and repeats named like what is generated beside them.
macro_rules! models {
    ($($module:ident $name:ident)*) => {$(
        mod $module {
            netspec::netspec! {
                model $name {
                    input x [4];
                    linear(4) as parameters;
                    linear(4) as name;
                    repeat 2 as pass { linear(4, bias = false) as train; batch_norm; relu; repeat 2 as r__ { linear(4); tanh; } }
                    repeat 2 as _ { linear(4) as fn; }
                    linear(3);
                }
                train $name {
                    data safetensors("x");
                    loss cross_entropy;
                    optimizer sgd(lr = 0.1);
                    batch 4; epochs 1; eval_mode batch_statistics;
                }
            }
        }
    )*};
}
models! {
    a Tile b View c Act d Store e Fill f Network g Repeat h Tensor i Fold j Plan k Run l Weights m Option n Some o Vec p Model
    q TheModel r Result s Fn t L
}

#[test]
fn any_name_will_do() {
    macro_rules! steps {
        ($($path:path)*) => {$({
            type Named = $path;
            assert_eq!(Named::PARAMETERS, 223);
            let mut model = Named::new(1);
            let mut workspace = Workspace::new();
            let loss = model.step(&mut workspace, &[[0.5; 4], [1.0; 4]], &[0, 2], &CrossEntropy, &mut Sgd::new(0.1));
            assert!(loss.is_ok_and(f32::is_finite));
        })*};
    }
    steps! {
        a::Tile b::View c::Act d::Store e::Fill f::Network g::Repeat h::Tensor i::Fold j::Plan k::Run l::Weights m::Option n::Some
        o::Vec p::Model q::TheModel r::Result s::Fn t::L
    }
}

fn emitted(body: &str) -> String {
    emitted_of("net.netspec", format!("model Net {{ {body} }}"), Spelling::Netspec)
}

fn emitted_of(path: &str, text: String, spelling: Spelling) -> String {
    let outcome =
        compile(Main::Text { path: path.to_owned(), text, spelling }, &Options::default(), &mut |_| Err(String::new()));
    let checked = outcome.checked.as_ref().unwrap_or_else(|| panic!("{:?}", outcome.diagnostics));
    emit::program(checked, &outcome.sources, Naming { visibility: "pub", name: "Net", origin: path })
}

/// A line of a comment may end as code does that is laid out on several lines.
#[test]
fn comments_stay_comments() {
    let page = "model: Net\ninput: { x: [2, 8, 8] }\nlayers:\n\
                - conv: { out: 2, kernel: 3, init: { normal: { std: 0.01 } }, init_bias: { normal: { std: 0.25 } } }\n\
                - flatten\n- linear: 2\n";
    for length in 1..60 {
        let text = emitted_of(&format!("{}.yaml", "x".repeat(length)), page.to_owned(), Spelling::Yaml);
        let is_quoted = |line: &str| line.contains("normal:") || line.contains("init_bias:");
        let bare = text.lines().find(|line| is_quoted(line) && !line.trim_start().starts_with("//"));
        assert_eq!(bare, None, "{length}");
    }
}

#[test]
fn no_variable_is_there_that_nothing_reads() {
    let tied = emitted("input x [4]; linear(4); repeat 3 tied as r { linear(4); tanh; } linear(2);");
    assert!(tied.contains("for _ in 0..3 {"), "{tied}");
    // The inner loop's weights are the outer loop's own, and each other's; the outer loop's are not.
    let nested =
        emitted("input x [4]; repeat 2 as r { linear(4); repeat 3 tied as q { linear(4); tanh; } } linear(2);");
    assert!(nested.contains("fn r_q_infer(t: &mut Tile<'_>, l: usize) {"), "{nested}");
    let inner = emitted("input x [4]; repeat 2 tied as r { linear(4); repeat 3 as q { linear(4); tanh; } } linear(2);");
    assert!(inner.contains("fn r_0_q_infer(t: &mut Tile<'_>) {") && inner.contains("for l2 in 0..3 {"), "{inner}");
    // Nothing of a model without weights needs a gradient.
    let still = emitted("input x [4]; relu;");
    assert!(still.contains("Self::forward(t);") && !still.contains("backward"), "{still}");
}

/// Keys of dropout count iterations through all loops, as the interpreter does.
#[test]
fn dropout_counts_the_iterations_of_all_loops() {
    let text =
        emitted("input x [4]; linear(4); repeat 5 { repeat 3 { tanh; repeat 2 { dropout; linear(4); } } } linear(2);");
    assert!(text.contains("((l * 3 + l2) * 2 + l3) as u64"), "{text}");
}

#[test]
fn a_model_is_not_called_like_a_word_of_rust() {
    let codes = |text: String| {
        let main = Main::Text { path: "net.netspec".to_owned(), text, spelling: Spelling::Netspec };
        let outcome = compile(main, &Options::default(), &mut |_| Err(String::new()));
        outcome.diagnostics.iter().map(|found| found.code.name()).collect::<Vec<_>>()
    };
    for word in ["fn", "Self", "self", "crate", "_", "f32", "usize"] {
        assert_eq!(codes(format!("model {word} {{ input x [4]; relu; }}")), ["N0215"], "{word}");
    }
    // Tuples have up to twelve parts.
    let inputs = |count: usize| (0..count).map(|at| format!("input x{at} [4];")).collect::<String>();
    let names = |count: usize| (0..count).map(|at| format!("x{at}")).collect::<Vec<_>>().join(", ");
    let of =
        |count: usize| format!("model Net {{ {} add({}); output {}; }}", inputs(count), names(count), names(count));
    assert_eq!(codes(of(12)), [""; 0]);
    assert_eq!(codes(of(13)), ["N0108"; 2]);
}
