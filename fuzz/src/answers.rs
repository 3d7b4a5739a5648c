//! Answers of every kind of model server, of any bytes and however they are cut.

use agentkit_core::model::anthropic::codec::Messages;
use agentkit_core::model::ollama::codec::OllamaChat;
use agentkit_core::model::openai::codec::{ChatCompletions, parse_embeddings};
use agentkit_core::model::openai::responses::codec::Responses;
use agentkit_core::model::wire::{AnswerDecoder, Protocol, error_in_body, error_of_response};
use agentkit_core::{ChatEvent, ErrorKind};

type Events = Vec<Result<ChatEvent, ErrorKind>>;

/// Which server speaks, at which distance its bytes are cut, and what it says.
pub fn answer(data: &[u8]) {
    let Some(([server, distance], body)) = data.split_first_chunk() else { return };
    let distance = usize::from(*distance).max(1);
    match server % 5 {
        0 => decoded::<ChatCompletions>(body, distance),
        1 => decoded::<Responses>(body, distance),
        2 => decoded::<Messages>(body, distance),
        3 => decoded::<OllamaChat>(body, distance),
        _ => whole(body, distance),
    }
}

/// The cuts make no difference, and the last event is the only one that ends the answer.
fn decoded<P: Protocol>(body: &[u8], distance: usize) {
    let whole = events::<P>([body]);
    assert_eq!(events::<P>(body.chunks(distance)), whole, "cut every {distance} bytes");
    let ends = |event: &Result<_, _>| matches!(event, Err(_) | Ok(ChatEvent::Finished { .. }));
    let (last, others) = whole.split_last().expect("an answer ends");
    assert!(ends(last) && !others.iter().any(ends), "{whole:?}");
}

fn events<'b, P: Protocol>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Events {
    let mut decoder = AnswerDecoder::<P>::new();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        events.extend(std::iter::from_fn(|| decoder.next_event()));
    }
    decoder.finish();
    events.extend(std::iter::from_fn(|| decoder.next_event()));
    events.into_iter().map(|event| event.map_err(|error| error.kind())).collect()
}

/// Bodies that are not streamed: vectors, and the reports of errors.
fn whole(body: &[u8], vectors: usize) {
    if let Ok(parsed) = parse_embeddings(body, vectors, 2) {
        assert_eq!(parsed.len(), vectors);
    }
    for error in [Some(error_of_response(500, body, None)), error_in_body(body)].into_iter().flatten() {
        assert_ne!(error.kind(), ErrorKind::Internal, "{}", error.chain());
    }
}
