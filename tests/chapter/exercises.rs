//! The chapter's exercises that are no rows of the table: what `net` is sure of in pictures that are neither airplane nor bird, and how
//! little of an airplane must change until `net` calls it a bird.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use netspec::data::CIFAR10;
use netspec::{CrossEntropy, Sample, Workspace, argmax, network, samples};

use crate::pictures::{self, Picture};
use crate::rows::{EXERCISES, NetGradient};
use crate::runs::{self, Epoch};
use crate::table::median;
use crate::training::{CLASSES, Images, Limits, Run, VALUES};

/// The labels of `CLASSES`.
const AIRPLANE: usize = 0;
const BIRD: usize = 1;
/// From where on an answer counts as confident, and as very confident.
const CONFIDENT: [f64; 2] = [0.95, 0.99];
/// Airplanes that are nudged.
const NUDGED: usize = 100;
/// How far a step leads: the root of the sum of the squares of the levels' changes.
const STRIDE: f32 = 8.0;
/// Steps after which an airplane is left as one.
const STEPS: usize = 1000;
/// Nudged airplanes that are shown.
const SHOWN: usize = 6;
/// What a change is multiplied by to be seen.
const AMPLIFIED: i16 = 8;

const DATA: &str =
    "--data, or NETSPEC_DATA, is the folder with `cifar2-batches-bin`, `cifar10-other8` and `photos/32x32`";

/// Does the exercises on the network in `folder/runs`, which is trained if it is not there, and writes their page and its pictures to
/// `folder`. Gives the page.
pub(crate) fn write(folder: &Path, data: &Path, images: &Images, limits: Limits) -> Result<String, Box<dyn Error>> {
    // Read before minutes of training.
    let of_cifar = |name: &str, is_ours: bool| {
        let path = data.join(name).join("test_batch.bin");
        let mut records = read(&path, pictures::records)?;
        records.retain(|&(label, _)| CLASSES.contains(&CIFAR10[label]) == is_ours);
        Ok::<_, String>(records)
    };
    let (test, other) = (of_cifar("cifar2-batches-bin", true)?, of_cifar("cifar10-other8", false)?);
    let photos = photos(&data.join("photos/32x32"))?;

    let (net, epochs) = trained(folder.join("runs/exercises-0.csv"), images, limits)?;
    let mut judge = Judge { net, workspace: Workspace::with_threads(limits.threads) };
    let mut page = head(&epochs);
    let mut shown = [Vec::new(), Vec::new()];
    page += &judge.others(&other, &mut shown[0])?;
    page += &judge.test_set(&test)?;
    page += &judge.photos(&photos, &mut shown[1])?;
    runs::replace(&folder.join("mistakes.png"), pictures::encoded(&shown)?)?;
    let (text, nudged) = judge.nudges(&test)?;
    page += &text;
    let show = |picture: fn(&Nudged) -> Picture| nudged.iter().take(SHOWN).map(picture).collect();
    let shown = [show(|it| it.before), show(Nudged::amplified), show(|it| it.after)];
    runs::replace(&folder.join("nudged.png"), pictures::encoded(&shown)?)?;
    runs::replace(&folder.join("exercises.md"), &page)?;
    Ok(page)
}

/// What is read from a file.
fn read<T>(path: &Path, read: impl Fn(&[u8]) -> Result<T, String>) -> Result<T, String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}; {DATA}", path.display()))?;
    read(&bytes).map_err(|problem| format!("{}: {problem}", path.display()))
}

/// The PNG files of a folder, by their names.
fn photos(folder: &Path) -> Result<Vec<(String, Picture)>, String> {
    let problem = |problem: &str| format!("cannot read {}: {problem}; {DATA}", folder.display());
    let files = fs::read_dir(folder).map_err(|error| problem(&error.to_string()))?;
    let paths = files.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(|error| problem(&error.to_string()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    paths.sort();
    if paths.is_empty() {
        return Err(problem("there is no PNG file"));
    }
    let photo = |path: &PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, read(path, pictures::decoded)?))
    };
    paths.iter().map(photo).collect()
}

/// The network, trained as `net` with seed 0, and its epochs. It is trained where a file of its run is missing, and kept in it.
fn trained(path: PathBuf, images: &Images, limits: Limits) -> Result<(NetGradient, Vec<Epoch>), Box<dyn Error>> {
    let weights = path.with_extension("safetensors");
    let done = if weights.exists() { runs::read(&path)? } else { Vec::new() };
    if done.len() < limits.epochs {
        eprintln!("{}: {} epochs to run", EXERCISES.name, limits.epochs - done.len());
        let limits = Limits { minutes: f64::INFINITY, ..limits };
        (EXERCISES.train)(&Run { row: &EXERCISES, seed: 0, done, path: path.clone(), images, limits })?;
    }
    Ok((network::load(&weights)?, runs::read(&path)?))
}

