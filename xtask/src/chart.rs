//! Line charts as SVG that reads well on light and on dark pages.

use std::fmt::{self, Write};
use std::iter::successors;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 430.0;
/// What is around the plot: labels, and to the right the names of the lines.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 58.0;
const BOTTOM: f64 = 62.0;
/// Names at the lines' ends are at least so far apart.
const NAME_HEIGHT: f64 = 17.0;

/// Colors that keep their distance on either ground, also for who sees fewer.
const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #3d3d3a }
.title { font-size: 16px; font-weight: 600; fill: #1a1a19 }
.grid { stroke: #e3e2dd }
.axis { stroke: #8a8983 }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round }
.a { stroke: #1f6fd0 } .fa { fill: #1f6fd0 }
.b { stroke: #d0552a } .fb { fill: #d0552a }
.c { stroke: #77766f; stroke-dasharray: 6 4 } .fc { fill: #6b6a64 }
@media (prefers-color-scheme: dark) {
text { fill: #c6c5be }
.title { fill: #f2f1ec }
.grid { stroke: #3a3a37 }
.axis { stroke: #8a8983 }
.a { stroke: #6ba8f5 } .fa { fill: #6ba8f5 }
.b { stroke: #f08a5f } .fb { fill: #f08a5f }
.c { stroke: #a3a29a } .fc { fill: #b1b0a8 }
}";

const CLASSES: [&str; 3] = ["a", "b", "c"];

/// Several lines over one axis of counts, which is logarithmic.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x_name: String,
    pub(crate) y_name: String,
    /// Whether the y axis is logarithmic; otherwise it begins at 0.
    pub(crate) y_is_log: bool,
    /// At most three.
    pub(crate) lines: Vec<Line>,
}

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// An axis: what it spans, and where its marks are.
#[derive(Debug)]
struct Scale {
    first: f64,
    last: f64,
    is_log: bool,
    marks: Vec<f64>,
}

impl Scale {
    /// Powers of ten.
    fn log(least: f64, most: f64) -> Self {
        let first = 10_f64.powf(least.log10().floor());
        let next = |mark: &f64| (*mark < most).then_some(mark * 10.0);
        let marks: Vec<f64> = successors(Some(first), next).collect();
        Self {
            first,
            last: marks.last().copied().unwrap_or(first).max(first * 10.0),
            is_log: true,
            marks,
        }
    }

    /// Round numbers, and the last.
    fn of_counts(least: f64, most: f64) -> Self {
        let marks =
            [1.0, 2.0, 5.0].map(|digit| (0..7).map(move |power| digit * 10_f64.powi(power)));
        let marks = marks.into_iter().flatten();
        Self {
            first: least,
            last: most,
            is_log: true,
            marks: marks
                .filter(|mark| (least..most).contains(mark))
                .chain([most])
                .collect(),
        }
    }

    /// From 0, in about five steps.
    fn linear(most: f64) -> Self {
        let rough = (most / 5.0).max(f64::MIN_POSITIVE);
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
        let step = steps
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let next = |mark: &f64| (*mark < most).then_some(mark + step);
        let marks: Vec<f64> = successors(Some(0.0), next).collect();
        Self {
            first: 0.0,
            last: marks.last().copied().unwrap_or(step).max(step),
            is_log: false,
            marks,
        }
    }

    /// From 0 at the beginning to 1 at the end.
    fn place(&self, value: f64) -> f64 {
        if self.is_log {
            (value / self.first).log10() / (self.last / self.first).log10()
        } else {
            (value - self.first) / (self.last - self.first)
        }
    }
}

impl Chart {
    fn scales(&self) -> (Scale, Scale) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let least = |axis: fn(&(f64, f64)) -> f64| points().map(axis).fold(f64::MAX, f64::min);
        let most = |axis: fn(&(f64, f64)) -> f64| points().map(axis).fold(0.0, f64::max);
        let x = Scale::of_counts(least(|point| point.0), most(|point| point.0));
        let y = if self.y_is_log {
            Scale::log(least(|point| point.1), most(|point| point.1))
        } else {
            Scale::linear(most(|point| point.1))
        };
        (x, y)
    }

    fn marks(&self, f: &mut fmt::Formatter<'_>, x: &Scale, y: &Scale) -> fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for mark in &y.marks {
            let (place, label) = (vertical(y, *mark), number(*mark));
            writeln!(f, r#"<path class="grid" d="M{LEFT} {place:.1}H{right}"/>"#)?;
            let (at, down) = (LEFT - 9.0, place + 4.5);
            writeln!(
                f,
                r#"<text x="{at}" y="{down:.1}" text-anchor="end">{label}</text>"#
            )?;
        }
        writeln!(f, r#"<path class="axis" d="M{LEFT} {bottom}H{right}"/>"#)?;
        for mark in &x.marks {
            let (place, label) = (horizontal(x, *mark), number(*mark));
            let (end, down) = (bottom + 5.0, bottom + 21.0);
            writeln!(f, r#"<path class="axis" d="M{place:.1} {bottom}V{end}"/>"#)?;
            writeln!(
                f,
                r#"<text x="{place:.1}" y="{down}" text-anchor="middle">{label}</text>"#
            )?;
        }
        let (middle, down) = (LEFT.midpoint(right), HEIGHT - 14.0);
        let (x_name, y_name) = (escape(&self.x_name), escape(&self.y_name));
        writeln!(
            f,
            r#"<text x="{middle}" y="{down}" text-anchor="middle">{x_name}</text>"#
        )?;
        let up = TOP - 13.0;
        writeln!(f, r#"<text x="{LEFT}" y="{up}">{y_name}</text>"#)
    }

    fn lines(&self, f: &mut fmt::Formatter<'_>, x: &Scale, y: &Scale) -> fmt::Result {
        for (line, class) in self.lines.iter().zip(CLASSES) {
            let mut path = String::new();
            for (number, (count, value)) in line.points.iter().enumerate() {
                let letter = if number == 0 { 'M' } else { 'L' };
                let (across, down) = (horizontal(x, *count), vertical(y, *value));
                write!(path, "{letter}{across:.1} {down:.1}")?;
            }
            writeln!(f, r#"<path class="line {class}" d="{path}"/>"#)?;
            for (count, value) in &line.points {
                let (across, down) = (horizontal(x, *count), vertical(y, *value));
                let told = format!("{}: {value:.2} at {count}", line.name);
                let told = escape(&told);
                writeln!(
                    f,
                    r#"<circle class="f{class}" cx="{across:.1}" cy="{down:.1}" r="3.5"><title>{told}</title></circle>"#
                )?;
            }
        }
        self.names(f, y)
    }

    /// At the ends of the lines, pushed apart where those are close.
    fn names(&self, f: &mut fmt::Formatter<'_>, y: &Scale) -> fmt::Result {
        let ends = self.lines.iter().zip(CLASSES);
        let mut ends: Vec<(f64, &str, &str)> = ends
            .filter_map(|(line, class)| {
                let (_, value) = line.points.last()?;
                Some((vertical(y, *value) + 4.5, line.name.as_str(), class))
            })
            .collect();
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut free, at) = (f64::MIN, WIDTH - RIGHT + 12.0);
        for (wanted, name, class) in ends {
            let place = wanted.max(free);
            free = place + NAME_HEIGHT;
            let name = escape(name);
            writeln!(
                f,
                r#"<text class="f{class}" x="{at}" y="{place:.1}">{name}</text>"#
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = escape(&self.title);
        writeln!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">"#
        )?;
        writeln!(f, "<style>{STYLE}</style>")?;
        writeln!(f, r#"<text class="title" x="14" y="24">{title}</text>"#)?;
        let (x, y) = self.scales();
        self.marks(f, &x, &y)?;
        self.lines(f, &x, &y)?;
        writeln!(f, "</svg>")
    }
}

fn horizontal(scale: &Scale, value: f64) -> f64 {
    LEFT + scale.place(value) * (WIDTH - LEFT - RIGHT)
}

fn vertical(scale: &Scale, value: f64) -> f64 {
    HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM)
}

/// As people write it: 18,000 or 0.01.
fn number(value: f64) -> String {
    if value < 1.0 {
        // Without the dust of the calculation.
        return format!("{}", (value * 1e6).round() / 1e6);
    }
    let digits = format!("{value:.0}");
    let groups: Vec<String> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect();
    groups.join(",")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{BOTTOM, Chart, HEIGHT, LEFT, Line, RIGHT, Scale, TOP, WIDTH, number};

    fn chart(y_is_log: bool) -> Chart {
        let line = |name: &str, points: &[(f64, f64)]| Line {
            name: name.to_owned(),
            points: points.to_vec(),
        };
        Chart {
            title: "Costs <1 & more".to_owned(),
            x_name: "subscribers".to_owned(),
            y_name: "µs".to_owned(),
            y_is_log,
            lines: vec![
                line("ours", &[(100.0, 7.5), (18_000.0, 6.0)]),
                line("theirs", &[(100.0, 0.02), (18_000.0, 6.1)]),
            ],
        }
    }

    #[test]
    fn every_point_is_inside_the_frame() {
        for y_is_log in [true, false] {
            let svg = chart(y_is_log).to_string();
            let value = |text: &str| text.split('"').next().and_then(|text| text.parse().ok());
            let mut points = 0;
            for circle in svg.split("cx=\"").skip(1) {
                let x: f64 = value(circle).expect("a number");
                let y = circle.split("cy=\"").nth(1).and_then(value);
                let y: f64 = y.expect("a number");
                assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{circle}");
                assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{circle}");
                points += 1;
            }
            assert_eq!(points, 4);
            assert!(svg.contains("Costs &lt;1 &amp; more") && !svg.contains("NaN"));
        }
    }

    #[test]
    fn marks_are_round() {
        let shown = |scale: Scale| scale.marks.into_iter().map(number).collect::<Vec<_>>();
        assert_eq!(shown(Scale::linear(13.2)), ["0", "5", "10", "15"]);
        assert_eq!(
            shown(Scale::log(0.02, 20.0)),
            ["0.01", "0.1", "1", "10", "100"]
        );
        assert_eq!(number(18_000.0), "18,000");
        assert_eq!(number(0.1), "0.1");
    }
}
