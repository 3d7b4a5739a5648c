//! `eval --answers`: what the agent's answers are worth, and whether retrieval's scores tell what cannot be answered.

use agentkit_core::{Result, SearchPlan};
use agentkit_rag::eval::{
    Abstention, AnswerFigures, AnswerOptions, Question, Refusals, Resampling, evaluate_abstention,
    evaluate_answers, evaluate_support,
};
use serde::Serialize;

use super::target::Target;
use crate::cli::Session;
use crate::cli::output::{Output, Unit};

/// Share of the answerable questions that a threshold may refuse.
const LOST: f64 = 0.1;

/// What is printed.
#[derive(Serialize)]
struct Figures {
    questions: usize,
    answers: AnswerFigures,
    abstention: Vec<Signal>,
    /// What refusing by the default threshold of support does, if there is a model to judge with.
    at_default: Option<Refusals>,
}

/// How well something tells answerable from unanswerable questions.
#[derive(Serialize)]
struct Signal {
    name: &'static str,
    auc: Option<f64>,
    refusals: Refusals,
}

pub(super) async fn measure(
    session: &Session,
    target: &Target,
    questions: &[Question],
    resampling: &Resampling,
) -> Result<()> {
    let progress = session.out.progress("answering", Unit::Items);
    let total = questions.len() as u64;
    let options = AnswerOptions::new(target.scope.clone())
        .on_progress(move |done| progress.set(done as u64, Some(total)));
    let report = evaluate_answers(&*target.agent, questions, &options, &session.ctx).await?;
    drop(options);
    let mut abstention: Vec<Signal> = Vec::new();
    abstention.push(signal("agent", &report.abstention()));
    if questions.iter().any(|question| !question.answerable) {
        for (name, plan) in [("top_cosine", SearchPlan::dense()), ("top_bm25", SearchPlan::lexical())] {
            let (retriever, scope) = (&*target.retriever, &target.scope);
            let scores = evaluate_abstention(retriever, questions, scope, &plan, &session.ctx).await?;
            abstention.push(signal(name, &scores));
        }
    }
    let mut at_default = None;
    if let Some(judge) = &target.support {
        let (retriever, scope) = (&*target.retriever, &target.scope);
        let supports = evaluate_support(retriever, judge, questions, scope, &session.ctx).await?;
        at_default = Some(supports.at(f64::from(judge.threshold())));
        abstention.push(signal("support", &supports));
    }
    let answers = report.figures(resampling);
    show(session.out, &Figures { questions: questions.len(), answers, abstention, at_default });
    Ok(())
}

fn signal(name: &'static str, scores: &Abstention) -> Signal {
    Signal { name, auc: scores.auc(), refusals: scores.at(scores.threshold(LOST)) }
}

fn show(out: Output, figures: &Figures) {
    out.object(&serde_json::json!({ "answers": figures }));
    out.line(format_args!("{} questions", figures.questions));
    for (name, value) in figures.answers.iter() {
        out.line(format_args!("{name:<22} {:.4}  [{:.4}, {:.4}]", value.mean, value.low, value.high));
    }
    for Signal { name, auc, refusals } in &figures.abstention {
        let Refusals { refused_unanswerable, refused_answerable, .. } = refusals;
        let auc = auc.map(|auc| format!("AUC {auc:.4}, ")).unwrap_or_default();
        out.line(format_args!(
            "{name:<22} {auc}refuses {refused_unanswerable:.4} of the unanswerable and \
             {refused_answerable:.4} of the answerable below {:.4}",
            refusals.threshold
        ));
    }
    if let Some(Refusals { threshold, refused_unanswerable, refused_answerable, .. }) = &figures.at_default {
        out.line(format_args!(
            "support below {threshold:.2}: {refused_unanswerable:.4} of the unanswerable, {refused_answerable:.4} of the \
             answerable"
        ));
    }
    out.line("");
}
