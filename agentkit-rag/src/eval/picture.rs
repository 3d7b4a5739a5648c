//! A report as a picture: bars with their intervals, and recall against latency, as one SVG.

use std::fmt::Write as _;

use super::metric::{Measure, Metric};
use super::report::{Report, RunReport};
use super::stats::Interval;

/// Width of the picture and of its margins, in pixels.
const WIDTH: f64 = 760.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 70.0;
/// Height of a bar's row, and of the field of points.
const ROW: f64 = 24.0;
const FIELD: f64 = 260.0;
/// Characters of a run's name that fit beside the bars.
const NAME: usize = 32;

impl Report {
    /// The report as an SVG picture: the first nDCG of each run as a bar with its interval and, of the runs whose time was
    /// taken, the last recall against the median latency.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let metrics = self.metrics();
        let bars = metrics.iter().find(|metric| metric.measure() == Measure::Ndcg).or(metrics.first());
        let points = metrics.iter().rev().find(|metric| metric.measure() == Measure::Recall);
        let timed: Vec<&RunReport> = self.runs().iter().filter(|run| run.latency.is_some()).collect();
        let mut picture = Picture { body: String::new(), y: 30.0 };
        if let Some(metric) = bars {
            picture.bars(*metric, self.runs());
        }
        if let Some(metric) = points.filter(|_| !timed.is_empty()) {
            picture.points(*metric, &timed);
        }
        picture.finish()
    }
}

/// A picture on the way, drawn from top to bottom.
struct Picture {
    body: String,
    /// Where the next part begins.
    y: f64,
}

impl Picture {
    fn bars(&mut self, metric: Metric, runs: &[RunReport]) {
        let title = format!("{metric} with its interval");
        self.text((12.0, self.y), "start", &title);
        self.y += 14.0;
        for run in runs {
            let value = run.metrics.get(&metric).copied().unwrap_or_default();
            self.bar(&run.name, value);
            self.y += ROW;
        }
        self.y += 30.0;
    }

    /// A run's bar from 0 to 1.
    fn bar(&mut self, name: &str, Interval { mean, low, high }: Interval) {
        let (top, middle) = (self.y, self.y + ROW / 2.0);
        let x = |value: f64| across(value.clamp(0.0, 1.0));
        self.text((LEFT - 8.0, middle + 4.0), "end", &shortened(name));
        let (width, height) = (x(mean) - LEFT, ROW - 8.0);
        self.add(format_args!(
            "<rect class=\"bar\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height}\"/>",
            top + 4.0
        ));
        self.line((x(low), middle), (x(high), middle));
        for end in [x(low), x(high)] {
            self.line((end, middle - 4.0), (end, middle + 4.0));
        }
        self.text((across(1.0) + 8.0, middle + 4.0), "start", &format!("{mean:.4}"));
    }

    fn points(&mut self, metric: Metric, runs: &[&RunReport]) {
        let values = |run: &RunReport| {
            let latency = run.latency.map_or(0.0, |latency| latency.p50_ms);
            (latency, run.metrics.get(&metric).copied().unwrap_or_default().mean)
        };
        let places: Vec<(f64, f64)> = runs.iter().map(|run| values(run)).collect();
        let slowest = round_up(places.iter().map(|(latency, _)| *latency).fold(0.0, f64::max));
        let lowest = places.iter().map(|(_, recall)| *recall).fold(1.0, f64::min);
        let floor = (lowest * 10.0 - 0.5).floor().clamp(0.0, 9.0) / 10.0;
        self.text((12.0, self.y), "start", &format!("{metric} by median latency in ms"));
        let top = self.y + 20.0;
        self.axes(top, (0.0, slowest), (floor, 1.0));
        for (run, (latency, recall)) in runs.iter().zip(places) {
            let (x, y) = (across(latency / slowest), top + FIELD * (1.0 - recall) / (1.0 - floor));
            self.add(format_args!("<circle class=\"point\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"));
            let (shift, anchor) = if x > WIDTH * 0.7 { (-8.0, "end") } else { (8.0, "start") };
            self.text((x + shift, y + 4.0), anchor, &shortened(&run.name));
        }
        self.y = top + FIELD + 40.0;
    }

    /// The field of points with its limits beside it.
    fn axes(&mut self, top: f64, latency: (f64, f64), recall: (f64, f64)) {
        let bottom = top + FIELD;
        self.line((LEFT, top), (LEFT, bottom));
        self.line((LEFT, bottom), (across(1.0), bottom));
        self.text((LEFT - 8.0, top + 4.0), "end", &format!("{:.1}", recall.1));
        self.text((LEFT - 8.0, bottom + 4.0), "end", &format!("{:.1}", recall.0));
        self.text((LEFT, bottom + 18.0), "middle", &format!("{}", latency.0));
        self.text((across(1.0), bottom + 18.0), "middle", &format!("{}", latency.1));
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.add(format_args!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"));
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, text: &str) {
        let text = escaped(text);
        self.add(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{element}");
    }

    fn finish(self) -> String {
        let Self { body, y } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" width=\"{WIDTH}\" height=\"{y:.0}\">\n\
             <style>text {{ font: 12px sans-serif; fill: #222 }} line {{ stroke: #222 }} .bar {{ fill: #7aa6d8 }} \
             .point {{ fill: #c1543c }}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
        )
    }
}

/// Where a share of the drawing's width lies.
fn across(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

/// The next of 1, 2, 5, 10, 20, 50, … above; 1 for nothing.
fn round_up(value: f64) -> f64 {
    let magnitude = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
    if value > 0.0 && value.is_finite() {
        steps.into_iter().find(|step| *step >= value).unwrap_or(value)
    } else {
        1.0
    }
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(NAME) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or(name)),
    }
}

fn escaped(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control()).collect::<String>();
    clean.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
