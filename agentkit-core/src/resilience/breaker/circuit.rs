//! When a circuit breaker lets calls through: a pure state machine that is told the time and the outcomes.
//!
//! Closed, it remembers how the last calls ended and opens when too many of them failed. Open, it lets nothing
//! through for a while. Half open, it lets a few probes through: if all of them succeed it closes, and with the
//! first that fails it opens again; probes that never end are replaced after a while. An outcome counts only in the period its call was let through in, so what
//! was begun before the circuit opened cannot close or open it later.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::BreakerOptions;
use crate::resilience::NEVER;

/// What a circuit breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are turned away.
    Open,
    /// A few calls go through as probes.
    HalfOpen,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The service works.
    Success,
    /// The service does not work.
    Failure,
    /// The call says nothing about the service.
    Unknown,
}

/// Leave to make one call; to be settled once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admission {
    period: u64,
}

#[derive(Debug)]
pub(super) struct Circuit {
    options: BreakerOptions,
    period: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { failed: VecDeque<bool> },
    Open { until: Instant },
    HalfOpen { since: Instant, running: u32, succeeded: u32 },
}

impl Circuit {
    pub(super) fn new(mut options: BreakerOptions) -> Self {
        options.open_for = options.open_for.min(NEVER);
        Self { options, period: 0, state: State::Closed { failed: VecDeque::new() } }
    }

    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Lets a call through, or says how long it will let none through.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Admission, Duration> {
        if let Some(until) = self.full_until() {
            if now < until {
                return Err(until - now);
            }
            self.enter(State::HalfOpen { since: now, running: 0, succeeded: 0 });
        }
        if let State::HalfOpen { running, .. } = &mut self.state {
            *running += 1;
        }
        Ok(Admission { period: self.period })
    }

    /// Until when no call more is let through, unless an outcome changes that.
    fn full_until(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until } => Some(until),
            State::HalfOpen { since, running, succeeded } => {
                (running + succeeded >= self.options.probes.max(1)).then(|| since + self.options.open_for)
            }
        }
    }

    /// Takes note of how a call ended that was let through.
    pub(super) fn settle(&mut self, admission: Admission, verdict: Verdict, now: Instant) {
        if admission.period != self.period {
            return;
        }
        let opens = match &mut self.state {
            State::Closed { failed } => remember(failed, verdict, &self.options),
            State::HalfOpen { running, succeeded, .. } => {
                *running = running.saturating_sub(1);
                *succeeded += u32::from(verdict == Verdict::Success);
                verdict == Verdict::Failure
            }
            State::Open { .. } => false,
        };
        if opens {
            self.enter(State::Open { until: now + self.options.open_for });
        } else if matches!(self.state, State::HalfOpen { succeeded, .. } if succeeded >= self.options.probes.max(1))
        {
            self.enter(State::Closed { failed: VecDeque::new() });
        }
    }

    fn enter(&mut self, state: State) {
        self.period += 1;
        self.state = state;
    }
}

/// Adds a verdict to the last ones and says whether too many of them are failures.
fn remember(failed: &mut VecDeque<bool>, verdict: Verdict, options: &BreakerOptions) -> bool {
    if verdict == Verdict::Unknown {
        return false;
    }
    let window = options.window.max(1);
    if failed.len() >= window {
        failed.pop_front();
    }
    failed.push_back(verdict == Verdict::Failure);
    let failures = failed.iter().filter(|failed| **failed).count();
    failures >= options.failures.clamp(1, window)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Begin,
        End(prop::sample::Index, Verdict),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let verdict = prop_oneof![Just(Verdict::Success), Just(Verdict::Failure), Just(Verdict::Unknown)];
        let step = prop_oneof![
            4 => Just(Step::Begin),
            4 => (any::<prop::sample::Index>(), verdict).prop_map(|(at, verdict)| Step::End(at, verdict)),
            1 => (0_u64..15).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 0..120)
    }

    /// What an onlooker knows of a breaker, by its states alone.
    #[derive(Default)]
    struct Onlooker {
        opened: Option<Instant>,
        probes: usize,
        probes_succeeded: u32,
        last: VecDeque<bool>,
    }

    proptest! {
        #[test]
        fn the_circuit_keeps_its_promises(steps in steps(), window in 1_usize..6, failures in 1_usize..6, probes in 1_u32..4) {
            let open_for = Duration::from_secs(10);
            let options = BreakerOptions::default().failures(failures, window).open_for(open_for).probes(probes);
            let mut circuit = Circuit::new(options);
            let mut now = Instant::now();
            let mut running: Vec<(Admission, BreakerState)> = Vec::new();
            let mut seen = Onlooker::default();
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                    Step::Begin => {
                        let (before, period) = (circuit.state(now), circuit.period);
                        match circuit.admit(now) {
                            Ok(admission) => {
                                prop_assert_ne!(before, BreakerState::Open);
                                if before == BreakerState::HalfOpen {
                                    if period != circuit.period {
                                        (seen.probes, seen.probes_succeeded) = (0, 0);
                                    }
                                    seen.probes += 1;
                                    prop_assert!(seen.probes + seen.probes_succeeded as usize <= probes as usize);
                                }
                                running.push((admission, before));
                            }
                            Err(wait) => {
                                prop_assert_ne!(before, BreakerState::Closed);
                                if before == BreakerState::Open {
                                    let opened = seen.opened.expect("it was seen opening");
                                    prop_assert_eq!(wait, opened + open_for - now);
                                }
                            }
                        }
                    }
                    Step::End(at, verdict) if !running.is_empty() => {
                        let (admission, begun) = running.swap_remove(at.index(running.len()));
                        let before = circuit.state(now);
                        let counts = admission.period == circuit.period;
                        if counts && before == BreakerState::HalfOpen {
                            seen.probes -= 1;
                            seen.probes_succeeded += u32::from(verdict == Verdict::Success);
                        }
                        if counts && before == BreakerState::Closed && verdict != Verdict::Unknown {
                            seen.last.push_back(verdict == Verdict::Failure);
                            if seen.last.len() > window { seen.last.pop_front(); }
                        }
                        circuit.settle(admission, verdict, now);
                        let after = circuit.state(now);
                        if !counts || verdict == Verdict::Unknown {
                            prop_assert_eq!(before, after);
                        } else if before == BreakerState::Closed {
                            let failed = seen.last.iter().filter(|failed| **failed).count();
                            prop_assert_eq!(after == BreakerState::Open, failed >= failures.min(window));
                        } else if before == BreakerState::HalfOpen {
                            prop_assert_eq!(begun, BreakerState::HalfOpen);
                            prop_assert_eq!(after == BreakerState::Open, verdict == Verdict::Failure);
                            prop_assert_eq!(after == BreakerState::Closed, seen.probes_succeeded >= probes);
                        }
                        if after == BreakerState::Open && before != BreakerState::Open {
                            seen.opened = Some(now);
                        }
                        if after == BreakerState::Open || before != after { seen.last.clear(); }
                    }
                    Step::End(..) => {}
                }
            }
        }
    }
}
