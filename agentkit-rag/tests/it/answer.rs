//! The agent and the extractive model, through their public contracts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use agentkit_core::testing::{HashingEmbedder, ScriptedModel};
use agentkit_core::{
    Agent, AgentEventKind, AgentInput, Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, ChunkId,
    DocumentId, EmbedSide, Embedder, EmbedderIdentity, Embedding, Error, ErrorKind, Explanation,
    FinishReason, Hit, Leg, LegExplanation, Locator, Memory, Message, Metadata, ModelInfo, ModelRewriter,
    Outcome, Part, Passage, PassageCitation, Result, Retriever, Role, RunContext, SearchRequest,
    SearchResponse, SessionId, SessionKey, SessionSummary, Span, TenantScope, Usage, complete,
};
use agentkit_rag::answer::{ExtractiveModel, REFUSAL, RagAgent, Support};
use async_trait::async_trait;

/// What stands before every passage in its document.
const OFFSET: usize = 100;
const PANTHERS: &str = "The Panthers defense gave up just 308 points, ranking sixth in the league. Josh Norman \
    developed into a shutdown corner during the season. He intercepted four passes in 2015.";
const TEA: &str = "# Tea\n\n- Green tea is best at 80 degrees.\n- Black tea is best at 95 degrees.\n";

pub(crate) fn passage(document: &str, text: &str) -> Passage {
    Passage {
        chunk_id: ChunkId::new(format!("{document}#0")).unwrap(),
        document_id: DocumentId::new(document).unwrap(),
        title: Some(document.to_owned()),
        text: text.into(),
        span: Span::new(OFFSET, OFFSET + text.len()),
        locator: Locator::default(),
    }
}

/// Finds all its passages for every question, and notes the questions.
pub(crate) struct Shelf {
    passages: Vec<Passage>,
    asked: Mutex<Vec<SearchRequest>>,
}

impl Shelf {
    pub(crate) fn new(passages: Vec<Passage>) -> Arc<Self> {
        Arc::new(Self { passages, asked: Mutex::default() })
    }

    fn panthers_and_tea() -> Arc<Self> {
        Self::new(vec![passage("panthers", PANTHERS), passage("tea", TEA)])
    }
}

#[async_trait]
impl Retriever for Shelf {
    async fn search(&self, request: &SearchRequest, _: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        self.asked.lock().unwrap().push(request.clone());
        let hit = |passage: &Passage| Hit {
            passage: passage.clone(),
            score: 1.0,
            metadata: Metadata::new(),
            explanation: Explanation::default(),
        };
        let hits: Vec<Hit> = self.passages.iter().take(request.top_k).map(hit).collect();
        Ok(SearchResponse::new(hits, self.passages.len() as u64, 1))
    }
}

/// Says what it was told to say, and notes the requests.
struct Script {
    info: ModelInfo,
    says: Vec<Result<ChatEvent, ErrorKind>>,
    asked: Mutex<Vec<ChatRequest>>,
}

impl Script {
    fn new(citations: bool, says: Vec<Result<ChatEvent, ErrorKind>>) -> Arc<Self> {
        let capabilities = Capabilities::default();
        let capabilities = if citations { capabilities.with_citations() } else { capabilities };
        let info = ModelInfo::new("test", "script", 8_000).capabilities(capabilities);
        Arc::new(Self { info, says, asked: Mutex::default() })
    }

    fn saying(pieces: &[&str]) -> Arc<Self> {
        let mut says: Vec<_> =
            pieces.iter().map(|piece| Ok(ChatEvent::Delta { text: (*piece).into() })).collect();
        says.push(Ok(ChatEvent::Usage(Usage { input_tokens: 10, output_tokens: 5 })));
        says.push(Ok(ChatEvent::Finished { reason: FinishReason::Stop }));
        Self::new(false, says)
    }
}

#[async_trait]
impl ChatModel for Script {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ChatRequest, _: &RunContext) -> Result<ChatStream> {
        self.asked.lock().unwrap().push(request);
        let says = self.says.clone();
        Ok(ChatStream::generate(|out| async move {
            for event in says {
                match event {
                    Ok(event) => out.emit(event).await?,
                    Err(ErrorKind::DeadlineExceeded) => std::future::pending().await,
                    Err(kind) => return Err(Error::new(kind, "the script ends here")),
                }
            }
            Ok(())
        }))
    }
}

#[derive(Default)]
struct Notes {
    sessions: Mutex<HashMap<SessionKey, Vec<Message>>>,
}

