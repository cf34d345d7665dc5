//! The page that shows what is going on now.

use super::TaskTable;
use super::servers::ServerRow;
use crate::claim_table::QueueCounts;
use crate::model::State;
use crate::scanpush::formats::date_form;
use crate::scanpush::serve::known_task::{TaskRow, ago, with_live};
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::tasks::short;
use crate::store::{ChangeFilter, TaskFilter};
use askama::Template;

/// Running tasks that are shown.
const OVERVIEW_RUNNING_MAX: usize = 30;
/// Ended tasks and changes that are shown.
const OVERVIEW_ROWS_MAX: usize = 10;
/// Bars of the chart, one for each minute.
const BARS: usize = 60;
/// Height of the highest bar.
const BAR_HEIGHT_MAX: u64 = 80;
/// Where the bars stand.
const BASE_LINE: u64 = 100;
/// From one bar to the next.
const BAR_STEP: u64 = 10;

/// `/overview`
pub const ROUTES: &[Route] = &[Route::read("/overview", overview)];

#[derive(Template)]
#[template(path = "overview.html", config = "src/scanpush/serve/askama.toml")]
struct OverviewPage {
    layout: Layout,
    as_of: String,
    queue: QueueCounts,
    oldest: Option<String>,
    rate: String,
    running: TaskTable,
    has_more_running: bool,
    chart: Chart,
    servers: Vec<ServerRow>,
    is_redis_known: bool,
    /// None: the database cannot be read.
    ended: Option<Vec<TaskRow>>,
    /// None: the database cannot be read.
    changes: Option<Vec<ChangeRow>>,
}

/// A change of a service.
struct ChangeRow {
    service: String,
    host: String,
    kind: &'static str,
    at: String,
}

/// Findings per minute as bars.
#[derive(Debug)]
struct Chart {
    bars: Vec<Bar>,
    label: String,
    from: String,
    highest: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Bar {
    x: u64,
    y: u64,
    height: u64,
}

impl Chart {
    fn of(minutes: &[u64]) -> Chart {
        let highest = minutes.iter().copied().max().unwrap_or(0);
        let first = BARS.saturating_sub(minutes.len());
        let bars = minutes.iter().enumerate().map(|(number, &found)| {
            // Something is seen of every minute with findings.
            let height = found
                .saturating_mul(BAR_HEIGHT_MAX)
                .checked_div(highest)
                .unwrap_or(0)
                .min(BAR_HEIGHT_MAX)
                .max(u64::from(found > 0));
            Bar {
                x: (first + number) as u64 * BAR_STEP + 1,
                y: BASE_LINE - height,
                height,
            }
        });
        let total = minutes
            .iter()
            .fold(0, |sum: u64, &found| sum.saturating_add(found));
        Chart {
            bars: bars.filter(|bar| bar.height > 0).collect(),
            label: format!(
                "{total} findings in the last {} minutes, at most {highest} in one minute",
                minutes.len()
            ),
            from: match minutes.len() {
                0..BARS => format!("an hour ago; known for {} min", minutes.len()),
                _ => "an hour ago".to_owned(),
            },
            highest: match highest {
                0 => "none yet".to_owned(),
                highest => format!("at most {highest} in a minute"),
            },
        }
    }
}

fn overview(context: &Context<'_>) -> Answer {
    context.query(&[])?;
    let site = context.site;
    let (snapshot, _) = site.live.latest();
    let running = snapshot.running.iter().take(OVERVIEW_RUNNING_MAX);
    let rate: f64 = snapshot
        .running
        .iter()
        .map(|task| task.rate_pps.max(0.0))
        .sum();
    let filter = TaskFilter {
        states: State::ALL
            .into_iter()
            .filter(|state| state.is_terminal())
            .collect(),
        ..TaskFilter::default()
    };
    // The page shows the rest without the database.
    let ended = site
        .readers
        .try_ask(|reader| reader.tasks_page(&filter, None, OVERVIEW_ROWS_MAX));
    let ended = ended.ok().map(|page| with_live(site, page.rows));
    let mut changes = Vec::new();
    let read = site.readers.try_ask(|reader| {
        reader.changes(&ChangeFilter::default(), None, |change| {
            changes.push(ChangeRow {
                service: change.change.key.to_string(),
                host: links::host(change.change.key.ip),
                kind: change.change.kind.as_str(),
                at: date_form(change.change.at),
            });
            changes.len() < OVERVIEW_ROWS_MAX
        })
    });
    Ok(page(&OverviewPage {
        layout: Layout::new(context, "Overview", "/overview"),
        as_of: match snapshot.at_ms {
            None => "Redis has not been read yet.".to_owned(),
            Some(at_ms) => format!("As of {}", date_form(at_ms / 1000)),
        },
        is_redis_known: snapshot.at_ms.is_some(),
        oldest: snapshot.queue.oldest_queued_ms.map(ago),
        rate: short(rate),
        has_more_running: snapshot.queue.running > OVERVIEW_RUNNING_MAX as u64,
        running: TaskTable {
            rows: running.map(TaskRow::from).collect(),
        },
        chart: Chart::of(&snapshot.found_per_minute),
        servers: snapshot.servers.iter().map(ServerRow::from).collect(),
        queue: snapshot.queue.clone(),
        ended: ended.map(|tasks| tasks.iter().map(TaskRow::from).collect()),
        changes: read.ok().map(|_| changes),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_minute_is_at_the_right_and_small_counts_are_seen() {
        let chart = Chart::of(&[0, 1, 1000]);
        assert_eq!(
            chart.bars,
            [
                Bar {
                    x: 581,
                    y: 99,
                    height: 1
                },
                Bar {
                    x: 591,
                    y: 20,
                    height: 80
                }
            ]
        );
        assert!(Chart::of(&[]).bars.is_empty() && Chart::of(&[0; 60]).bars.is_empty());
    }
}
