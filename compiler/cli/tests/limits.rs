//! Hostile texts end in an error, in bounded time and memory, and never in a panic.
//!
//! `cargo test --release -p netspec-cli --test limits -- --nocapture` prints how long each took.

#![cfg(unix)]
// Clippy's leave to unwrap in tests does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One megabyte, the size of the largest file that is read.
const MEGABYTE: usize = 1 << 20;
/// Address space of a run, in KiB.
const MEMORY: u32 = 2_000_000;
/// What a run may take here, where it is not optimised and shares its processors; a release build takes a tenth.
const TIME: Duration = Duration::from_secs(10);

/// A text, and how its check is to end.
struct Case {
    name: &'static str,
    text: Vec<u8>,
    ends: Ends,
}

enum Ends {
    /// With this error among those told.
    With(&'static str),
    /// Without an error.
    Well,
    /// With some error.
    Badly,
}
use Ends::{Badly, Well, With};

fn case(name: &'static str, text: impl Into<Vec<u8>>, ends: Ends) -> Case {
    Case { name, text: text.into(), ends }
}

/// Runs `netc check` on each text, and asserts how it ends, how long it takes and that it stays within its memory.
fn check(cases: Vec<Case>) {
    let mut problems = Vec::new();
    for Case { name, text, ends } in cases {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, &text).unwrap();
        let begin = Instant::now();
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" check \"$1\""), env!("CARGO_BIN_EXE_netc")])
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let time = begin.elapsed();
        let said = String::from_utf8(output.stderr).unwrap();
        let first: String = said.lines().next().unwrap_or_default().chars().take(100).collect();
        println!("{:>8.3} s  {name}: {first}", time.as_secs_f64());
        let ended_so = match ends {
            With(code) => output.status.code() == Some(1) && said.contains(&format!("error[{code}]")),
            Well => output.status.code() == Some(0),
            Badly => output.status.code() == Some(1) && said.contains("error[N"),
        };
        if !ended_so || time > TIME || said.len() > MEGABYTE {
            let start: String = said.chars().take(2_000).collect();
            let length = said.len();
            problems.push(format!("{name}: {}, {time:?}, {length} bytes of output:\n{start}", output.status));
        }
        fs::remove_file(path).unwrap();
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// A model in the DSL with this body on an input of 8 features.
fn model(body: &str) -> String {
    format!("model M {{ input x [8];\n{body}\n}}")
}

/// A model in YAML with these layers.
fn page(layers: &str) -> String {
    format!("model: M\ninput: {{ x: [8] }}\nlayers:\n{layers}\n")
}

/// `text` again and again, about as many bytes as a file may have.
fn filled(text: &str) -> String {
    text.repeat((MEGABYTE - 200) / text.len())
}

#[test]
fn what_the_issue_names() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(20_000), close.repeat(20_000));
    // A linear congruential generator, so that the bytes are the same in each run.
    let mut state: u32 = 1;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(100_000)
    .collect();
    let digits = "1234567890".repeat(4);
    check(vec![
        case("alias.yaml", page("  - &a relu\n  - *a"), With("N0104")),
        case("repeat.netspec", model("repeat 4000000000 { relu; }"), With("N0108")),
        case("repeat.yaml", page("  - repeat: 4000000000\n    body: [relu]"), With("N0108")),
        case(
            "channels.netspec",
            "model M { input x [1, 8, 8]; conv(1000000000000000000, kernel = 1); }",
            With("N0108"),
        ),
        case("digits.netspec", model(&format!("linear({digits});")), With("N0109")),
        case("digits.yaml", page(&format!("  - linear: {digits}")), With("N0109")),
        case("braces.netspec", deep("{", "}"), With("N0108")),
        case("brackets.netspec", deep("[", "]"), With("N0108")),
        case("parentheses.netspec", deep("(", ")"), With("N0108")),
        case("braces-in-a-model.netspec", model(&deep("skip {", "}")), With("N0108")),
        case("brackets-in-a-model.netspec", model(&format!("relu : {};", deep("[", "]"))), With("N0108")),
        case("parentheses-in-a-model.netspec", model(&format!("linear({});", deep("(", ")"))), With("N0108")),
        case("open-braces.netspec", "{".repeat(20_000), With("N0108")),
        case("braces.yaml", deep("{", "}"), Badly),
        case("brackets.yaml", deep("[", "]"), With("N0108")),
        case("parentheses.yaml", deep("(", ")"), Badly),
        case("braces-in-a-page.yaml", page(&format!("  - linear: {}", deep("{a: ", "}"))), With("N0108")),
        case("brackets-in-a-page.yaml", page(&format!("  - view: {}", deep("[", "]"))), With("N0108")),
        case("parentheses-in-a-page.yaml", page(&format!("  - linear: {}", deep("(", ")"))), With("N0108")),
        case("three-megabytes.netspec", vec![b' '; 3 * MEGABYTE], With("N0108")),
        case("three-megabytes.yaml", vec![b' '; 3 * MEGABYTE], With("N0108")),
        case("random.netspec", random.clone(), With("N0110")),
        case("random.yaml", random.clone(), With("N0110")),
        case("random-text.netspec", random.iter().map(|byte| byte & 0x7f).collect::<Vec<u8>>(), Badly),
        case("random-text.yaml", random.iter().map(|byte| byte & 0x7f).collect::<Vec<u8>>(), Badly),
        case("empty.netspec", "", With("N0111")),
        case("empty.yaml", "", With("N0111")),
    ]);
}