#[async_trait]
impl Memory for Notes {
    async fn append(&self, key: &SessionKey, turn: Vec<Message>, _: &RunContext) -> Result<()> {
        self.sessions.lock().unwrap().entry(key.clone()).or_default().extend(turn);
        Ok(())
    }

    async fn recall(&self, key: &SessionKey, limit: usize, _: &RunContext) -> Result<Vec<Message>> {
        let sessions = self.sessions.lock().unwrap();
        let messages = sessions.get(key).cloned().unwrap_or_default();
        Ok(messages[messages.len().saturating_sub(limit)..].to_vec())
    }

    async fn sessions(
        &self,
        _: &TenantScope,
        _: Option<&SessionId>,
        _: usize,
        _: &RunContext,
    ) -> Result<Vec<SessionSummary>> {
        Ok(Vec::new())
    }

    async fn forget(&self, key: &SessionKey, _: &RunContext) -> Result<bool> {
        Ok(self.sessions.lock().unwrap().remove(key).is_some())
    }
}

fn in_session(message: &str) -> AgentInput {
    AgentInput::new(TenantScope::local(), message).session(SessionId::new("s").unwrap())
}

async fn events(agent: &RagAgent, input: AgentInput, ctx: &RunContext) -> Vec<AgentEventKind> {
    let mut stream = agent.run(input, ctx).await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        assert_eq!(event.seq, events.len() as u64);
        events.push(event.kind);
    }
    events
}

fn names(events: &[AgentEventKind]) -> Vec<String> {
    let name = |event| serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned();
    events.iter().map(name).collect()
}

#[tokio::test]
async fn an_answer_is_quoted_from_the_source_and_cited_in_order() {
    let agent = RagAgent::new(Shelf::panthers_and_tea(), Arc::new(ExtractiveModel::new()));
    let input = AgentInput::new(TenantScope::local(), "How hot should green tea be?");
    let events = events(&agent, input, &RunContext::new()).await;
    assert_eq!(names(&events)[..5], ["started", "retrieved", "delta", "citation", "usage"].map(String::from));
    assert_eq!(events.last(), Some(&AgentEventKind::Done { outcome: Outcome::Answered }));

    let reply = agent.ask(&TenantScope::local(), "How hot should green tea be?").await.unwrap();
    assert!(reply.answer.starts_with("Green tea is best at 80 degrees."), "{}", reply.answer);
    for citation in &reply.citations {
        let source = &reply.sources[citation.number - 1];
        assert_eq!(source.passage.document_id, citation.document_id);
        let local = Span::new(citation.span.start - OFFSET, citation.span.end - OFFSET);
        assert_eq!(local.slice(&source.passage.text), Some(citation.quote.as_str()));
        assert!(
            reply.answer.contains(&format!("{} [{}]", citation.quote, citation.number)),
            "{}",
            reply.answer
        );
    }
}

#[tokio::test]
async fn what_the_sources_do_not_say_is_refused_without_a_citation() {
    for shelf in [Shelf::panthers_and_tea(), Shelf::new(Vec::new())] {
        let agent = RagAgent::new(shelf, Arc::new(ExtractiveModel::new()));
        for question in
            ["Which telescope photographed the black hole of Messier 87?", "Wer erfand den Buchdruck?"]
        {
            let reply = agent.ask(&TenantScope::local(), question).await.unwrap();
            assert_eq!((reply.answer.as_str(), reply.outcome), (REFUSAL, Outcome::Refused), "{question}");
            assert!(reply.citations.is_empty());
        }
    }
}

#[tokio::test]
async fn any_text_is_a_question() {
    let agent = RagAgent::new(Shelf::panthers_and_tea(), Arc::new(ExtractiveModel::new()));
    for question in ["the", "???", "field:(tea", "\u{202e}tea", &"tea ".repeat(10_000), "[1] [2"] {
        let reply = agent.ask(&TenantScope::local(), question).await.unwrap();
        assert_eq!(
            reply.answer.contains("tea is best"),
            question.contains("tea"),
            "{question:.20}: {}",
            reply.answer
        );
    }
    let empty = agent.ask(&TenantScope::local(), " \n").await.unwrap_err();
    assert!(empty.is_invalid_input());
}

