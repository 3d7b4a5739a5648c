//! The integration tests of agentkit-rag, one binary.

#[cfg(test)]
mod answer;
#[cfg(test)]
mod answer_quality;
#[cfg(test)]
mod answer_tools;
#[cfg(test)]
mod backup;
#[cfg(all(test, feature = "local-chat"))]
mod chat;
#[cfg(test)]
mod compat;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod crash;
#[cfg(feature = "sqlite")]
#[cfg(test)]
mod durable;
#[cfg(test)]
mod embed;
#[cfg(test)]
mod eval;
#[cfg(test)]
mod eval_report;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod index;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod load;
#[cfg(test)]
mod mixed;
#[cfg(test)]
mod quality;
mod rerank;
#[cfg(test)]
mod resolver;