/// Blocks (or shared instances) of which each uses the one before `times` times.
fn chain(what: &str, count: usize, times: usize) -> String {
    let mut text = format!("{what} B0 {{ relu; }}\n");
    for level in 1..count {
        let uses = format!("B{}; ", level - 1).repeat(times);
        writeln!(text, "{what} B{level} {{ {uses}}}").unwrap();
    }
    text
}

fn chain_of_blocks(count: usize, times: usize) -> String {
    format!("{}{}", chain("block", count, times), model(&format!("B{};", count - 1)))
}

fn chain_of_shared(count: usize, times: usize) -> String {
    model(&format!("{}B{};", chain("shared", count, times), count - 1))
}

#[test]
fn what_grows_when_it_is_written_out() {
    let nested =
        |word: &str, depth: usize| format!("{}relu;{}", format!("{word} {{ ").repeat(depth), " }".repeat(depth));
    let long = "1+".repeat(190_000) + "1";
    let labels = (0..4_000).fold(String::new(), |text, n| text + &format!("relu as a{n};\n"));
    let expression_in_a_block = format!("block B {{ linear({long}); }}\n{}", model(&"B;".repeat(6_000)));
    let sizes_in_a_block = format!("block B {{ view(-1{}); }}\n{}", ", 1".repeat(150_000), model(&"B;".repeat(6_000)));
    let comment_in_a_block =
        format!("block B {{ linear(1 + //{}\n 2); }}\n{}", " ".repeat(900_000), model(&"B;".repeat(6_000)));
    let arguments_in_a_block = format!("block B {{ relu({}); }}\n{}", "a,".repeat(190_000), model(&"B;".repeat(6_000)));
    let name = "n".repeat(500_000);
    let long_label_in_a_block = format!("block B {{ linear(8) as {name}; }}\n{}", model(&"B;".repeat(6_000)));
    let long_block = format!("block {name} {{ linear(8); }}\n{}", model(&format!("{name};")));
    let params: String = (0..250).map(|n| format!("p{n} = 1, ")).collect();
    let many_params_of_a_block = format!("block B({params}) {{ linear(8); }}\n{}", model(&"B;".repeat(6_000)));
    let many: String = (0..50_000).map(|n| format!("p{n} = 1, ")).collect();
    let many_params = format!("model M({many}) {{ input x [8]; {} }}", "linear(q);".repeat(6_000));
    let in_an_unrolled = "repeat 256 unrolled { ".repeat(40) + "relu;" + &" }".repeat(40);
    check(vec![
        case("ten-thousand-blocks.netspec", chain_of_blocks(9_000, 1), With("N0108")),
        case("sixty-blocks.netspec", chain_of_blocks(60, 1), Well),
        case("blocks-twice.netspec", chain_of_blocks(40, 2), With("N0108")),
        case("blocks-ten-times.netspec", chain_of_blocks(60, 10), With("N0108")),
        case("shared-twice.netspec", chain_of_shared(40, 2), With("N0108")),
        case("shared-ten-times.netspec", chain_of_shared(60, 10), With("N0108")),
        case("ten-thousand-shared.netspec", chain_of_shared(9_000, 1), With("N0108")),
        case("repeats.netspec", model(&nested("repeat 10000", 60)), Well),
        case(
            "repeats-of-weights.netspec",
            model(&nested("repeat 10000", 60).replace("relu", "linear(8)")),
            With("N0108"),
        ),
        case("tied-repeats.netspec", model(&nested("repeat 10000 tied", 60).replace("relu", "linear(8)")), Well),
        case("unrolled.netspec", model(&in_an_unrolled), With("N0108")),
        case("expression-in-a-block.netspec", expression_in_a_block, With("N0108")),
        case("sizes-in-a-block.netspec", sizes_in_a_block, With("N0108")),
        case("comment-in-a-block.netspec", comment_in_a_block, Well),
        case("arguments-in-a-block.netspec", arguments_in_a_block, Badly),
        case("long-label-in-a-block.netspec", long_label_in_a_block, With("N0108")),
        case("long-name-of-a-block.netspec", long_block, With("N0108")),
        case("many-parameters-of-a-block.netspec", many_params_of_a_block, With("N0108")),
        case("many-parameters.netspec", many_params, With("N0108")),
        case("unknown-names.netspec", model(&(labels.clone() + &"from b0;".repeat(4_000))), With("N0205")),
        case(
            "many-dimensions.netspec",
            model(&format!("view(-1, 8{}); {}", ", 1".repeat(150_000), "dropout;".repeat(15_000))),
            With("N0108"),
        ),
        case("added-to-itself.netspec", model(&format!("relu as a; add({}a);", "a,".repeat(199_000))), Well),
    ]);
}

