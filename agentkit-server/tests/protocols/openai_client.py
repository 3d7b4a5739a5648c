"""The official clients of OpenAI against a running service: python openai_client.py BASE_URL KEY.

Ends with status 0 if every check holds. With langchain-openai installed its clients are checked as well.
"""

import asyncio
import json
import sys

import openai

ANSWER = "At 80\ndegrees [1]"
MODEL, VECTORS = "default", "agentkit/hashing"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "weather_in", "description": "The weather of a city.", "parameters": CITY},
}


def says(text):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def raises(kind, code, call):
    try:
        call()
    except kind as error:
        assert error.code == code, (error.code, error)
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def models(client):
    assert [model.id for model in client.models.list()] == [MODEL, VECTORS]
    assert client.models.retrieve(VECTORS).owned_by == "agentkit"
    raises(openai.NotFoundError, "model_not_found", lambda: client.models.retrieve("gpt-5"))


def chat(client):
    whole = client.chat.completions.create(model=MODEL, messages=says("how hot?"), temperature=0.1, seed=3)
    choice = whole.choices[0]
    assert (choice.message.content, choice.finish_reason) == (ANSWER, "stop"), whole
    assert whole.usage.total_tokens == 7 and whole._request_id in whole.id
    assert choice.message.citations[0]["quote"] == "80 degrees."

    stream = client.chat.completions.create(
        model=MODEL, messages=says("how hot?"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == ANSWER
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 4

    # The helper that gathers a stream is stricter about its form.
    with client.chat.completions.stream(model=MODEL, messages=says("how hot?")) as events:
        for _ in events:
            pass
        assert events.get_final_completion().choices[0].message.content == ANSWER


def refusals(client, base):
    def ask(**more):
        return client.chat.completions.create(**{"model": MODEL, "messages": says("x"), **more})

    # The agent of the test hands tools on for one question only.
    refused = raises(openai.BadRequestError, "unsupported_parameter", lambda: ask(tools=[TOOL]))
    assert refused.param == "tools"
    raises(openai.NotFoundError, "model_not_found", lambda: ask(model="gpt-5"))
    raises(openai.BadRequestError, "invalid_input", lambda: ask(messages=says("")))
    raises(openai.InternalServerError, "unavailable", lambda: ask(messages=says("refuse")))
    raises(openai.APIError, "unavailable", lambda: list(ask(messages=says("fail"), stream=True)))
    stranger = openai.OpenAI(base_url=base, api_key="agk_wrong", max_retries=0)
    raises(openai.AuthenticationError, "unauthorized", stranger.models.list)


def tools(client):
    messages = [{"role": "user", "content": "weather"}]
    reply = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
    calls = reply.choices[0].message.tool_calls
    assert (reply.choices[0].finish_reason, len(calls)) == ("tool_calls", 2), reply
    assert json.loads(calls[0].function.arguments) == {"city": "Oslo"}
    # The helper that gathers a stream puts the pieces of calls together.
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=[TOOL]) as events:
        for _ in events:
            pass
        gathered = events.get_final_completion().choices[0].message
    assert [call.function.arguments for call in gathered.tool_calls] == [c.function.arguments for c in calls]
    messages.append(reply.choices[0].message)
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "snow"} for call in calls]
    end = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
    assert (end.choices[0].message.content, end.choices[0].finish_reason) == (ANSWER + "; snow, snow", "stop")

    tool = {"type": "function", "strict": False, **TOOL["function"]}
    first = client.responses.create(model=MODEL, input="weather", tools=[tool])
    called = [item for item in first.output if item.type == "function_call"]
    assert [call.name for call in called] == ["weather_in"] * 2, first
    with client.responses.stream(model=MODEL, input="weather", tools=[tool]) as events:
        for _ in events:
            pass
        streamed = events.get_final_response().output
    assert [item.type for item in streamed] == [item.type for item in first.output]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "snow"} for call in called]
    end = client.responses.create(model=MODEL, input=results, tools=[tool], previous_response_id=first.id)
    assert end.output_text == ANSWER + "; snow, snow", end