fn head(epochs: &[Epoch]) -> String {
    let [_, test] = epochs.last().and_then(|epoch| epoch.accuracies).unwrap_or([f64::NAN; 2]);
    format!(
        "\
# The chapter's exercises

Written by

```sh
NETSPEC_DATA=FOLDER cargo run --release -p netspec-tests --bin netspec-chapter -- --exercises
```

with `cifar2-batches-bin`, `cifar10-other8` (pictures of CIFAR-10's other classes) and `photos/32x32` (PNG files) in the folder. The network
is `net`, trained as [the table](README.md)'s first row is, with seed 0: after {} epochs it classifies {test:.4} of the test images right. The
command trains it where `runs` does not have its weights. Kernels of 5 by 5 and of 1 by 3 are rows of the table.

",
        epochs.len()
    )
}

/// What the network says of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Answer {
    class: usize,
    /// The probability of the class, as the network has it: from 0.5 to 1.
    confidence: f64,
}

/// A picture, and what became of it when it was nudged.
struct Nudged {
    before: Picture,
    after: Picture,
    steps: usize,
}

impl Nudged {
    /// What was added to each level.
    fn changes(&self) -> impl Iterator<Item = i16> {
        self.before.iter().zip(&self.after).map(|(&before, &after)| i16::from(after) - i16::from(before))
    }

    /// The largest change of a level.
    fn largest(&self) -> f64 {
        self.changes().map(|change| f64::from(change.abs())).fold(0.0, f64::max)
    }

    /// The root of the sum of the changes' squares.
    fn length(&self) -> f64 {
        self.changes().map(|change| f64::from(change) * f64::from(change)).sum::<f64>().sqrt()
    }

    /// The picture before, with the same changes turned by half a circle.
    fn turned(&self) -> Picture {
        let changes: Vec<i16> = self.changes().collect();
        let plane = VALUES / 3;
        std::array::from_fn(|at| {
            let turned = at / plane * plane + (plane - 1 - at % plane);
            level(i16::from(self.before[at]) + changes[turned])
        })
    }

    /// The changes, multiplied, on grey.
    fn amplified(&self) -> Picture {
        let mut changes = self.changes();
        std::array::from_fn(|_| level(128 + AMPLIFIED * changes.next().unwrap_or_default()))
    }
}

fn level(level: i16) -> u8 {
    level.clamp(0, 255) as u8
}

/// The network at work.
struct Judge {
    net: NetGradient,
    workspace: Workspace,
}