#[test]
fn a_megabyte_of_the_same() {
    let list = |item: &str, end: &str| filled(item) + end;
    check(vec![
        case("semicolons.netspec", filled(";"), With("N0108")),
        case("semicolons-in-a-model.netspec", model(&filled(";")), With("N0108")),
        case("relus.netspec", model(&filled("relu;")), With("N0108")),
        case("twenty-thousand-relus.netspec", model(&"relu;".repeat(19_000)), Well),
        case("twenty-thousand-unknown.netspec", model(&"rleu;".repeat(19_000)), With("N0201")),
        case("arguments.netspec", model(&format!("conv({});", list("1,", "1"))), With("N0108")),
        case("many-arguments.netspec", model(&format!("conv({});", "1, ".repeat(199_000))), With("N0210")),
        case("named-arguments.netspec", model(&format!("conv({});", list("a=1,", "a=1"))), With("N0108")),
        case("many-named-arguments.netspec", model(&format!("conv({});", "a=1,".repeat(99_000))), With("N0202")),
        case("sum.netspec", model(&format!("linear({});", list("1+", "1"))), With("N0108")),
        case("long-sum.netspec", model(&format!("linear({}1);", "1+".repeat(199_000))), Well),
        case("product.netspec", model(&format!("linear({});", list("1*", "1"))), With("N0108")),
        case("minuses.netspec", model(&format!("linear({});", list("-", "1"))), With("N0101")),
        case("list.netspec", model(&format!("relu : [{}];", list("1,", "1"))), With("N0108")),
        case("names.netspec", model(&format!("{}; ", filled("a"))), With("N0108")),
        case("words.netspec", model(&filled("a ")), With("N0108")),
        case("quotes.netspec", filled("\""), Badly),
        case("comment.netspec", filled("/"), With("N0111")),
        case("comments.netspec", model(&filled("//\n")), With("N0114")),
        case("commas.netspec", model(&format!("linear({});", filled(","))), With("N0101")),
        case("skips.netspec", model(&filled("skip")), Badly),
        case("models.netspec", filled("model "), With("N0101")),
        case("empty-models.netspec", filled("model M{}"), Badly),
        case("outputs.netspec", model(&format!("relu; output {}b;", "a,".repeat(199_000))), With("N0205")),
        case("dashes.yaml", filled("- "), With("N0108")),
        case("dashes-in-a-page.yaml", page(&format!("  {}", filled("- "))), With("N0108")),
        case("relus.yaml", page(&filled("  - relu\n")), With("N0108")),
        case(
            "flow.yaml",
            format!("{{model: M, input: {{x: [8]}}, layers: [{}relu]}}", filled("relu, ")),
            With("N0108"),
        ),
        case(
            "flow-of-maps.yaml",
            format!("{{model: M, input: {{x: [8]}}, layers: [{}relu]}}", filled("{linear: 8}, ")),
            With("N0108"),
        ),
        case("cut-calls.yaml", page(&format!("  - add: [{}a]", filled("a(1,1),"))), With("N0108")),
        case("open-calls.yaml", page(&format!("  - add: [{}a]", filled("a(,"))), Badly),
        case("keys.yaml", (0..90_000).fold(String::new(), |text, n| text + &format!("k{n}: 1\n")), With("N0106")),
        case("same-keys.yaml", "k: 1\n".repeat(90_000), With("N0105")),
        case("cut-calls-few.yaml", page(&format!("  - add: [{}a]", "a(1,1),".repeat(99_000))), With("N0112")),
        case(
            "keys-of-a-layer.yaml",
            page(&format!("  - linear: {{ {}a: 1 }}", (0..70_000).map(|n| format!("k{n}: 1, ")).collect::<String>())),
            With("N0202"),
        ),
        case(
            "keys-beside-a-layer.yaml",
            page(&format!("  - linear: 8\n{}", (0..60_000).map(|n| format!("    k{n}: 1\n")).collect::<String>())),
            With("N0106"),
        ),
        case(
            "settings.yaml",
            page(&format!("  - relu\ntrain:\n{}", (0..60_000).map(|n| format!("  k{n}: 1\n")).collect::<String>())),
            With("N0504"),
        ),
        case("scalars.yaml", page(&format!("  - view: [{}1]", filled("1, "))), With("N0108")),
        case("sum.yaml", page(&format!("  - linear: {}1", filled("1+"))), With("N0108")),
        case("quote.yaml", page(&format!("  - \"{}", filled("a"))), With("N0103")),
        case("colons.yaml", filled("a: "), Badly),
        case("colons-alone.yaml", filled(":"), Badly),
        case("question-marks.yaml", filled("? "), Badly),
        case("spaces.yaml", filled(" "), With("N0111")),
        case("line-breaks.yaml", filled("\n"), With("N0111")),
        case("comments.yaml", filled("# \n"), With("N0111")),
        case("tags.yaml", filled("!a "), Badly),
        case("anchors.yaml", filled("&a "), Badly),
        case("aliases.yaml", page(&format!("  - [{}*a]", filled("*a, "))), With("N0104")),
        case("words.yaml", filled("a "), Badly),
    ]);
}

