//! The interface of OpenAI: models, chats and vectors, whole and in a stream, and its own form of errors.

use agentkit_core::Role as Speaker;
use agentkit_server::identity::Role;
use axum::body::Body;
use axum::http::Method;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::identity::Guarded;
use crate::support::{Answer, Service, request};

const COMPLETIONS: &str = "/v1/chat/completions";
const EMBEDDINGS: &str = "/v1/embeddings";

/// A question to the default collection with these members besides.
#[expect(clippy::needless_pass_by_value, reason = "it is given what a macro has just made")]
fn question(more: Value) -> String {
    let mut body = json!({"model": "default", "messages": [{"role": "user", "content": "how hot?"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

/// Checks that this is an error in OpenAI's form, and gives its message.
#[track_caller]
fn error(answer: &Answer, status: u16, kind: &str, code: &str, param: Option<&str>) -> String {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-request-id").len(), 32);
    let document = answer.json();
    assert_eq!(document.as_object().unwrap().len(), 1, "{document}");
    let error = &document["error"];
    assert_eq!((&error["type"], &error["code"]), (&kind.into(), &code.into()), "{error}");
    assert_eq!(error["param"].as_str(), param, "{error}");
    error["message"].as_str().unwrap().to_owned()
}

/// The chunks of a stream, which must end in order.
fn chunks(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/event-stream"));
    let mut data: Vec<&str> = answer.body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.pop(), Some("[DONE]"), "{}", answer.body);
    data.iter().map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_chat_is_answered_whole_with_its_citations_and_tokens() {
    let service = Service::new();
    let answer = service.post(COMPLETIONS, &question(json!({"temperature": 0.2, "made_up": [1]}))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let reply = answer.json();
    assert_eq!((&reply["object"], &reply["model"]), (&"chat.completion".into(), &"default".into()));
    assert_eq!(reply["id"], format!("chatcmpl-{}", answer.header("x-request-id")));
    assert!(reply["created"].as_u64().unwrap() > 1_700_000_000);
    let choice = &reply["choices"][0];
    assert_eq!((&choice["index"], &choice["finish_reason"]), (&0.into(), &"stop".into()));
    assert_eq!(choice["message"]["content"], "At 80\ndegrees [1]");
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["citations"][0]["quote"], "80 degrees.");
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
    assert_eq!(reply["usage"], usage);
}

#[tokio::test]
async fn a_streamed_chat_says_the_same_in_chunks() {
    let service = Service::new();
    for told in [false, true] {
        let more = json!({"stream": true, "stream_options": {"include_usage": told}});
        let mut chunks = chunks(&service.post(COMPLETIONS, &question(more)).await);
        let id = chunks[0]["id"].clone();
        for chunk in &chunks {
            assert_eq!((&chunk["object"], &chunk["id"]), (&"chat.completion.chunk".into(), &id));
            assert_eq!(chunk.as_object().unwrap().contains_key("usage"), told, "{chunk}");
        }
        if told {
            let last = chunks.pop().unwrap();
            assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &7.into()));
        }
        assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
        let deltas = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
        assert_eq!(deltas.collect::<String>(), "At 80\ndegrees [1]");
        let cited: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["citations"]).collect();
        assert_eq!(cited.iter().filter(|cited| cited[0]["quote"] == "80 degrees.").count(), 1, "{cited:?}");
        let ends: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]).collect();
        assert_eq!(ends.iter().position(|end| **end == "stop"), Some(chunks.len() - 1), "{ends:?}");
    }
}

