//! The table as a picture: how long each candidate takes from exec to its answer, and of what that is made.

use std::fmt::Write;

use crate::stats::Column;
use crate::table::Results;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 150.0;
const BAR: f64 = 22.0;
const ROW: f64 = 30.0;
const INIT: &str = "#4a5568";
const FIRST: &str = "#2b6cb0";

/// The picture, as SVG. Every pass has a scale of its own.
pub fn draw(results: &Results) -> String {
    let mut body = String::new();
    let mut y = 64.0;
    for pass in &results.passes {
        let columns: Vec<(&str, &Column)> = results
            .entrants
            .iter()
            .zip(&pass.columns)
            .filter_map(|(entrant, column)| Some((entrant.name, column.as_ref().ok()?)))
            .collect();
        if columns.is_empty() {
            continue;
        }
        text(&mut body, 12.0, y, "bold", &pass.title);
        y += 12.0;
        let longest = columns.iter().map(|(_, column)| column.total.p50).fold(1.0, f64::max);
        let scale = (WIDTH - LEFT - 150.0) / longest;
        for (name, column) in columns {
            let (init, first) = (column.init.p50 * scale, column.first.p50 * scale);
            text(&mut body, 12.0, y + 16.0, "normal", name);
            bar(&mut body, LEFT, y, init, INIT);
            bar(&mut body, LEFT + init, y, first, FIRST);
            let told = format!("{:.0} ms, {:.0} MiB", column.total.p50, column.memory.p50);
            text(&mut body, LEFT + init + first + 8.0, y + 16.0, "normal", &told);
            y += ROW;
        }
        y += 26.0;
    }
    let title = "From exec to the answer to an alarm, median of fresh processes";
    let mut head = String::new();
    text(&mut head, 12.0, 24.0, "bold", title);
    bar(&mut head, 12.0, 34.0, 12.0, INIT);
    text(&mut head, 30.0, 45.0, "normal", "init");
    bar(&mut head, 70.0, 34.0, 12.0, FIRST);
    text(&mut head, 88.0, 45.0, "normal", "first invocation");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         role=\"img\" aria-label=\"{title}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{head}{body}</svg>\n"
    )
}

fn text(svg: &mut String, x: f64, y: f64, weight: &str, text: &str) {
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\" fill=\"#1a202c\">{text}</text>")
        .ok();
}

fn bar(svg: &mut String, x: f64, y: f64, width: f64, colour: &str) {
    let height = if y < 60.0 { 12.0 } else { BAR };
    writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>"
    )
    .ok();
}
