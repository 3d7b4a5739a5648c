//! What the agent that uses tools does, step by step.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_core::testing::conformance::{self, AgentFixture};
use agentkit_core::testing::{EchoTool, ScriptedModel, ScriptedTurn, WindowMemory};
use agentkit_core::{
    Agent, AgentEventKind, ChatRequest, Error, ErrorKind, ExternalTool, Filter, FunctionTool, Handling,
    Memory, MemoryCheckpointer, Message, ModelInfo, Observation, Outcome, RequestPatch, Result, Retriever,
    Role, RunContext, RunLimits, SearchRequest, SessionId, SessionKey, TenantScope, Tool, ToolAction,
    ToolAgent, ToolPolicy, ToolSpec, Usage,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::tooling::*;

#[tokio::test]
async fn tool_agents_conform() {
    let memory = Arc::new(WindowMemory::new());
    let model = Arc::new(ScriptedModel::saying("hello to you"));
    let log = Arc::default();
    let agent = ToolAgent::builder(model).tool(Arc::new(greet(&log))).memory(memory.clone()).build().unwrap();
    let fixture = AgentFixture::new(Arc::new(agent), TenantScope::local()).memory(memory);
    conformance::agent(&fixture).await;
}

#[tokio::test]
async fn function_tools_conform() {
    conformance::tool(&greet(&Arc::default()), json!({"name": "Ada"})).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_calls_tools_side_by_side_and_tells_their_results_in_order() {
    let (model, log) = (
        model([
            asks([
                call("a", "greet", json!({"name": "Ada", "ms": 300})),
                call("b", "greet", json!({"name": "Bob", "ms": 100})),
                call("c", "greet", json!({"name": "Cleo", "ms": 200})),
            ]),
            ScriptedTurn::text("all greeted"),
        ]),
        Arc::<Log>::default(),
    );
    let agent = ToolAgent::builder(model.clone())
        .tool(Arc::new(greet(&log)))
        .parallel_tools(2)
        .instructions("Be kind.")
        .build()
        .unwrap();
    let begun = Instant::now();
    let events = events(&agent, &RunContext::new()).await;
    well_formed(&events);
    valid_requests(&model);
    assert_eq!(begun.elapsed().as_millis(), 300, "two at a time: 300 beside 100 and 200");
    assert_eq!(log.most_open.load(Ordering::SeqCst), 2);
    assert_eq!(log.names(), ["Ada", "Bob", "Cleo"]);
    assert_eq!(contents(&events), ["hello Ada", "hello Bob", "hello Cleo"]);
    assert_eq!(told(&model), ["hello Ada", "hello Bob", "hello Cleo"]);
    let usage = AgentEventKind::Usage(Usage { input_tokens: 2, output_tokens: 3 });
    assert!(events.contains(&usage), "{events:?}");
    assert_eq!(events.last(), Some(&AgentEventKind::Done { outcome: Outcome::Answered }));
    let requests = model.requests();
    assert_eq!(requests[0].messages, [Message::system("Be kind."), Message::user("greet everybody")]);
    assert_eq!(requests[0].tools.len(), 1);
}

#[tokio::test]
async fn what_is_said_before_and_after_tools_is_set_apart() {
    let turn = asks([call("a", "greet", json!({"name": "Ada"}))]);
    let said = agentkit_core::ChatEvent::Delta { text: "Let me see.".into() };
    let speaking = ScriptedTurn::events([
        said,
        agentkit_core::ChatEvent::ToolCall(call("a", "greet", json!({"name": "Ada"}))),
    ])
    .then(agentkit_core::ChatEvent::Finished { reason: agentkit_core::FinishReason::ToolCalls });
    let model = model([turn, speaking, ScriptedTurn::text("Done.")]);
    let reply = agent(&model, [greet(&Arc::default())]).ask(&TenantScope::local(), "hi").await.unwrap();
    assert_eq!(reply.answer, "Let me see.\n\nDone.");
}

#[tokio::test]
async fn what_a_model_gets_wrong_goes_back_to_it_and_is_not_run() {
    let log = Arc::<Log>::default();
    let model = model([
        asks([
            call("a", "greet", json!({"nam": "Ada"})),
            call("b", "greet", json!({"name": "Bob", "ms": 10_001})),
            call("c", "greet", json!("{\"name\": ")),
            call("d", "greeet", json!({"name": "Dan"})),
            call("e", "greet", json!({"name": "Eve"})),
        ]),
        ScriptedTurn::text("sorry"),
    ]);
    let events = events(&agent(&model, [greet(&log)]), &RunContext::new()).await;
    well_formed(&events);
    let contents = contents(&events);
    assert!(contents[0].contains("\"name\" is a required property"), "{contents:?}");
    assert!(contents[1].contains("at /ms: 10001 is greater than"), "{contents:?}");
    assert!(contents[2].contains("the arguments are no JSON object"), "{contents:?}");
    assert!(contents[3].contains("no tool \"greeet\"; the tools are: greet"), "{contents:?}");
    assert_eq!(log.names(), ["Eve"]);
    assert_eq!(told(&model), contents);
    let errors: Vec<bool> = results(&events).iter().map(|result| result.is_error).collect();
    assert_eq!(errors, [true, true, true, true, false]);
}

fn failing(error: fn() -> Error, policy: ToolPolicy) -> FunctionTool {
    let tool = FunctionTool::new("fail", "Fails.", move |_: Named, _| async move { Err::<(), _>(error()) });
    tool.policy(policy)
}

#[tokio::test]
async fn errors_for_the_model_and_errors_that_stop_the_run_are_distinct() {
    let unavailable = || Error::new(ErrorKind::Unavailable, "the post office is closed");
    let tell = ToolPolicy::new().telling_failures();
    for (tool, is_told) in [
        (failing(|| Error::invalid_input("no such street"), ToolPolicy::new()), true),
        (failing(|| Error::not_found("no such street"), ToolPolicy::new()), true),
        (failing(unavailable, tell), true),
        (failing(unavailable, ToolPolicy::new()), false),
        (
            FunctionTool::new("fail", "Panics.", |_: Named, _| async {
                if true { panic!("oh no") } else { Ok(()) }
            }),
            false,
        ),
    ] {
        let model = model([
            asks([call("a", "fail", json!({"name": "x"})), call("b", "fail", json!({"name": "y"}))]),
            ScriptedTurn::text("well"),
        ]);
        let events = events(&agent(&model, [tool]), &RunContext::new()).await;
        well_formed(&events);
        assert_eq!(matches!(events.last(), Some(AgentEventKind::Done { .. })), is_told, "{events:?}");
        assert!(results(&events).iter().all(|result| result.is_error));
        if !is_told {
            let (_, message) = failure(&events);
            assert!(message.starts_with("tool \"fail\" failed: "), "{message}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_takes_too_long_is_dropped_and_the_model_told() {
    let log = Arc::<Log>::default();
    let slow = greet(&log).policy(ToolPolicy::new().timeout(Duration::from_millis(50)));
    let turn = asks([call("a", "greet", json!({"name": "Ada", "ms": 5000}))]);
    let model = model([turn, ScriptedTurn::text("too slow")]);
    let begun = Instant::now();
    let events = events(&agent(&model, [slow]), &RunContext::new()).await;
    assert_eq!(begun.elapsed().as_millis(), 50);
    assert_eq!(log.open.load(Ordering::SeqCst), 0);
    assert_eq!(
        contents(&events),
        ["tool \"greet\" did not return within 50 ms; it may or may not have taken effect"]
    );
    assert_eq!(events.last(), Some(&AgentEventKind::Done { outcome: Outcome::Answered }));
}

#[tokio::test]
async fn a_long_result_is_cut_between_characters() {
    let tool = FunctionTool::new("long", "Says much.", |_: Named, _| async { Ok("é".repeat(100)) });
    let model = model([asks([call("a", "long", json!({"name": "x"}))]), ScriptedTurn::text("ok")]);
    let agent = ToolAgent::builder(model.clone()).tool(Arc::new(tool)).result_bytes(21).build().unwrap();
    events(&agent, &RunContext::new()).await;
    assert_eq!(told(&model), [format!("{}\n[180 more bytes are not shown]", "é".repeat(10))]);
}

#[tokio::test(start_paused = true)]
async fn every_limit_ends_the_run_with_its_reason_and_complete_usage() {
    let again = || asks([call("a", "greet", json!({"name": "Ada", "ms": 400}))]);
    for (limits, kind, reason) in [
        (RunLimits::new().steps(2), ErrorKind::BudgetExhausted, "limit of 2 model calls"),
        (RunLimits::new().tool_calls(1), ErrorKind::BudgetExhausted, "more than 1 tool calls"),
        (RunLimits::new().tokens(4), ErrorKind::BudgetExhausted, "limit of 4 tokens"),
        (
            RunLimits::new().time(Duration::from_millis(600)),
            ErrorKind::DeadlineExceeded,
            "time limit of 600 ms",
        ),
    ] {
        let model = model([again(), again(), again()]);
        let agent = ToolAgent::builder(model.clone())
            .tool(Arc::new(greet(&Arc::default())))
            .limits(limits)
            .build()
            .unwrap();
        let events = events(&agent, &RunContext::new()).await;
        well_formed(&events);
        let (found, message) = failure(&events);
        assert!(found == kind && message.contains(reason), "{found:?}: {message}");
        let usage = AgentEventKind::Usage(Usage { input_tokens: 2, output_tokens: 2 });
        assert!(events.contains(&usage), "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_falls_silent_or_fails_ends_the_run() {
    let half = agentkit_core::ChatEvent::Delta { text: "half an".into() };
    let gone = || Error::new(ErrorKind::Unavailable, "the connection was reset");
    for (turn, kind, reason) in [
        (
            ScriptedTurn::events([half.clone()]).then_hang(),
            ErrorKind::Unavailable,
            "said nothing for 1000 ms",
        ),
        (
            ScriptedTurn::events([half.clone()]).then_fail(gone()),
            ErrorKind::Unavailable,
            "connection was reset",
        ),
        (ScriptedTurn::refuse(gone()), ErrorKind::Unavailable, "connection was reset"),
        (ScriptedTurn::events([half]), ErrorKind::Internal, "without a finish reason"),
        (ScriptedTurn::text(""), ErrorKind::Unavailable, "no answer"),
    ] {
        let model = model([turn]);
        let agent = ToolAgent::builder(model.clone()).idle_timeout(Duration::from_secs(1)).build().unwrap();
        let events = events(&agent, &RunContext::new()).await;
        well_formed(&events);
        let (found, message) = failure(&events);
        assert!(found == kind && message.contains(reason), "{found:?}: {message}");
        assert_eq!(model.open_streams(), 0);
    }
}

#[tokio::test]
async fn the_budget_of_the_context_stops_the_run_and_is_shared_by_tools() {
    let spender = FunctionTool::new("spend", "Spends.", |_: Named, ctx: RunContext| async move {
        let _ = ctx.spend_tokens(50);
        Ok("spent")
    });
    let model = model([asks([call("a", "spend", json!({"name": "x"}))]), ScriptedTurn::text("never said")]);
    let events = events(&agent(&model, [spender]), &RunContext::new().with_token_budget(40)).await;
    well_formed(&events);
    assert_eq!(failure(&events).0, ErrorKind::BudgetExhausted);
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn hooks_patch_requests_and_decide_about_calls() {
    let (model, log) = (
        model([greets(&["run", "rewrite", "skip"]), greets(&["run", "stop", "rest"])]),
        Arc::<Log>::default(),
    );
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let observed = Arc::clone(&seen);
    let agent = ToolAgent::builder(model.clone())
        .tool(Arc::new(greet(&log)))
        .before_model(|_: ChatRequest, _| async {
            let mut patch = RequestPatch::default();
            patch.instructions = Some("Greet politely.".into());
            patch.temperature = Some(0.5);
            Ok(patch)
        })
        .before_tool(|call: agentkit_core::ToolCall, _| async move {
            Ok(match call.arguments["name"].as_str().unwrap() {
                "rewrite" => ToolAction::Rewrite(json!({"name": "somebody else"})),
                "skip" => ToolAction::Skip("no need".into()),
                "stop" => ToolAction::Stop("that is enough".into()),
                _ => ToolAction::Run,
            })
        })
        .observe(move |observation| {
            let name = match observation {
                Observation::ModelAnswered { response } => format!("model {}", response.tool_calls.len()),
                Observation::ToolReturned { result } => format!("tool {}", result.content),
                Observation::Ended { totals, .. } => format!("ended after {}", totals.steps),
                _ => "unknown".into(),
            };
            observed.lock().unwrap().push(name);
        })
        .build()
        .unwrap();
    let events = events(&agent, &RunContext::new()).await;
    well_formed(&events);
    assert_eq!(log.names(), ["run", "somebody else"], "a step is decided before anything of it is run");
    assert_eq!(contents(&events)[..3], ["hello run", "hello somebody else", "no need"]);
    assert_eq!(failure(&events), (ErrorKind::InvalidInput, "a hook stopped the run: that is enough".into()));
    let request = &model.requests()[0];
    assert_eq!((request.messages[0].role, request.temperature), (Role::System, Some(0.5)));
    assert_eq!(model.requests()[1].messages.iter().filter(|m| m.role == Role::System).count(), 1);
    let seen = seen.lock().unwrap().clone();
    assert_eq!((seen[0].as_str(), seen[3].as_str()), ("model 3", "tool no need"));
    assert_eq!(seen.last().unwrap(), "ended after 2");
}

#[tokio::test]
async fn a_hook_cannot_break_the_rules() {
    let log = Arc::<Log>::default();
    let build = || ToolAgent::builder(model([greets(&["a"])])).tool(Arc::new(greet(&log)));
    let wrong = build().before_tool(|_, _| async { Ok(ToolAction::Rewrite(json!({"name": 1}))) });
    let dangling = build().before_model(|request: ChatRequest, _| async move {
        let mut patch = RequestPatch::default();
        patch.messages = Some(vec![Message { role: Role::Tool, parts: request.messages[0].parts.clone() }]);
        Ok(patch)
    });
    let failing =
        build().before_tool(|_, _| async { Err(Error::new(ErrorKind::Unavailable, "policy server")) });
    let approving = build().before_tool(|_, _| async { Ok(ToolAction::Approve) });
    // Whoever approves is not asked about what a later hook stops.
    let stopping = build()
        .checkpoints(Arc::new(MemoryCheckpointer::new()))
        .before_tool(|_, _| async { Ok(ToolAction::Approve) })
        .before_tool(|_, _| async { Ok(ToolAction::Stop("not that".into())) });
    for (builder, kind) in [
        (wrong, ErrorKind::InvalidInput),
        (dangling, ErrorKind::InvalidInput),
        (failing, ErrorKind::Unavailable),
        (approving, ErrorKind::Unsupported),
        (stopping, ErrorKind::InvalidInput),
    ] {
        let events = events(&builder.build().unwrap(), &RunContext::new()).await;
        well_formed(&events);
        assert_eq!(failure(&events).0, kind);
    }
    assert!(log.names().is_empty());
}

#[tokio::test]
async fn a_history_that_comes_with_the_message_counts_in_place_of_the_session() {
    let (memory, ctx) = (Arc::new(WindowMemory::new()), RunContext::new());
    let key = SessionKey::new(TenantScope::local(), SessionId::new("s").unwrap());
    memory.append(&key, vec![Message::user("old"), Message::assistant("older")], &ctx).await.unwrap();
    let told = async |history: Vec<Message>| {
        let model = Arc::new(ScriptedModel::saying("hello"));
        let agent = ToolAgent::builder(model.clone()).memory(memory.clone()).build().unwrap();
        let input = input().session(key.session().clone()).history(history);
        agent.run(input, &ctx).await?.collect().await?;
        let request = model.requests().pop().unwrap();
        Ok::<_, agentkit_core::Error>(request.messages.iter().map(Message::joined_text).collect::<Vec<_>>())
    };
    let turns = vec![
        Message::assistant("cut off"),
        Message::user("new"),
        Message::system("be kind"),
        Message::assistant("newer"),
    ];
    assert_eq!(told(turns).await.unwrap(), ["be kind", "new", "newer", "greet everybody"]);
    let only_said = told(vec![Message::system("be kind")]).await.unwrap();
    assert_eq!(only_said[..3], ["be kind", "old", "older"], "instructions take the place of nothing");
    for wrong in
        [Message::user(" "), Message::text(Role::Tool, "x"), Message { role: Role::User, parts: Vec::new() }]
    {
        assert!(told(vec![wrong]).await.unwrap_err().is_invalid_input());
    }
    let many = vec![Message::user("x"); agentkit_core::MAX_HISTORY_MESSAGES + 1];
    assert!(told(many).await.unwrap_err().message().contains("1000"));
}

#[tokio::test]
async fn conversations_are_recalled_and_remembered() {
    let memory = Arc::new(WindowMemory::new());
    let model = model([greets(&["Ada"]), ScriptedTurn::text("greeted"), ScriptedTurn::text("as I said")]);
    let agent = ToolAgent::builder(model.clone())
        .tool(Arc::new(greet(&Arc::default())))
        .memory(memory.clone())
        .instructions("Be kind.")
        .build()
        .unwrap();
    let session = SessionId::new("s").unwrap();
    for _ in 0..2 {
        agent
            .run(input().session(session.clone()), &RunContext::new())
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
    }
    let texts = |messages: &[Message]| messages.iter().map(Message::joined_text).collect::<Vec<_>>();
    assert_eq!(
        texts(&model.requests()[2].messages),
        ["Be kind.", "greet everybody", "greeted", "greet everybody"]
    );
    let key = SessionKey::new(TenantScope::local(), session);
    let kept = memory.recall(&key, 10, &RunContext::new()).await.unwrap();
    assert_eq!(texts(&kept), ["greet everybody", "greeted", "greet everybody", "as I said"]);
}

struct Anything(ToolSpec);

#[async_trait::async_trait]
impl Tool for Anything {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    fn policy(&self) -> &ToolPolicy {
        const { &ToolPolicy::new() }
    }

    async fn call(&self, arguments: Value, _ctx: &RunContext) -> Result<Value> {
        Ok(arguments)
    }
}

#[tokio::test]
async fn an_agent_that_cannot_work_is_not_built() {
    let build = |tools: Vec<Arc<dyn Tool>>| ToolAgent::builder(model([])).tools(tools).build();
    let any = |name: &str, parameters: Value| -> Arc<dyn Tool> {
        Arc::new(Anything(ToolSpec { name: name.into(), description: "Takes anything.".into(), parameters }))
    };
    let object = json!({"type": "object"});
    assert!(build(vec![any("a", object.clone()), any("b", object.clone())]).is_ok());
    let external = ExternalTool::new(any("a", object.clone()).spec().clone());
    let approved = greet(&Arc::default()).policy(ToolPolicy::new().handling(Handling::Approve));
    let many: Vec<(Vec<Arc<dyn Tool>>, &str)> = vec![
        (vec![any("two words", object.clone())], "letters, digits"),
        (vec![any("a", json!({"type": "string"}))], "no schema of an object"),
        (vec![any("a", json!({"type": "object", "properties": 7}))], "cannot be used"),
        (vec![any("a", json!({"type": "object", "$ref": "https://example.com/x.json"}))], "cannot be used"),
        (vec![any("a", object.clone()), any("a", object.clone())], "two tools are named"),
        (vec![Arc::new(external)], "needs a checkpointer"),
        (vec![Arc::new(approved)], "needs a checkpointer"),
    ];
    for (tools, expected) in many {
        let error = build(tools).unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains(expected), "{error:?}");
    }
    let plain = ScriptedModel::saying("x").described(ModelInfo::new("agentkit", "without tools", 100));
    let error = ToolAgent::builder(Arc::new(plain)).tool(any("a", object)).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_filter_is_refused_where_no_tool_can_heed_it_and_reaches_tools_of_the_run() {
    let plain = agent(&model([]), []);
    let filtered = input().filter(Filter::eq("lang", "en"));
    let refused = plain.run(filtered.clone(), &RunContext::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);

    let retriever = Arc::new(agentkit_core::testing::MemoryRetriever::new());
    conformance::ingest_fixture(&retriever).unwrap();
    let made_with = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&made_with);
    let turn = asks([call("a", "search", json!({"name": "router"}))]);
    let bound = ToolAgent::builder(model([turn, ScriptedTurn::text("found")]))
        .tools_for_each_run(move |input| {
            seen.lock().unwrap().push(input.filter.clone());
            let (retriever, scope, filter) = (retriever.clone(), input.scope.clone(), input.filter.clone());
            let search = move |what: Named, ctx: RunContext| {
                let (retriever, mut request) =
                    (retriever.clone(), SearchRequest::new(scope.clone(), what.name));
                request.filter.clone_from(&filter);
                async move { Ok(retriever.search(&request, &ctx).await?.matches) }
            };
            let tool: Arc<dyn Tool> = Arc::new(FunctionTool::new("search", "Searches.", search));
            Ok(vec![tool])
        })
        .build()
        .unwrap();
    let events = events_of(bound.run(filtered, &RunContext::new()).await.unwrap()).await;
    assert_eq!(contents(&events), ["0"], "the scope of the run has no documents");
    assert_eq!(*made_with.lock().unwrap(), [Some(Filter::eq("lang", "en"))]);
}

#[tokio::test]
async fn a_tool_made_for_a_run_waits_for_nobody_without_a_store() {
    let waits = greet(&Arc::default()).policy(ToolPolicy::new().handling(Handling::Approve));
    let agent = ToolAgent::builder(model([greets(&["a"])]))
        .tools_for_each_run(move |_| Ok(vec![Arc::new(waits.clone()) as Arc<dyn Tool>]))
        .build()
        .unwrap();
    let error = agent.run(input(), &RunContext::new()).await.unwrap().collect().await.unwrap_err();
    assert!(error.is_invalid_input() && error.message().contains("needs a checkpointer"), "{error}");
}

#[tokio::test]
async fn typed_tools_keep_their_policy() {
    let policy = ToolPolicy::new().telling_failures();
    let tool = EchoTool::erased().policy(policy);
    assert_eq!(Tool::policy(&tool), &policy);
}
