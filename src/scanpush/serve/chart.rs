//! Plots as SVG for a page: small pure functions from numbers to text. Sizes are in the units of the view box; a figure is as wide as its column.
//! Every plot has a title that says its numbers in words, and each of its marks too.

use super::html::escaped;
use std::fmt::Write;

/// Width of a plot.
const WIDTH: u64 = 520;
/// Height of a plot over time.
const HEIGHT: u64 = 150;
/// Left of it are the numbers of the axis.
const LEFT: u64 = 44;
/// Below it are the names of the axis.
const BOTTOM: u64 = 18;
/// Above it.
const TOP: u64 = 8;
/// Height of a number of the axis.
const LABEL_HEIGHT: u64 = 12;

/// A point of time with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The time, in words.
    pub name: String,
    /// The number.
    pub value: u64,
}

/// Changes of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesOfDay {
    /// The day, in words.
    pub name: String,
    /// What opened.
    pub opened: u64,
    /// What opened again.
    pub reopened: u64,
    /// What closed.
    pub closed: u64,
}

/// A part of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// The page about it.
    pub href: String,
    /// The number.
    pub value: u64,
}

/// The smallest of 1, 2, 5, 10, 20, … that is not below `value`.
fn rounded_up(value: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let round = power.saturating_mul(factor);
            if round >= value {
                return round;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// A number of at most four characters.
fn short(value: u64) -> String {
    match value {
        0..10_000 => value.to_string(),
        10_000..1_000_000 => format!("{}k", value / 1000),
        1_000_000..1_000_000_000 => format!("{}M", value / 1_000_000),
        _ => format!("{}G", value / 1_000_000_000),
    }
}

fn begin(title: &str, height: u64) -> String {
    let title = escaped(title);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>"
    )
}

/// A line across with its number.
fn grid(svg: &mut String, y: u64, name: &str) {
    let _ = write!(
        svg,
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y}\" y2=\"{y}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
        LEFT - 6,
        y + 4
    );
}

/// The names of the first and the last point.
fn ends(svg: &mut String, first: &str, last: &str) {
    let y = HEIGHT - 4;
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{y}\">{}</text><text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{}</text></svg>",
        escaped(first),
        escaped(last)
    );
}

/// A number over time.
pub fn curve(what: &str, points: &[Point]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return String::new();
    };
    let most = rounded_up(points.iter().map(|point| point.value).max().unwrap_or(1));
    let base = HEIGHT - BOTTOM;
    let steps = (points.len() as u64 - 1).max(1);
    let place = |(n, point): (usize, &Point)| {
        let x = LEFT + n as u64 * (WIDTH - LEFT) / steps;
        let part = point.value as f64 / most as f64;
        let y = base as f64 - part * (base - TOP) as f64;
        format!("{x},{y:.1}")
    };
    let line: Vec<String> = points.iter().enumerate().map(place).collect();
    let line = line.join(" ");
    let title = format!(
        "{what}: {} on {}, {} on {}",
        first.value, first.name, last.value, last.name
    );
    let mut svg = begin(&title, HEIGHT);
    grid(&mut svg, TOP, &short(most));
    grid(&mut svg, base, "0");
    let end = LEFT + (points.len() as u64 - 1) * (WIDTH - LEFT) / steps;
    let _ = write!(
        svg,
        "<polygon class=\"area\" points=\"{LEFT},{base} {line} {end},{base}\"/><polyline class=\"curve\" points=\"{line}\"/>"
    );
    ends(&mut svg, &first.name, &last.name);
    svg
}

/// What opened and reopened above a line, what closed below it, for each day.
pub fn changes(days: &[ChangesOfDay]) -> String {
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        return String::new();
    };
    let up = |day: &ChangesOfDay| day.opened.saturating_add(day.reopened);
    let most_up = rounded_up(days.iter().map(up).max().unwrap_or(0).max(1));
    let most_down = rounded_up(days.iter().map(|day| day.closed).max().unwrap_or(0).max(1));
    let total = |of: fn(&ChangesOfDay) -> u64| -> u64 { days.iter().map(of).sum() };
    let title = format!(
        "From {} to {}: {} opened, {} reopened, {} closed",
        first.name,
        last.name,
        total(|day| day.opened),
        total(|day| day.reopened),
        total(|day| day.closed)
    );
    let all = HEIGHT - BOTTOM - TOP;
    let most = most_up as f64 + most_down as f64;
    let height = |value: u64| value as f64 * all as f64 / most;
    let zero = TOP as f64 + height(most_up);
    let mut svg = begin(&title, HEIGHT);
    let middle = zero.round() as u64;
    // A number too close to the zero would cover it.
    let unless_close = |y: u64, number: u64| match y.abs_diff(middle) >= LABEL_HEIGHT {
        true => short(number),
        false => String::new(),
    };
    grid(&mut svg, TOP, &unless_close(TOP, most_up));
    grid(&mut svg, middle, "0");
    let bottom = HEIGHT - BOTTOM;
    grid(&mut svg, bottom, &unless_close(bottom, most_down));
    let step = (WIDTH - LEFT) as f64 / days.len() as f64;
    for (n, day) in days.iter().enumerate() {
        let x = LEFT as f64 + n as f64 * step + step * 0.15;
        let _ = write!(
            svg,
            "<g><title>{}: {} opened, {} reopened, {} closed</title>",
            escaped(&day.name),
            day.opened,
            day.reopened,
            day.closed
        );
        let (opened, reopened) = (height(day.opened), height(day.reopened));
        for (class, y, height) in [
            ("opened", zero - opened, opened),
            ("reopened", zero - opened - reopened, reopened),
            ("closed", zero, height(day.closed)),
        ] {
            if height > 0.0 {
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    step * 0.7,
                    height.max(1.0)
                );
            }
        }
        svg.push_str("</g>");
    }
    ends(&mut svg, &first.name, &last.name);
    svg
}

