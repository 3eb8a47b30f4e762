//! The gallery of errors and the models of `specs/`.
//!
//! A page of `netc explain` holds a broken spec and its mended form; the broken one is also a file of `specs/broken/`, with
//! what the compiler says of it in the `.stderr` beside it. `NETSPEC_BLESS=1 cargo test -p netspec-tests --test gallery`
//! writes the files of the pages and every `.stderr` anew; what it wrote is to be read before it is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use netspec_compiler::diag::{Code, Severity, render};
use netspec_compiler::source::Spelling;
use netspec_compiler::{Main, Options, Outcome, compile, summary};

/// The root of the repository, where paths such as `specs/net.yaml` begin.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compiles a file of the repository.
fn compile_file(path: &str, params: &[(&str, i64)]) -> Outcome {
    let params = params.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    compile(Main::File(path.to_owned()), &Options { params, ..Options::default() }, &mut |path| {
        fs::read(root().join(path)).map_err(|error| error.to_string())
    })
}

fn compile_text(path: &str, text: &str) -> Outcome {
    let spelling = Spelling::of_path(path).expect("a path that tells its spelling");
    let main = Main::Text { path: path.to_owned(), text: text.to_owned(), spelling };
    compile(main, &Options::default(), &mut |path| Err(format!("`{path}` is not to be read")))
}

/// Everything said of a spec, as a terminal without colours shows it.
fn rendered(outcome: &Outcome) -> String {
    let parts: Vec<String> = outcome
        .diagnostics
        .iter()
        .map(|diagnostic| {
            let text = render::human(diagnostic, &outcome.sources, render::Style::Plain);
            format!("{}\n", text.trim_end())
        })
        .collect();
    parts.join("\n")
}

fn codes(outcome: &Outcome) -> BTreeSet<Code> {
    outcome.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

/// A fenced block of a page: ```` ```yaml broken linear-on-map ````.
struct Example {
    language: String,
    slug: String,
    text: String,
}

impl Example {
    /// Shown as a terminal, since no file can show it.
    fn is_transcript(&self) -> bool {
        self.language == "text"
    }

    fn path(&self) -> String {
        format!("specs/broken/{}.{}", self.slug, self.language)
    }
}

struct Page {
    code: Code,
    broken: Example,
    mended: Example,
}

/// The one block of `page` that is `kind`, `broken` or `mended`.
fn example(code: Code, kind: &str) -> Example {
    let mut found = Vec::new();
    let mut lines = code.page().lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let text: String = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        let mut words = fence.split(' ').map(str::to_owned);
        let language = words.next().unwrap_or_default();
        if words.next().as_deref() == Some(kind) {
            found.push(Example { language, slug: words.next().unwrap_or_default(), text });
        }
    }
    assert_eq!(found.len(), 1, "the page of {code} has one `{kind}` example");
    found.remove(0)
}

/// Every page; with `NETSPEC_BLESS` set the files that follow from them are written first.
static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let pages: Vec<Page> = Code::ALL
        .iter()
        .map(|&code| Page { code, broken: example(code, "broken"), mended: example(code, "mended") })
        .collect();
    if std::env::var_os("NETSPEC_BLESS").is_some() {
        for page in pages.iter().filter(|page| !page.broken.is_transcript()) {
            write(&root().join(page.broken.path()), &page.broken.text);
        }
        for path in broken_files() {
            write(&stderr_of(&path), &rendered(&compile_file(&path, &[])));
        }
    }
    pages
});

/// Writes beside and renames, so that nothing is left half written.
fn write(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).expect("the gallery can be written");
    fs::rename(&beside, path).expect("the gallery can be written");
}

/// The specs in a folder, by their paths from the root.
fn specs_in(folder: &str) -> Vec<String> {
    let mut paths: Vec<String> = fs::read_dir(root().join(folder))
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be read").file_name().into_string().expect("a plain name"))
        .filter(|name| Spelling::of_path(name).is_some())
        .map(|name| format!("{folder}/{name}"))
        .collect();
    paths.sort();
    paths
}

fn broken_files() -> Vec<String> {
    specs_in("specs/broken")
}

fn stderr_of(path: &str) -> PathBuf {
    root().join(format!("{path}.stderr"))
}

/// Both lists of findings, when there are some.
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_page_has_its_title_and_its_words_and_equals_its_broken_spec() {
    let mut slugs = BTreeMap::new();
    for Page { code, broken, mended } in PAGES.iter() {
        let page = code.page();
        assert!(page.starts_with(&format!("# {code}: {}\n\n", code.about())), "the title of {code}");
        assert_eq!(broken.is_transcript(), mended.is_transcript(), "{code}");
        if broken.is_transcript() {
            assert!(broken.text.starts_with("$ netc ") && broken.text.contains(&format!("[{code}]")), "{code}");
            continue;
        }
        assert!(Spelling::of_path(&broken.path()).is_some(), "the language of {code}'s example");
        assert_eq!(slugs.insert(broken.path(), code), None, "{code} has an example of its own");
        let file = fs::read_to_string(root().join(broken.path()));
        assert_eq!(file.ok().as_deref(), Some(broken.text.as_str()), "{} is not the page of {code}", broken.path());
    }
}

