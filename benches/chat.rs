//! The local chat model on one thread: tokens a second of reading a prompt and of speaking.
//!
//! With `AGENTKIT_BENCH_LLAMA_CPP`, a folder with node-llama-cpp in it, llama.cpp answers the same prompts from the same file by
//! `benches/peers/llama_cpp.mjs`, round by round in turn, and ratios are printed.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use agentkit_core::{ChatEvent, ChatModel, ChatRequest, Message, RunContext};
use agentkit_rag::chat::{LocalChat, LocalOptions, Sampling};
use agentkit_rag::models::{ModelSpec, ModelStore, NoProgress};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const ROUNDS: usize = 7;
const SENTENCE: &str =
    "The quick brown fox jumps over the lazy dog near the river bank while the sun is setting. ";
/// Tokens of an answer.
const MOST: u32 = 128;

/// What a round of one side took.
#[derive(Debug, Clone, Copy)]
struct Round {
    read_per_second: f64,
    spoken_per_second: f64,
}

fn main() {
    if !benches::is_measuring() {
        return;
    }
    let runtime = Runtime::new().expect("a runtime starts");
    let folder = runtime.block_on(async {
        let store = ModelStore::from_env().expect("there is a cache");
        let fetched = store.fetch(&ModelSpec::smollm2(), &NoProgress, &RunContext::new()).await;
        fetched.expect("the model can be fetched")
    });
    let file = folder.join(ModelSpec::smollm2().files().first().expect("it has a file").path());
    let options = LocalOptions::default().sampling(Sampling::greedy());
    let model = runtime.block_on(LocalChat::load_with(&file, options)).expect("the model loads");
    println!("weights {} MB", model.weight_bytes() / 1_000_000);
    let mut peer =
        std::env::var_os("AGENTKIT_BENCH_LLAMA_CPP").map(|folder| Peer::start(Path::new(&folder), &file));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        ours.push(runtime.block_on(round(&model, number)));
        theirs.extend(peer.as_mut().map(|peer| peer.round(number)));
    }
    report(&ours, &theirs);
}

/// The two messages of a round; they begin differently, so that nothing read before is of use.
fn messages(number: usize) -> [String; 2] {
    let system = format!("{number}. You are a helpful AI assistant.");
    [system, format!("{}Write a long story about the fox.", SENTENCE.repeat(24))]
}

async fn round(model: &LocalChat, number: usize) -> Round {
    let [system, user] = messages(number);
    let mut request = ChatRequest::new(vec![Message::system(system), Message::user(user)]);
    request.max_tokens = Some(MOST);
    let start = Instant::now();
    let mut stream = model.stream(request, &RunContext::new()).await.expect("the request is accepted");
    let (mut first, mut usage) = (None, None);
    while let Some(event) = stream.next().await {
        match event.expect("the answer goes on") {
            ChatEvent::Delta { .. } => first = first.or_else(|| Some(start.elapsed())),
            ChatEvent::Usage(found) => usage = Some(found),
            _ => {}
        }
    }
    let (first, usage) = (first.expect("something is said"), usage.expect("usage is stated"));
    rates(
        usage.input_tokens,
        first.as_secs_f64(),
        usage.output_tokens,
        start.elapsed().saturating_sub(first).as_secs_f64(),
    )
}

/// The first spoken token comes with the end of reading.
#[expect(clippy::cast_precision_loss, reason = "rates to be read by people")]
fn rates(read: u64, reading: f64, spoken: u64, speaking: f64) -> Round {
    let spoken = spoken.saturating_sub(1) as f64;
    Round { read_per_second: read as f64 / reading, spoken_per_second: spoken / speaking }
}

/// llama.cpp in a process of its own.
struct Peer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(folder: &Path, file: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/llama_cpp.mjs");
        let mut node = Command::new("node");
        node.arg(script).arg(folder).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = node.spawn().expect("node starts");
        let input = process.stdin.take().expect("it was asked for");
        let output = BufReader::new(process.stdout.take().expect("it was asked for"));
        Self { process, input, output }
    }

    fn round(&mut self, number: usize) -> Round {
        let [system, user] = messages(number);
        let prompt = format!(
            "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
        );
        writeln!(self.input, "{}", json!({"prompt": prompt, "tokens": MOST})).expect("the peer listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the peer answers");
        let found: Value = serde_json::from_str(&line).expect("the peer answers in JSON");
        let count = |name: &str| found.get(name).and_then(Value::as_u64).expect("a count");
        let seconds = |name: &str| found.get(name).and_then(Value::as_f64).expect("a time");
        rates(count("tokens"), seconds("read"), count("said"), seconds("speak"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends by itself when its input does; one that does not is of no use to anybody.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn report(ours: &[Round], theirs: &[Round]) {
    for (what, rate) in [
        ("read", (|round: &Round| round.read_per_second) as fn(&Round) -> f64),
        ("spoken", |round: &Round| round.spoken_per_second),
    ] {
        let own = median_and_best(ours, rate);
        println!("agentkit: {what} tokens/s, median {:.1}, best {:.1}", own.0, own.1);
        if theirs.is_empty() {
            println!("no peer: it needs AGENTKIT_BENCH_LLAMA_CPP");
            continue;
        }
        let peer = median_and_best(theirs, rate);
        println!("llama.cpp: {what} tokens/s, median {:.1}, best {:.1}", peer.0, peer.1);
        println!("  ratio at the median {:.2}, at the best {:.2}", own.0 / peer.0, own.1 / peer.1);
    }
}

/// Median and largest.
fn median_and_best(rounds: &[Round], rate: fn(&Round) -> f64) -> (f64, f64) {
    let mut rates: Vec<f64> = rounds.iter().map(rate).collect();
    rates.sort_unstable_by(f64::total_cmp);
    let at = |at: usize| rates.get(at).copied().unwrap_or(f64::NAN);
    (at(rates.len() / 2), at(rates.len().saturating_sub(1)))
}
