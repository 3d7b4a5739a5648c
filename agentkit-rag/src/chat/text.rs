//! The text of an answer, made of bytes: whole characters only, and nothing from a stop sequence on.

/// Collects what tokens say and hands out what is sure to belong to the answer.
#[derive(Debug, Default)]
pub(super) struct Text {
    stops: Vec<String>,
    /// The beginning of a character whose end has not come.
    bytes: Vec<u8>,
    /// Text that may turn out to begin a stop sequence.
    held: String,
    stopped: bool,
}

impl Text {
    /// Text that ends before any of `stops`; empty ones stop nothing.
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), ..Self::default() }
    }

    /// Whether a stop sequence has come.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Takes what a token says and gives what can be shown, which may be nothing.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.bytes.extend_from_slice(bytes);
        let (text, rest) = characters(&self.bytes);
        self.bytes = rest;
        self.held.push_str(&text);
        self.release()
    }

    /// The rest, when the answer is over; half a character becomes a replacement character.
    pub(super) fn finish(&mut self) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.bytes)));
        let shown = self.release();
        if self.stopped { shown } else { shown + &std::mem::take(&mut self.held) }
    }

    fn release(&mut self) -> String {
        if self.stopped {
            return String::new();
        }
        if let Some(at) = first_stop(&self.held, &self.stops) {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let from = self.held.len() - self.doubtful();
        let doubtful = self.held.split_off(from);
        std::mem::replace(&mut self.held, doubtful)
    }

    /// Bytes at the end that a stop sequence begins with.
    fn doubtful(&self) -> usize {
        let longest = |stop: &String| {
            let prefixes = stop.char_indices().rev().filter_map(|(at, _)| stop.get(..at));
            prefixes
                .map(|prefix| if self.held.ends_with(prefix) { prefix.len() } else { 0 })
                .max()
                .unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

/// Where the stop sequence begins that is whole first.
fn first_stop(text: &str, stops: &[String]) -> Option<usize> {
    let found = stops.iter().filter_map(|stop| text.find(stop.as_str()).map(|at| (at + stop.len(), at)));
    found.min().map(|(_, at)| at)
}

/// The characters of `bytes`, and the beginning of one at the end; what is no character is replaced.
fn characters(bytes: &[u8]) -> (String, Vec<u8>) {
    let mut text = String::new();
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        let invalid = chunk.invalid();
        let unfinished = chunks.peek().is_none()
            && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
        if unfinished {
            return (text, invalid.to_vec());
        }
        if !invalid.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (text, Vec::new())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Pushes `bytes` in pieces; gives all that was shown.
    fn shown(stops: &[String], bytes: &[u8], sizes: &[usize]) -> String {
        let mut text = Text::new(stops.to_vec());
        let (mut all, mut rest) = (String::new(), bytes);
        for size in sizes.iter().cycle() {
            let (piece, more) = rest.split_at((*size).min(rest.len()));
            all.push_str(&text.push(piece));
            rest = more;
            if rest.is_empty() || text.is_stopped() {
                break;
            }
        }
        all.push_str(&text.finish());
        all
    }

    proptest! {
        #[test]
        fn the_pieces_make_no_difference(
            whole in "[abé🙂]{0,40}",
            stops in vec("[abé🙂]{0,3}", 0..3),
            sizes in vec(1_usize..5, 1..8),
        ) {
            let some: Vec<String> = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
            let expected = &whole[..first_stop(&whole, &some).unwrap_or(whole.len())];
            prop_assert_eq!(shown(&stops, whole.as_bytes(), &sizes), expected);
        }

        #[test]
        fn any_bytes_become_what_the_standard_library_makes_of_them(
            bytes in vec(any::<u8>(), 0..40),
            sizes in vec(1_usize..5, 1..8),
        ) {
            prop_assert_eq!(shown(&[], &bytes, &sizes), String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn what_is_sure_is_shown_at_once() {
        let mut text = Text::new(vec!["</s>".into()]);
        assert_eq!(text.push(b"one <"), "one ");
        assert_eq!(text.push(b"b> \xf0\x9f"), "<b> ");
        assert_eq!(text.push(b"\x99\x82</"), "🙂");
        assert_eq!(text.push(b"s> more"), "");
        assert!(text.is_stopped());
        assert_eq!((text.push(b"x"), text.finish()), (String::new(), String::new()));
    }
}
