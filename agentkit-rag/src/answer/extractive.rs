//! A chat model that answers with the best supported sentences of its passages, word for word.

use agentkit_core::{
    Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, Conversation, Error, ErrorKind,
    FinishReason, ModelInfo, Passage, PassageCitation, Result, Role, RunContext, Span, Usage,
};
use async_trait::async_trait;

use super::REFUSAL;
use super::history::HistoryRewriter;
use super::pack::estimate_tokens;
use super::score::{Candidate, Evidence, Question, weigh};
use super::sentence::UnitKind;

/// Most characters of an answer's quotations together.
const MAX_ANSWER_CHARS: usize = 600;
/// Most sentences quoted.
const MAX_SENTENCES: usize = 3;
/// Share of the best sentence's score that a further one needs.
const CLOSE_TO_BEST: f32 = 0.5;
/// Share of the question's content words that some passage must hold, with its title and headings.
///
/// Conservative: a question about something else altogether is refused; one about the right thing that the
/// passages happen not to answer is mostly not, since words alone cannot tell.
const MIN_COVERAGE: f32 = 0.3;
/// Most bytes of a list or code block quoted with the sentence that introduces it.
const MAX_LEAD_IN_BYTES: usize = 560;
/// More passage text than this is weighed on a blocking thread.
const INLINE_BYTES: usize = 64 * 1024;
/// There is no window; this only has to be larger than any request.
const CONTEXT_TOKENS: usize = 1 << 20;

/// Answers by quoting: the one to three sentences with the best lexical evidence, each followed by `[n]` and a
/// citation, or an honest "[The sources do not say.](super::REFUSAL)".
///
/// Deterministic, without weights or network, and fast: well under a millisecond for ten passages. The question
/// is the last user message, made to stand alone by the messages before it. Works in any language, with
/// stemming and function words in thirteen, and letter pairs for scripts without spaces.
///
/// # Examples
/// ```
/// use agentkit_core::{ChatModel, ChatRequest, Message, RunContext, complete};
/// use agentkit_rag::answer::{ExtractiveModel, REFUSAL};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let request = ChatRequest::new(vec![Message::user("how hot should tea be?")]);
/// let reply = complete(&ExtractiveModel::new(), request, &RunContext::new()).await.unwrap();
/// assert_eq!(reply.text, REFUSAL, "no passages were given");
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct ExtractiveModel {
    info: ModelInfo,
}

impl ExtractiveModel {
    /// The model; it has no settings.
    #[must_use]
    pub fn new() -> Self {
        let info = ModelInfo::new("agentkit", "extractive", CONTEXT_TOKENS);
        Self { info: info.capabilities(Capabilities::default().with_citations()) }
    }
}

impl Default for ExtractiveModel {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl ChatModel for ExtractiveModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        ctx.check()?;
        if !request.tools.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the extractive model cannot use tools; send none",
            ));
        }
        let question = question(&request)?;
        let bytes: usize = passages(&request).map(|passage| passage.text.len()).sum();
        let events = if bytes > INLINE_BYTES {
            ctx.run_blocking(move |_| Ok(answer(&question, &request))).await?
        } else {
            answer(&question, &request)
        };
        let ctx = ctx.clone();
        Ok(ChatStream::generate(move |out| async move {
            for event in events {
                ctx.run(out.emit(event)).await?;
            }
            Ok(())
        }))
    }
}

/// The last user message, with what it needs of the conversation before.
fn question(request: &ChatRequest) -> Result<Question> {
    let Some(at) = request.messages.iter().rposition(|message| message.role == Role::User) else {
        return Err(Error::invalid_input("the request has no user message to answer; add one"));
    };
    let (before, rest) = request.messages.split_at(at);
    let asked = rest.first().map(agentkit_core::Message::joined_text).unwrap_or_default();
    let context = HistoryRewriter::new().addition(&asked, &Conversation::new(before.to_vec()));
    Ok(Question::new(&asked).with_context(&context))
}

fn passages(request: &ChatRequest) -> impl Iterator<Item = &Passage> {
    request.messages.iter().flat_map(agentkit_core::Message::passages)
}

fn answer(question: &Question, request: &ChatRequest) -> Vec<ChatEvent> {
    let passages: Vec<&Passage> = passages(request).collect();
    let quotes = quotes(question, &passages, request.max_tokens);
    let mut events = Vec::with_capacity(2 * quotes.len() + 2);
    let mut output = 0;
    for quote in &quotes {
        let text = quote.text(&passages, events.is_empty());
        output += estimate_tokens(&text);
        events.push(ChatEvent::Delta { text });
        let citation = PassageCitation { number: quote.passage + 1, span: quote.span };
        events.push(ChatEvent::Citation(citation));
    }
    let reason = if quotes.is_empty() { FinishReason::Refused } else { FinishReason::Stop };
    if quotes.is_empty() {
        output = estimate_tokens(REFUSAL);
        events.push(ChatEvent::Delta { text: REFUSAL.into() });
    }
    let input = request.messages.iter().map(|message| estimate_tokens(&message.joined_text())).sum::<usize>()
        + passages.iter().map(|passage| estimate_tokens(&passage.text)).sum::<usize>();
    events.push(ChatEvent::Usage(Usage { input_tokens: input as u64, output_tokens: output as u64 }));
    events.push(ChatEvent::Finished { reason });
    events
}

