//! How good the extractive answers are on real questions; needs the data sets, named by `AGENTKIT_DATASETS`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use agentkit_core::{
    ChatRequest, ChatResponse, FinishReason, Message, Part, Passage, Role, RunContext, complete,
};
use agentkit_rag::answer::ExtractiveModel;
use serde_json::Value;

use crate::answer::passage;

struct Question {
    text: String,
    answers: Vec<String>,
    context: String,
    answerable: bool,
}

struct Set {
    passages: HashMap<String, Passage>,
    ids: Vec<String>,
    questions: Vec<Question>,
}

#[expect(clippy::disallowed_methods, reason = "the one place of the tests that reads this name")]
fn datasets() -> Option<PathBuf> {
    let folder =
        std::env::var("AGENTKIT_DATASETS").ok().filter(|folder| !folder.is_empty()).map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: AGENTKIT_DATASETS does not name a folder of data sets");
    }
    folder
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line is a record")).collect()
}

impl Set {
    fn load(folder: &Path) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut passages = HashMap::new();
        let mut ids = Vec::new();
        for record in records(&folder.join("corpus.jsonl")) {
            let id = text(&record["_id"]);
            let mut passage = passage(&id, &text(&record["text"]));
            passage.title = Some(text(&record["title"]));
            passages.insert(id.clone(), passage);
            ids.push(id);
        }
        let question = |record: Value| Question {
            text: text(&record["question"]),
            answers: record["answers"].as_array().into_iter().flatten().map(text).collect(),
            context: text(&record["context_id"]),
            answerable: record["answerable"].as_bool().unwrap_or(true),
        };
        let questions = records(&folder.join("questions.jsonl")).into_iter().map(question).collect();
        Self { passages, ids, questions }
    }

    /// The question's own passage at a place that varies, among others.
    fn around(&self, number: usize, with_own: bool) -> Vec<Passage> {
        let question = &self.questions[number];
        let others = (1..).map(|step| &self.ids[(number * 7919 + step * 31) % self.ids.len()]);
        let mut chosen: Vec<&String> = others.filter(|id| **id != question.context).take(4).collect();
        if with_own {
            chosen.insert(number % 5, &question.context);
        }
        chosen.into_iter().filter_map(|id| self.passages.get(id).cloned()).collect()
    }
}

async fn ask(question: &str, passages: &[Passage]) -> ChatResponse {
    let parts = vec![Part::Passages { passages: passages.to_vec() }, Part::Text { text: question.into() }];
    let request = ChatRequest::new(vec![Message { role: Role::User, parts }]);
    complete(&ExtractiveModel::new(), request, &RunContext::new()).await.expect("an answer or a refusal")
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * f64::from(u32::try_from(part).unwrap()) / f64::from(u32::try_from(whole.max(1)).unwrap())
}

struct Figures {
    in_answer: f64,
    in_cited: f64,
    refused: f64,
    refused_without: f64,
}

async fn measure(folder: &Path) -> Figures {
    let set = Set::load(folder);
    let (mut count, mut in_answer, mut in_cited, mut refused, mut refused_without) = (0, 0, 0, 0, 0);
    let begun = std::time::Instant::now();
    for (number, question) in set.questions.iter().enumerate().filter(|(_, question)| question.answerable) {
        count += 1;
        let passages = set.around(number, true);
        let reply = ask(&question.text, &passages).await;
        for citation in &reply.citations {
            let quote =
                citation.span.slice(&passages[citation.number - 1].text).expect("a span of the passage");
            assert!(reply.text.contains(quote));
        }
        let cited: Vec<&str> = reply.citations.iter().map(|c| passages[c.number - 1].text.as_str()).collect();
        let has = |text: &str| question.answers.iter().any(|answer| text.contains(answer.as_str()));
        in_answer += usize::from(has(&reply.text));
        in_cited += usize::from(cited.iter().any(|text| has(text)));
        refused += usize::from(reply.finish_reason == FinishReason::Refused);
        let without = ask(&question.text, &set.around(number, false)).await;
        refused_without += usize::from(without.finish_reason == FinishReason::Refused);
    }
    let figures = Figures {
        in_answer: percent(in_answer, count),
        in_cited: percent(in_cited, count),
        refused: percent(refused, count),
        refused_without: percent(refused_without, count),
    };
    println!(
        "{}: {count} questions: gold in answer {:.1} %, in cited passages {:.1} %, refused {:.1} %, refused without \
         the passage {:.1} %, {:.2} ms an answer",
        folder.display(),
        figures.in_answer,
        figures.in_cited,
        figures.refused,
        figures.refused_without,
        begun.elapsed().as_secs_f64() * 1000.0 / f64::from(u32::try_from(2 * count).unwrap()),
    );
    figures
}

#[tokio::test]
async fn answers_hold_what_was_asked_for() {
    let Some(datasets) = datasets() else { return };
    for (set, answer, cited, refused) in
        [("en", 85.0, 95.0, 3.0), ("de", 80.0, 92.0, 6.0), ("es", 80.0, 92.0, 6.0), ("zh", 80.0, 92.0, 6.0)]
    {
        let figures = measure(&datasets.join("xquad").join(set)).await;
        assert!(figures.in_answer >= answer, "{set}: gold in answer");
        assert!(figures.in_cited >= cited, "{set}: gold in cited passages");
        assert!(figures.refused <= refused, "{set}: refused");
        assert!(figures.refused_without >= 50.0, "{set}: refused without the passage");
    }
}

#[tokio::test]
async fn questions_of_another_topic_are_refused_more_than_those_the_passages_answer() {
    let Some(datasets) = datasets() else { return };
    let set = Set::load(&datasets.join("clapnq"));
    let (mut answerable, mut unanswerable) = ((0, 0), (0, 0));
    for (number, question) in set.questions.iter().enumerate() {
        let reply = ask(&question.text, &set.around(number, true)).await;
        let tally = if question.answerable { &mut answerable } else { &mut unanswerable };
        tally.0 += usize::from(reply.finish_reason == FinishReason::Refused);
        tally.1 += 1;
    }
    let (right, wrong) = (percent(unanswerable.0, unanswerable.1), percent(answerable.0, answerable.1));
    println!(
        "clapnq: refused {right:.1} % of {} unanswerable and {wrong:.1} % of {} answerable",
        unanswerable.1, answerable.1
    );
    assert!(wrong <= 5.0 && right >= wrong);
}
