//! "Did you mean": the nearest name to a mistyped one.

/// How many names are looked at: the cost of a mistake is not to grow with the spec.
const CANDIDATES: usize = 1_000;

/// The candidate nearest to `word` by edit distance (with neighbours exchanged counting one), when near enough to be meant:
/// at most a third of its length, at least one change.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .take(CANDIDATES)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= limit && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// ``did you mean `conv`?`` for the nearest candidate, else `otherwise`.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    match nearest(word, candidates) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => otherwise.to_owned(),
    }
}

/// Optimal string alignment distance. Names are short: words over 64 characters are as far as it gets.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let names = ["conv", "max_pool", "linear", "relu"];
        assert_eq!(nearest("cnov", names), Some("conv"));
        assert_eq!(nearest("maxpool", names), Some("max_pool"));
        assert_eq!(nearest("Linear", names), Some("linear"));
        assert_eq!(nearest("softmax", names), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