/// `inner`, wrapped 60 times.
fn wrapped(before: &str, inner: &str, after: &str) -> String {
    format!("{}{inner}{}", before.repeat(60), after.repeat(60))
}

#[test]
fn nested_junk_is_not_read_over_and_over() {
    let filler = "relu; ".repeat(2_000);
    check(vec![
        case("project-of-garbage.netspec", model(&wrapped("skip { ", &filler, " } project garbage ")), Badly),
        case("project-in-project.netspec", model(&wrapped("skip { relu; } project { ", &filler, " } garbage ")), Badly),
        case("branch-of-braces.netspec", model(&wrapped("branch foo { { ", &filler, " } x }")), Badly),
        case("branch-without-arms.netspec", model(&wrapped("branch add { ", &filler, " }")), Badly),
        case("only-braces.netspec", model(&wrapped("{ ", &filler, " }")), Badly),
        case("repeat-without-count.netspec", model(&wrapped("repeat { ", &filler, " }")), Badly),
        case("repeat-of-junk.netspec", model(&wrapped("repeat 2 as { ", &filler, " }")), Badly),
        case("tied-behind.netspec", model(&wrapped("repeat 2 as r tied { ", &filler, " }")), Badly),
        case("malformed-arguments.netspec", model(&wrapped("linear(", "1 1", ", =)")), With("N0101")),
        case("malformed-lists.netspec", model(&format!("relu : {};", wrapped("[1, ", "1 1", ", = ]"))), With("N0101")),
        case(
            "calls-in-calls.netspec",
            model(&format!("{};", wrapped("a(b = ", &"1 + ".repeat(10_000), ")"))),
            With("N0101"),
        ),
        case("calls-by-position.netspec", model(&format!("{};", wrapped("a(b ", "c d", ")"))), With("N0101")),
        case("tuples-in-tuples.netspec", model(&format!("linear({});", wrapped("(1, ", "1 1", ")"))), With("N0101")),
        case("shared-in-shared.netspec", model(&wrapped("shared a { ", &filler, " }")), Badly),
        case("blocks-in-blocks.netspec", wrapped("block B { ", &filler, " }"), Badly),
        case("models-in-models.netspec", wrapped("model M { ", &filler, " }"), Badly),
        case("junk-between.netspec", filled("} { x ; model ").replace('}', ""), Badly),
        case(
            "skips-in-a-page.yaml",
            page(&format!("  - {}", wrapped("{ skip: [", "garbage(", "], project: garbage }"))),
            Badly,
        ),
        case("branches-in-a-page.yaml", page(&format!("  - {}", wrapped("{ branch: foo, arms: [", "x", "] }"))), Badly),
    ]);
}
