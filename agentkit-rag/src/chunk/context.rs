//! The context line of a chunk: the document's title and the headings above it.

/// Between the title and the headings.
const SEPARATOR: &str = " › ";
/// Longest part in bytes, before it is counted at all.
const MAX_PART_BYTES: usize = 256;

/// Joins title and headings to one line of at most `limit` tokens.
///
/// The title is left out if it is the first heading. What is too long loses the headings in the middle first, then
/// words at its end.
pub(super) fn context_line<'a>(
    title: Option<&str>,
    headings: impl Iterator<Item = &'a str>,
    limit: usize,
    size: &dyn Fn(&str) -> usize,
) -> String {
    let mut parts: Vec<String> = title.map(tidy).into_iter().filter(|part| !part.is_empty()).collect();
    for heading in headings.map(tidy).filter(|part| !part.is_empty()) {
        let repeats_title = parts.len() == 1 && title.is_some_and(|title| tidy(title) == heading);
        if !repeats_title {
            parts.push(heading);
        }
    }
    let mut line = parts.join(SEPARATOR);
    while size(&line) > limit && parts.len() > 2 {
        parts.remove(1);
        line = parts.join(SEPARATOR);
    }
    while size(&line) > limit {
        let end = line.trim_end().rfind(' ').unwrap_or(0);
        line.truncate(end);
    }
    line.truncate(line.trim_end_matches([' ', '›']).len());
    line
}

/// `part` on one line, without control characters, and not too long.
fn tidy(part: &str) -> String {
    let mut tidied = String::new();
    for word in part.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !tidied.is_empty() {
            tidied.push(' ');
        }
        tidied.push_str(word);
        if tidied.len() > MAX_PART_BYTES {
            tidied.truncate(super::section::floor_boundary(&tidied, MAX_PART_BYTES));
            break;
        }
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_title_once_and_keeps_to_its_limit() {
        let words = |text: &str| text.split_whitespace().filter(|word| *word != "›").count();
        for (title, headings, limit, line) in [
            (None, &[][..], 9, ""),
            (Some(" A\nguide "), &[][..], 9, "A guide"),
            (Some("Tea"), &["Tea", "Green"][..], 9, "Tea › Green"),
            (Some("Tea"), &["Green", "Tea"][..], 9, "Tea › Green › Tea"),
            (None, &["Tea", "", "Green"][..], 9, "Tea › Green"),
            (Some("Tea"), &["all kinds", "from Asia", "Green"][..], 4, "Tea › from Asia › Green"),
            (Some("Tea"), &["all kinds", "from Asia", "Green"][..], 2, "Tea › Green"),
            (Some("one two three"), &["four five"][..], 4, "one two three › four"),
            (Some("one two three"), &["four five"][..], 3, "one two three"),
            (Some("one two three"), &[][..], 0, ""),
        ] {
            let made = context_line(title, headings.iter().copied(), limit, &words);
            assert_eq!(made, line, "{title:?} {headings:?} {limit}");
        }
    }

    #[test]
    fn a_title_of_any_size_is_cut_on_a_character() {
        let title = "é".repeat(1_000_000);
        let line = context_line(Some(&title), std::iter::empty(), 10_000, &str::len);
        assert_eq!(line.len(), MAX_PART_BYTES);
    }
}