/// A square map of the cells, in rows from the top left, darker where the number is larger: five shades by powers.
pub fn map(what: &str, cells: &[Cell]) -> String {
    /// Width of a cell of a map, with the gap to the next one.
    const CELL: usize = 8;
    if cells.is_empty() {
        return String::new();
    }
    let columns = (1..)
        .find(|n| n * n >= cells.len())
        .unwrap_or(1)
        .next_power_of_two();
    let rows = cells.len().div_ceil(columns);
    let most = cells.iter().map(|cell| cell.value).max().unwrap_or(0);
    let used = cells.iter().filter(|cell| cell.value > 0).count();
    let title = escaped(&format!(
        "{what}: {used} of {} parts have open services, at most {most}",
        cells.len()
    ));
    let mut svg = format!(
        "<svg class=\"map\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>",
        columns * CELL,
        rows * CELL
    );
    for (n, cell) in cells.iter().enumerate() {
        let (x, y) = (n % columns * CELL, n / columns * CELL);
        let rect = format!(
            "<rect class=\"heat{}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\"",
            shade(cell.value, most),
            CELL - 1,
            CELL - 1
        );
        let _ = match cell.value {
            0 => write!(svg, "{rect}/>"),
            value => write!(
                svg,
                "<a href=\"{}\">{rect}><title>{}: {value} open</title></rect></a>",
                escaped(&cell.href),
                escaped(&cell.name)
            ),
        };
    }
    svg.push_str("</svg>");
    svg
}

/// From 0, nothing, to 5, the most.
fn shade(value: u64, most: u64) -> u64 {
    if value == 0 {
        return 0;
    }
    let part = (value as f64).ln_1p() / (most.max(1) as f64).ln_1p();
    ((part * 5.0).ceil() as u64).clamp(1, 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, value: u64) -> Point {
        Point {
            name: name.to_owned(),
            value,
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, round) in [(0, 1), (1, 1), (3, 5), (11, 20), (99, 100), (2001, 5000)] {
            assert_eq!(rounded_up(value), round);
        }
        assert_eq!(rounded_up(u64::MAX), u64::MAX);
        assert_eq!(
            [short(9999), short(10_000), short(2_500_000)],
            ["9999", "10k", "2M"]
        );
    }

    #[test]
    fn a_curve_is_inside_its_box_and_says_its_ends() {
        let svg = curve("Open", &[point("a", 0), point("b", 50), point("<c>", 100)]);
        assert!(
            svg.contains("<title>Open: 0 on a, 100 on &lt;c&gt;</title>"),
            "{svg}"
        );
        assert!(
            svg.contains("points=\"44,132.0 282,70.0 520,8.0\""),
            "{svg}"
        );
        assert_eq!(curve("Open", &[]), "");
        assert!(curve("Open", &[point("a", 0)]).contains("44,132.0"));
    }

    #[test]
    fn changes_go_up_and_down_from_zero() {
        let day = |opened, closed| ChangesOfDay {
            name: "d".to_owned(),
            opened,
            reopened: 0,
            closed,
        };
        let svg = changes(&[day(10, 0), day(0, 10)]);
        assert!(svg.contains("10 opened, 0 reopened, 10 closed"), "{svg}");
        assert!(
            svg.contains("class=\"opened\" x=\"79.7\" y=\"8.0\""),
            "{svg}"
        );
        assert!(
            svg.contains("class=\"closed\" x=\"317.7\" y=\"70.0\""),
            "{svg}"
        );
        assert_eq!(changes(&[day(0, 0)]).matches("<rect").count(), 0);
    }

    #[test]
    fn a_map_is_a_square_with_links_where_something_is_open() {
        let cells: Vec<Cell> = (0..256)
            .map(|n| Cell {
                name: format!("10.1.{n}.0/24"),
                href: format!("/services?net=10.1.{n}.0%2F24&state=open"),
                value: u64::from(n == 17),
            })
            .collect();
        let svg = map("10.1.0.0/16", &cells);
        assert!(svg.contains("viewBox=\"0 0 128 128\""), "{svg}");
        assert_eq!(svg.matches("<a ").count(), 1);
        assert!(svg.contains("10.1.17.0%2F24&amp;state=open"), "{svg}");
        assert!(svg.contains("class=\"heat5\" x=\"8\" y=\"8\""), "{svg}");
        assert_eq!([shade(0, 9), shade(1, 1000), shade(1000, 1000)], [0, 1, 5]);
    }
}
