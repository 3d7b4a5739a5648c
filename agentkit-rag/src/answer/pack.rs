//! Choosing which found passages a model is given, within its token budget.

use agentkit_core::{Hit, Message, Part, Passage, Span};

use super::sentence::{boundary_before, units};

/// Tokens `text` has for a typical model: four ASCII bytes, or one other letter, a token. Rather too many than
/// too few.
pub(super) fn estimate_tokens(text: &str) -> usize {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().filter(|c| !c.is_ascii()).count();
    ascii.div_ceil(4) + others
}

/// Tokens of what `message` says, calls and returns, passages left out.
pub(super) fn message_tokens(message: &Message) -> usize {
    let part = |part: &Part| match part {
        Part::Text { text } => estimate_tokens(text),
        Part::ToolCall(call) => estimate_tokens(&call.name) + estimate_tokens(&call.arguments.to_string()),
        Part::ToolResult(result) => estimate_tokens(&result.content),
        _ => 0,
    };
    message.parts.iter().map(part).sum()
}

/// Takes hits best first while they fit into `budget` tokens; what another one already holds is left out.
///
/// The first passage is always taken, cut after its last sentence that fits, so that a small budget still
/// gives an answer.
pub(super) fn pack(hits: Vec<Hit>, budget: usize) -> Vec<(Passage, f32)> {
    let mut packed: Vec<(Passage, f32)> = Vec::new();
    let mut left = budget;
    for hit in hits {
        if packed.iter().any(|(kept, _)| holds(kept, &hit.passage)) {
            continue;
        }
        let passage = if packed.is_empty() { cut_to(hit.passage, budget) } else { hit.passage };
        let cost = estimate_tokens(&passage.text);
        if cost > left && !packed.is_empty() {
            continue;
        }
        left = left.saturating_sub(cost);
        packed.push((passage, hit.score));
    }
    packed
}

fn holds(kept: &Passage, other: &Passage) -> bool {
    let inside = kept.span.start <= other.span.start && other.span.end <= kept.span.end;
    kept.chunk_id == other.chunk_id || (kept.document_id == other.document_id && inside)
}

fn cut_to(mut passage: Passage, budget: usize) -> Passage {
    if estimate_tokens(&passage.text) <= budget {
        return passage;
    }
    // A token is at least one byte, so this many bytes always fit.
    let fits = |end: usize| passage.text.get(..end).is_some_and(|head| estimate_tokens(head) <= budget);
    let sentence = units(&passage.text).iter().map(|unit| unit.span.end).filter(|end| fits(*end)).max();
    let end = sentence.unwrap_or_else(|| boundary_before(&passage.text, budget.max(4)));
    passage.text.truncate(end);
    let whole = passage.span;
    passage.span = Span::new(whole.start, whole.start + end);
    passage.locator = passage.locator.narrowed(whole, passage.span);
    passage
}

#[cfg(test)]
mod tests {
    use agentkit_core::{ChunkId, DocumentId, Explanation, Locator, Metadata};

    use super::*;

    fn hit(document: &str, start: usize, text: &str) -> Hit {
        let passage = Passage {
            chunk_id: ChunkId::new(format!("{document}#{start}")).unwrap(),
            document_id: DocumentId::new(document).unwrap(),
            title: None,
            text: text.into(),
            span: Span::new(start, start + text.len()),
            locator: Locator::default(),
        };
        Hit { passage, score: 1.0, metadata: Metadata::new(), explanation: Explanation::default() }
    }

    fn texts(hits: Vec<Hit>, budget: usize) -> Vec<String> {
        pack(hits, budget).into_iter().map(|(passage, _)| passage.text).collect()
    }

    #[test]
    fn passages_held_by_another_are_left_out() {
        let hits =
            vec![hit("a", 0, "one two three"), hit("a", 4, "two"), hit("a", 0, "one"), hit("b", 4, "two")];
        assert_eq!(texts(hits, 100), ["one two three", "two"]);
    }

    #[test]
    fn what_does_not_fit_makes_room_for_what_does() {
        let hits = vec![hit("a", 0, "1234567"), hit("b", 0, &"x".repeat(100)), hit("c", 0, "1234")];
        assert_eq!(texts(hits, 3), ["1234567", "1234"]);
    }

    #[test]
    fn the_first_passage_is_cut_at_a_sentence_and_its_span_follows() {
        let packed = pack(vec![hit("a", 7, "The first one. The second, longer sentence.")], 5);
        assert_eq!(packed[0].0.text, "The first one.");
        assert_eq!(packed[0].0.span, Span::new(7, 21));
        for budget in 0..4 {
            let packed = pack(vec![hit("a", 0, "語語語語語語")], budget);
            assert_eq!(packed[0].0.span.end, packed[0].0.text.len());
            assert!(!packed[0].0.text.is_empty());
        }
    }

    #[test]
    fn letters_outside_ascii_count_as_tokens() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("12345"), 2);
        assert_eq!(estimate_tokens("日本"), 2);
    }
}