impl Judge {
    fn answers<'a>(&mut self, pictures: impl Iterator<Item = &'a Picture>) -> Result<Vec<Answer>, netspec::Error> {
        let input: Vec<f32> =
            pictures.flat_map(|picture| pictures::input(picture.iter().map(|&level| f32::from(level)))).collect();
        let input = samples::<NetGradient>(&input)?;
        let mut scores = vec![[0.0; 2]; input.len()];
        self.net.infer(&mut self.workspace, input, &mut scores)?;
        let answer = |scores: &[f32; 2]| {
            let class = argmax(scores);
            // The softmax of two.
            let behind = f64::from(scores[1 - class]) - f64::from(scores[class]);
            Answer { class, confidence: 1.0 / (1.0 + behind.exp()) }
        };
        Ok(scores.iter().map(answer).collect())
    }

    fn answer(&mut self, picture: &Picture) -> Result<Answer, netspec::Error> {
        Ok(self.answers([picture].into_iter())?[0])
    }

    /// Moves a picture down the slope of the loss that it has as one of a class, until it is called that when its levels are bytes; none
    /// when it is not within `STEPS`.
    fn nudge(&mut self, before: &Picture, class: usize) -> Result<Option<Nudged>, netspec::Error> {
        let mut levels = before.map(f32::from);
        let mut gradient = [[[[0.0; 32]; 32]; 3]];
        for steps in 1..=STEPS {
            let input: Vec<f32> = pictures::input(levels.into_iter()).collect();
            let input = samples::<NetGradient>(&input)?;
            self.net.input_gradients(&mut self.workspace, input, &[class], &CrossEntropy, &mut gradient)?;
            let slopes: Vec<f32> = pictures::by_levels(Sample::flat(&gradient)).collect();
            let length = slopes.iter().map(|slope| slope * slope).sum::<f32>().sqrt();
            if length == 0.0 {
                return Ok(None);
            }
            for (level, slope) in levels.iter_mut().zip(slopes) {
                *level = (*level - STRIDE * slope / length).clamp(0.0, 255.0);
            }
            let after = levels.map(|level| level.round() as u8);
            if self.answer(&after)?.class == class {
                return Ok(Some(Nudged { before: *before, after, steps }));
            }
        }
        Ok(None)
    }

    /// The answers on the other classes; what is most confident of each is added to what is shown.
    fn others(&mut self, other: &[(usize, Picture)], shown: &mut Vec<Picture>) -> Result<String, netspec::Error> {
        let [confident, very] = CONFIDENT;
        let mut text = format!(
            "\
## Sure, and wrong

The network knows airplanes and birds, and has to call a horse one of them. How sure it is of that, its softmax says; a picture's number is
its place among those of its class in the file, from 1 on:

| class | pictures | airplane | bird | over {confident} | over {very} | most confident |
| --- | --- | --- | --- | --- | --- | --- |
"
        );
        let mut all = Vec::new();
        for (label, class) in CIFAR10.iter().enumerate() {
            let pictures: Vec<&Picture> = other.iter().filter(|(of, _)| *of == label).map(|(_, it)| it).collect();
            let answers = self.answers(pictures.iter().copied())?;
            let most = (0..answers.len()).max_by(|&a, &b| answers[a].confidence.total_cmp(&answers[b].confidence));
            if let Some(most) = most {
                let Answer { class: called, confidence } = answers[most];
                let most_confident = format!("number {}, {}, {confidence:.5}", most + 1, CLASSES[called]);
                text += &format!("| {class} | {} | {most_confident} |\n", counts(&answers));
                shown.push(*pictures[most]);
            }
            all.extend(answers);
        }
        Ok(format!("{text}| all | {} | |\n\n", counts(&all)))
    }

    /// For comparison, the answers on the classes that the network knows.
    fn test_set(&mut self, test: &[(usize, Picture)]) -> Result<String, netspec::Error> {
        let answers = self.answers(test.iter().map(|(_, picture)| picture))?;
        let [confident, very] = CONFIDENT.map(|bound| {
            let over = || answers.iter().zip(test).filter(move |(answer, _)| answer.confidence > bound);
            let wrong = over().filter(|(answer, (label, _))| CLASSES[answer.class] != CIFAR10[*label]).count();
            format!("{} with over {bound}, of which {wrong} are wrong", over().count())
        });
        let all = test.len();
        Ok(format!("Of the {all} airplanes and birds of the test set it classifies {confident};\n{very}.\n\n"))
    }

    /// The answers on photographs, which are added to what is shown.
    fn photos(&mut self, photos: &[(String, Picture)], shown: &mut Vec<Picture>) -> Result<String, netspec::Error> {
        let mut text = "| photograph | is called | confidence |\n| --- | --- | --- |\n".to_owned();
        let answers = self.answers(photos.iter().map(|(_, picture)| picture))?;
        for ((name, picture), Answer { class, confidence }) in photos.iter().zip(answers) {
            text += &format!("| {name} | {} | {confidence:.4} |\n", CLASSES[class]);
            shown.push(*picture);
        }
        text +=
            "\nThe most confident picture of each class, in the order of the table; below them the photographs:\n\n";
        Ok(text + "![Pictures that are neither airplane nor bird](mistakes.png)\n\n")
    }

    /// The first airplanes, nudged until they are birds.
    fn nudges(&mut self, test: &[(usize, Picture)]) -> Result<(String, Vec<Nudged>), Box<dyn Error>> {
        let airplanes = test.iter().filter(|(label, _)| CIFAR10[*label] == CLASSES[AIRPLANE]).map(|(_, it)| it);
        let (mut tried, mut nudged, mut before) = (0, Vec::new(), Vec::new());
        for airplane in airplanes {
            if tried == NUDGED {
                break;
            }
            let answer = self.answer(airplane)?;
            if answer.class != AIRPLANE {
                continue;
            }
            tried += 1;
            if let Some(bird) = self.nudge(airplane, BIRD)? {
                nudged.push(bird);
                before.push(answer.confidence);
            }
        }
        if nudged.is_empty() {
            return Err(format!("none of {tried} airplanes became a bird: is the network trained? See --epochs").into());
        }
        let turned: Vec<Picture> = nudged.iter().map(Nudged::turned).collect();
        let still_flip = self.answers(turned.iter())?.iter().filter(|answer| answer.class == BIRD).count();
        let after = self.answers(nudged.iter().map(|it| &it.after))?.iter().map(|answer| answer.confidence).collect();
        let text = format!(
            "\
## An airplane that is called a bird

The gradient of the loss by the picture says how a picture would be more of a bird. Each step goes {STRIDE} down it, as the root of the
sum of the squares of the changes of all {VALUES} levels, each of them from 0 to 255. The last step is the one behind which the picture,
its levels rounded to bytes, is called a bird. Of the first {tried} airplanes of the test set that the network recognizes {} become birds
within {STEPS} steps:

| | least | median | greatest |
| --- | --- | --- | --- |
{}{}{}{}{}
For comparison: the same changes, turned by half a circle, make birds of {still_flip} of these airplanes.

The first {}; in rows the airplanes, what is added to them ({AMPLIFIED} times, on grey), and what the network calls birds:

![Airplanes, what is added to them, and what is called birds](nudged.png)
",
            nudged.len(),
            spread("steps", 0, nudged.iter().map(|it| it.steps as f64).collect()),
            spread("largest change of a level", 0, nudged.iter().map(Nudged::largest).collect()),
            spread("root of the sum of the squares", 1, nudged.iter().map(Nudged::length).collect()),
            spread("confidence before, of an airplane", 4, before),
            spread("confidence after, of a bird", 4, after),
            nudged.len().min(SHOWN),
        );
        Ok((text, nudged))
    }
}