#[tokio::test]
async fn markers_split_over_deltas_become_citations_of_the_supporting_sentence() {
    let model = Script::saying(&[
        "Norman intercepted four passes [",
        "1",
        "]. Black tea needs 95 degrees [2",
        "][7].",
    ]);
    let agent = RagAgent::new(Shelf::panthers_and_tea(), model);
    let events = events(&agent, AgentInput::new(TenantScope::local(), "what?"), &RunContext::new()).await;
    let cited: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            AgentEventKind::Citation(citation) => Some((citation.number, citation.quote.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(cited, [(1, "He intercepted four passes in 2015."), (2, "Black tea is best at 95 degrees.")]);
    let expected = "started retrieved delta delta delta citation delta citation usage done";
    assert_eq!(names(&events).join(" "), expected);
}

#[tokio::test]
async fn a_claim_in_other_words_cites_the_whole_passage() {
    let agent = RagAgent::new(Shelf::panthers_and_tea(), Script::saying(&["答案是四 [1]"]));
    let reply = agent.ask(&TenantScope::local(), "what?").await.unwrap();
    assert_eq!(reply.citations[0].quote, PANTHERS);
}

#[tokio::test]
async fn a_models_own_citations_are_checked() {
    let cite =
        |number, start, end| Ok(ChatEvent::Citation(PassageCitation { number, span: Span::new(start, end) }));
    let says = vec![
        Ok(ChatEvent::Delta { text: "Four.".into() }),
        cite(1, 0, 12),
        cite(1, 5, 5_000),
        cite(0, 0, 1),
        cite(9, 0, 1),
        cite(1, 12, 3),
        Ok(ChatEvent::Finished { reason: FinishReason::Length }),
    ];
    let agent = RagAgent::new(Shelf::panthers_and_tea(), Script::new(true, says));
    let reply = agent.ask(&TenantScope::local(), "what?").await.unwrap();
    assert_eq!(reply.outcome, Outcome::Truncated);
    let quotes: Vec<_> = reply.citations.iter().map(|c| (c.quote.as_str(), c.span)).collect();
    assert_eq!(quotes, [("The Panthers", Span::new(OFFSET, OFFSET + 12))]);
}

#[tokio::test]
async fn a_model_that_says_the_refusal_has_refused() {
    let agent = RagAgent::new(Shelf::panthers_and_tea(), Script::saying(&["The sources ", "do not say."]));
    let reply = agent.ask(&TenantScope::local(), "what?").await.unwrap();
    assert_eq!(reply.outcome, Outcome::Refused);
}

#[tokio::test]
async fn a_follow_up_sees_the_turn_before_and_no_other_session_does() {
    let (shelf, model, notes) =
        (Shelf::panthers_and_tea(), Script::saying(&["A corner [1]."]), Arc::new(Notes::default()));
    let agent = RagAgent::new(shelf.clone(), model.clone()).memory(notes);
    let ctx = RunContext::new();
    events(&agent, in_session("Who is Josh Norman?"), &ctx).await;
    events(&agent, in_session("How many passes did he intercept?"), &ctx).await;
    let other = in_session("How many passes did he intercept?").session(SessionId::new("other").unwrap());
    events(&agent, other, &ctx).await;

    let queries: Vec<_> = shelf.asked.lock().unwrap().iter().map(|request| request.text.clone()).collect();
    let [_, as_asked, follow_up, alone] = queries.as_slice() else { panic!("four searches: {queries:?}") };
    assert_eq!(as_asked, "How many passes did he intercept?");
    assert_eq!(follow_up, "How many passes did he intercept? Josh Norman");
    assert_eq!(alone, "How many passes did he intercept?");

    let asked = model.asked.lock().unwrap();
    let said: Vec<_> = asked[1].messages.iter().map(|m| (m.role, m.joined_text())).collect();
    assert_eq!(
        said[1..3],
        [(Role::User, "Who is Josh Norman?".into()), (Role::Assistant, "A corner.".into())]
    );
    assert_eq!(said[3].1, "How many passes did he intercept?");
    assert!(matches!(&asked[1].messages[3].parts[0], Part::Passages { passages } if passages.len() == 2));
    assert_eq!(asked[2].messages.len(), 2);
}

#[tokio::test]
async fn a_history_that_comes_with_the_message_counts_in_place_of_the_session() {
    let (model, ctx) = (Script::saying(&["A corner [1]."]), RunContext::new());
    let agent = RagAgent::new(Shelf::panthers_and_tea(), model.clone()).memory(Arc::new(Notes::default()));
    events(&agent, in_session("Who is Josh Norman?"), &ctx).await;
    let turns = vec![
        Message::system("Be kind."),
        Message::assistant("cut off"),
        Message::user("Who is Luke Kuechly?"),
        Message::assistant("A linebacker. [2]"),
    ];
    events(&agent, in_session("How many?").history(turns), &ctx).await;
    events(&agent, in_session("How many?").history(vec![Message::system("Be kind.")]), &ctx).await;
    let asked = model.asked.lock().unwrap().clone();
    let said = |at: usize| asked[at].messages[1..].iter().map(Message::joined_text).collect::<Vec<_>>();
    assert_eq!(said(1), ["Be kind.", "Who is Luke Kuechly?", "A linebacker.", "How many?"]);
    assert_eq!(
        said(2)[..3],
        ["Be kind.", "Who is Josh Norman?", "A corner."],
        "instructions replace nothing"
    );

    let long = in_session("How many?").history(vec![Message::system("word ".repeat(9_000))]);
    let refused = agent.run(long, &ctx).await.unwrap_err();
    assert!(refused.is_invalid_input() && refused.message().contains("2000 fit"), "{refused}");
}

#[tokio::test]
async fn the_extractive_model_understands_a_follow_up() {
    let agent = RagAgent::new(Shelf::panthers_and_tea(), Arc::new(ExtractiveModel::new()))
        .memory(Arc::new(Notes::default()));
    let ctx = RunContext::new();
    events(&agent, in_session("How hot should green tea be?"), &ctx).await;
    let reply = agent.run(in_session("And black?"), &ctx).await.unwrap().collect().await.unwrap();
    assert!(reply.answer.starts_with("Black tea is best at 95 degrees. [2]"), "{}", reply.answer);
}

#[tokio::test]
async fn a_failed_run_ends_in_an_error_event_and_is_not_remembered() {
    let says = vec![Ok(ChatEvent::Delta { text: "Well".into() }), Err(ErrorKind::Unavailable)];
    let notes = Arc::new(Notes::default());
    let agent = RagAgent::new(Shelf::panthers_and_tea(), Script::new(false, says)).memory(notes.clone());
    let events = events(&agent, in_session("what?"), &RunContext::new()).await;
    assert_eq!(names(&events), ["started", "retrieved", "delta", "error"]);
    assert!(matches!(events[3], AgentEventKind::Error { kind: ErrorKind::Unavailable, .. }));
    assert!(notes.sessions.lock().unwrap().is_empty());
}

#[tokio::test]
async fn cancelling_stops_a_model_that_never_answers() {
    let notes = Arc::new(Notes::default());
    let model = Script::new(false, vec![Err(ErrorKind::DeadlineExceeded)]);
    let agent = RagAgent::new(Shelf::panthers_and_tea(), model).memory(notes.clone());
    let ctx = RunContext::new();
    let mut stream = agent.run(in_session("what?"), &ctx).await.unwrap();
    stream.next().await.expect("started");
    stream.next().await.expect("retrieved");
    ctx.cancel();
    let last = stream.next().await.expect("an error").kind;
    assert!(matches!(last, AgentEventKind::Error { kind: ErrorKind::Cancelled, .. }), "{last:?}");
    assert!(stream.next().await.is_none());
    assert!(notes.sessions.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_and_the_budget_end_a_run() {
    let ctx = RunContext::new().with_timeout(std::time::Duration::from_secs(5));
    let agent =
        RagAgent::new(Shelf::panthers_and_tea(), Script::new(false, vec![Err(ErrorKind::DeadlineExceeded)]));
    let stopped = agent.run(in_session("what?"), &ctx).await.unwrap().collect().await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::DeadlineExceeded);

    let ctx = RunContext::new().with_token_budget(14);
    let agent = RagAgent::new(Shelf::panthers_and_tea(), Script::saying(&["Hm."]));
    let stopped = agent.run(in_session("what?"), &ctx).await.unwrap().collect().await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::BudgetExhausted);
}

#[tokio::test]
async fn the_extractive_model_is_deterministic_and_refuses_what_it_cannot_serve() {
    let model = ExtractiveModel::new();
    let ctx = RunContext::new();
    let passages = vec![passage("panthers", PANTHERS), passage("tea", TEA)];
    let question = Part::Text { text: "How many points did the Panthers defense give up?".into() };
    let message = Message { role: Role::User, parts: vec![Part::Passages { passages }, question] };
    let request = ChatRequest::new(vec![message]);
    let first = complete(&model, request.clone(), &ctx).await.unwrap();
    assert_eq!(first.finish_reason, FinishReason::Stop);
    assert!(first.text.contains("308 points") && first.usage.total() > 0);
    assert_eq!(complete(&model, request.clone(), &ctx).await.unwrap(), first);

    let none = model.stream(ChatRequest::new(vec![Message::system("x")]), &ctx).await.unwrap_err();
    assert!(none.is_invalid_input());
    ctx.cancel();
    assert!(model.stream(request, &ctx).await.unwrap_err().is_stopped());
}

/// Finds the passages with this cosine.
struct Scored(f32);

#[async_trait]
impl Retriever for Scored {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        let mut found = Shelf::panthers_and_tea().search(request, ctx).await?;
        for hit in &mut found.hits {
            let leg = LegExplanation { leg: Leg::Dense, rank: 1, score: self.0, contribution: self.0 };
            hit.explanation = Explanation::new(vec![leg], None);
        }
        Ok(found)
    }
}

#[tokio::test]
async fn too_little_support_is_refused_and_the_nearest_passages_are_cited() {
    let judge = Support::new(Arc::new(HashingEmbedder::new())).least(0.6);
    let agent = |cosine: f32| {
        let agent = RagAgent::new(Arc::new(Scored(cosine)), Arc::new(ExtractiveModel::new()));
        agent.support(judge.clone())
    };
    let ask = |agent: RagAgent, question: &'static str| async move {
        agent.ask(&TenantScope::local(), question).await.unwrap()
    };
    let doubtful = ask(agent(0.2), "How hot is the sun in summer?").await;
    assert_eq!(doubtful.outcome, Outcome::Refused);
    assert_eq!(doubtful.answer, "The sources do not say. The nearest passages: [1] [2]");
    let numbers: Vec<_> = doubtful.citations.iter().map(|citation| citation.number).collect();
    assert_eq!(numbers, [1, 2]);
    // A sentence that comes near makes up for a middling cosine, and a good cosine leaves the answer to the model.
    let supported = ask(agent(0.45), "How many points did the Panthers defense give up?").await;
    assert_eq!(supported.outcome, Outcome::Answered);
    let near = ask(agent(0.95), "How hot is the sun in summer?").await;
    assert_eq!((near.outcome, near.answer.as_str()), (Outcome::Refused, "The sources do not say."));
}