/// A piece of a passage to be quoted.
#[derive(Debug, Clone, Copy)]
struct Quote {
    passage: usize,
    span: Span,
}

impl Quote {
    fn text(&self, passages: &[&Passage], is_first: bool) -> String {
        let quote = self.slice(passages);
        let before = if is_first { "" } else { " " };
        // Nothing may follow on the line that closes a block of code.
        let behind = if quote.ends_with("```") || quote.ends_with("~~~") { '\n' } else { ' ' };
        format!("{before}{quote}{behind}[{}]", self.passage + 1)
    }

    fn slice<'p>(&self, passages: &[&'p Passage]) -> &'p str {
        passages.get(self.passage).and_then(|passage| self.span.slice(&passage.text)).unwrap_or_default()
    }

    /// This and `other` as one, if they are of one passage with nothing but space between.
    fn joined(&self, other: &Self, passages: &[&Passage]) -> Option<Self> {
        let text = &passages.get(self.passage).filter(|_| self.passage == other.passage)?.text;
        let (first, second) = if self.span.start <= other.span.start { (self, other) } else { (other, self) };
        let overlap = second.span.start < first.span.end;
        let gap = text.get(first.span.end..second.span.start);
        let adjoins = overlap || gap.is_some_and(|gap| gap.trim().is_empty() && !gap.contains("\n\n"));
        let end = first.span.end.max(second.span.end);
        adjoins.then_some(Self { passage: self.passage, span: Span::new(first.span.start, end) })
    }
}

/// What to quote, best first; nothing, if the passages do not speak of the question.
fn quotes(question: &Question, passages: &[&Passage], max_tokens: Option<u32>) -> Vec<Quote> {
    let Evidence { mut candidates, coverage, .. } = weigh(question, passages);
    if question.is_empty() || coverage < MIN_COVERAGE {
        return Vec::new();
    }
    let units = candidates.clone();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let best = candidates.first().map_or(0.0, |candidate| candidate.score);
    let good = candidates.into_iter().filter(|c| c.score > 0.0 && c.score >= best * CLOSE_TO_BEST);
    let tokens = max_tokens.map_or(usize::MAX, |tokens| tokens as usize);
    let mut quotes: Vec<Quote> = Vec::new();
    for candidate in good.take(MAX_SENTENCES) {
        let quote = Quote { passage: candidate.passage, span: with_lead_in(&candidate, &units, passages) };
        let extended = extended(&quotes, quote, passages);
        if quotes.is_empty() || fits(&extended, passages, tokens) {
            quotes = extended;
        }
    }
    quotes
}

/// `quotes` and one more, which is joined to the one it stands next to, and left out if it is there already.
fn extended(quotes: &[Quote], quote: Quote, passages: &[&Passage]) -> Vec<Quote> {
    let mut quotes = quotes.to_vec();
    if quotes.iter().any(|kept| kept.slice(passages).contains(quote.slice(passages))) {
        return quotes;
    }
    for kept in &mut quotes {
        if let Some(joined) = kept.joined(&quote, passages) {
            *kept = joined;
            return quotes;
        }
    }
    quotes.push(quote);
    quotes
}

fn fits(quotes: &[Quote], passages: &[&Passage], tokens: usize) -> bool {
    let texts = || quotes.iter().map(|quote| quote.slice(passages));
    texts().map(|text| text.chars().count()).sum::<usize>() <= MAX_ANSWER_CHARS
        && texts().map(estimate_tokens).sum::<usize>() <= tokens
}

/// The candidate's span; if it ends in a colon, with as much of what it introduces as is fit to quote.
fn with_lead_in(candidate: &Candidate, units: &[Candidate], passages: &[&Passage]) -> Span {
    let mut span = candidate.unit.span;
    let text = passages.get(candidate.passage).map_or("", |passage| passage.text.as_str());
    if !span.slice(text).is_some_and(|quote| quote.ends_with([':', '：'])) {
        return span;
    }
    let own_end = span.end;
    let following = units.iter().filter(|u| u.passage == candidate.passage && u.unit.span.start >= own_end);
    for next in following.take_while(|next| next.unit.kind != UnitKind::Heading) {
        let end = next.unit.outer_end;
        // A gap of more than a list's marker or a fence's opening line means another paragraph.
        if end - span.start > MAX_LEAD_IN_BYTES || next.unit.span.start - span.end > 24 {
            break;
        }
        span.end = end;
    }
    span
}