/// Cells: how many answers there are, of each class, and over each bound.
fn counts(answers: &[Answer]) -> String {
    let count = |is: &dyn Fn(&Answer) -> bool| answers.iter().filter(|answer| is(answer)).count();
    let [airplanes, birds] = [AIRPLANE, BIRD].map(|class| count(&|answer| answer.class == class));
    let [confident, very] = CONFIDENT.map(|bound| count(&|answer| answer.confidence > bound));
    format!("{} | {airplanes} | {birds} | {confident} | {very}", answers.len())
}

/// A line: the least, the median and the greatest of some numbers.
fn spread(what: &str, decimals: usize, numbers: Vec<f64>) -> String {
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("| {what} | {least:.decimals$} | {:.decimals$} | {greatest:.decimals$} |\n", median(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge() -> Judge {
        Judge { net: NetGradient::new(0), workspace: Workspace::with_threads(1) }
    }

    #[test]
    fn a_picture_is_nudged_over_the_border() {
        let mut judge = judge();
        let grey = std::array::from_fn(|at| (100 + at % 37) as u8);
        let class = judge.answer(&grey).expect("a picture").class;
        let nudged =
            judge.nudge(&grey, 1 - class).expect("a picture").expect("an untrained network is sure of nothing");
        let after = judge.answer(&nudged.after).expect("a picture");
        assert_eq!((nudged.before, after.class), (grey, 1 - class));
        assert!((0.5..0.6).contains(&after.confidence), "just over the border: {}", after.confidence);
        // Rounding each level adds half a level at most.
        let most = nudged.steps as f64 * f64::from(STRIDE) + 0.5 * (VALUES as f64).sqrt();
        assert!(0.0 < nudged.length() && nudged.length() <= most, "{} in {} steps", nudged.length(), nudged.steps);
    }

    #[test]
    fn changes_are_measured_and_shown() {
        let before = [100; VALUES];
        let mut after = before;
        (after[0], after[1], after[VALUES - 1]) = (103, 96, 255);
        let nudged = Nudged { before, after, steps: 1 };
        assert_eq!((nudged.largest(), nudged.length()), (155.0, (9.0 + 16.0 + 155.0 * 155.0_f64).sqrt()));
        let (shown, turned) = (nudged.amplified(), nudged.turned());
        assert_eq!([shown[0], shown[1], shown[2], shown[VALUES - 1]], [152, 96, 128, 255]);
        let last = VALUES / 3 - 1;
        assert_eq!([turned[last], turned[last - 1], turned[VALUES - 1 - last], turned[0]], [103, 96, 255, 100]);
    }

    #[test]
    fn answers_are_counted() {
        let answer = |class, confidence| Answer { class, confidence };
        let answers = [answer(AIRPLANE, 0.96), answer(BIRD, 0.995), answer(BIRD, 0.95)];
        assert_eq!(counts(&answers), "3 | 1 | 2 | 2 | 1");
        assert_eq!(spread("steps", 1, vec![4.0, 1.0, 2.0, 8.0]), "| steps | 1.0 | 3.0 | 8.0 |\n");
    }

    #[test]
    fn missing_data_says_where_it_should_be() {
        let nowhere = Path::new("nowhere/cifar10-other8/test_batch.bin");
        let error = read(nowhere, pictures::records).expect_err("it is not there");
        assert!(error.starts_with("cannot read nowhere/cifar10-other8/test_batch.bin: "), "{error}");
        assert!(error.ends_with(DATA), "{error}");
        assert!(photos(Path::new("nowhere/photos/32x32")).expect_err("it is not there").ends_with(DATA));
    }
}
