//! Times of many calls, and the memory of the process.

use std::fmt;
use std::time::{Duration, Instant};

/// Milliseconds of a call at three percentiles, and calls per second of all clients together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Half of the calls are faster.
    pub p50: f64,
    /// 95 of 100 are faster.
    pub p95: f64,
    /// 99 of 100 are faster.
    pub p99: f64,
    /// Calls per second.
    pub per_second: f64,
}

impl Figures {
    /// The figures of calls that took `times`, all together `elapsed`.
    #[must_use]
    pub fn new(mut times: Vec<Duration>, elapsed: Duration) -> Self {
        times.sort_unstable();
        let percentile = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
        let per_second = times.len() as f64 / elapsed.as_secs_f64();
        Self { p50: percentile(50), p95: percentile(95), p99: percentile(99), per_second }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p95, p99, per_second } = self;
        write!(f, "p50 {p50:.3} p95 {p95:.3} p99 {p99:.3} ms, {per_second:.0}/s")
    }
}

/// How long `work` took, with what it gave.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let done = work();
    (done, started.elapsed())
}

/// Megabytes: the most resident memory so far, and anonymous memory now; `None` where there is no `/proc`.
#[must_use]
pub fn peak_memory() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
    };
    Some((field("VmHWM")?, field("RssAnon")?))
}
