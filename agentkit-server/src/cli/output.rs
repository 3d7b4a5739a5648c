//! The one place that writes to standard output and standard error.
//!
//! People get lines and progress bars, programs get one JSON object a line. A reader that closed the pipe has
//! read enough; nothing that fails to be written stops the work.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;

use agentkit_core::Error;
use agentkit_rag::models;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How a command speaks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    terminal: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json, terminal: std::io::stderr().is_terminal() }
    }

    /// Whether the result is for programs.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// A line of the result, for people.
    pub(super) fn line(self, text: impl Display) {
        if !self.json {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// A part of a line of the result, for people, shown at once.
    pub(super) fn part(self, text: &str) {
        if !self.json {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }

    /// What happens meanwhile, for people.
    pub(super) fn note(self, text: impl Display) {
        if !self.json {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// An object of the result, for programs.
    pub(super) fn object(self, value: &impl Serialize) {
        if self.json
            && let Ok(json) = serde_json::to_string(value)
        {
            let _ = writeln!(std::io::stdout().lock(), "{json}");
        }
    }

    /// What is wrong although the command did its work.
    pub(super) fn complain(text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Why the command failed.
    pub(super) fn failure(self, error: &Error) {
        self.object(&serde_json::json!({"error": {"kind": error.kind(), "message": error.chain()}}));
        let _ = writeln!(std::io::stderr().lock(), "error: {}", error.chain());
    }

    /// Shows how far a piece of work has come: a bar on a terminal, else a line now and then.
    pub(super) fn progress(self, what: &str, unit: Unit) -> Progress {
        let shown = Mutex::new(Shown { what: what.to_owned(), tenth: 0 });
        let bar = (self.terminal && !self.json).then(|| {
            let bar = ProgressBar::new(0).with_message(what.to_owned());
            bar.with_style(unit.style(false))
        });
        Progress { out: self, unit, bar, shown }
    }
}

/// What progress counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Items,
    Bytes,
}

impl Unit {
    fn style(self, bounded: bool) -> ProgressStyle {
        let template = match (self, bounded) {
            (Self::Items, true) => "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
            (Self::Items, false) => "{spinner} {msg} {human_pos}",
            (Self::Bytes, true) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            (Self::Bytes, false) => "{spinner} {msg} {bytes}",
        };
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    }
}

/// A piece of work on the way; it disappears from the terminal when dropped.
pub(super) struct Progress {
    out: Output,
    unit: Unit,
    bar: Option<ProgressBar>,
    shown: Mutex<Shown>,
}

struct Shown {
    what: String,
    tenth: u64,
}

impl Progress {
    /// `done` of `total` is done.
    pub(super) fn set(&self, done: u64, total: Option<u64>) {
        if let Some(bar) = &self.bar {
            if bar.length() != total {
                bar.set_style(self.unit.style(total.is_some()));
                bar.set_length(total.unwrap_or(0));
            }
            bar.set_position(done);
        } else if let Some(total) = total {
            self.tenths(done, total);
        }
    }

    /// A line above the bar.
    pub(super) fn note(&self, text: impl Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.note(text)),
            None => self.out.note(text),
        }
    }

    /// Says every tenth of the way on a line of its own.
    fn tenths(&self, done: u64, total: u64) {
        let Ok(mut shown) = self.shown.lock() else { return };
        let tenth = done.saturating_mul(10).checked_div(total).unwrap_or(10);
        if tenth > shown.tenth {
            shown.tenth = tenth;
            self.out.note(format_args!("{}: {}%", shown.what, tenth * 10));
        }
    }

    /// From now on the work is on `what`.
    fn rename(&self, what: &str) {
        let Ok(mut shown) = self.shown.lock() else { return };
        if shown.what != what {
            *shown = Shown { what: what.to_owned(), tenth: 0 };
            match &self.bar {
                Some(bar) => bar.set_message(what.to_owned()),
                None => self.out.note(what),
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl models::Progress for Progress {
    fn step(&self, what: &str, done: u64, total: Option<u64>) {
        self.rename(what);
        self.set(done, total);
    }
}
