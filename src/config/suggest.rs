//! "Did you mean": the known word that is nearest to a mistyped one.

/// The least length of a word that is taken for the beginning of another.
const BEGINNING_CHARS_MIN: usize = 4;

/// Gives the known word within a third of the word's length of insertions, deletions and changes,
/// or the one that begins with it.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let scored = known.iter().map(|&candidate| (distance(word, candidate), candidate));
    let near = scored.min().filter(|&(distance, _)| distance <= limit);
    let is_beginning = |candidate: &&&str| {
        word.chars().count() >= BEGINNING_CHARS_MIN && candidate.starts_with(word)
    };
    near.map(|(_, candidate)| candidate).or_else(|| known.iter().find(is_beginning).copied())
}

/// Gives the Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["vni", "device", "flood_rate_pps"];
        assert_eq!(nearest("vnii", &known), Some("vni"));
        assert_eq!(nearest("devcie", &known), Some("device"));
        assert_eq!(nearest("flood_rate", &known), Some("flood_rate_pps"));
        assert_eq!(nearest("flood_rate_pp", &known), Some("flood_rate_pps"));
        assert_eq!(nearest("flo", &known), None);
        assert_eq!(nearest("x", &known), None);
    }
}