#[test]
fn the_broken_spec_of_a_page_shows_its_code_and_no_other() {
    let problems = PAGES.iter().filter(|page| !page.broken.is_transcript()).filter_map(|page| {
        let outcome = compile_file(&page.broken.path(), &[]);
        (codes(&outcome) != BTreeSet::from([page.code]))
            .then(|| format!("{} should show {} alone:\n{}", page.broken.path(), page.code, rendered(&outcome)))
    });
    none(problems.collect());
}

#[test]
fn the_mended_spec_of_a_page_is_right() {
    let problems = PAGES.iter().filter(|page| !page.mended.is_transcript()).filter_map(|page| {
        let outcome = compile_text(&format!("{}.mended.{}", page.code, page.mended.language), &page.mended.text);
        (!outcome.is_ok() || !outcome.diagnostics.is_empty()).then(|| rendered(&outcome))
    });
    none(problems.collect());
}

#[test]
fn what_is_said_of_each_broken_spec_is_the_text_beside_it() {
    LazyLock::force(&PAGES);
    let problems = broken_files().into_iter().filter_map(|path| {
        let said = rendered(&compile_file(&path, &[]));
        assert!(!said.is_empty(), "nothing is said of {path}");
        let expected = fs::read_to_string(stderr_of(&path)).unwrap_or_default();
        (said != expected).then(|| format!("{path}: expected\n{expected}\nbut it is\n{said}"))
    });
    none(problems.collect());
}

#[test]
fn no_text_is_left_of_a_spec_that_is_gone() {
    LazyLock::force(&PAGES);
    for entry in fs::read_dir(root().join("specs/broken")).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        let is_spec = path.to_str().and_then(Spelling::of_path).is_some();
        let is_text = path.extension().is_some_and(|ending| ending == "stderr") && path.with_extension("").exists();
        assert!(is_spec || is_text, "{} belongs to no spec", path.display());
    }
}

#[test]
fn a_count_from_outside_that_is_wrong_is_one_mistake() {
    for path in ["specs/res_deep.netspec", "specs/res_deep.yaml", "specs/res_deep_tied.yaml"] {
        let outcome = compile_file(path, &[("n_blocks", -3)]);
        assert_eq!(codes(&outcome), BTreeSet::from([Code::N0211]), "{}", rendered(&outcome));
    }
}

/// The picture that the whole project is for.
#[test]
fn the_famous_error_is_told_in_full() {
    let said = rendered(&compile_file("specs/broken/linear-on-map.yaml", &[]));
    let expected = "\
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
";
    assert!(said.starts_with(expected), "{said}");
}

/// What every diagnostic keeps to, whatever it says.
#[test]
fn titles_are_one_plain_line_and_no_word_is_of_the_compiler() {
    let mut problems = Vec::new();
    for path in broken_files() {
        let outcome = compile_file(&path, &[]);
        for diagnostic in &outcome.diagnostics {
            let title = &diagnostic.title;
            let first = title.chars().next();
            if title.contains('\n') || title.ends_with('.') || first.is_none_or(char::is_uppercase) {
                problems.push(format!("{path}: `{title}` is no title"));
            }
            for label in diagnostic.labels.iter().filter(|label| label.text.chars().count() > 60) {
                problems.push(format!("{path}: `{}` is long for a label", label.text));
            }
            let said = [title.as_str()]
                .into_iter()
                .chain(diagnostic.labels.iter().map(|label| label.text.as_str()))
                .chain(diagnostic.notes.iter().map(String::as_str))
                .chain(diagnostic.fix.iter().map(|fix| fix.title.as_str()))
                .chain(diagnostic.trace.iter().map(|frame| frame.text.as_str()));
            for text in said {
                for word in ["Some(", "None", "Rule", "Expr", "Ident", "FileId", "i64", "u64", "usize", "Vec<", "  "] {
                    if text.contains(word) {
                        problems.push(format!("{path}: `{text}` says `{word}`"));
                    }
                }
            }
        }
    }
    none(problems);
}

/// Taking a fix takes its finding away and says nothing new of the line that it changed; where it was the only finding
/// of a page's example, nothing is left to say.
#[test]
fn a_fix_mends_what_it_is_offered_for() {
    let of_a_page: BTreeSet<String> = PAGES.iter().map(|page| page.broken.path()).collect();
    let mut problems = Vec::new();
    for path in broken_files() {
        let outcome = compile_file(&path, &[]);
        for diagnostic in &outcome.diagnostics {
            let Some(fix) = &diagnostic.fix else { continue };
            let mut text = outcome.sources.file(diagnostic.primary().file).text.clone();
            let mut edits: Vec<_> = fix.edits.iter().collect();
            edits.sort_by_key(|edit| std::cmp::Reverse(edit.span));
            let mut changed = 0;
            for edit in edits {
                text.replace_range(edit.span.range(), &edit.text);
                changed = outcome.sources.line(edit.span);
            }
            let mended = compile_text(&path, &text);
            let says = |outcome: &Outcome, title: &str| outcome.diagnostics.iter().filter(|d| d.title == title).count();
            let is_there = says(&mended, &diagnostic.title) >= says(&outcome, &diagnostic.title);
            let is_new = mended
                .diagnostics
                .iter()
                .any(|new| mended.sources.line(new.primary()) == changed && says(&outcome, &new.title) == 0);
            let is_left = of_a_page.contains(&path) && outcome.diagnostics.len() == 1 && !mended.diagnostics.is_empty();
            if is_there || is_new || is_left {
                let (title, code) = (&fix.title, diagnostic.code);
                problems.push(format!("{path}: `{title}` does not mend {code}:\n{text}\n{}", rendered(&mended)));
            }
        }
    }
    none(problems);
}