#[tokio::test]
async fn the_messages_of_the_request_are_the_conversation() {
    let service = Service::new();
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "what is tea?"}, {"type": "text", "text": "green"}], "name": "ann"},
        {"role": "assistant", "content": "A drink. [1]", "tool_calls": []},
        {"role": "assistant", "content": null},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "how hot?"},
    ]);
    let answer = service.post(COMPLETIONS, &question(json!({ "messages": messages }))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let asked = service.doubles.agent.asked.lock().unwrap();
    let input = asked.last().unwrap();
    assert_eq!((input.message.as_str(), &input.session), ("how hot?", &None));
    let said: Vec<_> = input.history.iter().map(|said| (said.role, said.joined_text())).collect();
    let expected = [
        (Speaker::System, "Be brief."),
        (Speaker::User, "what is tea?\ngreen"),
        (Speaker::Assistant, "A drink. [1]"),
        (Speaker::System, "Be kind."),
    ];
    assert_eq!(said, expected.map(|(role, text)| (role, text.to_owned())));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_name_and_what_does_no_harm_is_accepted() {
    let service = Service::new();
    let tool = json!([{"type": "function", "function": {"name": "now", "parameters": {}}}]);
    for (more, param) in [
        (json!({ "tools": tool }), "tools"),
        (json!({"functions": [{"name": "now"}]}), "functions"),
        (json!({"n": 2}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"response_format": {"type": "json_object"}}), "response_format"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
    ] {
        let answer = service.post(COMPLETIONS, &question(more)).await;
        error(&answer, 400, "invalid_request_error", "unsupported_parameter", Some(param));
    }
    for more in [
        json!({"tools": [], "functions": [], "n": 1, "logprobs": false, "modalities": ["text"]}),
        json!({"tools": tool, "tool_choice": "none", "response_format": {"type": "text"}}),
        json!({"user": "ann", "seed": 1, "stop": ["x"], "store": false, "max_tokens": 5, "metadata": {}}),
    ] {
        assert_eq!(service.post(COMPLETIONS, &question(more)).await.status, 200);
    }
}

#[tokio::test]
async fn chats_that_are_no_chats_are_refused_in_openais_form() {
    let service = Service::new();
    let image = json!([{"type": "image_url", "image_url": {"url": "data:,"}}]);
    for (messages, param, part) in [
        (json!([]), "messages", "user's question"),
        (json!([{"role": "assistant", "content": "x"}]), "messages", "user's question"),
        (json!([{"role": "user", "content": image}]), "messages[0].content[0]", "text only"),
        (json!([{"role": "user", "content": [{}]}]), "messages[0].content[0]", "no type"),
        (json!([{"role": "user", "content": 1}]), "messages[0].content", "must be a text"),
        (json!([{"role": "bard", "content": "x"}]), "messages[0]", "unknown role"),
        (json!([{"role": "tool", "content": "x"}]), "messages[0]", "no tool_call_id"),
        (json!([{"role": "tool", "content": "x", "tool_call_id": "1"}]), "messages", "user's question"),
        (json!([{"role": "function", "content": "x"}]), "messages[0]", "older form"),
    ] {
        let answer = service.post(COMPLETIONS, &question(json!({ "messages": messages }))).await;
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.json()["error"]["param"], param, "{message}");
        assert!(answer.status == 400 && message.contains(part), "{message}");
    }
    let long = vec![json!({"role": "user", "content": "x"}); 1_002];
    for (body, part) in [
        (String::new(), "object"),
        (r#"{"model":"default","messages":"#.to_owned(), "EOF"),
        (r#"{"messages":[{"role":"user","content":"x"}]}"#.to_owned(), "missing field `model`"),
        (question(json!({"messages": [{"role": "user", "content": ""}]})), "empty"),
        (question(json!({"messages": [{"role": "user", "content": "a\u{0}"}]})), "NUL"),
        (question(json!({"messages": [{"role": "user", "content": "x".repeat(65 << 10)}]})), "at most 65536"),
        (question(json!({ "messages": long })), "1000 are allowed"),
        (question(json!({"filter": {"equals": {}}})), "unknown variant"),
    ] {
        let answer = service.post(COMPLETIONS, &body).await;
        let message = error(&answer, 400, "invalid_request_error", "invalid_input", None);
        assert!(message.contains(part), "{message}");
    }
    let huge = question(json!({"user": "x".repeat(2 << 20)}));
    error(&service.post(COMPLETIONS, &huge).await, 413, "invalid_request_error", "too_large", None);
    let form = request(Method::POST, COMPLETIONS, "text/plain", "x");
    error(&service.send(form).await, 415, "invalid_request_error", "unsupported_media_type", None);
    error(&service.get(COMPLETIONS).await, 405, "invalid_request_error", "method_not_allowed", None);
    error(&service.get("/v1/nowhere").await, 404, "invalid_request_error", "not_found", None);
}

#[tokio::test]
async fn what_fails_is_an_error_before_the_start_and_a_member_of_the_stream_after_it() {
    let service = Service::new();
    let saying = |text: &str, stream: bool| {
        question(json!({"messages": [{"role": "user", "content": text}], "stream": stream}))
    };
    for body in [saying("refuse", true), saying("refuse", false), saying("fail", false)] {
        error(&service.post(COMPLETIONS, &body).await, 503, "server_error", "unavailable", None);
    }
    error(&service.post(COMPLETIONS, &saying("panic", false)).await, 500, "server_error", "internal", None);
    let stream = service.post(COMPLETIONS, &saying("fail", true)).await;
    assert_eq!(stream.status, 200);
    let last = stream.events().pop().unwrap();
    assert_eq!(
        (&last["error"]["code"], &last["error"]["message"]),
        (&"unavailable".into(), &"the model went away".into())
    );
    assert!(!stream.body.contains("[DONE]"), "{}", stream.body);
}

#[tokio::test]
async fn models_are_the_collections_that_the_credential_may_use() {
    let guarded = Guarded::new();
    let (ann, zoe) = (guarded.key("acme", Role::Editor).await, guarded.key("zoo", Role::Editor).await);
    let put = |path: &str| request(Method::PUT, path, "text/plain", "green");
    for path in ["/documents/tea?collection=manuals", "/documents/tea?collection=news"] {
        assert_eq!(guarded.send(&ann, put(path)).await.status, 200);
    }
    let bob = guarded
        .key_for("acme", Role::User, |spec| {
            spec.collections = Some([agentkit_core::CollectionName::new("news").unwrap()].into());
        })
        .await;
    let embedding = "agentkit/hashing";
    for (key, expected) in [
        (&ann, vec!["default", "manuals", "news", embedding]),
        (&bob, vec!["news", embedding]),
        (&zoe, vec!["default", embedding]),
    ] {
        let listed = guarded.get(key, "/v1/models").await.json();
        let ids: Vec<&str> =
            listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected);
        for id in expected {
            let model = guarded.get(key, &format!("/v1/models/{id}")).await.json();
            assert_eq!((&model["id"], &model["object"]), (&id.into(), &"model".into()));
        }
    }
    let ask = |model: &str| {
        request(Method::POST, COMPLETIONS, "application/json", question(json!({ "model": model })))
    };
    assert_eq!(guarded.send(&ann, ask("manuals")).await.status, 200);
    assert_eq!(guarded.send(&bob, ask("news")).await.status, 200);
    for (key, model) in
        [(&ann, "gpt-5"), (&bob, "manuals"), (&bob, "default"), (&zoe, "manuals"), (&ann, "../up")]
    {
        let refused = guarded.send(key, ask(model)).await;
        error(&refused, 404, "invalid_request_error", "model_not_found", Some("model"));
    }
    let refused = guarded.get(&zoe, "/v1/models/manuals").await;
    error(&refused, 404, "invalid_request_error", "model_not_found", Some("model"));
    let nobody = guarded.service.get("/v1/models").await;
    error(&nobody, 401, "authentication_error", "unauthorized", None);
    assert!(nobody.header("www-authenticate").starts_with("Bearer"));
    let auditor = guarded.key("acme", Role::Auditor).await;
    error(&guarded.get(&auditor, "/v1/models").await, 403, "permission_error", "forbidden", None);
}

#[tokio::test]
async fn vectors_are_the_same_as_numbers_and_in_base64() {
    let service = Service::new();
    let ask = async |more: Value| {
        let mut body = json!({"model": "agentkit/hashing", "input": ["green tea", "a lamp"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service.post(EMBEDDINGS, &body.to_string()).await
    };
    let numbers = ask(json!({})).await.json();
    assert_eq!((&numbers["object"], &numbers["model"]), (&"list".into(), &"agentkit/hashing".into()));
    assert_eq!(numbers["usage"], json!({"prompt_tokens": 4, "total_tokens": 4}));
    let packed = ask(json!({"encoding_format": "base64", "dimensions": 64.0})).await.json();
    for at in 0..2 {
        let floats: Vec<f32> = serde_json::from_value(numbers["data"][at]["embedding"].clone()).unwrap();
        let text = packed["data"][at]["embedding"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let unpacked: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        assert_eq!((floats.len(), &floats, &numbers["data"][at]["index"]), (64, &unpacked, &at.into()));
        assert!((floats.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-3);
    }
    let one = ask(json!({"input": "green tea", "input_type": "query"})).await.json();
    assert_eq!(one["data"].as_array().unwrap().len(), 1);

    for (more, code, param) in [
        (json!({"input": [1, 2]}), "unsupported_parameter", "input"),
        (json!({"input": [[1, 2], [3]]}), "unsupported_parameter", "input"),
        (json!({"dimensions": 8}), "unsupported_parameter", "dimensions"),
        (json!({"input": []}), "invalid_input", "input"),
        (json!({"input": ""}), "invalid_input", "input"),
        (json!({"input": {}}), "invalid_input", "input"),
        (json!({"input": [null]}), "invalid_input", "input"),
        (json!({"input": vec!["x"; 2049]}), "invalid_input", "input"),
        (json!({"encoding_format": "int8"}), "invalid_input", "encoding_format"),
        (json!({"input_type": "song"}), "invalid_input", "input_type"),
    ] {
        error(&ask(more).await, 400, "invalid_request_error", code, Some(param));
    }
    error(
        &ask(json!({"model": "default"})).await,
        404,
        "invalid_request_error",
        "model_not_found",
        Some("model"),
    );
}

#[tokio::test]
async fn rates_and_budgets_hold_here_too() {
    let mut limits = agentkit_server::http::Limits::default();
    limits.rates.user_tokens_per_day = Some(5);
    let service = Service::within(limits);
    let body = json!({"model": "agentkit/hashing", "input": "one two three four five six"}).to_string();
    error(&service.post(EMBEDDINGS, &body).await, 422, "invalid_request_error", "budget_exhausted", None);
    for (path, body) in [(EMBEDDINGS, body), (COMPLETIONS, question(json!({})))] {
        let refused = service.post(path, &body).await;
        error(&refused, 429, "rate_limit_error", "rate_limited", None);
        assert!(!refused.header("retry-after").is_empty());
    }
    let free = service.send(request(Method::GET, "/v1/models", "", Body::empty())).await;
    assert_eq!(free.status, 200);
}

const RESPONSES: &str = "/v1/responses";

#[expect(clippy::needless_pass_by_value, reason = "it is given what a macro has just made")]
fn response(more: Value) -> String {
    let mut body = json!({"model": "default", "input": "how hot?"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test]
async fn a_response_is_the_answer_with_its_citations_as_annotations() {
    let service = Service::new();
    let answer = service.post(RESPONSES, &response(json!({"temperature": 1, "made_up": [1]}))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let reply = answer.json();
    assert_eq!((&reply["object"], &reply["status"]), (&"response".into(), &"completed".into()));
    let id = reply["id"].as_str().unwrap();
    assert!(id.starts_with("resp_") && id.contains(answer.header("x-request-id")), "{id}");
    let item = &reply["output"][0];
    assert_eq!(
        (&item["type"], &item["role"], &item["status"]),
        (&"message".into(), &"assistant".into(), &"completed".into())
    );
    let part = &item["content"][0];
    assert_eq!((&part["type"], &part["text"]), (&"output_text".into(), &"At 80\ndegrees [1]".into()));
    let cited = &part["annotations"][0];
    assert_eq!(
        (&cited["type"], &cited["url"], &cited["title"]),
        (&"url_citation".into(), &"/documents/tea".into(), &"Tea".into())
    );
    assert_eq!((&cited["start_index"], &cited["end_index"]), (&14.into(), &17.into()));
    assert_eq!(cited["citation"]["quote"], "80 degrees.");
    assert_eq!((&reply["usage"]["input_tokens"], &reply["usage"]["total_tokens"]), (&3.into(), &7.into()));
}

#[tokio::test]
async fn a_streamed_response_has_the_events_in_order_and_ends_as_the_whole_one() {
    let service = Service::new();
    let stream = service.post(RESPONSES, &response(json!({"stream": true}))).await;
    let events = chunks(&stream);
    let names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names, expected.map(|name| format!("response.{name}")));
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at);
        assert!(stream.body.contains(&format!("event: {}\n", names[at])));
    }
    let deltas = events.iter().filter_map(|event| event["delta"].as_str()).collect::<String>();
    assert_eq!((deltas.as_str(), &events[7]["text"]), ("At 80\ndegrees [1]", &"At 80\ndegrees [1]".into()));
    let mut last = events.last().unwrap()["response"].clone();
    let mut whole = service.post(RESPONSES, &response(json!({}))).await.json();
    for response in [&mut last, &mut whole] {
        for changing in ["id", "created_at", "completed_at"] {
            response[changing].take();
        }
        response["output"][0]["id"].take();
    }
    assert_eq!(last, whole);

    let failing = response(json!({"input": "fail", "stream": true}));
    let events = chunks(&service.post(RESPONSES, &failing).await);
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&"response.failed".into(), &"failed".into()));
    assert_eq!(last["response"]["error"]["message"], "the model went away");
    let whole = service.post(RESPONSES, &response(json!({"input": "fail"}))).await;
    error(&whole, 503, "server_error", "unavailable", None);
}

#[tokio::test]
async fn a_response_continues_a_conversation_or_the_messages_of_its_input() {
    let service = Service::new();
    for name in [json!("talk"), json!({"id": "talk"})] {
        let body = response(json!({"conversation": name, "instructions": "Be brief."}));
        let reply = service.post(RESPONSES, &body).await.json();
        assert_eq!(reply["conversation"]["id"], "talk", "{reply}");
        assert_eq!(reply["instructions"], "Be brief.");
    }
    assert_eq!(service.get("/sessions/talk").await.json()["messages"].as_array().unwrap().len(), 4);
    let input = json!([
        {"role": "user", "content": "what is tea?"},
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A drink."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "how hot?"}]},
    ]);
    assert_eq!(service.post(RESPONSES, &response(json!({ "input": input }))).await.status, 200);
    let asked = service.doubles.agent.asked.lock().unwrap();
    let said: Vec<String> =
        asked.last().unwrap().history.iter().map(agentkit_core::Message::joined_text).collect();
    assert_eq!(said, ["what is tea?", "A drink."]);
    assert_eq!(asked[0].history[0].role, Speaker::System);
}

#[tokio::test]
async fn responses_that_cannot_be_had_are_refused_by_name() {
    let service = Service::new();
    let tool = json!([{"type": "web_search"}]);
    let image = json!([{"role": "user", "content": [{"type": "input_image"}]}]);
    for (more, code, param) in [
        (json!({ "tools": tool }), "unsupported_parameter", "tools"),
        (json!({"previous_response_id": "resp_1"}), "previous_response_not_found", "previous_response_id"),
        (
            json!({"previous_response_id": "resp_1", "conversation": "a"}),
            "invalid_input",
            "previous_response_id",
        ),
        (json!({"metadata": {"a": "x".repeat(513)}}), "invalid_input", "metadata"),
        (json!({"background": true}), "unsupported_parameter", "background"),
        (json!({"text": {"format": {"type": "json_schema"}}}), "unsupported_parameter", "text"),
        (json!({"input": [{"type": "function_call_output"}]}), "invalid_input", "input[0]"),
        (json!({"input": [{"type": "web_search_call"}]}), "unsupported_parameter", "input[0]"),
        (json!({ "input": image }), "unsupported_parameter", "input[0].content[0]"),
        (json!({"input": []}), "invalid_input", "input"),
        (json!({"input": 1}), "invalid_input", "input"),
        (json!({"input": [1]}), "invalid_input", "input[0]"),
        (json!({"conversation": 1}), "invalid_input", "conversation"),
        (json!({"conversation": ""}), "invalid_input", "conversation"),
    ] {
        error(
            &service.post(RESPONSES, &response(more)).await,
            400,
            "invalid_request_error",
            code,
            Some(param),
        );
    }
    for more in [
        json!({"tools": tool, "tool_choice": "none"}),
        json!({"tools": [], "text": {"format": {"type": "text"}}}),
    ] {
        assert_eq!(service.post(RESPONSES, &response(more)).await.status, 200);
    }
    let unknown = service.post(RESPONSES, &response(json!({"model": "gpt-5"}))).await;
    error(&unknown, 404, "invalid_request_error", "model_not_found", Some("model"));
}

#[tokio::test]
async fn a_response_is_kept_continued_and_deleted() {
    let service = Service::new();
    let ask = async |more: Value| service.post(RESPONSES, &response(more)).await.json();
    let first = ask(json!({"metadata": {"who": "me"}, "instructions": "Be brief."})).await;
    assert_eq!((&first["store"], &first["metadata"]["who"]), (&true.into(), &"me".into()));
    assert!(first["completed_at"].as_u64() >= first["created_at"].as_u64(), "{first}");
    let path = format!("{RESPONSES}/{}", first["id"].as_str().unwrap());
    assert_eq!(service.get(&path).await.json(), first);

    let second = json!({"previous_response_id": first["id"], "input": "and then?", "stream": true});
    let stream = service.post(RESPONSES, &response(second)).await;
    let second = chunks(&stream).pop().unwrap()["response"].clone();
    assert_eq!(second["previous_response_id"], first["id"]);
    assert_eq!(service.get(&format!("{RESPONSES}/{}", second["id"].as_str().unwrap())).await.json(), second);
    let third = ask(json!({"previous_response_id": second["id"], "input": "really?", "store": false})).await;
    let heard = |at: usize| -> Vec<String> {
        let asked = service.doubles.agent.asked.lock().unwrap();
        asked[at].history.iter().map(agentkit_core::Message::joined_text).collect()
    };
    let answer = "At 80\ndegrees [1]";
    assert_eq!(heard(1), ["how hot?", answer], "instructions are not carried over");
    assert_eq!(heard(2), ["how hot?", answer, "and then?", answer]);
    assert_eq!(third["store"], false);
    let missing = service.get(&format!("{RESPONSES}/{}", third["id"].as_str().unwrap())).await;
    error(&missing, 404, "invalid_request_error", "not_found", None);

    let delete = || request(Method::DELETE, &path, "", Body::empty());
    let deleted = service.send(delete()).await.json();
    assert_eq!(deleted, json!({"id": first["id"], "object": "response", "deleted": true}));
    error(&service.send(delete()).await, 404, "invalid_request_error", "not_found", None);
    let gone = service.post(RESPONSES, &response(json!({"previous_response_id": first["id"]}))).await;
    error(&gone, 400, "invalid_request_error", "previous_response_not_found", Some("previous_response_id"));
    ask(json!({"previous_response_id": second["id"]})).await;
    assert_eq!(heard(3), ["and then?", answer], "what is deleted is not said any more");
    for broken in [json!({"input": "fail"}), json!({"input": "fail", "stream": true})] {
        service.post(RESPONSES, &response(broken)).await;
    }
    let export = service.get("/me/export").await.body;
    assert_eq!(export.matches(r#""type":"response""#).count(), 2, "what failed is not kept: {export}");
}

#[tokio::test]
async fn responses_are_their_askers_alone_and_bounded_in_number() {
    let guarded = Guarded::new();
    let (ann, bob) = (guarded.key("acme", Role::User).await, guarded.key("acme", Role::User).await);
    let ask = || request(Method::POST, RESPONSES, "application/json", response(json!({})));
    let mut ids = Vec::new();
    for _ in 0..201 {
        ids.push(guarded.send(&ann, ask()).await.json()["id"].as_str().unwrap().to_owned());
    }
    let path = |id: &str| format!("{RESPONSES}/{id}");
    let mut kept = 0;
    for id in &ids {
        kept += usize::from(guarded.get(&ann, &path(id)).await.status == 200);
    }
    assert_eq!(kept, 200);
    let id = ids.last().unwrap();
    let theirs = guarded.get(&bob, &path(id)).await;
    error(&theirs, 404, "invalid_request_error", "not_found", None);
    let delete = request(Method::DELETE, &path(id), "", Body::empty());
    error(&guarded.send(&bob, delete).await, 404, "invalid_request_error", "not_found", None);
    let body = response(json!({"previous_response_id": id}));
    let gone = guarded.send(&bob, request(Method::POST, RESPONSES, "application/json", body)).await;
    error(&gone, 400, "invalid_request_error", "previous_response_not_found", Some("previous_response_id"));
    assert_eq!(guarded.get(&ann, &path(id)).await.status, 200);
}

/// Members that the Open Responses specification asks of every response, and what they are.
const REQUIRED: [(&str, &str); 29] = [
    ("id", "text"),
    ("object", "text"),
    ("created_at", "number"),
    ("completed_at", "number"),
    ("status", "text"),
    ("incomplete_details", "null"),
    ("model", "text"),
    ("previous_response_id", "null"),
    ("instructions", "null"),
    ("output", "list"),
    ("error", "null"),
    ("tools", "list"),
    ("tool_choice", "text"),
    ("truncation", "text"),
    ("parallel_tool_calls", "bool"),
    ("text", "object"),
    ("top_p", "number"),
    ("presence_penalty", "number"),
    ("frequency_penalty", "number"),
    ("top_logprobs", "number"),
    ("temperature", "number"),
    ("reasoning", "null"),
    ("usage", "object"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("store", "bool"),
    ("background", "bool"),
    ("service_tier", "text"),
    ("metadata", "object"),
];

#[tokio::test]
async fn a_response_has_every_member_of_open_responses() {
    let service = Service::new();
    let whole = service.post(RESPONSES, &response(json!({}))).await.json();
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    for (name, wanted) in REQUIRED {
        let member = whole.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(kind(member), wanted, "{name}");
    }
    assert_eq!(
        (whole.get("safety_identifier"), whole.get("prompt_cache_key")),
        (Some(&Value::Null), Some(&Value::Null))
    );
    let events = chunks(&service.post(RESPONSES, &response(json!({"stream": true}))).await);
    let begun = &events[0]["response"];
    assert_eq!((&begun["status"], &begun["completed_at"]), (&"in_progress".into(), &Value::Null));
    assert!(REQUIRED.iter().all(|(name, _)| begun.get(name).is_some()), "{begun}");
}
