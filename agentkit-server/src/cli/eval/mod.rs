//! `eval`: how well the right documents are found and questions answered, with intervals, tests and a gate.

mod answers;
mod arguments;
mod around;
mod chunking;
mod files;
mod rewriting;
mod show;
mod target;

use std::process::ExitCode;

use agentkit_core::{Error, Result, Retriever, TenantScope};
use agentkit_rag::eval::{
    Dataset, EvalOptions, Gate, Metric, NamedPlan, Report, Resampling, Run, RunReport, Scores, evaluate,
    sweep,
};

pub(super) use self::arguments::Arguments;
use self::arguments::{Conditions, Method};
use self::target::Target;
use super::output::Unit;
use super::{Session, signals};

/// The exit code of an evaluation that ran but did not reach what was asked of it.
const GATE_MISSED: u8 = 3;
/// The run that a gate is about, if it was measured.
const GATED: &str = "hybrid";

pub(super) async fn run(session: Session, arguments: Box<Arguments>) -> Result<ExitCode> {
    signals::cancel_when_stopped(&session.ctx);
    if let Some(folder) = &arguments.input.chunking {
        let cut = arguments.input.chunker.unwrap_or_default();
        chunking::run(&session, folder, cut, &arguments.method).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let resampling = Resampling::default().seed(arguments.method.seed);
    if let Some(file) = &arguments.input.rewriting {
        rewriting::measure(&session, file, arguments.around.rewriter, &resampling).await?;
        if !arguments.input.is_named() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let dataset = arguments.input.dataset()?;
    let questions = if arguments.answers { arguments.input.questions()? } else { Vec::new() };
    let mut report = Report::new(resampling);
    let metrics = metrics(&arguments);
    if arguments.searches() {
        let target = Target::open(&session, &arguments.target, &dataset).await?;
        if arguments.measures_retrieval() {
            let in_conversation = arguments.input.has_conversations();
            let retriever = arguments.around.put(target.retriever.clone(), &session, in_conversation).await?;
            let options = options(&arguments, &target.scope, &metrics)?;
            report = search(&session, &*retriever, &dataset, options).await?;
        }
        if arguments.answers {
            answers::measure(&session, &target, &questions, &report.resampling()).await?;
        }
        target.close().await?;
    }
    score(&mut report, &arguments.method, &dataset, &metrics)?;
    show::report(session.out, &report);
    files::write(&arguments.files, &report)?;
    gate(&session, &arguments.conditions, &dataset, &report)
}

/// Those asked for and those that the gate needs.
fn metrics(arguments: &Arguments) -> Vec<Metric> {
    let mut metrics = arguments.method.metrics.clone();
    if metrics.is_empty() {
        metrics = Metric::usual();
    }
    metrics.extend(arguments.conditions.min.iter().map(|minimum| minimum.metric));
    metrics
}

fn options(arguments: &Arguments, scope: &TenantScope, metrics: &[Metric]) -> Result<EvalOptions> {
    let method = &arguments.method;
    let mut options = EvalOptions::new(scope.clone())
        .plans(plans(method)?)
        .metrics(metrics.iter().copied())
        .resampling(Resampling::default().seed(method.seed));
    if let Some(searches) = method.concurrency {
        options = options.concurrency(searches);
    }
    if let Some(documents) = method.depth {
        options = options.depth(documents);
    }
    Ok(options.conversations(arguments.input.conversations()?))
}

/// The plans named, or the usual ones; with a sweep the plans named, or the default one, in every variation.
fn plans(method: &Method) -> Result<Vec<NamedPlan>> {
    let named: Vec<NamedPlan> = method.plan.iter().map(|argument| argument.0.clone()).collect();
    if method.sweep.is_empty() {
        return Ok(if named.is_empty() { NamedPlan::usual() } else { named });
    }
    let bases = if named.is_empty() {
        vec![NamedPlan::new(GATED, agentkit_core::SearchPlan::default())]
    } else {
        named
    };
    let swept = bases.iter().map(|base| sweep(base, &method.sweep)).collect::<Result<Vec<_>>>()?;
    Ok(swept.into_iter().flatten().collect())
}

async fn search(
    session: &Session,
    retriever: &dyn Retriever,
    dataset: &Dataset,
    options: EvalOptions,
) -> Result<Report> {
    let progress = session.out.progress("searching", Unit::Items);
    let options = options.on_progress(move |step| {
        progress.set((step.run * step.total + step.done) as u64, Some((step.runs * step.total) as u64));
    });
    evaluate(retriever, dataset, &options, &session.ctx).await
}

/// Adds the rankings of other tools.
fn score(report: &mut Report, method: &Method, dataset: &Dataset, metrics: &[Metric]) -> Result<()> {
    for path in &method.score {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let run = files::read_run(path)?;
        report.add(scored(name, run, dataset, metrics))?;
    }
    Ok(())
}

fn scored(name: String, run: Run, dataset: &Dataset, metrics: &[Metric]) -> RunReport {
    RunReport::new(name, Scores::of(&run, dataset.judgements(), metrics)).run(run)
}

fn gate(session: &Session, conditions: &Conditions, dataset: &Dataset, report: &Report) -> Result<ExitCode> {
    if conditions.min.is_empty() && conditions.baseline.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let gated = report.run(GATED).or(report.runs().last());
    let gated = gated.ok_or_else(|| Error::invalid_input("a gate needs a run; nothing was measured"))?;
    let mut gate = Gate::new(gated.name.as_str());
    for minimum in &conditions.min {
        gate = gate.minimum(minimum.clone());
    }
    if let Some(drop) = conditions.max_drop {
        gate = gate.max_drop(drop);
    }
    if let Some(path) = &conditions.baseline {
        let of_run = |run| scored(gated.name.clone(), run, dataset, &report.metrics());
        gate = gate.baseline(files::read_baseline(path, of_run)?);
    }
    let misses = gate.check(report)?;
    show::gate(session.out, &misses);
    Ok(if misses.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(GATE_MISSED) })
}
