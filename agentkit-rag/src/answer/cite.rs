//! Finding the `[n]` markers in a model's text as it streams, and the sentences they rest on.

use agentkit_core::{Citation, Passage, Span};

use super::score::{Question, best_unit};
use super::sentence::{boundary_before, last_sentence};

/// Longest marker in bytes, such as `[1, 2, 3]`; a bracket open for longer is text.
const MAX_MARKER_BYTES: usize = 24;
/// How far back a marker's claim may begin, in bytes.
const MAX_CLAIM_BYTES: usize = 1000;

/// A marker and the sentence it stands behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    /// The numbers named.
    pub(super) numbers: Vec<usize>,
    /// The sentence before, without markers.
    pub(super) claim: String,
}

/// Reads markers out of text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct MarkerReader {
    /// Text that may still turn out to be a marker.
    pending: String,
    /// The text so far without markers.
    plain: String,
}

impl MarkerReader {
    /// Takes the next piece; gives the markers that are complete with it.
    pub(super) fn push(&mut self, piece: &str) -> Vec<Marker> {
        self.pending.push_str(piece);
        let text = std::mem::take(&mut self.pending);
        let mut rest = text.as_str();
        let mut markers = Vec::new();
        while let Some(at) = rest.find('[') {
            let (before, bracket) = rest.split_at(at);
            self.plain.push_str(before);
            rest = match read_marker(bracket) {
                Read::Marker { numbers, after } => {
                    markers.push(Marker { numbers, claim: self.claim() });
                    after
                }
                Read::Text { after } => {
                    self.plain.push('[');
                    after
                }
                Read::Incomplete => {
                    bracket.clone_into(&mut self.pending);
                    return markers;
                }
            };
        }
        self.plain.push_str(rest);
        markers
    }

    fn claim(&mut self) -> String {
        let from = boundary_before(&self.plain, self.plain.len().saturating_sub(MAX_CLAIM_BYTES));
        self.plain.drain(..from);
        last_sentence(&self.plain).to_owned()
    }
}

enum Read<'t> {
    Marker { numbers: Vec<usize>, after: &'t str },
    Text { after: &'t str },
    Incomplete,
}

/// Reads the bracket that `text` begins with.
fn read_marker(text: &str) -> Read<'_> {
    let body = text.strip_prefix('[').unwrap_or(text);
    let inner = body.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ',' | ' '));
    let length = body.len() - inner.len();
    if length > MAX_MARKER_BYTES {
        return Read::Text { after: body };
    }
    let Some(after) = inner.strip_prefix(']') else {
        return if inner.is_empty() { Read::Incomplete } else { Read::Text { after: body } };
    };
    let numbers = body.get(..length).unwrap_or_default().split(',').map(|number| number.trim().parse().ok());
    match numbers.collect() {
        Some(numbers) => Read::Marker { numbers, after },
        None => Read::Text { after: body },
    }
}

/// `text` without its markers.
pub(super) fn without_markers(text: &str) -> String {
    let mut reader = MarkerReader::default();
    let mut plain = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        reader.push(line);
        plain.push_str(&std::mem::take(&mut reader.plain));
    }
    plain.push_str(&reader.pending);
    plain.replace(" .", ".").replace("  ", " ").trim_end().to_owned()
}

/// The part of `passage` that `claim` rests on: its best sentence, or all of it if no words are shared, as
/// when the answer is in another language.
pub(super) fn support(claim: &str, passage: &Passage) -> Span {
    best_unit(&Question::new(claim), passage).unwrap_or_else(|| Span::new(0, passage.text.len()))
}

/// Quotes `span` of passage `number` as a citation of its document, if the span is one of the passage's text.
pub(super) fn citation(number: usize, span: Span, passages: &[Passage]) -> Option<Citation> {
    let passage = passages.get(number.checked_sub(1)?)?;
    let quote = span.slice(&passage.text).filter(|quote| !quote.is_empty())?;
    let span = span.shifted(passage.span.start);
    Some(Citation {
        number,
        document_id: passage.document_id.clone(),
        chunk_id: passage.chunk_id.clone(),
        title: passage.title.clone(),
        quote: quote.to_owned(),
        span,
        locator: passage.locator.narrowed(passage.span, span),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Vec<(Vec<usize>, String)> {
        let mut reader = MarkerReader::default();
        let markers = pieces.iter().flat_map(|piece| reader.push(piece)).collect::<Vec<_>>();
        markers.into_iter().map(|marker| (marker.numbers, marker.claim)).collect()
    }

    #[test]
    fn markers_are_found_wherever_the_pieces_are_cut() {
        let text = "Tea is hot [1]. Coffee is cold [2, 3][1]. An array a[i] and [x](y) are text. End. [12]";
        let claims = [
            (vec![1], "Tea is hot".to_owned()),
            (vec![2, 3], "Coffee is cold".to_owned()),
            (vec![1], "Coffee is cold".to_owned()),
            (vec![12], "End.".to_owned()),
        ];
        assert_eq!(read(&[text]), claims);
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            assert_eq!(read(&[&text[..at], &text[at..]]), claims, "cut at {at}");
        }
        let letters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(read(&letters.iter().map(String::as_str).collect::<Vec<_>>()), claims);
    }

    #[test]
    fn brackets_that_are_no_markers_are_text() {
        for text in [
            "[",
            "[]",
            "[,]",
            "[ ]",
            "[99999999999999999999999]",
            "[1",
            "[1;2]",
            "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]",
        ] {
            assert_eq!(read(&[text, " end"]), [], "{text}");
        }
    }

    #[test]
    fn history_loses_its_markers_only() {
        assert_eq!(
            without_markers("Tea is hot [1]. It [a] is [2, 3] wet.\nEnd [4]"),
            "Tea is hot. It [a] is wet.\nEnd"
        );
        assert_eq!(without_markers("open [1"), "open [1");
    }
}
