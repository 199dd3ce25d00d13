//! The results as pictures: each candidate's time from exec to its answer, and how time and cost grow with the number
//! of stages.

use std::error::Error;
use std::fmt::Write;

use plotters::prelude::*;

use crate::rush::{How, Rush};
use crate::stats::Column;
use crate::table::Results;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 150.0;
const BAR: f64 = 22.0;
const ROW: f64 = 30.0;
const INIT: &str = "#4a5568";
const FIRST: &str = "#2b6cb0";

/// Draws the times of all passes as SVG. Each pass has its own scale.
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

/// Draws how time and cost of this function's rushes grow with the number of stages, as SVG.
pub fn growth(rushes: &[Result<Rush, String>]) -> Result<String, Box<dyn Error>> {
    let ours = rushes.iter().flatten().next().map(|rush| rush.name);
    let one = |rush: &Rush| rush.how == How::OneEvent;
    let each = |rush: &Rush| rush.how == How::Processes(rush.stages);
    let of = |wanted: fn(&Rush) -> bool, value: fn(&Rush) -> f64| -> Vec<(f64, f64)> {
        let mine = rushes.iter().flatten().filter(|rush| Some(rush.name) == ours && wanted(rush));
        let mut points: Vec<(f64, f64)> = mine.map(|rush| (stages(rush), value(rush))).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        points
    };
    let times = [
        ("the limit's floor", BLACK, of(each, Rush::floor)),
        ("one event for all", BLUE, of(one, |rush| rush.seconds)),
        ("an event and a process for each", RED, of(each, |rush| rush.seconds)),
    ];
    let costs = [
        ("one event for all", BLUE, of(one, |rush| rush.gigabyte_seconds)),
        ("an event and a process for each", RED, of(each, |rush| rush.gigabyte_seconds)),
    ];
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (860, 360)).into_drawing_area();
        root.fill(&WHITE)?;
        let halves = root.split_evenly((1, 2));
        lines(&halves[0], "seconds until the last stage is rolled back", &times)?;
        lines(&halves[1], "billed by Lambda, in GB seconds", &costs)?;
        root.present()?;
    }
    Ok(svg)
}

#[expect(clippy::cast_precision_loss, reason = "hundreds")]
fn stages(rush: &Rush) -> f64 {
    rush.stages as f64
}

type Line<'a> = (&'a str, RGBColor, Vec<(f64, f64)>);

fn lines(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    lines: &[Line<'_>],
) -> Result<(), Box<dyn Error>> {
    let points = || lines.iter().flat_map(|(.., points)| points);
    let right = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let top = points().map(|(_, y)| *y).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..right, 0.0..top * 1.05)?;
    chart.configure_mesh().light_line_style(TRANSPARENT).x_desc("stages at once").draw()?;
    for (name, colour, points) in lines {
        let (name, colour) = (*name, *colour);
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
        let key = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2));
        chart.draw_series(line)?.label(name).legend(key);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(TRANSPARENT)
        .draw()?;
    Ok(())
}