#[tokio::test]
async fn questions_whose_words_are_not_known_are_not_judged() {
    let ctx = RunContext::new();
    let request = SearchRequest::new(TenantScope::local(), "green tea");
    let found = Scored(0.4).search(&request, &ctx).await.unwrap();
    let judge = Support::new(Arc::new(HashingEmbedder::new()));
    let support = judge.of(&request, &found, &ctx).await.unwrap().unwrap();
    assert!((0.4..=1.7).contains(&support), "{support}");
    let foreign = Support::new(Arc::new(Foreign(HashingEmbedder::new())));
    assert_eq!(foreign.of(&request, &found, &ctx).await.unwrap(), None);
}

/// Knows hardly a word.
struct Foreign(HashingEmbedder);

#[async_trait]
impl Embedder for Foreign {
    fn identity(&self) -> &EmbedderIdentity {
        self.0.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.0.count_tokens(text)
    }

    fn familiarity(&self, _text: &str) -> f32 {
        0.2
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        self.0.embed(side, texts, ctx).await
    }
}

#[tokio::test]
async fn a_rewriter_of_ones_own_takes_the_place_of_the_usual_one() {
    let shelf = Shelf::panthers_and_tea();
    let model = Arc::new(ScriptedModel::saying("How hot should black tea be?"));
    let agent =
        RagAgent::new(shelf.clone(), Arc::new(ExtractiveModel::new())).memory(Arc::new(Notes::default()));
    let agent = agent.rewriter(Arc::new(ModelRewriter::new(model).own_weight(0.0)));
    let ctx = RunContext::new();
    events(&agent, in_session("How hot should green tea be?"), &ctx).await;
    events(&agent, in_session("And black?"), &ctx).await;
    events(&agent.without_rewriter(), in_session("And black?"), &ctx).await;
    let queries: Vec<_> = shelf.asked.lock().unwrap().iter().map(|request| request.text.clone()).collect();
    assert_eq!(queries, ["How hot should green tea be?", "How hot should black tea be?", "And black?"]);
}