#[test]
fn every_model_is_right_and_warns_only_where_the_book_does() {
    let models = specs_in("specs");
    assert_eq!(models.len(), 54);
    let problems = models.into_iter().filter_map(|path| {
        let outcome = compile_file(&path, &[]);
        let expected = if path.starts_with("specs/batch_norm.") { vec![Code::N0906; 2] } else { Vec::new() };
        let found: Vec<Code> = outcome.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        let is_wrong = !outcome.is_ok() || found != expected;
        assert!(is_wrong || outcome.diagnostics.iter().all(|finding| finding.severity() == Severity::Warning));
        is_wrong.then(|| format!("{path}:\n{}", rendered(&outcome)))
    });
    none(problems.collect());
}

#[test]
fn every_model_has_as_many_parameters_as_its_sum_says() {
    /// Model, parameters set from outside, sum.
    type Line = (&'static str, &'static [(&'static str, i64)], u64);
    let table: &[Line] = &[
        ("digits", &[], 160 + 4_640 + 1_290),
        ("fully_connected", &[], 3_737_474),
        ("first_model", &[], 1_574_402),
        ("net", &[], 18_090),
        ("net_5x5", &[], 20_906),
        ("net_1x3", &[], 17_034),
        ("width", &[], 38_386),
        ("width", &[("n_chans1", 32)], 38_386),
        ("width", &[("n_chans1", 64)], 1_792 + 18_464 + 65_568 + 66),
        ("dropout", &[], 38_386),
        ("batch_norm", &[], 38_482),
        ("depth", &[], 16_130),
        ("res", &[], 16_130),
        ("res_deep", &[], 159_330),
        ("res_deep", &[("n_blocks", 100)], 994_530),
        ("res_deep_tied", &[("n_blocks", 1)], 75_810),
        ("res_deep_tied", &[("n_blocks", 10)], 75_810),
        ("res_deep_tied", &[], 75_810),
        ("lenet_mnist", &[], 20 * 25 + 20 + 50 * 20 * 25 + 50 + 800 * 500 + 500 + 500 * 10 + 10),
        ("resnet18_cifar", &[], 11_173_962),
        // Those of torchvision 0.29's models of these names, `googlenet` without auxiliary outputs; VoxNet's is in its paper.
        ("resnet18", &[], 11_689_512),
        ("resnet50", &[], 25_557_032),
        ("vgg11", &[], 132_863_336),
        ("squeezenet", &[], 1_235_496),
        ("mobilenet_v2", &[], 3_504_872),
        ("densenet121", &[], 7_978_856),
        ("googlenet", &[], 6_624_904),
        ("voxnet", &[], 921_736),
        // Two convolutions, their norms, and the transposed ones: those of PyTorch's in tests/parity/make.py.
        ("unet", &[], 482_754),
        ("series", &[], (1_024 + 256) + (163_840 + 512) + (98_304 + 256) + 645),
        ("blur", &[], 27 + 1),
        ("edges", &[("height", 512), ("width", 512)], 27 + 1),
    ];
    for &(name, params, expected) in table {
        for ending in ["netspec", "yaml"] {
            let path = format!("specs/{name}.{ending}");
            let outcome = compile_file(&path, params);
            let checked = outcome.checked.as_ref().unwrap_or_else(|| panic!("{path}:\n{}", rendered(&outcome)));
            assert_eq!(summary::summary(checked).parameters, expected, "{path} with {params:?}");
        }
    }
    let named: BTreeSet<String> = table.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let there =
        specs_in("specs").iter().filter_map(|path| Path::new(path).file_stem()?.to_str().map(str::to_owned)).collect();
    assert_eq!(named, there, "every model is in the table");
}

#[test]
fn the_shapes_of_lenet_are_the_known_ones() {
    let outcome = compile_file("specs/lenet_mnist.yaml", &[]);
    let summary = summary::summary(outcome.checked.as_ref().expect("lenet_mnist is right"));
    assert_eq!(summary.input.iter().map(|(_, shape)| shape.as_slice()).collect::<Vec<_>>(), [[1, 28, 28]]);
    let mut shapes: Vec<Vec<u64>> = summary.layers.into_iter().map(|row| row.output).collect();
    shapes.dedup();
    let expected: [&[u64]; 7] = [&[20, 24, 24], &[20, 12, 12], &[50, 8, 8], &[50, 4, 4], &[800], &[500], &[10]];
    assert_eq!(shapes, expected);
    assert_eq!(summary.output, [[10]]);
}
