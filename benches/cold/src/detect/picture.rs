//! The times as a picture: for each kind of bad release, from p50 to p95, with the access log and without.

use std::fmt::Write;

use crate::cases::{Bad, Results};
use crate::run::Outcome;
use crate::table::{percent, seconds};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 76.0;
const ROW: f64 = 44.0;
/// The end of the scale, in seconds.
const END: f64 = 300.0;
const FAST: &str = "#2b6cb0";
const SLOW: &str = "#718096";

/// Draws the times as SVG.
pub fn draw(results: &Results) -> String {
    let title = "From the first failed request to the rolled-back stage, p50 to p95";
    let height = TOP + ROW * results.table.len() as f64 + 34.0;
    let mut body = String::new();
    text(&mut body, 12.0, 24.0, "bold", title);
    for (x, colour, name) in [(12.0, FAST, "with the access log"), (170.0, SLOW, "API Gateway's own metrics")]
    {
        bar(&mut body, (x, 38.0), 14.0, colour);
        text(&mut body, x + 22.0, 47.0, "normal", name);
    }
    for mark in (0..=5).map(|nth| f64::from(nth) * 60.0) {
        let (x, bottom) = (at(mark), height - 30.0);
        let _ = writeln!(body, "<path d=\"M{x:.1} {:.1}V{bottom:.1}\" stroke=\"#e2e8f0\"/>", TOP - 12.0);
        text(&mut body, x - 12.0, height - 12.0, "normal", &format!("{mark} s"));
    }
    for (bad, nth) in results.table.iter().zip(0..) {
        let y = TOP + ROW * f64::from(nth);
        text(
            &mut body,
            12.0,
            y + 14.0,
            "normal",
            &format!("{} fail, {} a minute", percent(bad.share), bad.rate),
        );
        range(&mut body, y, bad, |one| one.both, FAST);
        range(&mut body, y + 15.0, bad, |one| one.slow, SLOW);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{title}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn range(svg: &mut String, y: f64, bad: &Bad, of: impl Fn(&Outcome) -> f64, colour: &str) {
    let (half, most) = (bad.percentile(&of, 0.5), bad.percentile(&of, 0.95));
    let (from, to) = (at(half), at(most));
    bar(svg, (from, y + 4.0), (to - from).max(2.0), colour);
    let _ = writeln!(svg, "<circle cx=\"{from:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"{colour}\"/>", y + 9.0);
    text(svg, to + 10.0, y + 13.0, "normal", &format!("{} / {}", seconds(half), seconds(most)));
}

fn at(seconds: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * seconds.min(END) / END
}

fn text(svg: &mut String, x: f64, y: f64, weight: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\" fill=\"#1a202c\">{text}</text>"
    );
}

fn bar(svg: &mut String, (x, y): (f64, f64), width: f64, colour: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"10\" fill=\"{colour}\"/>"
    );
}