def vectors(client):
    packed = client.embeddings.create(model=VECTORS, input=["green tea", "a lamp"])
    plain = client.embeddings.create(model=VECTORS, input=["green tea", "a lamp"], encoding_format="float")
    for one, other in zip(packed.data, plain.data):
        assert len(one.embedding) == 64
        assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding))
    raises(
        openai.BadRequestError,
        "unsupported_parameter",
        lambda: client.embeddings.create(model=VECTORS, input=[1, 2, 3]),
    )


def responses(client):
    whole = client.responses.create(model=MODEL, input="how hot?", instructions="Be brief.")
    assert (whole.output_text, whole.status) == (ANSWER, "completed"), whole
    note = whole.output[0].content[0].annotations[0]
    assert (note.type, note.url, note.citation["quote"]) == ("url_citation", "/documents/tea", "80 degrees.")
    assert whole.usage.total_tokens == 7

    kinds, text = [], ""
    for event in client.responses.create(model=MODEL, input="how hot?", stream=True):
        kinds.append(type(event).__name__)
        text += event.delta if event.type == "response.output_text.delta" else ""
    assert text == ANSWER and kinds[0] == "ResponseCreatedEvent" and kinds[-1] == "ResponseCompletedEvent", kinds

    # The helper that gathers a stream is stricter about its form.
    with client.responses.stream(model=MODEL, input="how hot?") as events:
        for _ in events:
            pass
        assert events.get_final_response().output_text == ANSWER

    talk = client.responses.create(model=MODEL, input="how hot?", conversation="talk")
    assert talk.conversation.id == "talk"
    failed = list(client.responses.create(model=MODEL, input="fail", stream=True))[-1]
    assert (failed.type, failed.response.error.message) == ("response.failed", "the model went away")
    more = client.responses.create(model=MODEL, input="and then?", previous_response_id=whole.id)
    assert (more.output_text, more.previous_response_id) == (ANSWER, whole.id), more
    assert client.responses.retrieve(more.id).output_text == ANSWER
    client.responses.delete(whole.id)
    raises(openai.NotFoundError, "not_found", lambda: client.responses.retrieve(whole.id))
    raises(
        openai.BadRequestError,
        "previous_response_not_found",
        lambda: client.responses.create(model=MODEL, input="x", previous_response_id=whole.id),
    )


async def side_by_side(base, key):
    async with openai.AsyncOpenAI(base_url=base, api_key=key) as client:
        asked = [client.chat.completions.create(model=MODEL, messages=says("how hot?")) for _ in range(8)]
        assert {reply.choices[0].message.content for reply in await asyncio.gather(*asked)} == {ANSWER}
        # A stream that is left early.
        async for _ in await client.chat.completions.create(model=MODEL, messages=says("hang"), stream=True):
            break


def langchain(base, key):
    try:
        from langchain_core.messages import HumanMessage, ToolMessage
        from langchain_openai import ChatOpenAI, OpenAIEmbeddings
    except ImportError:
        print("skipped: langchain-openai is not installed")
        return
    model = ChatOpenAI(model=MODEL, base_url=base, api_key=key)
    assert model.invoke("how hot?").content == ANSWER
    assert "".join(chunk.content for chunk in model.stream("how hot?")) == ANSWER
    newer = ChatOpenAI(model=MODEL, base_url=base, api_key=key, use_responses_api=True)
    assert newer.invoke("how hot?").text == ANSWER
    for able in (model, newer):
        called = able.bind_tools([TOOL]).invoke("weather")
        assert [call["args"] for call in called.tool_calls] == [{"city": "Oslo"}, {"city": "Bergen"}], called
        results = [ToolMessage("snow", tool_call_id=call["id"]) for call in called.tool_calls]
        end = able.bind_tools([TOOL]).invoke([HumanMessage("weather"), called, *results])
        assert end.text == ANSWER + "; snow, snow", end
    embeddings = OpenAIEmbeddings(
        model=VECTORS, base_url=base, api_key=key, check_embedding_ctx_length=False
    )
    assert len(embeddings.embed_query("green tea")) == 64
    print("checked: langchain-openai")


def main():
    base, key = sys.argv[1:]
    client = openai.OpenAI(base_url=base, api_key=key, max_retries=0)
    models(client)
    chat(client)
    refusals(client, base)
    tools(client)
    vectors(client)
    responses(client)
    asyncio.run(side_by_side(base, key))
    langchain(base, key)
    print("checked: openai", openai.__version__)


main()
